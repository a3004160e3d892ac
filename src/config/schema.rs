//! The JSON Schema of cluster.yaml, from the types themselves.

use std::sync::LazyLock;

use serde_json::Value;

use super::Cluster;

/// What editors know the schema by.
const ID: &str = "https://etcdless.dev/v1alpha1/cluster.schema.json";

/// The JSON Schema of cluster.yaml, pretty-printed, with a newline at the end.
pub fn schema() -> String {
    format!("{:#}\n", value())
}

/// The same as a value; made once, since it never changes.
pub(super) fn value() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
        let mut schema = schemars::schema_for!(Cluster);
        schema.insert("$id".into(), ID.into());
        schema.insert("title".into(), "etcdless cluster.yaml".into());
        schema.to_value()
    });
    &SCHEMA
}

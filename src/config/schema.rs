//! stub

/// The JSON Schema of cluster.yaml, pretty-printed.
pub fn schema() -> String {
    todo!()
}

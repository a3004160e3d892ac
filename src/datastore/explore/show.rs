//! Values as people see them: what kubectl would show, and of Secrets sizes alone unless they are asked for.

use serde_json::Value as Json;

use super::Version;
use crate::config::yaml;
use crate::datastore::value::Value;

/// What `kubectl apply` keeps of what it was given.
const APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// An object as kubectl shows it: with the revision that the API server adds, and without its account of managers.
pub fn as_kubectl(mut object: Json, version: &Version, with_managers: bool) -> Json {
    if let Some(metadata) = object.get_mut("metadata").and_then(Json::as_object_mut) {
        metadata.insert("resourceVersion".into(), version.revision.to_string().into());
        if !with_managers {
            metadata.remove("managedFields");
        }
    }
    object
}

/// Whether an object is a Secret.
pub fn is_secret(object: &Json) -> bool {
    object["kind"] == "Secret" && object["apiVersion"] == "v1"
}

/// A Secret with sizes in place of what it holds; any other object as it is. What differs from an earlier state is marked so.
pub fn masked(mut object: Json, before: Option<&Json>) -> Json {
    if !is_secret(&object) {
        return object;
    }
    for field in ["data", "stringData"] {
        let Some(entries) = object.get_mut(field).and_then(Json::as_object_mut) else { continue };
        for (name, entry) in entries {
            let text = entry.as_str().unwrap_or_default();
            let bytes = if field == "data" { decoded(text) } else { text.len() };
            let differs = before.is_some_and(|before| before[field][name] != *entry);
            *entry = hidden(bytes, differs);
        }
    }
    if let Some(applied) = object.pointer_mut("/metadata/annotations").and_then(|all| all.get_mut(APPLIED)) {
        let differs = before.is_some_and(|before| before["metadata"]["annotations"][APPLIED] != *applied);
        *applied = hidden(applied.as_str().unwrap_or_default().len(), differs);
    }
    object
}

fn hidden(bytes: usize, differs: bool) -> Json {
    format!("<{bytes} bytes{}>", if differs { ", other than before" } else { "" }).into()
}

/// How many bytes a text in base64 stands for.
fn decoded(text: &str) -> usize {
    text.trim_end_matches('=').len() * 3 / 4
}

/// What there is to say of a value that is no object that could be shown.
pub fn named(value: &Value, bytes: usize) -> String {
    match value {
        Value::Object(object) => {
            let text = |field: &str| object[field].as_str().unwrap_or_default().to_owned();
            format!("{} {}, {bytes} bytes", text("apiVersion"), text("kind"))
        }
        Value::Encrypted { provider, key: Some(key) } => {
            format!("{bytes} bytes, encrypted by the API server: provider {provider}, key {key}")
        }
        Value::Encrypted { provider, key: None } => {
            format!("{bytes} bytes, encrypted by the API server: provider {provider}")
        }
        Value::Unknown { api_version, kind } => {
            format!("{bytes} bytes: {api_version} {kind} in protobuf, whose fields etcdless does not know")
        }
        Value::Bytes => format!("{bytes} bytes that are no object"),
    }
}

/// What stands in for a value that is no object that could be shown.
pub fn instead(value: &Value, key: &str, version: &Version) -> Json {
    let mut shown = serde_json::json!({ "key": key, "revision": version.revision, "bytes": version.value.len() });
    match value {
        Value::Encrypted { provider, key } => {
            shown["encrypted"] = serde_json::json!({ "provider": provider });
            if let Some(key) = key {
                shown["encrypted"]["key"] = key.as_str().into();
            }
        }
        Value::Unknown { api_version, kind } => {
            shown["protobuf"] = serde_json::json!({ "apiVersion": api_version, "kind": kind });
        }
        Value::Object(_) | Value::Bytes => {}
    }
    shown
}

/// A value as sorted YAML.
pub fn as_yaml(object: &Json) -> Result<String, String> {
    yaml::to_string(object)
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn of_secrets_sizes_are_shown() {
        let secret = |password: &str| {
            json!({ "apiVersion": "v1", "kind": "Secret", "data": { "user": "YWRtaW4=", "password": password }, "metadata": {
                "annotations": { APPLIED: "{\"data\":{}}", "note": "shown" } } })
        };
        let (one, other) = (secret("aHVudGVyMg=="), secret("aHVudGVyMw=="));
        let shown = masked(one.clone(), Some(&other));
        assert_eq!(shown["data"], json!({ "user": "<5 bytes>", "password": "<7 bytes, other than before>" }));
        assert_eq!(shown["metadata"]["annotations"], json!({ APPLIED: "<11 bytes>", "note": "shown" }));
        let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "data": { "a": "b" } });
        assert_eq!(masked(map.clone(), None), map);
    }

    #[test]
    fn objects_are_shown_as_kubectl_does() {
        let object = json!({ "kind": "Pod", "metadata": { "name": "web", "managedFields": [] } });
        let version = Version { revision: 42, deleted: false, value: Vec::new() };
        let shown = as_yaml(&as_kubectl(object, &version, false)).unwrap_or_default();
        assert_eq!(shown, "kind: Pod\nmetadata:\n  name: web\n  resourceVersion: \"42\"\n");
    }
}

//! What became of an object between two revisions, and who says that they did it.

use std::collections::BTreeSet;

use serde_json::Value as Json;

/// A field manager that wrote.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Writer {
    /// Its name, for example `kube-controller-manager`.
    pub manager: String,
    /// `status`, for example; empty for the object itself.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subresource: String,
    /// When, as RFC 3339.
    pub time: String,
}

/// How deep fields are named.
const DEPTH: usize = 3;

/// The field managers of which an object says that they wrote since an earlier state of it; all of them where there is none.
pub fn writers(before: Option<&Json>, after: &Json) -> Vec<Writer> {
    let old = before.map(entries).unwrap_or_default();
    let wrote = |(writer, fields): &(Writer, Json)| {
        // Times are in seconds. Within one, a manager that has fewer fields than before lost them to another.
        !old.iter().any(|(known, kept)| known == writer && is_within(fields, kept))
    };
    let mut writers: Vec<Writer> = entries(after).into_iter().filter(wrote).map(|(writer, _)| writer).collect();
    writers.sort_by(|a, b| a.time.cmp(&b.time).then_with(|| a.cmp(b)));
    writers.dedup();
    writers
}

fn entries(object: &Json) -> Vec<(Writer, Json)> {
    let text = |entry: &Json, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
    let all = object["metadata"]["managedFields"].as_array().map(Vec::as_slice).unwrap_or_default();
    let entry = |entry: &Json| {
        let writer = Writer {
            manager: text(entry, "manager"),
            subresource: text(entry, "subresource"),
            time: text(entry, "time"),
        };
        (writer, entry["fieldsV1"].clone())
    };
    all.iter().map(entry).collect()
}

/// Whether a set of fields is part of another.
fn is_within(fields: &Json, all: &Json) -> bool {
    match (fields, all) {
        (Json::Object(fields), Json::Object(all)) => {
            fields.iter().all(|(name, below)| all.get(name).is_some_and(|kept| is_within(below, kept)))
        }
        _ => fields == all,
    }
}

/// The fields that differ, three names deep, without what the API server keeps of managers.
pub fn fields(before: &Json, after: &Json) -> Vec<String> {
    let mut found = Vec::new();
    differing(before, after, "", DEPTH, &mut found);
    found.retain(|path| path != "metadata.managedFields");
    found
}

fn differing(before: &Json, after: &Json, path: &str, depth: usize, found: &mut Vec<String>) {
    if before == after {
        return;
    }
    let (Json::Object(old), Json::Object(new)) = (before, after) else {
        return found.push(path.to_owned());
    };
    if depth == 0 {
        return found.push(path.to_owned());
    }
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for name in names {
        let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let of = |object: &serde_json::Map<String, Json>| object.get(name).cloned().unwrap_or_default();
        differing(&of(old), &of(new), &below, depth - 1, found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(replicas: u8, time: &str) -> Json {
        json!({
            "metadata": { "name": "web", "managedFields": [
                { "manager": "kubectl", "time": "2026-01-01T00:00:00Z", "fieldsV1": {} },
                { "manager": "controller", "subresource": "status", "time": time, "fieldsV1": {} },
            ] },
            "spec": { "replicas": replicas },
        })
    }

    #[test]
    fn who_wrote_is_who_has_a_newer_entry() {
        let (before, after) = (object(1, "2026-01-01T00:00:01Z"), object(2, "2026-01-01T00:00:05Z"));
        let writer = |name: &str, subresource: &str, time: &str| Writer {
            manager: name.into(),
            subresource: subresource.into(),
            time: time.into(),
        };
        let status = writer("controller", "status", "2026-01-01T00:00:05Z");
        assert_eq!(writers(Some(&before), &after), std::slice::from_ref(&status));
        assert_eq!(writers(None, &after), [writer("kubectl", "", "2026-01-01T00:00:00Z"), status]);
        assert_eq!(writers(Some(&after), &after), []);
        assert_eq!(fields(&before, &after), ["spec.replicas"]);

        // Within a second: one takes a field of another's, which is left with the rest.
        let owned = |owner: &[(&str, Json)]| {
            let entry = |(manager, fields): &(&str, Json)| json!({ "manager": manager, "time": "t", "fieldsV1": { "f:data": fields } });
            json!({ "metadata": { "managedFields": owner.iter().map(entry).collect::<Vec<_>>() } })
        };
        let before = owned(&[("create", json!({ "f:a": {}, "f:b": {} }))]);
        let after = owned(&[("create", json!({ "f:b": {} })), ("patch", json!({ "f:a": {} }))]);
        assert_eq!(writers(Some(&before), &after), [writer("patch", "", "t")]);
    }

    #[test]
    fn fields_are_named_three_deep() {
        let before = json!({ "a": { "b": { "c": { "d": 1 } } }, "gone": [1] });
        let after = json!({ "a": { "b": { "c": { "d": 2 } }, "new": true } });
        assert_eq!(fields(&before, &after), ["a.b.c", "a.new", "gone"]);
    }
}

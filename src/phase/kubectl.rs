//! What kubectl prints on a control plane, as far as `verify` and `status` judge it. Everything may be missing.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;

#[derive(Deserialize)]
struct List<T> {
    #[serde(default = "Vec::new")]
    items: Vec<T>,
}

/// A node.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Node {
    pub(super) metadata: Metadata,
    pub(super) spec: NodeSpec,
    pub(super) status: NodeStatus,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Metadata {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) deletion_timestamp: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct NodeSpec {
    pub(super) unschedulable: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct NodeStatus {
    pub(super) addresses: Vec<Address>,
    pub(super) conditions: Vec<Condition>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Address {
    pub(super) address: String,
}

/// A condition of a node or a Pod.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Condition {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) status: String,
    pub(super) reason: String,
    pub(super) message: String,
}

impl Node {
    /// The condition `Ready`.
    pub(super) fn ready(&self) -> Option<&Condition> {
        self.status.conditions.iter().find(|condition| condition.kind == "Ready")
    }

    /// What a Pod's affinity knows it by.
    pub(super) fn hostname(&self) -> &str {
        self.metadata.labels.get("kubernetes.io/hostname").unwrap_or(&self.metadata.name)
    }
}

/// The items of a list in JSON, or why there are none; `status` is kubectl's own.
pub(super) fn list<T: DeserializeOwned>(status: i32, body: &str) -> Result<Vec<T>, String> {
    if status != 0 {
        return Err(last_line(body));
    }
    let list: List<T> =
        serde_json::from_str(body).map_err(|error| format!("the API server's answer cannot be read: {error}"))?;
    Ok(list.items)
}

/// What `/readyz?verbose` fails at; nothing where the API server is ready. kubectl puts a refusal's body, with its line breaks as `\n`, into one
/// line of its own.
pub(super) fn readyz(status: i32, body: &str) -> Result<Vec<String>, String> {
    let lines = body.split('\n').flat_map(|line| line.split("\\n"));
    let failing: Vec<String> =
        lines.filter_map(|line| line.find("[-]").map(|start| line[start..].trim_end_matches('"').to_owned())).collect();
    if status != 0 && failing.is_empty() { Err(last_line(body)) } else { Ok(failing) }
}

fn last_line(body: &str) -> String {
    body.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("kubectl printed nothing").trim().to_owned()
}

//! What one look at the cluster answered. Reads only the fields that verify judges; everything may be missing.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::phase::kubectl::{Condition, Metadata, Node, list, readyz};
use crate::remote::Output;

/// One look. Each part is what kubectl printed, or why there is nothing.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Look {
    /// Lines of `/readyz?verbose` that do not say `[+]`; empty where the API server is ready.
    pub(super) readyz: Result<Vec<String>, String>,
    /// All nodes.
    pub(super) nodes: Result<Vec<Node>, String>,
    /// All Pods.
    pub(super) pods: Result<Vec<Pod>, String>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Pod {
    pub(super) metadata: Metadata,
    pub(super) spec: PodSpec,
    pub(super) status: PodStatus,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct PodSpec {
    pub(super) node_name: String,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct PodStatus {
    pub(super) phase: String,
    pub(super) reason: String,
    pub(super) conditions: Vec<Condition>,
    pub(super) init_container_statuses: Vec<Container>,
    pub(super) container_statuses: Vec<Container>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Container {
    pub(super) name: String,
    pub(super) image: String,
    pub(super) ready: bool,
    pub(super) restart_count: u32,
    pub(super) state: State,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct State {
    pub(super) waiting: Option<Reason>,
    pub(super) terminated: Option<Reason>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Reason {
    pub(super) reason: String,
    pub(super) message: String,
    pub(super) exit_code: i32,
}

impl Look {
    /// Reads what `verify_look.sh` printed.
    pub(super) fn parse(output: &Output) -> Self {
        let text = String::from_utf8_lossy(&output.stdout);
        let stderr = String::from_utf8_lossy(&output.stderr);
        Self {
            readyz: section(&text, &stderr, "readyz").and_then(|(status, body)| readyz(status, body)),
            nodes: section(&text, &stderr, "nodes").and_then(|(status, body)| list(status, body)),
            pods: section(&text, &stderr, "pods").and_then(|(status, body)| list(status, body)),
        }
    }

    /// Takes out the nodes that go by one of these names or addresses, with their Pods but for those that are Ready: DNS may live there alone.
    pub(super) fn pass_over(&mut self, absent: &BTreeSet<String>) {
        let is_absent = |node: &Node| {
            absent.contains(&node.metadata.name)
                || node.status.addresses.iter().any(|address| absent.contains(&address.address))
        };
        let nodes = self.nodes.iter_mut().flat_map(|nodes| nodes.extract_if(.., |node| is_absent(node)));
        let names: Vec<String> = nodes.map(|node| node.metadata.name).collect();
        if let Ok(pods) = &mut self.pods {
            pods.retain(|pod| !names.contains(&pod.spec.node_name) || pod.is_ready());
        }
    }

    /// A look that could not be taken.
    pub(super) fn failed(reason: &str) -> Self {
        Self { readyz: Err(reason.into()), nodes: Err(reason.into()), pods: Err(reason.into()) }
    }
}

impl Pod {
    /// Whether it is Ready, or has done its work.
    pub(super) fn is_ready(&self) -> bool {
        let ready = |condition: &Condition| condition.kind == "Ready" && condition.status == "True";
        self.status.phase == "Succeeded" || self.status.conditions.iter().any(ready)
    }
}

/// kubectl's exit status and what it printed for one question.
fn section<'a>(text: &'a str, stderr: &str, name: &str) -> Result<(i32, &'a str), String> {
    let missing = || match stderr.trim().lines().last() {
        Some(line) => line.to_owned(),
        None => format!("the host did not answer for {name}"),
    };
    let start = format!("== {name} ");
    let (_, rest) = text.split_once(&start).ok_or_else(missing)?;
    let (status, rest) = rest.split_once('\n').ok_or_else(missing)?;
    let body = rest.split_once("\n== ").map_or(rest, |(body, _)| body);
    Ok((status.trim().parse().map_err(|_| missing())?, body.trim()))
}

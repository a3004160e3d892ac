//! The phases of a run. A phase is data: a name, and a pure function from the cluster and a host's facts to steps.

pub mod artifacts;
pub mod control_plane;
pub mod datastore;
pub mod endpoint;
pub mod kine;
pub mod kubelet;
pub mod network;
pub mod node;
pub mod plan;
pub mod preflight;
pub mod runner;
pub mod survey;
pub mod verify;

use crate::artifact::Sources;
use crate::assets::Assets;
use crate::cluster::node::Node;
use crate::config::Cluster;
use crate::datastore::Stores;
use crate::facts::Facts;
use crate::failure::Failure;
use crate::op::Op;

/// One phase of a run.
#[derive(Debug)]
pub struct Phase {
    /// As `--only`, `--skip` and `--from` take it.
    pub name: &'static str,
    /// One sentence for help and progress.
    pub about: &'static str,
    /// What the phase wants on a host. Pure.
    pub steps: fn(&Context<'_>) -> Result<Vec<Step>, Failure>,
}

/// Everything that planning may know about one host.
#[derive(Debug)]
pub struct Context<'a> {
    /// The whole description.
    pub cluster: &'a Cluster,
    /// This host, with what follows from description and facts (name, addresses).
    pub node: &'a Node,
    /// What this host looks like.
    pub facts: &'a Facts,
    /// Templates and playbooks, overlays applied.
    pub assets: &'a Assets,
    /// What the sources said about files that are still missing: digests and sizes.
    pub sources: &'a Sources,
    /// What each kine is told of its store.
    pub stores: &'a Stores,
    /// The text of the user's own Pod network manifest, where the description names one.
    pub manifest: Option<&'a str>,
}

/// One thing that a host should have, with its place in the order.
#[derive(Debug, Clone)]
pub struct Step {
    /// `PHASE/NAME`, unique on a host; the journal's key.
    pub id: String,
    /// For people: `install kubelet v1.34.4`.
    pub title: String,
    /// What is to be so.
    pub op: Op,
    /// IDs of steps, or names of whole phases, that must be done before; what the plan does not hold counts as done.
    pub after: Vec<String>,
}

impl Step {
    /// A step that waits for nothing.
    pub fn new(id: impl Into<String>, title: impl Into<String>, op: Op) -> Self {
        Self { id: id.into(), title: title.into(), op, after: Vec::new() }
    }

    /// The same step, after others.
    #[must_use]
    pub fn after<I: Into<String>>(mut self, ids: impl IntoIterator<Item = I>) -> Self {
        self.after.extend(ids.into_iter().map(Into::into));
        self
    }

    /// The phase's name.
    pub fn phase(&self) -> &str {
        self.id.split_once('/').map_or(self.id.as_str(), |(phase, _)| phase)
    }
}

/// All phases that change hosts, in order. `preflight` comes before and `verify` after them; both only read hosts.
pub const PHASES: &[Phase] = &[
    Phase { name: "artifacts", about: "fetch and verify every file and image", steps: artifacts::steps },
    Phase { name: "node", about: "kernel, swap, container runtime, kubelet files", steps: node::steps },
    Phase { name: "datastore", about: "prepare the SQL database", steps: datastore::steps },
    Phase { name: "endpoint", about: "the API's name", steps: endpoint::steps },
    Phase { name: "kubelet", about: "certificates, kubeconfigs, kubelet running", steps: kubelet::steps },
    Phase { name: "kine", about: "kine, proven by write and read back", steps: kine::steps },
    Phase {
        name: "control-plane",
        about: "API server, controller manager, scheduler, add-ons",
        steps: control_plane::steps,
    },
    Phase { name: "network", about: "the Pod network", steps: network::steps },
];

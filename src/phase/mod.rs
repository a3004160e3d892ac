//! The phases of a run. A phase is data: a name, and a pure function from the cluster and a host's facts to steps.

pub mod artifacts;
pub mod control_plane;
pub mod datastore;
pub mod endpoint;
pub mod hooks;
pub mod join;
pub mod kine;
mod kubectl;
pub mod kubelet;
pub mod migrate;
pub mod needs;
pub mod network;
pub mod node;
pub mod outcome;
mod payload;
pub mod plan;
pub mod preflight;
pub mod remove;
pub mod reset;
pub mod restore;
pub mod runner;
pub mod status;
pub mod survey;
pub mod verify;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use crate::artifact::Sources;
use crate::assets::Assets;
use crate::cluster::node::Node;
use crate::config::{Cluster, ProxyEnvironment, Role};
use crate::datastore::{Stores, managed};
use crate::facts::Facts;
use crate::failure::Failure;
use crate::op::{File, Op};

/// One phase of a run.
#[derive(Debug)]
pub struct Phase {
    /// As `--only`, `--skip` and `--from` take it.
    pub name: &'static str,
    /// One sentence for help and progress.
    pub about: &'static str,
    /// Whether it has to do with hosts of a role.
    pub concerns: fn(Role) -> bool,
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
    /// The control plane that the others join: the one that made the cluster, or is about to.
    pub control_plane: Option<&'a Node>,
    /// Every host that is or becomes a node, in the description's order.
    pub peers: &'a [Peer],
    /// The labels of workers that are no nodes yet.
    pub joining: &'a [String],
    /// Files of a backup that control planes are made with, where there is one.
    pub restored: &'a [File],
    /// Tells this run from others.
    pub run: &'a str,
    /// What this host looks like.
    pub facts: &'a Facts,
    /// Templates and playbooks, overlays applied.
    pub assets: &'a Assets,
    /// What the sources said about files that are still missing: digests and sizes.
    pub sources: &'a Sources,
    /// What each kine of this host is told of its store.
    pub stores: &'a Stores,
    /// The servers that etcdless keeps, on whichever host.
    pub servers: &'a [Kept],
    /// What programs on hosts are told of the proxy.
    pub proxy: Option<&'a ProxyEnvironment>,
    /// The text of the user's own Pod network manifest, where the description names one.
    pub manifest: Option<&'a str>,
    /// The texts of hooks that hosts run, by path.
    pub scripts: &'a BTreeMap<PathBuf, String>,
}

/// A node as the others know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The host's label.
    pub label: String,
    /// What it is for.
    pub role: Role,
    /// The node's name, where the host was seen or the description tells.
    pub name: Option<String>,
    /// The address that other nodes reach it by.
    pub address: IpAddr,
    /// Whether it takes part in this run; one that is away is known by the description alone.
    pub seen: bool,
    /// Whether it is a control plane already.
    pub built: bool,
}

impl Context<'_> {
    /// Whether this control plane is the one that the others join.
    pub fn is_first(&self) -> bool {
        self.control_plane.is_none_or(|first| first.label == self.node.label)
    }

    /// Whether this control plane was, or is to be, made with the authorities of another one.
    pub fn is_member(&self) -> bool {
        !self.is_first() || self.facts.journal.steps.contains_key(control_plane::MEMBER)
    }

    /// The peers that are control planes.
    pub fn control_planes(&self) -> impl Iterator<Item = &Peer> {
        self.peers.iter().filter(|peer| peer.role == Role::ControlPlane)
    }

    /// The control plane that must be through with a phase before this one begins. A new one waits for the first; those that serve already
    /// go one after the other, so that the others serve meanwhile.
    pub fn ahead(&self) -> Option<&str> {
        let own = |peer: &&Peer| peer.label == self.node.label;
        if self.control_planes().find(own).is_some_and(|peer| peer.built) {
            let before = self.control_planes().take_while(|peer| !own(peer));
            return before.filter(|peer| peer.built).last().map(|peer| peer.label.as_str());
        }
        self.control_plane.map(|first| first.label.as_str()).filter(|first| *first != self.node.label)
    }
}

/// A server that etcdless keeps, with its certificates and those of its clients.
#[derive(Debug, Clone)]
pub struct Kept {
    /// What it is.
    pub server: managed::Server,
    /// What lets it and its clients know each other.
    pub certificates: managed::Set,
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
    /// The same on other hosts: their labels, and a step or a whole phase there.
    pub after_on: Vec<(String, String)>,
    /// What becomes of it when a host that it waits for has ended without doing its part.
    pub missed: Missed,
    /// What to do about a failure, by what the step's last lines say.
    pub hints: &'static [(&'static str, &'static str)],
}

/// What becomes of a step when a host that it waits for has ended without doing its part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missed {
    /// It will never be done, nor what waits for it.
    Stop,
    /// It is done all the same.
    Run,
    /// It is left out: it was about that host alone.
    Skip,
}

impl Step {
    /// A step that waits for nothing.
    pub fn new(id: impl Into<String>, title: impl Into<String>, op: Op) -> Self {
        Self {
            id: id.into(),
            title: title.into(),
            op,
            after: Vec::new(),
            after_on: Vec::new(),
            missed: Missed::Stop,
            hints: &[],
        }
    }

    /// The same step, after others.
    #[must_use]
    pub fn after<I: Into<String>>(mut self, ids: impl IntoIterator<Item = I>) -> Self {
        self.after.extend(ids.into_iter().map(Into::into));
        self
    }

    /// The same step, after a step or a whole phase of another host.
    #[must_use]
    pub fn after_on(mut self, host: &str, id: &str) -> Self {
        self.after_on.push((host.into(), id.into()));
        self
    }

    /// The same step, once the control plane that goes ahead is through with a phase.
    #[must_use]
    pub fn after_ahead(self, context: &Context<'_>, phase: &str) -> Self {
        match context.ahead() {
            Some(host) => self.after_on(host, phase),
            None => self,
        }
    }

    /// The same step, also once other hosts that it waits for have ended without doing their part.
    #[must_use]
    pub fn in_any_case(self) -> Self {
        Self { missed: Missed::Run, ..self }
    }

    /// The same step, left out where another host that it waits for has ended without doing its part.
    #[must_use]
    pub fn or_never(self) -> Self {
        Self { missed: Missed::Skip, ..self }
    }

    /// The same step, with what to do about a failure by what its last lines say.
    #[must_use]
    pub fn hinting(self, hints: &'static [(&'static str, &'static str)]) -> Self {
        Self { hints, ..self }
    }

    /// The same step, once every server that etcdless keeps is ready: what asks the API is not to meet one that is just restarted.
    #[must_use]
    pub fn after_servers(self, context: &Context<'_>) -> Self {
        context.servers.iter().fold(self, |step, kept| step.after_on(&kept.server.host, "datastore"))
    }

    /// What to do about a failure that ended with these lines, where that is known.
    pub fn hint(&self, lines: &[String]) -> Option<&'static str> {
        let said = |text: &str| lines.iter().any(|line| line.contains(text));
        self.hints.iter().find(|(text, _)| said(text)).map(|(_, hint)| *hint)
    }

    /// The phase's name.
    pub fn phase(&self) -> &str {
        self.id.split_once('/').map_or(self.id.as_str(), |(phase, _)| phase)
    }
}

/// All phases that change hosts, in order. `preflight` comes before and `verify` after them; both only read hosts.
pub const PHASES: &[Phase] = &[
    phase("artifacts", "fetch and verify every file and image", Role::is_node, artifacts::steps),
    phase("node", "kernel, swap, container runtime, kubelet files", Role::is_node, node::steps),
    phase("datastore", "prepare the SQL database", |_| true, datastore::steps),
    phase("endpoint", "the API's name", Role::is_node, endpoint::steps),
    phase("kubelet", "certificates, kubeconfigs, kubelet running", Role::is_control_plane, kubelet::steps),
    phase("kine", "kine, proven by write and read back", Role::is_control_plane, kine::steps),
    phase(
        "control-plane",
        "API server, controller manager, scheduler, add-ons",
        Role::is_control_plane,
        control_plane::steps,
    ),
    phase("network", "the Pod network", Role::is_control_plane, network::steps),
    phase("join", "workers become nodes; labels and taints", Role::is_node, join::steps),
];

const fn phase(
    name: &'static str,
    about: &'static str,
    concerns: fn(Role) -> bool,
    steps: fn(&Context<'_>) -> Result<Vec<Step>, Failure>,
) -> Phase {
    Phase { name, about, concerns, steps }
}

//! One host as a Kubernetes node: what follows from its description and its facts together.

use std::net::IpAddr;

use crate::config::{Cluster, Host, Role};
use crate::facts::{Cgroup, Facts};

/// A host as a node. Everything that a document or manifest says about the machine comes from here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What people see: the host's name in cluster.yaml, or its address.
    pub label: String,
    /// The node's name in Kubernetes.
    pub name: String,
    /// The address that other nodes reach it by, and the API server advertises.
    pub address: IpAddr,
    /// `amd64` or `arm64`.
    pub arch: &'static str,
    /// What it is for.
    pub role: Role,
    /// Whether ordinary Pods may run here.
    pub schedulable: bool,
    /// The kubelet must be told that cgroup v1 is meant.
    pub cgroup_v1: bool,
    /// kube-proxy may set conntrack limits.
    pub conntrack_writable: bool,
    /// containerd must not lower oom scores.
    pub restrict_oom_score: bool,
}

impl Node {
    /// Puts description and facts together. `None` where the architecture is not supported or no address was found; preflight says so.
    pub fn new(cluster: &Cluster, host: &Host, facts: &Facts) -> Option<Self> {
        let only_node = cluster.nodes().count() == 1;
        Some(Self {
            label: host.label(),
            name: host.name.as_ref().map_or_else(|| facts.hostname.clone(), ToString::to_string),
            address: node_address(host, facts)?,
            arch: facts.release_arch()?,
            role: host.role,
            schedulable: host.role == Role::Worker || host.schedulable.unwrap_or(only_node),
            cgroup_v1: facts.cgroup == Cgroup::V1,
            conntrack_writable: facts.conntrack_writable,
            restrict_oom_score: !facts.may_raise_limits,
        })
    }
}

/// The address given, if it is one; else the one that SSH reached; else that of the default route. Only addresses that an interface
/// has count: behind a bastion or NAT, what SSH names may belong to another machine.
fn node_address(host: &Host, facts: &Facts) -> Option<IpAddr> {
    let named = host.address.to_string().parse().ok();
    let candidates = [named, facts.ssh_address, facts.route_address];
    host.node_ip.or_else(|| candidates.into_iter().flatten().find(|address| facts.addresses.contains(address)))
}

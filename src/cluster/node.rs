//! One host as a Kubernetes node: what follows from its description and its facts together.

use std::net::{IpAddr, Ipv4Addr};

use crate::config::{Cluster, Endpoint, Host, Role};
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
            address: node_address(cluster, host, facts)?,
            arch: facts.release_arch()?,
            role: host.role,
            schedulable: host.role == Role::Worker || host.schedulable.unwrap_or(only_node),
            cgroup_v1: facts.cgroup == Cgroup::V1,
            conntrack_writable: facts.conntrack_writable,
            restrict_oom_score: !facts.may_raise_limits,
        })
    }
}

/// What VirtualBox, and QEMU's user network, give every machine behind their NAT: no other machine reaches it.
pub const NAT_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 2, 15));

/// The address given, if it is one; else the one that SSH reached; else that of the default route. Only addresses that an interface
/// has count: behind a bastion or NAT, what SSH names may belong to another machine. Where all of them are NAT's, the machine's only
/// other address is meant; of several, any may be the wrong one, and preflight asks.
fn node_address(cluster: &Cluster, host: &Host, facts: &Facts) -> Option<IpAddr> {
    if host.node_ip.is_some() {
        return host.node_ip;
    }
    let named = host.address.to_string().parse().ok();
    let candidates = [named, facts.ssh_address, facts.route_address].into_iter().flatten();
    let own: Vec<IpAddr> = candidates.filter(|address| facts.addresses.contains(address)).collect();
    let sure = own.iter().copied().find(|address| *address != NAT_ADDRESS);
    sure.or_else(|| match (own.first().copied()?, &beside_nat(cluster, facts)[..]) {
        (nat, []) => Some(nat),
        (_, [only]) => Some(*only),
        _ => None,
    })
}

/// What a machine behind NAT has for other machines: neither link-local, nor the cluster's own (bridges of Pods, a virtual address).
fn beside_nat(cluster: &Cluster, facts: &Facts) -> Vec<IpAddr> {
    let kubernetes = &cluster.spec.kubernetes;
    let of_cluster = |address: &IpAddr| {
        kubernetes.pod_subnet.contains(address)
            || kubernetes.service_subnet.contains(address)
            || matches!(cluster.endpoint(), Endpoint::Vip(vip) if vip == *address)
    };
    let link_local = |address: &IpAddr| match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    let family = |address: &IpAddr| address.is_ipv4() == kubernetes.pod_subnet.addr().is_ipv4();
    let usable =
        |address: &IpAddr| *address != NAT_ADDRESS && family(address) && !link_local(address) && !of_cluster(address);
    facts.addresses.iter().copied().filter(usable).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used)]
    use super::*;

    /// The address of a machine that is reached by `address`, with these on its interfaces, SSH's and the default route's.
    fn chosen(address: &str, own: &[&str], ssh: &str, route: &str) -> Option<String> {
        let document = serde_json::json!({
            "apiVersion": "etcdless.dev/v1alpha1", "kind": "Cluster", "metadata": { "name": "demo" },
            "spec": {
                "endpoint": { "vip": "192.168.56.10" }, "datastore": { "postgres": { "managed": { "host": "db" } } },
                "hosts": [{ "address": address }],
            },
        });
        let cluster: Cluster = serde_json::from_value(document).unwrap();
        let facts = Facts {
            machine: "x86_64".into(),
            addresses: own.iter().map(|address| address.parse().unwrap()).collect(),
            ssh_address: ssh.parse().ok(),
            route_address: route.parse().ok(),
            ..Facts::default()
        };
        Some(Node::new(&cluster, &cluster.spec.hosts[0], &facts)?.address.to_string())
    }

    #[test]
    fn an_address_that_every_machine_behind_nat_has_is_not_chosen() {
        let own = ["10.0.2.15", "fe80::1", "192.168.56.11"];
        for (address, ssh, route) in [
            // As the file names it; VirtualBox forwards a port of this machine to 10.0.2.15, where the default route is, too.
            ("192.168.56.11", "10.0.2.15", "10.0.2.15"),
            // By an alias of ssh_config.
            ("cp1", "10.0.2.15", "10.0.2.15"),
            ("cp1", "192.168.56.11", "10.0.2.15"),
            ("cp1", "10.0.2.15", "192.168.56.11"),
            // Through a jump host.
            ("cp1", "", "10.0.2.15"),
        ] {
            assert_eq!(chosen(address, &own, ssh, route).as_deref(), Some("192.168.56.11"), "{address} {ssh} {route}");
        }
    }

    #[test]
    fn what_the_cluster_itself_adds_is_not_taken_for_the_machines_other_address() {
        let own = ["10.0.2.15", "192.168.56.11", "10.244.0.0", "10.244.0.1", "10.96.0.10", "192.168.56.10", "fd00::11"];
        assert_eq!(chosen("cp1", &own, "10.0.2.15", "10.0.2.15").as_deref(), Some("192.168.56.11"));
    }

    #[test]
    fn of_several_others_none_is_guessed() {
        let own = ["10.0.2.15", "192.168.56.11", "172.17.0.1"];
        assert_eq!(chosen("cp1", &own, "10.0.2.15", "10.0.2.15"), None);
        assert_eq!(chosen("192.168.56.11", &own, "10.0.2.15", "10.0.2.15").as_deref(), Some("192.168.56.11"));
    }

    #[test]
    fn what_ssh_names_may_belong_to_another_machine() {
        assert_eq!(chosen("cp1", &["10.0.0.11"], "203.0.113.9", "10.0.0.11").as_deref(), Some("10.0.0.11"));
        assert_eq!(chosen("cp1", &["10.0.0.11"], "203.0.113.9", ""), None);
        assert_eq!(chosen("cp1", &["10.0.2.15"], "10.0.2.15", "10.0.2.15").as_deref(), Some("10.0.2.15"));
    }
}

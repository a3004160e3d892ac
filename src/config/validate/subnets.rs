//! Pod and Service ranges: their sizes as kubeadm checks them, and that nothing else has their addresses.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Violation;
use crate::config::{Address, Cluster};

const PODS: &str = "spec.kubernetes.podSubnet";
const SERVICES: &str = "spec.kubernetes.serviceSubnet";

pub(super) fn check(cluster: &Cluster) -> Vec<Violation> {
    let kubernetes = &cluster.spec.kubernetes;
    let (pods, services) = (kubernetes.pod_subnet, kubernetes.service_subnet);
    let mut broken = Vec::new();
    broken.extend(host_bits(PODS, pods));
    broken.extend(host_bits(SERVICES, services));
    broken.extend(service_size(services));
    broken.extend(pod_size(cluster));
    if is_v4(pods) != is_v4(services) {
        let message = format!("podSubnet {pods} and serviceSubnet {services} are of different IP families");
        broken.push(Violation::new(PODS, message).suggest("use IPv4 for both, or IPv6 for both").related(SERVICES));
    }
    if overlap(pods, services) {
        let message = format!("podSubnet {pods} overlaps serviceSubnet {services}");
        broken.push(Violation::new(PODS, message).suggest(free_range(&[services])).related(SERVICES));
    }
    broken.extend(host_addresses(cluster));
    broken
}

fn is_v4(range: IpNet) -> bool {
    matches!(range, IpNet::V4(_))
}

fn overlap(a: IpNet, b: IpNet) -> bool {
    a.contains(&b) || b.contains(&a)
}

/// A private range that is none of these.
fn free_range(taken: &[IpNet]) -> String {
    let candidates = ["10.244.0.0/16", "10.96.0.0/12", "172.16.0.0/16", "192.168.0.0/16"];
    let free = candidates.iter().find(|candidate| {
        candidate.parse::<IpNet>().is_ok_and(|candidate| !taken.iter().any(|taken| overlap(*taken, candidate)))
    });
    format!("choose a range that nothing else uses, such as `{}`", free.unwrap_or(&candidates[0]))
}

fn host_bits(path: &str, range: IpNet) -> Option<Violation> {
    let network = range.trunc();
    (network != range).then(|| {
        Violation::new(path, format!("{range} is not the start of a range")).suggest(format!("write `{network}`"))
    })
}

/// kubeadm wants 10 addresses, of which the tenth is the cluster's DNS, and the API server at most 2^20.
fn service_size(range: IpNet) -> Option<Violation> {
    let (largest, smallest) = if is_v4(range) { (12, 28) } else { (108, 124) };
    size(SERVICES, "serviceSubnet", range, largest, smallest)
}

/// Each node gets a /24 (IPv4) or /64 (IPv6) of it, and kubeadm allows 16 bits for the nodes. An overlay may change the nodes' size.
fn pod_size(cluster: &Cluster) -> Vec<Violation> {
    let range = cluster.spec.kubernetes.pod_subnet;
    let overlay = serde_json::to_string(&cluster.spec.kubeadm.cluster).unwrap_or_default();
    if overlay.contains("node-cidr-mask-size") {
        return Vec::new();
    }
    let node = if is_v4(range) { 24 } else { 64 };
    if let Some(violation) = size(PODS, "podSubnet", range, node - 16, node) {
        return vec![violation];
    }
    let room = 1usize << (node - range.prefix_len());
    let hosts = cluster.nodes().count();
    let broken = (room < hosts).then(|| {
        let message = format!("podSubnet {range} holds a /{node} for {room} of the {hosts} hosts only");
        Violation::new(PODS, message).suggest("use a shorter prefix").related("spec.hosts")
    });
    broken.into_iter().collect()
}

fn size(path: &str, name: &str, range: IpNet, largest: u8, smallest: u8) -> Option<Violation> {
    let prefix = range.prefix_len();
    let fault = match prefix {
        _ if prefix < largest => "too large",
        _ if prefix > smallest => "too small",
        _ => return None,
    };
    let message = format!("{name} {range} is {fault}");
    Some(Violation::new(path, message).suggest(format!("write a prefix from /{largest} to /{smallest}")))
}

fn host_addresses(cluster: &Cluster) -> Vec<Violation> {
    let kubernetes = &cluster.spec.kubernetes;
    let ranges = [(PODS, "podSubnet", kubernetes.pod_subnet), (SERVICES, "serviceSubnet", kubernetes.service_subnet)];
    let mut broken = Vec::new();
    for (index, host) in cluster.spec.hosts.iter().enumerate() {
        let named = match &host.address {
            Address::Ssh(name) => name.parse().ok(),
            Address::Local => None,
        };
        let addresses: [(&str, Option<IpAddr>); 2] = [("address", named), ("nodeIP", host.node_ip)];
        for (field, address) in addresses.iter().filter_map(|(field, address)| Some((*field, (*address)?))) {
            let path = format!("spec.hosts[{index}].{field}");
            for (range_path, name, range) in ranges.iter().filter(|(_, _, range)| range.contains(&address)) {
                let message = format!("{} has the address {address}, which is inside {name} {range}", host.label());
                broken.push(Violation::new(*range_path, message).suggest(no_host_range(cluster)).related(path.clone()));
            }
            if field == "nodeIP" && address.is_ipv4() != is_v4(kubernetes.pod_subnet) {
                let message =
                    format!("nodeIP {address} and podSubnet {} are of different IP families", kubernetes.pod_subnet);
                let advice = "use an address of the host in the Pods' family";
                broken.push(Violation::new(path, message).suggest(advice).related(PODS));
            }
        }
    }
    broken
}

fn no_host_range(cluster: &Cluster) -> String {
    let named = cluster.spec.hosts.iter().filter_map(|host| host.address.to_string().parse().ok());
    let hosts = named.chain(cluster.spec.hosts.iter().filter_map(|host| host.node_ip)).map(IpNet::from);
    let kubernetes = &cluster.spec.kubernetes;
    free_range(&hosts.chain([kubernetes.pod_subnet, kubernetes.service_subnet]).collect::<Vec<_>>())
}

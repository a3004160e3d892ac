//! The checks, in the order in which their findings are told. Names in kubeadm's spelling are kubeadm's own.

use super::existing::{
    cluster_authority, endpoint_port, etcd_manifest, existing_cluster, immutable_fields, kine_metrics_port, kine_port,
    kubelet_version, port, server_port, shard_ports,
};
use super::machine::{
    architecture, clock_skew, cpus, disk_pressure, disk_space, feature, hostname, ipvs_feature, memory, node_address,
    node_name, operating_system, swap, system_verification, tool,
};
use super::proxy::PROXY;
use super::versions::{containerd_version, kubernetes_version};
use super::{Check, Finding, Subject};
use crate::config::Role;

/// Every check.
pub const CHECKS: &[Check] = &[
    Check { ignorable: false, ..every("Architecture", "releases exist for the processor", architecture) },
    every("OS", "the distribution is one that the playbooks describe", operating_system),
    new("SystemVerification", "the kernel is one that Kubernetes supports", system_verification),
    new("NumCPU", "a control plane has 2 CPUs", cpus),
    new("Mem", "a control plane has 1700 MB of memory", memory),
    every("DiskSpace", "what the run places fits", disk_space),
    new("DiskPressure", "the kubelet evicts no Pods for want of disk", disk_pressure),
    new("Swap", "swap is as `kubernetes.swap` wants it", swap),
    every("ClockSkew", "the clock is within 30 s of this machine's", clock_skew),
    new("Hostname", "the machine's name is a DNS label", hostname),
    new("Nodename", "no two hosts have the same node name", node_name),
    Check { ignorable: false, ..every("NodeAddress", "the node's address is one of the machine's own", node_address) },
    new("KernelFeature-overlay", "containers can be stacked", |s| feature(s, "overlay")),
    new("KernelFeature-br_netfilter", "kube-proxy sees bridged traffic", |s| feature(s, "br_netfilter")),
    new("KernelFeature-ip_vs", "kube-proxy's ipvs mode", |s| ipvs_feature(s, "ip_vs")),
    new("KernelFeature-ip_vs_rr", "kube-proxy's ipvs mode", |s| ipvs_feature(s, "ip_vs_rr")),
    new("KernelFeature-ip_vs_wrr", "kube-proxy's ipvs mode", |s| ipvs_feature(s, "ip_vs_wrr")),
    new("KernelFeature-ip_vs_sh", "kube-proxy's ipvs mode", |s| ipvs_feature(s, "ip_vs_sh")),
    new("KernelFeature-nf_conntrack", "kube-proxy's ipvs mode", |s| ipvs_feature(s, "nf_conntrack")),
    new("FileExisting-curl", "fetches files, and proves kine", |s| tool(s, "curl", "curl")),
    new("FileExisting-tar", "unpacks releases", |s| tool(s, "tar", "tar")),
    new("FileExisting-gzip", "unpacks releases", |s| tool(s, "gzip", "gzip")),
    every("FileExisting-systemctl", "runs the kubelet and the runtime", |s| tool(s, "systemctl", "systemd")),
    every("FileExisting-sha256sum", "verifies every file", |s| tool(s, "sha256sum", "coreutils")),
    every("FileExisting-base64", "receives files", |s| tool(s, "base64", "coreutils")),
    every("FileExisting-timeout", "ends what hangs", |s| tool(s, "timeout", "coreutils")),
    every("FileExisting-flock", "holds the host's lock", |s| tool(s, "flock", "util-linux")),
    every("FileExisting-ip", "tells the host's addresses", |s| tool(s, "ip", "iproute2")),
    every("FileExisting-ss", "tells who listens", |s| tool(s, "ss", "iproute2")),
    every("ExistingCluster", "no other cluster, and no leftovers of one", existing_cluster),
    new("ClusterAuthority", "all hosts are of one cluster", cluster_authority),
    new("FileAvailable--etc-kubernetes-manifests-etcd.yaml", "no etcd of kubeadm's", etcd_manifest),
    new("ImmutableFields", "what init cannot change is unchanged", immutable_fields),
    new("KubernetesVersion", "the versions were tested together", kubernetes_version),
    new("ContainerdVersion", "the distribution's containerd runs this Kubernetes", containerd_version),
    new("KubeletVersion", "no kubelet of the distribution's", kubelet_version),
    new("Port-6443", "free for the API server", |s| port(s, 6443, "kube-apiserver")),
    new("Port-7443", "free for HAProxy where the endpoint is local", endpoint_port),
    new("Port-10250", "free for the kubelet", |s| port(s, 10250, "kubelet")),
    new("Port-10257", "free for the controller manager", |s| port(s, 10257, "kube-controller-manager")),
    new("Port-10259", "free for the scheduler", |s| port(s, 10259, "kube-scheduler")),
    new("Port-2379", "free for kine where it listens on TCP", kine_port),
    new("Port-2381", "free for kine's metrics", kine_metrics_port),
    Check {
        concerns: |role| role == Role::Datastore,
        ..new("Port-server", "free for the database server", server_port)
    },
    PROXY,
    new("Ports-shards", "free for the kines of shards", shard_ports),
];

/// One that concerns servers as well.
pub(super) const fn every(name: &'static str, about: &'static str, run: fn(&Subject<'_>) -> Vec<Finding>) -> Check {
    Check { concerns: |_| true, ..new(name, about, run) }
}

const fn new(name: &'static str, about: &'static str, run: fn(&Subject<'_>) -> Vec<Finding>) -> Check {
    Check { name, about, run, ignorable: true, concerns: Role::is_node }
}

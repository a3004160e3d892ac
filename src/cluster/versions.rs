//! stub
use crate::config::{Cluster, Version};

/// What goes with one Kubernetes minor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Support {
    /// The `34` of v1.34.
    pub minor: u64,
    /// kubeadm's config API: `v1beta3` or `v1beta4`.
    pub kubeadm_api: &'static str,
    /// The CoreDNS image's tag.
    pub coredns: &'static str,
    /// The pause image's tag.
    pub pause: &'static str,
    /// containerd's release.
    pub containerd: &'static str,
    /// runc's release.
    pub runc: &'static str,
    /// The CNI plugins' release.
    pub cni: &'static str,
}

/// What goes with this Kubernetes version; `None` where it is not supported.
pub fn support(_version: &Version) -> Option<Support> {
    todo!()
}

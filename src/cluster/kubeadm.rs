//! stub
use crate::assets::Assets;
use crate::cluster::node::Node;
use crate::config::Cluster;
use crate::failure::Failure;

/// The document for `kubeadm init` on this node: InitConfiguration, ClusterConfiguration, KubeletConfiguration, KubeProxyConfiguration.
pub fn init_document(_cluster: &Cluster, _node: &Node, _assets: &Assets) -> Result<String, Failure> {
    todo!()
}

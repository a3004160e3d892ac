//! stub
use super::Catalogue;
use crate::config::Cluster;

/// Everything that a control plane of this architecture (`amd64`, `arm64`) needs.
pub fn catalogue(_cluster: &Cluster, _arch: &str) -> Catalogue {
    todo!()
}

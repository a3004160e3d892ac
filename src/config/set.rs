//! stub
use super::Cluster;
use crate::failure::Failure;

/// Applies `--set path=value` items (`kubernetes.version=v1.33.1`, `hosts.0.ssh.port=2222`) and checks the result as `load` does.
pub fn set(_cluster: &Cluster, _items: &[String]) -> Result<Cluster, Failure> {
    todo!()
}

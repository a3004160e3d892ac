//! stub
use super::Cluster;
use crate::failure::Failure;
use std::path::Path;

/// Reads and checks a cluster.yaml; every mistake is reported, each with line, column, snippet and a suggestion.
pub fn load(_path: &Path) -> Result<Cluster, Failure> {
    todo!()
}

/// The same for a text; `name` is what messages call it.
pub fn parse(_name: &str, _text: &str) -> Result<Cluster, Failure> {
    todo!()
}

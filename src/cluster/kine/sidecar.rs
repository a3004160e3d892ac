//! kine inside the API server's Pod, as a native sidecar: a kubeadm patch adds it under `initContainers` with `restartPolicy: Always`.
//!
//! Not under `containers`: a patched container lands first, and `kubeadm upgrade` takes `containers[0]` for the API server.

use super::{Pod, Process};
use crate::assets::Assets;
use crate::cluster::kubeadm;
use crate::cluster::versions::{self, Finding, Severity};
use crate::config::Cluster;
use crate::failure::{Failure, Kind};
use crate::op::File;
use crate::render::render;

/// The patch's file name, as kubeadm reads it: target, suffix, `+`, type. The suffix leaves plain names to the user's own patches.
const NAME: &str = "kube-apiserver0etcdless+strategic.yaml";

/// Where the patch belongs.
pub fn patch_path() -> String {
    format!("{}/{NAME}", kubeadm::PATCHES)
}

/// Refuses a sidecar where Kubernetes has none.
fn validate(cluster: &Cluster) -> Result<(), Failure> {
    let refused = |finding: &Finding| finding.path == "spec.kine.placement" && finding.severity == Severity::Refuse;
    match versions::check_pair(cluster).into_iter().find(refused) {
        Some(finding) => Err(Failure::new(Kind::Config, finding.message).hint(finding.suggestion)),
        None => Ok(()),
    }
}

/// The patch, with a container for each process.
pub fn patch(processes: &[Process], assets: &Assets) -> Result<String, Failure> {
    render(assets, "kine/sidecar.yaml.j2", &Pod::of(processes))
}

pub(super) fn files(cluster: &Cluster, processes: &[Process], assets: &Assets) -> Result<Vec<File>, Failure> {
    validate(cluster)?;
    let endpoints = processes.iter().map(Process::endpoint_secret);
    endpoints.chain([patch(processes, assets).map(|patch| File::new(patch_path(), 0o644, patch))]).collect()
}

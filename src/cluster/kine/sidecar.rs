//! kine inside the API server's Pod, as a native sidecar: a kubeadm patch adds it under `initContainers` with `restartPolicy: Always`.
//!
//! Not under `containers`: a patched container lands first, and `kubeadm upgrade` takes `containers[0]` for the API server.

use super::{Container, Process};
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

/// The patch.
pub fn patch(process: &Process, assets: &Assets) -> Result<String, Failure> {
    render(assets, "kine/sidecar.yaml.j2", &Container::new(process))
}

pub(super) fn files(cluster: &Cluster, process: &Process, assets: &Assets) -> Result<Vec<File>, Failure> {
    validate(cluster)?;
    Ok(vec![process.endpoint_secret()?, File::new(patch_path(), 0o644, patch(process, assets)?)])
}

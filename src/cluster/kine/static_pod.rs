//! kine as a static Pod of its own: the kubelet runs it, `kubectl` shows it.

use super::{Pod, Process};
use crate::assets::Assets;
use crate::failure::Failure;
use crate::op::File;
use crate::render::render;

/// The folder that the kubelet reads static Pods from. `kubeadm reset` empties it, so it holds nothing but what can be rendered again.
pub const MANIFESTS: &str = "/etc/kubernetes/manifests";

/// Where the manifest of a process belongs.
pub fn manifest_path(process: &Process) -> String {
    format!("{MANIFESTS}/{}.yaml", process.name())
}

/// The manifest.
pub fn manifest(process: &Process, assets: &Assets) -> Result<String, Failure> {
    render(assets, "kine/static-pod.yaml.j2", &Pod::of(std::slice::from_ref(process)))
}

/// The manifest and the endpoint that it reads.
pub(super) fn files(process: &Process, assets: &Assets) -> Result<Vec<File>, Failure> {
    Ok(vec![process.endpoint_secret()?, File::new(manifest_path(process), 0o600, manifest(process, assets)?)])
}

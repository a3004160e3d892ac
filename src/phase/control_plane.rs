//! Phase `control-plane`: the API server up on kine, then everything else that `kubeadm init` does.

use super::artifacts::image_step;
use super::kubelet::{document, kubeadm_step};
use super::{Context, Step, kine};
use crate::cluster::kine::sidecar;
use crate::cluster::kubeadm::patch_files;
use crate::config::hooks::Hooks;
use crate::config::{Cluster, Placement, Ssh, yaml};
use crate::failure::{Failure, Kind};
use crate::op::{File, Op, Script, sha256};

/// Where a control plane, and the host of a server, keeps the description of its cluster.
pub const RECORD: &str = "/etc/etcdless/cluster.yaml";

/// Seconds that the API server has to become ready; kubeadm's own figure is 4 minutes.
const API_DEADLINE: u64 = 240;

/// What this phase wants on a host.
pub fn steps(context: &Context<'_>) -> Result<Vec<Step>, Failure> {
    let patches = patch_files(context.cluster, context.assets)?.iter().map(File::sha256).collect::<String>();
    let digest = sha256(format!("{}{patches}", document(context)?.sha256()).as_bytes());
    let record = record(context)?;
    let described = Op::Script(Script {
        text: include_str!("scripts/describe.sh").into(),
        args: vec![RECORD.into()],
        creates: Vec::new(),
        watches: vec![RECORD.into()],
        of: record.sha256(),
        seconds: 60,
    });
    Ok(vec![
        Step::new("control-plane/record", "keep the cluster's description on the host", Op::File(record)),
        api_server(context, &digest)?,
        controllers(&digest),
        kubeadm_step(
            "control-plane/kubeadm",
            "upload configuration, mark the node, install kube-proxy and CoreDNS",
            include_str!("scripts/kubeadm-rest.sh"),
            &[],
            &digest,
        )
        .after(["control-plane/api-server"]),
        Step::new("control-plane/described", "keep the cluster's description in the cluster", described)
            .after(["control-plane/record", "control-plane/api-server"]),
    ])
}

fn api_server(context: &Context<'_>, digest: &str) -> Result<Step, Failure> {
    let mut step = kubeadm_step(
        "control-plane/api-server",
        "start the API server",
        include_str!("scripts/api-server.sh"),
        &["/etc/kubernetes/manifests/kube-apiserver.yaml"],
        digest,
    );
    if let Op::Script(script) = &mut step.op {
        script.args.extend([context.cluster.api_name(), API_DEADLINE.to_string()]);
        script.seconds = API_DEADLINE + 60;
        if context.cluster.spec.kine.placement == Placement::Sidecar {
            script.watches.push(sidecar::patch_path());
        }
    }
    let step = step.after(["kubelet".into(), image_step("kube-apiserver")]);
    Ok(match context.cluster.spec.kine.placement {
        Placement::StaticPod | Placement::Systemd => step.after(["kine"]),
        // The sidecar comes up with the API server's Pod, so it is proven afterwards.
        Placement::Sidecar => step.after(kine::placed_ids(context)?).after([image_step("kine")]).after_servers(context),
    })
}

fn controllers(digest: &str) -> Step {
    kubeadm_step(
        "control-plane/controllers",
        "start controller manager and scheduler",
        include_str!("scripts/controllers.sh"),
        &["/etc/kubernetes/manifests/kube-controller-manager.yaml", "/etc/kubernetes/manifests/kube-scheduler.yaml"],
        digest,
    )
    .after(["control-plane/api-server"])
    .after(["kube-controller-manager", "kube-scheduler"].map(image_step))
}

/// The description as it is kept: the node's name filled in, how this operator logs in and the operator's hooks left out.
pub(super) fn record(context: &Context<'_>) -> Result<File, Failure> {
    let mut kept: Cluster = context.cluster.clone();
    kept.spec.hooks = Hooks::default();
    for host in &mut kept.spec.hosts {
        host.ssh = Ssh::default();
        host.user = None;
        if host.label() == context.node.label {
            host.name = context.node.name.parse().ok();
        }
    }
    let text = yaml::to_string(&kept)
        .map_err(|error| Failure::new(Kind::Internal, format!("cannot write the cluster's description: {error}")))?;
    Ok(File::new(RECORD, 0o644, text))
}

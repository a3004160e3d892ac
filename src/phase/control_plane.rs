//! Phase `control-plane`: the API server up on kine, then everything else that `kubeadm init` does.

use super::artifacts::image_step;
use super::kubelet::{document, kubeadm_step};
use super::{Context, Step, kine};
use crate::cluster::kine::sidecar;
use crate::cluster::kubeadm::{CRI_SOCKET, patch_files};
use crate::config::hooks::Hooks;
use crate::config::{API_PORT, ApiAddress, Cluster, Endpoint, Placement, Ssh, yaml};
use crate::failure::{Failure, Kind};
use crate::op::{File, Op, Script, sha256};

/// Where a control plane, and the host of a server, keeps the description of its cluster.
pub const RECORD: &str = "/etc/etcdless/cluster.yaml";

/// The step of a control plane that was made with the authorities of another one.
pub const MEMBER: &str = "control-plane/member";

/// The step of the control plane that made the cluster.
pub const FOUNDER: &str = "control-plane/kubeadm";

/// Seconds that the API server has to become ready; kubeadm's own figure is 4 minutes.
const API_DEADLINE: u64 = 240;

/// Seconds that a load balancer has to notice an API server.
const ENDPOINT_DEADLINE: u64 = 60;

/// What this phase wants on a host.
pub fn steps(context: &Context<'_>) -> Result<Vec<Step>, Failure> {
    let patches = patch_files(context.cluster, context.assets)?.iter().map(File::sha256).collect::<String>();
    let digest = sha256(format!("{}{patches}", document(context)?.sha256()).as_bytes());
    let record = record(context)?;
    let described = context.is_first().then(|| described(&record).after_servers(context));
    let reached = reached(context);
    let last = if context.is_member() { member(context, &digest) } else { founder(&digest) };
    let last = last.after(reached.iter().map(|step| step.id.clone())).after_servers(context);
    let steps = [
        Step::new("control-plane/record", "keep the cluster's description on the host", Op::File(record)),
        api_server(context, &digest)?,
        controllers(&digest),
    ];
    Ok(steps.into_iter().chain(reached).chain([last]).chain(described).collect())
}

/// What makes a cluster of a control plane.
fn founder(digest: &str) -> Step {
    kubeadm_step(
        FOUNDER,
        "upload configuration, mark the node, install kube-proxy and CoreDNS",
        include_str!("scripts/kubeadm-rest.sh"),
        &[],
        digest,
    )
    .after(["control-plane/api-server"])
}

/// What makes a further control plane one of the cluster's.
fn member(context: &Context<'_>, digest: &str) -> Step {
    let script = include_str!("scripts/member.sh");
    let mut step = kubeadm_step(MEMBER, "mark the node as a control plane", script, &[], digest);
    if let Op::Script(script) = &mut step.op {
        script.args.extend([context.node.name.clone(), CRI_SOCKET.into()]);
    }
    step.after(["control-plane/api-server"]).after_ahead(context, "control-plane")
}

/// An endpoint that does not lead here would only show as kubeadm's running out of time. The name of our own leads to this very host, or to one
/// that runs already.
fn reached(context: &Context<'_>) -> Option<Step> {
    let address = match context.cluster.endpoint() {
        Endpoint::Direct(_) | Endpoint::Local(_) => return None,
        Endpoint::External(_) | Endpoint::Vip(_) => context.cluster.api().to_string(),
    };
    let script = Script {
        text: include_str!("scripts/endpoint_reached.sh").into(),
        args: vec![address.clone(), ENDPOINT_DEADLINE.to_string()],
        creates: Vec::new(),
        watches: Vec::new(),
        of: String::new(),
        seconds: ENDPOINT_DEADLINE + 30,
    };
    let title = format!("see that {address} leads to the API servers");
    Some(Step::new("control-plane/endpoint", title, Op::Script(script)).after(["control-plane/api-server"]))
}

fn described(record: &File) -> Step {
    let script = Script {
        text: include_str!("scripts/describe.sh").into(),
        args: vec![RECORD.into()],
        creates: Vec::new(),
        watches: vec![RECORD.into()],
        of: record.sha256(),
        seconds: 60,
    };
    Step::new("control-plane/described", "keep the cluster's description in the cluster", Op::Script(script)).after([
        "control-plane/record",
        "control-plane/api-server",
        "control-plane/endpoint",
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
        // Its own door: the API's name may lead to another one.
        let own = ApiAddress { host: context.node.address.to_string(), port: API_PORT };
        script.args.extend([own.to_string(), API_DEADLINE.to_string()]);
        script.seconds = API_DEADLINE + 60;
        if context.cluster.spec.kine.placement == Placement::Sidecar {
            script.watches.push(sidecar::patch_path());
        }
    }
    let step = step.after(["kubelet".into(), image_step("kube-apiserver")]);
    // Kubernetes' own first objects are made by one of them, and one that is restarted leaves the others to serve.
    let step = step.after_ahead(context, "control-plane/api-server");
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

/// The description as it is kept: the nodes' names and addresses and the endpoint filled in, how this operator logs in and the operator's hooks left out.
pub(super) fn record(context: &Context<'_>) -> Result<File, Failure> {
    let mut kept: Cluster = context.cluster.clone();
    kept.spec.endpoint = Some(context.cluster.endpoint());
    kept.spec.hooks = Hooks::default();
    // Files of this operator's machine mean nothing to another one.
    (kept.spec.artifacts.bundle, kept.spec.artifacts.bundle_base) = (None, Vec::new());
    for host in &mut kept.spec.hosts {
        host.ssh = Ssh::default();
        host.user = None;
        let Some(peer) = context.peers.iter().find(|peer| peer.label == host.label()) else { continue };
        host.name = peer.name.as_ref().and_then(|name| name.parse().ok()).or(host.name.take());
        // What this operator calls the machine may mean nothing to another one.
        host.node_ip = Some(peer.address);
    }
    let text = yaml::to_string(&kept)
        .map_err(|error| Failure::new(Kind::Internal, format!("cannot write the cluster's description: {error}")))?;
    Ok(File::new(RECORD, 0o644, text))
}

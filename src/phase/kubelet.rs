//! Phase `kubelet`: kubeadm's document, certificates and kubeconfigs, and the kubelet running.

use super::artifacts::image_step;
use super::{Context, Step};
use crate::cluster::kubeadm;
use crate::config::Placement;
use crate::failure::Failure;
use crate::op::{File, Op, Script};

/// Where kubeadm's document is kept. It holds no secret, but it is nobody else's business either.
pub const CONFIG: &str = "/etc/etcdless/kubeadm/init.yaml";

/// What this phase wants on a host.
pub fn steps(context: &Context<'_>) -> Result<Vec<Step>, Failure> {
    let document = kubeadm::init_document(context.cluster, context.node, context.assets)?;
    let document = File::new(CONFIG, 0o600, document);
    let digest = document.sha256();
    let config = Step::new("kubelet/config", "write kubeadm's configuration", Op::File(document));
    let certificates = kubeadm_step(
        "kubelet/certificates",
        "make certificates and kubeconfigs",
        include_str!("scripts/certificates.sh"),
        &["/etc/kubernetes/pki/ca.crt", "/etc/kubernetes/pki/apiserver.crt", "/etc/kubernetes/admin.conf"],
        &digest,
    )
    .after(["kubelet/config", "node/kubeadm"]);
    let started = kubeadm_step(
        "kubelet/started",
        "start the kubelet",
        include_str!("scripts/kubelet-start.sh"),
        &["/var/lib/kubelet/config.yaml"],
        &digest,
    )
    .after(["node", "datastore", "endpoint", "kubelet/certificates"])
    .after(before_the_kubelet(context));
    Ok(vec![config, certificates, started])
}

/// A step that runs a phase of kubeadm. A changed document makes it necessary again; kubeadm's phases keep what is right already.
pub(super) fn kubeadm_step(id: &str, title: &str, text: &'static str, creates: &[&str], digest: &str) -> Step {
    let script = Script {
        text: text.into(),
        args: vec![CONFIG.into()],
        creates: creates.iter().map(ToString::to_string).collect(),
        watches: vec![CONFIG.into()],
        of: digest.into(),
        seconds: 300,
    };
    Step::new(id, title, Op::Script(script))
}

/// The kubelet starts what it finds: kine's manifest and images must be there; kine under systemd comes up before it.
fn before_the_kubelet(context: &Context<'_>) -> Vec<String> {
    match context.cluster.spec.kine.placement {
        Placement::StaticPod => vec!["kine/files".into(), "kine/certificates".into(), image_step("kine"), image_step("pause")],
        Placement::Systemd => vec!["kine/proven".into(), image_step("pause")],
        Placement::Sidecar => vec![image_step("pause")],
    }
}

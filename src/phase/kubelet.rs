//! Phase `kubelet`: kubeadm's document, certificates and kubeconfigs, and the kubelet running.

use super::artifacts::image_step;
use super::{Context, Step, kine};
use crate::cluster::kubeadm::{self, INIT};
use crate::config::Placement;
use crate::failure::Failure;
use crate::op::{File, Op, Script};

/// The step by which a control plane's journal tells that etcdless built it.
pub const CERTIFICATES: &str = "kubelet/certificates";

/// What this phase wants on a host.
pub fn steps(context: &Context<'_>) -> Result<Vec<Step>, Failure> {
    let document = document(context)?;
    let digest = document.sha256();
    let config = Step::new("kubelet/config", "write kubeadm's configuration", Op::File(document));
    let authorities = authorities(context);
    let mut certificates = kubeadm_step(
        CERTIFICATES,
        "make certificates and kubeconfigs",
        include_str!("scripts/certificates.sh"),
        &["/etc/kubernetes/pki/ca.crt", "/etc/kubernetes/pki/apiserver.crt", "/etc/kubernetes/admin.conf"],
        &digest,
    )
    .after(["kubelet/config", "node/kubeadm"])
    .after(authorities.iter().map(|step| step.id.clone()));
    if let Op::Script(script) = &mut certificates.op {
        // Only the control plane that makes the cluster needs to get past RBAC, before there is any.
        let kubeconfigs: &[&str] = match context.is_member() {
            true => &["admin", "kubelet", "controller-manager", "scheduler"],
            false => &["all"],
        };
        script.args.extend(kubeconfigs.iter().map(ToString::to_string));
    }
    let started = kubeadm_step(
        "kubelet/started",
        "start the kubelet",
        include_str!("scripts/kubelet-start.sh"),
        &["/var/lib/kubelet/config.yaml"],
        &digest,
    )
    .after(["node", "datastore", "endpoint", "kubelet/certificates"])
    .after(before_the_kubelet(context)?);
    let started = match context.cluster.spec.kine.placement {
        // It starts kine, and only one of them makes the table.
        Placement::StaticPod => started.after_servers(context).after_ahead(context, "kine"),
        Placement::Systemd | Placement::Sidecar => started,
    };
    let patches = kubeadm::patch_files(context.cluster, context.assets)?.into_iter().map(|file| {
        let id = format!("kubelet/patch/{}", file.path.rsplit('/').next().unwrap_or_default());
        Step::new(id, format!("write {}", file.path), Op::File(file))
    });
    Ok(patches.chain([config]).chain(authorities).chain([certificates, started]).collect())
}

/// What all control planes of a cluster have in common, as kubeadm names it: the authorities, and what signs service accounts.
const AUTHORITIES: [(&str, u32); 6] = [
    ("/etc/kubernetes/pki/ca.crt", 0o644),
    ("/etc/kubernetes/pki/ca.key", 0o600),
    ("/etc/kubernetes/pki/front-proxy-ca.crt", 0o644),
    ("/etc/kubernetes/pki/front-proxy-ca.key", 0o600),
    ("/etc/kubernetes/pki/sa.pub", 0o600),
    ("/etc/kubernetes/pki/sa.key", 0o600),
];

/// A further control plane takes the authorities from the first one, from one file of root's to another, and makes its own certificates with
/// them: no key goes through the API, and there is no key to them that somebody would have to pass on.
fn authorities(context: &Context<'_>) -> Vec<Step> {
    if !context.restored.is_empty() {
        return super::restore::placed(context.restored);
    }
    let Some(first) = context.control_plane.filter(|_| !context.is_first()) else { return Vec::new() };
    let lacking = AUTHORITIES.iter().filter(|(path, _)| !context.facts.files.contains_key(*path));
    lacking
        .map(|(path, mode)| {
            let name = path.rsplit('/').next().unwrap_or_default();
            let op = Op::Carry { host: first.label.clone(), path: (*path).into(), mode: *mode };
            Step::new(
                format!("kubelet/authority-{}", name.replace('.', "-")),
                format!("take {name} of {}", first.label),
                op,
            )
            .after_on(&first.label, "kubelet/certificates")
        })
        .collect()
}

/// kubeadm's document. It holds no secret, but it is nobody else's business either.
pub(super) fn document(context: &Context<'_>) -> Result<File, Failure> {
    Ok(File::new(INIT, 0o600, kubeadm::init_document(context.cluster, context.node, context.assets)?))
}

/// A step that runs a phase of kubeadm. A changed document makes it necessary again; kubeadm's phases keep what is right already.
pub(super) fn kubeadm_step(id: &str, title: &str, text: &'static str, creates: &[&str], digest: &str) -> Step {
    let script = Script {
        text: format!("{}{text}", include_str!("scripts/kubeadm-environment.sh")).into(),
        args: vec![INIT.into()],
        creates: creates.iter().map(ToString::to_string).collect(),
        watches: vec![INIT.into()],
        of: digest.into(),
        seconds: 300,
    };
    Step::new(id, title, Op::Script(script))
}

/// The kubelet starts what it finds: kine's manifest and images must be there; kine under systemd comes up before it.
fn before_the_kubelet(context: &Context<'_>) -> Result<Vec<String>, Failure> {
    let mut before = vec![image_step("pause")];
    match context.cluster.spec.kine.placement {
        Placement::StaticPod => {
            before.extend(kine::placed_ids(context)?);
            before.push(image_step("kine"));
        }
        Placement::Systemd => before.extend(kine::proven_ids(context)),
        Placement::Sidecar => {}
    }
    Ok(before)
}

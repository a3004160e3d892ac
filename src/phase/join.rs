//! Phase `join`: workers become nodes of the cluster that the first control plane runs.
//!
//! A token that lives minutes goes from the control plane to each worker inside a kubeconfig, from one file of root's to another; it is in no
//! argument, plan or log, and is revoked once all have joined.

use super::{Context, Step};
use crate::cluster::kubeadm::{self, JOIN, KUBELET_CONFIG};
use crate::config::Role;
use crate::facts::Facts;
use crate::failure::Failure;
use crate::op::{File, Op, Script, sha256};

/// The kubeconfig with the token, in memory only.
const TICKET: &str = "/run/etcdless/join.conf";

/// Seconds that a worker has to become a node.
const DEADLINE: u64 = 300;

/// Whether a worker is a node already, as far as it and the journal tell.
pub(super) fn has_joined(facts: &Facts) -> bool {
    facts.files.contains_key(KUBELET_CONFIG) && facts.journal.steps.contains_key("join/joined")
}

/// What this phase wants on a host.
pub fn steps(context: &Context<'_>) -> Result<Vec<Step>, Failure> {
    match context.node.role {
        Role::Worker => worker(context),
        Role::ControlPlane if context.joining.is_empty() => Ok(Vec::new()),
        Role::ControlPlane => Ok(tickets(context)),
        Role::Datastore => Ok(Vec::new()),
    }
}

fn worker(context: &Context<'_>) -> Result<Vec<Step>, Failure> {
    let text = kubeadm::join_document(context.cluster, context.node, TICKET, context.assets)?;
    let digest = sha256(text.as_bytes());
    let mut steps =
        vec![Step::new("join/config", "write kubeadm's configuration", Op::File(File::new(JOIN, 0o600, text)))];
    // kubeadm wants the folder, whether there is a patch in it or not.
    let folder = Op::Directory { path: kubeadm::PATCHES.into(), mode: 0o755 };
    steps.push(Step::new("join/patches", format!("make {}", kubeadm::PATCHES), folder));
    steps.extend(kubeadm::kubelet_patches(context.cluster)?.into_iter().map(|file| {
        let id = format!("join/patch/{}", file.path.rsplit('/').next().unwrap_or_default());
        Step::new(id, format!("write {}", file.path), Op::File(file))
    }));
    let placed: Vec<String> = steps.iter().map(|step| step.id.clone()).collect();
    if let Some(control_plane) = context.control_plane.filter(|_| context.joining.contains(&context.node.label)) {
        let ticket = Op::Carry { host: control_plane.label.clone(), path: TICKET.into(), mode: 0o600 };
        let ticket = Step::new("join/ticket", "take the token to join with", ticket);
        steps.push(ticket.after(["node", "endpoint", "artifacts"]).after_on(&control_plane.label, "join/ticket"));
    }
    let joined = Script {
        text: include_str!("scripts/join.sh").into(),
        args: vec![JOIN.into(), TICKET.into(), context.node.name.clone()],
        creates: vec![KUBELET_CONFIG.into()],
        watches: Vec::new(),
        of: digest,
        seconds: DEADLINE,
    };
    let joined = Step::new("join/joined", "join the cluster", Op::Script(joined));
    steps.push(joined.after(placed).after(["join/ticket"]));
    Ok(steps)
}

/// On the control plane: one token for all that join in this run.
fn tickets(context: &Context<'_>) -> Vec<Step> {
    let script = |text: &'static str, args: Vec<String>| {
        Op::Script(Script {
            text: text.into(),
            args,
            creates: Vec::new(),
            watches: Vec::new(),
            // Another run makes another token, whatever the journal says of the last one.
            of: context.run.to_owned(),
            seconds: 60,
        })
    };
    let make = script(include_str!("scripts/join_ticket.sh"), vec![TICKET.into(), context.cluster.api_name()]);
    let make = Step::new("join/ticket", "make a token that lives ten minutes", make);
    let revoke = script(include_str!("scripts/join_ticket_revoked.sh"), vec![TICKET.into()]);
    let revoke = Step::new("join/ticket-revoked", "revoke the token", revoke).after(["join/ticket"]);
    let revoke = context.joining.iter().fold(revoke, |step, worker| step.after_on(worker, "join/joined"));
    vec![make.after(["control-plane"]), revoke.in_any_case()]
}

//! Phase `join`: workers become nodes of the cluster that the first control plane runs.
//!
//! A token that lives minutes goes from the control plane to each worker inside a kubeconfig, from one file of root's to another; it is in no
//! argument, plan or log, and is revoked once all have joined.

use super::{Context, Peer, Step};
use crate::cluster::kubeadm::{self, JOIN, KUBELET_CONFIG};
use crate::config::{Network, Role};
use crate::facts::Facts;
use crate::failure::Failure;
use crate::op::{File, Op, Script, sha256};

/// A script that runs kubeadm.
macro_rules! kubeadm {
    ($file:literal) => {
        concat!(include_str!("scripts/kubeadm-environment.sh"), include_str!($file))
    };
}

/// The kubeconfig with the token, in memory only.
const TICKET: &str = "/run/etcdless/join.conf";

/// Seconds that a worker has to become a node.
const DEADLINE: u64 = 300;

/// What kubeadm says when a worker cannot join, and what to do about it.
const REFUSALS: &[(&str, &str)] = &[
    (
        "already exists in the cluster",
        "another machine has this node's name: give the host another one (hosts[].name), or take that node out with `etcdless remove`",
    ),
    (
        "Unauthorized",
        "the token was not accepted, or its half hour is over: run the same command again, which makes another one",
    ),
    (
        "certificate signed by unknown authority",
        "what answers at the API's endpoint is of another cluster, or opens TLS in between: `etcdless status` on a control plane shows where the endpoint leads",
    ),
    (
        "certificate has expired or is not yet valid",
        "the clocks of this host and of the control plane differ: set them right (chrony, systemd-timesyncd)",
    ),
    (
        "certificate is valid for",
        "the API's certificate does not have the endpoint's name: spec.endpoint was another one when the cluster was made",
    ),
    ("connection refused", "nothing answers at the API's endpoint: `etcdless status` shows the control planes"),
    ("no route to host", "the API's endpoint cannot be reached from this host: see routes and firewalls"),
    ("i/o timeout", "the API's endpoint cannot be reached from this host: see routes and firewalls"),
    ("no such host", "the API's name is not known on this host: run the phase again with --only endpoint"),
];

/// Whether a worker is a node already, as far as it and the journal tell.
pub(super) fn has_joined(facts: &Facts) -> bool {
    facts.files.contains_key(KUBELET_CONFIG) && facts.journal.steps.contains_key("join/joined")
}

/// What this phase wants on a host.
pub fn steps(context: &Context<'_>) -> Result<Vec<Step>, Failure> {
    match context.node.role {
        Role::Worker => worker(context),
        Role::ControlPlane if context.is_first() => {
            Ok(tickets(context).into_iter().chain(marks(context)).chain(spread(context)).collect())
        }
        Role::ControlPlane => Ok(Vec::new()),
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
        text: kubeadm!("scripts/join.sh").into(),
        args: vec![JOIN.into(), TICKET.into(), context.node.name.clone()],
        creates: vec![KUBELET_CONFIG.into()],
        watches: Vec::new(),
        of: digest,
        seconds: DEADLINE,
    };
    let joined = Step::new("join/joined", "join the cluster", Op::Script(joined)).hinting(REFUSALS);
    steps.push(joined.after(placed).after(["join/ticket"]));
    Ok(steps)
}

/// On the control plane: one token for all that join in this run.
fn tickets(context: &Context<'_>) -> Vec<Step> {
    if context.joining.is_empty() {
        return Vec::new();
    }
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
    let make = script(kubeadm!("scripts/join_ticket.sh"), vec![TICKET.into(), context.cluster.api().to_string()]);
    let make = Step::new("join/ticket", "make a token that lives half an hour", make);
    let known = super::restore::rejoining(context);
    let make = make.after(known.iter().map(|step| step.id.clone()));
    let revoke = script(kubeadm!("scripts/join_ticket_revoked.sh"), vec![TICKET.into()]);
    let revoke = Step::new("join/ticket-revoked", "revoke the token", revoke).after(["join/ticket"]);
    let revoke = context.joining.iter().fold(revoke, |step, worker| step.after_on(worker, "join/joined"));
    let steps = [make.after(["control-plane"]).after_servers(context), revoke.in_any_case()];
    known.into_iter().chain(steps).collect()
}

/// On the control plane: cluster DNS starts before there is a second node, and would be gone with the first.
fn spread(context: &Context<'_>) -> Option<Step> {
    let members = context.control_planes().filter(|peer| peer.seen && !peer.built && peer.label != context.node.label);
    let new: Vec<(&str, &str)> = members
        .map(|peer| (peer.label.as_str(), "control-plane"))
        .chain(context.joining.iter().map(|worker| (worker.as_str(), "join/joined")))
        .collect();
    let others = context.peers.len().saturating_sub(new.len());
    if new.is_empty() || others > 1 || matches!(context.cluster.spec.network, Network::None(_)) {
        return None;
    }
    let named = |peer: &&Peer| new.iter().any(|(label, _)| *label == peer.label);
    let names = context.peers.iter().filter(named).filter_map(|peer| Some(format!("node/{}", peer.name.as_ref()?)));
    let op = Op::Script(Script {
        text: include_str!("scripts/dns_spread.sh").into(),
        args: names.collect(),
        creates: Vec::new(),
        watches: Vec::new(),
        of: context.run.to_owned(),
        seconds: 180,
    });
    let step = Step::new("join/dns", "spread cluster DNS over nodes", op)
        .after(["control-plane", "network"])
        .after_servers(context);
    Some(new.into_iter().fold(step, |step, (host, id)| step.after_on(host, id)).in_any_case())
}

/// On the control plane: labels and taints of the nodes. A kubelet may not give itself all of them, and knows them only when it registers.
fn marks(context: &Context<'_>) -> Vec<Step> {
    let wanted = context.cluster.nodes().filter(|host| !host.labels.is_empty() || !host.taints.is_empty());
    wanted
        .filter_map(|host| {
            let peer = context.peers.iter().find(|peer| peer.seen && peer.label == host.label())?;
            let name = peer.name.clone()?;
            let labels: Vec<String> = host.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let taints = host.taints.iter().map(ToString::to_string);
            let count = labels.len().to_string();
            let script = Script {
                text: include_str!("scripts/node_marks.sh").into(),
                args: [name.clone(), count].into_iter().chain(labels).chain(taints).collect(),
                creates: Vec::new(),
                watches: Vec::new(),
                of: String::new(),
                seconds: 120,
            };
            let step =
                Step::new(format!("join/marks-{}", peer.label), format!("label and taint {name}"), Op::Script(script));
            let step = step.after(["control-plane"]).after_servers(context);
            Some(match peer.role {
                _ if peer.label == context.node.label => step,
                Role::ControlPlane => step.after_on(&peer.label, "control-plane").or_never(),
                Role::Worker | Role::Datastore => step.after_on(&peer.label, "join/joined").or_never(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kubeadm_refuses_has_a_way_on() {
        let step = Step::new("join/joined", "join the cluster", Op::SwapOff).hinting(REFUSALS);
        for (said, hint) in [
            (
                "error: a Node with name \"w1\" and status \"Ready\" already exists in the cluster.",
                Some("another machine has this node's name"),
            ),
            (
                "Abort reading the cluster-info ConfigMap after timeout of 30s: Unauthorized",
                Some("the token was not accepted"),
            ),
            (
                "Get \"https://api:7443/\": tls: failed to verify certificate: x509: certificate signed by unknown authority",
                Some("what answers at the API's endpoint is of another cluster"),
            ),
            (
                "x509: certificate has expired or is not yet valid: current time 2020-01-01T00:00:00Z is before 2026-11-21T00:00:00Z",
                Some("the clocks of this host"),
            ),
            ("dial tcp 127.0.0.1:7443: connect: connection refused", Some("nothing answers at the API's endpoint")),
            ("something else", None),
        ] {
            let found = step.hint(&["first".into(), said.into()]);
            assert_eq!(
                found.map(|found| hint.is_some_and(|hint| found.starts_with(hint))),
                hint.map(|_| true),
                "{said}"
            );
        }
    }
}

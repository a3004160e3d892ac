//! Taking a node out of a cluster, as its control planes see it: drained, deleted, and not in the description any more. Taking its host apart is
//! `reset`'s.

use super::Step;
use super::plan::{Plan, Planned};
use crate::config::Role;
use crate::failure::Failure;
use crate::op::{Decision, Op, Script};

/// The node that leaves.
#[derive(Debug, Clone)]
pub struct Leaving {
    /// Its name in Kubernetes, as far as it is known.
    pub name: String,
    /// How its host is reached, which may be its address in Kubernetes.
    pub address: String,
    /// Whether its machine still answers: only then Pods can end there.
    pub reached: bool,
    /// How long its Pods may take to leave, in seconds.
    pub seconds: u64,
    /// Whether what Pods have in emptyDir volumes may be lost.
    pub delete_emptydir_data: bool,
}

/// What a control plane does first.
pub fn draining(control_plane: &str, leaving: &Leaving, run: &str) -> Plan {
    let volumes = if leaving.delete_emptydir_data { "delete" } else { "keep" };
    let (verb, title) = match leaving.reached {
        true => ("drain", format!("drain {}", leaving.name)),
        false => ("cordon", format!("cordon {}", leaving.name)),
    };
    let args = [&leaving.name, &leaving.address, &leaving.seconds.to_string(), volumes, verb].map(str::to_owned);
    let text = include_str!("scripts/node_drained.sh");
    // kubectl ends by itself before the script is ended.
    one(control_plane, "remove/drained", title, text, args.to_vec(), leaving.seconds + 60, run)
}

/// What it does once the host is taken apart, so that no kubelet registers the node again.
pub fn deleting(control_plane: &str, leaving: &Leaving, run: &str) -> Plan {
    let args = vec![leaving.name.clone(), leaving.address.clone()];
    let text = include_str!("scripts/node_deleted.sh");
    one(control_plane, "remove/deleted", format!("delete the node {}", leaving.name), text, args, 90, run)
}

fn one(host: &str, id: &str, title: String, text: &'static str, args: Vec<String>, seconds: u64, run: &str) -> Plan {
    let op = Op::Script(Script {
        text: text.into(),
        args,
        creates: Vec::new(),
        watches: Vec::new(),
        of: run.to_owned(),
        seconds,
    });
    let planned = Planned { step: Step::new(id, title, op), decision: Decision::Change("a node leaves".into()) };
    Plan { host: host.to_owned(), steps: vec![planned], proxy: None }
}

/// Of a plan for the hosts that stay, what has to do with who is a member: the API's name and balancers, the description that is kept, and, where
/// a control plane leaves, whom a database server lets in.
pub fn members(mut plan: Plan, leaving: Role, role: Role) -> Plan {
    let kept = ["control-plane/record", "control-plane/described", "datastore/record"];
    let server = leaving.is_control_plane() && role == Role::Datastore;
    plan.steps.retain(|planned| {
        let phase = planned.step.phase();
        phase == "endpoint" || (server && phase == "datastore") || kept.contains(&planned.step.id.as_str())
    });
    plan
}

/// Says what to do about what `kubectl drain` refused.
pub fn explain_drain(failure: Failure, node: &str) -> Failure {
    let said = failure.output.join("\n");
    let says = |text: &str| said.contains(text);
    let mut failure = failure;
    if says("--delete-emptydir-data") {
        failure = failure.hint("go on, and lose what those Pods have in emptyDir volumes: --delete-emptydir-data");
    }
    if says("declare no controller") {
        failure = failure.hint("nothing would make those Pods anew elsewhere: delete them yourself first");
    }
    if says("global timeout") || says("disruption budget") {
        failure = failure
            .hint("give its Pods more time: --drain-timeout 15m; `kubectl get pdb -A` shows who may not leave yet");
    }
    failure.hint(format!("or let it stay: kubectl uncordon {node}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Kind;

    #[test]
    fn what_drain_refuses_has_a_way_on() {
        for (said, hint) in [
            (
                "error: cannot delete Pods with local storage (use --delete-emptydir-data to override): a/b",
                "--delete-emptydir-data",
            ),
            (
                "error: cannot delete cannot delete Pods that declare no controller (use --force to override): a/b",
                "delete them yourself",
            ),
            (
                "error: unable to drain node, drain did not complete within 5s: global timeout reached: 5s",
                "--drain-timeout",
            ),
        ] {
            let failure = Failure::new(Kind::Step, "drain w1 failed").output(vec![said.into()]);
            let hints = explain_drain(failure, "w1").hints;
            assert!(hints.first().is_some_and(|first| first.contains(hint)), "{said}: {hints:?}");
            assert!(hints.last().is_some_and(|last| last.contains("kubectl uncordon w1")), "{said}: {hints:?}");
        }
    }
}

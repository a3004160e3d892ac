//! Hooks: programs of the user's own before and after a phase, as steps of the plan.
//!
//! Only a phase that has something to change on a host has hooks there, beside those after it that have not succeeded yet.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::plan::Planned;
use super::{Context, PHASES, Step};
use crate::config::hooks::Hook;
use crate::config::validate::Violation;
use crate::config::{Cluster, Role};
use crate::op::{Decision, Local, Op, Script};
use crate::remote::{RemoteError, Signal, Signals};

/// How many of the last lines an error keeps.
const KEPT_LINES: usize = 20;

/// What messages call the machine that etcdless runs on.
const HERE: &str = "this machine";

/// A rule of cluster.yaml: hooks belong to phases that there are.
pub fn check(cluster: &Cluster) -> Vec<Violation> {
    let known: Vec<&str> = PHASES.iter().map(|phase| phase.name).collect();
    let hooks = &cluster.spec.hooks;
    let named =
        hooks.before.keys().map(|phase| ("before", phase)).chain(hooks.after.keys().map(|phase| ("after", phase)));
    named
        .filter(|(_, phase)| !known.contains(&phase.as_str()))
        .map(|(when, phase)| {
            Violation::new(format!("spec.hooks.{when}.{phase}"), format!("`{phase}` is not a phase that changes hosts"))
                .suggest(format!("use one of {}", known.join(", ")))
        })
        .collect()
}

/// Puts the hooks of a host into its plan, and makes the steps around them wait.
pub(super) fn weave(context: &Context<'_>, planned: &mut Vec<Planned>) {
    for phase in PHASES.iter().map(|phase| phase.name) {
        let hooks = &context.cluster.spec.hooks;
        if hooks.before.contains_key(phase) || hooks.after.contains_key(phase) {
            weave_phase(context, phase, planned);
        }
    }
}

fn weave_phase(context: &Context<'_>, phase: &str, planned: &mut Vec<Planned>) {
    let hooks = &context.cluster.spec.hooks;
    let concerns = |hook: &&Hook| hook.concerns(&context.node.label, context.node.role);
    let of = |hooks: Option<&'_ Vec<Hook>>| hooks.into_iter().flatten().filter(concerns).cloned().collect::<Vec<_>>();
    let (before, after) = (of(hooks.before.get(phase)), of(hooks.after.get(phase)));
    let (Some(first), Some(last)) = (
        planned.iter().position(|planned| planned.step.phase() == phase),
        planned.iter().rposition(|planned| planned.step.phase() == phase),
    ) else {
        return;
    };
    let changed = |planned: &Planned| planned.step.phase() == phase && planned.decision != Decision::AlreadySo;
    let members: BTreeSet<String> =
        planned.iter().filter(|planned| changed(planned)).map(|planned| planned.step.id.clone()).collect();
    let step = |when: &str, index: usize, hook: &Hook| {
        let program = hook.local.as_ref().or(hook.host.as_ref());
        let name = program.and_then(|path| path.file_name()).unwrap_or_default().to_string_lossy().into_owned();
        let place = if hook.local.is_some() { " on this machine" } else { "" };
        Step::new(
            format!("{phase}/{when}-{}", index + 1),
            format!("run {name}{place} {when} {phase}"),
            op(context, hook),
        )
    };

    let mut afterwards = Vec::new();
    for (index, hook) in after.iter().enumerate() {
        let step = step("after", index, hook);
        let missed = !context.facts.journal.has(&step.id, &step.op.digest());
        if members.is_empty() && !missed {
            continue;
        }
        let change = if members.is_empty() { "has not succeeded yet" } else { "a hook" };
        let before = afterwards.last().map(|planned: &Planned| planned.step.id.clone());
        let step = step.after(members.iter().cloned()).after(before);
        afterwards.push(Planned { step, decision: Decision::Change(change.into()) });
    }
    if let Some(hook) = afterwards.last().map(|planned| planned.step.id.clone()) {
        // Whatever waits for all of the phase waits for its hooks, too.
        let waits = |planned: &&mut Planned| members.iter().all(|id| planned.step.after.contains(id));
        let others = planned.iter_mut().filter(|planned| planned.step.phase() != phase && !members.is_empty());
        others.filter(waits).for_each(|planned| planned.step.after.push(hook.clone()));
    }
    planned.splice(last + 1..last + 1, afterwards);

    if members.is_empty() {
        return;
    }
    let mut beforehand: Vec<Planned> = Vec::new();
    let outside = outside(planned, &members);
    for (index, hook) in before.iter().enumerate() {
        let previous = beforehand.last().map(|planned| planned.step.id.clone());
        let step = step("before", index, hook).after(outside.iter().cloned()).after(previous);
        beforehand.push(Planned { step, decision: Decision::Change("a hook".into()) });
    }
    if let Some(hook) = beforehand.last().map(|planned| planned.step.id.clone()) {
        let members = planned.iter_mut().filter(|planned| members.contains(&planned.step.id));
        members.for_each(|planned| planned.step.after.push(hook.clone()));
    }
    planned.splice(first..first, beforehand);
}

/// What the phase's steps wait for outside of it, without what waits for the phase itself.
fn outside(planned: &[Planned], members: &BTreeSet<String>) -> BTreeSet<String> {
    let after: BTreeMap<&str, &Vec<String>> =
        planned.iter().map(|planned| (planned.step.id.as_str(), &planned.step.after)).collect();
    let waits = |id: &str| {
        let (mut open, mut seen) = (vec![id], BTreeSet::new());
        while let Some(id) = open.pop() {
            if members.contains(id) {
                return true;
            }
            if seen.insert(id) {
                open.extend(after.get(id).into_iter().flat_map(|after| after.iter()).map(String::as_str));
            }
        }
        false
    };
    let wanted = members.iter().filter_map(|id| after.get(id.as_str())).flat_map(|after| after.iter());
    wanted.filter(|id| !waits(id)).cloned().collect()
}

fn op(context: &Context<'_>, hook: &Hook) -> Op {
    let role = match context.node.role {
        Role::ControlPlane => "control-plane",
        Role::Worker => "worker",
        Role::Datastore => "datastore",
    };
    let environment = vec![
        format!("ETCDLESS_CLUSTER={}", context.cluster.metadata.name),
        format!("ETCDLESS_HOST={}", context.node.label),
        format!("ETCDLESS_ADDRESS={}", context.node.address),
        format!("ETCDLESS_ROLE={role}"),
    ];
    let seconds = hook.timeout_seconds.into();
    if let Some(program) = &hook.local {
        return Op::Local(Local { program: program.clone(), environment, seconds });
    }
    let text = hook.host.as_ref().and_then(|path| context.scripts.get(path)).cloned().unwrap_or_default();
    Op::Script(Script {
        text: include_str!("scripts/hook.sh").into(),
        args: std::iter::once(text).chain(environment).collect(),
        creates: Vec::new(),
        watches: Vec::new(),
        of: String::new(),
        seconds,
    })
}

/// Runs a program of the user's on this machine, in a process group of its own that ends with its deadline.
pub(super) async fn run(local: &Local, signals: &Signals) -> Result<(), RemoteError> {
    let lost = |error: std::io::Error| RemoteError::Failed {
        host: HERE.into(),
        status: 126,
        lines: vec![format!("{}: {error}", local.program.display())],
    };
    // A bare name is a file, too, not one of PATH's.
    let program = std::path::absolute(&local.program).map_err(lost)?;
    let mut child = Command::new(program)
        .envs(local.environment.iter().filter_map(|variable| variable.split_once('=')))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(lost)?;
    let group = child.id();
    let mut lines = Vec::new();
    let ended = timeout(Duration::from_secs(local.seconds), follow(&mut child, &mut lines, signals)).await;
    lines.drain(..lines.len().saturating_sub(KEPT_LINES));
    match ended {
        Ok(status) => match status.map_err(lost)? {
            0 => Ok(()),
            status => Err(RemoteError::Failed { host: HERE.into(), status, lines }),
        },
        Err(_) => {
            if let Some(group) = group {
                let args = ["-KILL".to_owned(), "--".to_owned(), format!("-{group}")];
                // Where nothing of it is left, there is nothing to end.
                drop(Command::new("kill").args(args).stderr(Stdio::null()).status().await);
            }
            Err(RemoteError::TimedOut { host: HERE.into(), seconds: local.seconds, lines })
        }
    }
}

/// Waits for the program itself; something that it left running in the background does not keep it.
async fn follow(child: &mut Child, lines: &mut Vec<String>, signals: &Signals) -> Result<i32, std::io::Error> {
    let (said, mut heard) = tokio::sync::mpsc::unbounded_channel();
    for stream in [child.stdout.take().map(boxed), child.stderr.take().map(boxed)].into_iter().flatten() {
        let said = said.clone();
        tokio::spawn(async move {
            let mut stream = BufReader::new(stream).lines();
            while let Ok(Some(line)) = stream.next_line().await {
                if said.send(line).is_err() {
                    break;
                }
            }
        });
    }
    drop(said);
    let mut keep = |line: String| {
        // Nobody who listens is no reason to stop.
        let _gone = signals.send(Signal::Line(line.clone()));
        lines.push(line);
    };
    let status = loop {
        tokio::select! {
            Some(line) = heard.recv() => keep(line),
            status = child.wait() => break status?,
        }
    };
    // What it printed last is on its way still.
    while let Ok(Some(line)) = timeout(Duration::from_millis(200), heard.recv()).await {
        keep(line);
    }
    Ok(status.code().unwrap_or(1))
}

fn boxed(stream: impl AsyncRead + Send + Unpin + 'static) -> Box<dyn AsyncRead + Send + Unpin> {
    Box::new(stream)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test")]
    use super::*;

    fn planned(id: &str, after: &[&str], changes: bool) -> Planned {
        let step = Step::new(id, id, Op::SwapOff).after(after.iter().copied());
        let decision = if changes { Decision::Change("x".into()) } else { Decision::AlreadySo };
        Planned { step, decision }
    }

    #[test]
    fn a_hook_before_waits_for_what_its_phase_waits_for_and_not_for_what_waits_for_it() {
        let steps = [
            planned("artifacts/fetch", &[], true),
            planned("node/containerd", &["artifacts/fetch"], true),
            planned("artifacts/image", &["node/containerd", "artifacts/fetch"], true),
            planned("kine/placed", &["artifacts/image", "node/containerd"], true),
        ];
        let of = |ids: &[&str]| outside(&steps, &ids.iter().map(|id| (*id).to_owned()).collect());
        let list = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(of(&["artifacts/fetch", "artifacts/image"]), list(&[]));
        assert_eq!(of(&["node/containerd"]), list(&["artifacts/fetch"]));
        assert_eq!(of(&["kine/placed"]), list(&["artifacts/image", "node/containerd"]));
    }

    #[test]
    fn a_phase_that_there_is_none_of_is_refused() {
        let mut cluster = Cluster::of("demo".parse().unwrap(), Vec::new());
        for phase in ["node", "nodes", "verify"] {
            cluster.spec.hooks.before.insert(phase.into(), Vec::new());
        }
        let broken: Vec<String> = check(&cluster).into_iter().map(|violation| violation.path).collect();
        assert_eq!(broken, ["spec.hooks.before.nodes", "spec.hooks.before.verify"]);
    }

    async fn run_text(text: &str, seconds: u64) -> Result<(), RemoteError> {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("hook");
        // Another process writes it: what a test beside this one starts would inherit our open file, and it could not be run meanwhile.
        let write = r#"printf '#!/bin/sh\n%s\n' "$2" >"$1" && chmod 700 "$1""#;
        let arguments = ["-c", write, "sh", program.to_str().unwrap(), text];
        assert!(std::process::Command::new("sh").args(arguments).status().unwrap().success());
        let local = Local { program, environment: vec!["ETCDLESS_HOST=w1".into()], seconds };
        run(&local, &tokio::sync::mpsc::unbounded_channel().0).await
    }

    #[tokio::test]
    async fn a_program_here_tells_its_status_and_its_last_lines() {
        run_text("[ $ETCDLESS_HOST = w1 ]", 60).await.unwrap();
        match run_text("echo said; echo wrong >&2; exit 3", 60).await {
            Err(RemoteError::Failed { status: 3, mut lines, .. }) => {
                lines.sort();
                assert_eq!(lines, ["said", "wrong"]);
            }
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_ended_with_all_that_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let pid = folder.path().join("pid");
        match run_text(&format!("sleep 1000 & echo $! >{}; echo hangs; wait", pid.display()), 1).await {
            Err(RemoteError::TimedOut { seconds: 1, lines, .. }) => assert_eq!(lines, ["hangs"]),
            other => panic!("{other:?}"),
        }
        let started = std::fs::read_to_string(pid).unwrap();
        let state = std::fs::read_to_string(format!("/proc/{}/stat", started.trim()));
        assert!(state.is_err() || state.unwrap().contains(") Z "), "it runs still");
    }
}

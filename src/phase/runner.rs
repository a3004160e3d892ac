//! The one place that changes hosts. A host's steps run as soon as those before them are done, several at once.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::mpsc;

use super::Step;
use super::plan::Plan;
use crate::artifact::{download, registry};
use crate::config::Artifacts;
use crate::failure::{Failure, Kind};
use crate::journal::Record;
use crate::op::Op;
use crate::pki;
use crate::remote::{Mutate, Payload, RemoteError, Signal};
use crate::ui::{Event, Ui};

/// Steps of one host that run at once; sshd allows ten sessions on a connection, and the connection and the lock hold one each.
const AT_ONCE: usize = 7;

/// What every step of a run shares.
#[derive(Debug, Clone)]
pub struct Run {
    /// Tells runs apart in journals.
    pub id: String,
    /// Where pushed files and images come from.
    pub artifacts: Artifacts,
    /// The first Ctrl-C sets it: what runs is finished, nothing new begins.
    pub stop: Arc<AtomicBool>,
    /// Where events go.
    pub ui: Ui,
}

/// How long each phase took on a host, in the order in which they began: seconds from its first step's start to its last step's end.
pub type Timings = Vec<(String, f64)>;

/// Does what the plan says. The first failure stops the host: steps that already run are finished, what is done stays done.
pub async fn run(run: &Run, host: &impl Mutate, arch: &str, plan: &Plan) -> Result<Timings, Failure> {
    let mut waiting: Vec<&Step> = plan.changes().map(|(step, _)| step).collect();
    let mut open: HashSet<&str> = waiting.iter().map(|step| step.id.as_str()).collect();
    let mut running = FuturesUnordered::new();
    let mut failed: Option<Failure> = None;
    let mut clock = Clock::default();
    loop {
        let stopped = run.stop.load(Ordering::Relaxed);
        while failed.is_none() && !stopped && running.len() < AT_ONCE {
            let Some(next) = waiting.iter().position(|step| !step.after.iter().any(|id| open.contains(id.as_str())))
            else {
                break;
            };
            let step = waiting.remove(next);
            clock.begin(step.phase());
            running.push(async move { (step, one(run, host, arch, &plan.host, step).await) });
        }
        let Some((step, outcome)) = running.next().await else { break };
        clock.end(step.phase());
        open.remove(step.id.as_str());
        if let Err(failure) = outcome {
            failed.get_or_insert(failure);
        }
    }
    match failed {
        Some(failure) => Err(failure),
        None if waiting.is_empty() => Ok(clock.timings()),
        None if run.stop.load(Ordering::Relaxed) => Err(Failure::new(
            Kind::Interrupted,
            format!("interrupted: {} steps of {} are left to do; what is done stays done", waiting.len(), plan.host),
        )
        .hint("run the same command again to go on")),
        None => Err(Failure::new(Kind::Internal, format!("steps wait for each other: {}", waiting[0].id))),
    }
}

/// Does one step and tells about it.
async fn one(run: &Run, host: &impl Mutate, arch: &str, label: &str, step: &Step) -> Result<(), Failure> {
    let (label, id, title) = (label.to_owned(), step.id.clone(), step.title.clone());
    run.ui.emit(Event::StepStarted { host: label.clone(), step: id.clone(), title: title.clone() });
    let began = Instant::now();
    let (signals, mut heard) = mpsc::unbounded_channel();
    let forward = async {
        while let Some(signal) = heard.recv().await {
            let (host, step) = (label.clone(), id.clone());
            run.ui.emit(match signal {
                Signal::Line(line) => Event::StepLine { host, step, line },
                Signal::Bytes { done, total } => Event::StepBytes { host, step, done, total },
            });
        }
    };
    let work = async {
        let outcome = perform(run, host, arch, step, &signals).await;
        drop(signals);
        outcome
    };
    let (outcome, ()) = tokio::join!(work, forward);
    let seconds = began.elapsed().as_secs_f64();
    match outcome {
        Ok(()) => {
            run.ui.emit(Event::StepDone { host: label, step: id, title, seconds });
            Ok(())
        }
        Err(failure) => {
            run.ui.emit(Event::StepFailed { host: label, step: id, title, message: failure.message.clone() });
            Err(failure)
        }
    }
}

async fn perform(
    run: &Run,
    host: &impl Mutate,
    arch: &str,
    step: &Step,
    signals: &crate::remote::Signals,
) -> Result<(), Failure> {
    let record =
        Record { run: run.id.clone(), step: step.id.clone(), digest: step.op.digest(), files: step.op.vouched() };
    if let Op::Certificates { directory } = &step.op {
        let files = pki::make(directory)
            .map_err(|error| Failure::new(Kind::Internal, format!("cannot make certificates: {error}")))?;
        for file in files {
            host.apply(&Op::File(file), &record, None, signals).await.map_err(|error| explain(step, error))?;
        }
        return Ok(());
    }
    let payload = payload(run, arch, &step.op).await?;
    host.apply(&step.op, &record, payload, signals).await.map_err(|error| explain(step, error))
}

/// The stream of an operation whose bytes come from this machine.
async fn payload(run: &Run, arch: &str, op: &Op) -> Result<Option<Payload>, Failure> {
    Ok(match op {
        Op::Fetch(fetch) if fetch.push => Some(download::open(fetch).await?.0),
        Op::Image(image) if image.push => Some(registry::open(&run.artifacts, &image.reference, arch).await?.0),
        _ => None,
    })
}

/// What a failed step means to the user.
fn explain(step: &Step, error: RemoteError) -> Failure {
    let again = "what is done stays done: mend the cause and run the same command again";
    let failure =
        Failure::new(kind(&error), format!("{} failed: {error}", step.title)).detail(format!("step {}", step.id));
    match error {
        RemoteError::Failed { lines, .. } | RemoteError::TimedOut { lines, .. } => failure.output(lines).hint(again),
        RemoteError::WrongDigest { .. } => failure.hint(
            "the file was removed again; ask whoever keeps the mirror, or fetch from the publisher without --mirror",
        ),
        _ => failure.hint(again),
    }
}

/// The exit code of an error at a host's door.
pub fn kind(error: &RemoteError) -> Kind {
    match error {
        RemoteError::Failed { .. } | RemoteError::TimedOut { .. } | RemoteError::WrongDigest { .. } => Kind::Step,
        RemoteError::Locked { .. } => Kind::Locked,
        RemoteError::Garbled { .. } => Kind::Internal,
        _ => Kind::Connection,
    }
}

/// Measures phases while their steps overlap.
#[derive(Default)]
struct Clock {
    order: Vec<String>,
    spans: BTreeMap<String, (Instant, Instant)>,
}

impl Clock {
    fn begin(&mut self, phase: &str) {
        let now = Instant::now();
        if !self.spans.contains_key(phase) {
            self.order.push(phase.into());
            self.spans.insert(phase.into(), (now, now));
        }
    }

    fn end(&mut self, phase: &str) {
        if let Some((_, end)) = self.spans.get_mut(phase) {
            *end = Instant::now();
        }
    }

    fn timings(&self) -> Timings {
        let seconds = |phase: &String| self.spans.get(phase).map_or(0.0, |(begin, end)| (*end - *begin).as_secs_f64());
        self.order.iter().map(|phase| (phase.clone(), seconds(phase))).collect()
    }
}

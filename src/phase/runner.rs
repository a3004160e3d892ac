//! The one place that changes hosts. Steps run as soon as those before them are done, several at once on each host.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt};
use secrecy::SecretString;
use tokio::sync::{Semaphore, mpsc, watch};

use super::outcome::{self, HostOutcome, Outcome};
use super::plan::Plan;
use super::{Missed, Step, hooks, payload};
use crate::artifact::supply::Supply;
use crate::failure::{Failure, Kind};
use crate::journal::Record;
use crate::op::{File, Op};
use crate::pki;
use crate::remote::{Mutate, Query, Question, RemoteError, Signal};
use crate::ui::{Event, Ui};

/// Steps of one host that run at once; sshd allows ten sessions on a connection, and the connection and the lock hold one each.
const AT_ONCE: usize = 7;

/// How long a host may take to show a small file.
const READ: Duration = Duration::from_secs(30);

/// What every step of a run shares.
#[derive(Debug, Clone)]
pub struct Run {
    /// Tells runs apart in journals.
    pub id: String,
    /// Where that comes from which this machine sends.
    pub supply: Supply,
    /// The first Ctrl-C sets it: what runs is finished, nothing new begins.
    pub stop: Arc<AtomicBool>,
    /// How many hosts are worked on at once. A host that only waits for another one does not count.
    pub concurrency: usize,
    /// Where events go.
    pub ui: Ui,
}

/// How long each phase took, in the order in which they began: seconds from its first step's start to its last step's end.
pub type Timings = Vec<(String, f64)>;

/// A host with what is to become of it.
#[derive(Debug)]
pub struct Target<'a, H> {
    /// The host.
    pub host: &'a H,
    /// `amd64` or `arm64`.
    pub arch: &'static str,
    /// What is to be done.
    pub plan: &'a Plan,
}

/// What became of each host, in the order of the targets, and how long phases took.
#[derive(Debug)]
pub struct Ran {
    /// One outcome a target.
    pub outcomes: Vec<Outcome>,
    /// How long each phase took.
    pub timings: Timings,
}

/// Does what the plans say, on many hosts at once; those that come first begin first. A failure stops its host and those that wait for it:
/// steps that already run are finished, what is done stays done, and other hosts go on.
pub async fn run<H: Mutate>(run: &Run, targets: &[Target<'_, H>]) -> Ran {
    let board = Board::of(targets.iter().map(|target| target.plan));
    let places = Semaphore::new(run.concurrency.max(1));
    let hosts = targets.iter().map(|target| async {
        let outcome = one_host(run, target, targets, &board, &places).await;
        board.ended(&target.plan.host);
        outcome
    });
    let outcomes = join_all(hosts).await;
    Ran { outcomes, timings: board.timings() }
}

/// The same where every host must be done.
pub async fn run_whole<H: Mutate>(run: &Run, targets: &[Target<'_, H>]) -> Result<(), Failure> {
    let outcomes = self::run(run, targets).await.outcomes.into_iter().zip(targets);
    let needed = |(outcome, target): (Outcome, &Target<'_, H>)| {
        let host = target.plan.host.clone();
        HostOutcome { host, needed: true, outcome }
    };
    outcome::fatal(&outcomes.map(needed).collect::<Vec<_>>()).map_or(Ok(()), Err)
}

async fn one_host<H: Mutate>(
    run: &Run,
    target: &Target<'_, H>,
    all: &[Target<'_, H>],
    board: &Board,
    places: &Semaphore,
) -> Outcome {
    let label = &target.plan.host;
    let mut waiting: Vec<&Step> = target.plan.changes().map(|(step, _)| step).collect();
    let mut changes = waiting.len();
    let mut running = FuturesUnordered::new();
    let mut failed: Option<(String, Failure)> = None;
    let mut news = board.watch();
    // Held while something runs here.
    let mut place = None;
    loop {
        news.mark_unchanged();
        waiting.retain(|step| {
            let skipped = step.missed == Missed::Skip && board.missed(step).is_some();
            if skipped {
                board.done(label, &step.id);
                changes -= 1;
            }
            !skipped
        });
        let stopped = run.stop.load(Ordering::Relaxed);
        while failed.is_none() && !stopped && running.len() < AT_ONCE {
            let Some(next) = waiting.iter().position(|step| board.is_ready(label, step)) else { break };
            if place.is_none() {
                place = places.acquire().await.ok();
                // Others went on meanwhile, and Ctrl-C may have come.
                if run.stop.load(Ordering::Relaxed) {
                    break;
                }
            }
            let step = waiting.remove(next);
            board.begin(step.phase());
            running.push(async move { (step, one(run, target, all, step).await) });
        }
        if running.is_empty() {
            place = None;
            // Nothing here can go on by itself: another host must finish something, or has ended and never will.
            let stopped = run.stop.load(Ordering::Relaxed);
            let halted = failed.is_some() || stopped || waiting.is_empty() || board.is_stuck(label, &waiting);
            if halted || news.changed().await.is_err() {
                break;
            }
            continue;
        }
        tokio::select! {
            Some((step, outcome)) = running.next() => {
                board.end(step.phase());
                match outcome {
                    Ok(()) => board.done(label, &step.id),
                    Err(failure) => drop(failed.get_or_insert((step.id.clone(), failure))),
                }
            }
            _ = news.changed() => {}
        }
    }
    match (failed, waiting.first()) {
        (Some((step, failure)), _) => Outcome::Failed { step, failure },
        (None, None) => Outcome::Done(changes),
        (None, Some(_)) if run.stop.load(Ordering::Relaxed) => Outcome::Interrupted(waiting.len()),
        (None, Some(step)) => match waiting.iter().find_map(|step| board.missed(step)) {
            Some(host) => Outcome::Waits { host },
            None => {
                let failure = Failure::new(Kind::Internal, format!("steps wait for each other: {}", step.id));
                Outcome::Failed { step: step.id.clone(), failure }
            }
        },
    }
}

/// Does one step and tells about it.
async fn one<H: Mutate>(run: &Run, target: &Target<'_, H>, all: &[Target<'_, H>], step: &Step) -> Result<(), Failure> {
    let (label, id, title) = (target.plan.host.clone(), step.id.clone(), step.title.clone());
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
        let outcome = perform(run, target, all, step, &signals).await;
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

async fn perform<H: Mutate>(
    run: &Run,
    target: &Target<'_, H>,
    all: &[Target<'_, H>],
    step: &Step,
    signals: &crate::remote::Signals,
) -> Result<(), Failure> {
    let host = target.host;
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
    if let Op::Carry { host: from, path, mode } = &step.op {
        let source = all.iter().find(|target| target.plan.host == *from);
        let source = source.ok_or_else(|| Failure::new(Kind::Internal, format!("{from} is not part of this run")))?;
        let content = content(source.host, from, path).await?;
        let file = Op::File(File { path: path.clone(), mode: *mode, content, secret: true });
        return host.apply(&file, &record, None, signals).await.map_err(|error| explain(step, error));
    }
    if let Op::Local(local) = &step.op {
        hooks::run(local, signals).await.map_err(|error| explain(step, error))?;
    }
    let payload = payload::open(&run.supply, host, &target.plan.host, target.arch, &step.op).await?;
    host.apply(&step.op, &record, payload, signals).await.map_err(|error| explain(step, error))
}

/// What a small file of a host holds. `label` is what messages call the host.
pub async fn content(host: &impl Query, label: &str, path: &str) -> Result<SecretString, Failure> {
    let unreadable = |kind: Kind, why: String| Failure::new(kind, format!("{path} of {label} cannot be read: {why}"));
    let question = Question { script: "cat -- \"$1\"", args: vec![path.to_owned()], input: Vec::new(), deadline: READ };
    let answer = host.ask(question).await.map_err(|error| unreadable(kind(&error), error.to_string()))?;
    if answer.status != 0 {
        return Err(unreadable(Kind::Step, String::from_utf8_lossy(&answer.stderr).trim().to_owned()));
    }
    String::from_utf8(answer.stdout).map(Into::into).map_err(|_| unreadable(Kind::Step, "it is not text".into()))
}

/// What a failed step means to the user.
fn explain(step: &Step, error: RemoteError) -> Failure {
    let again = "what is done stays done: mend the cause and run the same command again";
    let failure =
        Failure::new(kind(&error), format!("{} failed: {error}", step.title)).detail(format!("step {}", step.id));
    match error {
        RemoteError::Failed { lines, .. } | RemoteError::TimedOut { lines, .. } => {
            let failure = step.hint(&lines).into_iter().fold(failure, Failure::hint);
            failure.output(lines).hint(again)
        }
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

/// What the hosts of a run know of each other: which steps are not done yet, who has ended, and how long phases took.
struct Board {
    state: watch::Sender<State>,
    clock: Mutex<Clock>,
}

#[derive(Default)]
struct State {
    /// Changes that are not done yet, by host.
    open: BTreeMap<String, BTreeSet<String>>,
    /// Hosts that do nothing any more.
    ended: BTreeSet<String>,
}

impl Board {
    fn of<'a>(plans: impl Iterator<Item = &'a Plan>) -> Self {
        let ids = |plan: &Plan| plan.changes().map(|(step, _)| step.id.clone()).collect();
        let open = plans.map(|plan| (plan.host.clone(), ids(plan))).collect();
        Self { state: watch::Sender::new(State { open, ended: BTreeSet::new() }), clock: Mutex::default() }
    }

    fn watch(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    fn done(&self, host: &str, id: &str) {
        self.state.send_modify(|state| {
            state.open.get_mut(host).map(|open| open.remove(id));
        });
    }

    fn ended(&self, host: &str) {
        self.state.send_modify(|state| {
            state.ended.insert(host.to_owned());
        });
    }

    fn is_ready(&self, host: &str, step: &Step) -> bool {
        let state = self.state.borrow();
        !step.after.iter().any(|id| state.is_open(host, id)) && state.awaited(step).next().is_none()
    }

    /// Whether none of these steps can ever begin: each waits for another one here, or for a host that has ended.
    fn is_stuck(&self, host: &str, waiting: &[&Step]) -> bool {
        let state = self.state.borrow();
        waiting.iter().all(|step| {
            step.after.iter().any(|id| state.is_open(host, id))
                || state.awaited(step).any(|other| state.ended.contains(other))
        })
    }

    /// A host that has ended without doing what this step waits for.
    fn missed(&self, step: &Step) -> Option<String> {
        let state = self.state.borrow();
        state.awaited(step).find(|host| state.ended.contains(*host)).cloned()
    }

    fn begin(&self, phase: &str) {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner).begin(phase);
    }

    fn end(&self, phase: &str) {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner).end(phase);
    }

    fn timings(&self) -> Timings {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner).timings()
    }
}

impl State {
    /// Whether a step, or a step of a phase, is not done yet on a host.
    fn is_open(&self, host: &str, id: &str) -> bool {
        let of_phase = |step: &String| step.split_once('/').is_some_and(|(phase, _)| phase == id);
        self.open.get(host).is_some_and(|open| open.contains(id) || (!id.contains('/') && open.iter().any(of_phase)))
    }

    /// The hosts that a step still waits for.
    fn awaited<'a>(&self, step: &'a Step) -> impl Iterator<Item = &'a String> {
        let given_up = |host: &String| step.missed == Missed::Run && self.ended.contains(host);
        let open = move |(host, id): &&(String, String)| self.is_open(host, id) && !given_up(host);
        step.after_on.iter().filter(open).map(|(host, _)| host)
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

//! `init`: connect, look, check, plan, apply, verify, hand over the kubeconfig.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use futures_util::stream::{self, StreamExt};

use super::session::{self, Interrupt};
use super::{Ended, datastore as server, kubeconfig, verify};
use crate::assets::Assets;
use crate::cli::{Init, Pace, Target};
use crate::config::credentials::Credentials;
use crate::config::{Cluster, Host as HostConfig, Role, Spec, yaml};
use crate::failure::{Failure, Kind};
use crate::phase::outcome::{self, HostOutcome, Outcome};
use crate::phase::plan::{Plan, Selection};
use crate::phase::preflight::{self, Ignore};
use crate::phase::runner::{self, Run};
use crate::phase::survey::{self, Desired, Place, Seen};
use crate::remote::{Host, Lock};
use crate::ui::{self, Event, Format, Ui};

/// How long everything may take to become well after the last step.
const VERIFY_DEADLINE: Duration = Duration::from_secs(180);

pub(super) async fn run(args: Init) -> Result<(), Ended> {
    let selection = Selection { only: args.only.clone(), skip: args.skip.clone(), from: args.from.clone() };
    selection.check()?;
    let ignore = Ignore::parse(&args.ignore_preflight)?;
    let cluster = session::describe(&args.target, Some(&args.description))?;
    if args.print_config {
        let endpoint = Some(cluster.endpoint());
        let spec = Spec { endpoint, ..cluster.spec };
        ui::result(&to_yaml(&Cluster { spec, ..cluster })?);
        return Ok(());
    }
    let assets = Assets::load(args.description.assets.as_deref())?;
    let manifest = session::manifest(&cluster)?;
    let scripts = session::scripts(&cluster)?;
    let credentials = Credentials::of_all(&cluster)?;
    let run = session::run_id();
    let args = &args;
    session::under_ui(args.show, |ui, interrupt| async move {
        let supply = session::supply(&ui, &cluster).await?;
        let desired =
            Desired { manifest, scripts, ignore, supply, ..Desired::new(cluster, assets, credentials, selection, run) };
        let Init { target, dry_run, no_kubeconfig, pace, .. } = args;
        let merges = !no_kubeconfig && args.only.is_empty();
        let work = Work {
            purpose: Purpose::Init,
            target,
            dry_run: *dry_run,
            merges,
            pace: *pace,
            hosts: None,
            absent: BTreeSet::new(),
            desired,
            ui,
        };
        work.run(&interrupt).await
    })
    .await
}

/// What a run is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Everything that the description describes, from nothing if need be.
    Init,
    /// More hosts for a cluster that is there.
    Join,
    /// Everything that the description describes, with the keys of a backup and on its data.
    Restore,
}

impl Purpose {
    /// The command's name.
    fn command(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Join => "join",
            Self::Restore => "restore",
        }
    }
}

/// Everything that one run of `init` or `join` holds on to.
pub(super) struct Work<'a> {
    pub(super) purpose: Purpose,
    pub(super) target: &'a Target,
    pub(super) dry_run: bool,
    /// Whether a run to the end puts the cluster into the user's kubeconfig.
    pub(super) merges: bool,
    pub(super) pace: Pace,
    /// The labels of the hosts that take part; all of the description's where there are none.
    pub(super) hosts: Option<BTreeSet<String>>,
    /// The names of nodes that the cluster knows, and that are no more.
    pub(super) absent: BTreeSet<String>,
    pub(super) desired: Desired,
    pub(super) ui: Ui,
}

impl Work<'_> {
    pub(super) async fn run(&self, interrupt: &Arc<Interrupt>) -> Result<(), Failure> {
        let began = Instant::now();
        let run = Run {
            id: self.desired.run.clone(),
            supply: self.desired.supply.clone(),
            stop: interrupt.stop.clone(),
            concurrency: self.pace.concurrency.into(),
            ui: self.ui.clone(),
        };
        let (run_id, cluster) = (run.id.clone(), self.desired.cluster.metadata.name.to_string());
        self.ui.emit(Event::Started { run: run_id, cluster, version: env!("CARGO_PKG_VERSION") });
        let mut left = Left::default();
        let hosts = self.connect(&mut left).await?;
        let (hosts, _locks) = match self.dry_run {
            true => (hosts, Vec::new()),
            false => self.lock(hosts, &mut left).await?,
        };
        let places: Vec<Place<'_, Host>> = hosts.iter().map(|(config, host)| Place { host, config }).collect();
        let surveyed = self.desired.survey(&places).await?;
        for (label, failure) in surveyed.left {
            self.leave_out(&mut left, label, failure);
        }
        match self.purpose {
            _ if !surveyed.fresh => {}
            Purpose::Init | Purpose::Restore => self.require_control_planes(&mut left)?,
            Purpose::Join => {
                return Err(Failure::new(Kind::Usage, "there is no cluster yet that a host could join")
                    .hint("etcdless init builds one, with all hosts of its file"));
            }
        }
        for warning in &surveyed.warnings {
            self.ui.emit(Event::Warning { host: warning.host.clone(), text: warning.text.clone() });
        }
        // The description's rules guarantee that there is one.
        let parts: Vec<(&Place<'_, Host>, &Seen)> =
            surveyed.hosts.iter().filter_map(|seen| Some((at(&places, &seen.node.label)?, seen))).collect();
        let Some(&(place, seen)) = parts.iter().find(|(_, seen)| Some(&seen.node.label) == surveyed.first.as_ref())
        else {
            return Err(Failure::new(Kind::Config, "there is no control plane in the description"));
        };
        // kine is what opens the store.
        if self.desired.selection.has("preflight") && self.desired.selection.has("kine") {
            let ours = self.purpose == Purpose::Restore
                || surveyed.hosts.iter().any(|seen| preflight::holds_cluster(&seen.facts));
            let control_planes = parts.iter().filter(|(place, _)| place.config.role == Role::ControlPlane);
            try_join_all(control_planes.map(|(place, _)| self.check_datastore(place, ours))).await?;
        }
        if self.merges && seen.plan.changes().any(|(step, _)| step.id == "kubelet/certificates") {
            let Desired { cluster, .. } = &self.desired;
            kubeconfig::check_free(cluster.metadata.name.as_str(), &cluster.api_outside(seen.node.address))?;
        }
        let plans: Vec<&Plan> = surveyed.hosts.iter().map(|seen| &seen.plan).collect();
        for plan in &plans {
            for (step, change) in plan.changes() {
                let (host, step, title) = (plan.host.clone(), step.id.clone(), step.title.clone());
                self.ui.emit(Event::Planned { host, step, title, change: change.into() });
            }
        }
        let changes = plans.iter().map(|plan| plan.changes().count()).sum();
        let text: String = plans.iter().map(|plan| plan.text()).collect();
        if self.dry_run {
            return self.finish(changes, began, &text, left.failure());
        }
        if changes == 0 {
            let outcomes =
                self.outcomes(&seen.node.label, plans.iter().map(|plan| (plan.host.clone(), Outcome::Done(0))), left);
            self.tell(&outcomes, &text).await;
            return self.finish(changes, began, "", outcome::partial(&outcomes));
        }
        self.confirm(&plans, &text, changes).await?;
        interrupt.applying.store(true, Ordering::Relaxed);
        let mut targets: Vec<runner::Target<'_, Host>> = parts
            .iter()
            .map(|(place, seen)| runner::Target { host: place.host, arch: seen.node.arch, plan: &seen.plan })
            .collect();
        // Those that others wait for begin first.
        targets
            .sort_by_key(|target| !at(&places, &target.plan.host).is_some_and(|place| survey::is_needed(place.config)));
        let ran = runner::run(&run, &targets).await;
        for (phase, seconds) in ran.timings {
            self.ui.emit(Event::Phase { phase, seconds });
        }
        let labels = targets.iter().map(|target| target.plan.host.clone());
        let outcomes = self.outcomes(&seen.node.label, labels.zip(ran.outcomes), left);
        if let Some(failure) = outcome::fatal(&outcomes) {
            self.tell(&outcomes, "").await;
            return Err(failure);
        }
        interrupt.applied.store(true, Ordering::Relaxed);
        let verified = self.verify(place.host, seen, &outcomes, &surveyed.hosts).await;
        self.tell(&outcomes, "").await;
        verified?;
        self.hand_over(place.host, seen, changes, began, outcome::partial(&outcomes)).await
    }

    /// All hosts that can be connected to, in the description's order. Where one is missing that others need, all are told that are.
    async fn connect(&self, left: &mut Left) -> Result<Vec<Reached<'_>>, Failure> {
        let part = |config: &&HostConfig| self.hosts.as_ref().is_none_or(|hosts| hosts.contains(&config.label()));
        let configs: Vec<&HostConfig> = self.desired.cluster.spec.hosts.iter().filter(part).collect();
        let concurrency = self.pace.concurrency.into();
        let connected = session::connect_all(&self.ui, self.target, &configs, concurrency).await;
        let (mut reached, mut missing) = (Vec::new(), Vec::new());
        for (config, host) in configs.into_iter().zip(connected) {
            match host {
                Ok(host) => reached.push((config, host)),
                Err(failure) => missing.push((config, failure)),
            }
        }
        let cluster = &self.desired.cluster;
        let none = !reached.iter().any(|(config, _)| config.role == Role::ControlPlane);
        if none || missing.iter().any(|(config, _)| survey::is_indispensable(cluster, config)) {
            missing.sort_by_key(|(config, _)| !survey::is_needed(config));
            let what = format!("{} hosts cannot be logged in to", missing.len());
            let missing = missing.into_iter().map(|(config, failure)| (config.label(), failure)).collect();
            return outcome::together(&what, missing).map_or(Ok(reached), Err);
        }
        for (config, failure) in missing {
            self.leave_out(left, config.label(), failure);
        }
        Ok(reached)
    }

    /// A cluster is made with all of its control planes; one that is there does without some of them.
    fn require_control_planes(&self, left: &mut Left) -> Result<(), Failure> {
        let of_role = self.desired.cluster.spec.hosts.iter().filter(|config| config.role == Role::ControlPlane);
        let missing = of_role.filter_map(|config| left.0.remove_entry(&config.label())).collect();
        outcome::together("there is no cluster yet that could do without some of its control planes", missing)
            .map_or(Ok(()), Err)
    }

    /// Locks every host. Those that others need come first, in the order of their names, so that of two runs one has the whole cluster; the
    /// others follow at once.
    async fn lock<'a>(
        &self,
        mut hosts: Vec<Reached<'a>>,
        left: &mut Left,
    ) -> Result<(Vec<Reached<'a>>, Vec<Lock>), Failure> {
        let (mut needed, others): (Vec<_>, Vec<_>) = hosts.iter().partition(|(config, _)| survey::is_needed(config));
        needed.sort_by_key(|(config, _)| config.label());
        let mut locks = Vec::new();
        for reached in needed {
            locks.push(self.lock_one(reached).await?);
        }
        let concurrency = self.pace.concurrency.into();
        let taken: Vec<_> =
            stream::iter(&others).map(|reached| self.lock_one(reached)).buffered(concurrency).collect().await;
        let mut lost = BTreeSet::new();
        for ((config, _), lock) in others.into_iter().zip(taken) {
            match lock {
                Ok(lock) => locks.push(lock),
                Err(failure) if failure.kind == Kind::Connection => {
                    lost.insert(config.label());
                    self.leave_out(left, config.label(), failure);
                }
                Err(failure) => return Err(failure),
            }
        }
        hosts.retain(|(config, _)| !lost.contains(&config.label()));
        Ok((hosts, locks))
    }

    async fn lock_one(&self, (config, host): &Reached<'_>) -> Result<Lock, Failure> {
        let deadline = Duration::from_secs(self.pace.lock_timeout.into());
        let label = config.label();
        let waits =
            |owner: &str| self.ui.note(Some(&label), format!("is locked by {owner}: waiting for that run to end"));
        let lock = host.lock_within(&session::owner(self.purpose.command()), deadline, waits).await;
        lock.map_err(|error| session::unreachable(&error, config))
    }

    /// Goes on without a host.
    fn leave_out(&self, left: &mut Left, label: String, failure: Failure) {
        let details = failure.details.iter().flat_map(|detail| detail.lines());
        let text = std::iter::once(failure.message.as_str()).chain(details).collect::<Vec<_>>().join("; ");
        self.ui.emit(Event::Warning { host: label.clone(), text: format!("left out of this run: {text}") });
        left.0.insert(label, failure);
    }

    /// What became of every host, in the description's order. `first` is the control plane that the others join.
    fn outcomes(&self, first: &str, ran: impl Iterator<Item = (String, Outcome)>, left: Left) -> Vec<HostOutcome> {
        let mut outcomes: BTreeMap<String, Outcome> = ran.collect();
        outcomes.extend(left.0.into_iter().map(|(label, failure)| (label, Outcome::left_out(failure))));
        let hosts = self.desired.cluster.spec.hosts.iter();
        let of = |config: &HostConfig| {
            let host = config.label();
            let needed = host == first || config.role == Role::Datastore;
            outcomes.remove(&host).map(|outcome| HostOutcome { host, needed, outcome })
        };
        hosts.filter_map(of).collect()
    }

    /// Tells what became of each host: to people as a table where there are several hosts, else as `alone`.
    async fn tell(&self, outcomes: &[HostOutcome], alone: &str) {
        outcomes.iter().for_each(|host| self.ui.emit(host.event()));
        self.ui.settled().await;
        if self.ui.format() == Format::Text {
            match outcomes {
                [_] if alone.is_empty() => {}
                [_] => ui::result(alone),
                _ => ui::result(&outcome::table(outcomes)),
            }
        }
    }

    /// Whether the cluster of those hosts that are done is really up.
    async fn verify(&self, host: &Host, seen: &Seen, outcomes: &[HostOutcome], all: &[Seen]) -> Result<(), Failure> {
        if !self.desired.selection.has("verify") {
            return Ok(());
        }
        let mut cluster = self.desired.cluster.clone();
        let missing: BTreeSet<&str> =
            outcomes.iter().filter(|host| !host.outcome.is_done()).map(|host| host.host.as_str()).collect();
        let mut absent = self.absent.clone();
        for config in cluster.spec.hosts.iter().filter(|config| missing.contains(config.label().as_str())) {
            absent.extend(config.name.as_ref().map(ToString::to_string));
            absent.insert(config.address.to_string());
            absent.extend(config.node_ip.map(|address| address.to_string()));
        }
        for node in all.iter().map(|seen| &seen.node).filter(|node| missing.contains(node.label.as_str())) {
            absent.extend([node.name.clone(), node.address.to_string()]);
        }
        cluster.spec.hosts.retain(|config| !missing.contains(config.label().as_str()));
        let assets = &self.desired.assets;
        let report = verify::watch(&self.ui, host, &cluster, &seen.node, assets, &absent, VERIFY_DEADLINE).await?;
        report.failure().map_or(Ok(()), Err)
    }

    /// Servers of somebody else's, as the host sees them. `ours`: this cluster is on some host already.
    async fn check_datastore(&self, place: &Place<'_, Host>, ours: bool) -> Result<(), Failure> {
        let Desired { cluster, credentials, ignore, .. } = &self.desired;
        let report = server::check(&self.ui, place.host, place.config, cluster, credentials, ours).await?;
        for text in report.warnings(|name| ignore.has(name)) {
            self.ui.emit(Event::Warning { host: report.host.clone(), text });
        }
        report.failure(|name| ignore.has(name)).map_or(Ok(()), Err)
    }

    async fn confirm(&self, plans: &[&Plan], text: &str, changes: usize) -> Result<(), Failure> {
        if self.target.login.yes {
            return Ok(());
        }
        self.ui.note(None, text.trim_end());
        let hosts: Vec<&str> = plans.iter().map(|plan| plan.host.as_str()).collect();
        match self.ui.confirm(&format!("Make these {changes} changes on {}?", hosts.join(", "))).await {
            Some(true) => Ok(()),
            Some(false) => Err(Failure::new(Kind::Interrupted, "stopped: nothing was changed")),
            None => Err(Failure::new(Kind::Usage, "there is no terminal to ask on: nothing was changed")
                .hint("say --yes to make the changes, or --dry-run to see them only")),
        }
    }

    /// Merges the kubeconfig and says what there is now.
    async fn hand_over(
        &self,
        host: &Host,
        seen: &Seen,
        changes: usize,
        began: Instant,
        partial: Option<Failure>,
    ) -> Result<(), Failure> {
        let spec = &self.desired.cluster.spec;
        let mut text = format!(
            "{}: Kubernetes {} on kine {}, {changes} changes in {}\n",
            self.desired.cluster.metadata.name,
            spec.kubernetes.version,
            spec.kine.version,
            ui::elapsed(began.elapsed().as_secs_f64())
        );
        if self.merges {
            let Desired { cluster, .. } = &self.desired;
            let api = cluster.api_outside(seen.node.address);
            let context = kubeconfig::merge(host, cluster.metadata.name.as_str(), None, &api).await?;
            text.push_str(&format!("kubectl --context {context} get nodes\n"));
        }
        self.finish(changes, began, &text, partial)
    }

    /// Ends the run: well, or with what keeps some hosts from being done.
    fn finish(&self, changes: usize, began: Instant, text: &str, partial: Option<Failure>) -> Result<(), Failure> {
        if partial.is_none() {
            self.ui.emit(Event::Finished { changes, seconds: began.elapsed().as_secs_f64() });
        }
        if self.ui.format() == Format::Text && !text.is_empty() {
            ui::result(text);
        }
        partial.map_or(Ok(()), Err)
    }
}

/// A host that was logged in to, with its description.
type Reached<'a> = (&'a HostConfig, Host);

/// Hosts that this run goes on without, by label, with the reason.
#[derive(Default)]
struct Left(BTreeMap<String, Failure>);

impl Left {
    /// What a run ends with that only looked.
    fn failure(self) -> Option<Failure> {
        let what = format!("{} hosts cannot be part of the run", self.0.len());
        let failure = outcome::together(&what, self.0.into_iter().collect())?;
        Some(Failure { kind: Kind::Partial, ..failure })
    }
}

fn at<'a, 'b>(places: &'b [Place<'a, Host>], label: &str) -> Option<&'b Place<'a, Host>> {
    places.iter().find(|place| place.config.label() == label)
}

fn to_yaml(cluster: &Cluster) -> Result<String, Failure> {
    yaml::to_string(cluster).map_err(|error| Failure::new(Kind::Internal, format!("cannot write YAML: {error}")))
}

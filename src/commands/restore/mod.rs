//! `restore`: compare every byte, look at the hosts, ask, keep everything still, fill the stores, let it run, verify.

mod check;
mod fill;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use self::check::AUTHORITY;
use super::init::{Purpose, Work};
use super::session::{self, Interrupt};
use super::{Ended, backup as file};
use crate::assets::Assets;
use crate::cli::{Restore, Target};
use crate::config::credentials::Credentials;
use crate::config::{Cluster, Host as HostConfig, Role};
use crate::datastore::backup::Backup;
use crate::facts::{Facts, Probes};
use crate::failure::{Failure, Kind};
use crate::op::File;
use crate::phase::control_plane::{FOUNDER, MEMBER};
use crate::phase::outcome;
use crate::phase::plan::{Plan, Selection};
use crate::phase::preflight::Ignore;
use crate::phase::restore;
use crate::phase::runner::{self, Run};
use crate::phase::survey::Desired;
use crate::remote::{Host, Query};
use crate::ui::{Event, Ui};

/// What comes before a store can be filled on hosts that have nothing.
const BEFORE: [&str; 4] = ["preflight", "artifacts", "node", "datastore"];

pub(in crate::commands) async fn run(args: Restore) -> Result<(), Ended> {
    let args = &args;
    session::under_ui(args.show, |ui, interrupt| async move {
        let backup = Arc::new(file::opened(&ui, &args.file, &args.key).await?);
        if args.verify {
            return fill::prove(&ui, &backup).await;
        }
        let work = Restoring::of(args, backup, ui)?;
        work.run(&interrupt).await
    })
    .await
}

/// Everything that one `restore` holds on to.
struct Restoring<'a> {
    args: &'a Restore,
    backup: Arc<Backup>,
    cluster: Cluster,
    target: Target,
    files: Vec<File>,
    run: String,
    ui: Ui,
}

/// A connected host.
struct Reached {
    host: Host,
    config: HostConfig,
    facts: Facts,
}

impl Reached {
    fn is_built(&self) -> bool {
        [FOUNDER, MEMBER].iter().any(|step| self.facts.journal.steps.contains_key(*step))
    }
}

impl<'a> Restoring<'a> {
    fn of(args: &'a Restore, backup: Arc<Backup>, ui: Ui) -> Result<Self, Failure> {
        let target = Target {
            host: args.host.clone(),
            config: args.config.clone(),
            login: args.login.clone(),
            name: None,
            set: args.set.clone(),
        };
        let cluster = check::described(args, &backup, &target)?;
        check::fits(&cluster, &backup)?;
        let (files, left) = restore::files(&backup);
        for path in left {
            ui.emit(Event::Warning {
                host: backup.head.host.clone(),
                text: format!("{path} is no text, and is not put back"),
            });
        }
        Ok(Self { args, backup, cluster, target, files, run: session::run_id(), ui })
    }

    async fn run(&self, interrupt: &Arc<Interrupt>) -> Result<(), Failure> {
        let nodes = self.survey_rows().await?;
        let hosts = self.connect().await?;
        let built: Vec<&Reached> = hosts.iter().filter(|host| host.is_built()).collect();
        let first = built.first().copied().or(hosts.iter().find(|host| host.config.role.is_control_plane()));
        let first = first.ok_or_else(|| Failure::new(Kind::Config, "there is no control plane in the description"))?;
        self.same_authority(&built)?;
        let absent = self.absent(nodes, &hosts);
        self.ui.note(None, self.announcement(&built));
        if self.args.dry_run {
            return match built.is_empty() {
                true => self.build(&[], true, &absent, interrupt).await,
                false => Ok(()),
            };
        }
        self.confirm(&built).await?;
        if built.is_empty() {
            self.build(&BEFORE, false, &absent, interrupt).await.or_else(unless_partial)?;
        }
        self.fill_all(first, &built, &hosts, interrupt).await?;
        self.build(&[], false, &absent, interrupt).await?;
        self.close(first).await?;
        if !absent.is_empty() {
            let names: Vec<&str> = absent.iter().map(String::as_str).collect();
            let text = format!("the cluster knows nodes that the description does not: {}", names.join(", "));
            self.ui.emit(Event::Warning { host: first.config.label(), text });
            self.ui.note(None, "if they are gone for good: kubectl delete node NAME");
        }
        Ok(())
    }

    /// Every host that is reached. A control plane or a server that is not may run on the very store, and ends it.
    async fn connect(&self) -> Result<Vec<Reached>, Failure> {
        let configs: Vec<HostConfig> =
            self.cluster.spec.hosts.iter().map(|config| session::as_operator(&self.target, config)).collect();
        let all: Vec<&HostConfig> = configs.iter().collect();
        let connected = session::connect_all(&self.ui, &self.target, &all, session::CONCURRENCY).await;
        let probes = Probes { files: [AUTHORITY.to_owned()].into(), ..Probes::default() };
        let (mut reached, mut missing) = (Vec::new(), Vec::new());
        for (config, host) in configs.iter().zip(connected) {
            let looked = match host {
                Ok(host) => match host.facts(&probes).await {
                    Ok(facts) => Ok(Reached { host, config: config.clone(), facts }),
                    Err(error) => Err(session::unreachable(&error, config)),
                },
                Err(failure) => Err(failure),
            };
            match looked {
                Ok(host) => reached.push(host),
                Err(failure) if config.role != Role::Worker => missing.push((config.label(), failure)),
                // The run that builds says so, and goes on.
                Err(_) => {}
            }
        }
        outcome::together("these hosts must be there, and still, while a store is filled", missing)
            .map_or(Ok(reached), Err)
    }

    async fn confirm(&self, built: &[&Reached]) -> Result<(), Failure> {
        if self.target.login.yes {
            return Ok(());
        }
        let question = match built {
            [] => format!("Build {} anew from the backup?", self.cluster.metadata.name),
            _ => format!("Stop {}, and restore it from the backup?", self.cluster.metadata.name),
        };
        match self.ui.confirm(&question).await {
            Some(true) => Ok(()),
            Some(false) => Err(Failure::new(Kind::Interrupted, "stopped: nothing was changed")),
            None => Err(Failure::new(Kind::Usage, "there is no terminal to ask on: nothing was changed")
                .hint("say --yes to restore, or --dry-run to see what would happen")),
        }
    }

    /// The phases of `init`: these, or all with `verify`.
    async fn build(
        &self,
        only: &[&str],
        dry_run: bool,
        absent: &BTreeSet<String>,
        interrupt: &Arc<Interrupt>,
    ) -> Result<(), Failure> {
        let args = self.args;
        let only = only.iter().map(ToString::to_string).collect::<Vec<_>>();
        let merges = !args.no_kubeconfig && only.is_empty();
        let (cluster, selection) = (&self.cluster, Selection { only, ..Selection::default() });
        let assets = Assets::load(args.description.assets.as_deref())?;
        let desired = Desired {
            manifest: session::manifest(cluster)?,
            scripts: session::scripts(cluster)?,
            ignore: Ignore::parse(&args.ignore_preflight)?,
            supply: session::supply(&self.ui, cluster).await?,
            restored: self.files.clone(),
            ..Desired::new(cluster.clone(), assets, Credentials::of_all(cluster)?, selection, self.run.clone())
        };
        // What is to happen was told and asked already.
        let mut target = Target::new(self.target.host.clone(), self.target.config.clone(), self.target.login.clone());
        target.login.yes = true;
        let work = Work {
            purpose: Purpose::Restore,
            target: &target,
            dry_run,
            merges,
            pace: args.pace,
            hosts: None,
            absent: absent.clone(),
            desired,
            ui: self.ui.clone(),
        };
        let done = work.run(interrupt).await;
        interrupt.applying.store(false, Ordering::Relaxed);
        interrupt.applied.store(false, Ordering::Relaxed);
        done
    }

    /// Keeps in the journal that the restore is over: the next one begins anew.
    async fn close(&self, first: &Reached) -> Result<(), Failure> {
        let _lock = session::lock_all("restore", std::iter::once((&first.host, &first.config))).await?;
        for shard in &self.backup.manifest.stores {
            let plan = restore::filled(&first.config.label(), &shard.name, &self.backup.sum, true);
            self.apply(&[first], &[plan], &Arc::new(Interrupt::default())).await?;
        }
        Ok(())
    }

    async fn apply(&self, hosts: &[&Reached], plans: &[Plan], interrupt: &Arc<Interrupt>) -> Result<(), Failure> {
        let run = Run {
            id: self.run.clone(),
            supply: crate::artifact::supply::Supply::Sources(self.cluster.spec.artifacts.clone()),
            stop: interrupt.stop.clone(),
            concurrency: session::CONCURRENCY,
            ui: self.ui.clone(),
        };
        let targets: Vec<runner::Target<'_, Host>> =
            hosts.iter().zip(plans).map(|(host, plan)| runner::Target { host: &host.host, arch: "", plan }).collect();
        let ran = runner::run(&run, &targets).await;
        let outcomes = hosts.iter().zip(ran.outcomes).map(|(host, outcome)| outcome::HostOutcome {
            host: host.config.label(),
            needed: true,
            outcome,
        });
        outcome::fatal(&outcomes.collect::<Vec<_>>()).map_or(Ok(()), Err)
    }
}

/// Workers that are left out do not keep the stores from being filled; the run that builds tells of them again.
fn unless_partial(failure: Failure) -> Result<(), Failure> {
    if failure.kind == Kind::Partial { Ok(()) } else { Err(failure) }
}

//! `restore`: compare every byte, look at the hosts, ask, keep everything still, fill the stores, let it run, verify.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::mpsc;

use super::init::{Purpose, Work};
use super::progress::Progress;
use super::session::{self, Interrupt};
use super::{Ended, backup as file, stores};
use crate::assets::Assets;
use crate::cli::{Restore, Target};
use crate::cluster::node::Node;
use crate::config::credentials::Credentials;
use crate::config::{Address, Cluster, Datastore, Host as HostConfig, Role, load};
use crate::datastore::backup::{Backup, Shard};
use crate::datastore::copy::digest::Digest;
use crate::datastore::copy::write::{BUMP, Sink};
use crate::datastore::copy::{Change, Span};
use crate::datastore::explore::{self, Place};
use crate::facts::{Facts, Probes};
use crate::failure::{Failure, Kind};
use crate::op::File;
use crate::phase::control_plane::{FOUNDER, MEMBER, RECORD};
use crate::phase::outcome;
use crate::phase::plan::{Plan, Selection};
use crate::phase::preflight::Ignore;
use crate::phase::restore;
use crate::phase::runner::{self, Run};
use crate::phase::survey::Desired;
use crate::remote::{Host, Query, RemoteError};
use crate::ui::{self, Event, Format, Ui};

/// Batches under way between who reads the file and who fills a store.
const UNDER_WAY: usize = 4;

/// What all control planes of a cluster are signed by.
const AUTHORITY: &str = "/etc/kubernetes/pki/ca.crt";

/// What comes before a store can be filled on hosts that have nothing.
const BEFORE: [&str; 4] = ["preflight", "artifacts", "node", "datastore"];

pub(super) async fn run(args: Restore) -> Result<(), Ended> {
    let args = &args;
    session::under_ui(args.show, |ui, interrupt| async move {
        let backup = Arc::new(file::opened(&ui, &args.file, &args.key).await?);
        if args.verify {
            return prove(&ui, &backup).await;
        }
        let work = Restoring::of(args, backup, ui)?;
        work.run(&interrupt).await
    })
    .await
}

/// Puts every store into a scratch file and reads it back.
async fn prove(ui: &Ui, backup: &Arc<Backup>) -> Result<(), Failure> {
    for shard in &backup.manifest.stores {
        let mut sink = Sink::file().await.map_err(|error| failed(error, None))?;
        fill(ui, "scratch", backup, shard, &mut sink, None).await?;
    }
    ui.settled().await;
    if ui.format() == Format::Text {
        let named = backup.path.display().to_string();
        ui::result(&file::text(&named, backup.length, &backup.head, &backup.manifest));
    }
    ui.note(None, "every byte is as it was written, and every store came back out of a scratch file as it went in");
    Ok(())
}

/// Fills an empty store with one of a backup, and reads it back. Without a host, nothing can be lost on the way to it.
async fn fill(
    ui: &Ui,
    label: &str,
    backup: &Arc<Backup>,
    shard: &Shard,
    sink: &mut Sink,
    config: Option<&HostConfig>,
) -> Result<(), Failure> {
    let title = format!("fill the store {}", shard.name);
    let progress = Progress::start(ui, label, format!("restore/fill-{}", shard.name), title);
    let (tell, total) = (progress.bytes(), shard.bytes);
    let (out, rows) = mpsc::channel(UNDER_WAY);
    let (source, name) = (backup.clone(), shard.name.clone());
    let read = tokio::task::spawn_blocking(move || {
        source.rows(&name, |rows| out.blocking_send(rows.into_iter().map(Change::Put).collect()).is_ok())
    });
    let work = async {
        let written = sink.fill(rows, |digest| tell(digest.bytes, total)).await;
        let written = written.map_err(|error| failed(error, config))?;
        read.await.unwrap_or_else(|error| Err(Failure::new(Kind::Internal, error.to_string())))?;
        as_written(shard, &written, "what the backup says it holds")?;
        let back = sink.digest(Span::ALL).await.map_err(|error| failed(error, config))?;
        as_written(shard, &back, "what was written into it")?;
        sink.finish(shard.revision + BUMP).await.map_err(|error| failed(error, config))
    };
    let done = work.await;
    progress.end(done)
}

fn as_written(shard: &Shard, found: &Digest, what: &str) -> Result<(), Failure> {
    match (found.keys, found.bytes, found.to_string()) == (shard.keys, shard.bytes, shard.digest.clone()) {
        true => Ok(()),
        false => {
            let message =
                format!("the store {} holds {} keys, which are not {what}: {}", shard.name, found.keys, shard.keys);
            Err(Failure::new(Kind::Datastore, message))
        }
    }
}

fn failed(error: explore::Error, config: Option<&HostConfig>) -> Failure {
    match (error, config) {
        (explore::Error::Store(failure), _) => failure,
        (explore::Error::Remote(error), Some(config)) => session::unreachable(&error, config),
        (explore::Error::Remote(error), None) => Failure::new(Kind::Internal, error.to_string()),
    }
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
        let cluster = described(args, &backup, &target)?;
        fits(&cluster, &backup)?;
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

    /// The names of the nodes that the backup knows. Each row must be where the description keeps it.
    async fn survey_rows(&self) -> Result<BTreeSet<String>, Failure> {
        let progress = Progress::start(&self.ui, "backup", "backup/survey", "see what belongs where");
        let (backup, cluster) = (self.backup.clone(), self.cluster.clone());
        let surveyed = tokio::task::spawn_blocking(move || {
            let places = explore::places(&cluster, &Credentials::placeholders(&cluster));
            restore::survey(&backup, |key| explore::place_of(&places, key).map(|place| place.shard.as_str()))
        });
        progress.end(surveyed.await.unwrap_or_else(|error| Err(Failure::new(Kind::Internal, error.to_string()))))
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

    /// A cluster that is there must be the one that the backup is of: its nodes trust nobody else.
    fn same_authority(&self, built: &[&Reached]) -> Result<(), Failure> {
        let saved = self.backup.head.files.iter().find(|file| file.path == AUTHORITY).map(|file| &file.sha256);
        for host in built {
            let own = host.facts.files.get(AUTHORITY).and_then(|file| file.sha256.as_ref());
            if own.is_some() && own != saved {
                let message = format!(
                    "{} belongs to another cluster than the backup: its {AUTHORITY} is another one",
                    host.config.label()
                );
                return Err(Failure::new(Kind::Preflight, message)
                    .hint("restore to fresh hosts, or take this one apart first: etcdless reset"));
            }
        }
        Ok(())
    }

    /// Nodes of the backup that the description has no host for.
    fn absent(&self, nodes: BTreeSet<String>, hosts: &[Reached]) -> BTreeSet<String> {
        let named = |host: &Reached| Node::new(&self.cluster, &host.config, &host.facts).map(|node| node.name);
        let seen: BTreeSet<String> = hosts.iter().filter_map(named).collect();
        let told: BTreeSet<String> =
            self.cluster.spec.hosts.iter().filter_map(|config| config.name.as_ref().map(ToString::to_string)).collect();
        nodes.into_iter().filter(|name| !seen.contains(name) && !told.contains(name)).collect()
    }

    fn announcement(&self, built: &[&Reached]) -> String {
        let Backup { head, manifest, .. } = &*self.backup;
        let mut text = format!("restore {} as of the backup of {}:\n", head.cluster, head.begun);
        for (shard, (_, datastore)) in manifest.stores.iter().zip(self.cluster.datastores()) {
            text.push_str(&format!(
                "  the store {}: {} keys as of {} (revision {}), from {} into {}\n",
                shard.name,
                shard.keys,
                shard.instant,
                shard.revision,
                shard.engine,
                engine(datastore)
            ));
        }
        let labels: Vec<String> = built.iter().map(|host| host.config.label()).collect();
        text.push_str(&match built {
            [] => format!(
                "  no control plane is there: it is built as by `init`, with {} files of the backup\n",
                self.files.len()
            ),
            _ => format!("  API server, controllers and kine stand still meanwhile on {}\n", labels.join(", ")),
        });
        text.push_str(
            "  a store that holds anything is refused; whatever happened after the instant is not there afterwards",
        );
        text
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
        let desired = Desired {
            assets: Assets::load(args.description.assets.as_deref())?,
            credentials: Credentials::of_all(&self.cluster)?,
            manifest: session::manifest(&self.cluster)?,
            scripts: session::scripts(&self.cluster)?,
            selection: Selection { only, ..Selection::default() },
            ignore: Ignore::parse(&args.ignore_preflight)?,
            supply: session::supply(&self.ui, &self.cluster).await?,
            restored: self.files.clone(),
            run: self.run.clone(),
            cluster: self.cluster.clone(),
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

    /// Fills every store while nothing runs on any.
    async fn fill_all(
        &self,
        first: &Reached,
        built: &[&Reached],
        hosts: &[Reached],
        interrupt: &Arc<Interrupt>,
    ) -> Result<(), Failure> {
        let heads = hosts.iter().filter(|host| host.config.role.is_control_plane());
        let _locks = session::lock_all("restore", heads.map(|host| (&host.host, &host.config))).await?;
        interrupt.applying.store(true, Ordering::Relaxed);
        let plans: Vec<Plan> = built.iter().map(|host| restore::stopped(&host.config.label(), &self.run)).collect();
        self.apply(built, &plans, interrupt).await?;
        let (resolved, credentials) = stores::resolve(&self.ui, &self.target, &self.cluster).await?;
        let places = explore::places(&resolved, &credentials);
        // Another run may have filled some, and written so into the journal after we looked.
        let facts = first.host.facts(&Probes::default()).await;
        let journal = facts.map_err(|error| session::unreachable(&error, &first.config))?.journal;
        for ((place, shard), (_, datastore)) in
            places.iter().zip(&self.backup.manifest.stores).zip(self.cluster.datastores())
        {
            let is_filled = restore::is_filled(&journal, &shard.name, &self.backup.sum);
            let is_sqlite = matches!(datastore, Datastore::Sqlite(_));
            let filled = self.fill_one(first, place, shard, is_sqlite, is_filled, interrupt).await;
            filled.map_err(|failure| if built.is_empty() { failure } else { stands_still(failure) })?;
        }
        let plans: Vec<Plan> = built.iter().map(|host| restore::started(&host.config.label(), &self.run)).collect();
        self.apply(built, &plans, interrupt).await?;
        interrupt.applying.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// `is_filled`: an earlier run with this backup filled the store, and was cut off before the cluster was up.
    async fn fill_one(
        &self,
        first: &Reached,
        place: &Place,
        shard: &Shard,
        is_sqlite: bool,
        is_filled: bool,
        interrupt: &Arc<Interrupt>,
    ) -> Result<(), Failure> {
        let label = first.config.label();
        let gone = |error: RemoteError| session::unreachable(&error, &first.config);
        let mut sink = if is_sqlite {
            let there = restore::sqlite_files(&first.host, &shard.name).await.map_err(gone)?;
            match there.as_slice() {
                [] => Sink::file().await,
                _ if is_filled => return self.goes_on(&label, shard),
                there => {
                    let message = format!("{label} has the store {} already: {}", shard.name, there.join(", "));
                    return Err(Failure::new(Kind::Datastore, message)
                        .hint("put the files into another folder, or remove them if nobody needs them; etcdless removes no data"));
                }
            }
        } else {
            match Sink::open(&first.host, place).await {
                Err(explore::Error::Store(failure)) if is_filled && failure.message.contains("is not empty") => {
                    return self.goes_on(&label, shard);
                }
                opened => opened,
            }
        }
        .map_err(|error| failed(error, Some(&first.config)))?;
        // From now on what is in the store is ours: until the fill is finished it is known as such, and done again.
        let plan = restore::filled(&label, &shard.name, &self.backup.sum, false);
        self.apply(&[first], &[plan], interrupt).await?;
        fill(&self.ui, &label, &self.backup, shard, &mut sink, Some(&first.config)).await?;
        let Some(made) = sink.into_file() else { return Ok(()) };
        let made = made.close().await.map_err(|error| failed(error, Some(&first.config)))?;
        let step = format!("restore/place-{}", shard.name);
        let progress = Progress::start(&self.ui, &label, step.clone(), format!("send the store {}", shard.name));
        let (signals, mut heard) = mpsc::unbounded_channel();
        let (ui, host) = (self.ui.clone(), label.clone());
        let told = tokio::spawn(async move {
            while let Some(signal) = heard.recv().await {
                if let crate::remote::Signal::Bytes { done, total } = signal {
                    ui.emit(Event::StepBytes { host: host.clone(), step: step.clone(), done, total });
                }
            }
        });
        let placed = restore::place_sqlite(&first.host, &shard.name, &made.path(), &self.run, &signals).await;
        drop(signals);
        let _ended = told.await;
        progress.end(placed)
    }

    fn goes_on(&self, label: &str, shard: &Shard) -> Result<(), Failure> {
        self.ui.note(Some(label), format!("the store {} was filled by an earlier run: it is gone on with", shard.name));
        Ok(())
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

/// What a failure leaves that comes while the cluster is stopped.
fn stands_still(failure: Failure) -> Failure {
    failure
        .hint("API server, controllers and kine are stopped; mend the cause, and the same command goes on")
        .hint("to let the cluster run on as it is instead: etcdless init, as it was built")
}

/// Workers that are left out do not keep the stores from being filled; the run that builds tells of them again.
fn unless_partial(failure: Failure) -> Result<(), Failure> {
    if failure.kind == Kind::Partial { Ok(()) } else { Err(failure) }
}

/// The description to restore to: a file, or the backup's own, on the host that was named.
fn described(args: &Restore, backup: &Backup, target: &Target) -> Result<Cluster, Failure> {
    if args.config.is_some() {
        return session::describe(target, Some(&args.description));
    }
    let record = backup.file(RECORD).and_then(|content| std::str::from_utf8(content).ok());
    let record = record.ok_or_else(|| {
        Failure::new(Kind::Usage, "the backup has no description of its cluster, which etcdless did not build")
            .hint("write one, and name it: -c cluster.yaml")
    })?;
    let mut cluster = load::parse(RECORD, record)?;
    if let Some(text) = &args.host {
        let heads = cluster.spec.hosts.iter_mut().filter(|host| host.role.is_control_plane()).collect::<Vec<_>>();
        let Ok([head]) = <[&mut HostConfig; 1]>::try_from(heads) else {
            return Err(Failure::new(Kind::Usage, "the cluster has several control planes")
                .hint("name a file with all of its hosts: -c cluster.yaml"));
        };
        let (user, address) =
            text.rsplit_once('@').map_or((None, text.as_str()), |(user, address)| (Some(user), address));
        let address: Address = address.parse().map_err(|error| Failure::new(Kind::Usage, format!("{error}")))?;
        if address != head.address {
            // Where it is now is another place than where it was.
            head.node_ip = None;
        }
        head.address = address;
        head.user = user.map(str::to_owned);
    }
    session::adjusted(&cluster, target, Some(&args.description))
}

/// Whether a description is one that the backup can be restored to.
fn fits(cluster: &Cluster, backup: &Backup) -> Result<(), Failure> {
    let head = &backup.head;
    let refused = |message: String, hint: &str| Err(Failure::new(Kind::Config, message).hint(hint));
    if cluster.metadata.name.as_str() != head.cluster {
        let message =
            format!("the backup is of `{}`, and the description is of `{}`", head.cluster, cluster.metadata.name);
        return refused(
            message,
            "the name is in the cluster's endpoint and certificates: set metadata.name to the backup's",
        );
    }
    let own: Vec<&str> = cluster.datastores().map(|(shard, _)| shard).collect();
    if own != head.stores {
        let message =
            format!("the backup has the stores {}, and the description {}", head.stores.join(", "), own.join(", "));
        return refused(message, "describe the same shards; their engines may be others");
    }
    let minor =
        |version: &str| version.trim_start_matches('v').split('.').take(2).map(str::to_owned).collect::<Vec<_>>();
    let version = cluster.spec.kubernetes.version.to_string();
    if let Some(saved) = head.kubernetes.as_ref().filter(|saved| minor(saved) != minor(&version)) {
        let message = format!("the backup is of Kubernetes {saved}, and the description wants {version}");
        return refused(message, "restore with the backup's minor, and upgrade afterwards");
    }
    let Some(record) = backup.file(RECORD).and_then(|content| std::str::from_utf8(content).ok()) else { return Ok(()) };
    let saved = load::parse(RECORD, record)?;
    for ((field, before), (_, now)) in shape(&saved).into_iter().zip(shape(cluster)) {
        if before != now {
            let message = format!("the backup's cluster has {field} {before}, and the description {now}");
            return refused(message, "nodes, Pods and certificates have it: describe it as it was");
        }
    }
    Ok(())
}

/// What nodes that are still there, and everything in the stores, go by. Another engine has another endpoint unless one is described.
fn shape(cluster: &Cluster) -> [(String, serde_json::Value); 4] {
    let kubernetes = serde_json::to_value(&cluster.spec.kubernetes).unwrap_or_default();
    let endpoint = serde_json::to_value(cluster.endpoint()).unwrap_or_default();
    let field = |name: &str| (format!("kubernetes.{name}"), kubernetes[name].clone());
    [field("podSubnet"), field("serviceSubnet"), field("dnsDomain"), ("endpoint".to_owned(), endpoint)]
}

fn engine(datastore: &Datastore) -> String {
    match datastore {
        Datastore::Sqlite(_) => "SQLite".into(),
        Datastore::Other(_) => "another engine".into(),
        server => server.engine().map(|engine| engine.title().to_owned()).unwrap_or_default(),
    }
}

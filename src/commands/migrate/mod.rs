//! `migrate`: a cluster goes to another store while it runs, from etcd as well, and back.

mod etcd;
mod shards;
mod site;
mod stores;
mod switch;
mod wanted;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use self::shards::Split;
use self::site::{Member, Site};
use self::stores::Move;
use self::wanted::Moved;
use super::Ended;
use super::session::{self, Interrupt};
use super::{stores as access, verify};
use crate::artifact::supply::Supply;
use crate::assets::Assets;
use crate::cli::{Migrate, Target};
use crate::cluster::migration::Backend;
use crate::cluster::node::Node;
use crate::config::{Cluster, Datastore, yaml};
use crate::datastore::explore::foreign::{self, MANIFEST};
use crate::datastore::explore::{self, Place as Where, ROOT};
use crate::failure::{Failure, Kind};
use crate::phase::migrate::{self, Record, State, Which};
use crate::phase::plan::Plan;
use crate::phase::runner::{self, Run};
use crate::remote::Host;
use crate::ui::{self, Event, Format, Ui};

/// Where kubeadm keeps the manifest of the etcd that it makes.
const ETCD: &str = "/etc/kubernetes/manifests/etcd.yaml";

/// How long everything may take to become well.
const VERIFY_DEADLINE: Duration = Duration::from_secs(180);

/// Seconds that counting a store may take.
const COUNTING: u64 = 600;

pub(super) async fn run(args: Migrate) -> Result<(), Ended> {
    let target = Target::new(args.host.clone(), args.config.clone(), args.login.clone());
    let (args, target) = (&args, &target);
    session::under_ui(args.show, |ui, interrupt| async move {
        let word = args.to.as_ref().and_then(|path| path.to_str());
        let to = match &args.to {
            Some(path) if !matches!(word, Some("sqlite" | "etcd")) => {
                Some(session::describe(&Target::new(None, Some(path.clone()), args.login.clone()), None)?)
            }
            _ => None,
        };
        let site = Site::find(&ui, target, to.as_ref()).await?;
        let hosts = site.members().map(|member| (&member.host, &member.config));
        let _locks = if args.dry_run { Vec::new() } else { session::lock_all("migrate", hosts).await? };
        let work = Work {
            args,
            target,
            site: &site,
            ui: &ui,
            interrupt: &interrupt,
            id: session::run_id(),
            began: Instant::now(),
        };
        match (args.finish, args.rollback) {
            (true, _) => work.finish().await,
            (_, true) => work.back().await,
            _ if word == Some("etcd") => work.out().await,
            _ => work.forward(to).await,
        }
    })
    .await
}

/// Everything that one migration holds on to.
struct Work<'a> {
    args: &'a Migrate,
    target: &'a Target,
    site: &'a Site,
    ui: &'a Ui,
    interrupt: &'a Arc<Interrupt>,
    id: String,
    began: Instant,
}

impl Work<'_> {
    async fn forward(&self, to: Option<Cluster>) -> Result<(), Failure> {
        let new = self.wanted(to)?;
        let resumed = self.resume(&written(&new)?).await?;
        self.allow().await?;
        if resumed.is_some() {
            return self.settle(&new).await;
        }
        let split = self.split_to(&new)?;
        let old = self.places().await?;
        let wanted = self.survey(new).await?;
        let new = &wanted.desired.cluster;
        let moves = self.moves(new, &old)?;
        let names: Vec<String> = new.datastores().map(|(_, store)| named(store)).collect();
        let told = moves
            .iter()
            .map(|moved| (moved.shard.as_str(), &old[moved.from], &moved.below[..], names[moved.to].clone()));
        self.tell(told).await?;
        split.iter().flat_map(Split::told).for_each(|line| self.ui.note(None, line));
        if self.args.dry_run {
            return Ok(());
        }
        self.confirm(&format!("Move `{}`?", new.metadata.name)).await?;

        let (run, sure) = (self.run(self.interrupt.stop.clone()), self.run(Arc::default()));
        self.busy(true);
        self.each(&run, |label| wanted.hosts.get(label).map(|(plan, ..)| plan)).await?;
        let record = Record { id: self.id.clone(), old: self.kept()?, new: written(new)?, begins: Vec::new() };
        let staged = self.plans(|label| {
            let change = wanted.hosts.get(label).map(|(_, change, _)| change);
            change.map(|change| migrate::stage(label, change, &record)).transpose()
        })?;
        self.each(&run, |label| staged.get(label)).await?;
        self.busy(false);

        let (resolved, credentials) = access::resolve(self.ui, self.target, new).await?;
        let places = explore::places(&resolved, &credentials);
        let first = self.site.first()?;
        let at = (&first.host, &first.config);
        let filled = self.filled(&written(new)?);
        let mut moving = Vec::new();
        for Moved { shard, from, to, below } in moves {
            let ours = filled.iter().find(|(name, _)| *name == shard).map(|(_, begins)| *begins);
            moving.push(Move::begin(self.ui, at, &shard, (&old[from], below), (&places[to], ours)).await?);
        }
        match &split {
            Some(split) => self.split(split, moving, record, (&run, &sure), new).await?,
            None => {
                let rest = async |record: &mut Record| self.rest(&run, moving, Which::New, record).await;
                self.switch((Which::Old, Which::New), rest, record, (&run, &sure), new).await?;
            }
        }
        self.settle(new).await
    }

    /// The store that the last migration left serves again, with what was written since.
    async fn back(&self) -> Result<(), Failure> {
        let record = self.record()?;
        let first = self.site.first()?;
        shards::goes_back(&record, first.seen.state)?;
        let serves = self.thaw().await?;
        if record.old.is_empty() {
            return match serves {
                Which::New => self.back_to_etcd(record).await,
                Which::Old => self.settled(&parse(&record.new)?).await,
            };
        }
        let old = parse(&record.old)?;
        if serves == Which::Old {
            return self.settle(&old).await;
        }
        if record.new.is_empty() && !old.spec.shards.is_empty() {
            return Err(Failure::new(Kind::Usage, "from etcd there is no way back to a kine with shards")
                .hint("what the stores held is as the cluster left it")
                .hint("`etcdless migrate --finish`, then --to a description without shards"));
        }
        let from = self.places().await?;
        let (resolved, credentials) = access::resolve(self.ui, self.target, &old).await?;
        let to = explore::places(&resolved, &credentials);
        self.ui.note(None, format!("`{}` goes back to {}", old.metadata.name, named(&old.spec.datastore)));
        if self.args.dry_run {
            return Ok(());
        }
        self.confirm(&format!("Move `{}` back?", old.metadata.name)).await?;
        let (run, sure) = (self.run(self.interrupt.stop.clone()), self.run(Arc::default()));
        let at = (&first.host, &first.config);
        let mut moving = Vec::new();
        for (shard, begins) in &record.begins {
            let place = |places: &[Where]| places.iter().position(|place| place.shard == *shard);
            let (Some(source), Some(target)) = (place(&from), place(&to)) else {
                return Err(Failure::new(Kind::Config, format!("there is no store {shard} to go back to")));
            };
            moving.push(Move::back(self.ui, at, shard, (&from[source], *begins), &to[target]).await?);
        }
        let rest = async |record: &mut Record| self.rest(&run, moving, Which::Old, record).await;
        self.switch((Which::New, Which::Old), rest, record, (&run, &sure), &old).await?;
        self.settle(&old).await
    }

    /// What is copied while the cluster runs is in nobody's way: it may be left at any moment. What changes hosts is brought to an end.
    fn busy(&self, is_busy: bool) {
        self.interrupt.applying.store(is_busy, Ordering::Relaxed);
    }

    /// The rest of what the description says, and whether all is well.
    async fn settle(&self, cluster: &Cluster) -> Result<(), Failure> {
        let sure = self.run(Arc::default());
        self.interrupt.applied.store(true, Ordering::Relaxed);
        let first = self.site.first()?;
        match self.site.is_built() {
            true => {
                // What kubeadm is told names shards.
                let desired = self.desired(cluster.clone(), &["datastore", "kubelet", "kine", "control-plane"])?;
                let surveyed = self.surveyed(&desired).await?;
                let plans: BTreeMap<String, Plan> =
                    surveyed.hosts.into_iter().map(|seen| (seen.node.label.clone(), seen.plan)).collect();
                self.each(&sure, |label| plans.get(label)).await?;
            }
            false => self.configure(&sure, &Backend::kine(cluster)).await?,
        }
        let node = Node::new(cluster, &first.config, &first.facts)
            .ok_or_else(|| Failure::new(Kind::Unhealthy, format!("{} has no usable address", first.config.label())))?;
        let assets = Assets::load(None)?;
        let report =
            verify::watch(self.ui, &first.host, cluster, &node, &assets, &Default::default(), VERIFY_DEADLINE).await?;
        report.failure().map_or(Ok(()), Err)?;
        self.done(cluster, &named(&cluster.spec.datastore))
    }

    /// Says where the cluster is now.
    fn done(&self, cluster: &Cluster, on: &str) -> Result<(), Failure> {
        self.ui.emit(Event::Finished { changes: 1, seconds: self.began.elapsed().as_secs_f64() });
        if self.ui.format() == Format::Text {
            let name = &cluster.metadata.name;
            ui::result(&match self.args.rollback {
                _ if self.is_split(cluster)? => {
                    format!(
                        "{name}: split\nwhat `main` still holds of what moved is deleted by: etcdless migrate --finish\n"
                    )
                }
                true => format!(
                    "{name}: on {on} again\nwhat the migration placed is removed by: etcdless migrate --finish\n"
                ),
                false => {
                    format!("{name}: on {on}\nthe way back: etcdless migrate --rollback; to give it up: --finish\n")
                }
            });
        }
        Ok(())
    }

    /// kubeadm's own configuration, where nothing else writes it.
    async fn configure(&self, sure: &Run, backend: &Backend) -> Result<(), Failure> {
        let first = self.site.first()?;
        let configuration = self.configuration(backend).await.map_err(|failure| {
            failure.hint("the cluster is on its new store; `kubeadm upgrade` needs the configuration mended before")
        })?;
        self.on(sure, first, &migrate::configured(&first.config.label(), &configuration, &self.id)).await
    }

    async fn finish(&self) -> Result<(), Failure> {
        let record = self.record()?;
        let named = |text: &str| match text {
            "" => Ok("etcd".to_owned()),
            text => parse(text).map(|cluster| named(&cluster.spec.datastore)),
        };
        let (gone, on) = (shards::gone(&record)?, self.site.labels());
        let states: Vec<State> = self.site.planes.iter().map(|plane| plane.seen.state).collect();
        let note = match (gone.is_empty(), migrate::serves(&states).0) {
            (true, Which::New) => {
                format!("the way back to {} is given up on {on}; its data stays where it is", named(&record.old)?)
            }
            (true, Which::Old) => {
                let (old, new) = (named(&record.old)?, named(&record.new)?);
                format!(
                    "what the migration placed is removed from {on}, which stays on {old}; the data in {new} stays where it is"
                )
            }
            (false, _) => {
                format!("what `main` still holds of {} is deleted, which no API server uses", gone.join(", "))
            }
        };
        self.ui.note(None, note);
        if self.args.dry_run {
            return Ok(());
        }
        self.confirm(if gone.is_empty() { "Give it up?" } else { "Delete it?" }).await?;
        let run = self.run(self.interrupt.stop.clone());
        self.interrupt.applying.store(true, Ordering::Relaxed);
        self.prune(&record).await?;
        let plans = self.plans(|label| Ok(Some(migrate::finish(label, &self.id))))?;
        self.each(&run, |label| plans.get(label)).await
    }

    fn record(&self) -> Result<Record, Failure> {
        self.site.first()?.seen.record.clone().ok_or_else(|| {
            Failure::new(Kind::Usage, "there was no migration here, or it is finished")
                .hint("etcdless migrate --to FILE begins one")
        })
    }

    fn kept(&self) -> Result<String, Failure> {
        self.site.kept.as_ref().map_or_else(|| Ok(String::new()), written)
    }

    /// Where the data is now.
    async fn places(&self) -> Result<Vec<Where>, Failure> {
        let first = self.site.first()?;
        if let Some(kept) = &self.site.kept {
            let described = match &self.args.config {
                Some(_) => session::describe(self.target, None)?,
                None => kept.clone(),
            };
            let (resolved, credentials) = access::resolve(self.ui, self.target, &described).await?;
            return Ok(explore::places(&resolved, &credentials));
        }
        let manifest = first.facts.texts.get(MANIFEST).map(String::as_str).unwrap_or_default();
        foreign::places(manifest).map_err(|why| {
            Failure::new(Kind::Unhealthy, format!("{MANIFEST} of {} is of no use: {why}", first.config.label()))
                .hint("name a control plane whose API server runs")
        })
    }

    /// How much there is, and what will be away for how long: each store, what of it moves, and where to.
    async fn tell(&self, moves: impl Iterator<Item = (&str, &Where, &[String], String)>) -> Result<(), Failure> {
        let first = self.site.first()?;
        for (shard, from, below, to) in moves.filter(|(_, _, below, _)| !below.is_empty()) {
            let failed = |error| stores::failed(error, &first.config);
            let mut store = from.open(&first.host, COUNTING).await.map_err(failed)?;
            let (keys, bytes) = store
                .tally()
                .await
                .map_err(failed)?
                .iter()
                .filter(|(folder, _)| below.iter().any(|prefix| format!("{ROOT}{folder}/").starts_with(prefix)))
                .fold((0, 0), |(keys, bytes), (_, tally)| (keys + tally.objects, bytes + tally.bytes));
            self.ui.note(
                None,
                format!(
                    "{shard}: {keys} keys, {:.1} MiB, from {} to {to}, copied while the cluster runs",
                    bytes as f64 / 1048576.0,
                    store.engine
                ),
            );
        }
        let seconds = self.args.freeze;
        self.ui.note(None, format!(
            "then the API servers of {} stop, for some 10 to 20 s and what changed meanwhile; after {seconds} s the old store serves again by itself",
            self.site.labels()
        ));
        Ok(())
    }

    async fn confirm(&self, question: &str) -> Result<(), Failure> {
        if self.args.login.yes {
            return Ok(());
        }
        match self.ui.confirm(question).await {
            Some(true) => Ok(()),
            Some(false) => Err(Failure::new(Kind::Interrupted, "stopped: nothing was changed")),
            None => Err(Failure::new(Kind::Usage, "there is no terminal to ask on: nothing was changed")
                .hint("say --yes to go on, or --dry-run to see what would be done")),
        }
    }

    fn run(&self, stop: Arc<AtomicBool>) -> Run {
        let supply =
            Supply::Sources(self.site.kept.as_ref().map(|kept| kept.spec.artifacts.clone()).unwrap_or_default());
        Run { id: self.id.clone(), supply, stop, concurrency: session::CONCURRENCY, ui: self.ui.clone() }
    }

    /// A plan of each control plane.
    fn plans(&self, plan: impl Fn(&str) -> Result<Option<Plan>, Failure>) -> Result<BTreeMap<String, Plan>, Failure> {
        let labels = self.site.planes.iter().map(|member| member.config.label());
        let plans = labels.map(|label| Ok(plan(&label)?.map(|plan| (label, plan))));
        Ok(plans.collect::<Result<Vec<_>, Failure>>()?.into_iter().flatten().collect())
    }

    /// Does what there is to do on every host at once.
    async fn each<'p>(&self, run: &Run, plan: impl Fn(&str) -> Option<&'p Plan>) -> Result<(), Failure> {
        let members = self.site.members().filter_map(|member| Some((member, plan(&member.config.label())?)));
        let targets: Vec<runner::Target<'_, Host>> =
            members.map(|(member, plan)| runner::Target { host: &member.host, arch: arch(member), plan }).collect();
        runner::run_whole(run, &targets).await
    }

    async fn on(&self, run: &Run, member: &Member, plan: &Plan) -> Result<(), Failure> {
        runner::run_whole(run, &[runner::Target { host: &member.host, arch: arch(member), plan }]).await
    }
}

fn arch(member: &Member) -> &'static str {
    if member.facts.machine == "aarch64" { "arm64" } else { "amd64" }
}

fn parse(text: &str) -> Result<Cluster, Failure> {
    crate::config::load::parse("what the migration keeps", text)
}

fn written(cluster: &Cluster) -> Result<String, Failure> {
    yaml::to_string(cluster)
        .map_err(|error| Failure::new(Kind::Internal, format!("cannot write the cluster's description: {error}")))
}

fn named(datastore: &Datastore) -> String {
    match datastore {
        Datastore::Sqlite(_) => "SQLite",
        Datastore::Postgres(_) => "PostgreSQL",
        Datastore::Mysql(_) => "MySQL",
        Datastore::Mariadb(_) => "MariaDB",
        Datastore::Other(_) => "another engine",
    }
    .into()
}

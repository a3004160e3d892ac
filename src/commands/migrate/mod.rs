//! `migrate`: a cluster goes to another store while it runs, from etcd as well, and back.

mod etcd;
mod shards;
mod site;
mod stores;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use self::shards::Split;
use self::site::{Member, Site};
use self::stores::Move;
use super::Ended;
use super::session::{self, Interrupt};
use super::{stores as access, verify};
use crate::artifact::supply::Supply;
use crate::assets::Assets;
use crate::cli::{Migrate, Target};
use crate::cluster::migration::{self, Backend};
use crate::cluster::node::Node;
use crate::config::credentials::Credentials;
use crate::config::{Cluster, Datastore, Network, yaml};
use crate::datastore::copy::read;
use crate::datastore::explore::foreign::{self, MANIFEST};
use crate::datastore::explore::{self, Place as Where, ROOT};
use crate::failure::{Failure, Kind};
use crate::op::{File, Op};
use crate::phase::artifacts::image_step;
use crate::phase::migrate::{self, Change, Record, State, Which};
use crate::phase::plan::{Plan, Selection};
use crate::phase::preflight::Ignore;
use crate::phase::runner::{self, Run};
use crate::phase::survey::{Desired, Place, Surveyed};
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

/// A store that is filled.
struct Moved {
    shard: String,
    /// Its places among the stores of before, which it is filled from, and of after.
    from: usize,
    to: usize,
    /// What the keys begin with that are copied.
    below: Vec<String>,
}

/// What is to become of the cluster.
struct Wanted {
    desired: Desired,
    /// By label: what is done before anything stops, and what the switch puts in place.
    hosts: BTreeMap<String, (Plan, Change, &'static str)>,
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
        let told = moves.iter().map(|moved| (&old[moved.from], &moved.below[..], names[moved.to].clone()));
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

    /// API servers stop, `rest` copies what is left and says how many keys changed, and they start on the other store.
    async fn switch(
        &self,
        (serves, to): (Which, Which),
        rest: impl AsyncFnOnce(&mut Record) -> Result<u64, Failure>,
        mut record: Record,
        (run, sure): (&Run, &Run),
        cluster: &Cluster,
    ) -> Result<(), Failure> {
        self.busy(true);
        let away = Instant::now();
        let froze = async {
            let plans = self.plans(|label| Ok(Some(migrate::freeze(label, serves, self.args.freeze, &self.id))))?;
            self.each(run, |label| plans.get(label)).await?;
            let changed = rest(&mut record).await?;
            let first = self.site.first()?.config.label();
            let held = self.plans(|label| Ok((label != first).then(|| migrate::hold(label, &self.id))))?;
            self.each(run, |label| held.get(label)).await?;
            Ok::<u64, Failure>(changed)
        };
        let changed = match froze.await {
            Ok(changed) => changed,
            Err(failure) => {
                self.ui.note(None, "the store that served serves again");
                self.thaw_to(serves).await?;
                return Err(failure.hint("run the same command again: it begins anew, and removes nothing that served"));
            }
        };
        let first = self.site.first()?;
        let committed = migrate::commit(&first.config.label(), to, &first.address(cluster)?, &self.id);
        self.on(sure, first, &committed).await.map_err(|failure| {
            failure.hint(match shards::goes_back(&record, State::Committed(to)) {
                Ok(()) => "`etcdless migrate --rollback` goes back",
                Err(_) => "the same command again goes on",
            })
        })?;
        let seconds = away.elapsed().as_secs_f64();
        let keys = if changed == 1 { "1 key".into() } else { format!("{changed} keys") };
        self.ui.note(None, format!("the API was away for {seconds:.1} s; {keys} had changed since the first copy"));
        self.follow(sure, to, cluster).await
    }

    /// What changed in stores since the last time, and files to where the switch takes them from.
    async fn rest(&self, run: &Run, mut moving: Vec<Move<'_>>, to: Which, record: &mut Record) -> Result<u64, Failure> {
        record.begins.clear();
        let mut changed = 0;
        for one in &mut moving {
            let (begins, keys) = one.rest().await?;
            record.begins.push((one.shard.clone(), begins));
            changed += keys;
        }
        // First what they begin with is known, so that a store that is ready, and is never used, is known as our own.
        self.note(run, record).await?;
        for (one, (_, begins)) in moving.into_iter().zip(&record.begins) {
            one.end(*begins, to).await?;
        }
        Ok(changed)
    }

    /// The stores that an earlier run to the same description made ready and never used, with what they begin at.
    fn filled(&self, new: &str) -> Vec<(String, u64)> {
        let records = self.site.planes.iter().filter_map(|member| member.seen.record.as_ref());
        records.filter(|record| record.new == new).flat_map(|record| record.begins.clone()).collect()
    }

    /// All control planes know what the migration is about.
    async fn note(&self, run: &Run, record: &Record) -> Result<(), Failure> {
        let noted = self.plans(|label| migrate::noted(label, record).map(Some))?;
        self.each(run, |label| noted.get(label)).await
    }

    /// The other control planes go where the first is.
    async fn follow(&self, sure: &Run, to: Which, cluster: &Cluster) -> Result<(), Failure> {
        for member in self.site.planes.iter().skip(1) {
            let plan = migrate::follow(&member.config.label(), to, &member.address(cluster)?, &self.id);
            self.on(sure, member, &plan).await?;
        }
        Ok(())
    }

    /// Whatever was cut off is brought to an end. What the cut off migration is about, where it is the one to `new` and needs only its end.
    async fn resume(&self, new: &str) -> Result<Option<Record>, Failure> {
        let first = self.site.first()?;
        let sure = self.run(Arc::default());
        match first.seen.state {
            State::None | State::Staged => Ok(None),
            State::On(Which::Old) if self.site.planes.iter().all(|member| member.seen.state == first.seen.state) => {
                Ok(None)
            }
            State::Committed(Which::New) | State::On(Which::New) if self.args.dry_run => {
                Err(Failure::new(Kind::Usage, "the last migration is not finished")
                    .hint("the same command without --dry-run goes on with it"))
            }
            State::Committed(Which::New) | State::On(Which::New) => {
                let record = self.record()?;
                if record.new != new {
                    return Err(Failure::new(Kind::Usage, "the last migration is not finished")
                        .hint("`etcdless migrate --finish` forgets the way back, --rollback takes it"));
                }
                let cluster = self.moved()?;
                let committed = migrate::commit(&first.config.label(), Which::New, &first.address(&cluster)?, &self.id);
                self.on(&sure, first, &committed).await?;
                self.follow(&sure, Which::New, &cluster).await?;
                Ok(Some(record))
            }
            _ => {
                self.thaw().await?;
                Ok(None)
            }
        }
    }

    /// Where a switch was cut off, all control planes go to the store that it left serving. Which that is.
    async fn thaw(&self) -> Result<Which, Failure> {
        let states: Vec<State> = self.site.planes.iter().map(|member| member.seen.state).collect();
        let (serves, is_calm) = migrate::serves(&states);
        match is_calm {
            true => Ok(serves),
            false if self.args.dry_run => Err(Failure::new(Kind::Unhealthy, "a migration was cut off here")
                .hint("the same command without --dry-run goes on with it")),
            false => self.thaw_to(serves).await.map(|()| serves),
        }
    }

    /// All control planes go back to the store that served; the first decides here, too.
    async fn thaw_to(&self, serves: Which) -> Result<(), Failure> {
        let sure = self.run(Arc::default());
        // What a migration that never got as far as a record was about is not needed here.
        let cluster = self.moved()?;
        for member in &self.site.planes {
            let plan = migrate::follow(&member.config.label(), serves, &member.address(&cluster)?, &self.id);
            self.on(&sure, member, &plan).await?;
        }
        Ok(())
    }

    /// The description of the cluster that moves, on whichever side of the migration it has one.
    fn moved(&self) -> Result<Cluster, Failure> {
        if let Some(kept) = &self.site.kept {
            return Ok(kept.clone());
        }
        let record = self.site.planes.iter().find_map(|member| member.seen.record.clone());
        let text = record.map(|record| if record.new.is_empty() { record.old } else { record.new });
        match (text, &self.site.to) {
            (Some(text), _) => parse(&text),
            (None, Some(to)) => Ok(to.clone()),
            (None, None) => Err(Failure::new(Kind::Config, "there is no description of the cluster")),
        }
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
        match self.site.kept {
            Some(_) => {
                // What kubeadm is told names shards.
                let desired = self.desired(cluster.clone(), &["datastore", "kubelet", "kine", "control-plane"])?;
                let surveyed = self.surveyed(&desired).await?;
                let plans: BTreeMap<String, Plan> =
                    surveyed.hosts.into_iter().map(|seen| (seen.node.label.clone(), seen.plan)).collect();
                self.each(&sure, |label| plans.get(label)).await?;
            }
            None => self.configure(&sure, &Backend::kine(cluster)).await?,
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
        let from = match record.old.is_empty() {
            true => "etcd".to_owned(),
            false => named(&parse(&record.old)?.spec.datastore),
        };
        let gone = shards::gone(&record)?;
        self.ui.note(
            None,
            match gone.is_empty() {
                true => {
                    format!("the way back to {from} is given up on {}; its data stays where it is", self.site.labels())
                }
                false => format!("what `main` still holds of {} is deleted, which no API server uses", gone.join(", ")),
            },
        );
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

    /// The description of the cluster as it shall be.
    fn wanted(&self, to: Option<Cluster>) -> Result<Cluster, Failure> {
        let new = match (to, &self.site.kept) {
            (Some(new), Some(kept)) => {
                let labels = |cluster: &Cluster| {
                    let nodes = cluster.spec.hosts.iter().filter(|host| host.role.is_node());
                    nodes.map(|host| host.address.to_string()).collect::<std::collections::BTreeSet<_>>()
                };
                let same = new.metadata.name == kept.metadata.name
                    && labels(&new) == labels(kept)
                    && new.spec.kine.placement == kept.spec.kine.placement
                    && new.spec.kine.listen == kept.spec.kine.listen;
                if !same {
                    return Err(Failure::new(Kind::Config, "the cluster that --to describes is another one than this")
                        .hint("only `datastore` and shards may differ: name, hosts and kine stay as they are"));
                }
                Split::of(kept, &new)?;
                let (has, gets) = (format!("{:?}", kept.endpoint()), format!("{:?}", new.endpoint()));
                if has != gets {
                    let endpoint = yaml::to_string(&kept.endpoint()).unwrap_or_default();
                    let endpoint = endpoint.trim().replace('\n', " ");
                    return Err(Failure::new(
                        Kind::Config,
                        "the cluster that --to describes has another endpoint than this",
                    )
                    .hint("what an endpoint is by default depends on the datastore")
                    .hint(format!("write the one that it has into the file: spec.endpoint: {{ {endpoint} }}")));
                }
                new
            }
            (Some(new), None) => new,
            (None, Some(kept)) => {
                let mut new = kept.clone();
                new.spec.endpoint = Some(kept.endpoint());
                new.spec.datastore = Datastore::Sqlite(Default::default());
                new
            }
            (None, None) => {
                return Err(Failure::new(
                    Kind::Usage,
                    "the cluster is not one that etcdless built, and --to names no file",
                )
                .hint("etcdless adopt HOST -o cluster.yaml writes one"));
            }
        };
        let planes = new.spec.hosts.iter().filter(|host| host.role.is_control_plane()).count();
        let is_file = new.datastores().any(|(_, datastore)| matches!(datastore, Datastore::Sqlite(_)));
        if planes > 1 && is_file {
            return Err(Failure::new(
                Kind::Config,
                format!("SQLite is a file on one host, and there are {planes} control planes"),
            )
            .hint("name a database server that all of them reach"));
        }
        if new.spec.kine.placement == crate::config::Placement::Sidecar {
            return Err(Failure::new(
                Kind::Config,
                "kine runs beside the API server in its Pod, which cannot be moved yet",
            )
            .hint("a cluster with kine.placement staticPod or systemd can"));
        }
        Ok(new)
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

    /// What a description has besides what the cluster has; nothing where shards stay as they are.
    fn split_to(&self, new: &Cluster) -> Result<Option<Split>, Failure> {
        Ok(self.site.kept.as_ref().map(|kept| Split::of(kept, new)).transpose()?.flatten())
    }

    /// Which stores move.
    fn moves(&self, new: &Cluster, old: &[Where]) -> Result<Vec<Moved>, Failure> {
        if let Some(split) = self.split_to(new)? {
            return Ok(split.moves(new));
        }
        let stores: Vec<(String, String)> =
            new.datastores().map(|(shard, store)| (shard.to_owned(), format!("{store:?}"))).collect();
        if stores.len() != old.len() {
            return Err(Failure::new(
                Kind::Config,
                format!("the cluster has {} stores, and is to have {}", old.len(), stores.len()),
            )
            .hint("shards stay as they are while a cluster moves"));
        }
        let before: Vec<String> =
            self.site.kept.iter().flat_map(|kept| kept.datastores().map(|(_, store)| format!("{store:?}"))).collect();
        let moves: Vec<_> = stores
            .into_iter()
            .enumerate()
            .filter(|(at, (_, store))| before.get(*at) != Some(store))
            .map(|(at, (shard, _))| Moved { shard, from: at, to: at, below: read::all() })
            .collect();
        match moves.is_empty() {
            true => Err(Failure::new(Kind::Usage, "the cluster is on that store already")
                .hint("--to names the one that it shall have")),
            false => Ok(moves),
        }
    }

    /// What the hosts are to have, and which of it waits for the switch.
    async fn survey(&self, new: Cluster) -> Result<Wanted, Failure> {
        let (is_ours, is_split) = (self.site.kept.is_some(), self.split_to(&new)?.is_some());
        let phases: &[&str] = if is_ours {
            &["datastore", "kine", "control-plane"]
        } else {
            &["artifacts", "datastore", "kine", "control-plane"]
        };
        let desired = self.desired(new, phases)?;
        let surveyed = self.surveyed(&desired).await?;
        let image = image_step(&crate::artifact::catalogue::kine_image(&desired.cluster));
        let mut hosts = BTreeMap::new();
        for seen in surveyed.hosts {
            let (mut plan, mut change) = (seen.plan, Change::default());
            plan.steps.retain(|planned| {
                let id = planned.step.id.as_str();
                match &planned.step.op {
                    Op::File(file) if planned.step.phase() == "kine" || id == "control-plane/record" => {
                        // All of kine's, since every kine stops for the switch.
                        change.files.push(file.clone());
                        false
                    }
                    Op::Directory { .. } | Op::Certificates { .. } | Op::Install { .. }
                        if planned.step.phase() == "kine" =>
                    {
                        true
                    }
                    _ => planned.step.phase() == "datastore" || id == image || id == "artifacts/kine",
                }
            });
            plan.steps.iter_mut().for_each(|planned| planned.step.after_on.clear());
            let member = self.site.members().find(|member| member.config.label() == seen.node.label);
            if let Some(member) = member.filter(|member| member.config.role.is_control_plane()) {
                if !is_ours || is_split {
                    self.manifest(member, &desired.cluster, &mut change)?;
                }
                if !is_ours {
                    change.absent.insert(ETCD.to_owned());
                }
            }
            hosts.insert(seen.node.label.clone(), (plan, change, seen.node.arch));
        }
        Ok(Wanted { desired, hosts })
    }

    /// The API server is told of other stores than it has.
    fn manifest(&self, member: &Member, new: &Cluster, change: &mut Change) -> Result<(), Failure> {
        let manifest = member.facts.texts.get(MANIFEST).map(String::as_str).unwrap_or_default();
        let text = migration::manifest(manifest, &Backend::kine(new)).map_err(|why| {
            Failure::new(Kind::Unhealthy, format!("{MANIFEST} of {} cannot be changed: {why}", member.config.label()))
        })?;
        change.files.push(File::new(MANIFEST, 0o600, text));
        Ok(())
    }

    fn desired(&self, cluster: Cluster, phases: &[&str]) -> Result<Desired, Failure> {
        Ok(Desired {
            credentials: Credentials::of_all(&cluster)?,
            manifest: matches!(cluster.spec.network, Network::Manifest(_)).then(String::new),
            assets: Assets::load(None)?,
            scripts: BTreeMap::new(),
            selection: Selection { only: phases.iter().map(ToString::to_string).collect(), ..Selection::default() },
            ignore: Ignore::parse(&[])?,
            supply: Supply::Sources(cluster.spec.artifacts.clone()),
            restored: Vec::new(),
            run: self.id.clone(),
            cluster,
        })
    }

    async fn surveyed(&self, desired: &Desired) -> Result<Surveyed, Failure> {
        let labels: Vec<String> = desired.cluster.spec.hosts.iter().map(crate::config::Host::label).collect();
        let members = self.site.members().filter(|member| labels.contains(&member.config.label()));
        let places: Vec<Place<'_, Host>> =
            members.map(|member| Place { host: &member.host, config: &member.config }).collect();
        desired.survey(&places).await
    }

    /// How much there is, and what will be away for how long: each store, what of it moves, and where to.
    async fn tell(&self, moves: impl Iterator<Item = (&Where, &[String], String)>) -> Result<(), Failure> {
        let first = self.site.first()?;
        for (from, below, to) in moves.filter(|(_, below, _)| !below.is_empty()) {
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
                    "{}: {keys} keys, {:.1} MiB, from {} to {to}, copied while the cluster runs",
                    from.shard,
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

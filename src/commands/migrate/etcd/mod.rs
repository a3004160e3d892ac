//! The way to kubeadm's own etcd, which every control plane then has: out of kine, and back where a cluster came from.

mod fill;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use self::fill::Filling;
use super::stores::{self, READING};
use super::{Work, parse};
use crate::cluster::etcd::{self, MANIFEST, Member};
use crate::cluster::kine::probe;
use crate::cluster::migration::{self, Backend};
use crate::cluster::node::Node;
use crate::commands::progress::Progress;
use crate::commands::session;
use crate::config::{Cluster, yaml};
use crate::datastore::copy;
use crate::datastore::copy::digest::Digest;
use crate::datastore::copy::etcd::Late;
use crate::datastore::copy::write::BUMP;
use crate::datastore::explore::Place;
use crate::datastore::explore::foreign::MANIFEST as API_SERVER;
use crate::failure::{Failure, Kind};
use crate::op::{File, Op};
use crate::phase::control_plane::RECORD;
use crate::phase::migrate::{self, Change, FOLDER, Record, Which};
use crate::phase::runner::Run;
use crate::remote::{Query, Question};

/// How long etcd may take to answer once all its members start.
const START: Duration = Duration::from_secs(120);

/// An etcd that is filled and waits on every control plane.
struct Filled {
    /// Of each of the old stores: all up to this revision is in it.
    since: Vec<u64>,
    /// Its own revision.
    revision: u64,
}

impl Work<'_> {
    /// A cluster that etcdless knows gets the etcd that kubeadm makes.
    pub(super) async fn out(&self) -> Result<(), Failure> {
        if let Some(record) = self.resume("").await? {
            return self.settled(&parse(&record.old)?).await;
        }
        let kept = self.site.kept.as_ref().ok_or_else(|| {
            Failure::new(
                Kind::Usage,
                "this cluster keeps no description of itself, so it is not one on kine that etcdless knows",
            )
            .hint("a cluster that is on etcd already needs no migration to it")
        })?;
        let question = format!("Move `{}` to etcd?", kept.metadata.name);
        let Some((old, members)) = self.agreed(kept, &question).await? else { return Ok(()) };
        self.busy(true);
        let run = self.run(self.interrupt.stop.clone());
        let manifests = self.manifests(&run, &members).await?;
        let image = image(&manifests[0])?;
        let record = Record { id: self.id.clone(), old: self.kept()?, new: String::new(), begins: Vec::new() };
        let kine = self.files_of_kine(kept).await?;
        let mut staged = BTreeMap::new();
        for (member, manifest) in self.site.planes.iter().zip(&manifests) {
            let server = member.facts.texts.get(API_SERVER).map(String::as_str).unwrap_or_default();
            let server = migration::manifest(server, &Backend::stacked_etcd()).map_err(|why| {
                let label = member.config.label();
                Failure::new(Kind::Unhealthy, format!("{API_SERVER} of {label} cannot be changed: {why}"))
            })?;
            let files = vec![File::new(API_SERVER, 0o600, server), File::new(MANIFEST, 0o600, manifest.clone())];
            let change = Change { files, absent: kine.iter().cloned().chain([RECORD.to_owned()]).collect() };
            let label = member.config.label();
            staged.insert(label.clone(), migrate::stage(&label, &change, &record)?);
        }
        self.each(&run, |label| staged.get(label)).await?;
        self.busy(false);
        self.go((Which::Old, Which::New), &old, (&members, &image), record, kept).await
    }

    /// The etcd that the cluster came from serves again, with what was written since.
    pub(super) async fn back_to_etcd(&self, record: Record) -> Result<(), Failure> {
        let kept = parse(&record.new)?;
        let manifest = self.answer("cat -- \"$1\"", vec![format!("{FOLDER}/old{MANIFEST}")]).await.map_err(|_| {
            Failure::new(Kind::Usage, "the etcd that this cluster came from did not run on its control planes")
                .hint(format!("what it held is as the cluster left it; its manifests are in {FOLDER}/old"))
        })?;
        let image = image(&manifest)?;
        let question = format!("Move `{}` back to etcd?", kept.metadata.name);
        let Some((old, members)) = self.agreed(&kept, &question).await? else { return Ok(()) };
        self.busy(true);
        let run = self.run(self.interrupt.stop.clone());
        let pulled = self.plans(|label| Ok(Some(migrate::etcd_ready(label, &image, None))))?;
        self.each(&run, |label| pulled.get(label)).await?;
        self.busy(false);
        self.go((Which::New, Which::Old), &old, (&members, &image), record, &kept).await
    }

    /// The stores that are left and the members that there will be, once it was told what happens, and asked; none where that is all.
    async fn agreed(&self, cluster: &Cluster, question: &str) -> Result<Option<(Vec<Place>, Vec<Member>)>, Failure> {
        let old = self.places().await?;
        let (members, all) = (self.etcd_members(cluster)?, copy::read::all());
        self.tell(old.iter().map(|place| (place.shard.as_str(), place, &all[..], "etcd".to_owned()))).await?;
        if self.args.dry_run {
            return Ok(None);
        }
        self.confirm(question).await?;
        Ok(Some((old, members)))
    }

    /// Fills etcd, switches, and tells kubeadm.
    async fn go(
        &self,
        ways: (Which, Which),
        old: &[Place],
        (members, image): (&[Member], &str),
        record: Record,
        cluster: &Cluster,
    ) -> Result<(), Failure> {
        let (run, sure) = (self.run(self.interrupt.stop.clone()), self.run(std::sync::Arc::default()));
        let filled = self.fill(old, members, image).await;
        if filled.is_err() {
            for member in &self.site.planes {
                // What is left is taken away by the next run as well.
                let _gone = etcd::discard(&member.host).await;
            }
        }
        let filled = filled?;
        let rest = async |record: &mut Record| self.rest_of_etcd(&run, ways.1, old, &filled, record).await;
        self.switch(ways, rest, record, (&run, &sure), cluster).await?;
        self.settled(cluster).await
    }

    /// What kubeadm is to know.
    pub(super) async fn settled(&self, cluster: &Cluster) -> Result<(), Failure> {
        self.interrupt.applied.store(true, std::sync::atomic::Ordering::Relaxed);
        self.configure(&self.run(std::sync::Arc::default()), &Backend::stacked_etcd()).await?;
        self.done(cluster, "etcd")
    }

    /// The control planes, as members of one etcd.
    fn etcd_members(&self, cluster: &Cluster) -> Result<Vec<Member>, Failure> {
        let members = self.site.planes.iter().map(|plane| {
            let node = Node::new(cluster, &plane.config, &plane.facts).ok_or_else(|| {
                Failure::new(Kind::Unhealthy, format!("{} has no usable address", plane.config.label()))
            })?;
            Ok(Member { name: node.name.clone(), address: node.address })
        });
        members.collect()
    }

    /// What the kubelet and systemd find of kine on a control plane.
    async fn files_of_kine(&self, cluster: &Cluster) -> Result<Vec<String>, Failure> {
        let surveyed = self.surveyed(&self.desired(cluster.clone(), &["kine"])?).await?;
        let first = self.site.first()?.config.label();
        let steps = surveyed.hosts.into_iter().filter(|seen| seen.node.label == first).flat_map(|seen| seen.plan.steps);
        let files = steps.filter_map(|planned| match planned.step.op {
            Op::File(file) if planned.step.phase() == "kine" => Some(file.path),
            _ => None,
        });
        let runs = |path: &String| path.starts_with("/etc/kubernetes/manifests/") || path.ends_with(".service");
        Ok(files.filter(runs).collect())
    }

    /// Certificates, image and manifest of a member on every control plane; the manifests, which are placed nowhere yet.
    async fn manifests(&self, run: &Run, members: &[Member]) -> Result<Vec<String>, Failure> {
        let first = self.site.first()?;
        let configuration = self.configuration(&Backend::stacked_etcd()).await?;
        let configs = members.iter().map(|member| etcd::config(&configuration, member));
        let configs = configs.collect::<Result<Vec<_>, Failure>>()?;
        let mut manifests = Vec::new();
        for (number, (plane, config)) in self.site.planes.iter().zip(&configs).enumerate() {
            let failed = |error| failed(error, &plane.config);
            etcd::certificates(&plane.host, config, number == 0).await.map_err(failed)?;
            manifests.push(etcd::manifest(&plane.host, config, members).await.map_err(failed)?);
            if number == 0 {
                let (image, label) = (image(&manifests[0])?, first.config.label());
                let plans = self.plans(|host| {
                    let authority = (host != label).then_some(label.as_str());
                    Ok(Some(migrate::etcd_ready(host, &image, authority)))
                })?;
                self.each(run, |label| plans.get(label)).await?;
            }
        }
        Ok(manifests)
    }

    /// All that the stores hold, in an etcd that nobody uses yet, on every control plane.
    async fn fill(&self, old: &[Place], members: &[Member], image: &str) -> Result<Filled, Failure> {
        let first = self.site.first()?;
        let mut newest = 0;
        for place in old {
            let store = place.open(&first.host, READING).await.map_err(|error| stores::failed(error, &first.config))?;
            newest = newest.max(store.snapshot.revision);
        }
        let begun = etcd::begin(&first.host, image, newest + BUMP);
        let endpoint = self.shown("migrate/etcd", "start an etcd to fill", begun).await?;
        let mut filling = Filling::open(first, old, endpoint).await?;
        // Whoever watches a revision that is yet to come waits for it.
        above(newest, filling.revision().await?)?;
        let since = filling.fill(self.ui).await?;
        let revision = filling.revision().await?;
        self.shown("migrate/members", "make the members' data", self.distribute(members, image)).await?;
        Ok(Filled { since, revision })
    }

    /// The filled etcd becomes the data of every member.
    async fn distribute(&self, members: &[Member], image: &str) -> Result<(), etcd::Error> {
        let Some((first, others)) = self.site.planes.split_first() else { return Ok(()) };
        let size = etcd::end(&first.host).await?;
        for other in others {
            etcd::carry(&first.host, &other.host, size).await?;
        }
        let restored = self.site.planes.iter().zip(members);
        let restored = restored.map(|(plane, member)| etcd::restore(&plane.host, image, member, members));
        futures_util::future::try_join_all(restored).await?;
        Ok(())
    }

    /// While no API server runs: kine ends, etcd starts, takes what changed since, and is compared. How many keys that were.
    async fn rest_of_etcd(
        &self,
        run: &Run,
        to: Which,
        old: &[Place],
        filled: &Filled,
        record: &mut Record,
    ) -> Result<u64, Failure> {
        let first = self.site.first()?;
        let failed = |error| stores::failed(error, &first.config);
        let (mut lates, mut expected) = (Vec::new(), Digest::default());
        for (one, since) in old.iter().zip(&filled.since) {
            let mut store = one.open(&first.host, READING).await.map_err(failed)?;
            let late = Late::read(&mut store, *since).await.map_err(failed)?;
            late.count(&mut expected);
            lates.push(late);
        }
        let plans = self.plans(|label| Ok(Some(migrate::exchange(label, to, &self.id))))?;
        self.each(run, |label| plans.get(label)).await?;
        let endpoint = etcd::endpoint();
        self.shown("migrate/answer", "wait for etcd", async {
            let end = Instant::now() + START;
            loop {
                match probe::count(&first.host, &endpoint).await {
                    Ok(_) => return Ok(()),
                    Err(error) if Instant::now() > end => {
                        return Err(etcd::Error::Failed(Failure::new(Kind::Datastore, error.to_string())));
                    }
                    Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
                }
            }
        })
        .await?;
        let mut filling = Filling::open(first, old, endpoint).await?;
        for (one, late) in old.iter().zip(&lates) {
            filling.bring(one, late).await?;
        }
        stores::same("etcd", expected, filling.changed(filled.revision).await?)?;
        let revision = filling.revision().await?;
        above(filled.revision, revision)?;
        record.begins = vec![(crate::config::MAIN.to_owned(), revision)];
        self.note(run, record).await?;
        Ok(lates.iter().map(Late::keys).sum())
    }

    async fn shown<T>(
        &self,
        step: &str,
        title: &str,
        work: impl Future<Output = Result<T, etcd::Error>>,
    ) -> Result<T, Failure> {
        let first = self.site.first()?;
        let progress = Progress::start(self.ui, first.host.name(), step, title);
        progress.end(work.await.map_err(|error| failed(error, &first.config)))
    }

    /// What a script on the first control plane prints.
    async fn answer(&self, script: &'static str, args: Vec<String>) -> Result<String, Failure> {
        let first = self.site.first()?;
        let question = Question { script, args, input: Vec::new(), deadline: Duration::from_secs(60) };
        let answer = first.host.ask(question).await.map_err(|error| session::unreachable(&error, &first.config))?;
        match answer.status {
            0 => Ok(String::from_utf8_lossy(&answer.stdout).into_owned()),
            _ => Err(Failure::new(Kind::Step, String::from_utf8_lossy(&answer.stderr).trim().to_owned())),
        }
    }

    /// kubeadm's ClusterConfiguration, with another backend.
    pub(super) async fn configuration(&self, backend: &Backend) -> Result<String, Failure> {
        let script = "kubectl --kubeconfig /etc/kubernetes/admin.conf -n kube-system get configmap kubeadm-config -o \
                      'jsonpath={.data.ClusterConfiguration}'";
        migration::configuration(&self.answer(script, Vec::new()).await?, backend)
            .map_err(|why| Failure::new(Kind::Unhealthy, format!("kubeadm-config in kube-system is of no use: {why}")))
    }
}

/// The image of the only container of a Pod.
fn image(manifest: &str) -> Result<String, Failure> {
    let pod: serde_json::Value = yaml::from_go(manifest).unwrap_or_default();
    let image = pod["spec"]["containers"][0]["image"].as_str();
    image.map(str::to_owned).ok_or_else(|| Failure::new(Kind::Unhealthy, "etcd's manifest names no image"))
}

fn above(seen: u64, revision: u64) -> Result<(), Failure> {
    match revision >= seen {
        true => Ok(()),
        false => Err(Failure::new(
            Kind::Datastore,
            format!("etcd is at revision {revision}, and the cluster has seen {seen}"),
        )),
    }
}

fn failed(error: etcd::Error, config: &crate::config::Host) -> Failure {
    match error {
        etcd::Error::Remote(error) => session::unreachable(&error, config),
        etcd::Error::Failed(failure) => failure,
    }
}

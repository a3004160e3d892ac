//! An etcd that takes in what the cluster's stores hold.

use crate::cluster::kine::probe::Endpoint;
use crate::commands::migrate::site::Member;
use crate::commands::migrate::stores::{self, FEW, READING, TIMES};
use crate::commands::progress::Progress;
use crate::config::Host as HostConfig;
use crate::datastore::copy;
use crate::datastore::copy::Change;
use crate::datastore::copy::delta::{self, Delta};
use crate::datastore::copy::digest::Digest;
use crate::datastore::copy::etcd::{self, Etcd, Late};
use crate::datastore::explore::{self, Error, Place, Store};
use crate::failure::{Failure, Kind};
use crate::remote::Host;
use crate::ui::Ui;

/// Seconds that one call of etcd may take.
const CALL: u64 = 60;

/// The stores that are left, and the etcd, as the first control plane reaches them.
pub(super) struct Filling<'a> {
    host: &'a Host,
    config: &'a HostConfig,
    old: &'a [Place],
    endpoint: Endpoint,
    place: Place,
    into: Etcd<'a, Host>,
}

impl<'a> Filling<'a> {
    pub(super) async fn open(first: &'a Member, old: &'a [Place], endpoint: Endpoint) -> Result<Self, Failure> {
        let (host, config) = (&first.host, &first.config);
        let into = Etcd::open(host, endpoint.clone(), CALL).await;
        let into = into.map_err(|error| stores::failed(etcd::failed(error), config))?;
        Ok(Self { host, config, old, place: explore::etcd(endpoint.clone()), endpoint, into })
    }

    /// The revision that it is at.
    pub(super) async fn revision(&self) -> Result<u64, Failure> {
        Ok(self.read().await?.snapshot.revision)
    }

    /// All that the stores hold, compared once it is written, and then what changed meanwhile. Of each store: up to which of its revisions all
    /// is in the etcd.
    pub(super) async fn fill(&mut self, ui: &Ui) -> Result<Vec<u64>, Failure> {
        let (mut since, mut digest) = (Vec::new(), Digest::default());
        for one in self.old {
            let mut store = self.settled(one).await?;
            let title = format!("copy {}", one.shard);
            let progress = Progress::start(ui, self.host.name(), format!("migrate/copy-{}", one.shard), title);
            let told = progress.bytes();
            let copied = etcd::copy(&mut store, &mut self.into, &mut digest, |digest| told(digest.bytes, 0)).await;
            progress.end(copied.map_err(|error| self.failed(error)))?;
            since.push(store.snapshot.revision);
        }
        let title = format!("compare {} keys", digest.keys);
        let progress = Progress::start(ui, self.host.name(), "migrate/compare", title);
        let found = async { copy::changed(&mut self.read().await?, 0).await.map_err(|error| self.failed(error)) }.await;
        progress.end(found.and_then(|found| stores::same("etcd", digest, found)))?;
        for _ in 0..TIMES {
            if self.catch_up(&mut since).await? <= FEW {
                break;
            }
        }
        Ok(since)
    }

    /// What changed in the stores since. How many keys that were.
    async fn catch_up(&mut self, since: &mut [u64]) -> Result<u64, Failure> {
        let mut changed = 0;
        for (one, since) in self.old.iter().zip(since) {
            let mut store = self.settled(one).await?;
            let late = Late::read(&mut store, *since).await.map_err(|error| self.failed(error))?;
            self.bring(one, &late).await?;
            *since = store.snapshot.revision;
            changed += late.keys();
        }
        Ok(changed)
    }

    /// Writes and deletes what changed in one of the stores.
    pub(super) async fn bring(&mut self, one: &Place, late: &Late) -> Result<(), Failure> {
        let mut filled = self.read().await?;
        let owns = |key: &str| explore::place_of(self.old, key).is_some_and(|place| place.shard == one.shard);
        let brought = late.apply(&mut self.into, &mut filled, owns).await;
        brought.map_err(|error| self.failed(error))
    }

    /// What was written to it since a revision.
    pub(super) async fn changed(&self, since: u64) -> Result<Digest, Failure> {
        let told = delta::since(self.host, &self.endpoint, since, CALL).await;
        match told.map_err(|error| self.failed(etcd::failed(error)))? {
            Delta::Since(changes) => {
                let mut digest = Digest::default();
                changes.iter().filter_map(Change::row).for_each(|row| digest.add(row));
                Ok(digest)
            }
            Delta::Compacted(revision) => {
                let why = format!("etcd was compacted to revision {revision} though nobody should use it");
                Err(Failure::new(Kind::Unhealthy, why))
            }
        }
    }

    async fn read(&self) -> Result<Store<'a>, Failure> {
        self.place.open(self.host, READING).await.map_err(|error| self.failed(error))
    }

    /// One of the stores, where no write is still under way.
    async fn settled(&self, one: &Place) -> Result<Store<'a>, Failure> {
        one.settled(self.host, READING).await.map_err(|error| self.failed(error))
    }

    fn failed(&self, error: Error) -> Failure {
        stores::failed(error, self.config)
    }
}

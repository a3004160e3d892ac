//! An etcd that is being filled, by its own API.

use std::collections::BTreeSet;

use tokio::sync::mpsc;

use super::digest::Digest;
use super::{Change, Deletions, Living, Row, UNDER_WAY};
use crate::cluster::kine::probe::{self, Endpoint, ProbeError, frame};
use crate::datastore::explore::{Error, ROOT, Store};
use crate::failure::{Failure, Kind};
use crate::remote::Query;

/// Operations a transaction: etcd takes 128 unless it is told otherwise.
const OPERATIONS: usize = 128;

/// Bytes a transaction: etcd takes 1.5 MiB. One value alone may be as large as that.
const TRANSACTION: usize = 1 << 20;

/// Bytes that are sent to the host at once.
const BATCH: usize = 16 << 20;

/// The shortest lease that is worth moving: what lives less is the API servers' own presence, which each makes anew when it starts, and would
/// end while it is moved.
pub const SHORTEST_LEASE: u64 = 60;

/// An etcd that nobody else writes to.
pub struct Etcd<'a, H> {
    host: &'a H,
    endpoint: Endpoint,
    seconds: u64,
    granted: BTreeSet<u64>,
}

impl<'a, H: Query> Etcd<'a, H> {
    /// Asks which leases it has. No call takes longer than `seconds`.
    pub async fn open(host: &'a H, endpoint: Endpoint, seconds: u64) -> Result<Self, ProbeError> {
        let answer = probe::calls(host, &endpoint, &[("Lease/LeaseLeases", frame::leases())], seconds).await?;
        let granted = frame::read_leases(&answer)?.into_iter().collect();
        Ok(Self { host, endpoint, seconds, granted })
    }

    /// Writes and deletes keys, many a transaction. Doing it again changes nothing but revisions.
    ///
    /// As in kine, all keys that live equally long share a lease whose number is their seconds. Rows whose lease is shorter than
    /// [`SHORTEST_LEASE`] are deleted instead.
    pub async fn apply(&mut self, changes: &[Change]) -> Result<(), ProbeError> {
        let mut rest = changes;
        while !rest.is_empty() {
            let (requests, done) = self.requests(rest);
            probe::calls(self.host, &self.endpoint, &requests, self.seconds).await?;
            rest = &rest[done..];
        }
        Ok(())
    }

    /// As many of the changes as go at once, and how many that are.
    fn requests(&mut self, changes: &[Change]) -> (Vec<(&'static str, Vec<u8>)>, usize) {
        let (mut grants, mut transactions) = (Vec::new(), Vec::new());
        let (mut operations, mut keys, mut bytes, mut sent, mut done) = (Vec::new(), BTreeSet::new(), 0, 0, 0);
        for change in changes {
            let (key, operation) = match change {
                Change::Put(row) if !is_moved(row) => (&row.key, frame::delete_range(row.key.as_bytes())),
                Change::Put(row) => {
                    if row.lease > 0 && self.granted.insert(row.lease) {
                        grants.push(("Lease/LeaseGrant", frame::grant(row.lease, row.lease)));
                    }
                    (&row.key, frame::put(row.key.as_bytes(), &row.value, row.lease))
                }
                Change::Deleted { key, .. } => (key, frame::delete_range(key.as_bytes())),
            };
            // A transaction that writes a key twice is refused.
            let is_full = operations.len() == OPERATIONS || bytes + operation.len() > TRANSACTION || keys.contains(key);
            if is_full && !operations.is_empty() {
                transactions.push(("KV/Txn", frame::transaction(&std::mem::take(&mut operations))));
                keys.clear();
                bytes = 0;
                if sent >= BATCH {
                    break;
                }
            }
            bytes += operation.len();
            sent += operation.len();
            keys.insert(key);
            operations.push(operation);
            done += 1;
        }
        if !operations.is_empty() {
            transactions.push(("KV/Txn", frame::transaction(&operations)));
        }
        grants.extend(transactions);
        (grants, done)
    }
}

fn is_moved(row: &Row) -> bool {
    row.lease == 0 || row.lease >= SHORTEST_LEASE
}

/// Counts in what an etcd has of these.
fn count(digest: &mut Digest, changes: &[Change]) {
    changes.iter().filter_map(Change::row).filter(|row| is_moved(row)).for_each(|row| digest.add(row));
}

/// Writes all that a store holds into an etcd, beside what is there of other stores, and counts it in; `each` is told how much is written.
pub async fn copy<H: Query>(
    from: &mut Store<'_>,
    into: &mut Etcd<'_, H>,
    digest: &mut Digest,
    each: impl Fn(&Digest),
) -> Result<(), Error> {
    let (out, mut rows) = mpsc::channel::<Vec<Change>>(UNDER_WAY);
    let read = async { from.changes(0, &out).await.inspect(|_| drop(out)) };
    let written = async move {
        while let Some(changes) = rows.recv().await {
            into.apply(&changes).await?;
            count(digest, &changes);
            each(digest);
        }
        Ok(())
    };
    let (read, written) = tokio::join!(read, written);
    written.map_err(failed)?;
    read.map(drop)
}

/// What changed in a store since a revision, read while its kine can still be asked.
pub struct Late {
    changes: Vec<Change>,
    /// Where the store does not know any more what was deleted.
    living: Option<Living>,
}

impl Late {
    /// Reads it.
    pub async fn read(from: &mut Store<'_>, since: u64) -> Result<Self, Error> {
        let (out, mut rows) = mpsc::channel::<Vec<Change>>(UNDER_WAY);
        let read = async { from.changes(since, &out).await.inspect(|_| drop(out)) };
        let kept = async {
            let mut all = Vec::new();
            while let Some(changes) = rows.recv().await {
                all.extend(changes);
            }
            all
        };
        let (told, changes) = tokio::join!(read, kept);
        let living = match told? {
            Deletions::Told => None,
            Deletions::Unknown => Some(Living::of(from).await?),
        };
        Ok(Self { changes, living })
    }

    /// How many keys were written or deleted, as far as the store told.
    pub fn keys(&self) -> u64 {
        self.changes.len() as u64
    }

    /// Counts in what an etcd has of it once it is applied.
    pub fn count(&self, digest: &mut Digest) {
        count(digest, &self.changes);
    }

    /// Brings an etcd up to it. `at` is the same etcd, to be read; `owns` says which keys came from the store.
    pub async fn apply<H: Query>(
        &self,
        into: &mut Etcd<'_, H>,
        at: &mut Store<'_>,
        owns: impl Fn(&str) -> bool,
    ) -> Result<(), Error> {
        into.apply(&self.changes).await.map_err(failed)?;
        let Some(living) = &self.living else { return Ok(()) };
        let mut gone = Vec::new();
        at.keys(ROOT, |page| {
            let own = page.into_iter().map(|entry| entry.key).filter(|key| owns(key));
            gone.extend(own.filter_map(|key| living.without(key)));
        })
        .await?;
        into.apply(&gone).await.map_err(failed)
    }
}

/// As every other store's error.
pub fn failed(error: ProbeError) -> Error {
    match error {
        ProbeError::Remote(error) => Error::Remote(error),
        other => Error::Store(Failure::new(Kind::Datastore, format!("etcd cannot be filled: {other}"))),
    }
}

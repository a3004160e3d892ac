//! An etcd that is being filled, by its own API.

use std::collections::BTreeSet;

use super::Change;
use crate::cluster::kine::probe::{self, Endpoint, ProbeError, frame};
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
                Change::Put(row) if row.lease > 0 && row.lease < SHORTEST_LEASE => {
                    (&row.key, frame::delete_range(row.key.as_bytes()))
                }
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

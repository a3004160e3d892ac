//! What changed in a store since a revision, by the API: etcd's, which kine speaks as well.

use std::collections::{BTreeMap, BTreeSet};

use super::{Change, Row};
use crate::cluster::kine::probe::{self, Endpoint, ProbeError, frame};
use crate::datastore::explore::{ROOT, key};
use crate::remote::Query;

/// What a store tells of what changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delta {
    /// Each key that was written or deleted, as it was left, in the order of revisions.
    Since(Vec<Change>),
    /// It was compacted meanwhile, to this revision: not all deletions can be told any more.
    Compacted(u64),
}

/// What changed below [`ROOT`] after a revision. Leases are the seconds that are left of them.
///
/// Ask a store that nobody writes to: of one that is busy the end is wherever it was up to date for a moment.
pub async fn since(host: &impl Query, endpoint: &Endpoint, revision: u64, seconds: u64) -> Result<Delta, ProbeError> {
    let end = key::after(ROOT);
    // etcd tells nothing of a watch that begins in the future, so this one begins with what is known.
    let span = (ROOT.as_bytes(), end.as_bytes(), revision);
    let watched = frame::read_watch(&probe::watch(host, endpoint, span, seconds).await?)?;
    if let Some(compacted) = watched.compacted {
        return Ok(Delta::Compacted(compacted));
    }
    if let Some(why) = watched.refused {
        return Err(ProbeError::Refused(why));
    }
    let new = watched.changes.into_iter().filter(|change| change.pair.mod_revision > revision);
    let last: BTreeMap<Vec<u8>, frame::Change> = new.map(|change| (change.pair.key.clone(), change)).collect();
    let leases: BTreeSet<u64> = last.values().map(|change| change.pair.lease).filter(|lease| *lease > 0).collect();
    let left = probe::times_to_live(host, endpoint, &leases, seconds).await?;
    let mut changes: Vec<Change> = last.into_values().map(|change| of(change, &left)).collect();
    changes.sort_by_key(Change::revision);
    Ok(Delta::Since(changes))
}

fn of(frame::Change { deleted, pair }: frame::Change, left: &BTreeMap<u64, u64>) -> Change {
    let key = String::from_utf8_lossy(&pair.key).into_owned();
    let revision = pair.mod_revision;
    if deleted {
        return Change::Deleted { key, revision };
    }
    let lease = left.get(&pair.lease).copied().unwrap_or_default();
    Change::Put(Row { key, created: pair.create_revision, revision, lease, value: pair.value })
}

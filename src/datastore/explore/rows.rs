//! All that a store holds, or what changed in it, for those who move it elsewhere.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::api::{Api, text};
use super::sql::{Server, Sql, cell, number};
use super::{Error, ROOT, Reader, Store};
use crate::cluster::kine::probe;
use crate::datastore::check::bytes;
use crate::datastore::copy::delta::{self, Delta};
use crate::datastore::copy::read::{self, Out, ReadError};
use crate::datastore::copy::{Batch, Change, Deletions, Row, Span};
use crate::failure::{Failure, Kind};

/// Rows that are asked for at first where an answer comes whole, the most and the bytes that one may come to.
const PAGE: usize = 500;
const MOST: usize = 20_000;
const BYTES: usize = 8 << 20;

impl Store<'_> {
    /// What changed after a revision, each key once, as of the store's snapshot; after 0, everything. Only of keys that are in `below`. Ends
    /// early, without an error, where nobody takes the rows any more.
    ///
    /// Says whether it told all that was deleted, too, which a store does not know that is compacted beyond `since`.
    pub async fn changes(&mut self, since: u64, out: &Out) -> Result<Deletions, Error> {
        let span = Span { since, revision: self.snapshot.revision };
        let below = self.below.as_slice();
        if below.is_empty() {
            return Ok(Deletions::Told);
        }
        match &mut self.reader {
            Reader::Api(api) => api.changes(span, below, out).await,
            Reader::Sql(sql) => {
                sql.changes(span, below, out).await?;
                let is_kept = self.snapshot.compacted.is_some_and(|compacted| compacted <= since);
                Ok(if is_kept { Deletions::Told } else { Deletions::Unknown })
            }
        }
    }
}

impl Sql<'_> {
    async fn changes(&mut self, span: Span, below: &[String], out: &Out) -> Result<(), Error> {
        let seconds = self.seconds;
        let read = match &mut self.server {
            Server::Postgres(connection, _) => read::postgres(connection, span, below, out).await,
            Server::Mysql(connection, _) => read::mysql(connection, span, below, out).await,
            Server::Sqlite(..) => return self.pages(span, below, out).await,
        };
        match read {
            Ok(()) | Err(ReadError::Gone(_)) => Ok(()),
            Err(ReadError::Sql(error)) => Err(super::sql::said(error, seconds)),
        }
    }

    /// The same of a file on the host, whose answers come whole. Pages are no one transaction: what was rewritten meanwhile is read as it was
    /// as long as it is kept, and that it is makes sure of at the end.
    async fn pages(&mut self, span: Span, below: &[String], out: &Out) -> Result<(), Error> {
        let (mut from, mut limit) = (ROOT.to_owned(), PAGE);
        let mut batch = Batch::new(out);
        loop {
            let (mut found, mut size) = (Vec::new(), 0);
            self.each(read::page(span, below, &from, limit, "HEX(kine.value)"), |row| {
                let value = bytes(cell(row, 6));
                size += value.len();
                let numbers = [1, 2, 3, 4, 5].map(|at| number(row, at));
                found.push(read::change(cell(row, 0).to_owned(), numbers, value));
            })
            .await?;
            let last = found.last().map(|change: &Change| change.key().to_owned());
            let is_end = found.len() < limit;
            for change in found {
                if batch.push(change).await.is_err() {
                    return Ok(());
                }
            }
            match last {
                Some(last) if !is_end => from = last,
                _ => break,
            }
            limit = match size {
                size if size > BYTES => (limit / 2).max(1),
                size if size < BYTES / 4 => (limit * 2).min(MOST),
                _ => limit,
            };
        }
        let compacted = self.compacted().await?;
        if compacted > span.revision {
            let failure = Failure::new(Kind::Datastore, "the store was compacted while it was read");
            return Err(Error::Store(failure.hint("run the same command again")));
        }
        let _taken = batch.end().await;
        Ok(())
    }
}

impl Api<'_> {
    /// Leases of etcd's have names, and what they are of is asked for; what kine calls one is the time itself.
    async fn changes(&self, span: Span, below: &[String], out: &Out) -> Result<Deletions, Error> {
        let mut batch = Batch::new(out);
        if span.since > 0 {
            let delta = delta::since(self.host, &self.endpoint, span.since, self.seconds).await;
            if let Delta::Since(changes) = delta.map_err(|error| self.failed(error))? {
                let is_below = |change: &Change| below.iter().any(|prefix| change.key().starts_with(prefix));
                for change in changes.into_iter().filter(is_below) {
                    if batch.push(change).await.is_err() {
                        return Ok(Deletions::Told);
                    }
                }
                let _taken = batch.end().await;
                return Ok(Deletions::Told);
            }
        }
        let numbers = self.shared(span.revision).await?;
        let mut left = BTreeMap::new();
        for prefix in below {
            let taken = self
                .each_page(prefix, span.revision, false, async |pairs| {
                    let leases =
                        pairs.iter().map(|pair| pair.lease).filter(|lease| *lease > 0 && !left.contains_key(lease));
                    let leases: BTreeSet<u64> = leases.collect();
                    let asked = probe::times_to_live(self.host, &self.endpoint, &leases, self.seconds).await;
                    left.extend(asked.map_err(|error| Some(self.failed(error)))?);
                    for pair in pairs.into_iter().filter(|pair| pair.mod_revision > span.since) {
                        let key = text(&pair.key);
                        let (created, revision) = numbers
                            .get(&key)
                            .map_or((pair.create_revision, pair.mod_revision), |revision| (*revision, *revision));
                        let lease = left.get(&pair.lease).copied().unwrap_or_default();
                        let row = Row { key, created, revision, lease, value: pair.value };
                        batch.push(Change::Put(row)).await.map_err(|_| None)?;
                    }
                    Ok::<(), Option<Error>>(())
                })
                .await?;
            match taken {
                Ok(()) => {}
                Err(Some(error)) => return Err(error),
                Err(None) => return Ok(Deletions::Told),
            }
        }
        let _taken = batch.end().await;
        Ok(if span.since > 0 { Deletions::Unknown } else { Deletions::Told })
    }

    /// Keys that were written by one transaction have one revision in etcd, which kine cannot keep: an API server never does that, but whoever
    /// fills an etcd. Where there are such, all get revisions of their own; otherwise nothing.
    async fn shared(&self, newest: u64) -> Result<HashMap<String, u64>, Error> {
        let mut keys = Vec::new();
        self.keys(ROOT, newest, |page| keys.extend(page.into_iter().map(|entry| (entry.revision, entry.key)))).await?;
        Ok(distinct(keys))
    }
}

/// A revision of its own for each key, in the order that they have and none above what it was, where some have the same; otherwise nothing.
fn distinct(mut keys: Vec<(u64, String)>) -> HashMap<String, u64> {
    keys.sort_unstable();
    if keys.windows(2).all(|two| two[0].0 != two[1].0) {
        return HashMap::new();
    }
    let mut next = u64::MAX;
    let own = keys.into_iter().rev().map(|(revision, key)| {
        next = revision.min(next.saturating_sub(1));
        (key, next)
    });
    own.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_keys_keep_one_revision() {
        let of = |keys: &[(u64, &str)]| {
            let own = distinct(keys.iter().map(|(revision, key)| (*revision, (*key).to_owned())).collect());
            keys.iter().map(|(_, key)| own.get(*key).copied()).collect::<Vec<_>>()
        };
        assert_eq!(of(&[(7, "a"), (9, "b")]), [None, None]);
        assert_eq!(of(&[(7, "a"), (9, "b"), (9, "c"), (9, "d"), (20, "e")]), [6, 7, 8, 9, 20].map(Some));
        assert_eq!(of(&[(7, "a"), (9, "b"), (9, "c"), (30, "d")]), [7, 8, 9, 30].map(Some));
    }
}

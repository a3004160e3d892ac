//! A store by the API that the API server itself uses: etcd's, which kine speaks for every engine.
//!
//! Each question names a revision, so that all pages are of one moment. kine counts what is left for every page that is not the last, so
//! pages are large.

use std::convert::Infallible;

use super::{Entry, Error, Version, key};
use crate::cluster::kine::probe::frame::{self, Change, KeyValue, Page, Range};
use crate::cluster::kine::probe::{self, Endpoint, ProbeError};
use crate::failure::{Failure, Kind};
use crate::remote::Host;

/// Keys a page where no values are asked for.
const KEYS: u64 = 20_000;

/// Values a page at first, and bytes that a page may come to before it is made smaller.
const VALUES: u64 = 500;
const BYTES: usize = 8 << 20;

/// What the API server keeps in every store to see that it works.
const HEALTH: &[u8] = b"/registry/health";

/// The way there.
pub(super) struct Api<'a> {
    pub(super) host: &'a Host,
    pub(super) endpoint: Endpoint,
    pub(super) seconds: u64,
}

/// What a watch found of a key.
pub(super) struct Kept {
    /// The revision that the store is compacted to; 0 where it never was.
    pub(super) compacted: u64,
    /// Oldest first.
    pub(super) changes: Vec<Change>,
}

impl Api<'_> {
    /// The store's revision.
    pub(super) async fn revision(&self) -> Result<u64, Error> {
        Ok(self.page(Range { from: HEALTH, end: b"", limit: 0, revision: 0, keys_only: true }).await?.revision)
    }

    /// Every key below a prefix, as of a revision, a page at a time.
    pub(super) async fn keys(
        &self,
        prefix: &str,
        revision: u64,
        mut each: impl FnMut(Vec<Entry>),
    ) -> Result<(), Error> {
        let entry = |pair: KeyValue| Entry { key: text(&pair.key), revision: pair.mod_revision };
        self.pages(prefix, revision, true, |pairs| each(pairs.into_iter().map(entry).collect())).await
    }

    /// Every key below a prefix with its value.
    pub(super) async fn values(
        &self,
        prefix: &str,
        revision: u64,
        each: impl FnMut(Vec<KeyValue>),
    ) -> Result<(), Error> {
        self.pages(prefix, revision, false, each).await
    }

    async fn pages(
        &self,
        prefix: &str,
        revision: u64,
        keys_only: bool,
        mut each: impl FnMut(Vec<KeyValue>),
    ) -> Result<(), Error> {
        let each = async |pairs| {
            each(pairs);
            Ok::<(), Infallible>(())
        };
        self.each_page(prefix, revision, keys_only, each).await.map(|_| ())
    }

    /// Every page, until `each` wants no more; what it said then.
    pub(super) async fn each_page<E>(
        &self,
        prefix: &str,
        revision: u64,
        keys_only: bool,
        mut each: impl AsyncFnMut(Vec<KeyValue>) -> Result<(), E>,
    ) -> Result<Result<(), E>, Error> {
        let end = key::after(prefix);
        let mut from = prefix.as_bytes().to_vec();
        let mut limit = if keys_only { KEYS } else { VALUES };
        loop {
            let page = self.page(Range { from: &from, end: end.as_bytes(), limit, revision, keys_only }).await?;
            let bytes: usize = page.pairs.iter().map(|pair| pair.value.len()).sum();
            limit = match bytes {
                bytes if bytes > BYTES => (limit / 2).max(1),
                bytes if bytes < BYTES / 4 => (limit * 2).min(KEYS),
                _ => limit,
            };
            let last = page.pairs.last().map(|pair| pair.key.clone());
            if let Err(enough) = each(page.pairs).await {
                return Ok(Err(enough));
            }
            match last {
                Some(last) if page.more => from = [last.as_slice(), b"\0"].concat(),
                _ => return Ok(Ok(())),
            }
        }
    }

    /// A key as of a revision.
    pub(super) async fn at(&self, key: &str, revision: u64) -> Result<Option<Version>, Error> {
        let page = self.page(Range { from: key.as_bytes(), end: b"", limit: 0, revision, keys_only: false }).await?;
        Ok(page.pairs.into_iter().next().map(|pair| Version {
            revision: pair.mod_revision,
            deleted: false,
            value: pair.value,
        }))
    }

    /// Everything that is kept of a key.
    pub(super) async fn kept(&self, key: &str, revision: u64) -> Result<Kept, Error> {
        let (mut compacted, mut watched) = (0, self.watch(key, 1).await?);
        if let Some(oldest) = watched.compacted {
            // etcd answers no watch that begins in the future, as the one after it may be; kine none that begins with it.
            (compacted, watched) = (oldest, self.watch(key, oldest).await?);
            if watched.compacted == Some(oldest) {
                watched = self.watch(key, oldest + 1).await?;
            }
        }
        if let Some(why) = watched.compacted.map(|_| "it was compacted meanwhile".to_owned()).or(watched.refused) {
            return Err(self.refused(&why));
        }
        let mut changes = watched.changes;
        changes.retain(|change| (compacted + 1..=revision).contains(&change.pair.mod_revision));
        if compacted > 0
            && let Some(first) = self.at(key, compacted).await?
        {
            let pair =
                KeyValue { key: key.into(), value: first.value, mod_revision: first.revision, ..KeyValue::default() };
            changes.insert(0, Change { deleted: false, pair });
        }
        Ok(Kept { compacted, changes })
    }

    async fn watch(&self, key: &str, revision: u64) -> Result<frame::Watched, Error> {
        let answer = probe::watch(self.host, &self.endpoint, (key.as_bytes(), b"", revision), self.seconds).await;
        let answer = answer.map_err(|error| self.failed(error))?;
        frame::read_watch(&answer).map_err(|error| self.refused(&error.to_string()))
    }

    async fn page(&self, range: Range<'_>) -> Result<Page, Error> {
        let answer = probe::range(self.host, &self.endpoint, &frame::page(&range), self.seconds).await;
        let answer = answer.map_err(|error| self.failed(error))?;
        frame::read_page(&answer).map_err(|error| self.refused(&error.to_string()))
    }

    pub(super) fn failed(&self, error: ProbeError) -> Error {
        match error {
            ProbeError::Remote(error) => Error::Remote(error),
            other => {
                let text = other.to_string();
                // The script names the endpoint as kine's, which it need not be.
                let reason = text.strip_prefix(&format!("kine at {}: ", self.at_what()));
                self.refused(reason.unwrap_or(&text))
            }
        }
    }

    fn refused(&self, reason: &str) -> Error {
        let failure =
            Failure::new(Kind::Datastore, format!("the store at {} does not answer: {reason}", self.at_what()));
        Error::Store(match reason {
            reason if reason.contains("compacted") => {
                failure.hint("revisions that old are gone; `etcdless datastore history` says which are kept of a key")
            }
            reason if reason.contains("future revision") => failure.hint("the store has not come that far"),
            _ => failure.hint("`etcdless verify` says what the cluster waits for"),
        })
    }

    fn at_what(&self) -> &str {
        match &self.endpoint {
            Endpoint::Unix { socket } => socket,
            Endpoint::Tcp { url, .. } => url,
        }
    }
}

/// Keys are text; the API server writes no others.
pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

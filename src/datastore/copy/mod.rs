//! Moving a store's content: what is read of one, in which order it is written into another, and how both are compared.
//!
//! Only what lives is moved, each key with the revision of its last change. History stays behind: whoever watches lists again.

pub mod delta;
pub mod digest;
pub mod etcd;
pub mod read;
pub mod remove;
pub mod write;

use std::collections::HashSet;

use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use self::digest::Digest;
use self::write::Sink;
use crate::datastore::explore::{Error, ROOT, Store};

/// A key that lives, as kine and etcd keep it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The key.
    pub key: String,
    /// The revision that it was created at.
    pub created: u64,
    /// The revision of its last change.
    pub revision: u64,
    /// Seconds that it was given to live; 0 where it stays.
    pub lease: u64,
    /// What it holds, byte for byte: encrypted values are bound to their key.
    pub value: Vec<u8>,
}

/// What happened to a key after a revision; only the last counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It was written.
    Put(Row),
    /// It was deleted.
    Deleted {
        /// The key.
        key: String,
        /// When.
        revision: u64,
    },
}

impl Change {
    /// The key that it happened to.
    pub fn key(&self) -> &str {
        match self {
            Self::Put(row) => &row.key,
            Self::Deleted { key, .. } => key,
        }
    }

    /// What it left; nothing where it deleted.
    pub fn row(&self) -> Option<&Row> {
        match self {
            Self::Put(row) => Some(row),
            Self::Deleted { .. } => None,
        }
    }

    /// When it happened.
    pub fn revision(&self) -> u64 {
        match self {
            Self::Put(row) => row.revision,
            Self::Deleted { revision, .. } => *revision,
        }
    }
}

/// Whether a store told all that was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletions {
    /// All of it.
    Told,
    /// It was compacted since.
    Unknown,
}

/// Which revisions are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The last that is not.
    pub since: u64,
    /// The last that is.
    pub revision: u64,
}

impl Span {
    /// All that there is.
    pub const ALL: Self = Self { since: 0, revision: i64::MAX as u64 };
}

/// What the API server does not keep: kine's own bookkeeping, made anew in every store.
pub const BOOKKEEPING: [&str; 2] = ["compact_rev_key", "/registry/health"];

/// How much a batch holds before it is passed on: rows, and bytes of their values.
const ROWS: usize = 1000;
const BYTES: usize = 1 << 20;

/// Whoever takes the rows takes no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

/// Changes on their way to whoever takes them.
pub struct Batch<'a> {
    out: &'a mpsc::Sender<Vec<Change>>,
    held: Vec<Change>,
    bytes: usize,
}

impl<'a> Batch<'a> {
    /// An empty one.
    pub fn new(out: &'a mpsc::Sender<Vec<Change>>) -> Self {
        Self { out, held: Vec::new(), bytes: 0 }
    }

    /// Adds a change, unless it is of kine's bookkeeping. Waits where too many are under way.
    pub async fn push(&mut self, change: Change) -> Result<(), Gone> {
        if BOOKKEEPING.contains(&change.key()) {
            return Ok(());
        }
        if let Change::Put(row) = &change {
            self.bytes += row.value.len();
        }
        self.held.push(change);
        if self.held.len() == ROWS || self.bytes >= BYTES {
            self.pass().await?;
        }
        Ok(())
    }

    /// Passes on what is left.
    pub async fn end(mut self) -> Result<(), Gone> {
        if self.held.is_empty() { Ok(()) } else { self.pass().await }
    }

    async fn pass(&mut self) -> Result<(), Gone> {
        self.bytes = 0;
        self.out.send(std::mem::take(&mut self.held)).await.map_err(|_| Gone)
    }
}

/// Batches under way between who reads and who writes.
const UNDER_WAY: usize = 4;

/// Fills an empty store with all that another holds, and says what that was; `each` is told how much is written.
pub async fn copy(from: &mut Store<'_>, into: &mut Sink, each: impl FnMut(&Digest)) -> Result<Digest, Error> {
    let (out, rows) = mpsc::channel(UNDER_WAY);
    let read = async { from.changes(0, &out).await.inspect(|_| drop(out)) };
    // Each lets go of its end of the channel when it fails, so that the other ends as well.
    let written = async move { into.fill(rows, each).await };
    let (read, written) = tokio::join!(read, written);
    // A reader that ends for want of a writer tells nothing of why.
    let written = written?;
    read.map(|_| written)
}

/// Writes what changed in a store since a revision into another, and says how many keys that were.
pub async fn catch_up(from: &mut Store<'_>, since: u64, into: &mut Sink) -> Result<u64, Error> {
    let (out, rows) = mpsc::channel::<Vec<Change>>(UNDER_WAY);
    let read = async { from.changes(since, &out).await.inspect(|_| drop(out)) };
    let written = async {
        let (mut rows, mut many) = (rows, 0);
        while let Some(changes) = rows.recv().await {
            into.apply(&changes).await?;
            many += changes.len() as u64;
        }
        Ok::<u64, Error>(many)
    };
    let (told, written) = tokio::join!(read, written);
    let mut many = written?;
    if told? == Deletions::Unknown {
        let gone = gone(from, into).await?;
        for gone in gone.chunks(ROWS) {
            into.apply(gone).await?;
        }
        many += gone.len() as u64;
    }
    Ok(many)
}

/// The keys that one store has and the other, which they came from, has no more. A name is known by half of its SHA-256.
async fn gone(from: &mut Store<'_>, into: &mut Sink) -> Result<Vec<Change>, Error> {
    let hash = |name: &str| Sha256::digest(name)[..16].to_vec();
    let mut living = HashSet::new();
    from.keys(ROOT, |page| living.extend(page.iter().map(|entry| hash(&entry.key)))).await?;
    let revision = from.snapshot.revision;
    let mut gone = Vec::new();
    let each = |key: String| {
        if !living.contains(&hash(&key)) {
            gone.push(Change::Deleted { key, revision });
        }
    };
    into.names(each).await?;
    Ok(gone)
}

/// What lives in a store that is newer than a revision.
pub async fn changed(from: &mut Store<'_>, since: u64) -> Result<Digest, Error> {
    let (out, mut rows) = mpsc::channel::<Vec<Change>>(UNDER_WAY);
    let read = async { from.changes(since, &out).await.inspect(|_| drop(out)) };
    let counted = async {
        let mut digest = Digest::default();
        while let Some(changes) = rows.recv().await {
            changes.iter().filter_map(Change::row).for_each(|row| digest.add(row));
        }
        digest
    };
    let (read, digest) = tokio::join!(read, counted);
    read.map(|_| digest)
}

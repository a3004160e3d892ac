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

/// Keys that were brought over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Caught {
    /// Written.
    pub put: u64,
    /// Deleted.
    pub deleted: u64,
}

impl Caught {
    fn count(&mut self, changes: &[Change]) {
        let put = changes.iter().filter_map(Change::row).count() as u64;
        self.put += put;
        self.deleted += changes.len() as u64 - put;
    }
}

/// Writes what changed in a store since a revision into another, and says how many keys that were.
pub async fn catch_up(from: &mut Store<'_>, since: u64, into: &mut Sink) -> Result<Caught, Error> {
    let (out, rows) = mpsc::channel::<Vec<Change>>(UNDER_WAY);
    let read = async { from.changes(since, &out).await.inspect(|_| drop(out)) };
    let written = async {
        let (mut rows, mut caught) = (rows, Caught::default());
        while let Some(changes) = rows.recv().await {
            into.apply(&changes).await?;
            caught.count(&changes);
        }
        Ok::<Caught, Error>(caught)
    };
    let (told, written) = tokio::join!(read, written);
    let mut caught = written?;
    if told? == Deletions::Unknown {
        let gone = gone(from, into).await?;
        for gone in gone.chunks(ROWS) {
            into.apply(gone).await?;
        }
        caught.count(&gone);
    }
    Ok(caught)
}

/// The keys that one store has and the other, which they came from, has no more.
async fn gone(from: &mut Store<'_>, into: &mut Sink) -> Result<Vec<Change>, Error> {
    let living = Living::of(from).await?;
    let mut gone = Vec::new();
    into.names(|key| gone.extend(living.without(key))).await?;
    Ok(gone)
}

/// The names of all that lives in a store, each as half of its SHA-256.
struct Living {
    names: HashSet<[u8; 16]>,
    revision: u64,
}

impl Living {
    async fn of(store: &mut Store<'_>) -> Result<Self, Error> {
        let mut names = HashSet::new();
        store.keys(ROOT, |page| names.extend(page.iter().map(|entry| half(&entry.key)))).await?;
        Ok(Self { names, revision: store.snapshot.revision })
    }

    /// That a key was deleted, where it does not live.
    fn without(&self, key: String) -> Option<Change> {
        let revision = self.revision;
        (!self.names.contains(&half(&key))).then_some(Change::Deleted { key, revision })
    }
}

fn half(name: &str) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&Sha256::digest(name)[..16]);
    half
}

/// What lives in a store that is newer than a revision.
pub async fn changed(from: &mut Store<'_>, since: u64) -> Result<Digest, Error> {
    let (out, rows) = mpsc::channel(UNDER_WAY);
    let read = async { from.changes(since, &out).await.inspect(|_| drop(out)) };
    let (read, digest) = tokio::join!(read, counted(rows));
    read.map(|_| digest)
}

/// The digest of all rows that come.
async fn counted(mut rows: mpsc::Receiver<Vec<Change>>) -> Digest {
    let mut digest = Digest::default();
    while let Some(changes) = rows.recv().await {
        changes.iter().filter_map(Change::row).for_each(|row| digest.add(row));
    }
    digest
}

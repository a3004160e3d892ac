//! What a store tells of itself, and what it does not.

use serde::Serialize;

use crate::failure::Finding;

/// Something that a store tells, or why it does not.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Told<T> {
    /// What it tells.
    Told(T),
    /// Why it does not.
    #[serde(rename_all = "camelCase")]
    NotTold {
        /// For people.
        not_told: String,
    },
}

impl<T> Told<T> {
    /// What it tells, if it does.
    pub fn told(&self) -> Option<&T> {
        match self {
            Self::Told(told) => Some(told),
            Self::NotTold { .. } => None,
        }
    }

    /// Why it does not tell, if it does not.
    pub fn not_told(&self) -> Option<&str> {
        match self {
            Self::Told(_) => None,
            Self::NotTold { not_told } => Some(not_told),
        }
    }

    pub(super) fn no(why: impl Into<String>) -> Self {
        Self::NotTold { not_told: why.into() }
    }
}

impl<T> From<Result<T, String>> for Told<T> {
    fn from(result: Result<T, String>) -> Self {
        result.map_or_else(Self::no, Self::Told)
    }
}

/// One store of a cluster.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// `main`, or the name of a shard.
    pub shard: String,
    /// The engine's name.
    pub engine: &'static str,
    /// Where it is.
    pub at: String,
    /// What it told; nothing where it could not be asked.
    #[serde(flatten)]
    pub seen: Option<Seen>,
    /// Why it could not be asked, or takes no writes; and what is wrong with servers beside the one that was.
    #[serde(skip)]
    pub wrong: Vec<Finding>,
}

/// What a store told.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// The engine's version; none where the engine is inside kine.
    pub version: Option<String>,
    /// What kine says, where that is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub served: Option<Served>,
    /// Bytes on disk.
    pub size: Told<Size>,
    /// Where history begins and ends.
    pub revisions: Told<Revisions>,
    /// Rows of kine's table.
    pub rows: Told<Rows>,
    /// Connections to the server; none where there is no server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<Told<Connections>>,
    /// The server's statements that take longest on average, slowest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statements: Option<Told<Vec<Statement>>>,
    /// Copies of the server, or that it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replication: Option<Told<Replication>>,
}

impl Seen {
    /// A store without a server, that tells nothing yet, and why that is.
    pub(super) fn nothing(why: &str) -> Self {
        Self {
            version: None,
            served: None,
            size: Told::no(why),
            revisions: Told::no(why),
            rows: Told::no(why),
            connections: None,
            statements: None,
            replication: None,
        }
    }
}

/// What kine says of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Served {
    /// The newest revision.
    pub revision: u64,
    /// How many objects there are.
    pub objects: u64,
}

/// Bytes on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Size {
    /// Of the database, or of its file.
    pub bytes: u64,
    /// Of SQLite's write-ahead log beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_bytes: Option<u64>,
}

/// Where history begins and ends. A revision is one change of one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Revisions {
    /// The newest.
    pub current: u64,
    /// Up to which what is superseded was removed.
    pub compacted: u64,
    /// How long after the compacted one the newest was written; none where the store holds no Leases that tell.
    pub seconds: Option<u64>,
}

impl Revisions {
    /// How many changes the history holds.
    pub fn apart(&self) -> u64 {
        self.current.saturating_sub(self.compacted)
    }
}

/// Rows of kine's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rows {
    /// The newest of their name, and not deleted.
    pub live: u64,
    /// All others, which a compaction may remove.
    pub superseded: u64,
}

/// Connections to the server, but for the one that asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Connections {
    /// Those of kine's user to kine's database.
    pub ours: u64,
    /// What they count against: the server's limit first, then those of user and database where there are any.
    pub limits: Vec<Limit>,
}

/// A limit of connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Limit {
    /// Whose it is.
    pub of: String,
    /// How many there are.
    pub used: u64,
    /// How many there may be.
    pub allowed: u64,
    /// The statement that allows more.
    #[serde(skip)]
    pub fix: String,
}

/// A statement that the server keeps account of.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Statement {
    /// Its text, with its values left out.
    pub text: String,
    /// How often it ran.
    pub calls: u64,
    /// How long it took on average.
    pub milliseconds: f64,
}

/// Copies of the server, or that it is one.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Replication {
    /// Where the server itself is a copy: seconds that it is behind, as far as it knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behind: Option<Told<f64>>,
    /// Those that follow it.
    pub standbys: Vec<Standby>,
}

/// A copy that follows the server.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Standby {
    /// What it calls itself.
    pub name: String,
    /// Seconds that it is behind.
    pub seconds: Told<f64>,
}

//! Moving a store's content: what is read of one, in which order it is written into another, and how both are compared.
//!
//! Only what lives is moved, each key with the revision of its last change. History stays behind: whoever watches lists again.

pub mod delta;
pub mod digest;
pub mod etcd;

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
    /// When it happened.
    pub fn revision(&self) -> u64 {
        match self {
            Self::Put(row) => row.revision,
            Self::Deleted { revision, .. } => *revision,
        }
    }
}

/// The name of the row in which kine keeps the revision that a store is compacted to. It is the store's own, never copied.
pub const COMPACTED: &str = "compact_rev_key";

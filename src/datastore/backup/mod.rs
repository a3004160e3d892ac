//! A backup: one tar archive with what a cluster is made of, written and read in one pass. docs/backup.md describes it byte for byte.
//!
//! ```text
//! backup.sha256            SHA-256 of backup.json, as sha256sum writes it
//! backup.json              what is known before a store is read: whose backup it is, its files, its stores
//! files/etc/kubernetes/... the files of a control plane
//! stores/main/000001.gz    the rows of a store, some MiB at a time
//! manifest.json            what was read: each store's instant and digest, and every entry with its SHA-256
//! manifest.sha256          SHA-256 of manifest.json
//! ```
//!
//! Each entry says which may come next, so that a damaged or missing one has a name.

mod crypt;
pub mod host;
mod read;
mod rows;
mod write;

use serde::{Deserialize, Serialize};

use crate::artifact::layout;

pub use crypt::{Key, Lock};
pub use read::{Backup, is_encrypted};
pub use write::Writer;

/// What `backup` says in the first entry of this version.
pub const FORMAT: &str = "etcdless.dev/backup/v1";

/// Nobody but the owner is to read what `tar` unpacks.
const MODE: u32 = 0o600;

const HEAD: &str = "backup.json";
const HEAD_SUM: &str = "backup.sha256";
const MANIFEST: &str = "manifest.json";
const MANIFEST_SUM: &str = "manifest.sha256";

/// Whose backup it is, and what follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// [`FORMAT`].
    pub backup: String,
    /// The cluster's name.
    pub cluster: String,
    /// The etcdless that wrote it.
    pub etcdless: String,
    /// The cluster's Kubernetes, as its description says; none where there is no description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<String>,
    /// The control plane that it was made on.
    pub host: String,
    /// When it was begun, UTC.
    pub begun: String,
    /// What the API server encrypts by, where it was told: the file's path on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<String>,
    /// The host's files.
    pub files: Vec<FileInfo>,
    /// The names of the stores, `main` first.
    pub stores: Vec<String>,
}

/// A file of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileInfo {
    /// Its absolute path.
    pub path: String,
    /// Its permission bits, octal.
    pub mode: String,
    /// Bytes.
    pub size: u64,
    /// Lower-case hex.
    pub sha256: String,
}

/// A store as it was at one instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// `main`, or the name of a shard.
    pub name: String,
    /// Who kept it.
    pub engine: String,
    /// The newest revision that is in the backup.
    pub revision: u64,
    /// What the store was compacted to, where it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compacted: Option<u64>,
    /// When that was, UTC, by the clock of the machine that wrote the backup.
    pub instant: String,
    /// Keys.
    pub keys: u64,
    /// Bytes of their values.
    pub bytes: u64,
    /// `datastore::copy::digest`: the same for the same keys and values, in whichever engine they are.
    pub digest: String,
    /// How many entries its rows are in.
    pub chunks: u64,
}

/// All that a backup holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Each store.
    pub stores: Vec<Shard>,
    /// When it was finished, UTC.
    pub finished: String,
    /// Every entry before this one, in order.
    pub entries: Vec<Entry>,
}

/// An entry of the archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Lower-case hex.
    pub sha256: String,
}

/// Now, as `2026-11-22T08:30:00Z`.
pub fn now() -> String {
    let now = x509_parser::time::ASN1Time::now().to_datetime();
    let (date, time) = (now.date(), now.time());
    let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", time.hour(), time.minute(), time.second())
}

/// The entry of a file of the host; none where its path is too long for a plain header.
pub fn file_entry(path: &str) -> Option<String> {
    let name = format!("files{path}");
    (name.len() < layout::NAME && path.starts_with('/')).then_some(name)
}

/// The entry of a store's rows. Numbers begin with 1.
fn chunk_entry(store: &str, number: u64) -> String {
    format!("stores/{store}/{number:06}.gz")
}

/// What `NAME.sha256` says.
fn sum(content: &[u8], name: &str) -> Vec<u8> {
    format!("{}  {name}\n", crate::op::sha256(content)).into_bytes()
}

/// Which entries may come after one, the likeliest first; none after the last.
fn next(head: Option<&Head>, last: Option<&str>) -> Vec<String> {
    let only = |name: &str| vec![name.to_owned()];
    match (head, last) {
        (_, None) => only(HEAD_SUM),
        (_, Some(HEAD_SUM)) => only(HEAD),
        (_, Some(MANIFEST)) => only(MANIFEST_SUM),
        (None, _) | (_, Some(MANIFEST_SUM)) => Vec::new(),
        (Some(head), Some(last)) => {
            let files: Vec<String> = head.files.iter().filter_map(|file| file_entry(&file.path)).collect();
            let at = if last == HEAD { Some(0) } else { files.iter().position(|file| file == last).map(|at| at + 1) };
            if let Some(file) = at.and_then(|at| files.get(at)) {
                return only(file);
            }
            let begun = head.stores.iter().position(|store| last.starts_with(&format!("stores/{store}/")));
            let number = last.rsplit('/').next().and_then(|name| name.strip_suffix(".gz")?.parse::<u64>().ok());
            let goes_on = begun.zip(number).map(|(at, number)| chunk_entry(&head.stores[at], number + 1));
            let others = head.stores.iter().skip(begun.map_or(0, |at| at + 1)).map(|store| chunk_entry(store, 1));
            goes_on.into_iter().chain(others).chain(only(MANIFEST)).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_entry_says_which_may_come_next() {
        let file = |path: &str| FileInfo { path: path.into(), mode: "0600".into(), size: 1, sha256: String::new() };
        let head = Head {
            backup: FORMAT.into(),
            cluster: "demo".into(),
            etcdless: "0".into(),
            kubernetes: None,
            host: "cp".into(),
            begun: now(),
            encryption: None,
            files: vec![file("/a"), file("/b")],
            stores: vec!["main".into(), "events".into()],
        };
        let after = |last: &str| next(Some(&head), Some(last)).join(" ");
        assert_eq!(next(None, None), ["backup.sha256"]);
        assert_eq!(after("backup.json"), "files/a");
        assert_eq!(after("files/a"), "files/b");
        assert_eq!(after("files/b"), "stores/main/000001.gz stores/events/000001.gz manifest.json");
        assert_eq!(after("stores/main/000009.gz"), "stores/main/000010.gz stores/events/000001.gz manifest.json");
        assert_eq!(after("stores/events/000001.gz"), "stores/events/000002.gz manifest.json");
        assert_eq!(after("manifest.json"), "manifest.sha256");
        assert_eq!(after("manifest.sha256"), "");
        assert_eq!(now().len(), "2026-11-22T08:30:00Z".len());
    }
}

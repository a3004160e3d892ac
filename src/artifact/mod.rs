//! Files and images: which go together (`releases`), what a cluster needs (`catalogue`), where it comes from (`source`), and streams of it
//! (`download`, `registry`), how a bundle is served (`serve`). What an image is: `image`.

pub mod bundle;
pub mod catalogue;
pub mod checksum;
pub mod download;
pub mod http;
pub mod image;
pub(crate) mod layout;
pub mod packages;
mod probe;
pub mod registry;
pub mod releases;
pub mod serve;
pub mod source;
pub mod store;
pub mod supply;

use std::collections::BTreeMap;

/// One file of a release.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Item {
    /// What people and the journal call it: `kubelet`.
    pub name: String,
    /// Its version, as the release writes it.
    pub version: String,
    /// Its address at the publisher, before any mirror.
    pub url: String,
    /// The publisher's checksum file for it, before any mirror.
    pub checksum_url: String,
}

/// What a source said about one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// Lower-case hex.
    pub sha256: String,
    /// Bytes; 0 where the source does not tell.
    pub size: u64,
}

/// What the sources said about the files that a host still needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// By item name.
    pub files: BTreeMap<String, Resolved>,
    /// Whether this machine fetches and sends, files and images alike.
    pub push: bool,
    /// Whether packages come from a bundle, too.
    pub packages: bool,
}

/// Everything that one host needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalogue {
    /// Files, in no particular order.
    pub files: Vec<Item>,
    /// Image references as Kubernetes knows them, the ones that are needed first in front.
    pub images: Vec<String>,
}

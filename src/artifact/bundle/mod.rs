//! A bundle: one tar archive with everything that clusters need on a site without internet. It is an OCI image layout, which other tools
//! read, with files and packages as further blobs and a manifest of its own in front. Same content, same bytes.
//!
//! ```text
//! bundle.sha256          SHA-256 of bundle.json, as sha256sum writes it
//! bundle.json            the manifest: what is in here
//! oci-layout, index.json the images for tools that know nothing of etcdless
//! blobs/sha256/HEX       every blob once, in the order of digests
//! ```
//!
//! Whatever is in the archive follows from the manifest byte for byte, headers and padding too, so that one flipped bit is found anywhere.

mod archive;
mod gather;
mod read;
mod set;
mod write;

use serde::{Deserialize, Serialize};

use super::image::Blob;
use crate::op::Release;

pub use gather::{Gathered, Moved};
pub use read::{Bundle, Damage};
pub use set::Bundles;
pub use write::write;

/// What `bundle` says in the manifest of this version.
pub const FORMAT: &str = "etcdless.dev/bundle/v1";

/// What a bundle holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// [`FORMAT`].
    pub bundle: String,
    /// Files of releases.
    pub files: Vec<File>,
    /// Images.
    pub images: Vec<Image>,
    /// Packages, one set for each release of a distribution and architecture.
    pub packages: Vec<Packages>,
    /// The blobs that are in this very archive, in the order of digests.
    pub blobs: Vec<Blob>,
    /// SHA-256 of the manifests of bundles that hold the other blobs (`mirror save --since`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub since: Vec<String>,
}

/// A file of a release.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct File {
    /// The catalogue's name for it: `kubelet`.
    pub name: String,
    /// Its version, as the release writes it.
    pub version: String,
    /// `amd64` or `arm64`.
    pub arch: String,
    /// Its address at the publisher.
    pub url: String,
    /// The publisher's checksum file for it.
    #[serde(rename = "checksumURL")]
    pub checksum_url: String,
    /// Its content.
    pub blob: Blob,
}

/// An image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// As Kubernetes knows it.
    pub reference: String,
    /// What the reference names: a manifest, or an index of several.
    pub root: Document,
    /// The image of each platform.
    pub platforms: Vec<Platform>,
}

/// A manifest or an index.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    /// Its own media type.
    pub media_type: String,
    /// Its text.
    pub blob: Blob,
}

/// The image of one platform.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Platform {
    /// `amd64` or `arm64`; other words for what is not for a machine, as attestations are.
    pub arch: String,
    /// Its manifest.
    pub manifest: Document,
    /// Config and layers, each once.
    pub blobs: Vec<Blob>,
}

/// Packages of one release of a distribution, with everything that they depend on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Packages {
    /// `ID` of /etc/os-release.
    pub distribution: String,
    /// `VERSION_ID` of /etc/os-release.
    pub version: String,
    /// `amd64` or `arm64`.
    pub arch: String,
    /// What was asked for.
    pub names: Vec<String>,
    /// The `Packages` file of an apt repository that is one flat folder.
    pub index: Blob,
    /// The archives.
    pub files: Vec<Package>,
}

/// An archive of a package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Package {
    /// The name of the file in the repository's folder.
    pub file: String,
    /// Where it came from.
    pub url: String,
    /// Its content.
    pub blob: Blob,
}

impl Packages {
    /// What they are for.
    pub fn release(&self) -> Release {
        Release { distribution: self.distribution.clone(), version: self.version.clone(), arch: self.arch.clone() }
    }
}

impl Manifest {
    /// Everything that is named, each blob once, in the order of digests.
    pub fn needed(&self) -> Vec<Blob> {
        let images = self.images.iter().flat_map(|image| {
            let platforms = image.platforms.iter();
            let platforms =
                platforms.flat_map(|platform| std::iter::once(&platform.manifest.blob).chain(&platform.blobs));
            std::iter::once(&image.root.blob).chain(platforms)
        });
        let packages = self.packages.iter().flat_map(|set| {
            let archives = set.files.iter().map(|package| &package.blob);
            std::iter::once(&set.index).chain(archives)
        });
        let mut blobs: Vec<Blob> =
            self.files.iter().map(|file| &file.blob).chain(images).chain(packages).cloned().collect();
        blobs.sort();
        blobs.dedup();
        blobs
    }

    /// The bytes of `bundle.json`.
    pub(super) fn text(&self) -> Vec<u8> {
        // A manifest has no map whose keys are not texts, which is all that could fail.
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        text.push(b'\n');
        text
    }
}

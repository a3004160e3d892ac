//! An image as a tree: the document that its tag names, a manifest for each platform, and blobs. Pure.

use oci_client::manifest::{ImageIndexEntry, OCI_IMAGE_INDEX_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE, OciImageManifest};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_util::bytes::Bytes;

/// The largest blob that a tar header can announce, in bytes.
const LARGEST: u64 = 0o77_777_777_777;
/// What an index without platform says, and what attestations say of theirs.
const UNKNOWN: &str = "unknown";

/// Which platforms of an image are wanted. All of them run Linux.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Architectures {
    /// These (`amd64`, `arm64`), and nothing else.
    These(Vec<String>),
    /// Whatever there is, attestations too.
    All,
}

/// A blob as a manifest names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Blob {
    /// `sha256:HEX`.
    pub digest: String,
    /// Bytes.
    pub size: u64,
}

/// A blob as it is read, before its digest was looked at.
#[derive(Deserialize)]
struct Unchecked {
    digest: String,
    size: i64,
}

impl TryFrom<Unchecked> for Blob {
    type Error = String;

    fn try_from(Unchecked { digest, size }: Unchecked) -> Result<Self, String> {
        Self::new(&digest, size)
            .ok_or_else(|| format!("`{digest}` with {size} bytes is not a SHA-256 digest with a size"))
    }
}

impl Blob {
    /// The blob of these bytes.
    pub fn of(content: &[u8]) -> Self {
        Self { digest: format!("sha256:{}", crate::op::sha256(content)), size: content.len() as u64 }
    }

    /// The digest without its algorithm: 64 hex digits.
    pub fn hex(&self) -> &str {
        self.digest.strip_prefix("sha256:").unwrap_or(&self.digest)
    }

    /// `None` where the digest is not SHA-256 in lower-case hex, or the size is negative or above 8 GiB. Nothing else may become a path.
    pub fn new(digest: &str, size: i64) -> Option<Self> {
        let hex = digest.strip_prefix("sha256:")?;
        let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let size = u64::try_from(size).ok().filter(|size| *size <= LARGEST)?;
        (hex.len() == 64 && hex.bytes().all(lower)).then(|| Self { digest: digest.into(), size })
    }

    /// Its path in an OCI layout.
    pub fn path(&self) -> String {
        format!("blobs/{}", self.digest.replacen(':', "/", 1))
    }
}

/// A manifest or an index, as it came: its digest is over these very bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Digest and size of the text.
    pub blob: Blob,
    /// What it says it is; OCI's own, where it does not say.
    pub media_type: String,
    /// The bytes.
    pub text: Bytes,
}

impl Document {
    /// Takes the text of a manifest or an index.
    pub fn new(text: Bytes) -> Result<Self, serde_json::Error> {
        let content: Value = serde_json::from_slice(&text)?;
        let media_type = match (&content["mediaType"], &content["manifests"]) {
            (Value::String(media_type), _) => media_type.clone(),
            (_, Value::Array(_)) => OCI_IMAGE_INDEX_MEDIA_TYPE.into(),
            _ => OCI_IMAGE_MEDIA_TYPE.into(),
        };
        let digest = format!("sha256:{}", crate::op::sha256(&text));
        Ok(Self { blob: Blob { digest, size: text.len() as u64 }, media_type, text })
    }

    /// This index with those entries alone, in the order that they have here: the same entries make the same bytes. All of them: this one.
    pub fn narrowed(&self, digests: &[String]) -> Result<Self, serde_json::Error> {
        let mut content: Value = serde_json::from_slice(&self.text)?;
        let Some(entries) = content["manifests"].as_array_mut() else { return Ok(self.clone()) };
        let before = entries.len();
        entries.retain(|entry| digests.iter().any(|digest| entry["digest"] == digest.as_str()));
        if entries.len() == before {
            return Ok(self.clone());
        }
        Self::new(content.to_string().into())
    }
}

/// The image for one platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    /// `amd64`, `arm64`; `unknown` for attestations.
    pub arch: String,
    /// Its manifest.
    pub manifest: Document,
    /// Config and layers, each once.
    pub blobs: Vec<Blob>,
}

impl Platform {
    /// What a manifest says; an error is a digest that is none.
    pub(super) fn new(arch: String, manifest: Document, content: &OciImageManifest) -> Result<Self, String> {
        let mut blobs: Vec<Blob> = vec![];
        let layers = content.layers.iter().filter(|layer| !is_foreign(&layer.media_type));
        for descriptor in [&content.config].into_iter().chain(layers) {
            let blob = Blob::new(&descriptor.digest, descriptor.size).ok_or_else(|| {
                format!("its manifest names `{}`, which is not a SHA-256 digest with a size", descriptor.digest)
            })?;
            if !blobs.contains(&blob) {
                blobs.push(blob);
            }
        }
        Ok(Self { arch, manifest, blobs })
    }
}

/// Layers that no registry holds: Windows fetches them from their publisher.
fn is_foreign(media_type: &str) -> bool {
    media_type.contains("nondistributable") || media_type.contains(".foreign.")
}

/// An image with everything that it consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// As Kubernetes knows it.
    pub reference: String,
    /// What the tag names: a platform's manifest, or an index.
    pub root: Document,
    /// In the order of the index.
    pub platforms: Vec<Platform>,
}

impl Image {
    /// Every blob once, in the order of the manifests.
    pub fn blobs(&self) -> Vec<&Blob> {
        let mut blobs: Vec<&Blob> = vec![];
        for blob in self.platforms.iter().flat_map(|platform| &platform.blobs) {
            if !blobs.contains(&blob) {
                blobs.push(blob);
            }
        }
        blobs
    }

    /// Every manifest once, the root last: whoever has a document has all that it names.
    pub fn documents(&self) -> Vec<&Document> {
        let manifests = self.platforms.iter().map(|platform| &platform.manifest);
        manifests.filter(|manifest| manifest.blob != self.root.blob).chain([&self.root]).collect()
    }
}

/// What an entry of an index is for.
pub(super) fn arch(entry: &ImageIndexEntry) -> String {
    entry.platform.as_ref().map_or_else(|| UNKNOWN.into(), |platform| platform.architecture.to_string())
}

/// The entries of an index that are wanted, in its order; an error is an architecture that it lacks.
pub(super) fn chosen<'a>(entries: &'a [ImageIndexEntry], archs: &[String]) -> Result<Vec<&'a ImageIndexEntry>, String> {
    let fits = |entry: &ImageIndexEntry, arch: &str| {
        let platform = entry.platform.as_ref();
        platform.is_some_and(|platform| platform.os.to_string() == "linux" && platform.architecture.to_string() == arch)
    };
    let mut places = vec![];
    for arch in archs {
        places.push(entries.iter().position(|entry| fits(entry, arch)).ok_or_else(|| arch.clone())?);
    }
    places.sort_unstable();
    places.dedup();
    Ok(places.into_iter().map(|place| &entries[place]).collect())
}

/// The platforms of an index, for people: `linux/amd64, linux/arm64`.
pub(super) fn platforms(entries: &[ImageIndexEntry]) -> String {
    let mut found: Vec<String> = vec![];
    for platform in entries.iter().filter_map(|entry| entry.platform.as_ref()) {
        let name = format!("{}/{}", platform.os, platform.architecture);
        if platform.architecture.to_string() != UNKNOWN && !found.contains(&name) {
            found.push(name);
        }
    }
    found.join(", ")
}

#[cfg(test)]
#[path = "image_tests.rs"]
mod tests;

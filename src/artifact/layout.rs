//! The OCI image layout as a tar archive, as far as it can be written before a single blob was read. Pure.

use serde::{Deserialize, Serialize};

/// The media type of index.json.
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// tar's unit.
pub(super) const BLOCK: u64 = 512;
/// The largest file that a header of this form can announce, in bytes.
const LARGEST: u64 = 0o77_777_777_777;

/// A blob as a manifest names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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

    /// Its path in the layout.
    pub fn path(&self) -> String {
        format!("blobs/{}", self.digest.replacen(':', "/", 1))
    }
}

/// An image that the layout's index names.
#[derive(Debug, Clone)]
pub(super) struct Named<'a> {
    /// The full reference, as Kubernetes knows the image.
    pub(super) reference: &'a str,
    /// `amd64` or `arm64`; none for an index of several.
    pub(super) arch: Option<&'a str>,
    /// The media type of the manifest or index.
    pub(super) media_type: &'a str,
    /// The manifest or index.
    pub(super) manifest: &'a Blob,
}

/// The two files in front of the blobs, with their names: `oci-layout` and `index.json`.
pub(super) fn front(images: &[Named<'_>]) -> [(&'static str, Vec<u8>); 2] {
    let descriptor = |named: &Named<'_>| {
        let mut descriptor = serde_json::json!({
            "mediaType": named.media_type,
            "digest": named.manifest.digest,
            "size": named.manifest.size,
            // containerd goes by the first, others by the second.
            "annotations": {
                "io.containerd.image.name": named.reference,
                "org.opencontainers.image.ref.name": named.reference,
            },
        });
        if let Some(arch) = named.arch {
            descriptor["platform"] = serde_json::json!({ "architecture": arch, "os": "linux" });
        }
        descriptor
    };
    let manifests: Vec<_> = images.iter().map(descriptor).collect();
    let index = serde_json::json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
    [("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()), ("index.json", index.to_string().into_bytes())]
}

/// The header of a regular file. Owner and time are fixed, so that the same image is the same archive. `name` has less than 100 bytes.
pub(super) fn header(name: &str, size: u64) -> Vec<u8> {
    let mut header = vec![0; BLOCK as usize];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{size:011o}\0"));
    put(136, "00000000000\0");
    // The checksum is computed as if its own field held blanks.
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    put(329, "0000000\0");
    put(337, "0000000\0");
    let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

/// The zeros after a file of this size.
pub(super) fn padding(size: u64) -> Vec<u8> {
    vec![0; (size.next_multiple_of(BLOCK) - size) as usize]
}

/// What ends an archive.
pub(super) fn trailer() -> Vec<u8> {
    vec![0; 2 * BLOCK as usize]
}

/// The archive's length in bytes, for files of these sizes.
pub(super) fn length(sizes: impl IntoIterator<Item = u64>) -> u64 {
    sizes.into_iter().map(|size| BLOCK + size.next_multiple_of(BLOCK)).sum::<u64>() + 2 * BLOCK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_sha256_becomes_a_path() {
        let hex = "0".repeat(64);
        assert_eq!(
            Blob::new(&format!("sha256:{hex}"), 5).map(|blob| (blob.path(), blob.size)),
            Some((format!("blobs/sha256/{hex}"), 5))
        );
        for (digest, size) in [
            (format!("sha256:{hex}"), -1),
            (format!("sha256:{hex}"), 1 << 33),
            (format!("sha512:{hex}"), 5),
            (format!("sha256:{}", "A".repeat(64)), 5),
            ("sha256:../../../etc/passwd".into(), 5),
            (hex, 5),
        ] {
            assert_eq!(Blob::new(&digest, size), None, "{digest} {size}");
        }
    }

    #[test]
    fn a_header_carries_its_checksum() {
        let header = header("oci-layout", 30);
        assert_eq!(header.len(), 512);
        assert_eq!(&header[124..136], b"00000000036\0");
        // Computed by GNU tar for the same name, mode, owner, size and time.
        assert_eq!(&header[148..156], b"011214\0 ");
    }

    #[test]
    fn lengths_are_whole_blocks() {
        assert_eq!(length([0, 1, 512, 513]), 4 * 512 + 512 + 512 + 1024 + 1024);
        assert_eq!((padding(0).len(), padding(1).len(), padding(512).len()), (0, 511, 0));
    }
}

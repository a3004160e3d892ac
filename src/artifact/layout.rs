//! The OCI image layout as a tar archive, as far as it can be written before a single blob was read. Pure.

use super::image::Blob;

/// The media type of index.json.
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// tar's unit.
pub(crate) const BLOCK: u64 = 512;
/// Bytes that a name may not come to.
pub(crate) const NAME: usize = 100;

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

/// The header of a file that everybody may read.
pub(crate) fn header(name: &str, size: u64) -> Vec<u8> {
    header_of(name, size, 0o644)
}

/// The header of a regular file. Owner and time are fixed, so that the same content is the same archive. `name` has less than [`NAME`] bytes.
pub(crate) fn header_of(name: &str, size: u64, mode: u32) -> Vec<u8> {
    let mut header = vec![0; BLOCK as usize];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, &format!("{mode:07o}\0"));
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
pub(crate) fn padding(size: u64) -> Vec<u8> {
    vec![0; (size.next_multiple_of(BLOCK) - size) as usize]
}

/// What ends an archive.
pub(crate) fn trailer() -> Vec<u8> {
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

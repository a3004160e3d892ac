//! Which bytes are where in a bundle, as they follow from its manifest. Pure.

use super::{Image, Manifest};
use crate::artifact::image::Blob;
use crate::artifact::layout;

/// The first entry.
pub(super) const SUM: &str = "bundle.sha256";
/// The manifest.
pub(super) const MANIFEST: &str = "bundle.json";
/// Bytes of the first entry: 64 digits, two blanks, the name, a line end.
pub(super) const SUM_SIZE: u64 = 64 + 2 + MANIFEST.len() as u64 + 1;

/// An entry of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its name.
    pub(super) path: String,
    /// Bytes.
    pub(super) size: u64,
    /// Where its content begins, in bytes from the archive's start.
    pub(super) at: u64,
    /// What it holds.
    pub(super) content: Content,
}

/// What an entry holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// What follows from the manifest.
    Text(Vec<u8>),
    /// A blob.
    Blob(Blob),
}

impl Entry {
    /// Its header.
    pub(super) fn header(&self) -> Vec<u8> {
        layout::header(&self.path, self.size)
    }

    /// The zeros that fill its last block.
    pub(super) fn padding(&self) -> Vec<u8> {
        layout::padding(self.size)
    }
}

/// What the first entry says of a manifest with this text.
pub(super) fn sum(manifest: &[u8]) -> String {
    format!("{}  {MANIFEST}\n", crate::op::sha256(manifest))
}

/// Every entry, in order. `text` is what the manifest was read from, or is to be written as.
pub(super) fn entries(manifest: &Manifest, text: &[u8]) -> Vec<Entry> {
    let [(layout_name, layout_text), (index_name, index_text)] = layout::front(&named(manifest));
    let front = [
        (SUM.to_owned(), sum(text).into_bytes()),
        (MANIFEST.to_owned(), text.to_vec()),
        (layout_name.to_owned(), layout_text),
        (index_name.to_owned(), index_text),
    ];
    let front = front.into_iter().map(|(path, text)| (path, text.len() as u64, Content::Text(text)));
    let blobs = manifest.blobs.iter().map(|blob| (blob.path(), blob.size, Content::Blob(blob.clone())));
    let mut end = 0;
    let place = |(path, size, content): (String, u64, Content)| {
        let at = end + layout::BLOCK;
        end = at + size.next_multiple_of(layout::BLOCK);
        Entry { path, size, at, content }
    };
    front.chain(blobs).map(place).collect()
}

/// The archive's length in bytes.
pub(super) fn length(entries: &[Entry]) -> u64 {
    layout::length(entries.iter().map(|entry| entry.size))
}

/// Every image that the layout's index names.
fn named(manifest: &Manifest) -> Vec<layout::Named<'_>> {
    fn named(image: &Image) -> layout::Named<'_> {
        layout::Named {
            reference: &image.reference,
            arch: match image.platforms.as_slice() {
                [platform] if platform.manifest == image.root => Some(&platform.arch),
                _ => None,
            },
            media_type: &image.root.media_type,
            manifest: &image.root.blob,
        }
    }
    manifest.images.iter().map(named).collect()
}

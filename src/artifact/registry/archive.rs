//! An image from a registry as one stream that containerd imports, for `--delivery push`. No blob is held: each goes on as it comes, verified.

use std::io;

use futures_util::stream::{self, Stream};
use futures_util::{StreamExt, TryStreamExt};
use tokio_util::bytes::Bytes;
use tokio_util::io::StreamReader;

use super::{Chunks, Registry};
use crate::artifact::image::{Architectures, Blob, Platform};
use crate::artifact::layout::{self, Named};
use crate::config::Artifacts;
use crate::failure::Failure;
use crate::remote::Payload;

/// Opens an image as an OCI layout tar stream that `ctr images import` reads (`--delivery push`), with its length in bytes.
///
/// Of an index, the image for linux and `arch` (`amd64`, `arm64`) is taken; the layout names it by `reference`, wherever it came from.
/// A blob that is not what its digest says is an error of the stream that names the blob and both digests.
pub async fn open(artifacts: &Artifacts, reference: &str, arch: &str) -> Result<(Payload, u64), Failure> {
    let registry = Registry::of(artifacts)?;
    let place = registry.place(reference)?;
    let image = registry.image(reference, &Architectures::These(vec![arch.into()])).await?;
    // A reference with a digest brings its whole index.
    let fits = |platform: &Platform| platform.arch == arch;
    let missing = || place.failure(format!("it has no image for linux/{arch}"));
    let Platform { manifest, blobs, .. } = image.platforms.into_iter().find(fits).ok_or_else(missing)?;

    let named = Named { reference, arch: Some(arch), media_type: &manifest.media_type, manifest: &manifest.blob };
    let front = layout::front(&[named]);
    let small = front.iter().map(|(_, content)| content.len() as u64);
    let length = layout::length(small.chain([manifest.blob.size]).chain(blobs.iter().map(|blob| blob.size)));

    let mut head = vec![];
    for (name, content) in &front {
        entry(&mut head, name, content);
    }
    entry(&mut head, &manifest.blob.path(), &manifest.text);
    let reference = reference.to_owned();
    let blobs = stream::iter(blobs).map(move |blob| entry_of(registry.clone(), reference.clone(), blob)).flatten();
    let archive = once(head).chain(blobs).chain(once(layout::trailer()));
    Ok((Box::new(StreamReader::new(until_error(archive).boxed())), length))
}

/// Appends a file that is at hand.
fn entry(archive: &mut Vec<u8>, name: &str, content: &[u8]) {
    let size = content.len() as u64;
    archive.extend(layout::header(name, size));
    archive.extend_from_slice(content);
    archive.extend(layout::padding(size));
}

/// The archive's entry of one blob. The registry is asked when the reader gets there.
fn entry_of(registry: Registry, reference: String, blob: Blob) -> Chunks {
    let head = once(layout::header(&blob.path(), blob.size));
    let tail = once(layout::padding(blob.size));
    let opened = async move { registry.blob(&reference, &blob, 0).await.map_err(io::Error::other) };
    head.chain(stream::once(opened).try_flatten()).chain(tail).boxed()
}

fn once(bytes: Vec<u8>) -> Chunks {
    stream::once(async move { Ok(Bytes::from(bytes)) }).boxed()
}

/// Nothing follows an error: what comes after a wrong blob must not look like a whole archive.
fn until_error(chunks: impl Stream<Item = io::Result<Bytes>> + Send) -> impl Stream<Item = io::Result<Bytes>> + Send {
    chunks.scan(false, |failed, chunk| {
        let next = (!*failed).then_some(chunk);
        *failed |= next.as_ref().is_some_and(Result::is_err);
        async move { next }
    })
}

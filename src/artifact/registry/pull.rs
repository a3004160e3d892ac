//! Images out of a registry: their documents at once, their blobs as streams that can be gone on with.

use std::io;

use futures_util::StreamExt;
use futures_util::stream::{self, TryStreamExt};
use oci_client::Reference;
use oci_client::client::BlobResponse;
use oci_client::errors::OciDistributionError;
use oci_client::manifest::{
    IMAGE_MANIFEST_LIST_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE, ImageIndexEntry, OCI_IMAGE_INDEX_MEDIA_TYPE,
    OCI_IMAGE_MEDIA_TYPE, OciImageIndex, OciManifest,
};
use tokio_util::bytes::Bytes;

use super::credentials::Login;
use super::{Chunks, Place, Registry, error};
use crate::artifact::image::{self, Architectures, Blob, Document, Image, Platform};
use crate::failure::{Failure, Kind};

/// A config blob is read before the image is sent only below this size, in bytes.
const SMALL: u64 = 1 << 20;
/// How many manifests of an index are asked for at a time.
const SIDE_BY_SIDE: usize = 4;

impl Registry {
    /// Reads what an image consists of, without its blobs.
    ///
    /// One architecture: that platform's own manifest is the root. Several: an index of exactly these. All, or a reference with a digest:
    /// upstream's root, and everything that it names.
    pub async fn image(&self, reference: &str, wanted: &Architectures) -> Result<Image, Failure> {
        let place = self.place(reference)?;
        let whole = *wanted == Architectures::All || place.asked.digest().is_some();
        let (root, content) = self.document(&place, &place.asked).await?;
        let (root, platforms) = match content {
            OciManifest::Image(content) => {
                let mut platform =
                    Platform::new(String::new(), root.clone(), &content).map_err(|reason| fetched(&place, reason))?;
                platform.arch = self.single(&place, &platform, wanted).await?;
                (root, vec![platform])
            }
            OciManifest::ImageIndex(index) => {
                let entries = entries(&place, &index, wanted, whole)?;
                let platforms = self.platforms(&place, &entries).await?;
                match platforms.as_slice() {
                    _ if whole => (root, platforms),
                    [platform] => (platform.manifest.clone(), platforms),
                    _ => (narrowed(&place, &root, &entries)?, platforms),
                }
            }
        };
        Ok(Image { reference: reference.into(), root, platforms })
    }

    /// The digest of what a reference names.
    pub async fn digest(&self, reference: &str) -> Result<String, Failure> {
        let place = self.place(reference)?;
        let login = self.login(&place).await;
        let found = self.0.client.fetch_manifest_digest(&place.asked, &login.auth()).await;
        found.map_err(|error| unfetched(&place, &error, &login))
    }

    /// The platforms of these entries, in their order.
    async fn platforms(&self, place: &Place, entries: &[&ImageIndexEntry]) -> Result<Vec<Platform>, Failure> {
        let platform = |entry: ImageIndexEntry| async move {
            match self.document(place, &place.asked.clone_with_digest(entry.digest.clone())).await? {
                (manifest, OciManifest::Image(content)) => {
                    Platform::new(image::arch(&entry), manifest, &content).map_err(|reason| fetched(place, reason))
                }
                (_, OciManifest::ImageIndex(_)) => Err(fetched(place, "its index names another index".into())),
            }
        };
        let entries: Vec<ImageIndexEntry> = entries.iter().copied().cloned().collect();
        stream::iter(entries).map(platform).buffered(SIDE_BY_SIDE).try_collect().await
    }

    async fn document(&self, place: &Place, asked: &Reference) -> Result<(Document, OciManifest), Failure> {
        let accepted = [
            OCI_IMAGE_INDEX_MEDIA_TYPE,
            OCI_IMAGE_MEDIA_TYPE,
            IMAGE_MANIFEST_LIST_MEDIA_TYPE,
            IMAGE_MANIFEST_MEDIA_TYPE,
        ];
        let login = self.login(place).await;
        let pulled = self.0.client.pull_manifest_raw(asked, &login.auth(), &accepted).await;
        let (text, _digest) = pulled.map_err(|error| unfetched(place, &error, &login))?;
        let unreadable = |error: serde_json::Error| fetched(place, format!("its manifest cannot be read: {error}"));
        let content = serde_json::from_slice(&text).map_err(unreadable)?;
        Ok((Document::new(text).map_err(unreadable)?, content))
    }

    /// The architecture of a manifest without an index, which only its config tells. Where that is huge, containerd will tell.
    async fn single(&self, place: &Place, platform: &Platform, wanted: &Architectures) -> Result<String, Failure> {
        let found = match platform.blobs.first().filter(|config| config.size <= SMALL) {
            Some(config) => self.config_arch(place, config).await?,
            None => None,
        };
        let Architectures::These(archs) = wanted else { return Ok(found.unwrap_or_else(|| "unknown".into())) };
        let other = found.as_ref().and_then(|found| archs.iter().find(|arch| *arch != found));
        match (found, other) {
            (Some(found), Some(other)) => Err(fetched(place, format!("it is for {found}, and {other} is needed"))),
            (found, _) => Ok(found.or_else(|| archs.first().cloned()).unwrap_or_default()),
        }
    }

    async fn config_arch(&self, place: &Place, config: &Blob) -> Result<Option<String>, Failure> {
        let mut text = vec![];
        let pulled = self.0.client.pull_blob(&place.asked, config.digest.as_str(), &mut text).await;
        if let Err(error) = pulled {
            let why = error::why(&error, &self.login(place).await);
            return Err(fetched(place, format!("its config {}: {why}", config.digest)));
        }
        let config: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
        Ok(config["architecture"].as_str().map(str::to_owned))
    }

    /// Opens a blob, from a byte on. As many bytes come as the manifest says, or an error.
    ///
    /// From the first byte on, the digest is checked, too; where `from` is larger, that is up to whoever has the bytes before it.
    pub async fn blob(&self, reference: &str, blob: &Blob, from: u64) -> Result<Chunks, Failure> {
        let place = self.place(reference)?;
        let what = format!("blob {} of {}", blob.digest, place.named);
        if from > 0 && from >= blob.size {
            return Ok(stream::empty().boxed());
        }
        let (login, digest) = (self.login(&place).await, blob.digest.as_str());
        let opened = match from {
            0 => self.0.client.pull_blob_stream(&place.asked, digest).await.map(BlobResponse::Full),
            _ => self.0.client.pull_blob_stream_partial(&place.asked, digest, from, None).await,
        };
        let (chunks, first) = match opened {
            Ok(BlobResponse::Full(chunks)) => (chunks, 0),
            Ok(BlobResponse::Partial(chunks)) => (chunks, from),
            Err(error) => {
                return Err(Failure::new(Kind::Step, format!("{what}: {}", error::why(&error, &login))));
            }
        };
        let rest = blob.size - first;
        if first > 0 && chunks.content_length.is_some_and(|length| length != rest) {
            return Err(Failure::new(Kind::Step, format!("{what}: the registry answers with another part of it")));
        }
        Ok(exact(chunks.stream, what, blob.size, first, from))
    }
}

/// The bytes of a blob after the first `from`, out of a stream that starts at `first`; too many or too few are an error.
fn exact(chunks: Chunks, what: String, size: u64, first: u64, from: u64) -> Chunks {
    let counted = stream::try_unfold((chunks, first), move |(mut chunks, done)| {
        let what = what.clone();
        async move {
            let wrong = |reason: String| io::Error::other(format!("{what} {reason}"));
            match chunks.next().await {
                Some(Ok(chunk)) if done + chunk.len() as u64 > size => {
                    Err(wrong(format!("is longer than the {size} bytes that its manifest says")))
                }
                Some(Ok(chunk)) => {
                    let known = usize::try_from(from.saturating_sub(done)).unwrap_or(usize::MAX).min(chunk.len());
                    let done = done + chunk.len() as u64;
                    Ok(Some((chunk.slice(known..), (chunks, done))))
                }
                Some(Err(error)) => Err(wrong(error::broken(&error, done, size))),
                None if done < size => Err(wrong(format!("ended after {done} of {size} bytes"))),
                None => Ok(None),
            }
        }
    });
    counted.try_filter(|chunk: &Bytes| std::future::ready(!chunk.is_empty())).boxed()
}

/// The entries of an index to be taken.
fn entries<'a>(
    place: &Place,
    index: &'a OciImageIndex,
    wanted: &Architectures,
    whole: bool,
) -> Result<Vec<&'a ImageIndexEntry>, Failure> {
    let all = &index.manifests;
    let chosen = match wanted {
        Architectures::All => vec![],
        Architectures::These(archs) => image::chosen(all, archs).map_err(|arch| {
            let failure = fetched(place, format!("it has no image for linux/{arch}"));
            failure.detail(format!("it has images for {}", image::platforms(all)))
        })?,
    };
    Ok(if whole { all.iter().collect() } else { chosen })
}

/// An index of these entries alone.
fn narrowed(place: &Place, root: &Document, entries: &[&ImageIndexEntry]) -> Result<Document, Failure> {
    let digests: Vec<String> = entries.iter().map(|entry| entry.digest.clone()).collect();
    root.narrowed(&digests).map_err(|error| fetched(place, format!("its index cannot be read: {error}")))
}

/// Why an image cannot be fetched, with the way out.
fn fetched(place: &Place, reason: String) -> Failure {
    place.failure(reason).hint("`--registry HOST:PORT` names another registry, which holds it as HOST/NAME:TAG")
}

/// The same after a registry's answer.
fn unfetched(place: &Place, error: &OciDistributionError, login: &Login) -> Failure {
    let failure = fetched(place, error::why(error, login));
    if error::is_refusal(error) { failure.hint(place.login_hint()) } else { failure }
}

//! An image from a registry as one stream that containerd imports, for `--delivery push`. No blob is held: each goes on as it comes, verified.

use std::error::Error;
use std::io;
use std::sync::OnceLock;

use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::{DigestError, OciDistributionError, OciErrorCode};
use oci_client::manifest::{
    IMAGE_MANIFEST_LIST_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE, OCI_IMAGE_INDEX_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE,
    OciImageManifest, OciManifest,
};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use tokio_util::bytes::Bytes;
use tokio_util::io::StreamReader;

use super::http;
use super::layout::{self, Blob, Named};
use crate::config::Artifacts;
use crate::failure::{Failure, Kind};
use crate::remote::Payload;

/// A config blob is read before the image is sent only below this size, in bytes.
const SMALL: u64 = 1 << 20;

/// Opens an image as an OCI layout tar stream that `ctr images import` reads (`--delivery push`), with its length in bytes.
///
/// Of an index, the image for linux and `arch` (`amd64`, `arm64`) is taken; the layout names it by `reference`, wherever it came from.
/// A blob that is not what its digest says is an error of the stream that names the blob and both digests.
pub async fn open(artifacts: &Artifacts, reference: &str, arch: &str) -> Result<(Payload, u64), Failure> {
    let source = Source::new(artifacts, reference)?;
    let image = source.resolve(arch).await?;
    let tag = source.named.tag().map(str::to_owned);
    let named =
        Named { reference, tag: tag.as_deref(), arch, media_type: &image.media_type, manifest: &image.manifest };
    let front = layout::front(&named);
    let small = front.iter().map(|(_, content)| content.len() as u64);
    let blobs = image.blobs.iter().map(|blob| blob.size);
    let length = layout::length(small.chain([image.manifest.size]).chain(blobs));

    let mut head = vec![];
    for (name, content) in &front {
        entry(&mut head, name, content);
    }
    entry(&mut head, &image.manifest.path(), &image.text);
    let blobs = stream::iter(image.blobs).map(move |blob| source.clone().entry(blob)).flatten();
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

type Chunks = BoxStream<'static, io::Result<Bytes>>;

fn once(bytes: Vec<u8>) -> Chunks {
    stream::once(async move { Ok(Bytes::from(bytes)) }).boxed()
}

/// Nothing follows an error: what comes after a wrong blob must not look like a whole archive.
fn until_error(
    chunks: impl stream::Stream<Item = io::Result<Bytes>> + Send,
) -> impl stream::Stream<Item = io::Result<Bytes>> + Send {
    chunks.scan(false, |failed, chunk| {
        let next = (!*failed).then_some(chunk);
        *failed |= next.as_ref().is_some_and(Result::is_err);
        async move { next }
    })
}

/// The image for one platform, as its manifest describes it.
struct Image {
    manifest: Blob,
    /// The manifest as the registry gave it: its digest is over these bytes.
    text: Bytes,
    media_type: String,
    /// Config and layers, each once.
    blobs: Vec<Blob>,
}

/// One image in one registry.
#[derive(Clone)]
struct Source {
    client: &'static Client,
    /// The image as Kubernetes knows it.
    named: Reference,
    /// The image as the registry is asked for it.
    asked: Reference,
}

impl Source {
    fn new(artifacts: &Artifacts, reference: &str) -> Result<Self, Failure> {
        let named: Reference = reference
            .parse()
            .map_err(|error| Failure::new(Kind::Config, format!("`{reference}` is not an image reference: {error}")))?;
        let Some(registry) = &artifacts.registry else {
            return Ok(Self { client: client(true)?, asked: named.clone(), named });
        };
        let (secure, host) = match registry.split_once("://") {
            Some((scheme, host)) => (scheme == "https", host),
            None => (false, registry.as_str()),
        };
        let host = host.trim_end_matches('/').to_owned();
        // The host of `kubernetes.imageRepository` itself.
        if host == named.registry() {
            return Ok(Self { client: client(secure)?, asked: named.clone(), named });
        }
        let path = format!("{}/{}", named.registry(), named.repository());
        let asked = match (named.tag(), named.digest()) {
            (_, Some(digest)) => Reference::with_digest(host, path, digest.into()),
            (tag, None) => Reference::with_tag(host, path, tag.unwrap_or("latest").into()),
        };
        Ok(Self { client: client(secure)?, named, asked })
    }

    /// Finds the manifest for this platform and reads what it says.
    async fn resolve(&self, arch: &str) -> Result<Image, Failure> {
        let (text, manifest) = self.manifest(&self.asked).await?;
        match manifest {
            OciManifest::Image(manifest) => {
                let image = self.image(text, &manifest)?;
                self.check_platform(&image, arch).await?;
                Ok(image)
            }
            OciManifest::ImageIndex(index) => {
                let fits = |platform: &oci_client::manifest::Platform| {
                    platform.os.to_string() == "linux" && platform.architecture.to_string() == arch
                };
                let entry = index.manifests.iter().find(|entry| entry.platform.as_ref().is_some_and(fits));
                let entry = entry.ok_or_else(|| self.failure(format!("it has no image for linux/{arch}")))?;
                match self.manifest(&self.asked.clone_with_digest(entry.digest.clone())).await? {
                    (text, OciManifest::Image(manifest)) => self.image(text, &manifest),
                    (_, OciManifest::ImageIndex(_)) => Err(self.failure("its index names another index".into())),
                }
            }
        }
    }

    async fn manifest(&self, reference: &Reference) -> Result<(Bytes, OciManifest), Failure> {
        let accepted = [
            OCI_IMAGE_INDEX_MEDIA_TYPE,
            OCI_IMAGE_MEDIA_TYPE,
            IMAGE_MANIFEST_LIST_MEDIA_TYPE,
            IMAGE_MANIFEST_MEDIA_TYPE,
        ];
        let pulled = self.client.pull_manifest_raw(reference, &RegistryAuth::Anonymous, &accepted).await;
        let (text, _digest) = pulled.map_err(|error| self.failure(why(&error)))?;
        let manifest = serde_json::from_slice(&text)
            .map_err(|error| self.failure(format!("its manifest cannot be read: {error}")))?;
        Ok((text, manifest))
    }

    fn image(&self, text: Bytes, manifest: &OciImageManifest) -> Result<Image, Failure> {
        let mut blobs: Vec<Blob> = vec![];
        for descriptor in [&manifest.config].into_iter().chain(&manifest.layers) {
            let blob = Blob::new(&descriptor.digest, descriptor.size).ok_or_else(|| {
                self.failure(format!(
                    "its manifest names `{}`, which is not a SHA-256 digest with a size",
                    descriptor.digest
                ))
            })?;
            if !blobs.contains(&blob) {
                blobs.push(blob);
            }
        }
        let digest = format!("sha256:{}", crate::op::sha256(&text));
        let manifest = Image {
            manifest: Blob { digest, size: text.len() as u64 },
            media_type: manifest.media_type.clone().unwrap_or_else(|| OCI_IMAGE_MEDIA_TYPE.into()),
            text,
            blobs,
        };
        Ok(manifest)
    }

    /// A manifest without an index says nothing of its platform, but its config does. Where that is huge, containerd will tell.
    async fn check_platform(&self, image: &Image, arch: &str) -> Result<(), Failure> {
        let Some(config) = image.blobs.first().filter(|config| config.size <= SMALL) else { return Ok(()) };
        let mut text = vec![];
        self.client
            .pull_blob(&self.asked, config.digest.as_str(), &mut text)
            .await
            .map_err(|error| self.failure(format!("its config {}: {}", config.digest, why(&error))))?;
        let config: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
        match config.get("architecture").and_then(serde_json::Value::as_str) {
            Some(found) if found != arch => Err(self.failure(format!("it is for {found}, and the host is {arch}"))),
            _ => Ok(()),
        }
    }

    /// The archive's entry of one blob. The registry is asked when the reader gets there.
    fn entry(self, blob: Blob) -> Chunks {
        let head = once(layout::header(&blob.path(), blob.size));
        let tail = once(layout::padding(blob.size));
        let content = stream::once(self.blob(blob)).try_flatten();
        head.chain(content).chain(tail).boxed()
    }

    /// Exactly as many bytes as the manifest says, or an error.
    async fn blob(self, blob: Blob) -> io::Result<Chunks> {
        let what = format!("blob {} of {}", blob.digest, self.named);
        let pulled = self.client.pull_blob_stream(&self.asked, blob.digest.as_str()).await;
        let pulled = pulled.map_err(|error| io::Error::other(format!("{what}: {}", why(&error))))?;
        let chunks = stream::try_unfold((pulled.stream, 0_u64), move |(mut chunks, done)| {
            let (what, size) = (what.clone(), blob.size);
            async move {
                let wrong = |reason: String| io::Error::other(format!("{what} {reason}"));
                match chunks.next().await {
                    Some(Ok(chunk)) if done + chunk.len() as u64 > size => {
                        Err(wrong(format!("is longer than the {size} bytes that its manifest says")))
                    }
                    Some(Ok(chunk)) => {
                        let done = done + chunk.len() as u64;
                        Ok(Some((chunk, (chunks, done))))
                    }
                    Some(Err(error)) => Err(wrong(broken(&error, done, size))),
                    None if done < size => Err(wrong(format!("ended after {done} of {size} bytes"))),
                    None => Ok(None),
                }
            }
        });
        Ok(chunks.boxed())
    }

    fn failure(&self, reason: String) -> Failure {
        let from = if self.asked == self.named { String::new() } else { format!(" from {}", self.asked.registry()) };
        Failure::new(Kind::Step, format!("image {} cannot be fetched{from}: {reason}", self.named))
            .hint("`--registry HOST:PORT` names another registry, which holds it as HOST/NAME:TAG")
    }
}

/// The client for registries over HTTPS or over plain HTTP, made at its first use. Tokens are anonymous, and kept by the client.
fn client(secure: bool) -> Result<&'static Client, Failure> {
    static HTTPS: OnceLock<Client> = OnceLock::new();
    static HTTP: OnceLock<Client> = OnceLock::new();
    let (cell, protocol) = if secure { (&HTTPS, ClientProtocol::Https) } else { (&HTTP, ClientProtocol::Http) };
    if let Some(client) = cell.get() {
        return Ok(client);
    }
    http::install_tls();
    let config = ClientConfig {
        protocol,
        user_agent: http::USER_AGENT,
        connect_timeout: Some(http::CONNECT_TIMEOUT),
        read_timeout: Some(http::READ_TIMEOUT),
        ..ClientConfig::default()
    };
    Client::try_from(config).map(|client| cell.get_or_init(|| client)).map_err(|error| http::unusable(&error))
}

/// A registry's error in a few words.
fn why(error: &OciDistributionError) -> String {
    match error {
        OciDistributionError::RegistryError { envelope, url } => {
            let absent = [
                OciErrorCode::ManifestUnknown,
                OciErrorCode::NameUnknown,
                OciErrorCode::BlobUnknown,
                OciErrorCode::NotFound,
            ];
            if envelope.errors.iter().any(|error| absent.contains(&error.code)) {
                format!("{url} is not there")
            } else {
                let messages: Vec<&str> = envelope.errors.iter().map(|error| error.message.as_str()).collect();
                format!("{url}: {}", messages.join(", "))
            }
        }
        OciDistributionError::ServerError { code: 404, url, .. } => format!("{url} is not there"),
        OciDistributionError::ServerError { code, url, .. } => format!("{url} answers HTTP {code}"),
        OciDistributionError::UnauthorizedError { url } => format!("{url} asks for a login"),
        error => http::cause(error),
    }
}

/// Why a blob's stream broke: a wrong digest, or the connection.
fn broken(error: &io::Error, done: u64, size: u64) -> String {
    let inner = error.get_ref();
    match inner.and_then(|inner| inner.downcast_ref::<DigestError>()) {
        Some(DigestError::VerificationError { expected, actual }) => {
            format!("has digest {actual}, expected {expected}")
        }
        _ => {
            let cause = inner.map_or_else(|| error.to_string(), |inner| http::cause(inner as &dyn Error));
            format!("ended after {done} of {size} bytes: {cause}")
        }
    }
}

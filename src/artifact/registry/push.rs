//! Images into a registry: blobs side by side, then manifests, the tag last. What is there already is not sent again, so that a push that
//! was cut off goes on where it stopped, and nothing is ever half there under its tag.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream::{self, BoxStream, Stream, StreamExt, TryStreamExt};
use oci_client::Reference;
use oci_client::RegistryOperation;
use oci_client::errors::OciDistributionError;
use oci_client::token_cache::{RegistryToken, RegistryTokenType};
use tokio::sync::Semaphore;
use tokio_util::bytes::Bytes;

use super::credentials::Login;
use super::{Chunks, Place, Registry, error};
use crate::artifact::image::{Blob, Document, Image};
use crate::failure::{Failure, Kind};

/// The longest that an upload may stand still. A registry on object storage takes its time to file a large layer after its last byte.
const SILENCE: Duration = Duration::from_secs(300);

/// Is told of every byte that need not be sent any more, because it went or was there.
pub type Progress = Arc<dyn Fn(u64) + Send + Sync>;

/// What became of the images and blobs of a push.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Images.
    pub images: usize,
    /// Blobs that were sent.
    pub moved: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Blobs that the registry had in another repository.
    pub mounted: usize,
    /// Blobs that were there.
    pub present: usize,
    /// Manifests, indexes and tags that were written.
    pub manifests: usize,
}

impl std::ops::Add for Tally {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            images: self.images + other.images,
            moved: self.moved + other.moved,
            bytes: self.bytes + other.bytes,
            mounted: self.mounted + other.mounted,
            present: self.present + other.present,
            manifests: self.manifests + other.manifests,
        }
    }
}

/// Where in the registry a blob is known to be. Whoever is about to send it holds the lock: the next image may mount it then.
type Known = Arc<tokio::sync::Mutex<Option<Reference>>>;

/// A push of several images into one registry.
pub struct Push {
    target: Registry,
    /// How many blobs are under way.
    gate: Semaphore,
    /// By digest.
    known: Mutex<HashMap<String, Known>>,
    /// By digest, the images that have the blob, where there are several: an earlier push may have got it to any of them.
    owners: HashMap<String, Vec<String>>,
}

impl Push {
    /// Of these images into `target`, with so many blobs side by side.
    pub fn new(target: Registry, images: &[Image], concurrency: usize) -> Self {
        let mut owners: HashMap<String, Vec<String>> = HashMap::new();
        for image in images {
            for blob in image.blobs() {
                owners.entry(blob.digest.clone()).or_default().push(image.reference.clone());
            }
        }
        owners.retain(|_, images| images.len() > 1);
        Self { target, gate: Semaphore::new(concurrency), known: Mutex::default(), owners }
    }

    /// The blobs of an image that are not there.
    pub async fn missing(&self, image: &Image) -> Result<Vec<Blob>, Failure> {
        let at = Destination::new(&self.target, &image.reference).await?;
        let mut missing = vec![];
        for blob in image.blobs() {
            if !at.has(blob).await? {
                missing.push(blob.clone());
            }
        }
        Ok(missing)
    }

    /// Brings an image into the registry. `source` opens a blob, wherever it is; it is asked only for those that are not there.
    pub async fn image<S, F>(&self, image: &Image, source: S, progress: Progress) -> Result<Tally, Failure>
    where
        S: Fn(&Blob) -> F + Sync,
        F: Future<Output = Result<Chunks, Failure>> + Send + 'static,
    {
        let at = &Destination::new(&self.target, &image.reference).await?;
        let (source, progress) = (&source, &progress);
        let blobs: Vec<Blob> = image.blobs().into_iter().cloned().collect();
        let count = blobs.len().max(1);
        let blobs = stream::iter(blobs).map(|blob| async move { self.blob(at, &blob, source, progress).await });
        let moved = blobs.buffer_unordered(count).try_fold(Tally::default(), |all, one| async move { Ok(all + one) });
        let mut tally = Tally { images: 1, ..moved.await? };

        tally.manifests = at.write(image).await?;
        Ok(tally)
    }

    async fn blob<S, F>(&self, at: &Destination, blob: &Blob, source: &S, progress: &Progress) -> Result<Tally, Failure>
    where
        S: Fn(&Blob) -> F + Sync,
        F: Future<Output = Result<Chunks, Failure>> + Send + 'static,
    {
        let known = {
            let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(all.entry(blob.digest.clone()).or_default())
        };
        let mut known = known.lock().await;
        // The gate is never closed.
        let _turn = self.gate.acquire().await;
        let tally = if at.has(blob).await? {
            progress(blob.size);
            Tally { present: 1, ..Tally::default() }
        } else if at.mount(blob, self.elsewhere(blob, known.take()).await?.as_ref()).await {
            progress(blob.size);
            Tally { mounted: 1, ..Tally::default() }
        } else {
            at.upload(blob, source(blob), Arc::clone(progress)).await?;
            Tally { moved: 1, bytes: blob.size, ..Tally::default() }
        };
        *known = Some(at.place.asked.clone());
        Ok(tally)
    }

    /// Another repository that has a blob.
    async fn elsewhere(&self, blob: &Blob, known: Option<Reference>) -> Result<Option<Reference>, Failure> {
        if known.is_some() {
            return Ok(known);
        }
        for reference in self.owners.get(&blob.digest).into_iter().flatten() {
            let at = Destination::new(&self.target, reference).await?;
            if at.has(blob).await? {
                return Ok(Some(at.place.asked));
            }
        }
        Ok(None)
    }
}

impl Registry {
    /// Whether an image can be pushed here, as far as that shows before anything is changed: the registry is reached and knows us.
    pub async fn admits(&self, reference: &str) -> Result<(), Failure> {
        let at = Destination::new(self, reference).await?;
        at.digest(&at.root()).await.map(|_| ())
    }
}

/// Where an image goes, logged in.
pub(super) struct Destination {
    registry: Registry,
    place: Place,
    login: Login,
}

impl Destination {
    pub(super) async fn new(registry: &Registry, reference: &str) -> Result<Self, Failure> {
        let place = registry.place(reference)?;
        let login = registry.login(&place).await;
        let at = Self { registry: registry.clone(), place, login };
        let client = &at.registry.0.client;
        let token = client.auth(&at.place.asked, &at.login.auth(), RegistryOperation::Push).await;
        // Some registries say of a repository that is not there yet that it may not be read; with the right to write it they do not.
        if let Some(token) = token.map_err(|error| at.failure("", &error))? {
            let token = RegistryTokenType::Bearer(RegistryToken::Token { token });
            client.tokens.insert(&at.place.asked, RegistryOperation::Pull, token).await;
        }
        Ok(at)
    }

    /// The name that people know the image by: its tag, or its digest where it has none.
    fn root(&self) -> Reference {
        let asked = &self.place.asked;
        let name = self.place.named.tag().or(asked.tag()).or(asked.digest()).unwrap_or("latest");
        self.named(name)
    }

    /// All names of the root: a reference may have both.
    fn roots(&self, root: &Document) -> Vec<Reference> {
        let digest = self.place.asked.digest().map(|_| self.by_digest(root));
        let tag = self.place.named.tag().or(self.place.asked.tag()).map(|tag| self.named(tag));
        digest.into_iter().chain(tag).collect()
    }

    fn by_digest(&self, document: &Document) -> Reference {
        self.named(&document.blob.digest)
    }

    /// A digest goes as a tag: the client, where a registry answers without a location, takes it for granted that there is one.
    fn named(&self, name: &str) -> Reference {
        let asked = &self.place.asked;
        Reference::with_tag(asked.registry().into(), asked.repository().into(), name.into())
    }

    /// What a name stands for; nothing where there is none.
    async fn digest(&self, name: &Reference) -> Result<Option<String>, Failure> {
        match self.registry.0.client.fetch_manifest_digest(name, &self.login.auth()).await {
            Ok(digest) => Ok(Some(digest)),
            Err(error) if error::is_absent(&error) => Ok(None),
            // That is how Go's servers answer to plain HTTP where they speak TLS.
            Err(error) if error::is_bad_request(&error) && !self.registry.is_secure() => {
                let host = self.place.asked.registry();
                let failure = self.failed(Kind::Connection, &error::why(&error, &self.login));
                Err(failure.hint(format!("it may want HTTPS: name it {host}, without http://")))
            }
            Err(error) => Err(self.failure("", &error)),
        }
    }

    pub(super) async fn has(&self, blob: &Blob) -> Result<bool, Failure> {
        let found = self.registry.0.client.blob_exists(&self.place.asked, &blob.digest).await;
        found.map_err(|error| self.failure(&format!("blob {}: ", blob.digest), &error))
    }

    /// Whether the registry takes a blob from another of its repositories. Where it does not, for whatever reason, it is sent.
    pub(super) async fn mount(&self, blob: &Blob, from: Option<&Reference>) -> bool {
        let Some(from) = from else { return false };
        self.registry.0.client.mount_blob(&self.place.asked, from, &blob.digest).await.is_ok()
    }

    async fn upload(
        &self,
        blob: &Blob,
        source: impl Future<Output = Result<Chunks, Failure>> + Send + 'static,
        progress: Progress,
    ) -> Result<(), Failure> {
        let sent = Arc::new(AtomicU64::new(0));
        let broken = Arc::new(Mutex::new(None));
        let body = body(source, Arc::clone(&sent), Arc::clone(&broken), progress);
        let client = self.registry.uploads()?;
        client.store_auth_if_needed(self.place.asked.resolve_registry(), &self.login.auth()).await;
        let pushed = client.push_blob_stream(&self.place.asked, body, &blob.digest, Some(blob.size));
        let what = format!("blob {}: ", blob.digest);
        let Some(pushed) = watched(pushed, &sent).await else {
            let reason = format!("{what}nothing moves any more after {} bytes", sent.load(Ordering::Relaxed));
            return Err(self.failed(Kind::Step, &reason).hint(AGAIN));
        };
        // A source that broke is why the registry was left in the middle, whatever it said to that.
        if let Some(failure) = broken.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(failure);
        }
        pushed.map(|_| ()).map_err(|error| self.failure(&what, &error))
    }

    /// Writes the documents of an image whose blobs are there, the root last; gives how many were not there yet.
    pub(super) async fn write(&self, image: &Image) -> Result<usize, Failure> {
        let mut written = 0;
        for document in image.documents() {
            let is_root = document.blob == image.root.blob;
            let names = if is_root { self.roots(document) } else { vec![self.by_digest(document)] };
            for name in names {
                if self.digest(&name).await?.as_deref() != Some(&document.blob.digest) {
                    self.put(&name, document).await?;
                    written += 1;
                }
            }
        }
        Ok(written)
    }

    async fn put(&self, name: &Reference, document: &Document) -> Result<(), Failure> {
        let media_type = document.media_type.parse().map_err(|_| {
            self.failed(Kind::Step, &format!("`{}` is no media type", document.media_type.escape_debug()))
        })?;
        let put = self.registry.0.client.push_manifest_raw(name, document.text.clone(), media_type).await;
        put.map(|_| ()).map_err(|error| self.failure("", &error))
    }

    pub(super) fn failed(&self, kind: Kind, reason: &str) -> Failure {
        let Place { named, asked } = &self.place;
        Failure::new(kind, format!("image {named} cannot be pushed to {}: {reason}", asked.registry()))
    }

    /// What a registry's error means for this image, and what to do about it.
    fn failure(&self, what: &str, error: &OciDistributionError) -> Failure {
        let why = error::why(error, &self.login);
        let host = self.place.asked.registry();
        let (kind, hint) = match error {
            error if error::is_refusal(error) => (Kind::Connection, self.place.login_hint()),
            OciDistributionError::RequestError(request) if request.is_connect() => {
                (Kind::Connection, error::unreached(&why, host))
            }
            _ => (Kind::Step, AGAIN.into()),
        };
        self.failed(kind, &format!("{what}{why}")).hint(hint)
    }
}

const AGAIN: &str = "run the same command again: what is there already is not sent again";

/// A blob's bytes on their way; an error of the source is kept, since the client would hide it in one of its own.
///
/// Each chunk waits for the one behind it: the last goes only once the source has found the digest right, since a registry that has as many
/// bytes as it wants asks for no more.
fn body(
    source: impl Future<Output = Result<Chunks, Failure>> + Send + 'static,
    sent: Arc<AtomicU64>,
    broken: Arc<Mutex<Option<Failure>>>,
    progress: Progress,
) -> impl Stream<Item = Result<Bytes, OciDistributionError>> + Send + 'static {
    let keep = move |failure: Failure| {
        let error = io::Error::other(failure.message.clone());
        broken.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(failure.hint(AGAIN));
        OciDistributionError::IoError(error)
    };
    let opened = async move { Ok::<_, Failure>(source.await?.map_err(lost).boxed()) };
    let chunks: BoxStream<'static, Result<Bytes, Failure>> = stream::once(opened).try_flatten().boxed();
    let late = stream::try_unfold((chunks, None), |(mut chunks, mut held)| async move {
        loop {
            let next = chunks.try_next().await?;
            let ended = next.is_none();
            match std::mem::replace(&mut held, next) {
                Some(chunk) => return Ok(Some((chunk, (chunks, held)))),
                None if ended => return Ok(None),
                None => {}
            }
        }
    });
    late.map_err(keep).inspect_ok(move |chunk| {
        sent.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        progress(chunk.len() as u64);
    })
}

fn lost(error: io::Error) -> Failure {
    Failure::new(Kind::Step, error.to_string())
}

/// Waits for work as long as bytes move.
async fn watched<T>(work: impl Future<Output = T>, sent: &AtomicU64) -> Option<T> {
    let mut work = pin!(work);
    let mut before = sent.load(Ordering::Relaxed);
    loop {
        if let Ok(done) = tokio::time::timeout(SILENCE, &mut work).await {
            return Some(done);
        }
        let now = sent.load(Ordering::Relaxed);
        if now == before {
            return None;
        }
        before = now;
    }
}

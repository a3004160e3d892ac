//! One bundle, or one with those that it is based on, as the place where everything comes from.

use std::collections::BTreeSet;
use std::io;
use std::ops::{ControlFlow, Range};
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::io::AsyncReadExt;
use tokio_util::bytes::Bytes;
use tokio_util::io::{ReaderStream, StreamReader};

use super::{Bundle, Document, File, Image, Packages, Platform};
use crate::artifact::image::{self, Blob};
use crate::artifact::layout::{self, Named};
use crate::artifact::{Item, Resolved, packages};
use crate::failure::{Failure, Kind};
use crate::op::Release;
use crate::remote::Payload;

/// Bundles that hold, together, every blob that they name.
#[derive(Debug, Clone)]
pub struct Bundles(Arc<[Bundle]>);

impl Bundles {
    /// Opens all of them. One that another is based on, and that is missing, is told. Blocks.
    pub fn open(paths: &[PathBuf]) -> Result<Self, Failure> {
        let bundles: Vec<Bundle> = paths.iter().map(|path| Bundle::open(path)).collect::<Result<_, _>>()?;
        let sums: BTreeSet<&str> = bundles.iter().map(|bundle| bundle.sum.as_str()).collect();
        let here: BTreeSet<&Blob> = bundles.iter().flat_map(|bundle| &bundle.manifest.blobs).collect();
        for bundle in &bundles {
            if bundle.manifest.needed().iter().all(|blob| here.contains(blob)) {
                continue;
            }
            let shown = bundle.path.display();
            let missing = bundle.manifest.since.iter().find(|sum| !sums.contains(sum.as_str()));
            let base = missing.map_or_else(String::new, |sum| format!(" (SHA-256 of its bundle.json: {sum})"));
            let message = format!("{shown} holds only what is new since an older bundle, which is needed, too{base}");
            return Err(Failure::new(Kind::Config, message).hint("name both, the newer one first"));
        }
        Ok(Self(bundles.into()))
    }

    /// Reads every byte of all. `progress` is told the bytes so far and in all, and may end it. Blocks. Every damaged entry is named.
    pub fn verify(&self, progress: impl Fn(u64, u64) -> ControlFlow<()>) -> Result<(), Failure> {
        let total = self.0.iter().map(Bundle::length).sum();
        let mut before = 0;
        for bundle in self.0.iter() {
            let damages = bundle.verify(|done, _| progress(before + done, total))?;
            before += bundle.length();
            let lines = damages.iter().map(|damage| match damage.holds.as_str() {
                "" => format!("{} {}", damage.entry, damage.what),
                holds => format!("{} ({holds}) {}", damage.entry, damage.what),
            });
            if let Some(text) = lines.reduce(|first, next| format!("{first}\n{next}")) {
                let message = format!("the bundle {} is damaged", bundle.path.display());
                return Err(Failure::new(Kind::Config, message).detail(text).hint("copy it again, or make it again"));
            }
        }
        Ok(())
    }

    /// All of them.
    pub fn all(&self) -> &[Bundle] {
        &self.0
    }

    /// Every image, each reference once.
    pub fn images(&self) -> Vec<&Image> {
        let mut seen = BTreeSet::new();
        let all = self.0.iter().flat_map(|bundle| &bundle.manifest.images);
        all.filter(|image| seen.insert(&image.reference)).collect()
    }

    /// An image with the texts of its manifests.
    pub async fn tree(&self, image: &Image) -> Result<image::Image, Failure> {
        let document = async |document: &Document| -> Result<image::Document, Failure> {
            let text = self.read(&document.blob).await?.into();
            Ok(image::Document { blob: document.blob.clone(), media_type: document.media_type.clone(), text })
        };
        let mut platforms = Vec::new();
        for platform in &image.platforms {
            let (arch, blobs) = (platform.arch.clone(), platform.blobs.clone());
            platforms.push(image::Platform { arch, manifest: document(&platform.manifest).await?, blobs });
        }
        let root = document(&image.root).await?;
        Ok(image::Image { reference: image.reference.clone(), root, platforms })
    }

    /// Digest and size of a file of the catalogue.
    pub fn resolve(&self, item: &Item, arch: &str) -> Result<Resolved, Failure> {
        let file = self.file(&item.name, &item.version, arch)?;
        Ok(Resolved { sha256: file.blob.hex().to_owned(), size: file.blob.size })
    }

    fn files(&self) -> impl Iterator<Item = &File> {
        self.0.iter().flat_map(|bundle| &bundle.manifest.files)
    }

    fn file(&self, name: &str, version: &str, arch: &str) -> Result<&File, Failure> {
        let fits = |file: &&File| file.name == name && file.version == version && file.arch == arch;
        self.files().find(fits).ok_or_else(|| {
            let others = self.files().filter(|file| file.name == name);
            let others: BTreeSet<String> = others.map(|file| format!("{} for {}", file.version, file.arch)).collect();
            self.lacks(format!("{name} {version} for {arch}"), others)
        })
    }

    /// An image with its platform.
    pub fn image(&self, reference: &str, arch: &str) -> Result<(&Image, &Platform), Failure> {
        let image = self.images().into_iter().find(|image| image.reference == reference);
        let platform = image.and_then(|image| image.platforms.iter().find(|platform| platform.arch == arch));
        image.zip(platform).ok_or_else(|| {
            let architectures = image.into_iter().flat_map(|image| &image.platforms);
            let others = architectures.map(|platform| format!("it for {}", platform.arch)).collect();
            self.lacks(format!("image {reference} for {arch}"), others)
        })
    }

    /// The packages for a release of a distribution; a failure where one of these names is not among them.
    pub fn packages_of(&self, release: &Release, names: &[String]) -> Result<&Packages, Failure> {
        let sets = || self.0.iter().flat_map(|bundle| &bundle.manifest.packages);
        let Some(set) = sets().find(|set| set.release() == *release) else {
            let others = sets().map(|set| format!("those for {}", set.release())).collect();
            let what = format!("packages for {release}, of which {} is needed", names.join(", "));
            let Release { distribution, version, .. } = release;
            return Err(self.lacks(what, others).hint(format!(
                "`mirror save --packages-from USER@HOST` takes them from a machine with {distribution} {version}"
            )));
        };
        let missing: Vec<&str> = names.iter().filter(|name| !set.names.contains(name)).map(String::as_str).collect();
        if missing.is_empty() {
            return Ok(set);
        }
        Err(self.lacks(format!("package {} for {release}", missing.join(", ")), BTreeSet::new()))
    }

    fn lacks(&self, what: String, others: BTreeSet<String>) -> Failure {
        let paths: Vec<String> = self.0.iter().map(|bundle| bundle.path.display().to_string()).collect();
        let others: Vec<String> = others.into_iter().collect();
        let others = if others.is_empty() { String::new() } else { format!("; it has {}", others.join(", ")) };
        Failure::new(Kind::Preflight, format!("the bundle {} has no {what}{others}", paths.join(" with ")))
            .hint("`etcdless mirror save -c cluster.yaml -o FILE` makes one for a description")
    }

    /// The content of a blob.
    pub async fn blob(&self, blob: &Blob) -> Result<Payload, Failure> {
        Ok(Box::new(StreamReader::new(self.range(blob, 0..blob.size)?)))
    }

    /// These bytes of a blob, some at a time.
    pub fn range(&self, blob: &Blob, range: Range<u64>) -> Result<BoxStream<'static, io::Result<Bytes>>, Failure> {
        let parts = self.0.iter().find_map(|bundle| bundle.blob(blob, range.clone()));
        parts.ok_or_else(|| Failure::new(Kind::Internal, format!("no bundle has {}", blob.digest)))
    }

    /// The content of a small blob.
    pub async fn read(&self, blob: &Blob) -> Result<Vec<u8>, Failure> {
        let mut content = Vec::new();
        let read = self.blob(blob).await?.read_to_end(&mut content).await;
        read.map_err(|error| Failure::new(Kind::Step, format!("a bundle cannot be read: {error}")))?;
        Ok(content)
    }

    /// The content of a file of the catalogue.
    pub async fn open_file(&self, name: &str, version: &str, arch: &str) -> Result<Payload, Failure> {
        self.blob(&self.file(name, version, arch)?.blob).await
    }

    /// An image as an OCI layout that containerd imports, without the blobs that it `has` already.
    pub fn open_image(&self, reference: &str, arch: &str, has: impl Fn(&Blob) -> bool) -> Result<Payload, Failure> {
        let (_, platform) = self.image(reference, arch)?;
        let manifest = &platform.manifest;
        let named = Named { reference, arch: Some(arch), media_type: &manifest.media_type, manifest: &manifest.blob };
        let front = layout::front(&[named]).map(|(name, text)| (name.to_owned(), text));
        let blobs = platform.blobs.iter().filter(|blob| !has(blob));
        let blobs = std::iter::once(&manifest.blob).chain(blobs).map(|blob| (blob.path(), blob.clone())).collect();
        Ok(self.archive(front.into(), blobs))
    }

    /// A folder that apt takes for a repository: the index, and the archives with these digests.
    pub async fn open_packages(&self, set: &Packages, digests: &BTreeSet<String>) -> Result<Payload, Failure> {
        let wanted = set.files.iter().filter(|package| digests.contains(package.blob.hex()));
        let archives = wanted.map(|package| (packages::archive_name(&package.blob), package.blob.clone()));
        let blobs = std::iter::once(("Packages".to_owned(), set.index.clone())).chain(archives).collect();
        Ok(self.archive(Vec::new(), blobs))
    }

    /// A tar archive of small files and of blobs under these names, written as it is read.
    fn archive(&self, small: Vec<(String, Vec<u8>)>, blobs: Vec<(String, Blob)>) -> Payload {
        let bundles = self.clone();
        let small = stream::iter(small).map(|(name, text)| Ok(entry(&name, text.len() as u64, io::Cursor::new(text))));
        let blobs = stream::iter(blobs).then(move |(name, blob)| {
            let bundles = bundles.clone();
            async move {
                let content = bundles.blob(&blob).await.map_err(|failure| io::Error::other(failure.message))?;
                Ok(entry(&name, blob.size, content))
            }
        });
        let end: Payload = Box::new(io::Cursor::new(layout::trailer()));
        let parts = small.chain(blobs).chain(stream::once(async { Ok::<_, io::Error>(end) }));
        Box::new(StreamReader::new(parts.map_ok(ReaderStream::new).try_flatten().boxed()))
    }
}

/// A file with header and padding.
fn entry(name: &str, size: u64, content: impl tokio::io::AsyncRead + Send + Unpin + 'static) -> Payload {
    let header = io::Cursor::new(layout::header(name, size));
    Box::new(header.chain(content).chain(io::Cursor::new(layout::padding(size))))
}

//! From what is needed to a manifest, and from a manifest to blobs in the store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{StreamExt, TryStreamExt, stream};

use super::{Document, FORMAT, File, Image, Manifest, Package, Packages, Platform};
use crate::artifact::image::{self, Architectures, Blob};
use crate::artifact::packages::{self, Archive};
use crate::artifact::registry::Registry;
use crate::artifact::source::{self, mirrored};
use crate::artifact::store::{Opened, Store};
use crate::artifact::{Item, download};
use crate::config::Artifacts;
use crate::failure::Failure;
use crate::op::Release;

/// How many questions and transfers there are at a time.
const SIDE_BY_SIDE: usize = 4;

/// What the sources said of everything that is needed.
#[derive(Debug, Clone, Default)]
pub struct Gathered {
    /// Files of releases.
    pub files: Vec<File>,
    /// Images, with the texts of their manifests.
    pub images: Vec<image::Image>,
    /// Packages, with the names that were asked for.
    pub packages: Vec<(Release, Vec<String>, Vec<Archive>)>,
}

/// How much a download moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moved {
    /// Blobs that were fetched, whole or in part.
    pub fetched: usize,
    /// Bytes that came for them.
    pub bytes: u64,
    /// Blobs that were in the store.
    pub kept: usize,
    /// Their bytes.
    pub kept_bytes: u64,
}

impl Gathered {
    /// Asks the sources for digests and sizes of files, and the registry for manifests of images. Of files whose source does not tell a size,
    /// the size is 0.
    pub async fn ask(
        artifacts: &Artifacts,
        files: &BTreeSet<(Item, String)>,
        images: &BTreeSet<String>,
        architectures: &Architectures,
    ) -> Result<Self, Failure> {
        let registry = &Registry::of(artifacts)?;
        let images = stream::iter(images).map(|reference| registry.image(reference, architectures));
        let images = images.buffered(SIDE_BY_SIDE).try_collect();
        let (files, images) = tokio::try_join!(ask_files(artifacts, files), images)?;
        Ok(Self { files, images, packages: Vec::new() })
    }

    /// Fetches everything into the store that is not in it or `elsewhere`, and says what a bundle of it holds. `progress` is told the bytes so
    /// far and in all.
    pub async fn fetch(
        &self,
        artifacts: &Artifacts,
        store: &Store,
        elsewhere: &BTreeSet<Blob>,
        progress: impl Fn(u64, u64),
    ) -> Result<(Manifest, Moved), Failure> {
        let registry = &Registry::of(artifacts)?;
        let all = self.transfers(artifacts);
        let wanted: Vec<_> = all.into_values().filter(|transfer| !elsewhere.contains(&transfer.blob)).collect();
        let total = wanted.iter().map(|transfer| transfer.blob.size).sum();
        let (done, progress) = (AtomicU64::new(0), &progress);
        let outcomes = stream::iter(&wanted).map(|transfer| {
            let (done, before) = (&done, AtomicU64::new(0));
            let told = move |now: u64| {
                let more = now.saturating_sub(before.swap(now, Ordering::Relaxed));
                progress(done.fetch_add(more, Ordering::Relaxed) + more, total);
            };
            async move {
                let fetched =
                    store.fetch(&transfer.blob, &transfer.what, |from| transfer.open(registry, from), &told).await?;
                told(fetched.blob.size);
                Ok(fetched)
            }
        });
        let fetched: Vec<_> = outcomes.buffered(SIDE_BY_SIDE).try_collect().await?;
        let mut moved = Moved::default();
        for fetched in &fetched {
            if fetched.moved > 0 {
                moved.fetched += 1;
                moved.bytes += fetched.moved;
            } else {
                moved.kept += 1;
                moved.kept_bytes += fetched.blob.size;
            }
        }
        let sizes: BTreeMap<&str, u64> =
            fetched.iter().map(|fetched| (fetched.blob.digest.as_str(), fetched.blob.size)).collect();
        Ok((self.manifest(store, &sizes, elsewhere)?, moved))
    }

    /// Every blob once but for manifests, which are at hand.
    pub fn blobs(&self) -> BTreeSet<&Blob> {
        let images = self.images.iter().flat_map(image::Image::blobs);
        let archives = self.packages.iter().flat_map(|(_, _, archives)| archives).map(|archive| &archive.blob);
        self.files.iter().map(|file| &file.blob).chain(images).chain(archives).collect()
    }

    /// Every blob once, by its digest, with where it comes from. Manifests are at hand already.
    fn transfers(&self, artifacts: &Artifacts) -> BTreeMap<String, Transfer> {
        let files = self.files.iter().map(|file| Transfer {
            what: format!("{} {} for {}", file.name, file.version, file.arch),
            origin: Origin::Url(mirrored(artifacts, &file.url)),
            blob: file.blob.clone(),
        });
        let images = self.images.iter().flat_map(|image| {
            image.blobs().into_iter().map(|blob| Transfer {
                what: format!("blob {} of {}", blob.digest, image.reference),
                origin: Origin::Image(image.reference.clone()),
                blob: blob.clone(),
            })
        });
        let packages = self.packages.iter().flat_map(|(_, _, archives)| archives).map(|archive| Transfer {
            what: format!("package {}", archive.file),
            origin: Origin::Url(archive.url.clone()),
            blob: archive.blob.clone(),
        });
        files.chain(images).chain(packages).map(|transfer| (transfer.blob.digest.clone(), transfer)).collect()
    }

    /// What a bundle holds. `sizes` are those that became known while blobs were fetched.
    fn manifest(
        &self,
        store: &Store,
        sizes: &BTreeMap<&str, u64>,
        elsewhere: &BTreeSet<Blob>,
    ) -> Result<Manifest, Failure> {
        let mut files = self.files.clone();
        for file in &mut files {
            file.blob.size = sizes.get(file.blob.digest.as_str()).copied().unwrap_or(file.blob.size);
        }
        files.sort();
        let mut images = Vec::new();
        for image in &self.images {
            for document in image.documents() {
                store.put(&document.text)?;
            }
            images.push(Image::from(image));
        }
        images.sort();
        let mut sets = Vec::new();
        for (release, names, archives) in &self.packages {
            let index = store.put(packages::index(archives).as_bytes())?;
            let Release { distribution, version, arch } = release.clone();
            let package = |Archive { file, url, blob, .. }: &Archive| Package {
                file: file.clone(),
                url: url.clone(),
                blob: blob.clone(),
            };
            let files = archives.iter().map(package).collect();
            sets.push(Packages { distribution, version, arch, names: names.clone(), index, files });
        }
        sets.sort();
        let mut manifest =
            Manifest { bundle: FORMAT.into(), files, images, packages: sets, blobs: Vec::new(), since: Vec::new() };
        manifest.blobs = manifest.needed();
        manifest.blobs.retain(|blob| !elsewhere.contains(blob));
        Ok(manifest)
    }
}

async fn ask_files(artifacts: &Artifacts, files: &BTreeSet<(Item, String)>) -> Result<Vec<File>, Failure> {
    let mut found = Vec::new();
    let architectures: BTreeSet<&String> = files.iter().map(|(_, arch)| arch).collect();
    for arch in architectures {
        let items: Vec<Item> = files.iter().filter(|(_, of)| of == arch).map(|(item, _)| item.clone()).collect();
        // Two versions of one file have one name.
        let resolved = source::resolve_here(artifacts, &items).await?;
        for (Item { name, version, url, checksum_url }, resolved) in items.into_iter().zip(resolved) {
            let blob = Blob { digest: format!("sha256:{}", resolved.sha256), size: resolved.size };
            found.push(File { name, version, arch: arch.clone(), url, checksum_url, blob });
        }
    }
    Ok(found)
}

/// A blob on its way into the store.
struct Transfer {
    what: String,
    origin: Origin,
    blob: Blob,
}

/// Where a blob comes from.
enum Origin {
    Url(String),
    Image(String),
}

impl Transfer {
    async fn open(&self, registry: &Registry, from: u64) -> Result<Opened, Failure> {
        match &self.origin {
            Origin::Url(url) => download::range(url, &self.what, from).await,
            Origin::Image(reference) => Ok(Opened { from, chunks: registry.blob(reference, &self.blob, from).await? }),
        }
    }
}

impl From<&image::Image> for Image {
    fn from(image: &image::Image) -> Self {
        let document = |document: &image::Document| Document {
            media_type: document.media_type.clone(),
            blob: document.blob.clone(),
        };
        let platforms = image.platforms.iter().map(|platform| Platform {
            arch: platform.arch.clone(),
            manifest: document(&platform.manifest),
            blobs: platform.blobs.clone(),
        });
        Self { reference: image.reference.clone(), root: document(&image.root), platforms: platforms.collect() }
    }
}

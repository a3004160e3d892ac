//! Reading a bundle: what it says of itself, whether every byte is as it says, and its blobs.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::ops::{ControlFlow, Range};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use sha2::{Digest, Sha256};
use tokio_util::bytes::Bytes;

use super::archive::{self, Content, Entry, MANIFEST, SUM, SUM_SIZE};
use super::{FORMAT, Manifest};
use crate::artifact::image::Blob;
use crate::artifact::layout;
use crate::failure::{Failure, Kind};
use crate::op;

/// Bytes that are read and hashed at a time.
const CHUNK: usize = 1 << 20;
/// Bytes of a blob that are read at a time, for each of many that are read at once.
const PART: u64 = 256 << 10;
/// The largest manifest that is read, in bytes; a real one has some hundred KiB.
const LARGEST: u64 = 64 << 20;

/// A bundle whose manifest was read.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// Where it is.
    pub path: PathBuf,
    /// What it holds.
    pub manifest: Manifest,
    /// SHA-256 of the manifest, which other bundles name it by.
    pub sum: String,
    entries: Vec<Entry>,
    /// The archive itself: another file of that name does not take its place while blobs are read.
    file: Arc<File>,
}

/// An entry whose bytes are not what the manifest says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The entry's name in the archive.
    pub entry: String,
    /// What it is to people, where it is a blob: `kubelet v1.34.4 amd64`, `image registry.k8s.io/pause:3.10.1`.
    pub holds: String,
    /// What is wrong.
    pub what: &'static str,
}

impl Bundle {
    /// Reads the manifest. Blocks. What is no bundle, has a damaged manifest or ends early is told apart.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let shown = path.display();
        let failure = |message: String| Failure::new(Kind::Config, message);
        let unreadable = |error: io::Error| failure(format!("the bundle {shown} cannot be read: {error}"));
        let foreign =
            || failure(format!("{shown} is not a bundle of etcdless")).hint("`etcdless mirror save -o FILE` makes one");
        let damaged = |entry: &str, what: &str| {
            failure(format!("the bundle {shown} is damaged: {entry} {what}")).hint("copy it again, or make it again")
        };
        let mut file = File::open(path).map_err(unreadable)?;
        let length = file.metadata().map_err(unreadable)?.len();
        let truncated = || {
            failure(format!("the bundle {shown} is truncated: it ends after {length} bytes, within {MANIFEST}"))
                .hint("copy it again")
        };
        let mut header = [0; layout::BLOCK as usize];
        file.read_exact(&mut header).map_err(|error| ended(error, foreign, unreadable))?;
        let is_bundle = header[..] == layout::header(SUM, SUM_SIZE);
        let mut sum = [0; layout::BLOCK as usize];
        let early = || if is_bundle { truncated() } else { foreign() };
        file.read_exact(&mut sum).map_err(|error| ended(error, early, unreadable))?;
        let sum = &sum[..SUM_SIZE as usize];
        if !is_bundle {
            // One wrong bit in the first block of a bundle is not another kind of file.
            let like = sum.ends_with(format!("  {MANIFEST}\n").as_bytes());
            return Err(if like { damaged(SUM, "has a wrong header") } else { foreign() });
        }
        file.read_exact(&mut header).map_err(|error| ended(error, truncated, unreadable))?;
        let digits = std::str::from_utf8(&header[124..135]).ok();
        let size = digits.and_then(|digits| u64::from_str_radix(digits, 8).ok()).filter(|size| *size <= LARGEST);
        let size = size.filter(|size| header[..] == layout::header(MANIFEST, *size));
        let size = size.ok_or_else(|| damaged(MANIFEST, "has a wrong header"))?;
        let mut text = vec![0; size as usize];
        file.read_exact(&mut text).map_err(|error| ended(error, truncated, unreadable))?;
        if archive::sum(&text).as_bytes() != sum {
            return Err(damaged(MANIFEST, &format!("has not the SHA-256 that {SUM} says, or {SUM} itself is wrong")));
        }
        let manifest: Manifest = serde_json::from_slice(&text)
            .ok()
            .filter(|manifest: &Manifest| manifest.bundle == FORMAT)
            .ok_or_else(|| {
                failure(format!("{shown} was made by another version of etcdless, which writes another form"))
                    .hint("use the version that made it, or make it again")
            })?;
        let entries = archive::entries(&manifest, &text);
        let expected = archive::length(&entries);
        if length < expected {
            let message = format!("the bundle {shown} is truncated: it has {length} of {expected} bytes");
            return Err(failure(message).hint("copy it again"));
        }
        if length > expected {
            return Err(damaged("the archive", &format!("goes on for {} bytes after its end", length - expected)));
        }
        Ok(Self { path: path.to_owned(), manifest, sum: op::sha256(&text), entries, file: Arc::new(file) })
    }

    /// The archive's length in bytes.
    pub fn length(&self) -> u64 {
        archive::length(&self.entries)
    }

    /// How many entries the archive has.
    pub fn entry_count(&self) -> usize {
        self.entries.len()
    }

    /// Reads every byte and compares it. `progress` is told the bytes so far and in all, and may end it. Blocks.
    pub fn verify(&self, progress: impl Fn(u64, u64) -> ControlFlow<()>) -> Result<Vec<Damage>, Failure> {
        let unreadable = |error: io::Error| {
            Failure::new(Kind::Config, format!("the bundle {} cannot be read: {error}", self.path.display()))
        };
        let total = self.length();
        let mut file = BufReader::with_capacity(CHUNK, File::open(&self.path).map_err(unreadable)?);
        let mut damages = Vec::new();
        for entry in &self.entries {
            let told = |done| match progress(entry.at + done, total) {
                ControlFlow::Continue(()) => Ok(()),
                ControlFlow::Break(()) => Err(io::ErrorKind::Interrupted.into()),
            };
            if let Some(what) = compare(&mut file, entry, told).map_err(unreadable)? {
                damages.push(Damage { entry: entry.path.clone(), holds: self.holds(entry), what });
            }
        }
        let mut trailer = Vec::new();
        file.read_to_end(&mut trailer).map_err(unreadable)?;
        if trailer != layout::trailer() {
            damages.push(Damage { entry: "the archive's end".into(), holds: String::new(), what: "is not empty" });
        }
        Ok(damages)
    }

    /// These bytes of a blob, if this archive has it.
    pub fn blob(&self, blob: &Blob, range: Range<u64>) -> Option<BoxStream<'static, io::Result<Bytes>>> {
        let place = self.manifest.blobs.binary_search(blob).ok()?;
        let at = self.entries[self.entries.len() - self.manifest.blobs.len() + place].at;
        let end = at + range.end.min(blob.size);
        let parts = stream::try_unfold((self.file.clone(), at + range.start), move |(file, at)| async move {
            if at >= end {
                return Ok(None);
            }
            let next = (at + PART).min(end);
            let read = tokio::task::spawn_blocking(move || {
                let mut part = vec![0; (next - at) as usize];
                file.read_exact_at(&mut part, at).map(|()| (Bytes::from(part), (file, next)))
            });
            read.await.unwrap_or_else(|ended| Err(io::Error::other(ended))).map(Some)
        });
        Some(parts.boxed())
    }

    /// What a blob is to people.
    fn holds(&self, entry: &Entry) -> String {
        let Content::Blob(blob) = &entry.content else { return String::new() };
        let Manifest { files, images, packages, .. } = &self.manifest;
        let file = files.iter().find(|file| file.blob == *blob);
        let file = file.map(|file| format!("{} {} {}", file.name, file.version, file.arch));
        let holds = |image: &&super::Image| {
            image.root.blob == *blob
                || image
                    .platforms
                    .iter()
                    .any(|platform| platform.manifest.blob == *blob || platform.blobs.contains(blob))
        };
        let image = || images.iter().find(holds).map(|image| format!("image {}", image.reference));
        let package = || {
            let mut archives = packages.iter().flat_map(|set| &set.files);
            archives.find(|package| package.blob == *blob).map(|package| format!("package {}", package.file))
        };
        let index = || packages.iter().any(|set| set.index == *blob).then(|| "the index of packages".to_owned());
        file.or_else(image).or_else(package).or_else(index).unwrap_or_default()
    }
}

/// An early end is one thing, a disk that cannot be read another.
fn ended(error: io::Error, early: impl Fn() -> Failure, unreadable: impl Fn(io::Error) -> Failure) -> Failure {
    if error.kind() == io::ErrorKind::UnexpectedEof { early() } else { unreadable(error) }
}

/// What is wrong with an entry, if anything is.
fn compare(
    file: &mut impl Read,
    entry: &Entry,
    told: impl Fn(u64) -> io::Result<()>,
) -> io::Result<Option<&'static str>> {
    let mut header = vec![0; layout::BLOCK as usize];
    file.read_exact(&mut header)?;
    let (mut hash, mut left) = (Sha256::new(), entry.size);
    let mut chunk = vec![0; usize::try_from(left).unwrap_or(CHUNK).min(CHUNK)];
    while left > 0 {
        let count = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        file.read_exact(&mut chunk[..count])?;
        hash.update(&chunk[..count]);
        left -= count as u64;
        told(entry.size - left)?;
    }
    let mut padding = entry.padding();
    file.read_exact(&mut padding)?;
    let expected = match &entry.content {
        Content::Text(text) => op::sha256(text),
        Content::Blob(blob) => blob.hex().to_owned(),
    };
    Ok(match () {
        () if op::hex(&hash.finalize()) != expected => Some("has other bytes than its SHA-256 says"),
        () if header != entry.header() => Some("has a wrong header"),
        () if padding != entry.padding() => Some("is followed by bytes that do not belong there"),
        () => None,
    })
}

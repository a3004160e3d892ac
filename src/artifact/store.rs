//! What was downloaded, by digest, in a folder of the user's cache: what is there is not fetched again, and what broke off goes on where it
//! was.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use etcetera::BaseStrategy;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use sha2::{Digest, Sha256};
use tokio_util::bytes::Bytes;

use super::image::Blob;
use crate::failure::{Failure, Kind};
use crate::op;

/// How often a transfer that brings nothing more is begun again.
const TRIES: u32 = 4;

/// A folder of blobs.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

/// A transfer that has begun.
pub struct Opened {
    /// The first byte that comes: what was asked for, or 0 where the source knows no ranges.
    pub from: u64,
    /// What comes.
    pub chunks: BoxStream<'static, io::Result<Bytes>>,
}

/// What came of a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The blob with its true size.
    pub blob: Blob,
    /// Bytes that were moved for it; 0 where it was there.
    pub moved: u64,
}

impl Store {
    /// Opens, or makes, a store; without a folder, the one in the user's cache.
    pub fn open(folder: Option<&Path>) -> Result<Self, Failure> {
        let root = match folder {
            Some(folder) => folder.to_owned(),
            None => {
                let base = etcetera::choose_base_strategy().map_err(|_| {
                    Failure::new(Kind::Usage, "there is no home folder for downloads")
                        .hint("name a folder: --cache DIR")
                })?;
                base.cache_dir().join("etcdless")
            }
        };
        let store = Self { root };
        fs::create_dir_all(store.root.join("blobs/sha256")).map_err(|error| store.unusable(&error))?;
        Ok(store)
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a blob is kept.
    pub fn path(&self, blob: &Blob) -> PathBuf {
        self.root.join(blob.path())
    }

    /// The blob with its true size, if it is here whole.
    pub fn find(&self, blob: &Blob) -> Option<Blob> {
        let size = fs::metadata(self.path(blob)).ok()?.len();
        (blob.size == 0 || blob.size == size).then(|| Blob { digest: blob.digest.clone(), size })
    }

    /// Keeps bytes that are at hand.
    pub fn put(&self, content: &[u8]) -> Result<Blob, Failure> {
        let blob = Blob::of(content);
        if self.find(&blob).is_none() {
            let mut part = tempfile::NamedTempFile::new_in(&self.root).map_err(|error| self.unusable(&error))?;
            part.write_all(content).map_err(|error| self.unusable(&error))?;
            part.persist(self.path(&blob)).map_err(|error| self.unusable(&error.error))?;
        }
        Ok(blob)
    }

    /// The content of a small blob.
    pub fn read(&self, blob: &Blob) -> Result<Vec<u8>, Failure> {
        fs::read(self.path(blob)).map_err(|error| self.unusable(&error))
    }

    /// Removes a blob that is not what its name says.
    pub fn forget(&self, blob: &Blob) {
        // What cannot be removed is found wrong again.
        let _ = fs::remove_file(self.path(blob));
    }

    /// Fetches a blob, unless it is here. `what` is for people; `open` begins the transfer at a byte, and `progress` is told the bytes so far.
    ///
    /// A blob of size 0 may have any. A transfer that breaks off is begun again where it was; one that was broken off by the end of the
    /// program goes on at the next run. What is not what the digest says is removed.
    pub async fn fetch<F>(
        &self,
        blob: &Blob,
        what: &str,
        open: impl Fn(u64) -> F,
        progress: impl Fn(u64),
    ) -> Result<Fetched, Failure>
    where
        F: Future<Output = Result<Opened, Failure>>,
    {
        if let Some(blob) = self.find(blob) {
            return Ok(Fetched { blob, moved: 0 });
        }
        let mut part = Part::open(self, blob, what)?;
        // Another run may have brought it until its lock was free.
        if let Some(blob) = self.find(blob) {
            return Ok(Fetched { blob, moved: 0 });
        }
        let mut moved = 0;
        let mut tries = 0;
        loop {
            let before = part.size;
            let Opened { from, mut chunks } = open(part.size).await?;
            part.go_on_at(from).map_err(|error| self.unusable(&error))?;
            let broken = loop {
                match chunks.next().await {
                    Some(Ok(chunk)) => {
                        part.add(&chunk).map_err(|error| self.unusable(&error))?;
                        moved += chunk.len() as u64;
                        progress(part.size);
                    }
                    Some(Err(error)) => break Some(error),
                    None => break None,
                }
            };
            match broken {
                None if part.is_whole(blob) => {
                    let blob = part.keep(self, blob).map_err(|error| self.unusable(&error))?;
                    return Ok(Fetched { blob, moved });
                }
                // What was here from an earlier run may be what is wrong.
                None if from > 0 => part.go_on_at(0).map_err(|error| self.unusable(&error))?,
                None => {
                    let (size, actual) = (part.size, part.digest());
                    part.remove();
                    let message = format!("{what} is not what it should be: {size} bytes with digest {actual}");
                    return Err(Failure::new(Kind::Step, message)
                        .detail(format!("expected {} with {} bytes", blob.digest, blob.size))
                        .hint("ask whoever keeps the source; nothing of it was kept"));
                }
                Some(error) => {
                    tries = if part.size > before { 1 } else { tries + 1 };
                    if tries == TRIES {
                        return Err(Failure::new(
                            Kind::Step,
                            format!("{what} broke off at byte {}: {error}", part.size),
                        )
                        .hint("run the same command again: it goes on where this ended"));
                    }
                    tokio::time::sleep(Duration::from_millis(250 << tries)).await;
                }
            }
        }
    }

    fn unusable(&self, error: &io::Error) -> Failure {
        Failure::new(Kind::Step, format!("downloads cannot be kept in {}: {error}", self.root.display()))
            .hint("name another folder: --cache DIR")
    }
}

/// A blob on its way, locked while this program writes it.
struct Part {
    path: PathBuf,
    file: File,
    hash: Sha256,
    size: u64,
}

impl Part {
    /// Opens what an earlier run left, or a new file.
    fn open(store: &Store, blob: &Blob, what: &str) -> Result<Self, Failure> {
        let path = store.path(blob).with_extension("part");
        let opened = OpenOptions::new().read(true).append(true).create(true).open(&path);
        let file = opened.map_err(|error| store.unusable(&error))?;
        if file.try_lock().is_err() {
            return Err(Failure::new(Kind::Locked, format!("another run downloads {what} at the moment"))
                .hint("wait until it is done, or use a folder of your own: --cache DIR"));
        }
        let mut part = Self { path, file, hash: Sha256::new(), size: 0 };
        part.hash_again().map_err(|error| store.unusable(&error))?;
        if blob.size > 0 && part.size >= blob.size {
            part.go_on_at(0).map_err(|error| store.unusable(&error))?;
        }
        Ok(part)
    }

    fn hash_again(&mut self) -> io::Result<()> {
        let mut chunk = vec![0; 1 << 20];
        self.file.seek(SeekFrom::Start(0))?;
        (self.hash, self.size) = (Sha256::new(), 0);
        loop {
            let count = self.file.read(&mut chunk)?;
            if count == 0 {
                return Ok(());
            }
            self.hash.update(&chunk[..count]);
            self.size += count as u64;
        }
    }

    /// Drops what is behind a byte.
    fn go_on_at(&mut self, from: u64) -> io::Result<()> {
        if from == self.size {
            return Ok(());
        }
        self.file.set_len(from)?;
        self.hash_again()
    }

    fn add(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.file.write_all(chunk)?;
        self.hash.update(chunk);
        self.size += chunk.len() as u64;
        Ok(())
    }

    fn digest(&self) -> String {
        format!("sha256:{}", op::hex(&self.hash.clone().finalize()))
    }

    fn is_whole(&self, blob: &Blob) -> bool {
        (blob.size == 0 || blob.size == self.size) && self.digest() == blob.digest
    }

    fn keep(&self, store: &Store, blob: &Blob) -> io::Result<Blob> {
        self.file.sync_data()?;
        fs::rename(&self.path, store.path(blob))?;
        Ok(Blob { digest: blob.digest.clone(), size: self.size })
    }

    fn remove(&self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used)]

    use std::cell::RefCell;

    use futures_util::stream;

    use super::*;

    const CONTENT: &[u8] = b"0123456789abcdef";

    /// A source of `content` that breaks off after `at` bytes of each transfer, and notes where each began.
    fn source(content: &[u8], at: usize, begun: &RefCell<Vec<u64>>, from: u64) -> Opened {
        begun.borrow_mut().push(from);
        let rest = content[from as usize..].to_vec();
        let cut = rest.len() > at;
        let mut chunks = vec![Ok(Bytes::from(rest[..at.min(rest.len())].to_vec()))];
        chunks.extend(cut.then(|| Err(io::Error::other("cut"))));
        Opened { from, chunks: stream::iter(chunks).boxed() }
    }

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(Some(folder.path())).unwrap();
        (folder, store)
    }

    #[tokio::test(start_paused = true)]
    async fn a_transfer_goes_on_where_it_broke_off() {
        let (_folder, store) = store();
        let (blob, begun) = (Blob::of(CONTENT), RefCell::default());
        let open = |from| std::future::ready(Ok(source(CONTENT, 7, &begun, from)));
        let fetched = store.fetch(&blob, "it", open, |_| {}).await.unwrap();
        assert_eq!((fetched.moved, begun.take()), (16, vec![0, 7, 14]));
        assert_eq!(store.read(&blob).unwrap(), CONTENT);
        let unknown = Blob { size: 0, ..blob.clone() };
        let again = store.fetch(&unknown, "it", |_| async { panic!("it is here") }, |_| {}).await.unwrap();
        assert_eq!(again, Fetched { blob, moved: 0 });
    }

    #[tokio::test(start_paused = true)]
    async fn a_transfer_that_brings_nothing_more_is_given_up_and_taken_up_later() {
        let (_folder, store) = store();
        let (blob, begun) = (Blob::of(CONTENT), RefCell::default());
        let open = |from| std::future::ready(Ok(source(CONTENT, if from == 0 { 5 } else { 0 }, &begun, from)));
        let failure = store.fetch(&blob, "it", open, |_| {}).await.unwrap_err();
        assert_eq!(failure.message, "it broke off at byte 5: cut");
        assert_eq!(begun.take(), [0, 5, 5, 5]);
        let open = |from| std::future::ready(Ok(source(CONTENT, 99, &begun, from)));
        assert_eq!(store.fetch(&blob, "it", open, |_| {}).await.unwrap().moved, 11);
    }

    #[tokio::test]
    async fn what_is_wrong_is_not_kept() {
        let (folder, store) = store();
        let (blob, begun) = (Blob::of(CONTENT), RefCell::default());
        let wrong = b"0123456789abcdeX";
        // What an earlier run left is as wrong as can be: it is fetched from the start before the source is blamed.
        fs::write(store.path(&blob).with_extension("part"), b"XX").unwrap();
        let open = |from| std::future::ready(Ok(source(CONTENT, 99, &begun, from)));
        assert_eq!(store.fetch(&blob, "it", open, |_| {}).await.unwrap().moved, 14 + 16);
        store.forget(&blob);
        let open = |from| std::future::ready(Ok(source(wrong, 99, &begun, from)));
        let failure = store.fetch(&blob, "it", open, |_| {}).await.unwrap_err();
        assert!(
            failure.message.starts_with("it is not what it should be: 16 bytes with digest sha256:"),
            "{failure:?}"
        );
        assert_eq!(fs::read_dir(folder.path().join("blobs/sha256")).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn two_runs_do_not_write_one_file() {
        let (_folder, store) = store();
        let blob = Blob::of(CONTENT);
        let _other = Part::open(&store, &blob, "it").unwrap();
        let failure = store.fetch(&blob, "it", |_| async { panic!("locked") }, |_| {}).await.unwrap_err();
        assert_eq!(failure.kind, Kind::Locked);
    }
}

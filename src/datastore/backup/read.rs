//! Reading a backup: every byte is compared before anything of it is used.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use super::crypt::MAGIC;
use super::{Entry, FORMAT, HEAD, HEAD_SUM, Head, Key, MANIFEST, MANIFEST_SUM, MODE, Manifest};
use super::{file_entry, next, rows, sum};
use crate::artifact::layout;
use crate::datastore::copy::Row;
use crate::failure::{Failure, Kind};
use crate::op;

/// Bytes that are read and hashed at a time.
const CHUNK: usize = 1 << 20;

/// The largest entry that is kept whole, in bytes: texts, files, and rows as they are used.
const LARGEST: u64 = 64 << 20;

/// A backup that is whole: every byte was read, and is what it says.
#[derive(Debug)]
pub struct Backup {
    /// Where it is.
    pub path: PathBuf,
    /// Whose it is.
    pub head: Head,
    /// What it holds.
    pub manifest: Manifest,
    /// SHA-256 of the manifest: it tells this backup from any other.
    pub sum: String,
    /// Its length in bytes.
    pub length: u64,
    key: Option<Key>,
    files: BTreeMap<String, Vec<u8>>,
}

/// Whether a file is one that only a key opens.
pub fn is_encrypted(path: &Path) -> Result<bool, Failure> {
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAGIC.len() as u64).read_to_end(&mut start));
    read.map_err(|error| Failure::new(Kind::Config, format!("the backup {} cannot be read: {error}", path.display())))?;
    Ok(start == MAGIC)
}

impl Backup {
    /// Reads every byte. `progress` is told the bytes so far and in all. Blocks. What is damaged, ends early or does not open is refused with
    /// the name of the entry.
    pub fn open(path: &Path, key: Option<Key>, progress: impl Fn(u64, u64)) -> Result<Self, Failure> {
        let mut walk = Walk::begin(path, key.as_ref())?;
        let (mut head, mut head_sum, mut manifest) = (None, Vec::new(), None);
        let (mut files, mut seen) = (BTreeMap::new(), Vec::new());
        while let Some(found) = walk.entry(head.as_ref())? {
            let (mut content, mut hash) = (Vec::new(), Sha256::new());
            let kept = !found.name.starts_with("stores/");
            walk.content(&found, |part| {
                hash.update(part);
                if kept {
                    content.extend_from_slice(part);
                }
            })?;
            let found = Entry { sha256: op::hex(&hash.finalize()), ..found };
            match found.name.as_str() {
                HEAD_SUM => head_sum = content,
                HEAD => head = Some(walk.text::<Head>(&content, &head_sum, HEAD, HEAD_SUM)?),
                MANIFEST => manifest = Some(content),
                MANIFEST_SUM => {
                    let text = manifest.take().unwrap_or_default();
                    let read = walk.text::<Manifest>(&text, &content, MANIFEST, MANIFEST_SUM)?;
                    walk.end()?;
                    let head = head.ok_or_else(|| walk.damaged(HEAD, "is missing"))?;
                    walk.compare(&head, &read, &seen)?;
                    progress(walk.length, walk.length);
                    let (path, length, sum) = (path.to_owned(), walk.length, op::sha256(&text));
                    return Ok(Self { path, head, manifest: read, sum, length, key, files });
                }
                name => {
                    if let Some(path) = name.strip_prefix("files") {
                        files.insert(path.to_owned(), content);
                    }
                }
            }
            if found.name != MANIFEST {
                seen.push(found);
            }
            progress(walk.done, walk.length);
        }
        Err(walk.damaged(MANIFEST_SUM, "is missing"))
    }

    /// What a file of the host holds.
    pub fn file(&self, path: &str) -> Option<&[u8]> {
        self.files.get(path).map(Vec::as_slice)
    }

    /// Passes the rows of a store on, an entry's at a time; each is compared once more before. `false` ends it. Blocks.
    pub fn rows(&self, store: &str, mut each: impl FnMut(Vec<Row>) -> bool) -> Result<(), Failure> {
        let mut walk = Walk::begin(&self.path, self.key.as_ref())?;
        let mut expected = self.manifest.entries.iter();
        while let Some(found) = walk.entry(Some(&self.head))? {
            let mut content = Vec::new();
            let wanted = found.name.starts_with(&format!("stores/{store}/"));
            walk.content(&found, |part| {
                if wanted {
                    content.extend_from_slice(part);
                }
            })?;
            let entry = expected.next();
            if !wanted {
                continue;
            }
            let same = entry.is_some_and(|entry| entry.name == found.name && entry.sha256 == op::sha256(&content));
            let rows = if same { rows::unpack(&content).ok() } else { None };
            let rows = rows.ok_or_else(|| walk.damaged(&found.name, "is not what it was a moment ago"))?;
            if !each(rows) {
                break;
            }
        }
        Ok(())
    }
}

/// A name as it is in a header.
fn padded(name: &str) -> impl Iterator<Item = u8> {
    name.bytes().chain(std::iter::repeat(0)).take(layout::NAME)
}

/// One pass over the archive, with what names a place in it.
struct Walk {
    path: PathBuf,
    input: Box<dyn Read>,
    /// The file's length.
    length: u64,
    /// Bytes of the archive that were read.
    done: u64,
    last: Option<String>,
    encrypted: bool,
}

impl Walk {
    fn begin(path: &Path, key: Option<&Key>) -> Result<Self, Failure> {
        let failure = |why: String| Failure::new(Kind::Config, format!("the backup {} {why}", path.display()));
        let unreadable = |error: io::Error| failure(format!("cannot be read: {error}"));
        let file = File::open(path).map_err(unreadable)?;
        let length = file.metadata().map_err(unreadable)?.len();
        let mut file = BufReader::with_capacity(CHUNK, file);
        let encrypted = file.fill_buf().map_err(unreadable)?.starts_with(MAGIC);
        let input: Box<dyn Read> = match (encrypted, key) {
            (false, _) => Box::new(file),
            (true, None) => {
                return Err(failure(format!("is encrypted: {HEAD} cannot be read without its key"))
                    .hint("--passphrase env:NAME, file:PATH or command:... or --age-identity FILE"));
            }
            (true, Some(key)) => {
                let opened = key.open(file);
                Box::new(opened.map_err(|why| failure(format!("cannot be decrypted, {HEAD} cannot be read: {why}")))?)
            }
        };
        Ok(Self { path: path.to_owned(), input, length, done: 0, last: None, encrypted })
    }

    /// The next entry, by its header; its digest is not known yet. None once the last is read.
    fn entry(&mut self, head: Option<&Head>) -> Result<Option<Entry>, Failure> {
        let names = next(head, self.last.as_deref());
        let Some(likeliest) = names.first() else { return Ok(None) };
        let mut block = Vec::new();
        let read = match self.input.by_ref().take(layout::BLOCK).read_to_end(&mut block) {
            Ok(count) if (count as u64) < layout::BLOCK => Err(io::ErrorKind::UnexpectedEof.into()),
            read => read,
        };
        if let Err(error) = read {
            let ends_early = error.kind() == io::ErrorKind::UnexpectedEof;
            return Err(match &self.last {
                // What would have come is not known.
                Some(last) if ends_early => self.truncated(&format!("after {last}")),
                None if ends_early && !padded(HEAD_SUM).zip(&block).all(|(name, found)| name == *found) => {
                    self.foreign()
                }
                _ => self.unreadable(likeliest, &error),
            });
        }
        self.done += layout::BLOCK;
        let digits = std::str::from_utf8(&block[124..135]).ok();
        let size = digits.and_then(|digits| u64::from_str_radix(digits, 8).ok()).filter(|size| *size <= LARGEST);
        let is = |name: &&String| size.is_some_and(|size| block == layout::header_of(name, size, MODE));
        if let Some((name, size)) = names.iter().find(is).zip(size) {
            self.last = Some(name.clone());
            return Ok(Some(Entry { name: name.clone(), size, sha256: String::new() }));
        }
        // The name that takes the fewest changes is the one that was there.
        let differs = |name: &&String| padded(name).zip(&block).filter(|(expected, found)| expected != *found).count();
        match names.iter().min_by_key(differs) {
            Some(name) if name == HEAD_SUM && differs(&name) > 1 => Err(self.foreign()),
            name => Err(self.damaged(name.unwrap_or(likeliest), "has a wrong header")),
        }
    }

    /// The content of an entry, some at a time, up to the next header.
    fn content(&mut self, entry: &Entry, mut each: impl FnMut(&[u8])) -> Result<(), Failure> {
        let mut left = entry.size;
        while left > 0 {
            let part = self.read(left.min(CHUNK as u64), &entry.name)?;
            left -= part.len() as u64;
            each(&part);
        }
        let padding = layout::padding(entry.size);
        match self.read(padding.len() as u64, &entry.name)? == padding {
            true => Ok(()),
            false => Err(self.damaged(&entry.name, "is followed by bytes that do not belong there")),
        }
    }

    /// What comes after the last entry.
    fn end(&mut self) -> Result<(), Failure> {
        let trailer = layout::trailer();
        if self.read(trailer.len() as u64, "the archive's end")? != trailer {
            return Err(self.damaged("the archive's end", "is not empty"));
        }
        let mut more = [0];
        match self.input.read(&mut more) {
            Ok(0) => Ok(()),
            Ok(_) => Err(self.damaged("the archive's end", "is not the end: bytes follow")),
            Err(error) => Err(self.unreadable("the archive's end", &error)),
        }
    }

    fn read(&mut self, count: u64, name: &str) -> Result<Vec<u8>, Failure> {
        let mut bytes = vec![0; count as usize];
        self.input.read_exact(&mut bytes).map_err(|error| self.unreadable(name, &error))?;
        self.done += count;
        Ok(bytes)
    }

    /// A text with its checksum.
    fn text<T: DeserializeOwned>(&self, text: &[u8], said: &[u8], name: &str, of: &str) -> Result<T, Failure> {
        if sum(text, name) != said {
            return Err(self.damaged(name, &format!("has not the SHA-256 that {of} says, or {of} itself is wrong")));
        }
        serde_json::from_slice::<serde_json::Value>(text)
            .ok()
            .filter(|value| name != HEAD || value["backup"] == FORMAT)
            .and_then(|value| serde_json::from_value(value).ok())
            .ok_or_else(|| {
                let shown = self.path.display();
                let why = format!("the {name} of {shown} was written by another version of etcdless, in another form");
                Failure::new(Kind::Config, why).hint("use the version that made it")
            })
    }

    /// Compares what was read with what was written; every entry that differs is named.
    fn compare(&self, head: &Head, manifest: &Manifest, seen: &[Entry]) -> Result<(), Failure> {
        let files = head.files.iter().filter_map(|file| Some((file_entry(&file.path)?, &file.sha256)));
        let files: BTreeMap<String, &String> = files.collect();
        let mut wrong = Vec::new();
        for (at, found) in seen.iter().enumerate() {
            let as_written = manifest.entries.get(at) == Some(found);
            if !as_written || files.get(&found.name).is_some_and(|sha256| **sha256 != found.sha256) {
                wrong.push(format!("{} has other bytes than its SHA-256 says", found.name));
            }
        }
        let missing = manifest.entries.iter().skip(seen.len());
        wrong.extend(missing.map(|entry| format!("{} is missing", entry.name)));
        match wrong.as_slice() {
            [] => Ok(()),
            wrong => Err(self.failure(format!("is damaged: {}", wrong.join(", ")))),
        }
    }

    fn unreadable(&self, name: &str, error: &io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => self.truncated(&format!("within {name}")),
            _ if self.encrypted => self.failure(format!("is damaged or truncated within {name}: {error}")),
            _ => self.failure(format!("cannot be read within {name}: {error}")),
        }
    }

    fn foreign(&self) -> Failure {
        Failure::new(Kind::Config, format!("{} is no backup of etcdless", self.path.display()))
            .hint("`etcdless backup -o FILE` makes one")
    }

    fn truncated(&self, place: &str) -> Failure {
        self.failure(format!("is truncated: it ends after {} bytes, {place}", self.length))
    }

    fn damaged(&self, name: &str, what: &str) -> Failure {
        self.failure(format!("is damaged: {name} {what}"))
    }

    fn failure(&self, what: String) -> Failure {
        Failure::new(Kind::Config, format!("the backup {} {what}", self.path.display()))
            .hint("take another copy of it, or an older backup")
    }
}

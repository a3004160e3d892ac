//! Writing a backup, one entry after the other.

use std::io::{self, Write};

use super::{Entry, HEAD, HEAD_SUM, Head, MANIFEST, MANIFEST_SUM, MODE, Manifest, Shard};
use super::{chunk_entry, file_entry, now, rows, sum};
use crate::artifact::layout;
use crate::datastore::copy::Row;
use crate::datastore::copy::digest::Digest;

/// A backup that is being written.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    entries: Vec<Entry>,
    stores: Vec<Shard>,
}

impl<W: Write> Writer<W> {
    /// Writes what comes before the stores; `files` are the contents of the head's files, in its order.
    pub fn begin(out: W, head: &Head, files: &[Vec<u8>]) -> io::Result<Self> {
        let mut writer = Self { out, entries: Vec::new(), stores: Vec::new() };
        let text = serde_json::to_vec_pretty(head)?;
        writer.entry(HEAD_SUM, &sum(&text, HEAD))?;
        writer.entry(HEAD, &text)?;
        for (file, content) in head.files.iter().zip(files) {
            let name = file_entry(&file.path).ok_or_else(|| io::Error::other(format!("{} is too long", file.path)))?;
            writer.entry(&name, content)?;
        }
        Ok(writer)
    }

    /// Writes a store: batches of its rows as they come. `shard` says what it is; what is counted is filled in.
    pub fn store(&mut self, shard: Shard, batches: impl Iterator<Item = Vec<Row>>) -> io::Result<()> {
        let (mut bytes, mut digest, mut chunks) = (Vec::new(), Digest::default(), 0);
        for row in batches.flatten() {
            digest.add(&row);
            rows::encode(&row, &mut bytes)?;
            if bytes.len() >= rows::CHUNK {
                chunks += 1;
                self.entry(&chunk_entry(&shard.name, chunks), &rows::pack(&bytes)?)?;
                bytes.clear();
            }
        }
        if !bytes.is_empty() {
            chunks += 1;
            self.entry(&chunk_entry(&shard.name, chunks), &rows::pack(&bytes)?)?;
        }
        let Digest { keys, bytes, .. } = digest;
        self.stores.push(Shard { keys, bytes, digest: digest.to_string(), chunks, ..shard });
        Ok(())
    }

    /// Writes what was written.
    pub fn finish(mut self) -> io::Result<(W, Manifest)> {
        let (stores, entries) = (std::mem::take(&mut self.stores), self.entries.clone());
        let manifest = Manifest { stores, finished: now(), entries };
        let text = serde_json::to_vec_pretty(&manifest)?;
        self.entry(MANIFEST, &text)?;
        self.entry(MANIFEST_SUM, &sum(&text, MANIFEST))?;
        self.out.write_all(&layout::trailer())?;
        self.out.flush()?;
        Ok((self.out, manifest))
    }

    fn entry(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        let size = content.len() as u64;
        self.out.write_all(&layout::header_of(name, size, MODE))?;
        self.out.write_all(content)?;
        self.out.write_all(&layout::padding(size))?;
        self.entries.push(Entry { name: name.to_owned(), size, sha256: crate::op::sha256(content) });
        Ok(())
    }
}

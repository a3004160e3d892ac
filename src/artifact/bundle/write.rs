//! Writing a bundle from the store.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::Manifest;
use super::archive::{self, Content};
use crate::artifact::image::Blob;
use crate::artifact::layout;
use crate::artifact::store::Store;
use crate::failure::{Failure, Kind};

/// Bytes that are read and hashed at a time.
const CHUNK: usize = 1 << 20;

/// Writes the bundle that a manifest describes, beside its place first, so that a run that ends early leaves what was there. `progress` is
/// told the bytes so far and in all. Returns the archive's length in bytes. Blocks.
///
/// A blob of the store that is not what its digest says is removed from the store, and the failure says so.
pub fn write(manifest: &Manifest, store: &Store, path: &Path, progress: impl Fn(u64, u64)) -> Result<u64, Failure> {
    let unwritable = |error: io::Error| {
        Failure::new(Kind::Step, format!("{} cannot be written: {error}", path.display()))
            .hint("choose a folder that you may write to, with room for the whole bundle")
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let part = tempfile::Builder::new().prefix(".bundle-").tempfile_in(folder).map_err(unwritable)?;
    let entries = archive::entries(manifest, &manifest.text());
    let total = archive::length(&entries);
    let mut out = BufWriter::with_capacity(CHUNK, part.as_file());
    for entry in &entries {
        out.write_all(&entry.header()).map_err(unwritable)?;
        match &entry.content {
            Content::Text(text) => out.write_all(text).map_err(unwritable)?,
            Content::Blob(blob) => copy(blob, store, &mut out, &unwritable)?,
        }
        out.write_all(&entry.padding()).map_err(unwritable)?;
        progress(entry.at + entry.size, total);
    }
    out.write_all(&layout::trailer()).and_then(|()| out.flush()).map_err(unwritable)?;
    drop(out);
    // Others may read it, as they may any file that one writes: it holds nothing secret.
    readable(part.as_file()).and_then(|()| part.as_file().sync_all()).map_err(unwritable)?;
    part.persist(path).map_err(|error| unwritable(error.error))?;
    Ok(total)
}

fn copy(
    blob: &Blob,
    store: &Store,
    out: &mut impl Write,
    unwritable: &impl Fn(io::Error) -> Failure,
) -> Result<(), Failure> {
    let path = store.path(blob);
    let unreadable = |error: io::Error| Failure::new(Kind::Step, format!("{} cannot be read: {error}", path.display()));
    let mut content = BufReader::with_capacity(CHUNK, File::open(&path).map_err(unreadable)?).take(blob.size);
    let (mut chunk, mut hash, mut done) = (vec![0; CHUNK], Sha256::new(), 0);
    loop {
        let count = content.read(&mut chunk).map_err(unreadable)?;
        if count == 0 {
            break;
        }
        hash.update(&chunk[..count]);
        out.write_all(&chunk[..count]).map_err(unwritable)?;
        done += count as u64;
    }
    if done == blob.size && crate::op::hex(&hash.finalize()) == blob.hex() {
        return Ok(());
    }
    store.forget(blob);
    Err(Failure::new(Kind::Step, format!("{} was damaged, and is removed", path.display()))
        .hint("run the same command again: it is downloaded anew"))
}

#[cfg(unix)]
fn readable(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

//! Rows as bytes: some MiB of them make an entry, compressed by gzip.
//!
//! A row is its key's length (4 bytes), the key, the revision that it was created at, the revision of its last change, its lease in seconds
//! (8 bytes each), its value's length (4 bytes) and the value. Numbers have the most significant byte first.

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use crate::datastore::copy::Row;

/// Bytes of rows that an entry holds, before they are compressed: it is full once it has more.
pub(super) const CHUNK: usize = 4 << 20;

/// The most that an entry may come to: one that is nearly full, and the longest value that any engine takes.
const LARGEST: u64 = 64 << 20;

/// Adds a row to others.
pub(super) fn encode(row: &Row, into: &mut Vec<u8>) -> io::Result<()> {
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).map_err(|_| io::Error::other("a row of 4 GiB"));
    into.extend(length(row.key.as_bytes())?.to_be_bytes());
    into.extend(row.key.as_bytes());
    for number in [row.created, row.revision, row.lease] {
        into.extend(number.to_be_bytes());
    }
    into.extend(length(&row.value)?.to_be_bytes());
    into.extend(&row.value);
    Ok(())
}

/// The entry that rows make.
pub(super) fn pack(rows: &[u8]) -> io::Result<Vec<u8>> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(rows)?;
    packed.finish()
}

/// The rows of an entry.
pub(super) fn unpack(packed: &[u8]) -> io::Result<Vec<Row>> {
    let mut bytes = Vec::new();
    GzDecoder::new(packed).take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(io::Error::other("it has more rows than an entry may have"));
    }
    let mut rest = bytes.as_slice();
    let mut rows = Vec::new();
    while !rest.is_empty() {
        let key = String::from_utf8(block(&mut rest)?).map_err(io::Error::other)?;
        let [created, revision, lease] = [number(&mut rest)?, number(&mut rest)?, number(&mut rest)?];
        rows.push(Row { key, created, revision, lease, value: block(&mut rest)? });
    }
    Ok(rows)
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> io::Result<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(count).ok_or(io::ErrorKind::UnexpectedEof)?;
    *rest = tail;
    Ok(head)
}

fn number(rest: &mut &[u8]) -> io::Result<u64> {
    Ok(take(rest, 8)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn block(rest: &mut &[u8]) -> io::Result<Vec<u8>> {
    let length = take(rest, 4)?.iter().fold(0, |length: usize, byte| length << 8 | usize::from(*byte));
    take(rest, length).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test")]
    use super::*;

    #[test]
    fn rows_come_back_as_they_were() {
        let rows = [
            Row { key: "/registry/a".into(), created: 1, revision: u64::MAX, lease: 3600, value: vec![0, 255, 10] },
            Row { key: "/registry/ä b".into(), created: 0, revision: 7, lease: 0, value: Vec::new() },
        ];
        let mut bytes = Vec::new();
        rows.iter().for_each(|row| encode(row, &mut bytes).unwrap());
        assert_eq!(bytes.len(), 2 * 32 + rows[0].key.len() + rows[1].key.len() + 3);
        assert_eq!(bytes[..4], [0, 0, 0, 11]);
        assert_eq!(unpack(&pack(&bytes).unwrap()).unwrap(), rows);
        let cut = pack(&bytes[..bytes.len() - 1]).unwrap();
        assert_eq!(unpack(&cut).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert!(unpack(b"no gzip").is_err());
    }
}

//! Two stores hold the same where their digests are equal, whatever order they are read in.

use std::fmt;

use sha2::{Digest as _, Sha256};

use super::Row;

/// How much there is, and what: the SHA-256 of every key with its value, all of them in one by exclusive or. A store has no key twice, so
/// nothing cancels itself out. Revisions are not part of it, since etcd gives its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Digest {
    /// Keys.
    pub keys: u64,
    /// Bytes of their values.
    pub bytes: u64,
    all: [u8; 32],
}

impl Digest {
    /// Counts a row in.
    pub fn add(&mut self, row: &Row) {
        self.keys += 1;
        self.bytes += row.value.len() as u64;
        self.mix(row);
    }

    /// Counts a row out that was counted in.
    pub fn remove(&mut self, row: &Row) {
        self.keys -= 1;
        self.bytes -= row.value.len() as u64;
        self.mix(row);
    }

    fn mix(&mut self, row: &Row) {
        let length = (row.key.len() as u64).to_le_bytes();
        let hash = Sha256::new_with_prefix(length).chain_update(&row.key).chain_update(&row.value).finalize();
        self.all.iter_mut().zip(hash).for_each(|(all, byte)| *all ^= byte);
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.all.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: &str, value: &str) -> Row {
        Row { key: key.into(), created: 1, revision: 2, lease: 0, value: value.into() }
    }

    fn of(rows: &[Row]) -> Digest {
        let mut digest = Digest::default();
        rows.iter().for_each(|row| digest.add(row));
        digest
    }

    #[test]
    fn the_order_and_revisions_do_not_count_and_all_else_does() {
        let [a, b] = [row("/a", "1"), row("/b", "2")];
        let same = of(&[a.clone(), b.clone()]);
        assert_eq!(same, of(&[Row { created: 7, revision: 9, ..b.clone() }, a.clone()]));
        for other in [row("/b", "3"), row("/c", "2"), row("/", "b2"), row("/b2", "")] {
            assert_ne!(same, of(&[a.clone(), other]));
        }
        assert_ne!(same, of(std::slice::from_ref(&a)));
        assert_ne!(same, of(&[a.clone(), a, b]));
    }

    #[test]
    fn what_is_counted_out_was_never_there() {
        let rows: Vec<Row> = (0..50).map(|n| row(&format!("/{n}"), &n.to_string())).collect();
        let mut digest = of(&rows);
        rows[1..].iter().for_each(|row| digest.remove(row));
        assert_eq!(digest, of(&rows[..1]));
        assert_eq!(digest.to_string().len(), 64);
    }
}

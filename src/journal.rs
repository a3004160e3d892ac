//! The journal that every host keeps of what etcdless finished there (`/var/lib/etcdless/journal`).
//!
//! Lines are tab-separated, appended by the very script that did the work, so a line exists only when the work is done:
//! `step TIME RUN ID DIGEST` for a finished step and `file PATH SIZE MTIME` for each file that it vouches for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Where the journal is.
pub const PATH: &str = "/var/lib/etcdless/journal";

/// A host's journal, the last entry of each step and file winning.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// Step ID to the digest of what was done.
    pub steps: BTreeMap<String, String>,
    /// Path to (size in bytes, modification time in seconds since 1970) as it was when it was placed.
    pub files: BTreeMap<String, (u64, i64)>,
}

/// What the script of a step appends once it succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The run's own ID, to tell runs apart.
    pub run: String,
    /// The step.
    pub step: String,
    /// What was done, as `Op::digest`.
    pub digest: String,
    /// Paths whose size and time are recorded.
    pub files: Vec<String>,
}

impl Journal {
    /// Reads a journal; a line that was cut off by a power cut, or that a later version wrote, is passed over.
    pub fn parse(text: &str) -> Self {
        let mut journal = Self::default();
        for line in text.lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            match fields[..] {
                ["step", _time, _run, id, digest] => {
                    journal.steps.insert(id.into(), digest.into());
                }
                ["file", path, size, modified] => {
                    if let (Ok(size), Ok(modified)) = (size.parse(), modified.parse()) {
                        journal.files.insert(path.into(), (size, modified));
                    }
                }
                _ => {}
            }
        }
        journal
    }

    /// Whether the step was finished in exactly this form.
    pub fn has(&self, step: &str, digest: &str) -> bool {
        self.steps.get(step).is_some_and(|done| done == digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_entry_wins_and_a_torn_line_is_passed_over() {
        let journal = Journal::parse(
            "step\t1\tr1\tnode/kubelet\taaa\nfile\t/usr/local/bin/kubelet\t10\t99\nstep\t2\tr2\tnode/kubelet\tbbb\nstep\t3\tr2\tno",
        );
        assert!(journal.has("node/kubelet", "bbb"));
        assert!(!journal.has("node/kubelet", "aaa"));
        assert_eq!(journal.files["/usr/local/bin/kubelet"], (10, 99));
        assert_eq!(journal.steps.len(), 1);
    }
}

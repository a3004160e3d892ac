//! The journal that every host keeps of what etcdless finished there (`/var/lib/etcdless/journal`).
//!
//! Lines are tab-separated, appended by the very script that did the work, so a line exists only when the work is done:
//! `step TIME RUN ID DIGEST` for a finished step and `file PATH SIZE MTIME` for each file that it vouches for. TIME is in seconds
//! since 1970; MTIME is what `stat -c %y` prints in UTC, since every `stat` prints that to the nanosecond.
//!
//! Before a change makes something that was not there, it notes it, for `reset`: `made PATH`, `package NAME`, `enabled UNIT`, `started UNIT`,
//! `masked UNIT`, `sysctl PATH VALUE` (the value before). The scripts of `phase::reset` read these where they are. A finished step whose ID begins with
//! `reset/` says that nothing which was finished before can be relied on any more.
//!
//! Nothing is synced. After a power cut a line may be missing, and its step is done again; a line whose file did not reach the disk
//! is found out by the file's size, or by its digest where files are hashed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Where the journal is.
pub const PATH: &str = "/var/lib/etcdless/journal";

/// A host's journal, the last entry of each step and file winning.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Journal {
    /// Step ID to the digest of what was done.
    pub steps: BTreeMap<String, String>,
    /// Path to (size in bytes, modification time in microseconds since 1970) as it was when it was placed.
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
                ["step", _time, _run, id, _digest] if id.starts_with("reset/") => journal = Self::default(),
                ["step", _time, _run, id, digest] => {
                    journal.steps.insert(id.into(), digest.into());
                }
                ["file", path, size, modified] => {
                    if let (Ok(size), Some(modified)) = (size.parse(), micros(modified)) {
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

/// Microseconds since 1970 of a time in UTC as `stat -c %y` and `systemctl show` print it: `2026-11-21 11:40:00.123456789 +0000`,
/// `Sat 2026-11-21 11:40:00.123456 UTC`. `None` for anything else.
pub fn micros(text: &str) -> Option<i64> {
    let mut words = text.split_whitespace().skip_while(|word| word.starts_with(|c: char| c.is_ascii_alphabetic()));
    let (date, time) = (words.next()?, words.next()?);
    let numbers = |text: &str, by: char| -> Option<[i64; 3]> {
        text.split(by).map(|part| part.parse().ok()).collect::<Option<Vec<i64>>>()?.try_into().ok()
    };
    let [year, month, day] = numbers(date, '-')?;
    let (clock, fraction) = time.split_once('.').unwrap_or((time, ""));
    let [hour, minute, second] = numbers(clock, ':')?;
    let micros: i64 = format!("{fraction:0<6}").get(..6)?.parse().ok()?;
    let seconds = days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    Some(seconds * 1_000_000 + micros)
}

/// Days since 1970-01-01 of a date of the Gregorian calendar. Years are counted from March, so that the leap day comes last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_entry_wins_and_a_torn_line_is_passed_over() {
        let journal = Journal::parse(
            "step\t1\tr1\tnode/kubelet\taaa\nfile\t/usr/local/bin/kubelet\t10\t1970-01-01 00:01:39.5 +0000\nstep\t2\tr2\tnode/kubelet\tbbb\nstep\t3\tr2\tno",
        );
        assert!(journal.has("node/kubelet", "bbb"));
        assert!(!journal.has("node/kubelet", "aaa"));
        assert_eq!(journal.files["/usr/local/bin/kubelet"], (10, 99_500_000));
        assert_eq!(journal.steps.len(), 1);
    }

    #[test]
    fn a_host_that_is_being_taken_apart_has_finished_nothing() {
        let text =
            "step\t1\tr1\tnode/kubelet\taaa\nmade\t/a\nstep\t2\tr2\treset/begin\tbbb\nstep\t3\tr3\tnode/kubeadm\tccc\n";
        let journal = Journal::parse(text);
        assert_eq!(journal.steps.keys().collect::<Vec<_>>(), ["node/kubeadm"]);
    }

    #[test]
    fn times_are_read_as_stat_and_systemd_write_them() {
        for (text, expected) in [
            ("1970-01-01 00:00:00.000000000 +0000", Some(0)),
            ("2026-11-21 11:40:00.123456789 +0000", Some(1_795_261_200_123_456)),
            ("Sat 2026-11-21 11:40:00.123456 UTC", Some(1_795_261_200_123_456)),
            ("Sat 2026-11-21 11:40:00 UTC", Some(1_795_261_200_000_000)),
            ("2024-02-29 23:59:59.5 +0000", Some(1_709_251_199_500_000)),
            ("1969-12-31 23:59:59 +0000", Some(-1_000_000)),
            ("n/a", None),
            ("", None),
            ("12", None),
        ] {
            assert_eq!(micros(text), expected, "{text}");
        }
    }
}

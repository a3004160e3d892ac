//! Backups: the file, what damages it, and what is in it.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, reason = "tests")]

#[path = "backup/format.rs"]
mod format;

#[path = "backup/scale.rs"]
mod scale;

//! The debug log of a run: every event as it came, one JSON object a line with its time, in a file that only its owner reads.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use etcetera::BaseStrategy;

use super::Event;

pub(super) struct Log {
    pub(super) path: PathBuf,
    file: File,
}

impl Log {
    /// Opens a new file below the user's state folder. A run without a log is better than no run: errors give `None`.
    pub(super) fn open() -> Option<Self> {
        let base = etcetera::choose_base_strategy().ok()?;
        let folder = base.state_dir().unwrap_or_else(|| base.data_dir()).join("etcdless/logs");
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).ok()?;
        let path = folder.join(format!("{}-{}.jsonl", now().as_secs(), std::process::id()));
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path).ok()?;
        Some(Self { path, file })
    }

    pub(super) fn write(&mut self, event: &Event) {
        let line = serde_json::json!({ "time": now().as_secs_f64(), "what": event });
        let _ = writeln!(self.file, "{line}");
    }
}

fn now() -> std::time::Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

//! Memory stays flat, however much a backup holds.

use std::fs;
use std::process::Command;

use etcdless::datastore::backup::{self, Head, Shard, Writer};
use etcdless::datastore::copy::Row;

const ROWS: u64 = 100_000;
const VALUE: usize = 3000;

/// Values that gzip makes little of, as encrypted ones are.
fn value(mut seed: u64) -> Vec<u8> {
    let mut next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed.to_le_bytes()
    };
    (0..VALUE / 8).flat_map(|_| next()).collect()
}

/// The most memory that a program takes until it ends, in KiB.
fn peak(mut command: Command) -> u64 {
    let mut child = command.spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        let ended = child.try_wait().unwrap();
        let text = fs::read_to_string(&status).unwrap_or_default();
        let high = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
        peak = peak.max(high.unwrap_or(0));
        if let Some(ended) = ended {
            assert!(ended.success());
            return peak;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn memory_stays_flat() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.backup");
    let head = Head {
        backup: backup::FORMAT.into(),
        cluster: "demo".into(),
        etcdless: "0.1.0".into(),
        kubernetes: None,
        host: "cp".into(),
        begun: backup::now(),
        encryption: None,
        files: Vec::new(),
        stores: vec!["main".into()],
    };
    let shard = Shard {
        name: "main".into(),
        engine: "SQLite".into(),
        revision: ROWS,
        compacted: None,
        instant: backup::now(),
        keys: 0,
        bytes: 0,
        digest: String::new(),
        chunks: 0,
    };
    let row = |n: u64| Row { key: format!("/registry/a/{n}"), created: n, revision: n, lease: 0, value: value(n) };
    let mut writer = Writer::begin(fs::File::create(&path).unwrap(), &head, &[]).unwrap();
    writer.store(shard, (1..=ROWS).step_by(500).map(|from| (from..from + 500).map(row).collect())).unwrap();
    let (_, manifest) = writer.finish().unwrap();
    assert_eq!((manifest.stores[0].keys, manifest.stores[0].bytes), (ROWS, ROWS * VALUE as u64));
    let most = fs::metadata(&path).unwrap().len() / 1024 / 3;
    for words in [&["backup", "ls"][..], &["restore", "--verify"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_etcdless"));
        command.args(words).arg(&path).env("HOME", folder.path()).env("TMPDIR", folder.path());
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let peak = peak(command);
        eprintln!("{words:?}: {} MiB at most, of a file of {} MiB", peak / 1024, most * 3 / 1024);
        assert!(peak < most, "{words:?} took {peak} KiB, of a file of {} KiB", most * 3);
    }
}

//! The file alone: no bit of it can be another one without being told, whether it is encrypted or not.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use etcdless::datastore::backup::{self, Backup, FileInfo, Head, Key, Lock, Shard, Writer};
use etcdless::datastore::copy::Row;
use etcdless::failure::Failure;
use etcdless::op;
use secrecy::SecretString;

const FILES: [(&str, &str); 2] =
    [("/etc/kubernetes/pki/ca.crt", "the certificate"), ("/etc/etcdless/cluster.yaml", "")];

fn head() -> Head {
    let file = |(path, text): &(&str, &str)| FileInfo {
        path: (*path).to_owned(),
        mode: "0600".into(),
        size: text.len() as u64,
        sha256: op::sha256(text.as_bytes()),
    };
    Head {
        backup: backup::FORMAT.into(),
        cluster: "demo".into(),
        etcdless: "0.1.0".into(),
        kubernetes: Some("v1.34.4".into()),
        host: "cp".into(),
        begun: "2026-11-22T08:30:00Z".into(),
        encryption: None,
        files: FILES.iter().map(file).collect(),
        stores: vec!["main".into(), "events".into(), "empty".into()],
    }
}

fn row(key: &str, value: Vec<u8>) -> Row {
    Row { key: key.into(), created: 1, revision: 2, lease: 0, value }
}

/// The rows of `main` need two entries.
fn rows(store: &str) -> Vec<Row> {
    match store {
        "main" => vec![row("/registry/a", vec![0; 5 << 20]), row("/registry/b", b"b".to_vec())],
        "events" => vec![row("/registry/events/c", b"c".to_vec())],
        _ => Vec::new(),
    }
}

fn shard(name: &str) -> Shard {
    Shard {
        name: name.into(),
        engine: "SQLite".into(),
        revision: 7,
        compacted: Some(3),
        instant: "2026-11-22T08:30:01Z".into(),
        keys: 0,
        bytes: 0,
        digest: String::new(),
        chunks: 0,
    }
}

fn written(path: &Path, lock: &Lock) {
    let out = lock.wrap(fs::File::create(path).unwrap()).unwrap();
    let files: Vec<Vec<u8>> = FILES.iter().map(|(_, text)| text.as_bytes().to_vec()).collect();
    let head = head();
    let mut writer = Writer::begin(out, &head, &files).unwrap();
    for name in &head.stores {
        writer.store(shard(name), rows(name).into_iter().map(|row| vec![row])).unwrap();
    }
    let (out, _) = writer.finish().unwrap();
    out.close().unwrap();
}

fn sample(folder: &Path) -> PathBuf {
    let path = folder.join("demo.backup");
    written(&path, &Lock::Open);
    path
}

fn open(path: &Path) -> Result<Backup, Failure> {
    Backup::open(path, None, |_, _| {})
}

/// Every entry, and the end.
const NAMES: [&str; 10] = [
    "backup.sha256",
    "backup.json",
    "files/etc/kubernetes/pki/ca.crt",
    "files/etc/etcdless/cluster.yaml",
    "stores/main/000001.gz",
    "stores/main/000002.gz",
    "stores/events/000001.gz",
    "manifest.json",
    "manifest.sha256",
    "the archive's end",
];

#[test]
fn what_is_written_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let backup = open(&sample(folder.path())).unwrap();
    assert_eq!(backup.head, head());
    assert_eq!(backup.file("/etc/kubernetes/pki/ca.crt"), Some(b"the certificate".as_slice()));
    assert_eq!(backup.file("/etc/etcdless/cluster.yaml"), Some(b"".as_slice()));
    let seen: Vec<(&str, u64, u64, u64)> = backup
        .manifest
        .stores
        .iter()
        .map(|shard| (shard.name.as_str(), shard.keys, shard.bytes, shard.chunks))
        .collect();
    assert_eq!(seen, [("main", 2, (5 << 20) + 1, 2), ("events", 1, 1, 1), ("empty", 0, 0, 0)]);
    for name in ["main", "events", "empty"] {
        let mut found = Vec::new();
        backup
            .rows(name, |rows| {
                found.extend(rows);
                true
            })
            .unwrap();
        assert!(found == rows(name), "{name}");
    }
    let mut batches = 0;
    backup
        .rows("main", |_| {
            batches += 1;
            false
        })
        .unwrap();
    assert_eq!(batches, 1);
}

#[test]
fn tar_knows_it_and_lets_nobody_else_read_what_it_unpacks() {
    let folder = tempfile::tempdir().unwrap();
    let path = sample(folder.path());
    let listed = Command::new("tar").arg("tvf").arg(&path).output().unwrap();
    assert!(listed.status.success() && listed.stderr.is_empty(), "{listed:?}");
    let listed = String::from_utf8(listed.stdout).unwrap();
    let names: Vec<&str> = listed.lines().map(|line| line.rsplit(' ').next().unwrap()).collect();
    assert_eq!(names, NAMES[..9]);
    assert!(listed.lines().all(|line| line.starts_with("-rw------- ")), "{listed}");
    let unpacked = Command::new("sh")
        .args(["-c", "tar xf demo.backup && sha256sum -c backup.sha256 manifest.sha256 && zcat stores/events/000001.gz | tail -c 1"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(unpacked.status.success() && unpacked.stdout.ends_with(b"manifest.json: OK\nc"), "{unpacked:?}");
}

#[test]
fn no_byte_can_be_another_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = sample(folder.path());
    let mut bytes = fs::read(&path).unwrap();
    let mut seen = BTreeSet::new();
    for at in 0..bytes.len() {
        bytes[at] ^= 1;
        fs::write(&path, &bytes).unwrap();
        bytes[at] ^= 1;
        let Err(failure) = open(&path) else { panic!("byte {at} may be anything") };
        let named = NAMES.iter().find(|name| failure.message.contains(*name));
        seen.insert(*named.unwrap_or_else(|| panic!("byte {at}: no entry is named: {}", failure.message)));
        assert_eq!(failure.kind as u8, 3, "byte {at}");
    }
    assert_eq!(seen.len(), NAMES.len(), "every entry was named once: {seen:?}");
}

#[test]
fn a_file_that_ends_early_is_told_with_the_entry() {
    let folder = tempfile::tempdir().unwrap();
    let path = sample(folder.path());
    let good = fs::read(&path).unwrap();
    let mut seen = BTreeSet::new();
    for length in (0..good.len()).step_by(256) {
        fs::write(&path, &good[..length]).unwrap();
        let message = open(&path).unwrap_err().message;
        let place = message.split_once(&format!("is truncated: it ends after {length} bytes, ")).expect(&message).1;
        seen.insert(place.split_once(' ').unwrap().1.to_owned());
    }
    assert_eq!(seen, NAMES.map(str::to_owned).into());
    fs::write(&path, [&good[..], b"x"].concat()).unwrap();
    assert!(open(&path).unwrap_err().message.ends_with("the archive's end is not the end: bytes follow"));
}

#[test]
fn another_kind_of_file_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other");
    // Shorter than the first header, too, which may not pass for a backup that ends early.
    for other in [&[7; 4096][..], b"notes\n", b"backup.txt"] {
        fs::write(&path, other).unwrap();
        let message = open(&path).unwrap_err().message;
        assert!(message.ends_with("is no backup of etcdless"), "{message}");
    }
    let newer = Head { backup: "etcdless.dev/backup/v9".into(), files: Vec::new(), ..head() };
    Writer::begin(fs::File::create(&path).unwrap(), &newer, &[]).unwrap().finish().unwrap();
    assert!(open(&path).unwrap_err().message.contains("another version of etcdless"));
}

#[test]
fn an_encrypted_one_opens_with_its_key_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.age");
    let keys = folder.path().join("keys");
    let other = folder.path().join("other");
    let pair = age::x25519::Identity::generate();
    let text = |pair: &age::x25519::Identity| secrecy::ExposeSecret::expose_secret(&pair.to_string()).to_owned();
    fs::write(&keys, format!("# a comment\n{}\n", text(&pair))).unwrap();
    fs::write(&other, text(&age::x25519::Identity::generate())).unwrap();
    let lock = Lock::recipients(&[pair.to_public().to_string()]).unwrap();
    written(&path, &lock);
    let opened = |file: &Path| Backup::open(&path, Some(Key::file(file).unwrap()), |_, _| {});
    assert!(backup::is_encrypted(&path).unwrap());
    assert_eq!(opened(&keys).unwrap().head, head());
    let message = opened(&other).unwrap_err().message;
    assert!(message.contains("backup.json cannot be read: the keys in "), "{message}");
    assert!(open(&path).unwrap_err().message.contains("is encrypted: backup.json cannot be read without its key"));
    let good = fs::read(&path).unwrap();
    // One byte of every kind: the head, its end, the first of 64 KiB, a later one, the last.
    for at in (0..600).step_by(7).chain([10_000, good.len() - 70_000.min(good.len() - 1), good.len() - 1]) {
        let mut wrong = good.clone();
        wrong[at] ^= 1;
        fs::write(&path, &wrong).unwrap();
        let message = opened(&keys).map(|_| ()).unwrap_err().message;
        assert!(NAMES.iter().any(|name| message.contains(name)) || at < 22, "byte {at}: {message}");
    }
    fs::write(&path, &good[..good.len() - 1000]).unwrap();
    assert!(opened(&keys).unwrap_err().message.contains("truncated within "));
}

#[test]
fn a_wrong_passphrase_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.age");
    let secret = |text: &str| SecretString::from(text.to_owned());
    written(&path, &Lock::Passphrase(secret("correct horse")));
    let opened = |text: &str| Backup::open(&path, Some(Key::passphrase(&secret(text))), |_, _| {});
    assert_eq!(opened("correct horse").unwrap().head, head());
    let message = opened("battery staple").unwrap_err().message;
    assert!(message.ends_with("backup.json cannot be read: the passphrase does not open it"), "{message}");
}

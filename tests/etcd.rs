//! etcd and kine as sources and targets of what is moved, for real where `ETCDLESS_ETCD` and `ETCDLESS_KINE` name their programs.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test")]

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use etcdless::cluster::kine::probe::{self, Endpoint};
use etcdless::datastore::copy::Change;
use etcdless::datastore::copy::delta::{self, Delta};
use etcdless::facts::{Facts, Probes};
use etcdless::remote::{Output, Query, Question, RemoteError};

/// This machine, by way of `sh`.
struct Here;

impl Query for Here {
    async fn facts(&self, _: &Probes) -> Result<Facts, RemoteError> {
        unimplemented!()
    }

    async fn ask(&self, question: Question) -> Result<Output, RemoteError> {
        let mut shell = Command::new("sh");
        shell.args(["-c", question.script, "sh"]).args(&question.args);
        let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = shell.stdin.take().unwrap();
        let writer = std::thread::spawn(move || drop(stdin.write_all(&question.input)));
        let output = shell.wait_with_output().unwrap();
        writer.join().unwrap();
        Ok(Output { status: output.status.code().unwrap(), stdout: output.stdout, stderr: output.stderr })
    }
}

/// A store in a folder of its own, on a socket; ended when it is dropped.
struct Store {
    process: Child,
    folder: tempfile::TempDir,
}

impl Drop for Store {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Store {
    /// `None`, with the reason printed, where the variable names no program.
    fn start(variable: &str, flags: impl Fn(&Path) -> Vec<String>) -> Option<Self> {
        let Some(program) = std::env::var_os(variable) else {
            eprintln!("skipped: set {variable} to the path of the program");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let process = Command::new(program)
            .args(flags(folder.path()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let store = Self { process, folder };
        let deadline = Instant::now() + Duration::from_secs(20);
        while !store.folder.path().join("store.sock").exists() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(store)
    }

    fn etcd() -> Option<Self> {
        Self::start("ETCDLESS_ETCD", |at| {
            vec![
                format!("--data-dir={}/data", at.display()),
                format!("--listen-client-urls=unix://{}/store.sock", at.display()),
                "--advertise-client-urls=http://localhost:2379".into(),
                "--listen-peer-urls=unix:///peers".into(),
            ]
        })
    }

    fn kine() -> Option<Self> {
        Self::start("ETCDLESS_KINE", |at| {
            let at = at.display();
            vec![
                format!("--listen-address=unix://{at}/store.sock"),
                format!("--endpoint=sqlite://{at}/kine.db?_journal_mode=WAL&_txlock=immediate&cache=shared"),
                "--metrics-bind-address=0".into(),
                "--compact-interval=0".into(),
            ]
        })
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint::Unix { socket: self.folder.path().join("store.sock").display().to_string() }
    }
}

impl Store {
    /// etcdctl, which lies beside etcd.
    fn ctl(&self, args: &[&str], input: &str) -> String {
        let program = Path::new(&std::env::var_os("ETCDLESS_ETCD").unwrap()).with_file_name("etcdctl");
        let socket = format!("--endpoints=unix://{}/store.sock", self.folder.path().display());
        let mut ctl =
            Command::new(program).arg(socket).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        ctl.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = ctl.wait_with_output().unwrap();
        assert!(output.status.success(), "etcdctl {args:?} {input}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Creates a key as the API server does.
    fn create(&self, key: &str, value: &str, lease: &str) {
        let lease = if lease.is_empty() { String::new() } else { format!("--lease={lease} ") };
        let said = self.ctl(&["txn"], &format!("mod(\"{key}\") = \"0\"\n\nput {lease}{key} {value}\n\n\n"));
        assert!(said.starts_with("SUCCESS"), "{said}");
    }

    /// Updates a key of this revision as the API server does.
    fn update(&self, key: &str, revision: u64, value: &str) {
        let said =
            self.ctl(&["txn"], &format!("mod(\"{key}\") = \"{revision}\"\n\nput {key} {value}\n\nget {key}\n\n"));
        assert!(said.starts_with("SUCCESS"), "{said}");
    }

    fn delete(&self, key: &str, revision: u64) {
        let said = self.ctl(&["txn"], &format!("mod(\"{key}\") = \"{revision}\"\n\ndel {key}\n\nget {key}\n\n"));
        assert!(said.starts_with("SUCCESS"), "{said}");
    }

    async fn revision(&self) -> u64 {
        probe::count(&Here, &self.endpoint()).await.unwrap().0
    }

    /// What changed since a revision; nothing else was compacted away.
    async fn since(&self, revision: u64) -> Vec<Change> {
        match delta::since(&Here, &self.endpoint(), revision, 20).await.unwrap() {
            Delta::Since(changes) => changes,
            compacted => panic!("{compacted:?}"),
        }
    }
}

/// Key and value of what was written; the key of what was deleted.
fn told(changes: &[Change]) -> Vec<(&str, Option<&str>)> {
    let one = |change| match change {
        &Change::Put(ref row) => (row.key.as_str(), Some(std::str::from_utf8(&row.value).unwrap())),
        Change::Deleted { key, .. } => (key.as_str(), None),
    };
    changes.iter().map(one).collect()
}

/// Whatever the store: keys that are made, changed, deleted and made again, some of them outside of what is moved.
async fn changes(store: &Store, lease: &str) {
    store.create("/registry/a", "1", "");
    store.create("/registry/b", "1", "");
    store.create("/registry/c", "1", "");
    let before = store.revision().await;
    store.create("/other/d", "1", "");
    store.update("/registry/a", before - 2, "2");
    store.delete("/registry/b", before - 1);
    store.create("/registry/e", "1", "");
    let at = store.revision().await;
    store.delete("/registry/e", at);
    store.create("/registry/e", "2", "");
    store.create("/registry/f", &"x".repeat(100_000), lease);

    let found = store.since(before).await;
    let large = "x".repeat(100_000);
    let expected =
        [("/registry/a", Some("2")), ("/registry/b", None), ("/registry/e", Some("2")), ("/registry/f", Some(&large))];
    assert_eq!(told(&found), expected);
    let now = store.revision().await;
    let [Change::Put(a), Change::Deleted { revision, .. }, _, Change::Put(f)] = &found[..] else {
        panic!("{found:?}");
    };
    assert_eq!((a.created, a.revision, *revision), (before - 2, before + 2, before + 3));
    assert_eq!((f.created, f.revision), (now, now));
    assert!((1..=3600).contains(&f.lease) && a.lease == 0, "{} {}", f.lease, a.lease);
    assert_eq!(told(&store.since(now).await), []);
}

#[tokio::test]
async fn what_changed_in_etcd_is_told() {
    let Some(store) = Store::etcd() else { return };
    let lease = store.ctl(&["lease", "grant", "3600"], "");
    changes(&store, lease.split(' ').nth(1).unwrap()).await;

    let ended = BTreeSet::from([1, 2]);
    let left = probe::times_to_live(&Here, &store.endpoint(), &ended, 20).await.unwrap();
    assert_eq!(left.into_iter().collect::<Vec<_>>(), [(1, 1), (2, 1)]);

    let now = store.revision().await;
    store.ctl(&["compact", &now.to_string()], "");
    let compacted = delta::since(&Here, &store.endpoint(), 1, 20).await.unwrap();
    assert_eq!(compacted, Delta::Compacted(now));
}

#[tokio::test]
async fn what_changed_in_kine_is_told() {
    if std::env::var_os("ETCDLESS_ETCD").is_none() {
        eprintln!("skipped: set ETCDLESS_ETCD to the path of an etcd, with etcdctl beside it");
        return;
    }
    let Some(store) = Store::kine() else { return };
    changes(&store, "e10").await;
}

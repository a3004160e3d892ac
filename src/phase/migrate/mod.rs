//! Moving a cluster to another store, as its control planes see it: the files of both stores beside each other, API servers that stop for a
//! moment, and the switch.
//!
//! One control plane decides. The others are held first, so that none of them can come back on the old store once that one serves the new;
//! until it has committed, a timer of its own puts the old files back at the end of the freeze's time, and so does every boot. Whatever ends
//! in between, all API servers that run use one and the same store.

pub mod deny;

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

use super::plan::{Plan, Planned};
use super::{Step, runner};
use crate::cluster::etcd::{AUTHORITY, PKI};
use crate::datastore::explore::foreign::MANIFEST as API_SERVER;
use crate::failure::{Failure, Kind};
use crate::journal;
use crate::op::{self, Decision, Fetch, File, Image, Op, Script};
use crate::remote::{Mutate, Payload, Query, Question, Signal};

/// Where a control plane keeps what it needs for the switch; root's alone.
pub const FOLDER: &str = "/var/lib/etcdless/migration";

const SWITCH: &str = concat!(
    "#!/bin/sh\n# Written by etcdless.\n",
    include_str!("../scripts/ended.sh"),
    include_str!("scripts/switch.sh")
);

/// Puts back what served, at the end of the freeze's time, and at a boot in between.
const THAW: &str = "# Written by etcdless, for the time of a migration.\n[Unit]\nDescription=The cluster's store, where a migration was cut off\n\n\
    [Service]\nType=oneshot\nExecStart=/var/lib/etcdless/migration/switch resume\nRestart=on-failure\nRestartSec=5\n\n\
    [Install]\nWantedBy=multi-user.target\n";
const THAW_UNIT: &str = "/etc/systemd/system/etcdless-thaw.service";

/// Seconds that programs may take to end, and an API server to become ready.
const END: u64 = 300;
const READY: u64 = 240;

/// Which of the two stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Which {
    /// The one that the migration began with.
    Old,
    /// The one that it leads to.
    New,
}

impl Which {
    /// As scripts take it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Old => "old",
            Self::New => "new",
        }
    }

    fn of(name: &str) -> Option<Self> {
        [Self::Old, Self::New].into_iter().find(|which| which.name() == name)
    }
}

/// How far a control plane is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// No migration is known.
    None,
    /// The files are there, nothing has changed.
    Staged,
    /// No API server runs, and this store's is put back in time.
    Frozen(Which),
    /// No API server runs, and another control plane decides.
    Held,
    /// Files are put in place, or were meant to be.
    Committed(Which),
    /// It serves this store.
    On(Which),
}

impl State {
    /// As a control plane writes it down; nothing for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (word, which) =
            text.trim().split_once(' ').map_or((text.trim(), None), |(word, rest)| (word, Which::of(rest)));
        Some(match (word, which) {
            ("", None) => Self::None,
            ("staged", None) => Self::Staged,
            ("held", None) => Self::Held,
            ("frozen", Some(which)) => Self::Frozen(which),
            ("committed", Some(which)) => Self::Committed(which),
            ("on", Some(which)) => Self::On(which),
            _ => return None,
        })
    }
}

/// Which store control planes serve, or are to serve once a switch that was cut off is brought to its end, and whether all of them do. The first
/// that knows is the one that decides.
pub fn serves(states: &[State]) -> (Which, bool) {
    let decided = |state: &State| match state {
        State::Frozen(which) | State::Committed(which) | State::On(which) => Some(*which),
        State::None | State::Staged | State::Held => None,
    };
    let serves = states.iter().find_map(decided).unwrap_or(Which::Old);
    let is_calm = |state: &State| match state {
        State::None | State::Staged => serves == Which::Old,
        state => *state == State::On(serves),
    };
    (serves, states.iter().all(is_calm))
}

/// What a migration is about, as every control plane keeps it. No secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Tells migrations apart.
    pub id: String,
    /// The description of the cluster before, and after.
    pub old: String,
    /// After.
    pub new: String,
    /// Of each store that moves, by shard: the revision that the new one begins at. What is above was written to it.
    #[serde(default)]
    pub begins: Vec<(String, u64)>,
}

/// What a control plane knows of a migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// How far it is.
    pub state: State,
    /// What it is about; none where there is no migration.
    pub record: Option<Record>,
}

/// Looks.
pub async fn look(host: &impl Query, label: &str) -> Result<Seen, Failure> {
    let script = "cat -- \"$1/state\" 2>/dev/null || :; printf '\\036'; cat -- \"$1/record.json\" 2>/dev/null || :";
    let deadline = std::time::Duration::from_secs(20);
    let question = Question { script, args: vec![FOLDER.into()], input: Vec::new(), deadline };
    let answer = host.ask(question).await.map_err(|error| Failure::new(runner::kind(&error), error.to_string()))?;
    let text = String::from_utf8_lossy(&answer.stdout).into_owned();
    let (state, record) = text.split_once('\x1e').unwrap_or_default();
    let unreadable =
        || Failure::new(Kind::Unhealthy, format!("what {label} keeps of a migration in {FOLDER} cannot be read"));
    let record = if record.is_empty() { None } else { Some(serde_json::from_str(record).map_err(|_| unreadable())?) };
    Ok(Seen { state: State::parse(state).ok_or_else(unreadable)?, record })
}

/// What a control plane is to have for the other store.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// Files as they are to be.
    pub files: Vec<File>,
    /// Files that the other store does not have.
    pub absent: BTreeSet<String>,
}

impl Change {
    /// Every path that it is about, the API server's manifest among them.
    fn paths(&self) -> Vec<String> {
        let own = self.files.iter().map(|file| file.path.clone());
        let all: BTreeSet<String> = own.chain(self.absent.iter().cloned()).chain([API_SERVER.to_owned()]).collect();
        all.into_iter().collect()
    }
}

/// Both stores' files side by side, and the program that switches between them. Changes nothing that runs.
pub fn stage(host: &str, change: &Change, record: &Record) -> Result<Plan, Failure> {
    let kept = keep(record)?;
    let args = [vec![FOLDER.to_owned()], change.paths()].concat();
    let mut steps = vec![
        ("folder", "make a folder for the migration".to_owned(), Op::Directory { path: FOLDER.into(), mode: 0o700 }),
        ("switch", "place the program that switches".into(), file(format!("{FOLDER}/switch"), 0o700, SWITCH)),
        ("thaw", "place what goes back by itself".into(), file(THAW_UNIT.into(), 0o644, THAW)),
        (
            "kept",
            "keep the files of the store that serves".into(),
            script(include_str!("scripts/stage.sh"), args, 60, &record.id),
        ),
    ];
    let staged = |file: &File| File { path: format!("{FOLDER}/new{}", file.path), ..file.clone() };
    let files = change.files.iter().map(|new| ("file", format!("stage {}", new.path), Op::File(staged(new))));
    steps.extend(files);
    let without = change.absent.iter().map(|path| {
        let op = Op::Absent { path: format!("{FOLDER}/new{path}") };
        ("without", format!("stage that {path} goes"), op)
    });
    steps.extend(without);
    steps.push(("record", "keep what the migration is about".into(), kept));
    Ok(plan(host, steps))
}

/// What the migration is about is known by a control plane.
pub fn noted(host: &str, record: &Record) -> Result<Plan, Failure> {
    Ok(plan(host, vec![("record", "keep what the migration is about".into(), keep(record)?)]))
}

fn keep(record: &Record) -> Result<Op, Failure> {
    let text = serde_json::to_string(record).map_err(|error| Failure::new(Kind::Internal, error.to_string()))?;
    Ok(file(format!("{FOLDER}/record.json"), 0o600, &text))
}

/// The API server stops; what serves is back after `seconds` unless somebody says otherwise.
pub fn freeze(host: &str, serves: Which, seconds: u64, run: &str) -> Plan {
    let args = vec![FOLDER.to_owned(), seconds.to_string(), serves.name().into()];
    let title = format!("stop the API server, for {seconds} s at most");
    plan(host, vec![("frozen", title, script(include_str!("scripts/freeze.sh"), args, END, run))])
}

/// From now on another control plane decides.
pub fn hold(host: &str, run: &str) -> Plan {
    let op = script(include_str!("scripts/hold.sh"), vec![FOLDER.into()], 60, run);
    plan(host, vec![("held", "leave the decision to the first control plane".into(), op)])
}

/// The one that decides goes to a store, unless its time is over.
pub fn commit(host: &str, to: Which, address: &str, run: &str) -> Plan {
    switched(host, "commit", to, address, run)
}

/// What a control plane needs before its member of etcd is made: the image, and the authority of `authority`, which has made one.
pub fn etcd_ready(host: &str, image: &str, authority: Option<&str>) -> Plan {
    let reference = image.to_owned();
    let pulled = Op::Image(Image { reference, push: false, environment: Vec::new() });
    let mut steps = vec![("image", format!("pull {image}"), pulled)];
    if let Some(from) = authority {
        steps.push(("pki", "make a folder for etcd's keys".into(), Op::Directory { path: PKI.into(), mode: 0o755 }));
        for (name, path, mode) in [("authority", AUTHORITY[0], 0o644), ("authority-key", AUTHORITY[1], 0o600)] {
            steps.push((name, format!("take over {path}"), Op::Carry { host: from.into(), path: path.into(), mode }));
        }
    }
    plan(host, steps)
}

/// While it is frozen: everything but the API server is as the other store has it.
pub fn exchange(host: &str, to: Which, run: &str) -> Plan {
    let op = script("exec \"$1/switch\" exchange \"$2\"", vec![FOLDER.into(), to.name().into()], END, run);
    plan(host, vec![("exchanged", format!("start the {} store", to.name()), op)])
}

/// Another one goes where the first is.
pub fn follow(host: &str, to: Which, address: &str, run: &str) -> Plan {
    switched(host, "follow", to, address, run)
}

fn switched(host: &str, verb: &str, to: Which, address: &str, run: &str) -> Plan {
    let text = "exec \"$1/switch\" \"$2\" \"$3\"";
    let args = [FOLDER, verb, to.name()].map(str::to_owned).to_vec();
    let ready = script(include_str!("scripts/ready.sh"), vec![address.into(), READY.to_string()], READY + 30, run);
    plan(
        host,
        vec![
            ("switched", format!("go to the {} store", to.name()), script(text, args, END, run)),
            ("ready", "wait for the API server".into(), ready),
        ],
    )
}

/// kubeadm's own configuration in the cluster names the store that it is on now, so that `kubeadm upgrade` does.
pub fn configured(host: &str, configuration: &str, run: &str) -> Plan {
    let patch = serde_json::json!({ "data": { "ClusterConfiguration": configuration } }).to_string();
    let path = format!("{FOLDER}/kubeadm-config.json");
    let text = "kubectl --kubeconfig /etc/kubernetes/admin.conf -n kube-system patch configmap kubeadm-config --type merge --patch-file \"$1\"";
    plan(
        host,
        vec![
            ("configuration", "write what kubeadm is to know".into(), file(path.clone(), 0o600, &patch)),
            ("configured", "tell kubeadm of the store".into(), script(text, vec![path], 60, run)),
        ],
    )
}

/// Nothing of the migration stays on the host.
pub fn finish(host: &str, run: &str) -> Plan {
    let op = script(include_str!("scripts/finish.sh"), vec![FOLDER.into()], 60, run);
    plan(host, vec![("finished", "remove what the way back needs".into(), op)])
}

/// Sends a store's file to where the switch takes it from; `told` hears of bytes so far and in all.
pub async fn send(
    host: &impl Mutate,
    path: &Path,
    shard: &str,
    which: Which,
    told: impl Fn(u64, u64),
) -> Result<(), Failure> {
    let unreadable = |error: std::io::Error| Failure::new(Kind::Internal, format!("{}: {error}", path.display()));
    let size = std::fs::metadata(path).map_err(unreadable)?.len();
    let op = Op::Fetch(Fetch {
        name: format!("the store {shard}"),
        version: String::new(),
        url: String::new(),
        sha256: digest(path).await.map_err(unreadable)?,
        size,
        staged: format!("{FOLDER}/{}.db/{shard}.db", which.name()),
        yields: Vec::new(),
        push: true,
        environment: Vec::new(),
    });
    let record =
        journal::Record { run: String::new(), step: "migrate/file".into(), digest: op.digest(), files: Vec::new() };
    let payload: Payload = Box::new(tokio::fs::File::open(path).await.map_err(unreadable)?);
    let (signals, mut heard) = mpsc::unbounded_channel();
    let sent = async { host.apply(&op, &record, Some(payload), &signals).await.inspect(|()| drop(signals)) };
    let listening = async {
        while let Some(signal) = heard.recv().await {
            if let Signal::Bytes { done, total } = signal {
                told(done, total);
            }
        }
    };
    let (sent, ()) = tokio::join!(sent, listening);
    sent.map_err(|error| Failure::new(runner::kind(&error), format!("the store {shard} could not be sent: {error}")))
}

/// A file's SHA-256.
async fn digest(path: &Path) -> std::io::Result<String> {
    let mut file = tokio::fs::File::open(path).await?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer).await? {
            0 => return Ok(op::hex(&hash.finalize())),
            count => hash.update(&buffer[..count]),
        }
    }
}

fn file(path: String, mode: u32, text: &str) -> Op {
    Op::File(File::new(path, mode, text))
}

fn script(text: &'static str, args: Vec<String>, seconds: u64, run: &str) -> Op {
    Op::Script(Script {
        text: text.into(),
        args,
        creates: Vec::new(),
        watches: Vec::new(),
        of: run.to_owned(),
        seconds,
    })
}

/// One step after the other.
fn plan(host: &str, steps: Vec<(&str, String, Op)>) -> Plan {
    let mut before: Option<String> = None;
    let planned = steps.into_iter().enumerate().map(|(number, (name, title, op))| {
        let id = if name == "file" || name == "without" {
            format!("migrate/{name}-{number}")
        } else {
            format!("migrate/{name}")
        };
        let step = Step::new(id.clone(), title, op).after(before.replace(id));
        Planned { step, decision: Decision::Change("the cluster moves".into()) }
    });
    Plan { host: host.to_owned(), steps: planned.collect(), proxy: None }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test")]
    use super::*;

    /// The program that switches, in a folder of its own, as far as it touches nothing else: its exit code, and the state afterwards.
    fn switched(state: &str, words: &[&str]) -> (Option<i32>, String) {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        std::fs::write(place("switch"), SWITCH).unwrap();
        std::fs::write(place("state"), format!("{state}\n")).unwrap();
        let ran = std::process::Command::new("sh").arg(place("switch")).args(words).output().unwrap();
        (ran.status.code(), std::fs::read_to_string(place("state")).unwrap().trim().to_owned())
    }

    #[test]
    fn nothing_is_switched_out_of_turn() {
        for (state, words, code) in [
            ("staged", &["resume"][..], 0),
            ("held", &["resume"], 0),
            ("on new", &["resume"], 0),
            ("staged", &["commit", "new"], 9),
            ("held", &["commit", "new"], 9),
            ("on old", &["commit", "new"], 9),
            ("staged", &["exchange", "new"], 9),
            ("on old", &["exchange", "new"], 9),
        ] {
            assert_eq!(switched(state, words), (Some(code), state.to_owned()), "{state}: {words:?}");
        }
    }

    #[test]
    fn states_are_read() {
        for (text, state) in [
            ("", Some(State::None)),
            ("staged\n", Some(State::Staged)),
            ("frozen old\n", Some(State::Frozen(Which::Old))),
            ("held\n", Some(State::Held)),
            ("committed new\n", Some(State::Committed(Which::New))),
            ("on new\n", Some(State::On(Which::New))),
            ("on\n", None),
            ("on both\n", None),
            ("asleep", None),
        ] {
            assert_eq!(State::parse(text), state, "{text:?}");
        }
    }
}

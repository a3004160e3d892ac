//! A cluster that comes back from a backup: which files its control planes are made with, what stands still while stores are filled, and what
//! is known of a run that was cut off.

use std::collections::BTreeSet;
use std::path::Path;

use super::plan::{Plan, Planned};
use super::{Context, Step};
use crate::datastore::backup::Backup;
use crate::datastore::sqlite;
use crate::failure::{Failure, Kind};
use crate::journal::Record;
use crate::op::{Decision, Fetch, File, Op, Script};
use crate::remote::{Mutate, Question, RemoteError, Signals};

/// Where manifests are while stores are filled. The kubelet starts again whatever it finds.
const ASIDE: &str = "/var/lib/etcdless/restore";

/// Seconds that API server and kine may take to end: the kubelet gives a Pod 30.
const STOP_DEADLINE: u64 = 120;

/// What kubeadm makes anew for each control plane, with the authorities that are put back.
const MADE: [&str; 4] = ["apiserver.", "apiserver-kubelet-client.", "apiserver-etcd-client.", "front-proxy-client."];

/// The folder of what all control planes of a cluster have in common.
const PKI: &str = "/etc/kubernetes/pki/";

/// The files of a backup that control planes are made with: what signs, and what the API server encrypts by. The second list is of those that
/// are no text, and cannot be placed.
pub fn files(backup: &Backup) -> (Vec<File>, Vec<String>) {
    let is_common = |path: &str| {
        let own = path
            .strip_prefix(PKI)
            .is_some_and(|name| !name.starts_with("etcd/") && !MADE.iter().any(|made| name.starts_with(made)));
        own || backup.head.encryption.as_deref() == Some(path)
    };
    let (mut files, mut left) = (Vec::new(), Vec::new());
    for info in backup.head.files.iter().filter(|info| is_common(&info.path)) {
        let text = backup.file(&info.path).and_then(|content| std::str::from_utf8(content).ok());
        let mode = u32::from_str_radix(&info.mode, 8).unwrap_or(0o600);
        match text {
            Some(text) => files.push(File::secret(info.path.clone(), mode, text)),
            None => left.push(info.path.clone()),
        }
    }
    (files, left)
}

/// Each file as a step of phase `kubelet`, before certificates are made.
pub(super) fn placed(files: &[File]) -> Vec<Step> {
    let step = |file: &File| {
        let name = file.path.trim_start_matches("/etc/").replace('/', "-");
        Step::new(format!("kubelet/restored-{name}"), format!("put {} back", file.path), Op::File(file.clone()))
    };
    files.iter().map(step).collect()
}

/// On the first control plane: nodes that the cluster knows as ready, and that are to join as fresh machines, which kubeadm refuses.
pub(super) fn rejoining(context: &Context<'_>) -> Option<Step> {
    let named = |label: &String| context.peers.iter().find(|peer| peer.label == *label)?.name.clone();
    let names: Vec<String> = context.joining.iter().filter_map(named).collect();
    if context.restored.is_empty() || names.is_empty() {
        return None;
    }
    let script = script(include_str!("scripts/restore_unready.sh"), names, context.run, 60);
    Some(Step::new("join/not-ready", "mark nodes that join again as not ready", script).after(["control-plane"]))
}

/// What a control plane does before stores are filled.
pub fn stopped(label: &str, run: &str) -> Plan {
    let args = vec![ASIDE.to_owned(), STOP_DEADLINE.to_string()];
    let text = concat!(include_str!("scripts/ended.sh"), include_str!("scripts/restore_stop.sh"));
    let script = script(text, args, run, STOP_DEADLINE + 60);
    plan(label, Step::new("restore/stopped", "stop API server, controllers and kine", script))
}

/// What it does afterwards.
pub fn started(label: &str, run: &str) -> Plan {
    let script = script(include_str!("scripts/restore_start.sh"), vec![ASIDE.to_owned()], run, 120);
    plan(label, Step::new("restore/started", "start kine, API server and controllers", script))
}

/// Kept in the journal of the control plane that a store was filled from: that it was, and with which backup; once the cluster is up, that
/// the restore is over.
pub fn filled(label: &str, shard: &str, backup: &str, is_over: bool) -> Plan {
    plan(label, mark(shard, backup, is_over))
}

/// Whether the journal says that a store was filled with this backup by a run that did not come to its end.
pub fn is_filled(journal: &crate::journal::Journal, shard: &str, backup: &str) -> bool {
    let step = mark(shard, backup, false);
    journal.has(&step.id, &step.op.digest())
}

fn mark(shard: &str, backup: &str, is_over: bool) -> Step {
    let of = if is_over { "over" } else { backup };
    let title = if is_over { format!("note that {shard} is restored") } else { format!("note that {shard} is filled") };
    Step::new(format!("restore/filled-{shard}"), title, script("exit 0", Vec::new(), of, 10))
}

fn script(text: &'static str, args: Vec<String>, of: &str, seconds: u64) -> Op {
    Op::Script(Script { text: text.into(), args, creates: Vec::new(), watches: Vec::new(), of: of.to_owned(), seconds })
}

fn plan(label: &str, step: Step) -> Plan {
    let decision = Decision::Change("to be done".into());
    Plan { host: label.to_owned(), steps: vec![Planned { step, decision }], proxy: None }
}

/// Files that are where a shard's SQLite file belongs, its log among them.
pub async fn sqlite_files(host: &impl Mutate, shard: &str) -> Result<Vec<String>, RemoteError> {
    let script = "ls -d -- \"$1\"* 2>/dev/null || :";
    let args = vec![sqlite::file(shard)];
    let deadline = std::time::Duration::from_secs(20);
    let answer = host.ask(Question { script, args, input: Vec::new(), deadline }).await?;
    Ok(String::from_utf8_lossy(&answer.stdout).lines().map(str::to_owned).collect())
}

/// Puts a file that was made on this machine in the place of a shard's SQLite file, and keeps in the journal that it is filled with this backup.
/// What is cut off leaves neither.
pub async fn place_sqlite(
    host: &impl Mutate,
    (shard, backup): (&str, &str),
    file: &Path,
    run: &str,
    signals: &Signals,
) -> Result<(), Failure> {
    let unreadable =
        |error: std::io::Error| Failure::new(Kind::Step, format!("{} cannot be read: {error}", file.display()));
    let source = file.to_owned();
    let hashed = tokio::task::spawn_blocking(move || hash(&source)).await;
    let (sha256, size) = hashed.unwrap_or_else(|error| Err(std::io::Error::other(error))).map_err(unreadable)?;
    let (path, staged) = (sqlite::file(shard), format!("{ASIDE}/{shard}.db"));
    let folder = Op::Directory { path: sqlite::DIRECTORY.into(), mode: 0o700 };
    let fetch = Op::Fetch(Fetch {
        name: format!("{shard}.db"),
        version: sha256.clone(),
        url: String::new(),
        sha256: sha256.clone(),
        size,
        staged: staged.clone(),
        yields: Vec::new(),
        push: true,
        environment: Vec::new(),
    });
    let install = Op::Install { staged, path, mode: 0o600, version: sha256 };
    let filled = mark(shard, backup, false);
    for (step, digest, op) in [
        (format!("restore/folder-{shard}"), folder.digest(), folder),
        (format!("restore/sent-{shard}"), fetch.digest(), fetch),
        (filled.id, filled.op.digest(), install),
    ] {
        let record = Record { run: run.to_owned(), step, digest, files: Vec::new() };
        let payload = match &op {
            Op::Fetch(_) => Some(Box::new(tokio::fs::File::open(file).await.map_err(unreadable)?) as _),
            _ => None,
        };
        host.apply(&op, &record, payload, signals).await.map_err(|error| {
            Failure::new(super::runner::kind(&error), format!("{shard}.db cannot be placed: {error}"))
        })?;
    }
    Ok(())
}

fn hash(path: &Path) -> std::io::Result<(String, u64)> {
    use sha2::{Digest, Sha256};
    let (mut hash, mut size, mut part) = (Sha256::new(), 0, vec![0; 1 << 20]);
    let mut file = std::fs::File::open(path)?;
    loop {
        match std::io::Read::read(&mut file, &mut part)? {
            0 => return Ok((crate::op::hex(&hash.finalize()), size)),
            count => {
                hash.update(&part[..count]);
                size += count as u64;
            }
        }
    }
}

/// Nodes that a backup's main store names and the description does not, and whether each row is in the store that it belongs into by the
/// description: the first that is not is the error. Blocks.
pub fn survey<'a>(backup: &Backup, store_of: impl Fn(&str) -> Option<&'a str>) -> Result<BTreeSet<String>, Failure> {
    let (mut nodes, mut misplaced) = (BTreeSet::new(), None);
    for shard in &backup.manifest.stores {
        backup.rows(&shard.name, |rows| {
            for row in &rows {
                nodes.extend(row.key.strip_prefix("/registry/minions/").map(str::to_owned));
                if store_of(&row.key).is_some_and(|store| store != shard.name) {
                    misplaced.get_or_insert_with(|| (row.key.clone(), shard.name.clone()));
                }
            }
            misplaced.is_none()
        })?;
    }
    match misplaced {
        None => Ok(nodes),
        Some((key, shard)) => {
            let belongs = store_of(&key).unwrap_or_default();
            Err(Failure::new(
                Kind::Config,
                format!("{key} is in the backup's store {shard}, and the description keeps it in {belongs}"),
            )
            .hint("restore with the shards that the backup was made with"))
        }
    }
}

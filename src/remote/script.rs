//! What runs on a host for each operation. Pure: the scripts are fixed texts, values are their arguments, secrets their input.

use secrecy::{ExposeSecret, SecretString};

use crate::journal::{self, Record};
use crate::op::Op;

/// Puts the part that every change shares around a script: arguments, lock and `set -eu` before, the journal's entry after it.
macro_rules! change {
    ($($file:literal),+) => {
        concat!(include_str!("scripts/head.sh"), $(include_str!($file),)+ include_str!("scripts/tail.sh"))
    };
}

/// The same of what downloads: in an environment that its first arguments tell.
macro_rules! download {
    ($($file:literal),+) => {
        change!("scripts/environment.sh", $($file),+)
    };
}

/// Comes before the arguments of a script that takes an environment.
pub fn environment(variables: &[String]) -> Vec<String> {
    std::iter::once(variables.len().to_string()).chain(variables.iter().cloned()).collect()
}

/// Where etcdless keeps what it knows on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The journal.
    pub journal: String,
    /// The lock; `LOCK.steps` beside it is held, shared, by every change that runs.
    pub lock: String,
}

impl Default for Layout {
    fn default() -> Self {
        Self { journal: journal::PATH.into(), lock: "/run/etcdless.lock".into() }
    }
}

/// A script, ready to run.
#[derive(Debug, Clone)]
pub struct Call {
    /// POSIX shell, the same for every operation of a kind.
    pub script: &'static str,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its standard input, where that is not a payload.
    pub input: Option<SecretString>,
    /// The longest that it may take.
    pub seconds: u64,
}

/// What to run for an operation; the reason where it cannot be run as it is.
pub fn call(op: &Op, record: &Record, layout: &Layout) -> Result<Call, &'static str> {
    let (script, seconds, own) = own(op)?;
    let mut args = vec![
        layout.journal.clone(),
        layout.lock.clone(),
        record.run.clone(),
        record.step.clone(),
        record.digest.clone(),
        record.files.len().to_string(),
    ];
    args.extend(record.files.iter().cloned());
    let places = places(op);
    args.push(places.len().to_string());
    args.extend(places);
    args.extend(own);
    let input = if let Op::File(file) = op { Some(file.content.clone()) } else { None };
    Ok(Call { script, args, input, seconds })
}

/// Paths that are noted, as far as they are not there yet, before the operation makes them. An archive's
/// script notes all that it holds.
fn places(op: &Op) -> Vec<String> {
    match op {
        Op::Unpack { .. } => Vec::new(),
        _ => op.changes(),
    }
}

/// The script of an operation, the seconds that it may take, and its own arguments.
fn own(op: &Op) -> Result<(&'static str, u64, Vec<String>), &'static str> {
    Ok(match op {
        Op::Directory { path, mode } => (change!("scripts/directory.sh"), 60, vec![path.clone(), octal(*mode)]),
        Op::File(file) => {
            let size = file.content.expose_secret().len().to_string();
            (change!("scripts/file.sh"), 60, vec![file.path.clone(), octal(file.mode), size])
        }
        Op::Fetch(fetch) if fetch.sha256.is_empty() => return Err("the file's SHA-256 is not known yet"),
        Op::Fetch(fetch) => {
            let args = [fetch.url.clone(), fetch.sha256.clone(), fetch.staged.clone(), from(fetch.push)];
            (download!("scripts/fetch.sh"), 3600, [environment(&fetch.environment), args.into()].concat())
        }
        Op::Install { staged, path, mode, .. } => {
            (change!("scripts/install.sh"), 300, vec![staged.clone(), path.clone(), octal(*mode)])
        }
        Op::Unpack { staged, into, creates, .. } => {
            let args = [staged, into].into_iter().chain(creates).cloned().collect();
            (change!("scripts/unpack.sh"), 600, args)
        }
        Op::Package { names, bundled, environment: variables } => {
            let args = [environment(variables), vec![from(bundled.is_some())], names.clone()].concat();
            (download!("scripts/repository.sh", "scripts/package.sh"), 1800, args)
        }
        Op::Absent { path } => (change!("scripts/absent.sh"), 60, vec![path.clone()]),
        Op::Module { name } => (change!("scripts/module.sh"), 60, vec![name.clone()]),
        Op::Sysctl { key, value, .. } => (change!("scripts/sysctl.sh"), 60, vec![sysctl_path(key), value.clone()]),
        Op::SwapOff => (change!("scripts/swap_off.sh"), 300, vec!["/etc/fstab".into()]),
        Op::HostsEntry { name, address } => {
            (change!("scripts/hosts_entry.sh"), 60, vec!["/etc/hosts".into(), name.clone(), address.clone()])
        }
        Op::Unit { name, running, watches } => {
            let want = if *running { "running" } else { "enabled" };
            let args = [name.clone(), want.into()].into_iter().chain(watches.iter().cloned()).collect();
            (change!("scripts/unit.sh"), 300, args)
        }
        Op::Image(image) => {
            let args = vec![image.reference.clone(), from(image.push)];
            (download!("scripts/image.sh"), 3600, [environment(&image.environment), args].concat())
        }
        Op::Script(script) => {
            let args = std::iter::once(script.text.to_string()).chain(script.args.iter().cloned()).collect();
            (change!("scripts/script.sh"), script.seconds, args)
        }
        Op::Local(_) => (change!("scripts/local.sh"), 60, Vec::new()),
        Op::Certificates { .. } => return Err("certificates are placed as files"),
        Op::Carry { .. } => return Err("what another host has is placed as a file"),
    })
}

/// Where the kernel keeps a sysctl key.
pub(super) fn sysctl_path(key: &str) -> String {
    format!("/proc/sys/{}", key.replace('.', "/"))
}

fn octal(mode: u32) -> String {
    format!("{mode:04o}")
}

fn from(push: bool) -> String {
    if push { "push" } else { "node" }.into()
}

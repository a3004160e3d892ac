//! First contact: the key is learned with a plain `ssh` into a file of its own, so that ssh_config and jump hosts apply and nothing is
//! logged in to, shown to a person, and only then added to known_hosts.

use std::ffi::OsString;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::RemoteError;
use super::host::Connect;
use super::ssh::{Refusal, Target, expand, summary};

/// Learns the key of a host, has it accepted, and adds it to known_hosts. Where the key that ssh did not know is that of a host on the
/// way, that one is met first.
pub(super) async fn meet(target: &Target, options: &Connect) -> Result<(), RemoteError> {
    let folder = tempfile::tempdir().map_err(|error| failed(target, &error))?;
    let learned = folder.path().join("known_hosts");
    let said = learn(target, &learned).await.map_err(|error| failed(target, &error))?;
    let lines = std::fs::read_to_string(&learned).unwrap_or_default();
    if lines.trim().is_empty() {
        return match target.refusal(&said) {
            Refusal::KeyUnknown => meet_hop(target, options, summary(&said)).await,
            Refusal::OnTheWay(error) | Refusal::Other(error) => Err(error),
        };
    }
    let fingerprint = fingerprint(&learned).await.map_err(|error| failed(target, &error))?;
    if !accepted(options, &target.label, &fingerprint).await {
        return Err(RemoteError::HostKeyUnknown { host: target.label.clone(), fingerprint });
    }
    let path = file(target, options).await;
    append(&path, &lines)
        .map_err(|error| failed(target, &io::Error::new(error.kind(), format!("{}: {error}", path.display()))))
}

/// The way through another host failed, and the log of the last ssh does not say why; a plain ssh does. An unknown key on the way is
/// learned; anything else is the error.
pub(super) async fn meet_on_the_way(
    target: &Target,
    options: &Connect,
    otherwise: RemoteError,
) -> Result<(), RemoteError> {
    let said = run(target, &["StrictHostKeyChecking=yes", "PreferredAuthentications=none"])
        .await
        .map_err(|error| failed(target, &error))?;
    match target.refusal(&said) {
        Refusal::KeyUnknown => meet_hop(target, options, summary(&said)).await,
        Refusal::Other(error) if !said.trim().is_empty() => Err(error),
        _ => Err(otherwise),
    }
}

/// Meets the first host on the way.
async fn meet_hop(target: &Target, options: &Connect, reason: String) -> Result<(), RemoteError> {
    let jump = setting(target, "proxyjump").await.filter(|jump| jump != "none");
    match jump.as_deref().and_then(|jump| jump.split(',').next()) {
        Some(jump) => Box::pin(meet(&target.hop(jump), options)).await,
        None => Err(RemoteError::Unreachable { host: target.label.clone(), reason }),
    }
}

async fn accepted(options: &Connect, host: &str, fingerprint: &str) -> bool {
    if options.accept_new {
        return true;
    }
    let Some(confirm) = options.confirm.clone() else { return false };
    let (host, fingerprint) = (host.to_owned(), fingerprint.to_owned());
    tokio::task::spawn_blocking(move || confirm(&host, &fingerprint)).await.unwrap_or(false)
}

/// Connects up to the key exchange and no further: no authentication is offered. Returns what ssh printed.
async fn learn(target: &Target, into: &Path) -> io::Result<String> {
    let file = format!("UserKnownHostsFile={}", into.display());
    let options = [
        file.as_str(),
        "GlobalKnownHostsFile=/dev/null",
        "StrictHostKeyChecking=accept-new",
        "UpdateHostKeys=no",
        "PreferredAuthentications=none",
    ];
    run(target, &options).await
}

/// Runs `ssh` with options that come before all others, and returns what it printed to standard error.
async fn run(target: &Target, options: &[&str]) -> io::Result<String> {
    let mut args: Vec<OsString> = Vec::new();
    for option in options.iter().chain(&["LogLevel=ERROR"]) {
        args.extend(["-o".into(), (*option).into()]);
    }
    args.extend(target.args());
    let mut command = Command::new("ssh");
    command.arg("-T").args(args).arg("--").arg(&target.destination).arg("true");
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await?;
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// The key's type and SHA-256 fingerprint.
async fn fingerprint(file: &Path) -> io::Result<String> {
    let output = Command::new("ssh-keygen").arg("-lf").arg(file).stdin(Stdio::null()).output().await?;
    let text = String::from_utf8_lossy(&output.stdout);
    // `256 SHA256:... HOST (ED25519)`
    let words: Vec<&str> = text.lines().next().unwrap_or_default().split_whitespace().collect();
    match words[..] {
        [_, sha256, .., kind] => Ok(format!("{} {sha256}", kind.trim_matches(['(', ')']))),
        _ => Err(io::Error::other("ssh-keygen prints no fingerprint")),
    }
}

/// The first known_hosts file that ssh would write to.
async fn file(target: &Target, options: &Connect) -> PathBuf {
    if let Some(path) = &options.known_hosts {
        return path.clone();
    }
    let files = setting(target, "userknownhostsfile").await;
    let first = files.as_deref().and_then(|files| files.split_whitespace().next());
    expand(Path::new(first.unwrap_or("~/.ssh/known_hosts")))
}

/// What ssh_config says for the host, by lower-case name.
async fn setting(target: &Target, name: &str) -> Option<String> {
    let mut command = Command::new("ssh");
    command.arg("-G").args(target.args()).arg("--").arg(&target.destination);
    let output = command.stdin(Stdio::null()).output().await.ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(' ')?.trim().to_owned()))
}

fn append(path: &Path, lines: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let mut file = std::fs::OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    let mut text = String::new();
    if file.seek(SeekFrom::End(0))? > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            text.push('\n');
        }
    }
    text.push_str(lines);
    file.write_all(text.as_bytes())
}

fn failed(target: &Target, error: &io::Error) -> RemoteError {
    RemoteError::Unreachable { host: target.label.clone(), reason: format!("its key could not be learned: {error}") }
}

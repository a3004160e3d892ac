//! This machine as a host: the same scripts, without SSH.

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use tokio::process::Command;

use super::exec::Started;

/// Starts a program with its arguments; the error is the system's.
pub(super) fn start(argv: &[&str]) -> Result<Started, String> {
    let (program, args) = argv.split_first().ok_or("no program")?;
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{program}: {error}"))?;
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
        return Err(format!("{program}: no pipes"));
    };
    let end = async move {
        let status = child.wait().await.map_err(|error| error.to_string())?;
        Ok(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)))
    };
    Ok(Started { stdin: Box::new(stdin), stdout: Box::new(stdout), stderr: Box::new(stderr), end: Box::pin(end) })
}

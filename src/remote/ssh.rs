//! SSH through the user's own OpenSSH: one multiplexed connection a host, host keys checked, errors told apart.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use openssh::{ControlPersist, KnownHosts, Session, SessionBuilder, Stdio};
use tokio::time::{sleep, timeout};

use super::exec::Started;
use super::host::Connect;
use super::{RemoteError, known_hosts};
use crate::config::Host;

/// For TCP, greeting and key exchange, in seconds.
const CONNECT_SECONDS: u64 = 10;
/// For everything up to a usable connection, jump hosts and authentication too.
const PATIENCE: Duration = Duration::from_secs(45);
/// Three of these without an answer end the connection.
const ALIVE: Duration = Duration::from_secs(5);
/// How long ssh stays when this process ends without a word. A command that is open at all times keeps it otherwise.
const IDLE_SECONDS: usize = 5;

/// How long a command waits for sshd to give it a session.
const SLOT: Duration = Duration::from_secs(5);

/// How many keys are learned for one connection: the host's own, and those of hosts on the way.
const KEYS: usize = 4;

/// What ssh is told to connect to, beside the user's ssh_config.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// As the user named it.
    pub(super) label: String,
    /// As ssh takes it.
    pub(super) destination: String,
    user: Option<String>,
    port: Option<u16>,
    identity: Option<PathBuf>,
    jump: Option<String>,
    config_file: Option<PathBuf>,
    known_hosts: Option<PathBuf>,
}

/// Why a connection did not come up.
pub(super) enum Refusal {
    /// known_hosts does not have the key of the host, or of one on the way.
    KeyUnknown,
    /// The way through another host failed; ssh logs no more than that.
    OnTheWay(RemoteError),
    /// Anything else.
    Other(RemoteError),
}

impl Target {
    pub(super) fn new(host: &Host, options: &Connect) -> Self {
        Self {
            label: host.label(),
            destination: host.address.to_string(),
            user: host.user.clone(),
            port: host.ssh.port,
            identity: host.ssh.identity.as_deref().map(expand),
            jump: host.ssh.jump.clone(),
            config_file: options.config_file.clone(),
            known_hosts: options.known_hosts.clone(),
        }
    }

    /// A host on the way, in ProxyJump's form `[USER@]HOST[:PORT]`. What is said of the target itself is not said of it.
    pub(super) fn hop(&self, jump: &str) -> Self {
        let destination = if jump.contains("://") { jump.to_owned() } else { format!("ssh://{jump}") };
        let label = jump.to_owned();
        Self { label, destination, user: None, port: None, identity: None, jump: None, ..self.clone() }
    }

    /// The same for a plain `ssh`, destination left out.
    pub(super) fn args(&self) -> Vec<OsString> {
        let mut args: Vec<OsString> = Vec::new();
        let mut option = |flag: &str, value: Option<OsString>| {
            args.extend(value.map(|value| [flag.into(), value]).into_iter().flatten())
        };
        option("-F", self.config_file.clone().map(Into::into));
        option("-l", self.user.clone().map(Into::into));
        option("-p", self.port.map(|port| port.to_string().into()));
        option("-i", self.identity.clone().map(Into::into));
        option("-J", self.jump.clone().map(Into::into));
        option("-o", self.known_hosts.as_ref().map(|path| format!("UserKnownHostsFile={}", path.display()).into()));
        option("-o", Some("BatchMode=yes".into()));
        option("-o", Some(format!("ConnectTimeout={CONNECT_SECONDS}").into()));
        option("-o", Some("ControlPath=none".into()));
        args
    }

    fn builder(&self) -> SessionBuilder {
        let mut builder = SessionBuilder::default();
        builder
            .known_hosts_check(KnownHosts::Strict)
            .connect_timeout(Duration::from_secs(CONNECT_SECONDS))
            .server_alive_interval(ALIVE)
            .control_directory(control_directory());
        if let Some(seconds) = std::num::NonZeroUsize::new(IDLE_SECONDS) {
            builder.control_persist(ControlPersist::IdleFor(seconds));
        }
        if let Some(user) = &self.user {
            builder.user(user.clone());
        }
        if let Some(port) = self.port {
            builder.port(port);
        }
        if let Some(identity) = &self.identity {
            builder.keyfile(identity);
        }
        if let Some(jump) = &self.jump {
            builder.jump_hosts([jump]);
        }
        if let Some(path) = &self.config_file {
            builder.config_file(path);
        }
        if let Some(path) = &self.known_hosts {
            builder.user_known_hosts_file(path);
        }
        builder
    }

    /// Tells ssh's words apart.
    pub(super) fn refusal(&self, text: &str) -> Refusal {
        let host = self.label.clone();
        let said = |needle: &str| text.contains(needle);
        if said("HOST IDENTIFICATION HAS CHANGED") || said("REVOKED HOST KEY") {
            let reason = line_with(text, &["Offending", "REVOKED"]).unwrap_or_else(|| summary(text));
            Refusal::Other(RemoteError::HostKeyChanged { host, reason })
        } else if said("host key is known for") || said("Host key verification failed") {
            Refusal::KeyUnknown
        } else if let Some(reason) = line_with(text, &["Permission denied (", "Too many authentication failures"]) {
            let user =
                reason.split_once('@').map(|(user, _)| user.trim().to_owned()).filter(|user| !user.contains(' '));
            let user = user.or_else(|| self.user.clone()).unwrap_or_else(|| "the user of ssh_config".into());
            Refusal::Other(RemoteError::Denied { host, user, reason: summary(text) })
        } else if said("UNKNOWN port") || said("stdio forwarding failed") {
            Refusal::OnTheWay(RemoteError::Unreachable { host, reason: summary(text) })
        } else {
            Refusal::Other(RemoteError::Unreachable { host, reason: summary(text) })
        }
    }
}

/// Connects. One attempt where every key is known; else the key that is not is learned, shown, and the next attempt is as strict.
pub(super) async fn connect(target: &Target, options: &Connect) -> Result<Arc<Session>, RemoteError> {
    for _ in 0..=KEYS {
        match attempt(target).await {
            Ok(session) => return Ok(session),
            Err(Refusal::KeyUnknown) => known_hosts::meet(target, options).await?,
            Err(Refusal::OnTheWay(error)) => known_hosts::meet_on_the_way(target, options, error).await?,
            Err(Refusal::Other(error)) => return Err(error),
        }
    }
    let fingerprint = "ssh offers another key each time".into();
    Err(RemoteError::HostKeyUnknown { host: target.label.clone(), fingerprint })
}

async fn attempt(target: &Target) -> Result<Arc<Session>, Refusal> {
    let unreachable = |reason| Refusal::Other(RemoteError::Unreachable { host: target.label.clone(), reason });
    match timeout(PATIENCE, target.builder().connect_mux(&target.destination)).await {
        Ok(Ok(session)) => Ok(Arc::new(session)),
        Ok(Err(openssh::Error::Connect(error))) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(unreachable("the program ssh was not found on this machine".into()))
        }
        Ok(Err(openssh::Error::Connect(error))) => Err(target.refusal(&error.to_string())),
        Ok(Err(error)) => Err(unreachable(chain(&error))),
        Err(_) => Err(unreachable(format!("no connection within {} s", PATIENCE.as_secs()))),
    }
}

/// Starts a command, whatever the login shell is.
pub(super) async fn start(session: &Arc<Session>, argv: &[&str]) -> Result<Started, String> {
    let line = command_line(argv);
    let patience = Instant::now() + SLOT;
    let mut child = loop {
        let mut command = Session::to_raw_command(session.clone(), &line);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        match command.spawn().await.map_err(|error| chain(&error)) {
            // sshd counts a session a moment longer than its command runs. Nothing was started, so asking again is safe.
            Err(reason) if reason.contains("Session open refused") && Instant::now() < patience => {
                sleep(Duration::from_millis(20)).await;
            }
            child => break child?,
        }
    };
    let pipes = (child.stdin().take(), child.stdout().take(), child.stderr().take());
    let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
        return Err("no pipes to the command".into());
    };
    let end = async move {
        match child.wait().await {
            Ok(status) => Ok(status.code().unwrap_or(255)),
            // What the crate makes of 127; the output is ours already.
            Err(openssh::Error::Remote(_)) => Ok(127),
            Err(openssh::Error::RemoteProcessTerminated) => {
                Err(format!("it was closed, or gave no answer for {} s", 3 * ALIVE.as_secs()))
            }
            Err(error) => Err(chain(&error)),
        }
    };
    Ok(Started { stdin: Box::new(stdin), stdout: Box::new(stdout), stderr: Box::new(stderr), end: Box::pin(end) })
}

/// One line that means the same to every login shell, be it bash, fish or csh: it starts `sh` with two words in single quotes that hold
/// nothing which any of them would read. The second word is the command, quoted for `sh`, with all else as octal escapes.
fn command_line(argv: &[&str]) -> String {
    let quoted: Vec<String> = argv.iter().map(|word| format!("'{}'", word.replace('\'', "'\\''"))).collect();
    let mut line = "sh -c 'eval \"$(printf %b \"$1\")\"' sh '".to_owned();
    for byte in quoted.join(" ").bytes() {
        match byte {
            b'\'' | b'\\' | b'!' | 0..=0x1f | 0x7f.. => line.push_str(&format!("\\0{byte:03o}")),
            _ => line.push(char::from(byte)),
        }
    }
    line.push('\'');
    line
}

/// A socket's path may have about 100 bytes, so it belongs in a short folder.
pub(super) fn control_directory() -> PathBuf {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let short = runtime.filter(|path| path.is_absolute() && path.is_dir() && path.as_os_str().len() < 40);
    short.unwrap_or_else(|| "/tmp".into())
}

/// `~/` is the home folder, as in ssh_config.
pub(super) fn expand(path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), etcetera::home_dir()) {
        (Ok(rest), Ok(home)) => home.join(rest),
        _ => path.to_owned(),
    }
}

/// The first line that holds one of the words.
fn line_with(text: &str, words: &[&str]) -> Option<String> {
    text.lines().find(|line| words.iter().any(|word| line.contains(word))).map(|line| line.trim().to_owned())
}

/// ssh's words on one line.
pub(super) fn summary(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if lines.is_empty() { "ssh gave no reason".into() } else { lines.join("; ") }
}

/// An error with its causes.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn every_login_shell_passes_words_on_as_they_are() {
        let long = "x".repeat(20_000);
        let words = [
            "a b", "$HOME", "`id`", "'", "\"", "\\", "\\'", "a\nb\n", "", "*", "!x !!", "~", "-n", "ä€", "%s\\n",
            &long, "\t", "{a,b}",
        ];
        let argv: Vec<&str> = ["sh", "-c", "printf '[%s]' \"$@\"", "sh"].into_iter().chain(words).collect();
        let expected: String = words.iter().map(|word| format!("[{word}]")).collect();
        let mut tried = 0;
        for shell in ["sh", "dash", "bash", "zsh", "fish", "csh", "tcsh"] {
            let Ok(output) = std::process::Command::new(shell).arg("-c").arg(command_line(&argv)).output() else {
                continue;
            };
            assert_eq!(String::from_utf8(output.stdout).unwrap(), expected, "{shell}");
            tried += 1;
        }
        assert!(tried > 0);
    }

    #[test]
    fn refusals_are_told_apart() {
        let host: Host = serde_json::from_str(r#"{ "address": "h", "user": "jo" }"#).unwrap();
        let target = Target::new(&host, &Connect::default());
        for (text, expected) in [
            (
                "ssh: connect to host h port 22: No route to host",
                "h cannot be reached: ssh: connect to host h port 22: No route to host",
            ),
            (
                "Connection timed out during banner exchange\n",
                "h cannot be reached: Connection timed out during banner exchange",
            ),
            ("", "h cannot be reached: ssh gave no reason"),
            (
                "jo@h: Permission denied (publickey).",
                "h does not accept the login of jo: jo@h: Permission denied (publickey).",
            ),
            (
                "Received disconnect from h port 22:2: Too many authentication failures",
                "h does not accept the login of jo: Received disconnect from h port 22:2: Too many authentication failures",
            ),
            (
                "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nOffending RSA key in /k:3\nHost key verification failed.",
                "the host key of h has changed: Offending RSA key in /k:3",
            ),
            (
                "No ED25519 host key is known for h and you have requested strict checking.\nHost key verification failed.",
                "unknown",
            ),
            ("Connection closed by UNKNOWN port 65535", "on the way"),
        ] {
            let said = match target.refusal(text) {
                Refusal::KeyUnknown => "unknown".to_owned(),
                Refusal::OnTheWay(_) => "on the way".to_owned(),
                Refusal::Other(error) => error.to_string(),
            };
            assert_eq!(said, expected);
        }
    }
}

//! A connected host: over SSH, or this machine. Everything that is read from it or changed on it goes through here.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use openssh::Session;
use secrecy::ExposeSecret;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::exec::{self, Input, Started};
use super::script::{self, Layout};
use super::{Mutate, Output, Payload, Query, Question, RemoteError, Signals, local, look, ssh};
use crate::config::{self, Address};
use crate::facts::{Facts, Probes};
use crate::journal::Record;
use crate::op::Op;

/// How often a question is asked of whose answer something was lost on its way.
const ASKED: usize = 3;

/// The first command of every connection.
const PROBE: &str = include_str!("scripts/probe.sh");

/// Commands at a time. sshd's MaxSessions is 10 by default; the probe and the lock take one each.
const COMMANDS: usize = 7;

/// How long a look at a host may take.
const LOOK: Duration = Duration::from_secs(60);

/// How much later than the host's own time limit we stop to wait for its word.
const GRACE: Duration = Duration::from_secs(30);

/// The status of a script that found something else than what it expected; it names the digest.
const WRONG_DIGEST: i32 = 65;

/// Asks a person whether a new host key is right: the host as the user named it, the key's type and fingerprint. It may block.
pub type Confirm = Arc<dyn Fn(&str, &str) -> bool + Send + Sync>;

/// How to connect.
#[derive(Clone, Default)]
pub struct Connect {
    /// Keys of hosts that are not known yet are accepted. A key that changed never is.
    pub accept_new: bool,
    /// Who decides otherwise; without it, unknown keys are refused.
    pub confirm: Option<Confirm>,
    /// Instead of the user's own known_hosts.
    pub known_hosts: Option<PathBuf>,
    /// Instead of the user's own ssh_config.
    pub config_file: Option<PathBuf>,
    /// Where etcdless keeps what it knows on the host.
    pub layout: Layout,
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect").field("accept_new", &self.accept_new).finish_non_exhaustive()
    }
}

/// A connected host: over SSH, or this machine. Closed when it is dropped.
pub struct Host {
    name: String,
    user: String,
    sudo: bool,
    ssh_address: Option<IpAddr>,
    layout: Layout,
    permits: Semaphore,
    /// The probe, still running: ssh stays as long as it does.
    _keeper: Mutex<Option<Started>>,
    transport: Transport,
}

enum Transport {
    Ssh(Arc<Session>),
    Local,
}

impl Transport {
    async fn start(&self, argv: &[&str]) -> Result<Started, String> {
        match self {
            Self::Ssh(session) => ssh::start(session, argv).await,
            Self::Local => local::start(argv),
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("name", &self.name).field("user", &self.user).finish_non_exhaustive()
    }
}

impl Host {
    /// Connects and makes sure that we may be root. The user's ssh_config applies where the description says nothing.
    pub async fn connect(host: &config::Host, options: &Connect) -> Result<Self, RemoteError> {
        let name = host.label();
        let transport = match &host.address {
            Address::Local => Transport::Local,
            Address::Ssh(_) => Transport::Ssh(ssh::connect(&ssh::Target::new(host, options), options).await?),
        };
        let lost = |reason: String| RemoteError::Lost { host: name.clone(), reason };
        let mut keeper = transport.start(&["sh", "-c", PROBE, "sh"]).await.map_err(lost)?;
        let mut answer = String::new();
        let mut stdout = BufReader::new(&mut keeper.stdout);
        match timeout(GRACE, stdout.read_line(&mut answer)).await {
            Ok(read) => read.map_err(|error| lost(error.to_string()))?,
            Err(_) => return Err(lost(format!("no answer to the first command within {} s", GRACE.as_secs()))),
        };
        let garbled = |reason: &str| RemoteError::Garbled { host: name.clone(), reason: reason.to_owned() };
        let fields: Vec<&str> = answer.trim_end_matches('\n').split('\t').collect();
        let [may, user, ssh_connection] = fields[..] else {
            return Err(garbled(&format!("its shell answers {answer:?} to the first command")));
        };
        if may == "nothing" {
            return Err(RemoteError::NoSudo { host: name, user: user.to_owned() });
        }
        let (user, sudo) = (user.to_owned(), may == "sudo");
        // `CLIENT PORT SERVER PORT`
        let ssh_address = ssh_connection.split(' ').nth(2).and_then(|address| address.parse().ok());
        let keeper = if matches!(transport, Transport::Local) { None } else { Some(keeper) };
        let permits = Semaphore::new(COMMANDS);
        let layout = options.layout.clone();
        Ok(Self { name, user, sudo, ssh_address, layout, permits, _keeper: Mutex::new(keeper), transport })
    }

    /// What people call this host.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Who we are logged in as.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Whether the host is this machine.
    pub fn is_local(&self) -> bool {
        self.session().is_none()
    }

    /// The SSH connection; none where the host is this machine.
    pub(super) fn session(&self) -> Option<&Arc<Session>> {
        match &self.transport {
            Transport::Ssh(session) => Some(session),
            Transport::Local => None,
        }
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The same command as root.
    pub(super) fn privileged<'a>(&self, argv: &[&'a str]) -> Vec<&'a str> {
        let sudo: &[&str] = if self.sudo { &["sudo", "-n"] } else { &[] };
        [sudo, argv].concat()
    }

    pub(super) async fn start(&self, argv: &[&str]) -> Result<Started, RemoteError> {
        self.transport.start(argv).await.map_err(|reason| self.lost(reason))
    }

    pub(super) fn lost(&self, reason: String) -> RemoteError {
        RemoteError::Lost { host: self.name.clone(), reason }
    }

    /// Runs a script that only reads as root to its end. A status other than 0 is an answer. One of which something was lost on its way is
    /// asked for again.
    pub(super) async fn run(
        &self,
        script: &str,
        args: &[String],
        input: Vec<u8>,
        deadline: Duration,
    ) -> Result<Output, RemoteError> {
        let mut cut = String::new();
        for _ in 0..ASKED {
            let output = self.run_once(script, args, input.clone(), deadline).await?;
            let (status, length) = (output.status, output.stdout.len());
            let said = String::from_utf8_lossy(&output.stderr).lines().last().map(str::to_owned).unwrap_or_default();
            match exec::whole(output) {
                Some(output) => return Ok(output),
                None => cut = format!("its answer was cut off after {length} bytes, with status {status} {said}"),
            }
        }
        Err(self.garbled(cut.trim_end()))
    }

    async fn run_once(
        &self,
        script: &str,
        args: &[String],
        input: Vec<u8>,
        deadline: Duration,
    ) -> Result<Output, RemoteError> {
        let seconds = deadline.as_millis().div_ceil(1000).max(1) as u64;
        let limit = seconds.to_string();
        let _permit = self.permits.acquire().await.map_err(|error| self.lost(error.to_string()))?;
        let begun = Instant::now();
        let started = self.start(&self.privileged(&exec::framed(&limit, script, args))).await?;
        let ended = timeout(deadline + GRACE, exec::collect(started, Input::Bytes(input))).await;
        let output = ended.map_err(|_| self.timed_out(seconds, Vec::new()))?.map_err(|reason| self.lost(reason))?;
        if over(output.status, begun, seconds) {
            let lines = exec::whole(output).map(|output| last_lines(&output));
            return Err(self.timed_out(seconds, lines.unwrap_or_default()));
        }
        Ok(output)
    }

    fn timed_out(&self, seconds: u64, lines: Vec<String>) -> RemoteError {
        RemoteError::TimedOut { host: self.name.clone(), seconds, lines }
    }

    fn garbled(&self, reason: impl Into<String>) -> RemoteError {
        RemoteError::Garbled { host: self.name.clone(), reason: reason.into() }
    }
}

impl Query for Host {
    async fn facts(&self, probes: &Probes) -> Result<Facts, RemoteError> {
        let questions = look::questions(probes).map_err(|reason| self.garbled(reason))?;
        let before = now_ms();
        let begun = Instant::now();
        let output = self.run(look::SCRIPT, std::slice::from_ref(&self.layout.journal), questions, LOOK).await?;
        // The clock is read first, so half of a round trip that nothing else takes part in would be the middle; this is near enough.
        let middle = before + i64::try_from(begun.elapsed().as_millis() / 2).unwrap_or(0);
        if output.status != 0 {
            return Err(self.garbled(last_lines(&output).join("; ")));
        }
        let answers = String::from_utf8_lossy(&output.stdout);
        let mut facts = look::parse(&answers, probes, middle).map_err(|reason| self.garbled(reason))?;
        facts.ssh_address = self.ssh_address;
        Ok(facts)
    }

    async fn ask(&self, question: Question) -> Result<Output, RemoteError> {
        self.run(question.script, &question.args, question.input, question.deadline).await
    }
}

impl Mutate for Host {
    async fn apply(
        &self,
        op: &Op,
        record: &Record,
        payload: Option<Payload>,
        signals: &Signals,
    ) -> Result<(), RemoteError> {
        let call = script::call(op, record, &self.layout).map_err(|reason| self.garbled(reason))?;
        let size = if let Op::Fetch(fetch) = op { fetch.size } else { 0 };
        let input = match (call.input, payload) {
            (Some(secret), _) => Input::Bytes(secret.expose_secret().as_bytes().to_vec()),
            (None, Some(payload)) => Input::Stream(payload),
            (None, None) => Input::Bytes(Vec::new()),
        };
        let limit = call.seconds.to_string();
        let _permit = self.permits.acquire().await.map_err(|error| self.lost(error.to_string()))?;
        let begun = Instant::now();
        let started = self.start(&self.privileged(&exec::limited(&limit, call.script, &call.args))).await?;
        let ended =
            timeout(Duration::from_secs(call.seconds) + GRACE, exec::follow(started, input, size, signals)).await;
        let ended = ended.map_err(|_| self.timed_out(call.seconds, Vec::new()))?;
        let status = ended.status.map_err(|reason| self.lost(reason))?;
        let host = self.name.clone();
        if status == 0 {
            return Ok(());
        }
        if let Some(reason) = ended.source {
            return Err(RemoteError::Source { host, reason });
        }
        if over(status, begun, call.seconds) {
            return Err(self.timed_out(call.seconds, ended.lines));
        }
        Err(match (op, ended.digest) {
            (Op::Fetch(fetch), Some(actual)) if status == WRONG_DIGEST => RemoteError::WrongDigest {
                name: fetch.name.clone(),
                url: fetch.url.clone(),
                expected: fetch.sha256.clone(),
                actual,
            },
            _ => RemoteError::Failed { host, status, lines: ended.lines },
        })
    }
}

/// Whether `timeout` ended the command: 124, or 137 where it had to kill. A script may end so by itself, but earlier.
fn over(status: i32, begun: Instant, seconds: u64) -> bool {
    matches!(status, 124 | 137) && begun.elapsed() >= Duration::from_secs(seconds)
}

fn last_lines(output: &Output) -> Vec<String> {
    let text = String::from_utf8_lossy(if output.stderr.is_empty() { &output.stdout } else { &output.stderr });
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].iter().map(|&line| line.to_owned()).collect()
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

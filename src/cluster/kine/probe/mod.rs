//! Proof that kine works: a key is created, read back and deleted, through the very endpoint that the API server uses, as root on the host.
//!
//! curl carries prebuilt gRPC frames, so a host needs nothing of etcd's. The same script waits for kine as a step of `init` (`proof`) and
//! measures it for `verify` (`check`).

pub(crate) mod frame;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Listener, PKI};
use crate::artifact::layout;
use crate::op::Script;
use crate::remote::{Output, Query, Question, RemoteError};

pub use frame::FrameError;

const PROBE: &str = concat!(include_str!("way.sh"), include_str!("probe.sh"));
const CALLS: &str = concat!(include_str!("way.sh"), include_str!("calls.sh"));
const WATCH: &str = concat!(include_str!("way.sh"), include_str!("watch.sh"));

/// What the key holds. No key can contain it, so that the script finds it in an answer only where the value is.
const VALUE: &str = "kept by kine";

/// How often `check` writes and reads.
const ROUNDS: u32 = 3;

/// How often a turn to compact is tried for: once to learn whose it is, once to take it, once more where an API server came between.
const TURNS: u32 = 3;

/// Where kine listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A unix socket.
    Unix {
        /// Its path.
        socket: String,
    },
    /// TCP with mutual TLS.
    Tcp {
        /// For example `https://127.0.0.1:2379`.
        url: String,
        /// The path of the CA's certificate.
        ca: String,
        /// The path of the client's certificate.
        cert: String,
        /// The path of the client's key.
        key: String,
    },
}

impl Endpoint {
    /// Where a kine process of ours listens.
    pub fn of(listener: &Listener) -> Self {
        match listener {
            Listener::Socket(socket) => Self::Unix { socket: socket.clone() },
            Listener::Tcp(_) => Self::Tcp {
                url: listener.url(),
                ca: format!("{PKI}/ca.crt"),
                cert: format!("{PKI}/client.crt"),
                key: format!("{PKI}/client.key"),
            },
        }
    }
}

/// How fast kine is, as seen from the host: medians without the connection's set-up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Latency {
    /// Of a create, which is one commit of the datastore.
    pub write: Duration,
    /// Of reading it back.
    pub read: Duration,
}

/// Why kine is not proven.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The host could not be asked.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// It did not answer in time; the text names the endpoint and the reason.
    #[error("{0}")]
    NoAnswer(String),
    /// It answered with an error; the text names the endpoint and the gRPC status.
    #[error("{0}")]
    Refused(String),
    /// It lost or kept what it should not.
    #[error("{0}")]
    Wrong(String),
    /// The script itself failed, for example for want of curl.
    #[error("the probe ended with status {status}: {text}")]
    Script {
        /// Its exit status.
        status: i32,
        /// Its last line.
        text: String,
    },
    /// What kine answered is no RangeResponse.
    #[error("kine's answer cannot be read: {0}")]
    Garbled(#[from] FrameError),
    /// The script printed something else than it should.
    #[error("the probe printed `{0}`, which cannot be read")]
    Output(String),
}

/// The proof as a step of `init`: waits up to `seconds` for kine's first answer, then creates, reads and deletes.
/// It is due again whenever `of`, a digest of kine's own definition, changes.
pub fn proof(endpoint: &Endpoint, node: &str, seconds: u64, of: impl Into<String>) -> Script {
    Script {
        text: Cow::Borrowed(PROBE),
        args: arguments(endpoint, &format!("/etcdless/probe/{node}"), VALUE, seconds, 1),
        creates: Vec::new(),
        watches: Vec::new(),
        of: of.into(),
        // The wait is the script's own, so that its end can say what was missing.
        seconds: seconds + 60,
    }
}

/// Proves and measures kine once. `nonce` keeps runs apart; nothing stays behind. Fails at once where kine does not answer.
pub async fn check(host: &impl Query, endpoint: &Endpoint, node: &str, nonce: &str) -> Result<Latency, ProbeError> {
    let key = format!("/etcdless/probe/{node}/{nonce}");
    let value = format!("{VALUE} {nonce}");
    let question = Question {
        script: PROBE,
        args: arguments(endpoint, &key, &value, 0, ROUNDS),
        input: Vec::new(),
        deadline: Duration::from_secs(30),
    };
    measure(&host.ask(question).await?, &key, &value)
}

fn arguments(endpoint: &Endpoint, key: &str, value: &str, seconds: u64, rounds: u32) -> Vec<String> {
    let key = key.as_bytes();
    let frames = [frame::range(key), frame::create(key, value.as_bytes()), frame::delete(key)];
    let mut arguments = vec![seconds.to_string(), rounds.to_string(), value.to_owned()];
    arguments.extend(frames.iter().map(|bytes| octal(bytes)));
    arguments.extend(transport(endpoint));
    arguments
}

/// How curl gets there.
fn transport(endpoint: &Endpoint) -> Vec<String> {
    match endpoint {
        Endpoint::Unix { socket } => vec!["unix".into(), socket.clone()],
        Endpoint::Tcp { url, ca, cert, key } => {
            vec!["tcp".into(), url.clone(), ca.clone(), cert.clone(), key.clone()]
        }
    }
}

/// kine's revision, and how many objects it serves.
pub async fn count(host: &impl Query, endpoint: &Endpoint) -> Result<(u64, u64), ProbeError> {
    let answer = range(host, endpoint, &frame::count(b"/registry/"), 10).await?;
    Ok(frame::counted(&answer)?)
}

/// The framed answer to a framed `RangeRequest`, of kine or of etcd itself.
pub(crate) async fn range(
    host: &impl Query,
    endpoint: &Endpoint,
    request: &[u8],
    seconds: u64,
) -> Result<Vec<u8>, ProbeError> {
    calls(host, endpoint, &[("KV/Range", request.to_vec())], seconds).await
}

/// Compacts the store to a revision as the API server does: takes the turn that API servers take, so that they forget what goes, then asks for
/// it. Nothing happens where the store is compacted as far already. It may take up to `seconds`.
pub(crate) async fn compact(
    host: &impl Query,
    endpoint: &Endpoint,
    revision: u64,
    seconds: u64,
) -> Result<(), ProbeError> {
    let mut version = 0;
    for _ in 0..TURNS {
        let take = [("KV/Txn", frame::compaction_turn(version, revision))];
        let answer = calls(host, endpoint, &take, seconds).await?;
        let Some(taken) = frame::turn(&answer)? else {
            return match calls(host, endpoint, &[("KV/Compact", frame::compaction(revision))], seconds).await {
                Err(ProbeError::Refused(text)) if text.contains("has been compacted") => Ok(()),
                compacted => compacted.map(drop),
            };
        };
        version = taken;
    }
    Err(ProbeError::Refused("somebody else compacts the store at this moment".into()))
}

/// Deletes keys, whether they are there or not.
pub(crate) async fn delete(
    host: &impl Query,
    endpoint: &Endpoint,
    keys: &[String],
    seconds: u64,
) -> Result<(), ProbeError> {
    let requests: Vec<_> = keys.iter().map(|key| ("KV/Txn", frame::delete(key.as_bytes()))).collect();
    calls(host, endpoint, &requests, seconds).await.map(drop)
}

/// The seconds that are left of each lease of etcd's, at least one: what has ended meanwhile takes its keys along very soon.
/// kine gives leases no names; there it is the very number.
pub async fn times_to_live(
    host: &impl Query,
    endpoint: &Endpoint,
    leases: &BTreeSet<u64>,
    seconds: u64,
) -> Result<BTreeMap<u64, u64>, ProbeError> {
    let questions: Vec<_> = leases.iter().map(|lease| ("Lease/LeaseTimeToLive", frame::time_to_live(*lease))).collect();
    let left = match calls(host, endpoint, &questions, seconds).await {
        Ok(answers) => frame::read_times_to_live(&answers)?,
        Err(ProbeError::Refused(why)) if why.contains("lease time to live is not supported") => {
            leases.iter().copied().collect()
        }
        Err(error) => return Err(error),
    };
    Ok(leases.iter().copied().zip(left.into_iter().map(|left| left.max(1))).collect())
}

/// The framed answers to framed requests of `SERVICE/METHOD`, one after the other.
pub(crate) async fn calls(
    host: &impl Query,
    endpoint: &Endpoint,
    requests: &[(&str, Vec<u8>)],
    seconds: u64,
) -> Result<Vec<u8>, ProbeError> {
    if requests.is_empty() {
        return Ok(Vec::new());
    }
    answer(host, endpoint, CALLS, (vec![seconds.to_string()], archive(requests)), seconds).await
}

/// What the script unpacks: the methods, and a frame a file, named by its number.
fn archive(requests: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let methods: String = requests.iter().map(|(method, _)| format!("{method}\n")).collect();
    let mut archive = Vec::new();
    let mut add = |name: &str, bytes: &[u8]| {
        let size = bytes.len() as u64;
        archive.extend([&layout::header(name, size), bytes, &layout::padding(size)].concat());
    };
    add("methods", methods.as_bytes());
    requests.iter().zip(1..).for_each(|((_, frame), number)| add(&number.to_string(), frame));
    archive.extend(layout::trailer());
    archive
}

/// Everything that happened to a key, or to all up to `end`, since a revision, which must not be in the future: the framed answers to a watch
/// that ends when it is up to date.
pub(crate) async fn watch(
    host: &impl Query,
    endpoint: &Endpoint,
    (key, end, revision): (&[u8], &[u8], u64),
    seconds: u64,
) -> Result<Vec<u8>, ProbeError> {
    let frames = [frame::watch(key, end, revision), frame::progress()].map(|frame| octal(&frame));
    let args = [seconds.to_string()].into_iter().chain(frames).chain([frame::last_word()]).collect();
    answer(host, endpoint, WATCH, (args, Vec::new()), seconds).await
}

async fn answer(
    host: &impl Query,
    endpoint: &Endpoint,
    script: &'static str,
    (mut args, input): (Vec<String>, Vec<u8>),
    seconds: u64,
) -> Result<Vec<u8>, ProbeError> {
    args.extend(transport(endpoint));
    let question = Question { script, args, input, deadline: Duration::from_secs(seconds + 20) };
    let output = host.ask(question).await?;
    if output.status != 0 {
        let text = String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned();
        return Err(ProbeError::Refused(text));
    }
    Ok(output.stdout)
}

/// Bytes as the `%b` of every POSIX printf takes them.
fn octal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\0{byte:03o}")).collect()
}

fn measure(output: &Output, key: &str, value: &str) -> Result<Latency, ProbeError> {
    let last_error = || String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned();
    match output.status {
        0 => {}
        3 => return Err(ProbeError::NoAnswer(last_error())),
        4 => return Err(ProbeError::Refused(last_error())),
        5 => return Err(ProbeError::Wrong(last_error())),
        status => return Err(ProbeError::Script { status, text: last_error() }),
    }
    let (mut writes, mut reads) = (Vec::new(), Vec::new());
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let unreadable = || ProbeError::Output(line.to_owned());
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["write", before, total] => writes.push(took(before, total).ok_or_else(unreadable)?),
            ["read", before, total] => reads.push(took(before, total).ok_or_else(unreadable)?),
            ["answer", hex] => {
                let found = frame::first_key(&unhex(hex).ok_or_else(unreadable)?)?;
                let kept = found.is_some_and(|pair| {
                    pair.key == key.as_bytes() && pair.value == value.as_bytes() && pair.mod_revision > 0
                });
                if !kept {
                    return Err(ProbeError::Wrong(format!("kine answers something else for {key} than was written")));
                }
            }
            _ => {}
        }
    }
    match (median(writes), median(reads)) {
        (Some(write), Some(read)) => Ok(Latency { write, read }),
        _ => Err(ProbeError::Output("no times".into())),
    }
}

/// curl's total time less what came before the request, in seconds.
fn took(before: &str, total: &str) -> Option<Duration> {
    let (before, total) = (before.parse::<f64>().ok()?, total.parse::<f64>().ok()?);
    Duration::try_from_secs_f64(total - before).ok()
}

fn median(mut times: Vec<Duration>) -> Option<Duration> {
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A framed RangeResponse: `k` holds `v`, revision 2.
    const ANSWER: &str = "000000000a12080a016b18022a0176";

    fn measured(status: i32, stdout: &str, stderr: &str) -> Result<Latency, String> {
        let output = Output { status, stdout: stdout.into(), stderr: stderr.into() };
        measure(&output, "k", "v").map_err(|error| error.to_string())
    }

    #[test]
    fn medians_leave_the_connection_out() {
        let round = |write: &str, read: &str| format!("write 0.001 {write}\nread 0.001 {read}\nanswer {ANSWER}\n");
        let text = [round("0.003", "0.002"), round("0.101", "0.003"), round("0.004", "0.009")].concat();
        let expected = Latency { write: Duration::from_millis(3), read: Duration::from_millis(2) };
        assert_eq!(measured(0, &text, ""), Ok(expected));
    }

    #[test]
    fn every_way_to_fail_says_why() {
        let answer_of_another = format!("write 0 1\nread 0 1\nanswer {}\n", ANSWER.replace("2a0176", "2a0177"));
        let cases = [
            (
                3,
                "",
                "kine at /s does not answer after 0 s: there is no socket\n",
                "kine at /s does not answer after 0 s: there is no socket",
            ),
            (4, "", "noise\nkine at /s: Range: grpc-status 14: down\n", "kine at /s: Range: grpc-status 14: down"),
            (5, "", "kine at /s: a deleted key is still there\n", "kine at /s: a deleted key is still there"),
            (127, "", "sh: 1: curl: not found\n", "the probe ended with status 127: sh: 1: curl: not found"),
            (0, &answer_of_another, "", "kine answers something else for k than was written"),
            (0, "answer 0000000005\n", "", "kine's answer cannot be read: the answer is cut off"),
            (0, "write a b\n", "", "the probe printed `write a b`, which cannot be read"),
            (0, "", "", "the probe printed `no times`, which cannot be read"),
        ];
        for (status, stdout, stderr, expected) in cases {
            assert_eq!(measured(status, stdout, stderr), Err(expected.to_owned()));
        }
    }

    #[test]
    fn frames_travel_as_octal() {
        assert_eq!(octal(&[0, 5, 0x7f, 0xff]), r"\0000\0005\0177\0377");
    }

    #[test]
    fn the_proof_is_the_same_in_every_plan_and_follows_kine() {
        let endpoint = Endpoint::Unix { socket: "/run/kine.sock".into() };
        let digest = |of: &str| crate::op::Op::Script(proof(&endpoint, "cp1", 60, of)).digest();
        assert_eq!(digest("a"), digest("a"));
        assert_ne!(digest("a"), digest("b"));
    }
}

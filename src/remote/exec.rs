//! One command over any transport: what goes in, what comes out, how it ended.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

use super::{Output, Payload, Signal, Signals};

/// The environment and time limit that every script runs in.
const WRAP: &str = include_str!("scripts/wrap.sh");

/// How many of the last lines an error keeps.
const KEPT_LINES: usize = 20;

/// Lines that scripts speak to us with, not to people.
const BYTES: &str = "::bytes ";
const DIGEST: &str = "::digest ";

/// A command that was started. Dropping it closes its standard input; the process itself goes on until it ends or its time is over.
pub(super) struct Started {
    pub(super) stdin: Box<dyn AsyncWrite + Send + Unpin>,
    pub(super) stdout: Box<dyn AsyncRead + Send + Unpin>,
    pub(super) stderr: Box<dyn AsyncRead + Send + Unpin>,
    /// Its exit status, or why there is none. To be awaited once all is read: the crate gives ssh's session up with the status, ssh drops
    /// what it has not passed on by then, and a status may well overtake the last words of a command.
    pub(super) end: Pin<Box<dyn Future<Output = Result<i32, String>> + Send>>,
}

/// What a command reads.
pub(super) enum Input {
    /// All of it at once.
    Bytes(Vec<u8>),
    /// As it comes.
    Stream(Payload),
}

/// How a change ended.
pub(super) struct Ended {
    /// Exit status, or why the connection has none.
    pub(super) status: Result<i32, String>,
    /// The last lines, oldest first.
    pub(super) lines: Vec<String>,
    /// The SHA-256 of a file that was not the expected one.
    pub(super) digest: Option<String>,
    /// Why the payload could not be read on this side.
    pub(super) source: Option<String>,
}

/// What ends an answer. Without it some of the answer was lost on its way, whatever the status says.
const LAST: &str = "\n== that is all\n";

/// The arguments of `sh` that run a script for at most `seconds`.
pub(super) fn limited<'a>(seconds: &'a str, script: &'a str, args: &'a [String]) -> Vec<&'a str> {
    wrapped(seconds, "", script, args)
}

/// The same for a script whose answer is to be whole: see [`whole`].
pub(super) fn framed<'a>(seconds: &'a str, script: &'a str, args: &'a [String]) -> Vec<&'a str> {
    wrapped(seconds, LAST, script, args)
}

/// An answer without its frame; nothing where its end is missing.
pub(super) fn whole(mut output: Output) -> Option<Output> {
    let length = output.stdout.strip_suffix(LAST.as_bytes())?.len();
    output.stdout.truncate(length);
    Some(output)
}

fn wrapped<'a>(seconds: &'a str, last: &'a str, script: &'a str, args: &'a [String]) -> Vec<&'a str> {
    let mut argv = vec!["sh", "-c", WRAP, "sh", seconds, last, script, "sh"];
    argv.extend(args.iter().map(String::as_str));
    argv
}

/// Runs to the end and keeps all that it prints. The error says why there is no status.
pub(super) async fn collect(started: Started, input: Input) -> Result<Output, String> {
    let Started { stdin, stdout, stderr, end } = started;
    let (_, stdout, stderr) = tokio::join!(send(stdin, input, None), all(stdout), all(stderr));
    Ok(Output { status: end.await?, stdout, stderr })
}

/// Runs to the end and passes lines and progress on as they come. `total` is how many bytes progress leads to, 0 where that is not known.
pub(super) async fn follow(started: Started, input: Input, total: u64, signals: &Signals) -> Ended {
    let Started { stdin, stdout, stderr, end } = started;
    let listener = Listener { signals, total, heard: Mutex::default() };
    let (sent, (), ()) =
        tokio::join!(send(stdin, input, Some((signals, total))), listener.hear(stdout), listener.hear(stderr));
    let status = end.await;
    let heard = listener.heard.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ended { status, lines: heard.lines.into(), digest: heard.digest, source: sent.err() }
}

/// Sends the input and closes. A command that ends without reading all of it is no error here: its status tells. What is an error is
/// a payload that cannot be read.
async fn send(
    mut stdin: Box<dyn AsyncWrite + Send + Unpin>,
    input: Input,
    progress: Option<(&Signals, u64)>,
) -> Result<(), String> {
    match input {
        Input::Bytes(bytes) => {
            let _closed = stdin.write_all(&bytes).await;
        }
        Input::Stream(mut payload) => {
            let mut buffer = vec![0; 128 * 1024];
            let mut done = 0;
            loop {
                let count = payload.read(&mut buffer).await.map_err(|error| error.to_string())?;
                if count == 0 || stdin.write_all(&buffer[..count]).await.is_err() {
                    break;
                }
                done += count as u64;
                if let Some((signals, total)) = progress {
                    let _gone = signals.send(Signal::Bytes { done, total });
                }
            }
        }
    }
    let _closed = stdin.shutdown().await;
    Ok(())
}

async fn all(mut stream: impl AsyncRead + Unpin) -> Vec<u8> {
    let mut bytes = Vec::new();
    // What was read before an error stays; the status tells about the connection.
    let _cut = stream.read_to_end(&mut bytes).await;
    bytes
}

#[derive(Default)]
struct Heard {
    lines: VecDeque<String>,
    digest: Option<String>,
}

struct Listener<'a> {
    signals: &'a Signals,
    total: u64,
    heard: Mutex<Heard>,
}

impl Listener<'_> {
    async fn hear(&self, stream: impl AsyncRead + Unpin) {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        while matches!(stream.read_until(b'\n', &mut line).await, Ok(count) if count > 0) {
            self.line(String::from_utf8_lossy(&line).trim_end());
            line.clear();
        }
    }

    /// Listeners that are gone do not stop the work.
    fn line(&self, line: &str) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(done) = line.strip_prefix(BYTES).and_then(|done| done.parse().ok()) {
            let _gone = self.signals.send(Signal::Bytes { done, total: self.total });
        } else if let Some(digest) = line.strip_prefix(DIGEST) {
            heard.digest = Some(digest.to_owned());
        } else {
            if heard.lines.len() == KEPT_LINES {
                heard.lines.pop_front();
            }
            heard.lines.push_back(line.to_owned());
            let _gone = self.signals.send(Signal::Line(line.to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::io::{duplex, empty, sink};
    use tokio::sync::mpsc::unbounded_channel;
    use tokio::task::yield_now;

    use super::*;

    #[test]
    fn an_answer_without_its_end_is_not_whole() {
        let output = |stdout: &str| Output { status: 0, stdout: stdout.into(), stderr: Vec::new() };
        let text =
            |stdout: &str| whole(output(stdout)).map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        assert_eq!(text("yes\n\n== that is all\n").as_deref(), Some("yes\n"));
        assert_eq!(text("\n== that is all\n").as_deref(), Some(""));
        assert_eq!(text("yes\n\n== that is"), None);
        assert_eq!(text(""), None);
    }

    /// A command as ssh's master passes it on: the status is there before the answer, and whoever takes the status is given no more.
    fn hasty() -> Started {
        let taken = Arc::new(AtomicBool::new(false));
        let (near, mut far) = duplex(64);
        let seen = taken.clone();
        tokio::spawn(async move {
            for _ in 0..20 {
                yield_now().await;
            }
            if !seen.load(Ordering::Relaxed) {
                let _sent = far.write_all(b"late\n").await;
            }
        });
        let end = async move {
            taken.store(true, Ordering::Relaxed);
            Ok(0)
        };
        Started { stdin: Box::new(sink()), stdout: Box::new(near), stderr: Box::new(empty()), end: Box::pin(end) }
    }

    #[tokio::test]
    async fn a_status_is_taken_once_all_is_read() {
        let output = collect(hasty(), Input::Bytes(Vec::new())).await.map(|output| output.stdout);
        assert_eq!(output, Ok(b"late\n".to_vec()));
        let (signals, _heard) = unbounded_channel();
        let ended = follow(hasty(), Input::Bytes(Vec::new()), 0, &signals).await;
        assert_eq!((ended.status, ended.lines), (Ok(0), vec!["late".to_owned()]));
    }
}

//! What people and machines see of a run. Everything that happens is an [`Event`]; one consumer owns the terminal.
//!
//! Progress goes to stderr, results to stdout. With `--output json` every event is one line on stdout instead.

mod bars;
mod json;
mod log;
mod plain;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use secrecy::SecretString;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::failure::Failure;
pub use plain::{bytes, elapsed};

/// How a run is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// Lines and progress bars for people.
    #[default]
    Text,
    /// One JSON event a line.
    Json,
}

/// One thing that happened. The JSON form is documented in `docs/events.md`.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Event {
    /// The run began.
    Started {
        /// The run's ID, as the hosts' journals hold it.
        run: String,
        /// The cluster's name.
        cluster: String,
        /// etcdless's version.
        version: &'static str,
    },
    /// Something that has no step of its own, such as connecting.
    Note {
        /// Which host; none for the run as a whole.
        host: Option<String>,
        /// One line.
        text: String,
    },
    /// Something that does not stop the run.
    Warning {
        /// Which host.
        host: String,
        /// One line.
        text: String,
    },
    /// One step of the plan, before anything runs.
    Planned {
        /// Which host.
        host: String,
        /// The step's ID.
        step: String,
        /// For people.
        title: String,
        /// What differs.
        change: String,
    },
    /// A step began.
    StepStarted {
        /// Which host.
        host: String,
        /// The step's ID.
        step: String,
        /// For people.
        title: String,
    },
    /// A line that a host printed during a step.
    StepLine {
        /// Which host.
        host: String,
        /// The step's ID.
        step: String,
        /// The line.
        line: String,
    },
    /// How far a transfer is.
    StepBytes {
        /// Which host.
        host: String,
        /// The step's ID.
        step: String,
        /// So far.
        done: u64,
        /// In all; 0 where it is not known.
        total: u64,
    },
    /// A step is done.
    StepDone {
        /// Which host.
        host: String,
        /// The step's ID.
        step: String,
        /// For people.
        title: String,
        /// How long it took.
        seconds: f64,
    },
    /// A step failed; its host stops.
    StepFailed {
        /// Which host.
        host: String,
        /// The step's ID.
        step: String,
        /// For people.
        title: String,
        /// The cause.
        message: String,
    },
    /// One line of verification.
    Check {
        /// Which host it was seen from.
        host: String,
        /// What was looked at.
        name: String,
        /// Whether it is well.
        ok: bool,
        /// What was seen.
        detail: String,
    },
    /// What runs on a host, and how it is.
    Host {
        /// Which host.
        host: String,
        /// As `phase::status::HostStatus` writes it.
        status: serde_json::Value,
    },
    /// What a store told of itself.
    Datastore {
        /// Which host it was asked from.
        host: String,
        /// The numbers, as `datastore::status::seen::Status` writes them.
        status: serde_json::Value,
    },
    /// How long a phase took, from its first step's start to its last step's end.
    Phase {
        /// The phase's name.
        phase: String,
        /// Wall-clock seconds.
        seconds: f64,
    },
    /// What became of a host in the end.
    Outcome {
        /// Which host.
        host: String,
        /// `done`, `no changes`, `unreachable`, `refused`, `failed`, `skipped` or `interrupted`.
        state: &'static str,
        /// The step that failed, if one did.
        step: Option<String>,
        /// How many changes, or the cause.
        detail: String,
    },
    /// Images are in a registry.
    Pushed {
        /// The registry.
        host: String,
        /// How many images.
        images: usize,
        /// Blobs that were sent.
        moved: usize,
        /// Their bytes.
        bytes: u64,
        /// Blobs that the registry had in another repository.
        mounted: usize,
        /// Blobs that were there.
        present: usize,
    },
    /// A request that `mirror serve` answered.
    Request {
        /// Who asked.
        client: String,
        /// `GET`.
        method: String,
        /// What for.
        path: String,
        /// The answer's HTTP status.
        status: u16,
        /// Bytes of content that were sent.
        bytes: u64,
    },
    /// The run ended well.
    Finished {
        /// How many steps changed something.
        changes: usize,
        /// Wall-clock seconds.
        seconds: f64,
    },
    /// The run failed. The same text goes to stderr.
    Failed {
        /// The exit code.
        code: u8,
        /// The failure's message.
        message: String,
        /// What to do next.
        hints: Vec<String>,
    },
}

/// A consumer of events.
trait Screen: Send {
    /// Shows one event.
    fn show(&mut self, event: &Event);
    /// Leaves the terminal as it was found.
    fn close(&mut self) {}
}

/// The handle that everything else holds. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Ui {
    sender: mpsc::UnboundedSender<Message>,
    format: Format,
    /// The debug log of this run, where one could be opened.
    pub log: Option<PathBuf>,
}

#[derive(Debug)]
enum Message {
    Event(Box<Event>),
    /// Clears the screen's bars for a question or a result, then answers.
    Pause(tokio::sync::oneshot::Sender<()>),
}

/// The task that owns the terminal.
#[derive(Debug)]
pub struct Monitor(JoinHandle<()>);

impl Ui {
    /// Opens the log and starts the task that owns the terminal. `verbose` shows remote lines and starts, too.
    pub fn start(format: Format, verbose: bool) -> (Self, Monitor) {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let mut log = log::Log::open();
        let path = log.as_ref().map(|log| log.path.clone());
        let mut screen: Box<dyn Screen> = match format {
            Format::Json => Box::new(json::Json),
            Format::Text if std::io::stderr().is_terminal() => Box::new(bars::Bars::new(verbose)),
            Format::Text => Box::new(plain::Plain::new(verbose)),
        };
        let task = tokio::spawn(async move {
            while let Some(message) = receiver.recv().await {
                match message {
                    Message::Event(event) => {
                        if let Some(log) = &mut log {
                            log.write(&event);
                        }
                        screen.show(&event);
                    }
                    Message::Pause(ready) => {
                        screen.close();
                        // The asker may be gone after Ctrl-C.
                        let _ = ready.send(());
                    }
                }
            }
            screen.close();
        });
        (Self { sender, format, log: path }, Monitor(task))
    }

    /// Tells that something happened. Never blocks; events after the end are dropped.
    pub fn emit(&self, event: Event) {
        let _ = self.sender.send(Message::Event(Box::new(event)));
    }

    /// A line about the run or one host.
    pub fn note(&self, host: Option<&str>, text: impl Into<String>) {
        self.emit(Event::Note { host: host.map(Into::into), text: text.into() });
    }

    /// Waits until everything so far is shown, so that a result comes after it.
    pub async fn settled(&self) {
        let (ready, paused) = tokio::sync::oneshot::channel();
        let _ = self.sender.send(Message::Pause(ready));
        let _ = paused.await;
    }

    /// How this run is shown.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Asks a yes-or-no question on the terminal; `None` where there is none to ask on.
    pub async fn confirm(&self, question: &str) -> Option<bool> {
        let line = self.ask(&format!("{question} [y/N]")).await?;
        Some(matches!(line.as_str(), "y" | "Y" | "yes"))
    }

    /// Asks for a line on the terminal; `None` where there is none to ask on.
    pub async fn ask(&self, question: &str) -> Option<String> {
        if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
            return None;
        }
        self.settled().await;
        let _ = write!(std::io::stderr(), "{question} ");
        let answer = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            std::io::stdin().read_line(&mut line).map(|_| line)
        });
        Some(answer.await.ok()?.ok()?.trim().to_owned())
    }

    /// Asks for a line that is not shown; `None` where there is no terminal.
    pub async fn ask_secret(&self, question: &str) -> Option<SecretString> {
        if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
            return None;
        }
        self.settled().await;
        let _ = write!(std::io::stderr(), "{question} ");
        let answer = tokio::task::spawn_blocking(|| console::Term::stderr().read_secure_line());
        Some(SecretString::from(answer.await.ok()?.ok()?))
    }
}

impl Monitor {
    /// Waits until every event is shown. Every [`Ui`] must be dropped before.
    pub async fn finish(self) {
        let _ = self.0.await;
    }
}

/// Prints a result on stdout. A closed pipe is the reader's choice, not an error.
pub fn result(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let newline = if text.ends_with('\n') { "" } else { "\n" };
    let _ = write!(stdout, "{text}{newline}").and_then(|()| stdout.flush());
}

/// Writes bytes as they are to stdout.
pub fn raw(bytes: &[u8]) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(bytes).and_then(|()| stdout.flush());
}

/// Prints a failure on stderr: message, details, the host's last lines, what to do, where the log is.
pub fn failure(failure: &Failure, log: Option<&std::path::Path>) {
    let style = |text: &str, bold: console::Style| bold.for_stderr().apply_to(text).to_string();
    let mut text = format!("{} {}\n", style("error:", console::Style::new().red().bold()), failure.message);
    for detail in &failure.details {
        for line in detail.lines() {
            text.push_str(&format!("  {line}\n"));
        }
    }
    for line in &failure.output {
        text.push_str(&format!("  {} {line}\n", style("|", console::Style::new().dim())));
    }
    for hint in &failure.hints {
        text.push_str(&format!("{} {hint}\n", style("hint:", console::Style::new().cyan().bold())));
    }
    if let Some(log) = log {
        text.push_str(&format!("the full log is in {}\n", log.display()));
    }
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

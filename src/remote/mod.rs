//! The one door to a host. `Query` reads, `Mutate` changes; planning holds only the first, and the runner alone the second.

pub mod error;
mod exec;
pub mod forward;
pub mod host;
mod known_hosts;
mod local;
pub mod lock;
pub mod look;
pub mod script;
mod ssh;

use std::future::Future;
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::sync::mpsc::UnboundedSender;

use crate::facts::{Facts, Probes};
use crate::journal::Record;
use crate::op::Op;

pub use error::RemoteError;
pub use host::{Connect, Host};
pub use lock::Lock;
pub use script::Layout;

/// Bytes on their way to a host, for an operation whose source is this machine.
pub type Payload = Box<dyn AsyncRead + Send + Unpin>;

/// What a running operation tells while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// A line that the host printed.
    Line(String),
    /// Bytes so far, and in all where that is known.
    Bytes {
        /// So far.
        done: u64,
        /// In all; 0 where it is not known.
        total: u64,
    },
}

/// Where signals go.
pub type Signals = UnboundedSender<Signal>;

/// A read-only question: a fixed script with arguments.
#[derive(Debug, Clone)]
pub struct Question {
    /// POSIX shell that changes nothing.
    pub script: &'static str,
    /// `$1`, `$2`, ...; no secrets.
    pub args: Vec<String>,
    /// Standard input.
    pub input: Vec<u8>,
    /// The longest that it may take.
    pub deadline: Duration,
}

/// What a command printed and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Output {
    /// Exit status; 128 plus the signal's number where a signal ended it.
    pub status: i32,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

/// Reads from a host.
pub trait Query: Send + Sync {
    /// Looks at the host once.
    fn facts(&self, probes: &Probes) -> impl Future<Output = Result<Facts, RemoteError>> + Send;

    /// Asks something else. A status other than 0 is an answer, not an error.
    fn ask(&self, question: Question) -> impl Future<Output = Result<Output, RemoteError>> + Send;
}

/// Changes a host.
pub trait Mutate: Query {
    /// Does one operation and, in the same breath, appends its record to the host's journal.
    fn apply(
        &self,
        op: &Op,
        record: &Record,
        payload: Option<Payload>,
        signals: &Signals,
    ) -> impl Future<Output = Result<(), RemoteError>> + Send;
}

//! What a command ends with when it does not succeed: a kind that fixes the exit code, a message, and what to do next.

use std::fmt;
use std::process::ExitCode;

/// Why a command ended, as the documented table of exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// A bug in etcdless.
    Internal = 1,
    /// Wrong flags or arguments.
    Usage = 2,
    /// cluster.yaml, a playbook or a template cannot be used.
    Config = 3,
    /// A host cannot be reached or does not let us in.
    Connection = 4,
    /// A host is not fit for what is asked; nothing was changed.
    Preflight = 5,
    /// A step on a host failed.
    Step = 6,
    /// The datastore failed or refused.
    Datastore = 7,
    /// The cluster is not healthy, or did not become so in time.
    Unhealthy = 8,
    /// Another run holds the host's lock.
    Locked = 9,
    /// Some hosts are done, others are not.
    Partial = 10,
    /// Ended by Ctrl-C or SIGTERM.
    Interrupted = 130,
}

impl From<Kind> for ExitCode {
    fn from(kind: Kind) -> Self {
        Self::from(kind as u8)
    }
}

/// The error of every command: one sentence, the cause below it, the last remote lines, and hints that name the next command.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Fixes the exit code.
    pub kind: Kind,
    /// One sentence that names the thing and the cause; lower case, no full stop.
    pub message: String,
    /// Further lines of the same failure: a rendered snippet, one line a check, a chain of causes.
    pub details: Vec<String>,
    /// The last lines that the host printed, oldest first.
    pub output: Vec<String>,
    /// What to do next, each a sentence or a command.
    pub hints: Vec<String>,
}

impl Failure {
    /// A failure with a message alone.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), details: Vec::new(), output: Vec::new(), hints: Vec::new() }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Adds a line, or a block of lines, below the message.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.details.push(detail.into());
        self
    }

    /// Adds the last lines that a host printed.
    #[must_use]
    pub fn output(mut self, lines: Vec<String>) -> Self {
        self.output = lines;
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The run ends before anything is changed.
    Error,
    /// The run goes on.
    Warning,
}

/// One thing that a check found wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What is so; reads on after the name of what was checked.
    pub what: String,
    /// Why that matters.
    pub why: String,
    /// What to do about it, exactly.
    pub fix: String,
}

impl Finding {
    /// One that stops the run.
    pub fn error(what: impl Into<String>, why: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { severity: Severity::Error, what: what.into(), why: why.into(), fix: fix.into() }
    }

    /// One that does not.
    pub fn warning(what: impl Into<String>, why: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(what, why, fix) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; fix: {}", self.what, self.why, self.fix)
    }
}

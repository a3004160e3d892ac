//! Why a host could not be reached, asked or changed.

/// The full space of errors at the door to a host.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// No TCP connection, or no answer in time.
    #[error("{host} cannot be reached: {reason}")]
    Unreachable {
        /// As the user named it.
        host: String,
        /// ssh's own words.
        reason: String,
    },
    /// The SSH server answered, but no key was accepted.
    #[error("{host} does not accept the login of {user}: {reason}")]
    Denied {
        /// As the user named it.
        host: String,
        /// Who tried.
        user: String,
        /// ssh's own words.
        reason: String,
    },
    /// The key that known_hosts holds is another one.
    #[error("the host key of {host} has changed: {reason}")]
    HostKeyChanged {
        /// As the user named it.
        host: String,
        /// ssh's own words, with file and line.
        reason: String,
    },
    /// The key is not known yet, and nobody accepted it.
    #[error("the host key of {host} is not known: {fingerprint}")]
    HostKeyUnknown {
        /// As the user named it.
        host: String,
        /// The key's type and SHA-256 fingerprint.
        fingerprint: String,
    },
    /// Neither root nor `sudo -n`.
    #[error("{user} on {host} is not root and may not use sudo without a password")]
    NoSudo {
        /// As the user named it.
        host: String,
        /// Who logged in.
        user: String,
    },
    /// Another run holds the lock.
    #[error("{host} is locked by {owner}")]
    Locked {
        /// As the user named it.
        host: String,
        /// Who, from where, since when.
        owner: String,
    },
    /// The connection ended under a command.
    #[error("the connection to {host} was lost: {reason}")]
    Lost {
        /// As the user named it.
        host: String,
        /// What the transport said.
        reason: String,
    },
    /// The command ran and failed.
    #[error("it ended with status {status} on {host}")]
    Failed {
        /// As the user named it.
        host: String,
        /// Its exit status.
        status: i32,
        /// Its last lines, oldest first.
        lines: Vec<String>,
    },
    /// The command did not end in time and was ended.
    #[error("it did not finish on {host} within {seconds} s")]
    TimedOut {
        /// As the user named it.
        host: String,
        /// The deadline.
        seconds: u64,
        /// Its last lines, oldest first.
        lines: Vec<String>,
    },
    /// What came for a file is not what was announced; nothing of it stays.
    #[error("{name} from {url} has SHA-256 {actual}, expected {expected}")]
    WrongDigest {
        /// The catalogue's name.
        name: String,
        /// Its source.
        url: String,
        /// What it should be.
        expected: String,
        /// What it is.
        actual: String,
    },
    /// What this machine was to send could not be read to its end; nothing of it stays on the host.
    #[error("what was on its way to {host} could not be read: {reason}")]
    Source {
        /// As the user named it.
        host: String,
        /// What the source said.
        reason: String,
    },
    /// The host answered something that cannot be read.
    #[error("{host} answered something unexpected: {reason}")]
    Garbled {
        /// As the user named it.
        host: String,
        /// What could not be read.
        reason: String,
    },
}

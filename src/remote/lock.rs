//! The host's lock: a process on the host that holds `flock` until its standard input closes, so that it ends with the connection.
//!
//! It lives under /run, so that a host that is refused stays as it was on disk, and a reboot leaves none behind.

use std::fmt;
use std::time::Duration;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, BufReader};
use tokio::time::timeout;

use super::exec::{self, Input, Started};
use super::{Host, RemoteError};

const TAKE: &str = include_str!("scripts/lock.sh");
const OWNER: &str = include_str!("scripts/lock_owner.sh");

/// How long a change of an earlier connection, cut off and still running, is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Held until it is dropped or released, or until this process or the connection ends.
pub struct Lock {
    holder: Started,
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock").finish_non_exhaustive()
    }
}

impl Lock {
    /// Gives the lock back and waits until that is so.
    pub async fn release(self) {
        // A connection that is lost has given the lock back already.
        let _lost = exec::collect(self.holder, Input::Bytes(Vec::new())).await;
    }
}

impl Host {
    /// Takes the host's lock, or tells at once who has it. `owner` says who, from where and since when, in one line; it is what the next
    /// one is shown.
    pub async fn lock(&self, owner: &str) -> Result<Lock, RemoteError> {
        self.lock_within(owner, Duration::ZERO, |_| {}).await
    }

    /// The same, but waits for another run to end. `waits` is told whose that is.
    pub async fn lock_within(
        &self,
        owner: &str,
        deadline: Duration,
        waits: impl FnOnce(&str) + Send,
    ) -> Result<Lock, RemoteError> {
        let (patience, seconds) = (PATIENCE.as_secs().to_string(), deadline.as_secs().to_string());
        let owner = owner.replace('\n', " ");
        let argv = self.privileged(&["sh", "-c", TAKE, "sh", &self.layout().lock, &owner, &patience, &seconds]);
        let mut holder = self.start(&argv).await?;
        let mut stdout = BufReader::new(&mut holder.stdout);
        let mut answer = self.answer(&mut stdout, PATIENCE).await?;
        if let Some(owner) = answer.strip_prefix("waits\t") {
            waits(owner);
            answer = self.answer(&mut stdout, deadline + PATIENCE).await?;
        }
        match answer.split_once('\t') {
            None if answer == "held" => Ok(Lock { holder }),
            None if answer == "busy" => Err(self.locked("a step of an earlier run that is still running".into())),
            Some(("locked", owner)) => Err(self.locked(owner.to_owned())),
            _ => {
                let output = exec::collect(holder, Input::Bytes(Vec::new())).await.map_err(|why| self.lost(why))?;
                let lines = String::from_utf8_lossy(&output.stderr).lines().map(str::to_owned).collect();
                Err(RemoteError::Failed { host: self.name().to_owned(), status: output.status, lines })
            }
        }
    }

    /// The next line that the script says.
    async fn answer(
        &self,
        stdout: &mut (impl AsyncBufRead + Unpin),
        patience: Duration,
    ) -> Result<String, RemoteError> {
        let mut line = String::new();
        match timeout(patience + Duration::from_secs(20), stdout.read_line(&mut line)).await {
            Ok(Ok(_)) => Ok(line.trim_end().to_owned()),
            Ok(Err(error)) => Err(self.lost(error.to_string())),
            Err(_) => Err(self.lost("no answer to the lock in time".into())),
        }
    }

    /// Who holds the lock, if anybody does.
    pub async fn lock_owner(&self) -> Result<Option<String>, RemoteError> {
        self.ask_lock("ask").await
    }

    /// Ends the process that holds the lock and tells whose it was.
    pub async fn break_lock(&self) -> Result<Option<String>, RemoteError> {
        self.ask_lock("break").await
    }

    async fn ask_lock(&self, verb: &str) -> Result<Option<String>, RemoteError> {
        let args = [self.layout().lock.clone(), verb.to_owned()];
        let output = self.run(OWNER, &args, Vec::new(), Duration::from_secs(20)).await?;
        if output.status != 0 {
            let lines = String::from_utf8_lossy(&output.stderr).lines().map(str::to_owned).collect();
            return Err(RemoteError::Failed { host: self.name().to_owned(), status: output.status, lines });
        }
        let owner = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
        Ok((!owner.is_empty()).then_some(owner))
    }

    fn locked(&self, owner: String) -> RemoteError {
        RemoteError::Locked { host: self.name().to_owned(), owner }
    }
}

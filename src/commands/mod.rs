//! One file a subcommand: load, choose phases, run, print.

mod adopt;
mod assets;
mod backup;
mod datastore;
mod init;
mod join;
mod kubeconfig;
mod kubectl;
mod migrate;
mod mirror;
mod plain;
mod progress;
mod remove;
mod render;
mod reset;
mod restore;
mod session;
mod status;
mod stores;
mod timer;
mod unlock;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use crate::cli::{Cli, Command};
use crate::failure::Failure;

/// A failure with the log of the run that ended in it.
#[derive(Debug)]
pub struct Ended {
    /// Why.
    pub failure: Failure,
    /// The debug log, where the command keeps one.
    pub log: Option<PathBuf>,
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self { failure, log: None }
    }
}

/// Runs a subcommand. What `kubectl` ends with is kubectl's own.
pub async fn run(cli: Cli) -> Result<ExitCode, Ended> {
    match cli.command {
        Command::Init(args) => init::run(args).await?,
        Command::Join(args) => join::run(args).await?,
        Command::Render(args) => render::run(&args)?,
        Command::Verify(args) => verify::run(args).await?,
        Command::Status(args) => status::run(args).await?,
        Command::Kubectl(args) => return kubectl::run(args).await,
        Command::Kubeconfig(args) => kubeconfig::run(args).await?,
        Command::Datastore(args) => datastore::run(args).await?,
        Command::Backup(args) => backup::run(args).await?,
        Command::Restore(args) => restore::run(args).await?,
        Command::Migrate(args) => migrate::run(args).await?,
        Command::Mirror(args) => mirror::run(args).await?,
        Command::Assets(args) => assets::run(&args)?,
        Command::Adopt(args) => adopt::run(args).await?,
        Command::Remove(args) => remove::run(args).await?,
        Command::Reset(args) => reset::run(args).await?,
        Command::Schema => plain::schema(),
        Command::Unlock(args) => unlock::run(args).await?,
        Command::Completions { shell } => plain::completions(shell),
        Command::Man { directory } => plain::man(directory.as_deref())?,
        Command::Version { output } => plain::version(output),
    }
    Ok(ExitCode::SUCCESS)
}

//! `etcdless unlock`.

use clap::Args;

use super::target::{Show, Target};

/// `unlock`.
#[derive(Debug, Args)]
pub struct Unlock {
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub target: Target,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub show: Show,
    /// End the run that holds the lock. What it finished stays; run it again to go on.
    #[arg(long)]
    pub force: bool,
}

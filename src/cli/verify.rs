//! `etcdless verify`.

use clap::Args;

use super::target::{Show, Target};

/// `verify`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  etcdless verify root@10.0.0.11
  etcdless verify -c cluster.yaml --output json

Exit code 8 when something is not well; the failing line says what to look at.")]
pub struct Verify {
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub target: Target,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub show: Show,
    /// Seconds to wait for everything to become well.
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    pub timeout: u64,
}

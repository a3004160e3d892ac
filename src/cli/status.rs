//! `etcdless status`.

use std::path::PathBuf;

use clap::Args;

use super::target::{Show, Target};

/// `status`.
#[derive(Debug, Args)]
#[command(after_help = "\
It looks at every host at once, by one script that only reads, and plans as `init --dry-run` does. A host that does not
answer is a line of the table; with a file, any control plane that answers tells of the nodes.

Examples:
  etcdless status root@10.0.0.11
  etcdless status -c cluster.yaml
  etcdless status -c cluster.yaml --output json

Exit code 8 when something does not do its work, or has expired. What differs from the description, and certificates
with less than 30 days left, are warnings.")]
pub struct Status {
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub target: Target,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub show: Show,
    /// The folder with templates/ and playbooks/ that the cluster was built with.
    #[arg(long, value_name = "DIR")]
    pub assets: Option<PathBuf>,
}

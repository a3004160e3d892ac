//! `etcdless remove`.

use std::path::PathBuf;

use clap::Args;

use super::target::{Login, Show, seconds};

/// `remove`.
#[derive(Debug, Args)]
#[command(after_help = "\
The node is cordoned and drained, its host taken apart, the Node deleted, and the description that the cluster keeps of itself
written without it. Take it out of your cluster.yaml, too, or the next `init` joins it again.

Examples:
  etcdless remove w1 -c cluster.yaml
  etcdless remove w1 --via root@10.0.0.11              without a file
  etcdless remove w1 -c cluster.yaml --force           its machine is gone
  etcdless remove w1 -c cluster.yaml --delete-emptydir-data --drain-timeout 15m")]
pub struct Remove {
    /// The host: its name, or its address.
    #[arg(value_name = "HOST")]
    pub host: String,
    /// A cluster.yaml that has it.
    #[arg(short, long, value_name = "FILE", required_unless_present = "via")]
    pub config: Option<PathBuf>,
    /// Without a file: a control plane of the cluster, which knows its hosts.
    #[arg(long, value_name = "[USER@]CONTROL-PLANE", conflicts_with = "config")]
    pub via: Option<String>,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub login: Login,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub show: Show,
    /// How long its Pods may take to leave, for example 90s or 5m.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = seconds)]
    pub drain_timeout: u64,
    /// Go on though Pods lose what they have in emptyDir volumes.
    #[arg(long)]
    pub delete_emptydir_data: bool,
    /// Go on though its machine is not reached; what is on it stays.
    #[arg(long)]
    pub force: bool,
    /// Print what would be done and change nothing.
    #[arg(long)]
    pub dry_run: bool,
}

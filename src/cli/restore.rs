//! `etcdless restore`.

use std::path::PathBuf;

use clap::Args;

use super::backup::Decryption;
use super::target::{Description, Login, Pace, Show};

/// `restore`.
#[derive(Debug, Args)]
#[command(after_help = "\
Every byte of the file is compared first. A store that holds anything is refused, and nothing is ever removed from one.

On fresh hosts the cluster is built as `init` builds it, with its old keys and on its old data: workers that are still there come back by
themselves. Where the cluster's control planes are there, and their database was lost, API servers and kines are stopped, the stores
are filled, and all are started again. Without -c the description is the one in the backup. Cut off, the same command goes on.

Examples:
  etcdless restore demo.backup --verify                      prove a file without touching any cluster
  etcdless restore demo.backup -c cluster.yaml --dry-run     what would happen
  etcdless restore demo.backup -c cluster.yaml               the description may name another engine than the backup's
  etcdless restore demo.backup root@10.0.0.11
  etcdless restore demo.backup.age -c cluster.yaml --age-identity key.txt")]
pub struct Restore {
    /// The backup.
    pub file: PathBuf,
    /// A control plane, where the cluster has only one: an address, a name of your ssh_config, or `local`.
    #[arg(value_name = "[USER@]HOST", conflicts_with = "config")]
    pub host: Option<String>,
    /// The cluster.yaml to restore to; without it, the one in the backup.
    #[arg(short, long, value_name = "CLUSTER.YAML")]
    pub config: Option<PathBuf>,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub login: Login,
    /// Any field of cluster.yaml, for example kubernetes.podSubnet=10.10.0.0/16; may be repeated.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub set: Vec<String>,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub show: Show,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub description: Description,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub key: Decryption,
    /// Put every store into a scratch file on this machine, read it back and compare; no host is asked anything.
    #[arg(long, conflicts_with_all = ["dry_run", "config", "host"])]
    pub verify: bool,
    /// Print the plan and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Leave your own kubeconfig alone.
    #[arg(long)]
    pub no_kubeconfig: bool,
    /// Turn a failing preflight check into a warning; may be repeated.
    #[arg(long, value_name = "NAME")]
    pub ignore_preflight: Vec<String>,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub pace: Pace,
}

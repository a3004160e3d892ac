//! `etcdless reset`.

use clap::Args;

use super::target::{Show, Target};
use crate::phase::reset::Data;

/// `reset`.
#[derive(Debug, Args)]
#[command(after_help = "\
What etcdless placed, and what Kubernetes left behind, goes; what was there before stays. Afterwards the host is looked at again:
anything that is left is listed, and the exit code is 10. Data in SQL stays unless you say otherwise: of SQLite the files
/var/lib/etcdless/kine/*.db*, and a server of etcdless's stays as it is. A run that was cut off is gone on with by the same command.

Examples:
  etcdless reset root@10.0.0.11 --dry-run                       what would go
  etcdless reset root@10.0.0.21                                 one host
  etcdless reset -c cluster.yaml                                every host of a cluster
  etcdless reset -c cluster.yaml --host w1 --host w2
  etcdless reset -c cluster.yaml --datastore drop --confirm demo
  etcdless reset root@10.0.0.11 --datastore rename --confirm demo   put the data aside, for a new `init`

A node that leaves a cluster which goes on: `etcdless remove`.")]
pub struct Reset {
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub target: Target,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub show: Show,
    /// With a file: only this host, by its name or address; may be repeated.
    #[arg(long = "host", value_name = "NAME", requires = "config")]
    pub hosts: Vec<String>,
    /// What becomes of the data: it stays, is deleted, or is put aside. The last two need the cluster's name, typed or by --confirm.
    #[arg(long, value_enum, default_value_t, value_name = "keep|drop|rename")]
    pub datastore: Data,
    /// The cluster's name, to confirm what cannot be undone without being asked.
    #[arg(long, value_name = "NAME")]
    pub confirm: Option<String>,
    /// Print what would go and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Also a control plane whose cluster has other nodes; and go on without hosts that are not reached.
    #[arg(long)]
    pub force: bool,
}

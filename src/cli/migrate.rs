//! `etcdless migrate`.

use std::path::PathBuf;

use clap::Args;

use super::target::{Login, Show, seconds};

/// `migrate`.
#[derive(Debug, Args)]
#[command(override_usage = "\
etcdless migrate --to <FILE|sqlite|etcd> <[USER@]HOST|--config <FILE>> [OPTIONS]
       etcdless migrate --rollback|--finish <[USER@]HOST|--config <FILE>> [OPTIONS]")]
#[command(after_help = "\
The data is copied and compared while the cluster runs. Then the API servers stop, what changed since is copied, and they start on the new
store: the time without an API is printed, and grows only with what changed. Pods go on running. Until the first control plane has
committed, the old store is back by itself at the end of --freeze, even if this machine and its connection are gone.
docs/migrate.md says what happens when, and what the way back costs.

A FILE with more shards than the cluster has splits it: their resources go from `main` to stores of their own. Writes to them are denied
while the last of them is copied, with a message; events and leases begin anew. From a split there is no way back.

Examples:
  etcdless migrate -c cluster.yaml --to new.yaml --dry-run
  etcdless migrate -c cluster.yaml --to new.yaml        new.yaml is the same but for its datastore
  etcdless migrate -c cluster.yaml --to split.yaml      split.yaml is the same with more shards
  etcdless migrate root@10.0.0.11 --to new.yaml         a kubeadm cluster on etcd, or one that etcdless built
  etcdless migrate root@10.0.0.11 --to sqlite
  etcdless migrate root@10.0.0.11 --to etcd             kubeadm's own etcd, on every control plane
  etcdless migrate -c new.yaml --rollback               back to the old store, with what was written since
  etcdless migrate -c new.yaml --finish                 forget the way back; the old store's data stays where it is")]
pub struct Migrate {
    /// A control plane: an address, a name of your ssh_config, or `local`.
    #[arg(value_name = "[USER@]HOST", required_unless_present = "config", conflicts_with = "config")]
    pub host: Option<String>,
    /// A cluster.yaml of the cluster as it is.
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A cluster.yaml with the datastore or the shards that the cluster shall have, or `sqlite`, or `etcd`.
    #[arg(long, value_name = "FILE|sqlite|etcd", required_unless_present_any = ["rollback", "finish"], conflicts_with_all = ["rollback", "finish"])]
    pub to: Option<PathBuf>,
    /// Go back to the store that the last migration left, with what was written since.
    #[arg(long, conflicts_with = "finish")]
    pub rollback: bool,
    /// Give up the way back: what it needs is removed from the control planes. After a split, delete what `main` holds of what moved.
    #[arg(long)]
    pub finish: bool,
    /// How long the API may be away, for example 90s or 5m: afterwards the old store serves again.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = seconds)]
    pub freeze: u64,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub login: Login,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub show: Show,
    /// Print what would be done and change nothing.
    #[arg(long)]
    pub dry_run: bool,
}

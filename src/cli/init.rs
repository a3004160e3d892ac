//! `etcdless init`.

use clap::Args;

use super::target::{Description, Pace, Show, Target};

/// `init`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  etcdless init root@10.0.0.11
  etcdless init admin@10.0.0.11 --identity ~/.ssh/lab --name demo --yes
  etcdless init local --set kine.placement=systemd
  etcdless init root@10.0.0.11 --print-config > cluster.yaml && etcdless init -c cluster.yaml
  etcdless init -c cluster.yaml --dry-run
  etcdless init -c cluster.yaml --concurrency 30 --lock-timeout 600

Running it again goes on where an earlier run stopped, and changes nothing once everything is as described.
A worker that cannot be reached, or fails, is left out: the others are finished, and the exit code is 10.")]
pub struct Init {
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub target: Target,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub show: Show,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub description: Description,
    /// Print the plan and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Print the cluster.yaml that the flags amount to, and stop.
    #[arg(long)]
    pub print_config: bool,
    /// Run only these phases; may be repeated.
    #[arg(long, value_name = "PHASE")]
    pub only: Vec<String>,
    /// Leave these phases out; may be repeated.
    #[arg(long, value_name = "PHASE")]
    pub skip: Vec<String>,
    /// Leave out every phase before this one.
    #[arg(long, value_name = "PHASE")]
    pub from: Option<String>,
    /// Turn a failing preflight check into a warning; may be repeated.
    #[arg(long, value_name = "NAME")]
    pub ignore_preflight: Vec<String>,
    /// Leave your own kubeconfig alone.
    #[arg(long)]
    pub no_kubeconfig: bool,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub pace: Pace,
}

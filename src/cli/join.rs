//! `etcdless join`.

use std::path::PathBuf;

use clap::Args;

use super::target::{Login, Pace, Show};

/// `join`.
#[derive(Debug, Args)]
#[command(after_help = "\
Without a file, the cluster's own description is read from the control plane that --via names, and whoever logs in there logs in
at its other hosts, too. The control planes then keep the description with the new host in it.

Examples:
  etcdless join root@10.0.0.21 --via root@10.0.0.11
  etcdless join root@10.0.0.12 --via root@10.0.0.11 --control-plane
  etcdless join -c cluster.yaml                           the hosts that the file newly lists

Running it again goes on where an earlier run stopped.")]
pub struct Join {
    /// The machine: an address, or a name of your ssh_config.
    #[arg(value_name = "[USER@]HOST", required_unless_present = "config", conflicts_with = "config", requires = "via")]
    pub host: Option<String>,
    /// A control plane of the cluster.
    #[arg(long, value_name = "[USER@]HOST", conflicts_with = "config")]
    pub via: Option<String>,
    /// A cluster.yaml that lists the host.
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Make it a control plane, with a kine of its own; the state must be on a database server.
    #[arg(long, conflicts_with = "config")]
    pub control_plane: bool,
    /// The node's name; the machine's own hostname where it is left out.
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    pub node_name: Option<String>,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub login: Login,
    /// A bundle of `mirror save`: nothing is fetched from anywhere. One that is based on an older one: name both, the newer one first.
    #[arg(long, value_name = "FILE")]
    pub bundle: Vec<PathBuf>,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub show: Show,
    /// A folder with templates/ and playbooks/ that replace the built-in files of the same name.
    #[arg(long, value_name = "DIR")]
    pub assets: Option<PathBuf>,
    /// Print the plan and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Turn a failing preflight check into a warning; may be repeated.
    #[arg(long, value_name = "NAME")]
    pub ignore_preflight: Vec<String>,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub pace: Pace,
}

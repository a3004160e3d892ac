//! `etcdless kubeconfig`.

use std::path::PathBuf;

use clap::Args;

use super::target::{Show, Target};

/// `kubeconfig`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  etcdless kubeconfig root@10.0.0.11                    merge into $KUBECONFIG or ~/.kube/config
  etcdless kubeconfig root@10.0.0.11 --write demo.conf  a file of its own
  etcdless kubeconfig root@10.0.0.11 --print > demo.conf")]
pub struct Kubeconfig {
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub target: Target,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub show: Show,
    /// The context's name; the cluster's name where it is left out.
    #[arg(long)]
    pub context: Option<String>,
    /// Write a file of its own instead of merging.
    #[arg(long, value_name = "FILE", conflicts_with = "print")]
    pub write: Option<PathBuf>,
    /// Print it instead of merging.
    #[arg(long)]
    pub print: bool,
}

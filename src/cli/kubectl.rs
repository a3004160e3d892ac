//! `etcdless kubectl`.

use clap::Args;

use super::target::Target;

/// `kubectl`.
#[derive(Debug, Args)]
#[command(after_help = "\
kubectl must be in your PATH. It gets a kubeconfig of the moment that leads through SSH to the API server of a control plane;
your own kubeconfig is not touched, and no port of the cluster needs to be open. The exit code is kubectl's own.

Examples:
  etcdless kubectl root@10.0.0.11 -- get nodes
  etcdless kubectl -c cluster.yaml -- get pods -A
  etcdless kubectl -c cluster.yaml -- exec -it web-0 -- sh
  etcdless kubectl -c cluster.yaml -- proxy")]
pub struct Kubectl {
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub target: Target,
    /// What kubectl is told.
    #[arg(last = true, required = true, value_name = "ARGUMENT")]
    pub arguments: Vec<std::ffi::OsString>,
}

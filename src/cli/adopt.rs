//! `etcdless adopt`.

use std::path::PathBuf;

use clap::Args;

use super::target::{Login, Show};

/// `adopt`.
#[derive(Debug, Args)]
#[command(after_help = "\
It only reads: kubeadm's configuration, the nodes, and the API server's manifest, by kubectl on the control plane.
The file says how the cluster is, and where its state shall go; read it, fill in what it asks for. What a file cannot
say is warned of, here and in the file.

Examples:
  etcdless adopt root@10.0.0.11 -o cluster.yaml
  etcdless adopt root@10.0.0.11 > cluster.yaml
  etcdless datastore ls root@10.0.0.11            what is in its etcd")]
pub struct Adopt {
    /// A control plane: an address, a name of your ssh_config, or `local`.
    #[arg(value_name = "[USER@]HOST")]
    pub host: String,
    /// The file to write; standard output where it is left out. A file that is there already is left alone.
    #[arg(short = 'o', long = "out", value_name = "FILE")]
    pub file: Option<PathBuf>,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub login: Login,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub show: Show,
}

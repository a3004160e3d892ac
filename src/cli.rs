//! The command line: types only.

mod adopt;
mod assets;
pub mod backup;
pub mod datastore;
mod init;
mod join;
mod kubeconfig;
mod kubectl;
mod migrate;
pub mod mirror;
mod remove;
mod render;
mod reset;
mod restore;
mod status;
mod target;
mod unlock;
mod verify;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::ui::Format;

pub use adopt::Adopt;
pub use assets::{Assets, Overlay};
pub use backup::Backup;
pub use init::Init;
pub use join::Join;
pub use kubeconfig::Kubeconfig;
pub use kubectl::Kubectl;
pub use migrate::Migrate;
pub use remove::Remove;
pub use render::Render;
pub use reset::Reset;
pub use restore::Restore;
pub use status::Status;
pub use target::{Description, Login, Pace, Show, Target};
pub use unlock::Unlock;
pub use verify::Verify;

/// Upstream kubeadm clusters whose state lives in SQL through kine, with no etcd, driven over SSH.
#[derive(Debug, Parser)]
#[command(name = "etcdless", version, propagate_version = true, max_term_width = 110, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  etcdless init root@10.0.0.11              a cluster on one fresh machine, state in SQLite
  etcdless init root@10.0.0.11 --dry-run    what that would change
  etcdless init -c cluster.yaml             the cluster that a file describes
  etcdless verify root@10.0.0.11            is it really up
  etcdless status -c cluster.yaml           what runs where
  etcdless kubectl root@10.0.0.11 -- get nodes

Exit codes: 0 ok, 1 internal, 2 usage, 3 config, 4 connection, 5 preflight, 6 remote step, 7 datastore,
8 unhealthy or timed out, 9 locked, 10 partly done, 130 interrupted.";

/// All subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build a cluster, or bring one to what its description says.
    Init(Init),
    /// Add a host to a cluster that is up: a worker, or with --control-plane a control plane.
    Join(Join),
    /// Write every file that would be placed on a host, without touching any.
    Render(Render),
    /// Look whether a cluster is really up: kine, API server, nodes, Pods, DNS, Services.
    Verify(Verify),
    /// See what runs where: versions, nodes, certificates, the endpoint, and what differs from the description.
    Status(Status),
    /// Run your own kubectl against a cluster through an SSH tunnel.
    Kubectl(Kubectl),
    /// Fetch the admin kubeconfig: merge it into your own, write it to a file, or print it.
    Kubeconfig(Kubeconfig),
    /// The SQL database that holds the state.
    #[command(subcommand)]
    Datastore(datastore::Datastore),
    /// Write all that a cluster is made of into one file; `ls` shows what a file holds, `timer` does it every night.
    Backup(Backup),
    /// Bring a cluster back from a backup, on fresh hosts or on its own, whatever the engine; --verify proves a file.
    Restore(Restore),
    /// Move a cluster to another datastore while it runs, from etcd as well.
    Migrate(Migrate),
    /// What a site without internet needs: lists, one file with everything, registries.
    #[command(subcommand)]
    Mirror(mirror::Mirror),
    /// The templates and playbooks inside this program, and your changes to them.
    #[command(subcommand)]
    Assets(Assets),
    /// Write the description of a kubeadm cluster that etcdless did not build.
    Adopt(Adopt),
    /// Take one node out of a cluster: drain it, delete it, take its host apart.
    Remove(Remove),
    /// Take a host, or a whole cluster, apart, and prove that nothing is left.
    Reset(Reset),
    /// Print the JSON Schema of cluster.yaml, for editors.
    Schema,
    /// See who holds a host's lock; --force ends that run.
    Unlock(Unlock),
    /// Print completions for a shell.
    Completions {
        /// bash, elvish, fish, powershell or zsh.
        shell: clap_complete::Shell,
    },
    /// Write manual pages.
    Man {
        /// The folder to write them into; without it, the main page goes to stdout.
        #[arg(value_name = "DIR")]
        directory: Option<PathBuf>,
    },
    /// Print the version of etcdless, and what it installs by default.
    Version {
        /// How to print it.
        #[arg(long, value_enum, default_value_t)]
        output: Format,
    },
}

//! The command line: types only.

pub mod datastore;
pub mod mirror;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::phase::reset::Data;
use crate::ui::Format;

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
    /// What a site without internet needs: lists, one file with everything, registries.
    #[command(subcommand)]
    Mirror(mirror::Mirror),
    /// The templates and playbooks inside this program, and your changes to them.
    #[command(subcommand)]
    Assets(Assets),
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

/// Which cluster is meant: a file, or one host.
#[derive(Debug, Args)]
pub struct Target {
    /// The machine: an address, a name of your ssh_config, or `local`.
    #[arg(value_name = "[USER@]HOST", required_unless_present = "config", conflicts_with = "config")]
    pub host: Option<String>,
    /// A cluster.yaml.
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A private key, instead of what your ssh_config and agent offer.
    #[arg(short, long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// An ssh_config instead of your own, for example what `vagrant ssh-config` prints.
    #[arg(long, value_name = "FILE", env = "ETCDLESS_SSH_CONFIG")]
    pub ssh_config: Option<PathBuf>,
    /// The cluster's name; without a file, `etcdless`.
    #[arg(long)]
    pub name: Option<String>,
    /// Any field of cluster.yaml, for example kubernetes.podSubnet=10.10.0.0/16; may be repeated.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub set: Vec<String>,
    /// Accept host keys that are not known yet, and ask nothing. A changed key is always refused.
    #[arg(short, long)]
    pub yes: bool,
}

/// How a run is shown.
#[derive(Debug, Clone, Copy, Args)]
pub struct Show {
    /// How to show what happens: for people, or one JSON event a line on stdout.
    #[arg(long, value_enum, default_value_t)]
    pub output: Format,
    /// Show the start of every step and every line that hosts print.
    #[arg(short, long)]
    pub verbose: bool,
}

/// What `init` and `render` take to describe a cluster.
#[derive(Debug, Args)]
pub struct Description {
    /// The Kubernetes release, for example v1.34.4.
    #[arg(long, value_name = "VERSION")]
    pub kubernetes_version: Option<String>,
    /// A file mirror in HOST/PATH form, for example http://10.0.0.5:8080.
    #[arg(long, value_name = "URL")]
    pub mirror: Option<String>,
    /// An image registry in HOST/NAME:TAG form; plain HTTP unless it starts with https://.
    #[arg(long, value_name = "HOST:PORT")]
    pub registry: Option<String>,
    /// A bundle of `mirror save`: nothing is fetched from anywhere. One that is based on an older one: name both, the newer one first.
    #[arg(long, value_name = "FILE")]
    pub bundle: Vec<PathBuf>,
    /// Who downloads: the hosts (node), this machine (push), or whoever can (auto).
    #[arg(long, value_name = "auto|node|push")]
    pub delivery: Option<String>,
    /// Where the state lives.
    #[arg(long, value_name = "sqlite")]
    pub datastore: Option<String>,
    /// A folder with templates/ and playbooks/ that replace the built-in files of the same name.
    #[arg(long, value_name = "DIR")]
    pub assets: Option<PathBuf>,
}

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
    /// A private key, instead of what your ssh_config and agent offer.
    #[arg(short, long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// An ssh_config instead of your own.
    #[arg(long, value_name = "FILE", env = "ETCDLESS_SSH_CONFIG")]
    pub ssh_config: Option<PathBuf>,
    /// Accept host keys that are not known yet, and ask nothing. A changed key is always refused.
    #[arg(short, long)]
    pub yes: bool,
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

/// How a run over several hosts goes about it.
#[derive(Debug, Clone, Copy, Args)]
pub struct Pace {
    /// How many hosts to log in to, and to work on, at once.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    pub concurrency: u16,
    /// Wait that long for another run that holds a host's lock, instead of ending at once.
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub lock_timeout: u32,
}

/// `render`.
#[derive(Debug, Args)]
#[command(after_help = "\
The machine is not asked: a Debian host with cgroup v2 and the address given is assumed. What real hosts differ in
(cgroup v1, conntrack, oom scores) shows in `init --dry-run`.

Examples:
  etcdless render -c cluster.yaml -o out/
  etcdless render root@10.0.0.11 --set kine.placement=sidecar -o out/")]
pub struct Render {
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub target: Target,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub description: Description,
    /// The folder to write into, one folder a host below it; it must be empty or not exist.
    #[arg(short = 'o', long = "out", value_name = "DIR")]
    pub directory: PathBuf,
}

/// `verify`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  etcdless verify root@10.0.0.11
  etcdless verify -c cluster.yaml --output json

Exit code 8 when something is not well; the failing line says what to look at.")]
pub struct Verify {
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub target: Target,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub show: Show,
    /// Seconds to wait for everything to become well.
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    pub timeout: u64,
}

/// `status`.
#[derive(Debug, Args)]
#[command(after_help = "\
It looks at every host at once, by one script that only reads, and plans as `init --dry-run` does. A host that does not
answer is a line of the table; with a file, any control plane that answers tells of the nodes.

Examples:
  etcdless status root@10.0.0.11
  etcdless status -c cluster.yaml
  etcdless status -c cluster.yaml --output json

Exit code 8 when something does not do its work, or has expired. What differs from the description, and certificates
with less than 30 days left, are warnings.")]
pub struct Status {
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub target: Target,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub show: Show,
    /// The folder with templates/ and playbooks/ that the cluster was built with.
    #[arg(long, value_name = "DIR")]
    pub assets: Option<PathBuf>,
}

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

/// `assets`.
#[derive(Debug, Subcommand)]
pub enum Assets {
    /// List every template and playbook with its digest.
    List(Overlay),
    /// Print one.
    Show {
        /// As `list` names it, for example playbooks/kernel.yaml.
        path: String,
        #[expect(missing_docs, reason = "a group of flags")]
        #[command(flatten)]
        overlay: Overlay,
    },
    /// Write all of them into an empty folder, to change and to give back with --assets.
    Export {
        /// The folder.
        directory: PathBuf,
    },
    /// Show how a folder differs from what is built in.
    Diff {
        /// The folder.
        directory: PathBuf,
    },
}

/// A folder laid over the built-in files.
#[derive(Debug, Args)]
pub struct Overlay {
    /// A folder with templates/ and playbooks/ that replace the built-in files of the same name.
    #[arg(long, value_name = "DIR")]
    pub assets: Option<PathBuf>,
}

/// `unlock`.
#[derive(Debug, Args)]
pub struct Unlock {
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub target: Target,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub show: Show,
    /// End the run that holds the lock. What it finished stays; run it again to go on.
    #[arg(long)]
    pub force: bool,
}

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
    /// A private key, instead of what your ssh_config and agent offer.
    #[arg(short, long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// An ssh_config instead of your own.
    #[arg(long, value_name = "FILE", env = "ETCDLESS_SSH_CONFIG")]
    pub ssh_config: Option<PathBuf>,
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
    /// Accept host keys that are not known yet, and ask nothing.
    #[arg(short, long)]
    pub yes: bool,
}

/// `90s`, `5m`, `1h` as seconds.
fn seconds(text: &str) -> Result<u64, String> {
    let number = |digits: &str, unit: u64| digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    let units = [("s", 1), ("m", 60), ("h", 3600)];
    let read = units.iter().find_map(|(unit, seconds)| number(text.strip_suffix(unit)?, *seconds));
    read.filter(|seconds| (1..=86_400).contains(seconds))
        .ok_or_else(|| "a time is a number with s, m or h, up to 24h".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        for (text, expected) in [("90s", Some(90)), ("5m", Some(300)), ("1h", Some(3600)), ("24h", Some(86_400))] {
            assert_eq!(seconds(text).ok(), expected, "{text}");
        }
        for text in ["", "5", "m", "-1s", "0s", "25h", "1.5m", "99999999999999999999h"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}

//! `mirror`: what clusters need from outside, as lists, as one file, in a registry.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::Show;
use crate::ui::Format;

/// Everything that a site without internet needs: list it, save it as one file, push it into a registry, serve it.
#[derive(Debug, Subcommand)]
pub enum Mirror {
    /// List files, images and packages with sizes, sources and checksums.
    #[command(after_help = LIST)]
    List(List),
    /// Download everything and write one file, for `init --bundle`.
    #[command(after_help = SAVE)]
    Save(Save),
    /// Read every byte of a bundle and compare it with what its manifest says.
    Verify(Verify),
}

const LIST: &str = "\
Examples:
  etcdless mirror list -c cluster.yaml
  etcdless mirror list --kubernetes-version v1.34.4 --arch amd64,arm64
  etcdless mirror list -c cluster.yaml --plain images | xargs -n 1 docker pull";

const SAVE: &str = "\
Examples:
  etcdless mirror save -c cluster.yaml -o demo.tar
  etcdless mirror save -c cluster.yaml -o demo.tar --packages-from root@10.0.0.9    a machine like the hosts, with internet
  etcdless mirror save -c cluster.yaml -o update.tar --since demo.tar               only what is new
  etcdless init -c cluster.yaml --bundle demo.tar                                   and then without internet

Downloads are kept in the user's cache folder: running again downloads only what is missing, and what broke off goes on.";

/// Which clusters are meant, and where everything comes from.
#[derive(Debug, Args)]
pub struct Content {
    /// A cluster.yaml; may be repeated.
    #[arg(short, long, value_name = "FILE", required_unless_present = "kubernetes_version")]
    pub config: Vec<PathBuf>,
    /// A Kubernetes release, instead of the files' own or for a cluster of etcdless's defaults; may be repeated.
    #[arg(long, value_name = "VERSION")]
    pub kubernetes_version: Vec<String>,
    /// The hosts' architectures.
    #[arg(long, value_name = "amd64,arm64", value_delimiter = ',', default_value = "amd64")]
    pub arch: Vec<String>,
    /// Any field of cluster.yaml, for example kine.placement=systemd; may be repeated.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub set: Vec<String>,
    /// Take files from this mirror in HOST/PATH form, instead of their publishers.
    #[arg(long, value_name = "URL")]
    pub mirror: Option<String>,
    /// Take images from this registry in HOST/NAME:TAG form; plain HTTP unless it starts with https://.
    #[arg(long, value_name = "HOST:PORT")]
    pub registry: Option<String>,
    /// A folder with templates/ and playbooks/ that replace the built-in files of the same name.
    #[arg(long, value_name = "DIR")]
    pub assets: Option<PathBuf>,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub packages: PackagesFrom,
}

/// The machine whose apt knows the packages.
#[derive(Debug, Args)]
pub struct PackagesFrom {
    /// A machine with the hosts' distribution and internet: its apt tells which packages are needed, with all that they depend on. Nothing on
    /// it is changed. May be repeated, for several distributions or architectures.
    #[arg(long = "packages-from", value_name = "[USER@]HOST")]
    pub hosts: Vec<String>,
    /// A private key for it, instead of what your ssh_config and agent offer.
    #[arg(short, long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// An ssh_config instead of your own.
    #[arg(long, value_name = "FILE", env = "ETCDLESS_SSH_CONFIG")]
    pub ssh_config: Option<PathBuf>,
    /// Accept host keys that are not known yet. A changed key is always refused.
    #[arg(short, long)]
    pub yes: bool,
}

/// `mirror list`.
#[derive(Debug, Args)]
pub struct List {
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub content: Content,
    /// Names alone, a line each, for other tools; asks no source.
    #[arg(long, value_name = "KIND", conflicts_with = "output")]
    pub plain: Option<Kind>,
    /// A table, or one JSON document.
    #[arg(long, value_enum, default_value_t)]
    pub output: Format,
}

/// What `mirror list --plain` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// URLs of files.
    Files,
    /// References of images.
    Images,
    /// Names of packages.
    Packages,
}

/// `mirror save`.
#[derive(Debug, Args)]
pub struct Save {
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub content: Content,
    /// The file to write; a bundle of that name is replaced once the new one is whole.
    #[arg(short = 'o', long = "out", value_name = "FILE")]
    pub out: PathBuf,
    /// Leave out what this older bundle holds; both are needed then. May be repeated.
    #[arg(long, value_name = "FILE")]
    pub since: Vec<PathBuf>,
    /// Where downloads are kept, instead of the user's cache folder.
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub show: Show,
}

/// `mirror verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// The bundle, and those that it is based on.
    #[arg(value_name = "FILE", required = true)]
    pub bundles: Vec<PathBuf>,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub show: Show,
}

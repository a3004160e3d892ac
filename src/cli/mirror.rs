//! `mirror` on the command line.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Show;

/// `mirror`.
#[derive(Debug, Subcommand)]
pub enum Mirror {
    /// Copy every image that a cluster needs into a registry of your own.
    Push(MirrorPush),
    /// The images alone: list, tag, push.
    #[command(subcommand)]
    Images(MirrorImages),
}

/// Which files and images are meant.
#[derive(Debug, Args)]
pub struct Wanted {
    /// A cluster.yaml; its `artifacts` say where everything comes from.
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The Kubernetes release, for example v1.34.4.
    #[arg(long, value_name = "VERSION")]
    pub kubernetes_version: Option<String>,
    /// Any field of cluster.yaml, for example kine.version=v0.16.4; may be repeated.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub set: Vec<String>,
}

/// How a registry is reached.
#[derive(Debug, Args)]
pub struct Trust {
    /// A file of CA certificates (PEM) to trust for this registry, beside those of this machine.
    #[arg(long, value_name = "FILE")]
    pub registry_ca: Option<PathBuf>,
}

/// `mirror push`.
#[derive(Debug, Args)]
#[command(after_help = "\
Digests stay as upstream made them. What the registry has already is not sent again: a second
run moves nothing, and one that was cut off goes on where it stopped. The tag is written last, so
that an image is there whole or not at all.

Logins are those of `docker login`, `podman login` and `skopeo login`, with DOCKER_CONFIG,
REGISTRY_AUTH_FILE and credential helpers. HTTPS is spoken unless REGISTRY starts with http://,
on loopback, too.

Names are REGISTRY/registry.k8s.io/kube-proxy:v1.34.4, as `artifacts.registry` expects them; with
--flat REGISTRY/kube-proxy:v1.34.4, as kubeadm's imageRepository does.

Examples:
  etcdless mirror push http://10.0.0.5:5000
  etcdless mirror push -c cluster.yaml img.example.com --dry-run
  etcdless mirror push --kubernetes-version v1.34.4 --flat img.example.com/system
  etcdless mirror push img.example.com --registry-ca ca.pem --arch amd64,arm64")]
pub struct MirrorPush {
    /// Where to: `[http[s]://]HOST[:PORT][/PATH]`.
    pub registry: String,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub wanted: Wanted,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub trust: Trust,
    /// Leave out where an image comes from: REGISTRY/NAME:TAG.
    #[arg(long)]
    pub flat: bool,
    /// For which machines: amd64, arm64, several with commas, or `all` for upstream's whole index.
    #[arg(long, value_name = "ARCH", value_delimiter = ',', default_value = "amd64")]
    pub arch: Vec<String>,
    /// How many blobs to send at once.
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub concurrency: u16,
    /// Look what is missing, and send nothing.
    #[arg(long)]
    pub dry_run: bool,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub show: Show,
}

/// `mirror images`.
#[derive(Debug, Subcommand)]
pub enum MirrorImages {
    /// Print the references of all images, one a line.
    List(ImagesList),
    /// Give an image of a registry one more name there, without moving a blob.
    Tag(ImagesTag),
    /// Copy all images into a registry; the same as `mirror push`.
    Push(MirrorPush),
}

/// `mirror images list`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  etcdless mirror images list --kubernetes-version v1.34.4
  etcdless mirror images list -c cluster.yaml --digests
  etcdless mirror images list | xargs -n1 docker pull")]
pub struct ImagesList {
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub wanted: Wanted,
    /// Ask for the digest of each, and print NAME:TAG@DIGEST.
    #[arg(long)]
    pub digests: bool,
}

/// `mirror images tag`.
#[derive(Debug, Args)]
#[command(after_help = "\
Both names are in one registry; plain HTTP needs http:// in front of the first.

Examples:
  etcdless mirror images tag img.example.com/system/kine:v0.16.4 img.example.com/system/kine:stable
  etcdless mirror images tag http://10.0.0.5:5000/registry.k8s.io/pause:3.10.1 10.0.0.5:5000/system/pause:3.10.1")]
pub struct ImagesTag {
    /// The image: `HOST[:PORT]/NAME:TAG`.
    pub source: String,
    /// Its new name.
    pub target: String,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub trust: Trust,
}

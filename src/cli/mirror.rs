//! `mirror`: what clusters need from outside, as lists, as one file, in a registry.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::target::{Login, Show};
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
    /// Serve bundles to hosts: a file mirror, a read-only registry and an apt repository in one process.
    #[command(after_help = SERVE)]
    Serve(Serve),
    /// Copy every image that clusters need, or that a bundle has, into a registry of your own.
    Push(MirrorPush),
    /// The images alone: list, tag, pull into a file, push into a registry.
    #[command(subcommand)]
    Images(MirrorImages),
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

const SERVE: &str = "\
Every byte of the bundles is read and compared first. Then, on every address:
  /dl.k8s.io/..., /github.com/...          files and their checksums, as `artifacts.mirror` wants them
  /v2/registry.k8s.io/kube-proxy/...       images, as `artifacts.registry` wants them; nothing can be pushed
  /packages/debian/12/amd64/               a flat apt repository
  /                                        what there is

Hosts reach only an address of this machine that is theirs, too: name it with --listen. Without it, only
this machine does. Whoever reaches the address reads everything; a bundle holds nothing secret.

Ctrl-C ends it at once, with whatever is on its way.

Examples:
  etcdless mirror serve --listen 10.0.0.5:8080 demo.tar
  etcdless mirror serve --listen 10.0.0.5:8080 update.tar demo.tar      one that is based on an older one
  etcdless mirror serve --listen 10.0.0.5:443 --tls-cert cert.pem --tls-key key.pem demo.tar
  etcdless init -c cluster.yaml --mirror http://10.0.0.5:8080 --registry 10.0.0.5:8080";

/// Which clusters are meant; without any, one of etcdless's defaults.
#[derive(Debug, Args)]
pub struct Clusters {
    /// A cluster.yaml; may be repeated.
    #[arg(short, long, value_name = "FILE")]
    pub config: Vec<PathBuf>,
    /// A Kubernetes release, for example v1.34.4, instead of the files' own; may be repeated.
    #[arg(long, value_name = "VERSION")]
    pub kubernetes_version: Vec<String>,
    /// Any field of cluster.yaml, for example kine.placement=systemd; may be repeated.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub set: Vec<String>,
    /// A folder with templates/ and playbooks/ that replace the built-in files of the same name.
    #[arg(long, value_name = "DIR")]
    pub assets: Option<PathBuf>,
}

/// Where everything comes from, and for which machines.
#[derive(Debug, Args)]
pub struct Sources {
    /// The hosts' architectures.
    #[arg(long, value_name = "amd64,arm64", value_delimiter = ',', default_value = "amd64")]
    pub arch: Vec<String>,
    /// Take files from this mirror in HOST/PATH form, instead of their publishers.
    #[arg(long, value_name = "URL")]
    pub mirror: Option<String>,
    /// Take images from this registry in HOST/NAME:TAG form; plain HTTP unless it starts with https://.
    #[arg(long, value_name = "HOST:PORT")]
    pub registry: Option<String>,
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
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub login: Login,
}

/// `mirror list`.
#[derive(Debug, Args)]
pub struct List {
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub clusters: Clusters,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub sources: Sources,
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

/// Where downloads go.
#[derive(Debug, Args)]
pub struct Into {
    /// The file to write; a bundle of that name is replaced once the new one is whole.
    #[arg(short = 'o', long = "out", value_name = "FILE")]
    pub out: PathBuf,
    /// Where downloads are kept, instead of the user's cache folder.
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
}

/// `mirror save`.
#[derive(Debug, Args)]
pub struct Save {
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub clusters: Clusters,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub sources: Sources,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub into: Into,
    /// Leave out what this older bundle holds; both are needed then. May be repeated.
    #[arg(long, value_name = "FILE")]
    pub since: Vec<PathBuf>,
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

/// `mirror serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// The bundle, and those that it is based on, the newer one first.
    #[arg(value_name = "FILE", required = true)]
    pub bundles: Vec<PathBuf>,
    /// Where to listen, with the address that hosts reach; may be repeated.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    pub listen: Vec<SocketAddr>,
    /// A certificate for these addresses, with its chain (PEM): HTTPS instead of HTTP. Hosts have to trust it already.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub show: Show,
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
  etcdless mirror push --bundle demo.tar http://10.0.0.5:5000
  etcdless mirror push img.example.com --registry-ca ca.pem --arch amd64,arm64")]
pub struct MirrorPush {
    /// Where to: `[http[s]://]HOST[:PORT][/PATH]`.
    pub registry: String,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub clusters: Clusters,
    /// Take the images from this bundle instead, all that it has. One that is based on an older one: name both, the newer one first.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["config", "kubernetes_version", "set", "assets", "arch"])]
    pub bundle: Vec<PathBuf>,
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
    /// Download all images and write one OCI archive, which is a bundle, too.
    Pull(ImagesPull),
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
    pub clusters: Clusters,
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

/// `mirror images pull`.
#[derive(Debug, Args)]
#[command(after_help = "\
The file is an OCI archive: `ctr images import` takes it whole, `skopeo copy oci-archive:FILE:IMAGE ...` an image of it.
It is also a bundle with nothing but images: `mirror push --bundle` and `mirror serve` take it.

Examples:
  etcdless mirror images pull -c cluster.yaml -o images.tar
  etcdless mirror images pull --kubernetes-version v1.34.4 --arch amd64,arm64 -o images.tar
  skopeo copy oci-archive:images.tar:registry.k8s.io/pause:3.10.1 docker://img.example.com/pause:3.10.1")]
pub struct ImagesPull {
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub clusters: Clusters,
    /// The hosts' architectures.
    #[arg(long, value_name = "amd64,arm64", value_delimiter = ',', default_value = "amd64")]
    pub arch: Vec<String>,
    /// Take images from this registry in HOST/NAME:TAG form; plain HTTP unless it starts with https://.
    #[arg(long, value_name = "HOST:PORT")]
    pub registry: Option<String>,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub into: Into,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub show: Show,
}

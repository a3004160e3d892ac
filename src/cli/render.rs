//! `etcdless render`.

use std::path::PathBuf;

use clap::Args;

use super::target::{Description, Target};

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

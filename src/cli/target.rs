//! What commands share: which cluster is meant, how hosts are logged in to, how a run is shown.

use std::path::PathBuf;

use clap::Args;

use crate::ui::Format;

/// How hosts are logged in to.
#[derive(Debug, Clone, Default, Args)]
pub struct Login {
    /// A private key, instead of what your ssh_config and agent offer.
    #[arg(short, long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// An ssh_config instead of your own, for example what `vagrant ssh-config` prints.
    #[arg(long, value_name = "FILE", env = "ETCDLESS_SSH_CONFIG")]
    pub ssh_config: Option<PathBuf>,
    /// Accept host keys that are not known yet, and ask nothing. A changed key is always refused.
    #[arg(short, long)]
    pub yes: bool,
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
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub login: Login,
    /// The cluster's name; without a file, `etcdless`.
    #[arg(long)]
    pub name: Option<String>,
    /// Any field of cluster.yaml, for example kubernetes.podSubnet=10.10.0.0/16; may be repeated.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub set: Vec<String>,
}

impl Target {
    /// A cluster that is named by a host or a file alone.
    pub fn new(host: Option<String>, config: Option<PathBuf>, login: Login) -> Self {
        Self { host, config, login, name: None, set: Vec::new() }
    }
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

/// `90s`, `5m`, `1h` as seconds.
pub(super) fn seconds(text: &str) -> Result<u64, String> {
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

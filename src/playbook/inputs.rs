//! What playbooks may know: fixed and typed.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;

use super::schema::{Artifact, Scalar};
use crate::config::{Install, ProxyMode, ServerEngine, Swap};
use crate::facts::Facts;

/// Everything that is asked for a host, as far as playbooks care.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inputs {
    /// Versions of what is put in place.
    pub versions: Versions,
    /// The full reference of the pause image.
    pub pause_image: String,
    /// The cluster's own registry with its scheme.
    pub registry: Option<String>,
    /// Where the container runtime comes from.
    pub install: Install,
    /// kube-proxy's mode.
    pub proxy_mode: Option<ProxyMode>,
    /// What becomes of swap.
    pub swap: Swap,
    /// Whether Pods or Services have IPv6 addresses.
    pub ipv6: bool,
    /// Whether containerd must not lower oom scores.
    pub restrict_oom_score: bool,
    /// The database server that the host is for; it is a node where there is none.
    pub server: Option<Server>,
}

/// A database server, as far as its settings care. Sizes are in MiB.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Server {
    /// What it runs.
    pub engine: ServerEngine,
    /// The address that it listens on.
    pub address: IpAddr,
    /// Its databases.
    pub databases: Vec<String>,
    /// Who logs in over the network.
    pub user: String,
    /// The networks that the user comes from, one address each.
    pub clients: Vec<IpNet>,
    /// All connections that it takes.
    pub max_connections: u32,
    /// Its own cache of pages.
    pub buffers: u64,
    /// What it may expect the system to cache.
    pub cache: u64,
    /// What one vacuum may take.
    pub maintenance: u64,
    /// How much of the write-ahead log is kept before a checkpoint is forced.
    pub log: u64,
}

/// Versions as their releases write them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Versions {
    /// Of kubelet, kubeadm and kubectl.
    pub kubernetes: String,
    /// containerd's release.
    pub containerd: String,
    /// runc's release.
    pub runc: String,
    /// The CNI plugins' release.
    pub cni_plugins: String,
}

/// The variables of templates and strings.
#[derive(Debug, Serialize)]
pub(super) struct Scope<'a> {
    versions: &'a Versions,
    pause_image: &'a str,
    registry: Option<&'a str>,
    restrict_oom_score: bool,
    /// Only in playbooks of a server.
    server: Option<&'a Server>,
    /// The value that each sysctl has once the playbook is done.
    sysctl: BTreeMap<&'a str, u64>,
    vars: BTreeMap<&'a str, &'a Scalar>,
}

impl Inputs {
    /// The major version of containerd that the host has or will have.
    pub(super) fn containerd_major(&self, facts: &Facts) -> u64 {
        match self.install {
            Install::Release => major(&self.versions.containerd),
            Install::Packages => facts.packages.get("containerd").map_or_else(|| packaged(facts), |found| major(found)),
        }
    }

    /// The version of an artifact.
    pub(super) fn version(&self, artifact: Artifact) -> &str {
        match artifact {
            Artifact::Kubelet | Artifact::Kubeadm | Artifact::Kubectl => &self.versions.kubernetes,
            Artifact::Containerd => &self.versions.containerd,
            Artifact::Runc => &self.versions.runc,
            Artifact::CniPlugins => &self.versions.cni_plugins,
        }
    }

    /// The variables of one playbook.
    pub(super) fn scope<'a>(
        &'a self,
        sysctl: BTreeMap<&'a str, u64>,
        vars: &'a BTreeMap<String, Scalar>,
        with: &'a BTreeMap<String, Scalar>,
    ) -> Scope<'a> {
        Scope {
            versions: &self.versions,
            pause_image: &self.pause_image,
            registry: self.registry.as_deref(),
            restrict_oom_score: self.restrict_oom_score,
            server: self.server.as_ref(),
            sysctl,
            vars: vars.iter().chain(with).map(|(name, value)| (name.as_str(), value)).collect(),
        }
    }
}

/// The containerd that a distribution packages, for hosts where it is not installed yet. 1 is the safe guess: containerd 2 reads the
/// configuration of 1 as well.
fn packaged(facts: &Facts) -> u64 {
    let release = major(&facts.os.version);
    match facts.os.id.as_str() {
        "ubuntu" if release >= 26 => 2,
        "fedora" if release >= 42 => 2,
        _ => 1,
    }
}

/// The leading number of a version; a `v` in front does not matter, nor does a package's epoch.
fn major(version: &str) -> u64 {
    let version = version.split_once(':').map_or(version, |(_epoch, rest)| rest);
    let digits = version.trim_start_matches('v');
    digits.split(|c: char| !c.is_ascii_digit()).next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn major_versions() {
        for (text, expected) in
            [("v2.2.0", 2), ("1.6.20~ds1-1+deb12u1", 1), ("0:2.0.5-1.fc42", 2), ("24.04", 24), ("", 0)]
        {
            assert_eq!(major(text), expected, "{text}");
        }
    }
}

//! What a host looks like: one read-only look, taken before anything is planned. Pure data; `remote::look` gathers it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use crate::config::Address;
use crate::journal::Journal;

/// What one look at a host must answer beside the general facts. Operations name what they need to know (`Op::probes`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Probes {
    /// Paths whose kind, mode, size, time and (up to 1 MiB) SHA-256 are wanted.
    pub files: BTreeSet<String>,
    /// Paths whose text is wanted: public certificates and small configuration only, never a secret.
    pub texts: BTreeSet<String>,
    /// sysctl keys.
    pub sysctls: BTreeSet<String>,
    /// systemd units, with their suffix.
    pub units: BTreeSet<String>,
    /// Packages of the distribution.
    pub packages: BTreeSet<String>,
    /// Image references in containerd's `k8s.io` namespace.
    pub images: BTreeSet<String>,
    /// Kernel features, by the name of the module that may bring them.
    pub features: BTreeSet<String>,
}

impl Probes {
    /// Adds everything that `other` asks.
    pub fn extend(&mut self, other: Self) {
        self.files.extend(other.files);
        self.texts.extend(other.texts);
        self.sysctls.extend(other.sysctls);
        self.units.extend(other.units);
        self.packages.extend(other.packages);
        self.images.extend(other.images);
        self.features.extend(other.features);
    }

    /// Whether `other` asks all of this, too.
    pub fn is_within(&self, other: &Self) -> bool {
        let mut both = other.clone();
        both.extend(self.clone());
        both == *other
    }
}

/// A host as it was when it was looked at.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// `hostname`, as it is.
    pub hostname: String,
    /// /etc/os-release.
    pub os: Os,
    /// `uname -m`, for example `x86_64`.
    pub machine: String,
    /// `uname -r`.
    pub kernel: String,
    /// Processors online.
    pub cpus: u32,
    /// MemTotal in KiB.
    pub memory_kib: u64,
    /// The host's clock minus this machine's, in milliseconds.
    pub clock_offset_ms: i64,
    /// Which cgroup hierarchy the host runs.
    pub cgroup: Cgroup,
    /// Whether a container may lower its oom score (CAP_SYS_RESOURCE in the bounding set).
    pub may_raise_limits: bool,
    /// Whether net.netfilter.nf_conntrack_max may be written; in a network namespace it may not.
    pub conntrack_writable: bool,
    /// Whether the kernel can load modules at all.
    pub loadable_modules: bool,
    /// Which of [`Probes::features`], and of what Kubernetes always needs, are there now (built in or loaded).
    pub features: BTreeSet<String>,
    /// Modules that are not loaded but that `modprobe -n` finds.
    pub available_modules: BTreeSet<String>,
    /// Active swap devices and files (/proc/swaps).
    pub swaps: Vec<String>,
    /// Uncommented swap lines of /etc/fstab.
    pub fstab_swaps: Vec<String>,
    /// systemd's swap units that are not masked.
    pub swap_units: Vec<String>,
    /// Addresses on interfaces, loopback left out.
    pub addresses: Vec<IpAddr>,
    /// The interface of each of them.
    pub interfaces: BTreeMap<IpAddr, String>,
    /// The address that our SSH connection reached.
    pub ssh_address: Option<IpAddr>,
    /// The source address of the default route.
    pub route_address: Option<IpAddr>,
    /// Listening TCP ports and who listens, as far as `ss` tells.
    pub listeners: BTreeMap<u16, String>,
    /// Free bytes by mount point, for the file systems that we write to.
    pub free_bytes: BTreeMap<String, u64>,
    /// How large the same file systems are.
    pub total_bytes: BTreeMap<String, u64>,
    /// Programs that were found of those that preflight asks for.
    pub tools: BTreeSet<String>,
    /// Paths that an existing cluster, or one that was not taken apart, leaves behind.
    pub traces: BTreeSet<String>,
    /// What earlier runs of etcdless finished here.
    pub journal: Journal,
    /// Answers to [`Probes::files`]; a path that does not exist is absent.
    pub files: BTreeMap<String, FileFact>,
    /// Answers to [`Probes::texts`].
    pub texts: BTreeMap<String, String>,
    /// Answers to [`Probes::sysctls`].
    pub sysctls: BTreeMap<String, String>,
    /// Answers to [`Probes::units`].
    pub units: BTreeMap<String, UnitFact>,
    /// Answers to [`Probes::packages`]: name to installed version.
    pub packages: BTreeMap<String, String>,
    /// Answers to [`Probes::images`]: those that are there.
    pub images: BTreeSet<String>,
}

/// /etc/os-release.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Os {
    /// `ID`, for example `debian`.
    pub id: String,
    /// `ID_LIKE`, split at blanks.
    pub like: Vec<String>,
    /// `VERSION_ID`, for example `12`; empty on rolling releases.
    pub version: String,
    /// `PRETTY_NAME`.
    pub name: String,
}

impl Os {
    /// What one expects of a host that was not asked: the distribution that the tests run.
    pub fn expected() -> Self {
        Self {
            id: "debian".into(),
            like: Vec::new(),
            version: "12".into(),
            name: "Debian GNU/Linux 12 (bookworm)".into(),
        }
    }
}

/// Which cgroup hierarchy a host runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cgroup {
    /// The legacy or hybrid hierarchy.
    V1,
    /// The unified hierarchy.
    #[default]
    V2,
}

/// One path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FileFact {
    /// Permission bits.
    pub mode: u32,
    /// Whether it is a directory.
    pub directory: bool,
    /// Bytes.
    pub size: u64,
    /// Modification time in microseconds since 1970: a file and a start within one second must still have an order.
    pub modified: i64,
    /// Lower-case hex, for files up to 1 MiB.
    pub sha256: Option<String>,
}

/// One systemd unit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UnitFact {
    /// Whether a unit file was found (`LoadState=loaded`).
    pub loaded: bool,
    /// `ActiveState=active`.
    pub active: bool,
    /// Whether it is enabled, or of a kind that needs no enabling (static, generated, an alias).
    pub enabled: bool,
    /// Whether files changed since systemd read them (`NeedDaemonReload=yes`).
    pub stale: bool,
    /// When its main process was started, or where it has none when it began to start, in microseconds since 1970; 0 where it is
    /// not active. A file that changed while the unit was starting is newer.
    pub since: i64,
}

impl Facts {
    /// A machine as one expects it: Debian on amd64 with cgroup v2. What a real one must be asked follows from a plan for this one.
    pub fn expected(address: &Address) -> Self {
        let documentation = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        let address = address.to_string().parse().unwrap_or(documentation);
        Self {
            hostname: "node".into(),
            os: Os::expected(),
            machine: "x86_64".into(),
            may_raise_limits: true,
            conntrack_writable: true,
            loadable_modules: true,
            addresses: vec![address],
            interfaces: [(address, "eth0".to_owned())].into(),
            route_address: Some(address),
            ..Self::default()
        }
    }

    /// `amd64` or `arm64` as releases name them; `None` for anything else.
    pub fn release_arch(&self) -> Option<&'static str> {
        match self.machine.as_str() {
            "x86_64" => Some("amd64"),
            "aarch64" => Some("arm64"),
            _ => None,
        }
    }

    /// Whether the host is of a distribution family: its own ID or one of ID_LIKE.
    pub fn is_family(&self, family: &str) -> bool {
        self.os.id == family || self.os.like.iter().any(|like| like == family)
    }
}

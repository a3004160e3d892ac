//! The closed set of changes that etcdless can make to a host. Pure: an operation compared with facts is either needed or already so.

use std::collections::BTreeSet;

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::facts::{Facts, Probes};

/// One change, described by its outcome. Adding a kind means: a variant here, its script in `remote::script`, its case in `tests/ops`.
#[derive(Debug, Clone)]
pub enum Op {
    /// A directory with its mode.
    Directory {
        /// Absolute path.
        path: String,
        /// Permission bits.
        mode: u32,
    },
    /// A small file, written atomically.
    File(File),
    /// A file of etcdless's that is not wanted any more.
    Absent {
        /// Absolute path.
        path: String,
    },
    /// An archive or program into the staging folder, verified by SHA-256.
    Fetch(Fetch),
    /// A staged program moved to its place.
    Install {
        /// Where it was staged.
        staged: String,
        /// Where it belongs.
        path: String,
        /// Permission bits.
        mode: u32,
        /// Goes into the digest, so that another version is another change.
        version: String,
    },
    /// A staged tar.gz unpacked; the archive is removed afterwards.
    Unpack {
        /// Where it was staged.
        staged: String,
        /// The folder to unpack into.
        into: String,
        /// Paths that must exist afterwards.
        creates: Vec<String>,
        /// Goes into the digest, so that another version is another change.
        version: String,
    },
    /// Packages of the distribution.
    Package {
        /// Their names.
        names: Vec<String>,
        /// Which packages of a bundle they come from; none for the host's own sources.
        bundled: Option<Release>,
        /// The environment of what downloads them: `NAME=VALUE`.
        environment: Vec<String>,
    },
    /// A kernel feature: present already, or its module loaded now. Loading at boot is a `File` of its own.
    Module {
        /// The module, which is also the feature's name in `Facts::features`.
        name: String,
    },
    /// A sysctl's value now. Keeping it over a reboot is a `File` of its own.
    Sysctl {
        /// For example `net.ipv4.ip_forward`.
        key: String,
        /// The value.
        value: String,
        /// A floor: a larger number that the host has already is left alone.
        at_least: bool,
    },
    /// All swap off, now and after a reboot.
    SwapOff,
    /// A name in /etc/hosts that etcdless keeps.
    HostsEntry {
        /// The name.
        name: String,
        /// What it resolves to.
        address: String,
    },
    /// A systemd unit enabled and, where asked, running with everything that it watches.
    Unit {
        /// With its suffix.
        name: String,
        /// Whether it must run now; a unit that kubeadm starts is only enabled.
        running: bool,
        /// Files that it has read: when one is newer than the unit's start, the unit is restarted.
        watches: Vec<String>,
    },
    /// An image in containerd's `k8s.io` namespace.
    Image(Image),
    /// The certificates of `kine.listen: tcp`, made on this machine as one set and placed on the host; no CA key is kept.
    Certificates {
        /// The folder: ca.crt, server.crt, server.key, client.crt, client.key.
        directory: String,
    },
    /// A small file of another host, copied when its turn comes. Only planned where it is needed.
    Carry {
        /// The other host's label.
        host: String,
        /// Its path there and here.
        path: String,
        /// Permission bits.
        mode: u32,
    },
    /// A program of the user's on this machine; the host's journal keeps that it was.
    Local(Local),
    /// A fixed script with arguments, for what has no outcome that a look can tell: done when the journal says so and its evidence exists.
    Script(Script),
}

/// A release of a distribution on an architecture, as a bundle tells its packages apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Release {
    /// `ID` of /etc/os-release.
    pub distribution: String,
    /// `VERSION_ID` of /etc/os-release.
    pub version: String,
    /// `amd64` or `arm64`.
    pub arch: String,
}

impl std::fmt::Display for Release {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {} {}", self.distribution, self.version, self.arch)
    }
}

/// A small file.
#[derive(Debug, Clone)]
pub struct File {
    /// Absolute path.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// What it holds; kept out of every log.
    pub content: SecretString,
    /// Whether the plan may not even show its digest.
    pub secret: bool,
}

/// A file on its way to a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fetch {
    /// The catalogue's name for it, for example `kubelet`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Where it comes from, mirror applied.
    pub url: String,
    /// Lower-case hex. Empty in a plan whose sources were not asked yet.
    pub sha256: String,
    /// Bytes, 0 where the source does not tell.
    pub size: u64,
    /// The staging path.
    pub staged: String,
    /// Where its contents end up: once they are there, nothing is fetched again.
    pub yields: Vec<String>,
    /// Whether this machine fetches and sends it.
    pub push: bool,
    /// The environment of what downloads it on the host: `NAME=VALUE`.
    pub environment: Vec<String>,
}

/// An image on its way to a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Image {
    /// The reference under which Kubernetes knows it.
    pub reference: String,
    /// Whether this machine fetches and sends it.
    pub push: bool,
    /// The environment of what downloads it on the host: `NAME=VALUE`.
    pub environment: Vec<String>,
}

/// A program of the user's on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Local {
    /// Where it is.
    pub program: std::path::PathBuf,
    /// `NAME=VALUE`, added to the environment.
    pub environment: Vec<String>,
    /// The longest that it may take.
    pub seconds: u64,
}

/// A fixed script with arguments.
#[derive(Debug, Clone, Serialize)]
pub struct Script {
    /// POSIX shell, never built from values.
    pub text: std::borrow::Cow<'static, str>,
    /// `$1`, `$2`, ...; no secrets, since they are visible in `ps`.
    pub args: Vec<String>,
    /// Paths that exist once it is done.
    pub creates: Vec<String>,
    /// Paths whose change makes it necessary again.
    pub watches: Vec<String>,
    /// Any text: a change of it makes the script necessary again (a digest of what it acts on).
    pub of: String,
    /// The longest that it may take.
    pub seconds: u64,
}

/// What became of comparing an operation with facts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Decision {
    /// Nothing to do.
    AlreadySo,
    /// To be done; the text says what differs, for people.
    Change(String),
}

/// Paths that earlier steps of the same plan change.
pub type Pending = BTreeSet<String>;

impl File {
    /// A file whose content may be shown.
    pub fn new(path: impl Into<String>, mode: u32, content: impl Into<String>) -> Self {
        Self { path: path.into(), mode, content: SecretString::from(content.into()), secret: false }
    }

    /// A file whose content, and digest, may not be shown.
    pub fn secret(path: impl Into<String>, mode: u32, content: impl Into<String>) -> Self {
        Self { secret: true, ..Self::new(path, mode, content) }
    }

    /// SHA-256 of the content, lower-case hex.
    pub fn sha256(&self) -> String {
        sha256(self.content.expose_secret().as_bytes())
    }
}

impl Op {
    /// What facts must answer so that [`Op::decide`] can.
    pub fn probes(&self) -> Probes {
        let mut probes = Probes::default();
        match self {
            Self::Directory { path, .. } => insert(&mut probes.files, [path]),
            Self::File(file) => insert(&mut probes.files, [&file.path]),
            Self::Absent { path } => insert(&mut probes.files, [path]),
            Self::Fetch(fetch) => insert(&mut probes.files, fetch.yields.iter().chain([&fetch.staged])),
            Self::Install { path, .. } => insert(&mut probes.files, [path]),
            Self::Unpack { creates, .. } => insert(&mut probes.files, creates),
            Self::Package { names, .. } => insert(&mut probes.packages, names),
            Self::Sysctl { key, .. } => insert(&mut probes.sysctls, [key]),
            Self::HostsEntry { .. } => insert(&mut probes.texts, [&"/etc/hosts".to_owned()]),
            Self::Unit { name, watches, .. } => {
                insert(&mut probes.units, [name]);
                insert(&mut probes.files, watches);
            }
            Self::Image(image) => insert(&mut probes.images, [&image.reference]),
            Self::Certificates { directory } => {
                insert(&mut probes.texts, certificates(directory).iter());
                insert(&mut probes.files, crate::pki::keys(directory).iter());
            }
            Self::Script(script) => insert(&mut probes.files, script.creates.iter().chain(&script.watches)),
            Self::Module { name } => insert(&mut probes.features, [name]),
            Self::Carry { path, .. } => insert(&mut probes.files, [path]),
            Self::SwapOff | Self::Local(_) => {}
        }
        probes
    }

    /// Paths that the operation changes, for the steps after it.
    pub fn changes(&self) -> Vec<String> {
        match self {
            Self::Directory { path, .. } | Self::Install { path, .. } | Self::Absent { path } => vec![path.clone()],
            Self::File(file) => vec![file.path.clone()],
            Self::Carry { path, .. } => vec![path.clone()],
            Self::Fetch(fetch) => vec![fetch.staged.clone()],
            Self::Unpack { creates, .. } => creates.clone(),
            Self::Certificates { directory } => certificates(directory).to_vec(),
            Self::Script(script) => script.creates.clone(),
            Self::HostsEntry { .. } => vec!["/etc/hosts".into()],
            _ => Vec::new(),
        }
    }

    /// Identifies what is done, for the journal: the same outcome has the same digest, wherever its bytes come from.
    pub fn digest(&self) -> String {
        let text = match self {
            Self::Directory { path, mode } => format!("directory {path} {mode:o}"),
            Self::File(file) => format!("file {} {:o} {}", file.path, file.mode, file.sha256()),
            Self::Absent { path } => format!("absent {path}"),
            Self::Fetch(fetch) => format!("fetch {} {} {}", fetch.name, fetch.version, fetch.staged),
            Self::Install { path, mode, version, .. } => format!("install {path} {mode:o} {version}"),
            Self::Unpack { into, creates, version, .. } => format!("unpack {into} {} {version}", creates.join(" ")),
            Self::Package { names, .. } => format!("package {}", names.join(" ")),
            Self::Module { name } => format!("module {name}"),
            Self::Sysctl { key, value, at_least } => format!("sysctl {key} {value} {at_least}"),
            Self::SwapOff => "swap off".into(),
            Self::HostsEntry { name, address } => format!("hosts {name} {address}"),
            Self::Unit { name, running, watches } => format!("unit {name} {running} {}", watches.join(" ")),
            Self::Image(image) => format!("image {}", image.reference),
            Self::Certificates { directory } => format!("certificates {directory}"),
            Self::Carry { host, path, mode } => format!("carry {host} {path} {mode:o}"),
            // Where it is kept is no part of it: the same file may be named from another folder.
            Self::Local(local) => {
                let name = local.program.file_name().unwrap_or_default().to_string_lossy();
                format!("local {name} {}", local.environment.join(" "))
            }
            Self::Script(script) => {
                format!("script {}\0{}\0{}", script.text, script.args.join("\0"), script.of)
            }
        };
        sha256(text.as_bytes())
    }

    /// Whether the host needs this operation. `step` is its ID in the journal; `pending` holds what earlier steps of the plan change.
    pub fn decide(&self, step: &str, facts: &Facts, pending: &Pending) -> Decision {
        let change = |what: String| Decision::Change(what);
        match self {
            Self::Directory { path, mode } => match facts.files.get(path) {
                Some(fact) if fact.directory && fact.mode == *mode => Decision::AlreadySo,
                Some(fact) if fact.directory => change(format!("mode {:04o} -> {mode:04o}", fact.mode)),
                _ => change(format!("create, mode {mode:04o}")),
            },
            Self::File(file) => match facts.files.get(&file.path) {
                Some(fact) if fact.sha256.as_deref() == Some(&file.sha256()) && fact.mode == file.mode => {
                    Decision::AlreadySo
                }
                Some(_) => change("content or mode differs".into()),
                None => change(format!("create, mode {:04o}", file.mode)),
            },
            Self::Absent { path } if facts.files.contains_key(path) => change(format!("remove {path}")),
            Self::Absent { .. } => Decision::AlreadySo,
            Self::Fetch(fetch) => {
                let kept = facts.journal.has(step, &self.digest());
                if kept && (intact(facts, &fetch.yields) || intact(facts, std::slice::from_ref(&fetch.staged))) {
                    Decision::AlreadySo
                } else {
                    change(format!("{} {} from {}", fetch.name, fetch.version, fetch.url))
                }
            }
            Self::Install { path, version, .. } => self.journaled(step, facts, std::slice::from_ref(path), version),
            Self::Unpack { creates, version, .. } => self.journaled(step, facts, creates, version),
            Self::Package { names, .. } => {
                let missing: Vec<&str> =
                    names.iter().filter(|name| !facts.packages.contains_key(*name)).map(String::as_str).collect();
                if missing.is_empty() { Decision::AlreadySo } else { change(format!("install {}", missing.join(", "))) }
            }
            Self::Module { name } => {
                if facts.features.contains(name) {
                    Decision::AlreadySo
                } else {
                    change(format!("load {name}"))
                }
            }
            Self::Sysctl { key, value, at_least } => match facts.sysctls.get(key) {
                Some(now) if now == value || (*at_least && number(now) >= number(value)) => Decision::AlreadySo,
                Some(now) => change(format!("{now} -> {value}")),
                None => change(format!("set to {value}")),
            },
            Self::SwapOff => {
                let active: Vec<&str> =
                    facts.swaps.iter().chain(&facts.fstab_swaps).chain(&facts.swap_units).map(String::as_str).collect();
                if active.is_empty() { Decision::AlreadySo } else { change(format!("turn off {}", active.join(", "))) }
            }
            Self::HostsEntry { name, address } => {
                let hosts = facts.texts.get("/etc/hosts").map_or("", String::as_str);
                if hosts_resolve(hosts, name).as_deref() == Some(address) {
                    Decision::AlreadySo
                } else {
                    change(format!("{name} is {address}"))
                }
            }
            Self::Unit { name, running, watches } => decide_unit(facts, pending, name, *running, watches),
            Self::Image(image) => {
                if facts.images.contains(&image.reference) {
                    Decision::AlreadySo
                } else {
                    change(image.reference.clone())
                }
            }
            Self::Certificates { directory } => crate::pki::decide(directory, facts),
            Self::Carry { host, path, .. } => change(format!("{path} of {host}")),
            Self::Local(_) if facts.journal.has(step, &self.digest()) => Decision::AlreadySo,
            Self::Local(_) => change("not done yet".into()),
            Self::Script(script) => {
                if let Some(path) = script.watches.iter().find(|path| pending.contains(*path)) {
                    return change(format!("{path} changes"));
                }
                if !facts.journal.has(step, &self.digest()) {
                    return change("not done yet".into());
                }
                match script.creates.iter().find(|path| !facts.files.contains_key(*path)) {
                    Some(path) => change(format!("{path} is missing")),
                    None => Decision::AlreadySo,
                }
            }
        }
    }

    /// Files whose size and time the journal records once the operation is done.
    pub fn vouched(&self) -> Vec<String> {
        match self {
            Self::Fetch(fetch) => vec![fetch.staged.clone()],
            Self::Install { path, .. } => vec![path.clone()],
            Self::Unpack { creates, .. } => creates.clone(),
            _ => Vec::new(),
        }
    }

    /// For what is too large to hash at every look: the journal has it in this version and the files are as they were placed.
    fn journaled(&self, step: &str, facts: &Facts, files: &[String], version: &str) -> Decision {
        if facts.journal.has(step, &self.digest()) && intact(facts, files) {
            Decision::AlreadySo
        } else {
            Decision::Change(format!("version {version}"))
        }
    }
}

fn decide_unit(facts: &Facts, pending: &Pending, name: &str, running: bool, watches: &[String]) -> Decision {
    if let Some(path) = watches.iter().find(|path| pending.contains(*path)) {
        return Decision::Change(format!("{path} changes"));
    }
    let Some(unit) = facts.units.get(name).filter(|unit| unit.loaded) else {
        return Decision::Change("enable".into());
    };
    let newer = |path: &&String| facts.files.get(*path).is_some_and(|file| file.modified > unit.since);
    if !unit.enabled {
        Decision::Change("enable".into())
    } else if unit.stale {
        Decision::Change("systemd has not read its files yet".into())
    } else if running && !unit.active {
        Decision::Change("start".into())
    } else if let (true, Some(path)) = (unit.active, watches.iter().find(newer)) {
        Decision::Change(format!("restart: {path} is newer than its start"))
    } else {
        Decision::AlreadySo
    }
}

/// Whether every file is there with the size and time that the journal recorded. No files vouch for nothing.
fn intact(facts: &Facts, files: &[String]) -> bool {
    let same = |path: &String| {
        facts.files.get(path).is_some_and(|fact| facts.journal.files.get(path) == Some(&(fact.size, fact.modified)))
    };
    !files.is_empty() && files.iter().all(same)
}

/// The public certificates of a [`Op::Certificates`] folder.
pub fn certificates(directory: &str) -> [String; 3] {
    ["ca.crt", "server.crt", "client.crt"].map(|name| format!("{directory}/{name}"))
}

/// What /etc/hosts says of a name: the first address whose line has it, as the resolver reads it.
pub fn hosts_resolve(hosts: &str, name: &str) -> Option<String> {
    hosts.lines().find_map(|line| {
        let mut words = line.split('#').next()?.split_whitespace();
        let address = words.next()?;
        words.any(|word| word == name).then(|| address.to_owned())
    })
}

fn number(text: &str) -> u64 {
    text.trim().parse().unwrap_or(0)
}

fn insert<'a>(set: &mut BTreeSet<String>, items: impl IntoIterator<Item = &'a String>) {
    set.extend(items.into_iter().cloned());
}

/// SHA-256 in lower-case hex.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

//! What one look at a host answered. Everything may be missing: a host that is half built, or of another role, has less to tell.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::op;
use crate::phase::kubectl::{self, Node};
use crate::pki;

/// One look at a host.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Look {
    /// `hostname`.
    pub(super) hostname: String,
    /// The host's own clock, in seconds since 1970: what its programs hold certificates against.
    pub(super) now: i64,
    /// Program to version: kubelet and containerd by themselves, kine and those of Kubernetes' control plane by their images.
    pub(super) versions: BTreeMap<String, String>,
    /// systemd's units that are there.
    pub(super) units: BTreeMap<String, Unit>,
    /// kines that run: what each listens on, and whether systemd runs it.
    pub(super) kines: Vec<Kine>,
    /// What /etc/hosts says of the API's name.
    pub(super) address: Option<String>,
    /// The API servers that a balancer on the host knows: name and address.
    pub(super) members: Vec<String>,
    /// Shared addresses that keepalived is told of, and whether the host has them now.
    pub(super) vips: Vec<(IpAddr, bool)>,
    /// Path to the end of the certificate, in seconds since 1970; `None` where there is none in the file.
    pub(super) certificates: BTreeMap<String, Option<i64>>,
    /// What the host's own API server fails at; no API server is asked where the host has no admin.conf.
    pub(super) readyz: Option<Result<Vec<String>, String>>,
    /// The nodes that it knows.
    pub(super) nodes: Option<Result<Vec<Node>, String>>,
}

/// A systemd unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Unit {
    /// `ActiveState`.
    pub(super) active: String,
    /// `SubState`.
    pub(super) sub: String,
    /// `Result`: why it ended last.
    pub(super) result: String,
}

/// A kine that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kine {
    /// The value of `--listen-address`.
    pub(super) listen: String,
    /// Whether systemd runs it, and not the kubelet.
    pub(super) is_unit: bool,
}

impl Unit {
    /// Whether it does its work.
    pub(super) fn is_active(&self) -> bool {
        self.active == "active"
    }

    /// For people: `running`, `dead`, `failed (exit-code)`.
    pub(super) fn text(&self) -> String {
        match self.result.as_str() {
            "" | "success" => self.sub.clone(),
            result => format!("{} ({result})", self.sub),
        }
    }
}

impl Look {
    /// Reads what `status_look.sh` printed; `api` is the API's name.
    pub(super) fn parse(text: &str, api: &str) -> Self {
        let sections = sections(text);
        let lines = |name: &str| sections.get(name).map(Vec::as_slice).unwrap_or_default().iter().copied();
        let mut host = lines("host");
        let addresses: Vec<IpAddr> = lines("addresses").filter_map(interface_address).collect();
        let vips = lines("vip").filter_map(vip).map(|vip| (vip, addresses.contains(&vip))).collect();
        Self {
            hostname: host.next().unwrap_or_default().to_owned(),
            now: host.next().and_then(|line| line.parse().ok()).unwrap_or_default(),
            versions: lines("versions").filter_map(version).collect(),
            units: units(lines("units")),
            kines: kines(lines("kine")),
            address: op::hosts_resolve(&lines("endpoint").collect::<Vec<_>>().join("\n"), api),
            members: lines("members").filter_map(member).collect(),
            vips,
            certificates: certificates(lines("certificates")),
            readyz: answer(&sections, "readyz").map(|(status, body)| kubectl::readyz(status, &body)),
            nodes: answer(&sections, "nodes").map(|(status, body)| kubectl::list(status, &body)),
        }
    }
}

fn sections(text: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut sections: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut name = "";
    for line in text.lines() {
        match line.strip_prefix("== ") {
            Some(next) => name = next,
            None => sections.entry(name).or_default().push(line),
        }
    }
    sections
}

/// `kubelet Kubernetes v1.34.4`, `containerd containerd github.com/containerd/containerd/v2 v2.2.0 HASH`, `image: "docker.io/rancher/kine:v0.16.4"`.
fn version(line: &str) -> Option<(String, String)> {
    if let Some((_, image)) = line.split_once("image: ") {
        let (name, tag) = image.trim().trim_matches('"').rsplit_once(':')?;
        return Some((name.rsplit('/').next()?.to_owned(), tag.to_owned()));
    }
    let mut words = line.split_whitespace();
    let program = words.next()?;
    let is_version = |word: &&str| word.trim_start_matches('v').starts_with(|letter: char| letter.is_ascii_digit());
    let version = words.filter(|word| word.contains('.')).find(is_version)?;
    // Debian's containerd calls itself 1.6.20~ds1.
    Some((program.to_owned(), if version.starts_with('v') { version.to_owned() } else { format!("v{version}") }))
}

/// Properties a line, an empty line between units.
fn units<'a>(lines: impl Iterator<Item = &'a str>) -> BTreeMap<String, Unit> {
    let mut units = BTreeMap::new();
    let lines: Vec<&str> = lines.collect();
    for properties in lines.split(|line| line.is_empty()) {
        let of = |name: &str| {
            let find =
                |line: &&str| line.split_once('=').filter(|(key, _)| *key == name).map(|(_, value)| value.to_owned());
            properties.iter().find_map(find).unwrap_or_default()
        };
        if of("LoadState") == "loaded" {
            let unit = Unit { active: of("ActiveState"), sub: of("SubState"), result: of("Result") };
            units.insert(of("Id"), unit);
        }
    }
    units
}

/// A line of the process's cgroup, then its command line.
fn kines<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<Kine> {
    let lines: Vec<&str> = lines.collect();
    let kine = |pair: &[&str]| {
        let &[cgroup, command] = pair else { return None };
        let is_unit = cgroup.contains("/etcdless-kine-");
        let listen = command.split(' ').find_map(|word| word.strip_prefix("--listen-address="))?;
        // Someone else's kine is not ours to judge.
        (is_unit || cgroup.contains("kubepods")).then(|| Kine { listen: listen.to_owned(), is_unit })
    };
    lines.chunks(2).filter_map(kine).collect()
}

/// `server NAME ADDRESS:PORT ...`
fn member(line: &str) -> Option<String> {
    let mut words = line.split_whitespace().skip(1);
    let (name, address) = (words.next()?, words.next()?);
    Some(format!("{name} {address}"))
}

/// A line of keepalived's `virtual_ipaddress`: an address, perhaps with a prefix and an interface.
fn vip(line: &str) -> Option<IpAddr> {
    let words = line.split(|letter: char| letter.is_whitespace() || letter == '{');
    words.filter_map(|word| word.split('/').next()?.parse().ok()).next()
}

/// `2: eth0    inet 10.0.0.11/24 brd ...`
fn interface_address(line: &str) -> Option<IpAddr> {
    line.split_whitespace().nth(3)?.split('/').next()?.parse().ok()
}

fn certificates<'a>(lines: impl Iterator<Item = &'a str>) -> BTreeMap<String, Option<i64>> {
    let mut texts: BTreeMap<&str, String> = BTreeMap::new();
    let mut path = "";
    for line in lines {
        match line.strip_prefix("file ") {
            Some(next) => path = next,
            None => texts.entry(path).or_default().push_str(&format!("{line}\n")),
        }
    }
    // A kubeconfig that names a file holds no certificate, and the file is among the others.
    texts.into_iter().map(|(path, text)| (path.to_owned(), pki::end(&text, path.ends_with("ca.crt")))).collect()
}

/// kubectl's exit status and what it printed.
fn answer(sections: &BTreeMap<&str, Vec<&str>>, name: &str) -> Option<(i32, String)> {
    let lines = sections.get(name)?;
    // Cut off before the status: the host's time was over.
    let status = sections.get(format!("{name}-status").as_str()).and_then(|lines| lines.first()?.parse().ok());
    Some((status.unwrap_or(1), lines.join("\n")))
}

//! One look at a host: the questions that the script takes and what its answers mean. The script only prints; everything is read here.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::script::sysctl_path;
use crate::facts::{Cgroup, Facts, FileFact, Os, Probes, UnitFact};
use crate::journal::{Journal, micros};

/// The script; `$1` is the journal.
pub(super) const SCRIPT: &str = include_str!("scripts/look.sh");

/// CAP_SYS_RESOURCE.
const SYS_RESOURCE: u64 = 1 << 24;

/// What is always asked beside [`Probes::features`].
const FEATURES: [&str; 7] = ["overlay", "br_netfilter", "nf_conntrack", "ip_vs", "ip_vs_rr", "ip_vs_wrr", "ip_vs_sh"];

/// Paths by which a feature shows wherever it comes from, also inside a network namespace.
const SIGNS: [(&str, &str); 4] = [
    ("/proc/sys/net/bridge", "br_netfilter"),
    ("/proc/sys/net/netfilter/nf_conntrack_max", "nf_conntrack"),
    ("/proc/net/nf_conntrack", "nf_conntrack"),
    ("/proc/net/ip_vs", "ip_vs"),
];

const CONNTRACK_MAX: &str = "/proc/sys/net/netfilter/nf_conntrack_max";

/// The script's standard input. A value that would break a line is refused.
pub(super) fn questions(probes: &Probes) -> Result<Vec<u8>, String> {
    let sysctls: BTreeSet<String> = probes.sysctls.iter().map(|key| sysctl_path(key)).collect();
    let features = features(probes);
    let mut text = String::new();
    for (kind, values) in [
        ("file", &probes.files),
        ("text", &probes.texts),
        ("sysctl", &sysctls),
        ("unit", &probes.units),
        ("package", &probes.packages),
        ("image", &probes.images),
        ("feature", &features),
    ] {
        for value in values {
            if value.is_empty() || value.contains(char::is_control) {
                return Err(format!("{kind} {value:?} cannot be asked for"));
            }
            text.push_str(&format!("{kind}\t{value}\n"));
        }
    }
    text.push_str("end\n");
    Ok(text.into_bytes())
}

fn features(probes: &Probes) -> BTreeSet<String> {
    FEATURES.into_iter().map(str::to_owned).chain(probes.features.iter().cloned()).collect()
}

/// Reads the script's answers. `now_ms` is this machine's clock at the same moment, in milliseconds since 1970.
pub fn parse(answers: &str, probes: &Probes, now_ms: i64) -> Result<Facts, String> {
    let sections = Sections::new(answers)?;
    let mut facts = Facts::default();
    let clock: i64 = sections.first("clock").trim().parse().map_err(|_| "it does not tell the time".to_owned())?;
    facts.clock_offset_ms = clock - now_ms;
    if let Some((kernel, machine)) = sections.first("uname").split_once(' ') {
        facts.kernel = kernel.to_owned();
        facts.machine = machine.to_owned();
    }
    read_lines(&sections, probes, &mut facts);
    read_existing(&sections, &mut facts);
    read_features(&sections, probes, &mut facts);
    read_files(&sections, probes, &mut facts);
    read_texts(&sections, probes, &mut facts)?;
    facts.traces = sections.lines("traces").map(str::to_owned).collect();
    facts.swap_units = sections.lines("swapunits").filter_map(swap_unit).collect();
    facts.units = units(&sections, probes);
    facts.packages = sections.lines("packages").filter_map(package).collect();
    facts.images = sections.lines("images").filter(|image| probes.images.contains(*image)).map(str::to_owned).collect();
    facts.interfaces = sections.lines("addresses").filter_map(address).collect();
    facts.addresses = sections.lines("addresses").filter_map(|line| Some(address(line)?.0)).collect();
    facts.route_address = sections.lines("route").find_map(|line| word_after(line, "src")?.parse().ok());
    facts.listeners = sections.lines("listeners").filter_map(listener).collect();
    for (mount, free, total) in sections.lines("free").filter_map(space) {
        facts.free_bytes.insert(mount.clone(), free);
        facts.total_bytes.insert(mount, total);
    }
    facts.tools = sections.lines("tools").map(str::to_owned).collect();
    Ok(facts)
}

/// The answers by section.
struct Sections<'a>(BTreeMap<&'a str, Vec<&'a str>>);

impl<'a> Sections<'a> {
    fn new(answers: &'a str) -> Result<Self, String> {
        let mut sections: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let mut lines: Option<&mut Vec<&str>> = None;
        for line in answers.lines() {
            match (line.strip_prefix("== "), &mut lines) {
                (Some(name), _) => lines = Some(sections.entry(name).or_default()),
                (None, Some(lines)) => lines.push(line),
                (None, None) => return Err(format!("its answer begins with {line:?}")),
            }
        }
        if sections.contains_key("end") { Ok(Self(sections)) } else { Err("its answer was cut off".into()) }
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn lines(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.get(name).into_iter().flatten().copied()
    }

    fn first(&self, name: &str) -> &'a str {
        self.lines(name).next().unwrap_or_default()
    }
}

/// Small files, `PATH:LINE`.
fn read_lines(sections: &Sections<'_>, probes: &Probes, facts: &mut Facts) {
    let sysctls: BTreeMap<String, &String> = probes.sysctls.iter().map(|key| (sysctl_path(key), key)).collect();
    for (path, line) in sections.lines("lines").filter_map(|line| line.split_once(':')) {
        match path {
            "/etc/os-release" => read_os(line, &mut facts.os),
            "/etc/fstab" => facts.fstab_swaps.extend(fstab_swap(line)),
            "/proc/swaps" if line.starts_with('/') => facts.swaps.extend(words(line).next().map(str::to_owned)),
            "/proc/filesystems" if words(line).last() == Some("overlay") => {
                facts.features.insert("overlay".into());
            }
            "/proc/meminfo" => {
                if let Some(memory) = line.strip_prefix("MemTotal:") {
                    facts.memory_kib = words(memory).next().and_then(|kib| kib.parse().ok()).unwrap_or(0);
                }
            }
            "/proc/1/status" => {
                if let Some(bits) = line.strip_prefix("CapBnd:") {
                    let bits = u64::from_str_radix(bits.trim(), 16).unwrap_or(0);
                    facts.may_raise_limits = bits & SYS_RESOURCE != 0;
                }
            }
            "/proc/sys/kernel/hostname" => facts.hostname = line.to_owned(),
            "/sys/devices/system/cpu/online" => facts.cpus = count(line),
            _ => {}
        }
        if let Some(key) = sysctls.get(path) {
            facts.sysctls.entry((*key).clone()).or_insert_with(|| words(line).collect::<Vec<_>>().join(" "));
        }
    }
}

fn read_os(line: &str, os: &mut Os) {
    let Some((key, value)) = line.split_once('=') else { return };
    let value = value.trim().trim_matches(['"', '\'']);
    match key {
        "ID" => os.id = value.to_owned(),
        "ID_LIKE" => os.like = words(value).map(str::to_owned).collect(),
        "VERSION_ID" => os.version = value.to_owned(),
        "PRETTY_NAME" => os.name = value.to_owned(),
        _ => {}
    }
}

fn fstab_swap(line: &str) -> Option<String> {
    let mut fields = words(line);
    let device = fields.next().filter(|device| !device.starts_with('#'))?;
    (fields.nth(1) == Some("swap")).then(|| device.to_owned())
}

/// How many numbers a list such as `0-3,5` holds.
fn count(list: &str) -> u32 {
    let range = |part: &str| -> Option<u32> {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(last.trim().parse::<u32>().ok()? - first.trim().parse::<u32>().ok()? + 1)
    };
    list.split(',').filter_map(range).sum()
}

fn read_existing(sections: &Sections<'_>, facts: &mut Facts) {
    let there: BTreeSet<&str> = sections.lines("existing").collect();
    let unified = there.contains("/sys/fs/cgroup/cgroup.controllers");
    facts.cgroup = if unified { Cgroup::V2 } else { Cgroup::V1 };
    let modules = there.iter().any(|path| path.starts_with("/lib/modules/"));
    facts.loadable_modules = modules && there.contains("/proc/modules");
    let signs = SIGNS.into_iter().filter(|(path, _)| there.contains(path));
    facts.features.extend(signs.map(|(_, feature)| feature.to_owned()));
}

fn read_features(sections: &Sections<'_>, probes: &Probes, facts: &mut Facts) {
    facts.features.extend(sections.lines("features").map(str::to_owned));
    // `kernel/net/ipv4/ip_tunnel.ko`
    let builtin = |line: &str| Some(line.rsplit_once('/')?.1.strip_suffix(".ko")?.to_owned());
    let asked = features(probes);
    facts.features.extend(sections.lines("builtin").filter_map(builtin).filter(|name| asked.contains(name)));
    if sections.has("modprobe") {
        // `modprobe: WARNING: Module NAME not found in directory /lib/modules/...`
        let unknown: BTreeSet<&str> =
            sections.lines("modprobe").filter_map(|line| word_after(line, "Module")).collect();
        let found = |name: &String| !facts.features.contains(name) && !unknown.contains(name.as_str());
        facts.available_modules = asked.into_iter().filter(found).collect();
    }
}

/// `HEX-MODE<tab>SIZE<tab>TIME<tab>PATH`, and `sha256sum`'s lines.
fn read_files(sections: &Sections<'_>, probes: &Probes, facts: &mut Facts) {
    let mut files = BTreeMap::new();
    for line in sections.lines("files") {
        let fields: Vec<&str> = line.splitn(4, '\t').collect();
        let [mode, size, modified, path] = fields[..] else { continue };
        let mode = u32::from_str_radix(mode, 16).unwrap_or(0);
        let fact = FileFact {
            mode: mode & 0o7777,
            directory: mode & 0o170_000 == 0o040_000,
            size: size.parse().unwrap_or(0),
            modified: micros(modified).unwrap_or(0),
            sha256: None,
        };
        files.insert(path, fact);
    }
    for (digest, path) in sections.lines("sha256").filter_map(|line| line.split_once("  ")) {
        if let Some(fact) = files.get_mut(path) {
            fact.sha256 = Some(digest.to_owned());
        }
    }
    facts.conntrack_writable = files.get(CONNTRACK_MAX).is_none_or(|fact| fact.mode & 0o200 != 0);
    let asked = files.into_iter().filter(|(path, _)| probes.files.contains(*path));
    facts.files = asked.map(|(path, fact)| (path.to_owned(), fact)).collect();
}

fn read_texts(sections: &Sections<'_>, probes: &Probes, facts: &mut Facts) -> Result<(), String> {
    for (path, text) in sections.lines("texts").filter_map(|line| line.split_once('\t')) {
        let bytes = base64(text).ok_or_else(|| format!("the text of {path} is not base64"))?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if probes.texts.contains(path) {
            facts.texts.insert(path.to_owned(), text);
        } else {
            facts.journal = Journal::parse(&text);
        }
    }
    Ok(())
}

/// `UNIT LOAD ACTIVE SUB DESCRIPTION`.
fn swap_unit(line: &str) -> Option<String> {
    let mut words = words(line);
    let unit = words.next().filter(|unit| unit.ends_with(".swap"))?;
    (words.next() != Some("masked")).then(|| unit.to_owned())
}

/// `systemctl show`: a block of NAME=VALUE a unit, blank lines between them.
fn units(sections: &Sections<'_>, probes: &Probes) -> BTreeMap<String, UnitFact> {
    let lines: Vec<&str> = sections.lines("units").collect();
    let mut units = BTreeMap::new();
    for block in lines.split(|line| line.is_empty()) {
        let values: BTreeMap<&str, &str> = block.iter().filter_map(|line| line.split_once('=')).collect();
        let value = |name: &str| values.get(name).copied().unwrap_or_default();
        let active = value("ActiveState") == "active";
        let since = micros(value("ExecMainStartTimestamp")).or_else(|| micros(value("InactiveExitTimestamp")));
        let fact = UnitFact {
            loaded: value("LoadState") == "loaded",
            active,
            enabled: matches!(value("UnitFileState"), "enabled" | "static" | "generated" | "alias"),
            stale: value("NeedDaemonReload") == "yes",
            since: since.filter(|_| active).unwrap_or(0),
        };
        for name in words(value("Names")).filter(|name| probes.units.contains(*name)) {
            units.insert(name.to_owned(), fact.clone());
        }
    }
    units
}

fn package(line: &str) -> Option<(String, String)> {
    let mut fields = line.split('\t');
    let installed = fields.next() == Some("installed");
    let (name, version) = (fields.next()?, fields.next()?);
    installed.then(|| (name.to_owned(), version.to_owned()))
}

/// `2: eth0    inet 10.0.0.11/24 brd ...`
fn address(line: &str) -> Option<(IpAddr, String)> {
    let mut words = words(line).skip(1);
    let interface = words.next().filter(|interface| *interface != "lo")?;
    words.next().filter(|family| family.starts_with("inet"))?;
    // A virtual interface names its other end, too: `host0@if12`.
    let interface = interface.split('@').next()?.to_owned();
    Some((words.next()?.split('/').next()?.parse().ok()?, interface))
}

/// `LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=731,fd=3))`
fn listener(line: &str) -> Option<(u16, String)> {
    let fields: Vec<&str> = words(line).collect();
    let port = fields.get(3)?.rsplit_once(':')?.1.parse().ok()?;
    let who = line.split_once("((\"").and_then(|(_, user)| {
        let (name, rest) = user.split_once('"')?;
        let pid = rest.split_once("pid=")?.1.split(|c: char| !c.is_ascii_digit()).next()?;
        Some(format!("{name} (pid {pid})"))
    });
    Some((port, who.unwrap_or_else(|| "a process that ss does not name".into())))
}

/// `FREE-BLOCKS<tab>BLOCKS<tab>BLOCK-SIZE<tab>MOUNT` as mount point, free bytes and all bytes.
fn space(line: &str) -> Option<(String, u64, u64)> {
    let mut fields = line.splitn(4, '\t');
    let free: u64 = fields.next()?.parse().ok()?;
    let total: u64 = fields.next()?.parse().ok()?;
    let size: u64 = fields.next()?.parse().ok()?;
    Some((fields.next()?.to_owned(), free.saturating_mul(size), total.saturating_mul(size)))
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split_whitespace()
}

fn word_after<'a>(line: &'a str, word: &str) -> Option<&'a str> {
    words(line).skip_while(|candidate| *candidate != word).nth(1)
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut buffer, mut bits) = (0_u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        buffer = (buffer << 6) | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((buffer >> bits) as u8);
            buffer &= (1 << bits) - 1;
        }
    }
    Some(bytes)
}

#[cfg(test)]
#[path = "look_tests.rs"]
mod tests;

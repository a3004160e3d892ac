//! Checks of the machine itself: processor, memory, kernel, clock, names, addresses, programs.

use std::collections::BTreeMap;

use super::{Finding, Subject};
use crate::cluster::node::{NAT_ADDRESS, Node};
use crate::config::{Delivery, DnsLabel, ProxyMode, Swap};
use crate::facts::Cgroup;

/// What kubeadm asks of a control plane.
const MIN_CPUS: u32 = 2;
const MIN_MEMORY_MB: u64 = 1700;

/// Beyond this, certificates and leases of one machine look wrong to another.
const MAX_CLOCK_OFFSET_MS: u64 = 30_000;

/// The distribution families that playbooks describe.
const TESTED_FAMILY: &str = "debian";
const UNTESTED_FAMILIES: [&str; 2] = ["rhel", "fedora"];

pub(super) fn architecture(subject: &Subject<'_>) -> Vec<Finding> {
    let machine = &subject.facts.machine;
    when(subject.facts.release_arch().is_none(), || {
        Finding::error(
            format!("has a processor of type {machine}"),
            "the releases of Kubernetes, containerd and kine that etcdless places are for x86_64 and aarch64",
            "use a machine of type x86_64 or aarch64",
        )
    })
}

pub(super) fn operating_system(subject: &Subject<'_>) -> Vec<Finding> {
    let facts = subject.facts;
    let name = if facts.os.name.is_empty() { "an unknown distribution" } else { &facts.os.name };
    if facts.is_family(TESTED_FAMILY) {
        Vec::new()
    } else if UNTESTED_FAMILIES.iter().any(|family| facts.is_family(family)) {
        vec![Finding::warning(
            format!("runs {name}"),
            "this family is described, but nobody has tested it",
            "use Debian or Ubuntu where it matters, and please tell how it went",
        )]
    } else {
        vec![Finding::error(
            format!("runs {name}"),
            "no playbook describes it",
            "use Debian, Ubuntu, or a distribution of the RHEL and Fedora family",
        )]
    }
}

pub(super) fn system_verification(subject: &Subject<'_>) -> Vec<Finding> {
    const OLDEST_KERNEL: (u64, u64) = (5, 4);
    let (facts, version) = (subject.facts, &subject.cluster.spec.kubernetes.version);
    let old = kernel_version(&facts.kernel).is_some_and(|kernel| kernel < OLDEST_KERNEL);
    let mut findings = when(old, || {
        Finding::warning(
            format!("runs kernel {}", facts.kernel),
            "Kubernetes is tested with 5.4 and later",
            "install a later kernel and boot it",
        )
    });
    if facts.cgroup == Cgroup::V1 && version.minor() >= 35 {
        findings.push(Finding::warning(
            "runs cgroup v1",
            format!("Kubernetes {version} wants cgroup v2; etcdless sets failCgroupV1: false, and a later release will not run"),
            "boot with systemd.unified_cgroup_hierarchy=1",
        ));
    }
    findings
}

pub(super) fn cpus(subject: &Subject<'_>) -> Vec<Finding> {
    let cpus = subject.facts.cpus;
    when(subject.is_control_plane() && cpus < MIN_CPUS, || {
        Finding::error(
            format!("has {cpus} CPU, kubeadm needs {MIN_CPUS}"),
            "the control plane and the Pods would wait for each other",
            format!("give the machine {MIN_CPUS} CPUs"),
        )
    })
}

pub(super) fn memory(subject: &Subject<'_>) -> Vec<Finding> {
    let megabytes = subject.facts.memory_kib / 1024;
    when(subject.is_control_plane() && megabytes < MIN_MEMORY_MB, || {
        Finding::error(
            format!("has {megabytes} MB of memory, kubeadm needs {MIN_MEMORY_MB} MB"),
            "the kernel would end parts of the control plane",
            format!("give the machine {MIN_MEMORY_MB} MB of memory"),
        )
    })
}

pub(super) fn disk_space(subject: &Subject<'_>) -> Vec<Finding> {
    let mut mounts: BTreeMap<&str, (Vec<&str>, u64)> = BTreeMap::new();
    for (path, need) in subject.need {
        if let Some(mount) = mount_of(subject, path) {
            let (paths, sum) = mounts.entry(mount).or_default();
            paths.push(path);
            *sum += need;
        }
    }
    let short = |(mount, (paths, need)): (&str, (Vec<&str>, u64))| {
        let free = *subject.facts.free_bytes.get(mount)?;
        (free < need).then(|| {
            Finding::error(
                format!("has {} free on {mount}", mebibytes(free)),
                format!("what this run places in {} takes {}", paths.join(", "), mebibytes(need)),
                format!("free {} or enlarge the file system of {mount}", mebibytes(need - free)),
            )
        })
    };
    mounts.into_iter().filter_map(short).collect()
}

/// The kubelet's own thresholds, by the folder whose file system it watches: in percent of the file system, what must stay free
/// (kubernetes.io, "Node-pressure Eviction", hard eviction thresholds).
const EVICTION: [(&str, &str, u64); 2] =
    [("/var/lib/containerd", "imagefs.available", 15), ("/var/lib/kubelet", "nodefs.available", 10)];

pub(super) fn disk_pressure(subject: &Subject<'_>) -> Vec<Finding> {
    let pressed = |(path, signal, percent): (&str, &str, u64)| {
        let mount = mount_of(subject, path)?;
        let (free, total) = (*subject.facts.free_bytes.get(mount)?, *subject.facts.total_bytes.get(mount)?);
        let placed: u64 =
            subject.need.iter().filter(|(path, _)| mount_of(subject, path) == Some(mount)).map(|(_, need)| need).sum();
        let floor = (total / 100).saturating_mul(percent);
        // Where it does not even fit, DiskSpace says so.
        let left = free.checked_sub(placed)?;
        (left < floor).then(|| {
            let what = format!("will have {} of {} free on {mount}", mebibytes(left), mebibytes(total));
            let why =
                format!("below {percent} % ({signal} of the kubelet) it evicts Pods, and the cluster does not come up");
            let fix = format!(
                "free {} there, or lower the threshold: kubeadm.kubelet.evictionHard in cluster.yaml",
                mebibytes(floor - left)
            );
            match subject.need.is_empty() {
                true => Finding::warning(what, why, fix),
                false => Finding::error(what, why, fix),
            }
        })
    };
    if subject.cluster.spec.kubeadm.kubelet.contains_key("evictionHard") {
        return Vec::new();
    }
    // The stricter one comes first: where both are on one file system, it says all.
    EVICTION.into_iter().find_map(pressed).into_iter().collect()
}

/// The file system that a path is on: the longest mount point above it.
fn mount_of<'a>(subject: &Subject<'a>, path: &str) -> Option<&'a str> {
    let above = |mount: &&String| std::path::Path::new(path).starts_with(mount);
    subject.facts.free_bytes.keys().filter(above).max_by_key(|mount| mount.len()).map(String::as_str)
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

pub(super) fn swap(subject: &Subject<'_>) -> Vec<Finding> {
    let facts = subject.facts;
    if subject.cluster.spec.kubernetes.swap != Swap::Refuse {
        return Vec::new();
    }
    const FIX: &str = "--set kubernetes.swap=off turns it off and keeps it off; --set kubernetes.swap=keep runs the kubelet with failSwapOn: false";
    if !facts.swaps.is_empty() {
        let devices = facts.swaps.join(", ");
        return vec![Finding::error(format!("has swap on: {devices}"), "the kubelet does not start with swap on", FIX)];
    }
    let waiting: Vec<&str> = facts.fstab_swaps.iter().chain(&facts.swap_units).map(String::as_str).collect();
    when(!waiting.is_empty(), || {
        Finding::warning(
            format!("has swap that the next boot turns on: {}", waiting.join(", ")),
            "the kubelet would not start after it",
            FIX,
        )
    })
}

pub(super) fn clock_skew(subject: &Subject<'_>) -> Vec<Finding> {
    let offset = subject.facts.clock_offset_ms;
    when(offset.unsigned_abs() > MAX_CLOCK_OFFSET_MS, || {
        let side = if offset < 0 { "behind" } else { "ahead of" };
        Finding::error(
            format!("has a clock {} s {side} this machine's", offset.unsigned_abs() / 1000),
            "certificates made now would be expired or not valid yet, and leases would not hold",
            "set both clocks, for example with `timedatectl set-ntp true`",
        )
    })
}

pub(super) fn hostname(subject: &Subject<'_>) -> Vec<Finding> {
    let name = &subject.facts.hostname;
    when(subject.host.name.is_none() && name.parse::<DnsLabel>().is_err(), || {
        Finding::error(
            format!("is named `{name}`, which is not a DNS label"),
            "the node's name in Kubernetes is 1 to 63 of a-z, 0-9 and `-`, starting and ending with a letter or digit",
            "`hostnamectl set-hostname NAME`, or give the host a `name` in cluster.yaml",
        )
    })
}

pub(super) fn node_name(subject: &Subject<'_>) -> Vec<Finding> {
    let name = subject.node_name();
    let twins = twins(subject, |twin| twin.node_name() == name);
    when(!twins.is_empty(), || {
        Finding::error(
            format!("would be node `{name}`, as would {}", twins.join(", ")),
            "two machines cannot be one node",
            "give each host a `name` of its own in cluster.yaml",
        )
    })
}

pub(super) fn node_address(subject: &Subject<'_>) -> Vec<Finding> {
    const FIX: &str = "set hosts[].nodeIP in cluster.yaml to an address that other machines reach this one by";
    let (host, facts) = (subject.host, subject.facts);
    let own: Vec<String> = facts.addresses.iter().map(ToString::to_string).collect();
    let own = if own.is_empty() { "none".into() } else { own.join(", ") };
    if let Some(given) = host.node_ip {
        return when(!facts.addresses.contains(&given), || {
            Finding::error(
                format!("does not have the address {given} of hosts[].nodeIP"),
                format!("the kubelet takes only an address of its own machine, which are {own}"),
                FIX,
            )
        });
    }
    let address_of = |subject: &Subject<'_>| Some(Node::new(subject.cluster, subject.host, subject.facts)?.address);
    match address_of(subject) {
        Some(address) => match &twins(subject, |twin| address_of(twin) == Some(address))[..] {
            [] => when(address == NAT_ADDRESS, || {
                Finding::warning(
                    format!("would be the node with address {address}"),
                    "this looks like an address behind NAT, which no other machine reaches",
                    FIX,
                )
            }),
            twins => vec![Finding::error(
                format!("would be the node with address {address}, as would {}", twins.join(", ")),
                "no other machine could tell them apart; behind NAT each may have the same address",
                FIX,
            )],
        },
        None if facts.release_arch().is_none() => Vec::new(),
        None if facts.addresses.contains(&NAT_ADDRESS) => vec![Finding::error(
            "has several addresses, and nothing tells which one other machines reach",
            format!(
                "SSH and the default route use NAT's 10.0.2.15, which every machine behind it has; its addresses are {own}"
            ),
            FIX,
        )],
        None => vec![Finding::error(
            "has no address that it can be a node with",
            format!(
                "neither the address that SSH reached nor that of the default route is on an interface; its addresses are {own}"
            ),
            FIX,
        )],
    }
}

/// The other hosts of which something is true, by what people call them.
fn twins(subject: &Subject<'_>, same: impl Fn(&Subject<'_>) -> bool) -> Vec<String> {
    let others = subject.hosts.iter().filter(|(host, _)| !std::ptr::eq(*host, subject.host));
    let twins = others.filter(|(host, facts)| same(&Subject { host, facts, ..*subject }));
    twins.map(|(host, _)| host.label()).collect()
}

pub(super) fn feature(subject: &Subject<'_>, name: &str) -> Vec<Finding> {
    let facts = subject.facts;
    let there = facts.features.contains(name);
    let loadable = facts.loadable_modules && facts.available_modules.contains(name);
    when(!there && !loadable, || {
        let fix = if facts.loadable_modules {
            format!("install the modules of kernel {} and see that `modprobe {name}` works", facts.kernel)
        } else {
            format!("boot a kernel that has {name} built in")
        };
        Finding::error(
            format!("has no kernel feature {name}"),
            "it is neither built in nor loaded, and no module of that name can be loaded",
            fix,
        )
    })
}

pub(super) fn ipvs_feature(subject: &Subject<'_>, name: &str) -> Vec<Finding> {
    match subject.cluster.spec.kubernetes.proxy_mode {
        Some(ProxyMode::Ipvs) => feature(subject, name),
        _ => Vec::new(),
    }
}

/// A program that the run uses on the host, and the package that has it.
pub(super) fn tool(subject: &Subject<'_>, name: &str, package: &str) -> Vec<Finding> {
    let delivered = subject.cluster.spec.artifacts.delivery == Delivery::Push;
    let unused = name == "curl" && delivered && !subject.is_control_plane();
    if unused || subject.facts.tools.contains(name) {
        return Vec::new();
    }
    let install = if subject.facts.is_family("debian") { "apt-get install -y" } else { "dnf install -y" };
    let package = if package == "iproute2" && install.starts_with("dnf") { "iproute" } else { package };
    let fix = format!("`{install} {package}` on the host");
    if name == "ss" {
        let why = "whether another program holds a port that Kubernetes needs cannot be told";
        return vec![Finding::warning("has no program `ss`", why, fix)];
    }
    vec![Finding::error(format!("has no program `{name}`"), "the run needs it on the host", fix)]
}

/// `(5, 10)` of `5.10.0-28-amd64`.
fn kernel_version(release: &str) -> Option<(u64, u64)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn when(wrong: bool, finding: impl FnOnce() -> Finding) -> Vec<Finding> {
    wrong.then(finding).into_iter().collect()
}

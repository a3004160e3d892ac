//! From what was seen to rows and a verdict. Pure.

use super::certificates;
use super::look::{Look, Unit};
use super::report::{Certificate, Check, Endpoint, HostStatus, Level, Report, Service};
use super::{Place, Seen};
use crate::cluster::kine::{Listener, listeners};
use crate::config::{Cluster, Endpoint as Described, Network, Placement, Role};
use crate::datastore::status::seen::Told;
use crate::phase::kubectl::Node;

const DAY: i64 = 24 * 60 * 60;

/// Changes that are named; `--dry-run` shows all.
const SHOWN: usize = 4;

/// What runs where, and whether it should be so.
pub fn judge(seen: &Seen<'_>) -> Report {
    let nodes = nodes(seen);
    let hosts: Vec<HostStatus> = seen.hosts.iter().map(|place| host(seen, place, nodes)).collect();
    Report {
        cluster: seen.cluster.metadata.name.to_string(),
        api: seen.cluster.api_name(),
        checks: together(seen, nodes),
        stores: seen.stores.clone(),
        hosts,
        again: "`etcdless status` looks again and changes nothing".into(),
    }
}

/// The nodes as a control plane knows them: one that is ready is believed first.
fn nodes<'a>(seen: &'a Seen<'_>) -> Option<&'a [Node]> {
    let looks: Vec<&Look> = seen.hosts.iter().filter_map(|place| place.look.as_ref().ok()).collect();
    let is_ready = |look: &&&Look| matches!(&look.readyz, Some(Ok(failing)) if failing.is_empty());
    let by_trust = looks.iter().filter(is_ready).chain(looks.iter());
    by_trust.filter_map(|look| look.nodes.as_ref()?.as_deref().ok()).next()
}

/// What is about no single host.
fn together(seen: &Seen<'_>, nodes: Option<&[Node]>) -> Vec<Check> {
    let mut checks = Vec::new();
    if nodes.is_none() {
        let detail = "no control plane's API server tells of the nodes".to_owned();
        checks.push(degraded(
            "nodes",
            detail,
            "see the control planes above: where is an API server, and what does it wait for?",
        ));
    }
    let is_described = |node: &&Node| seen.hosts.iter().any(|place| is_node_of(node, place));
    let strangers: Vec<&str> = nodes
        .unwrap_or_default()
        .iter()
        .filter(|node| !is_described(node))
        .map(|node| node.metadata.name.as_str())
        .collect();
    // A host that is gone and has neither name nor address of a node in the description may be any of them.
    if !strangers.is_empty() && seen.hosts.iter().all(|place| place.look.is_ok() || place.config.name.is_some()) {
        let detail = format!("not in the description: {}", strangers.join(", "));
        checks.push(warning(
            "nodes",
            detail,
            "add them to its hosts, or `kubectl drain` and `kubectl delete node` them",
        ));
    }
    for store in seen.stores.told().into_iter().flatten() {
        checks.extend(store.wrong.iter().map(|wrong| {
            degraded("datastore", format!("{}: {wrong}", store.shard), "`etcdless datastore status` tells more")
        }));
    }
    checks
}

fn host(seen: &Seen<'_>, place: &Place<'_>, nodes: Option<&[Node]>) -> HostStatus {
    let role = place.config.role;
    let nodes = nodes.filter(|_| role.is_node());
    let node = nodes.map(|nodes| nodes.iter().find(|node| is_node_of(node, place)));
    let mut checks = Vec::new();
    let mut status = HostStatus {
        host: place.config.label(),
        role,
        level: Level::Ok,
        unreachable: place.look.as_ref().err().cloned(),
        node: node.map(node_state),
        kubelet: None,
        containerd: None,
        kine: None,
        api_server: None,
        certificates: Vec::new(),
        endpoint: Endpoint::default(),
        lock: place.lock.clone(),
        drift: place.drift.clone(),
        checks: Vec::new(),
    };
    match &place.look {
        Err(reason) => {
            let ssh = place.config.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
            let next = format!(
                "see whether `ssh {ssh}{}` works from here, and whether the machine is on",
                place.config.address
            );
            checks.push(degraded("host", format!("unreachable: {reason}"), &next));
        }
        Ok(look) => looked(seen, place, look, &mut status, &mut checks),
    }
    checks.extend(node.and_then(|node| node_check(seen, node)));
    checks.extend(place.lock.as_ref().map(|owner| {
        warning("lock", format!("held by {owner}"), "wait until that run is done; `etcdless unlock --force` ends it")
    }));
    checks.extend(drift(seen, place));
    status.level = checks.iter().map(|check| check.level).max().unwrap_or(Level::Ok);
    status.checks = checks;
    status
}

/// What a host itself told.
fn looked(seen: &Seen<'_>, place: &Place<'_>, look: &Look, status: &mut HostStatus, checks: &mut Vec<Check>) {
    let role = place.config.role;
    if role.is_node() {
        for (name, slot) in [("kubelet", &mut status.kubelet), ("containerd", &mut status.containerd)] {
            let unit = look.units.get(&format!("{name}.service"));
            checks.push(service_check(seen, name, unit));
            *slot = unit.map(|unit| service(look.versions.get(name), unit));
        }
        status.endpoint = endpoint(look);
        checks.push(endpoint_check(seen, look));
        checks.extend(balancers(look));
    }
    if role == Role::ControlPlane {
        let (kine, check) = kine(seen.cluster, look);
        status.kine = Some(kine);
        checks.push(check);
        let (api_server, check) = api_server(seen.cluster, place, look);
        status.api_server = Some(api_server);
        checks.push(check);
    }
    let days = |end: i64| (end - look.now).div_euclid(DAY);
    let certificate = |(path, end): (&String, &Option<i64>)| Certificate { path: path.clone(), days: end.map(days) };
    status.certificates = look.certificates.iter().map(certificate).collect();
    let urgent = certificates::checks(seen.cluster, &status.certificates, &seen.again);
    if urgent.is_empty() && !status.certificates.is_empty() {
        checks.push(good("certificates", format!("{} last for another 30 days and more", status.certificates.len())));
    }
    checks.extend(urgent);
}

fn good(name: &'static str, detail: impl Into<String>) -> Check {
    Check { name, level: Level::Ok, detail: detail.into(), next: None }
}

fn warning(name: &'static str, detail: impl Into<String>, next: &str) -> Check {
    Check { name, level: Level::Warning, detail: detail.into(), next: Some(next.to_owned()) }
}

fn degraded(name: &'static str, detail: impl Into<String>, next: &str) -> Check {
    Check { name, level: Level::Degraded, detail: detail.into(), next: Some(next.to_owned()) }
}

/// Whether a node is this host: by the name that it has, or where that is not known by its address.
fn is_node_of(node: &Node, place: &Place<'_>) -> bool {
    let name = place.config.name.as_ref().map(|name| name.as_str());
    let name = name.or(place.look.as_ref().ok().map(|look| look.hostname.as_str()));
    let address = place.config.node_ip.map_or_else(|| place.config.address.to_string(), |address| address.to_string());
    match name {
        Some(name) => node.metadata.name == name,
        None => node.status.addresses.iter().any(|own| own.address == address),
    }
}

fn node_state(node: Option<&Node>) -> String {
    let Some(node) = node else { return "missing".into() };
    let ready = if is_ready(node) { "Ready" } else { "NotReady" };
    if node.spec.unschedulable { format!("{ready}, cordoned") } else { ready.into() }
}

fn is_ready(node: &Node) -> bool {
    node.ready().is_some_and(|ready| ready.status == "True")
}

fn node_check(seen: &Seen<'_>, node: Option<&Node>) -> Option<Check> {
    let Some(node) = node else {
        return Some(degraded("node", "the cluster has no such node", &format!("`{}` joins it", seen.again)));
    };
    let name = &node.metadata.name;
    if is_ready(node) {
        return Some(good("node", format!("{name} is Ready")));
    }
    let why = node.ready().map(|ready| format!(": {}: {}", ready.reason, ready.message)).unwrap_or_default();
    let detail = format!("{name} is not Ready{why}");
    let waits = matches!(seen.cluster.spec.network, Network::None(_)) && detail.contains("NetworkPluginNotReady");
    let next = format!("`kubectl describe node {name}`");
    Some(if waits {
        warning("node", detail, "install a Pod network, since network is none")
    } else {
        degraded("node", detail, &next)
    })
}

fn service(version: Option<&String>, unit: &Unit) -> Service {
    let state = if unit.is_active() { String::new() } else { unit.text() };
    Service { version: version.cloned(), runs: unit.is_active(), state }
}

fn service_check(seen: &Seen<'_>, name: &'static str, unit: Option<&Unit>) -> Check {
    match unit {
        Some(unit) if unit.is_active() => good(name, unit.text()),
        Some(unit) => degraded(
            name,
            format!("it does not run: {}", unit.text()),
            &format!("`journalctl -u {name}` says why, `systemctl start {name}` starts it"),
        ),
        None => degraded(name, "it is not installed", &format!("`{}` makes the host a node", seen.again)),
    }
}

fn endpoint(look: &Look) -> Endpoint {
    Endpoint {
        address: look.address.clone(),
        members: look.members.clone(),
        holds: look.vips.iter().filter(|(_, held)| *held).map(|(address, _)| address.to_string()).collect(),
    }
}

fn endpoint_check(seen: &Seen<'_>, look: &Look) -> Check {
    let described = seen.cluster.endpoint();
    match &look.address {
        // The user's own address or name is in no file of ours.
        None if matches!(described, Described::External(_)) => {
            good("endpoint", format!("the API is at {}", seen.cluster.api()))
        }
        Some(address) => good("endpoint", format!("the API's name is {address}")),
        None => {
            let detail = format!("/etc/hosts does not know {}", seen.cluster.api_name());
            degraded("endpoint", detail, &format!("`{}` puts it there", seen.again))
        }
    }
}

/// The programs that keep the endpoint, where the host has something for them to do.
fn balancers(look: &Look) -> Vec<Check> {
    let wanted = [("haproxy", !look.members.is_empty()), ("keepalived", !look.vips.is_empty())];
    let check = |name: &'static str| {
        let unit = look.units.get(&format!("etcdless-{name}.service")).cloned().unwrap_or_default();
        match unit.is_active() {
            true => good(name, unit.text()),
            false => degraded(
                name,
                format!("it does not run: {}", unit.text()),
                &format!("`journalctl -u etcdless-{name}` says why, `systemctl start etcdless-{name}` starts it"),
            ),
        }
    };
    wanted.into_iter().filter(|(_, wanted)| *wanted).map(|(name, _)| check(name)).collect()
}

/// All kines of a control plane: each shard has one that listens where the API server looks for it.
fn kine(cluster: &Cluster, look: &Look) -> (Service, Check) {
    let listens = |listener: &Listener| match listener {
        Listener::Socket(path) => format!("unix://{path}"),
        Listener::Tcp(port) => format!("127.0.0.1:{port}"),
    };
    let expected: Vec<(&str, String)> =
        cluster.datastores().map(|(shard, _)| shard).zip(listeners(cluster).iter().map(listens)).collect();
    let runs = |listen: &String| look.kines.iter().any(|kine| kine.listen == *listen);
    let down: Vec<&str> = expected.iter().filter(|(_, listen)| !runs(listen)).map(|(shard, _)| *shard).collect();
    let is_unit = look.kines.iter().any(|kine| kine.is_unit);
    let placed = match (look.kines.is_empty(), is_unit, cluster.spec.kine.placement) {
        (true, ..) => "down",
        (false, true, _) => "systemd",
        (false, false, Placement::Sidecar) => "sidecar",
        (false, false, _) => "static Pod",
    };
    let count = expected.len();
    let state = match down.len() {
        0 if count > 1 => format!("{placed}, {count} shards"),
        missing if missing < count && missing > 0 => format!("{placed}, {} of {count} shards", count - missing),
        _ => placed.to_owned(),
    };
    let service = Service { version: look.versions.get("kine").cloned(), runs: down.is_empty(), state: state.clone() };
    let check = match down.is_empty() {
        true => good("kine", state),
        false => {
            let next = match cluster.spec.kine.placement {
                Placement::Systemd => format!("`journalctl -u etcdless-kine-{}`", down.first().unwrap_or(&"main")),
                Placement::StaticPod => {
                    "`tail /var/log/pods/kube-system_kine*/kine*/*.log` and `journalctl -u kubelet`".into()
                }
                Placement::Sidecar => {
                    "`tail /var/log/pods/kube-system_kube-apiserver*/kine*/*.log` and `journalctl -u kubelet`".into()
                }
            };
            degraded("kine", format!("it does not run for {}", down.join(", ")), &next)
        }
    };
    (service, check)
}

/// The API server of this very host.
fn api_server(cluster: &Cluster, place: &Place<'_>, look: &Look) -> (Service, Check) {
    let logs = "`tail /var/log/pods/kube-system_kube-apiserver*/kube-apiserver/*.log` and `journalctl -u kubelet`";
    let (state, check) = match &look.readyz {
        None => {
            let detail = "there is none: the host has no /etc/kubernetes/admin.conf";
            let next =
                format!("`etcdless init` makes {} a control plane of {}", place.config.label(), cluster.metadata.name);
            ("none", degraded("api-server", detail, &next))
        }
        Some(Ok(failing)) if failing.is_empty() => ("ready", good("api-server", "ready")),
        Some(Ok(failing)) => ("not ready", degraded("api-server", failing.join(", "), logs)),
        Some(Err(reason)) => ("down", degraded("api-server", reason.clone(), logs)),
    };
    let version = look.versions.get("kube-apiserver").cloned();
    (Service { version, runs: state == "ready", state: state.into() }, check)
}

fn drift(seen: &Seen<'_>, place: &Place<'_>) -> Option<Check> {
    match &place.drift {
        Told::Told(changes) if changes.is_empty() => Some(good("drift", "as described")),
        Told::Told(changes) => {
            let shown = changes.iter().take(SHOWN).map(|change| format!("{} ({})", change.title, change.change));
            let more = changes.len().checked_sub(SHOWN).filter(|more| *more > 0).map(|more| format!("and {more} more"));
            let shown = shown.chain(more).collect::<Vec<_>>().join(", ");
            let next = format!("`{} --dry-run` shows them, without --dry-run it makes them", seen.again);
            Some(warning("drift", format!("`init` would {shown}"), &next))
        }
        // A host that is gone says so itself.
        Told::NotTold { .. } if place.look.is_err() => None,
        Told::NotTold { not_told } => Some(good("drift", format!("not told: {not_told}"))),
    }
}

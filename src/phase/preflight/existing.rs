//! Checks of what is on the host already: clusters, leftovers, packages, listeners.

use serde_json::Value;

use super::{ETCD_MANIFEST, Finding, RECORD, Subject};
use crate::cluster::kine;
use crate::config::{Datastore, Endpoint, LOCAL_PORT, Listen};
use crate::facts::Facts;
use crate::phase::control_plane::FOUNDER;

/// Packages that bring a kubelet unit of their own.
pub(super) const PACKAGES: [&str; 2] = ["kubelet", "kubeadm"];

/// Where our own clusters leave traces; anything else is never ours.
const OWN_PLACES: [&str; 4] = ["/etc/kubernetes/", "/var/lib/kubelet/", "/etc/cni/net.d/", "/var/lib/etcdless/"];

/// What takes a cluster of etcdless's off a host.
const RESET: &str = "take it apart with `etcdless reset`";

/// What takes another one off, as far as it is kubeadm's.
const TAKE_APART: &str = "take it apart with `kubeadm reset -f` and remove what is left";

/// Where data stays that `reset` kept.
const STORES: &str = "/var/lib/etcdless/kine/";

pub(super) fn existing_cluster(subject: &Subject<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let own = subject.cluster.metadata.name.as_str();
    let record = record(subject);
    if let Some(Err(reason)) = &record {
        findings.push(Finding::error(
            format!("has a {RECORD} that cannot be read"),
            format!("which cluster the host belongs to is unknown ({reason})"),
            format!("repair the file, or if nothing of that cluster is needed, {RESET}"),
        ));
    }
    if let Some(name) = readable(&record).and_then(recorded_name).filter(|name| *name != own) {
        findings.push(Finding::error(
            format!("belongs to the cluster `{name}`"),
            format!("{RECORD} says so, and this run builds `{own}`"),
            format!("--name {name} goes on with that cluster; if nothing of it is needed, {RESET}"),
        ));
    }
    let foreign = |path: &&String| !(subject.is_ours() && OWN_PLACES.iter().any(|place| path.starts_with(place)));
    let traces = subject.facts.traces.iter().filter(foreign).map(String::as_str);
    let (stores, traces): (Vec<&str>, Vec<&str>) = traces.partition(|path| path.starts_with(STORES));
    if !stores.is_empty() && traces.is_empty() {
        findings.push(Finding::error(
            format!("keeps the data of an earlier cluster: {}", stores.join(", ")),
            "its keys and certificates are gone, and a new cluster does not go on with it",
            "put it aside with `etcdless reset --datastore rename`, or delete it with `--datastore drop`",
        ));
    } else if !traces.is_empty() {
        let traces = [traces, stores].concat();
        findings.push(Finding::error(
            format!("has a cluster already, or leftovers of one: {}", traces.join(", ")),
            "etcdless did not place them, or a `reset` was cut off",
            format!(
                "go on with `etcdless reset`, or use a fresh machine; if it is another's and nothing of it is needed, {TAKE_APART}: rm -r {}",
                traces.join(" ")
            ),
        ));
    }
    findings
}

/// The authority of the cluster that a host is in, as kubeadm names it.
pub(super) const AUTHORITY: &str = "/etc/kubernetes/pki/ca.crt";

/// All hosts of a cluster trust one authority. A host that kept that of an earlier cluster of the same name would never come up.
pub(super) fn cluster_authority(subject: &Subject<'_>) -> Vec<Finding> {
    let authority = |facts: &Facts| facts.files.get(AUTHORITY).and_then(|file| file.sha256.clone());
    let made = |facts: &Facts| facts.journal.steps.contains_key(FOUNDER);
    let first = subject.hosts.iter().find(|(host, facts)| host.role.is_control_plane() && made(facts));
    let Some((first, theirs)) = first.and_then(|(host, facts)| Some((host, authority(facts)?))) else {
        return Vec::new();
    };
    if authority(subject.facts).is_none_or(|own| own == theirs) {
        return Vec::new();
    }
    vec![Finding::error(
        "has the certificates of another cluster",
        format!("its {AUTHORITY} is not that of {}", first.label()),
        "`etcdless reset` the host, and run this again",
    )]
}

pub(super) fn etcd_manifest(subject: &Subject<'_>) -> Vec<Finding> {
    if !subject.facts.files.contains_key(ETCD_MANIFEST) {
        return Vec::new();
    }
    vec![Finding::error(
        format!("runs etcd: {ETCD_MANIFEST} exists"),
        "it is the control plane of a kubeadm cluster on etcd",
        format!("use another machine; if nothing of it is needed, {TAKE_APART}"),
    )]
}

/// What `init` cannot change in a cluster that exists: the place in cluster.yaml, and what can be done instead.
const IMMUTABLE: [(&str, &str); 10] = [
    ("kubernetes.version", "an upgrade replaces the control plane in an order of its own"),
    ("kubernetes.podSubnet", "nodes and Pods have their addresses"),
    ("kubernetes.serviceSubnet", "Services and the API server's certificate have their addresses"),
    ("kubernetes.dnsDomain", "running Pods have it in their resolv.conf"),
    ("datastore", "the cluster's state would stay in the old one"),
    ("shards", "what is in a store would stay there"),
    ("kine.placement", "two kines would serve one database"),
    ("kine.listen", "the API server is bound to it"),
    ("endpoint", "every node's kubeconfigs lead there"),
    ("network", "two networks would configure the same nodes"),
];

pub(super) fn immutable_fields(subject: &Subject<'_>) -> Vec<Finding> {
    let own = subject.cluster.metadata.name.as_str();
    let record = record(subject);
    let Some(recorded) = readable(&record).filter(|record| recorded_name(record) == Some(own)) else {
        return Vec::new();
    };
    let mut wanted = subject.cluster.clone();
    wanted.spec.endpoint = Some(wanted.endpoint());
    let Ok(wanted) = serde_json::to_value(&wanted) else { return Vec::new() };
    if !is_built(subject) {
        return Vec::new();
    }
    let differs = |&(field, why): &(&str, &str)| {
        let (before, now) = (shown(recorded, field)?, shown(&wanted, field)?);
        (before != now).then(|| {
            Finding::error(
                format!("runs `{own}` with {field} {before}, and now it should be {now}"),
                format!("init does not change this field of a cluster that exists: {why}"),
                format!("set {field} back to {before}, or build a new cluster on another machine"),
            )
        })
    };
    IMMUTABLE.iter().filter_map(differs).collect()
}

/// Whether certificates, kine or a control plane came to be. Before that, every field may still change.
fn is_built(subject: &Subject<'_>) -> bool {
    let phases = ["kubelet/", "kine/", "control-plane/", "network/"];
    subject.facts.journal.steps.keys().any(|step| phases.iter().any(|phase| step.starts_with(phase)))
}

/// The description that the host keeps, read as loosely as possible: another version of etcdless may have written it.
fn record(subject: &Subject<'_>) -> Option<Result<Value, String>> {
    let text = subject.facts.texts.get(RECORD)?;
    Some(serde_yaml::from_str(text).map_err(|error| error.to_string()))
}

fn readable(record: &Option<Result<Value, String>>) -> Option<&Value> {
    record.as_ref()?.as_ref().ok()
}

fn recorded_name(record: &Value) -> Option<&str> {
    record.pointer("/metadata/name")?.as_str()
}

/// A field of `spec` for people; of a choice such as `network`, the kind alone, of a datastore also the database.
fn shown(document: &Value, field: &str) -> Option<String> {
    let value = document.pointer(&format!("/spec/{}", field.replace('.', "/")));
    match (field, value) {
        ("shards", value) => Some(shards(value)),
        ("datastore", value) => value.map(datastore),
        (_, Some(Value::String(text))) => Some(text.clone()),
        ("endpoint", Some(Value::Object(choice))) => choice.iter().next().map(|(kind, at)| match at {
            Value::String(at) => format!("{kind} {at}"),
            _ => kind.clone(),
        }),
        (_, Some(Value::Object(choice))) => choice.keys().next().cloned(),
        (_, other) => other.map(Value::to_string),
    }
}

/// Where the data is; a server may get another address.
fn datastore(datastore: &Value) -> String {
    let Some((engine, server)) = datastore.as_object().and_then(|choice| choice.iter().next()) else {
        return datastore.to_string();
    };
    match server.pointer("/external/database").and_then(Value::as_str) {
        Some(database) => format!("{engine}, database {database}"),
        None => engine.clone(),
    }
}

fn shards(shards: Option<&Value>) -> String {
    let one = |shard: &Value| {
        let text = |field: &str| shard.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let resources = shard.get("resources").and_then(Value::as_array).into_iter().flatten();
        let resources: Vec<&str> = resources.filter_map(Value::as_str).collect();
        let store = shard.get("datastore").map(datastore).unwrap_or_default();
        format!("{} ({} in {store})", text("name"), resources.join(", "))
    };
    let all: Vec<String> = shards.and_then(Value::as_array).into_iter().flatten().map(one).collect();
    if all.is_empty() { "none".into() } else { all.join(" and ") }
}

pub(super) fn kubelet_version(subject: &Subject<'_>) -> Vec<Finding> {
    let packages = &subject.facts.packages;
    let found: Vec<String> =
        PACKAGES.iter().filter_map(|name| packages.get(*name).map(|version| format!("{name} {version}"))).collect();
    if found.is_empty() {
        return Vec::new();
    }
    let remove = if subject.facts.is_family("debian") { "apt-get purge -y" } else { "dnf remove -y" };
    vec![Finding::error(
        format!("has the packages {}", found.join(", ")),
        format!(
            "etcdless places {} from its release, and two kubelets would share one unit",
            subject.cluster.spec.kubernetes.version
        ),
        format!("`{remove} {}` on the host", PACKAGES.join(" ")),
    )]
}

/// A port that `program` will listen on; a port that our own program holds is fine. Workers have the kubelet and HAProxy alone.
pub(super) fn port(subject: &Subject<'_>, port: u16, program: &str) -> Vec<Finding> {
    if !subject.is_control_plane() && !["kubelet", "haproxy"].contains(&program) {
        return Vec::new();
    }
    let Some(holder) = subject.facts.listeners.get(&port) else { return Vec::new() };
    if subject.is_ours() && is_program(holder, program) {
        return Vec::new();
    }
    let holder = if holder.is_empty() { "a program that ss does not name" } else { holder };
    let why = if is_program(holder, program) {
        "a cluster that etcdless did not build runs here"
    } else {
        "only one program can"
    };
    vec![Finding::error(
        format!("has TCP port {port} taken by {holder}, and {program} needs it"),
        why,
        format!("stop {holder}, or let it listen elsewhere; `ss -ltnp sport = :{port}` shows it"),
    )]
}

pub(super) fn endpoint_port(subject: &Subject<'_>) -> Vec<Finding> {
    match subject.cluster.endpoint() {
        Endpoint::Local(_) => port(subject, LOCAL_PORT, "haproxy"),
        Endpoint::Direct(_) | Endpoint::External(_) | Endpoint::Vip(_) => Vec::new(),
    }
}

pub(super) fn kine_port(subject: &Subject<'_>) -> Vec<Finding> {
    match subject.cluster.spec.kine.listen {
        Listen::Tcp => port(subject, 2379, "kine"),
        Listen::Unix => Vec::new(),
    }
}

/// A server that etcdless did not install is somebody's: its settings and data are left alone.
pub(super) fn server_port(subject: &Subject<'_>) -> Vec<Finding> {
    let label = subject.host.label();
    let here = |datastore: &Datastore| datastore.managed().is_some_and(|managed| managed.host.as_str() == label);
    let Some(engine) =
        subject.cluster.datastores().find_map(|(_, datastore)| datastore.engine().filter(|_| here(datastore)))
    else {
        return Vec::new();
    };
    let Some(holder) = subject.facts.listeners.get(&engine.port()).filter(|_| !subject.is_ours()) else {
        return Vec::new();
    };
    let holder = if holder.is_empty() { "a program that ss does not name" } else { holder };
    vec![Finding::error(
        format!("has TCP port {} taken by {holder}", engine.port()),
        format!("etcdless keeps a {} of its own there, and touches no other", engine.title()),
        "use a fresh machine, or describe the server that is there under `external`",
    )]
}

/// The ports of further kines: under `listen: tcp`, and for metrics.
pub(super) fn shard_ports(subject: &Subject<'_>) -> Vec<Finding> {
    let ports = kine::shard_ports(subject.cluster).into_iter();
    ports.flat_map(|taken| port(subject, taken, "kine")).collect()
}

pub(super) fn kine_metrics_port(subject: &Subject<'_>) -> Vec<Finding> {
    port(subject, 2381, "kine")
}

/// Whether what `ss` tells is this program: it starts with the process name, of which the kernel keeps 15 bytes.
fn is_program(holder: &str, program: &str) -> bool {
    let name = holder.split([' ', '(', ',']).next().unwrap_or_default();
    name == program || Some(name) == program.get(..15)
}

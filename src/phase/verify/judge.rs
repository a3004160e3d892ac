//! From one look to a report's lines. Pure.

use super::look::{Container, Look, Pod};
use super::report::Item;
use crate::cluster::kine::probe::{Latency, ProbeError};
use crate::cluster::node::Node as Host;
use crate::config::{self, Cluster, Network, Placement, Role};
use crate::phase::kubectl::{Condition, Node};

/// Namespaces whose Pods must all be Ready.
const SYSTEM: [&str; 2] = ["kube-system", "kube-flannel"];

/// What is judged.
pub(super) struct Evidence<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) host: &'a Host,
    pub(super) kine: &'a Result<Latency, ProbeError>,
    pub(super) look: &'a Look,
    /// Where the client Pod is, once it was created; or why it could not be.
    pub(super) probe: &'a Result<Option<String>, String>,
    /// What the client printed, where it was asked.
    pub(super) said: &'a str,
}

/// The report's lines, in their order.
pub(super) fn judge(evidence: &Evidence<'_>) -> Vec<Item> {
    let mut items = vec![kine(evidence), readyz(evidence), nodes(evidence), system_pods(evidence)];
    items.extend(probe(evidence));
    items
}

/// Whether Pods with a network can run wherever they shall: every node is there and Ready.
pub(super) fn nodes_are_ready(cluster: &Cluster, look: &Look) -> bool {
    let wanted = cluster.nodes().count().max(1);
    look.nodes.as_ref().is_ok_and(|nodes| nodes.len() >= wanted && nodes.iter().all(|node| is_true(node.ready())))
}

fn kine(evidence: &Evidence<'_>) -> Item {
    match evidence.kine {
        Ok(latency) => {
            let milliseconds = |time: std::time::Duration| format!("{:.1} ms", time.as_secs_f64() * 1000.0);
            let (write, read) = (milliseconds(latency.write), milliseconds(latency.read));
            Item::good("kine", format!("keeps what is written; write {write}, read {read}"))
        }
        Err(error) => Item::bad("kine", error.to_string(), &[&kine_logs(evidence)]),
    }
}

fn kine_logs(evidence: &Evidence<'_>) -> String {
    let node = &evidence.host.name;
    match evidence.cluster.spec.kine.placement {
        Placement::Systemd => "journalctl -u etcdless-kine-main.service".into(),
        Placement::StaticPod => format!("tail /var/log/pods/kube-system_kine-{node}_*/kine/*.log"),
        Placement::Sidecar => format!("tail /var/log/pods/kube-system_kube-apiserver-{node}_*/kine/*.log"),
    }
}

fn readyz(evidence: &Evidence<'_>) -> Item {
    let logs = format!("tail /var/log/pods/kube-system_kube-apiserver-{}_*/kube-apiserver/*.log", evidence.host.name);
    match &evidence.look.readyz {
        Ok(failing) if failing.is_empty() => Item::good("readyz", "the API server is ready"),
        Ok(failing) => Item::bad("readyz", failing.join("\n"), &["kubectl get --raw '/readyz?verbose'", &logs]),
        Err(reason) => Item::bad("readyz", reason.clone(), &[&logs, "journalctl -u kubelet"]),
    }
}

fn nodes(evidence: &Evidence<'_>) -> Item {
    let nodes = match &evidence.look.nodes {
        Ok(nodes) => nodes,
        Err(reason) => return Item::bad("nodes", reason.clone(), &["kubectl get nodes"]),
    };
    let name = &evidence.host.name;
    if !nodes.iter().any(|node| node.metadata.name == *name) {
        return Item::bad("nodes", format!("{name} is not among the nodes"), &["journalctl -u kubelet"]);
    }
    let wanted = evidence.cluster.nodes().count();
    if nodes.len() < wanted {
        let there = |host: &&config::Host| {
            host.name.as_ref().is_none_or(|name| nodes.iter().any(|node| node.metadata.name == name.as_str()))
        };
        let missing: Vec<String> =
            evidence.cluster.nodes().filter(|host| !there(host)).map(config::Host::label).collect();
        let missing = if missing.is_empty() { String::new() } else { format!(": {} missing", missing.join(", ")) };
        let what = format!("{} of {wanted} are there{missing}", nodes.len());
        return Item::bad("nodes", what, &["kubectl get nodes -o wide", "journalctl -u kubelet"]);
    }
    // The kubelet evicts Pods under pressure, and the node is Ready all the while.
    let pressed: Vec<String> = nodes.iter().flat_map(describe_pressure).collect();
    if !pressed.is_empty() {
        return Item::bad("nodes", pressed.join("\n"), &["kubectl describe nodes", "df -h"]);
    }
    let not_ready: Vec<&Node> = nodes.iter().filter(|node| !is_true(node.ready())).collect();
    let Some(first) = not_ready.first() else {
        return Item::good("nodes", format!("{} of {} Ready", nodes.len(), nodes.len()));
    };
    if has_no_network(evidence) && not_ready.iter().all(|node| waits_for_network(node)) {
        return Item::good("nodes", "wait for a Pod network, since network is none");
    }
    let lines: Vec<String> = not_ready.iter().map(|node| describe_node(node)).collect();
    let describe = format!("kubectl describe node {}", first.metadata.name);
    Item::bad("nodes", lines.join("\n"), &[&describe, "journalctl -u kubelet"])
}

fn describe_node(node: &Node) -> String {
    let why = node.ready().map(|ready| text(&ready.reason, &ready.message)).unwrap_or_default();
    let why = if why.is_empty() { "the kubelet has not reported yet" } else { &why };
    format!("{} is not Ready: {why}", node.metadata.name)
}

fn describe_pressure(node: &Node) -> Vec<String> {
    let conditions = node.status.conditions.iter();
    let pressed = conditions.filter(|condition| condition.kind.ends_with("Pressure") && condition.status == "True");
    pressed
        .map(|condition| {
            format!("{} has {}: {}", node.metadata.name, condition.kind, text(&condition.reason, &condition.message))
        })
        .collect()
}

fn is_true(condition: Option<&Condition>) -> bool {
    condition.is_some_and(|condition| condition.status == "True")
}

fn has_no_network(evidence: &Evidence<'_>) -> bool {
    matches!(evidence.cluster.spec.network, Network::None(_))
}

fn waits_for_network(node: &Node) -> bool {
    node.ready().is_some_and(|ready| ready.message.contains("NetworkPluginNotReady"))
}

fn system_pods(evidence: &Evidence<'_>) -> Item {
    let pods = match &evidence.look.pods {
        Ok(pods) => pods,
        Err(reason) => return Item::bad("system-pods", reason.clone(), &["kubectl get pods -A"]),
    };
    let waits = has_no_network(evidence) && !nodes_are_ready(evidence.cluster, evidence.look);
    let system =
        |pod: &&Pod| SYSTEM.contains(&pod.metadata.namespace.as_str()) && pod.metadata.deletion_timestamp.is_none();
    let system: Vec<&Pod> = pods.iter().filter(system).collect();
    let mut lines = missing(evidence, &system);
    // Without a network DNS cannot be scheduled; everything else runs in the host's own.
    let not_ready: Vec<&&Pod> =
        system.iter().filter(|pod| !pod.is_ready()).filter(|pod| !waits || !is_app(pod, "kube-dns")).collect();
    lines.extend(not_ready.iter().map(|pod| describe_pod(pod)));
    if lines.is_empty() {
        let restarts: u32 = system.iter().flat_map(|pod| &pod.status.container_statuses).map(|c| c.restart_count).sum();
        return Item::good("system-pods", format!("{} Ready, {restarts} restarts", system.len()));
    }
    let look_at = match not_ready.first() {
        Some(pod) => format!("kubectl -n {} describe pod {}", pod.metadata.namespace, pod.metadata.name),
        None => "kubectl get pods -A".into(),
    };
    Item::bad("system-pods", lines.join("\n"), &[&look_at])
}

/// What must be there and has no Pod at all yet.
fn missing(evidence: &Evidence<'_>, pods: &[&Pod]) -> Vec<String> {
    let (cluster, node) = (evidence.cluster, &evidence.host.name);
    let (mut names, mut shards) = (Vec::new(), Vec::new());
    if evidence.host.role == Role::ControlPlane {
        names.extend(["kube-apiserver", "kube-controller-manager", "kube-scheduler"]);
        if cluster.spec.kine.placement == Placement::StaticPod {
            names.push("kine");
            shards.extend(cluster.spec.shards.iter().map(|shard| format!("kine-{}", shard.name)));
        }
    }
    let there = |name: &str| pods.iter().any(|pod| pod.metadata.name == name);
    let mut missing: Vec<String> = names
        .into_iter()
        .chain(shards.iter().map(String::as_str))
        .map(|name| format!("{name}-{node}"))
        .filter(|name| !there(name))
        .collect();
    let disabled = |addon: &str| {
        let setting = cluster.spec.kubeadm.cluster.get(addon).and_then(|addon| addon.get("disabled"));
        setting.and_then(serde_json::Value::as_bool) == Some(true)
    };
    let mut apps = Vec::new();
    if !disabled("dns") {
        apps.push("kube-dns");
    }
    if !disabled("proxy") {
        apps.push("kube-proxy");
    }
    if matches!(cluster.spec.network, Network::Flannel(_)) {
        apps.push("flannel");
    }
    let absent = |app: &&str| !pods.iter().any(|pod| is_app(pod, app));
    missing.extend(apps.into_iter().filter(absent).map(str::to_owned));
    missing.iter().map(|name| format!("{name} has no Pod yet")).collect()
}

/// kubeadm's add-ons and our flannel carry the same label.
fn is_app(pod: &Pod, app: &str) -> bool {
    pod.metadata.labels.get("k8s-app").is_some_and(|label| label == app)
}

fn describe_pod(pod: &Pod) -> String {
    let name = format!("{}/{}", pod.metadata.namespace, pod.metadata.name);
    let status = &pod.status;
    let containers = status.init_container_statuses.iter().chain(&status.container_statuses);
    let unwell =
        containers.filter(|container| !container.ready).find_map(|container| Some((container, trouble(container)?)));
    let why = match unwell {
        Some((container, why)) => {
            let restarts = match container.restart_count {
                0 => String::new(),
                1 => ", 1 restart".into(),
                count => format!(", {count} restarts"),
            };
            format!("container {} of {}{restarts}: {why}", container.name, container.image)
        }
        None => {
            let scheduled = status
                .conditions
                .iter()
                .find(|condition| condition.kind == "PodScheduled" && condition.status == "False");
            let unready =
                status.conditions.iter().find(|condition| condition.kind == "Ready" && condition.status == "False");
            scheduled.or(unready).map(|condition| text(&condition.reason, &condition.message)).unwrap_or_default()
        }
    };
    let phase = if status.reason.is_empty() { &status.phase } else { &status.reason };
    let place = if pod.spec.node_name.is_empty() { String::new() } else { format!(" on {}", pod.spec.node_name) };
    let why = if why.is_empty() { "it has not started yet" } else { &why };
    format!("{name}{place} is {phase}: {why}")
}

/// Why a container does not run; `None` where it does and is only not Ready.
fn trouble(container: &Container) -> Option<String> {
    if let Some(waiting) = &container.state.waiting {
        return Some(text(&waiting.reason, &waiting.message));
    }
    let ended = container.state.terminated.as_ref()?;
    Some(format!("{} with status {}", text(&ended.reason, &ended.message), ended.exit_code))
}

fn text(reason: &str, message: &str) -> String {
    match (reason.is_empty(), message.is_empty()) {
        (_, true) => reason.into(),
        (true, false) => message.into(),
        (false, false) => format!("{reason}: {message}"),
    }
}

/// DNS and a Service, both seen from the client Pod.
fn probe(evidence: &Evidence<'_>) -> [Item; 2] {
    const DNS: &str = "kubectl -n kube-system logs -l k8s-app=kube-dns";
    const SERVICE: &str = "kubectl -n kube-system logs -l k8s-app=kube-proxy";
    let name = format!("server of a probe in {}", evidence.cluster.spec.kubernetes.dns_domain);
    let both = |detail: &str| [Item::bad("dns", detail, &[DNS]), Item::bad("service", detail, &[SERVICE])];
    let namespace = match evidence.probe {
        Ok(Some(namespace)) => namespace,
        Ok(None) if has_no_network(evidence) => {
            let detail = "not checked: there is no Pod network, since network is none";
            return [Item::good("dns", detail), Item::good("service", detail)];
        }
        Ok(None) => return both("not checked yet: it needs a Pod, and not every node is there and Ready"),
        Err(reason) => return both(&format!("the Pods that would check it were refused: {reason}")),
    };
    let pods = evidence.look.pods.as_deref().unwrap_or_default();
    let of_probe =
        |role: &str| pods.iter().find(|pod| pod.metadata.namespace == *namespace && pod.metadata.name == role);
    let ended = of_probe("client").and_then(|pod| pod.status.container_statuses.first()?.state.terminated.as_ref());
    let told = ended.map_or(evidence.said, |ended| &ended.message);
    let has = |line: &str| told.lines().any(|told| told == line);
    let waits = ["server", "client"].into_iter().find_map(|role| match of_probe(role) {
        None => Some(format!("the Pod {namespace}/{role} is not there yet")),
        Some(pod) if pod.status.phase == "Pending" || pod.status.phase == "Failed" => Some(describe_pod(pod)),
        Some(_) => None,
    });
    let last = |prefix: &str| {
        let lines = told.lines().rev().filter_map(|line| line.strip_prefix(prefix));
        lines.map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
    };
    let item = |name: &'static str, good: String, prefix: &str, asked: &str, command: &str| {
        if has(&format!("{name} ok")) {
            return Item::good(name, good);
        }
        let why = waits.clone().or_else(|| last(prefix)).unwrap_or_else(|| "no answer yet".into());
        Item::bad(name, format!("{asked}: {why}"), &[command])
    };
    [
        item("dns", format!("a Pod found the {name}"), "dns: ", "a Pod asks for a Service's name", DNS),
        item(
            "service",
            "a Pod reached the Service at the address that DNS gave".into(),
            "service: ",
            "a Pod asks a Service",
            SERVICE,
        ),
    ]
}

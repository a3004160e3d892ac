//! The description of a cluster that was seen, as a text with comments. Pure.

use serde::Serialize;
use serde_json::{Map, Value};

use super::{Seen, kubeadm};
use crate::cluster::versions::support;
use crate::config::{
    API_PORT, Address, Datastore, DnsLabel, Empty, Endpoint, Host, Kubernetes, Network, ProxyMode, Role, Swap, Version,
    yaml,
};
use crate::failure::{Failure, Kind};

/// Who asks: how the host that was asked was named.
#[derive(Debug, Clone)]
pub struct Operator {
    /// Its address.
    pub address: Address,
    /// Who logs in.
    pub user: Option<String>,
}

/// A description, and what it cannot say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adopted {
    /// The file.
    pub text: String,
    /// What the operator has to know of it.
    pub warnings: Vec<String>,
}

/// The flags that kubeadm gives an API server by itself.
const FLAGS: &[&str] = &[
    "advertise-address",
    "allow-privileged",
    "authorization-mode",
    "client-ca-file",
    "enable-admission-plugins",
    "enable-bootstrap-token-auth",
    "etcd-cafile",
    "etcd-certfile",
    "etcd-keyfile",
    "etcd-servers",
    "feature-gates",
    "kubelet-client-certificate",
    "kubelet-client-key",
    "kubelet-preferred-address-types",
    "proxy-client-cert-file",
    "proxy-client-key-file",
    "requestheader-allowed-names",
    "requestheader-client-ca-file",
    "requestheader-extra-headers-prefix",
    "requestheader-group-headers",
    "requestheader-username-headers",
    "secure-port",
    "service-account-issuer",
    "service-account-key-file",
    "service-account-signing-key-file",
    "service-cluster-ip-range",
    "tls-cert-file",
    "tls-private-key-file",
    "cloud-provider",
    "egress-selector-config-file",
];

/// DaemonSets of Pod networks.
const NETWORKS: &[(&str, &str)] = &[
    ("flannel", "flannel"),
    ("calico", "Calico"),
    ("cilium", "Cilium"),
    ("weave", "Weave Net"),
    ("kube-router", "kube-router"),
    ("antrea", "Antrea"),
    ("ovn", "OVN-Kubernetes"),
    ("canal", "Canal"),
];

/// cluster.yaml, as far as there is something to say.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    api_version: &'static str,
    kind: &'static str,
    metadata: Metadata,
    spec: Spec,
}

#[derive(Serialize)]
struct Metadata {
    name: DnsLabel,
}

#[derive(Serialize)]
struct Spec {
    kubernetes: Kubernetes,
    endpoint: Endpoint,
    datastore: Value,
    network: Network,
    #[serde(skip_serializing_if = "Map::is_empty")]
    kubeadm: Map<String, Value>,
    hosts: Vec<Host>,
}

/// The description of what was seen.
pub fn describe(seen: &Seen, operator: &Operator) -> Result<Adopted, Failure> {
    let mut warnings = Vec::new();
    let cluster = &seen.cluster;
    let text = |field: &str| cluster.pointer(field).and_then(Value::as_str).filter(|text| !text.is_empty());
    let version: Version = text("/kubernetesVersion")
        .and_then(|version| version.parse().ok())
        .ok_or_else(|| unreadable("kubernetesVersion"))?;
    let hosts = hosts(seen, operator, &mut warnings)?;
    let control_planes = hosts.iter().filter(|host| host.role.is_control_plane()).count();
    store(seen, &mut warnings);
    by_hand(seen, &mut warnings);
    let network = network(seen);
    let api = support(&version).map_or("v1beta4", |support| support.kubeadm_api);
    let overlays = [
        ("cluster", kubeadm::cluster(cluster, api)),
        ("kubelet", kubeadm::kubelet(&seen.kubelet)),
        ("kubeProxy", kubeadm::proxy(&seen.proxy)),
    ];
    let overlays =
        overlays.into_iter().filter(|(_, overlay)| overlay.as_object().is_some_and(|fields| !fields.is_empty()));
    let endpoint = text("/controlPlaneEndpoint").map_or_else(|| advertised(seen), |endpoint| Some(endpoint.to_owned()));
    let endpoint =
        endpoint.and_then(|endpoint| endpoint.parse().ok()).ok_or_else(|| unreadable("controlPlaneEndpoint"))?;
    let several = control_planes > 1;
    let document = Document {
        api_version: crate::config::API_VERSION,
        kind: "Cluster",
        metadata: Metadata { name: name(text("/clusterName"), &mut warnings)? },
        spec: Spec {
            kubernetes: versions(seen, version, &mut warnings)?,
            endpoint: Endpoint::External(endpoint),
            datastore: if several { skeleton() } else { in_a_file()? },
            network: Network::None(Empty {}),
            kubeadm: overlays.map(|(name, overlay)| (name.to_owned(), overlay)).collect(),
            hosts,
        },
    };
    let body = yaml::to_string(&document).map_err(|error| Failure::new(Kind::Internal, error))?;
    Ok(Adopted { text: commented(&body, several, network, &warnings), warnings })
}

fn unreadable(field: &str) -> Failure {
    Failure::new(Kind::Unhealthy, format!("the cluster's ClusterConfiguration has no {field} that can be read"))
        .hint("see `kubectl -n kube-system get configmap kubeadm-config -o yaml`")
}

/// A DNS label, as far as the name allows.
fn name(found: Option<&str>, warnings: &mut Vec<String>) -> Result<DnsLabel, Failure> {
    let found = found.unwrap_or("kubernetes");
    if let Ok(name) = found.parse() {
        return Ok(name);
    }
    warnings.push(format!("the cluster is called {found}, which is no DNS label: it is called `kubernetes` here"));
    "kubernetes".parse().map_err(|error| Failure::new(Kind::Internal, format!("{error}")))
}

fn versions(seen: &Seen, version: Version, warnings: &mut Vec<String>) -> Result<Kubernetes, Failure> {
    let text = |field: &str| seen.cluster.pointer(field).and_then(Value::as_str).filter(|text| !text.is_empty());
    let mut kubernetes = Kubernetes { version, ..Kubernetes::default() };
    let mut subnet = |field: &str, what: &str, kept: &mut ipnet::IpNet| {
        let Some(subnets) = text(&format!("/networking/{field}")) else {
            if what == "Pods" {
                warnings.push(format!(
                    "no range for Pods is known to kubeadm: spec.kubernetes.podSubnet is a guess, {kept}; write what the Pod network uses"
                ));
            }
            return Ok(());
        };
        let mut each = subnets.split(',').map(str::trim);
        let first = each.next().unwrap_or_default();
        *kept = first.parse().map_err(|_| unreadable(&format!("networking.{field}")))?;
        if each.next().is_some() {
            warnings.push(format!("{what} have addresses of {subnets}: only {first} can be said here"));
        }
        Ok(())
    };
    subnet("podSubnet", "Pods", &mut kubernetes.pod_subnet)?;
    subnet("serviceSubnet", "Services", &mut kubernetes.service_subnet)?;
    if let Some(domain) = text("/networking/dnsDomain") {
        kubernetes.dns_domain = domain.to_owned();
    }
    kubernetes.proxy_mode = match seen.proxy["mode"].as_str() {
        Some("ipvs") => Some(ProxyMode::Ipvs),
        Some("nftables") => Some(ProxyMode::Nftables),
        Some("iptables") => Some(ProxyMode::Iptables),
        _ => None,
    };
    if seen.kubelet["failSwapOn"] == Value::Bool(false) {
        kubernetes.swap = Swap::Keep;
    }
    if let Some(repository) = text("/imageRepository").filter(|repository| *repository != "registry.k8s.io") {
        kubernetes.image_repository = repository.parse().ok();
        warnings.push(format!(
            "images come from {repository}: kine's is expected there, too, as {repository}/kine:VERSION"
        ));
    }
    if seen.proxy.is_null() {
        warnings.push("there is no kube-proxy: something else does its work, which etcdless knows nothing of".into());
    }
    Ok(kubernetes)
}

fn hosts(seen: &Seen, operator: &Operator, warnings: &mut Vec<String>) -> Result<Vec<Host>, Failure> {
    let mut hosts = Vec::new();
    for node in &seen.nodes {
        let called = node["metadata"]["name"].as_str().unwrap_or_default();
        let info = |field: &str| node["status"]["nodeInfo"][field].as_str().unwrap_or_default();
        let has_label = |label: &str| node["metadata"]["labels"].get(label).is_some();
        let addresses = node["status"]["addresses"].as_array().map(Vec::as_slice).unwrap_or_default();
        let internal = addresses.iter().find(|address| address["type"] == "InternalIP");
        let Some(ip) =
            internal.and_then(|address| address["address"].as_str()).and_then(|ip| ip.parse::<std::net::IpAddr>().ok())
        else {
            warnings.push(format!("{called} has no address of its own: it is left out"));
            continue;
        };
        if info("operatingSystem") != "linux" {
            warnings.push(format!("{called} runs {}: it is left out", info("operatingSystem")));
            continue;
        }
        let is_asked = seen.addresses.iter().any(|own| own.parse() == Ok(ip));
        let address = Address::Ssh(ip.to_string());
        let address = if is_asked { operator.address.clone() } else { address };
        let role = if has_label("node-role.kubernetes.io/control-plane") { Role::ControlPlane } else { Role::Worker };
        let taints = node["spec"]["taints"].as_array().map(Vec::as_slice).unwrap_or_default();
        let is_closed = taints
            .iter()
            .any(|taint| taint["key"] == "node-role.kubernetes.io/control-plane" && taint["effect"] == "NoSchedule");
        if !info("containerRuntimeVersion").starts_with("containerd://") {
            warnings.push(format!("{called} runs {}: etcdless knows containerd only", info("containerRuntimeVersion")));
        }
        if info("kubeletVersion") != seen.cluster["kubernetesVersion"].as_str().unwrap_or_default() {
            warnings
                .push(format!("the kubelet of {called} is {}, another one than the cluster's", info("kubeletVersion")));
        }
        hosts.push(Host {
            name: called.parse().ok(),
            node_ip: (address != Address::Ssh(ip.to_string())).then_some(ip),
            role,
            schedulable: role.is_control_plane().then_some(!is_closed),
            ..Host::at(address, operator.user.clone())
        });
    }
    hosts.sort_by_key(|host| host.role == Role::Worker);
    if !hosts.iter().any(|host| host.role.is_control_plane()) {
        return Err(Failure::new(Kind::Unhealthy, "none of the cluster's nodes is a control plane"));
    }
    Ok(hosts)
}

/// The API server's own address and port, which every node knows it by where it has no other name.
fn advertised(seen: &Seen) -> Option<String> {
    let address = flag(seen, "advertise-address")?;
    let port = flag(seen, "secure-port").map_or(API_PORT.to_string(), str::to_owned);
    Some(if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") })
}

fn words(seen: &Seen) -> Vec<&str> {
    let containers = seen.manifest["spec"]["containers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let words = containers.iter().flat_map(|container| ["command", "args"].map(|field| &container[field]));
    words.filter_map(Value::as_array).flatten().filter_map(Value::as_str).collect()
}

fn flag<'a>(seen: &'a Seen, name: &str) -> Option<&'a str> {
    words(seen).into_iter().find_map(|word| word.strip_prefix("--")?.strip_prefix(name)?.strip_prefix('='))
}

/// Where the state is now.
fn store(seen: &Seen, warnings: &mut Vec<String>) {
    let external = seen.cluster.pointer("/etcd/external/endpoints").and_then(Value::as_array);
    if let Some(endpoints) = external {
        let names: Vec<&str> = endpoints.iter().filter_map(Value::as_str).collect();
        warnings.push(match names.iter().all(|name| name.starts_with("unix://")) {
            true => format!("the state is in {} already, kine by the look of it", names.join(", ")),
            false => {
                format!("the state is in an etcd of its own, {}: it and its certificates stay yours", names.join(", "))
            }
        });
    }
    if let Some(overrides) = flag(seen, "etcd-servers-overrides") {
        warnings.push(format!(
            "some resources have a store of their own: {overrides}; spec.shards is not written for them"
        ));
    }
    if let Some(file) = flag(seen, "encryption-provider-config") {
        warnings.push(format!("values are encrypted by {file}: every control plane must have that file and keep it"));
    }
    if let Some(prefix) = flag(seen, "etcd-prefix").filter(|prefix| prefix.trim_matches('/') != "registry") {
        warnings.push(format!("keys are below {prefix}, not /registry: such a store cannot be moved"));
    }
}

/// What the API server is told that kubeadm does not know of, and would forget at the next upgrade.
fn by_hand(seen: &Seen, warnings: &mut Vec<String>) {
    let extra = &seen.cluster["apiServer"]["extraArgs"];
    let known = |name: &str| {
        let in_list = || extra.as_array().is_some_and(|list| list.iter().any(|argument| argument["name"] == name));
        FLAGS.contains(&name) || extra.get(name).is_some() || in_list()
    };
    let names = words(seen).into_iter().filter_map(|word| word.strip_prefix("--")?.split('=').next());
    let unknown: Vec<String> = names.filter(|name| !known(name)).map(|name| format!("--{name}")).collect();
    if !unknown.is_empty() {
        warnings.push(format!(
            "the API server's manifest has {}, of which kubeadm's configuration knows nothing: edited by hand or by patches, which \
             spec.kubeadm.patches could hold",
            unknown.join(" ")
        ));
    }
}

/// The Pod network, by its DaemonSets.
fn network(seen: &Seen) -> Option<&'static str> {
    let is_there = |part: &str| seen.daemonsets.iter().any(|set| set.contains(part));
    NETWORKS.iter().find(|(part, _)| is_there(part)).map(|(_, name)| *name)
}

fn in_a_file() -> Result<Value, Failure> {
    serde_json::to_value(Datastore::default()).map_err(|error| Failure::new(Kind::Internal, error.to_string()))
}

/// A server that several control planes share: what is to be filled in.
fn skeleton() -> Value {
    serde_json::json!({ "postgres": { "external": {
        "address": "db.example.com:5432", "database": "kine", "user": "kine", "password": { "env": "KINE_PASSWORD" }
    } } })
}

/// The file: what it is, what it cannot say, and a comment above what is to be looked at.
fn commented(body: &str, several: bool, network: Option<&str>, warnings: &[String]) -> String {
    let mut text = String::from("# A cluster of kubeadm's, as `etcdless adopt` found it. Read it before it is used.\n");
    for warning in warnings {
        text.push_str(&format!("# WARNING: {warning}.\n"));
    }
    let network = network.unwrap_or("the Pod network");
    let datastore = match several {
        true => {
            "Where the state shall go: several control planes share a server. Fill this in, or take mariadb, mysql or `managed`."
        }
        false => {
            "Where the state shall go: a file on the control plane. More control planes need postgres, mariadb or mysql."
        }
    };
    for line in body.lines() {
        match line {
            "  endpoint:" => text.push_str("  # As the kubeconfigs of all nodes name it.\n"),
            "  datastore:" => text.push_str(&format!("  # {datastore}\n")),
            "  network:" => text.push_str(&format!("  # {network} is there already, and stays yours.\n")),
            "  kubeadm:" => {
                text.push_str("  # What kubeadm's and the kubelets' configuration has beyond the defaults.\n")
            }
            "  hosts:" => text.push_str("  # Labels and taints are left as they are.\n"),
            _ => {}
        }
        text.push_str(line);
        text.push('\n');
    }
    text
}

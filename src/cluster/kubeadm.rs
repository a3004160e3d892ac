//! kubeadm's documents: rendered from templates, with the raw overlays of `spec.kubeadm` merged over them, and kubeadm's patches.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::assets::Assets;
use crate::cluster::kine;
use crate::cluster::node::Node;
use crate::cluster::versions::support;
use crate::config::{API_PORT, Address, Cluster, Endpoint, Listen, ProxyMode, Swap, Taint};
use crate::failure::{Failure, Kind};
use crate::op::File;
use crate::render::render;

/// Where the document for `kubeadm init` belongs.
pub const INIT: &str = "/etc/etcdless/kubeadm/init.yaml";

/// Where the document for `kubeadm join` belongs.
pub const JOIN: &str = "/etc/etcdless/kubeadm/join.yaml";

/// What a node has once it has joined: the kubelet's own way into the cluster.
pub const KUBELET_CONFIG: &str = "/etc/kubernetes/kubelet.conf";

/// The folder of kubeadm's patches.
pub const PATCHES: &str = "/etc/etcdless/kubeadm/patches";

/// The container runtime's socket, as the kubelet takes it.
pub const CRI_SOCKET: &str = "unix:///run/containerd/containerd.sock";

/// What kubeadm can patch (cmd/kubeadm/app/util/patches); it passes over a file named otherwise.
const TARGETS: [&str; 6] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubeletconfiguration",
    "corednsdeployment",
];

/// The document for `kubeadm init` on this node: InitConfiguration, ClusterConfiguration, KubeletConfiguration, KubeProxyConfiguration.
///
/// It holds no secret: kubeadm makes the bootstrap token itself.
pub fn init_document(cluster: &Cluster, node: &Node, assets: &Assets) -> Result<String, Failure> {
    let values = Values::new(cluster, node)?;
    let overlays = &cluster.spec.kubeadm;
    let documents = [
        document(assets, "kubeadm/init.yaml.j2", &values, &overlays.init)?,
        document(assets, "kubeadm/cluster.yaml.j2", &values, &overlays.cluster)?,
        document(assets, "kubeadm/kubelet.yaml.j2", &values, &overlays.kubelet)?,
        document(assets, "kubeadm/kube-proxy.yaml.j2", &values, &overlays.kube_proxy)?,
    ];
    Ok(format!("# Written by etcdless.\n{}", documents.join("---\n")))
}

/// The document for `kubeadm join` of a worker. `ticket` is the path of the kubeconfig that it joins with.
pub fn join_document(cluster: &Cluster, node: &Node, ticket: &str, assets: &Assets) -> Result<String, Failure> {
    let Values { api, name, address, patches, socket, taints, .. } = Values::new(cluster, node)?;
    let values = Join { api, name, address, patches, socket, taints, ticket, discovery: DISCOVERY };
    let text = render(assets, "kubeadm/join.yaml.j2", &values)?;
    Ok(format!("# Written by etcdless.\n{text}"))
}

/// How long kubeadm asks the API before it says what it was answered. The API serves when hosts join; kubeadm's own 5 minutes are for one that
/// may still come.
const DISCOVERY: &str = "30s";

#[derive(Serialize)]
struct Join<'a> {
    api: &'static str,
    name: String,
    address: String,
    patches: &'static str,
    socket: &'static str,
    taints: Vec<Parts>,
    ticket: &'a str,
    discovery: &'static str,
}

/// The user's patches of the kubelet's configuration, which every node applies for itself.
pub fn kubelet_patches(cluster: &Cluster) -> Result<Vec<File>, Failure> {
    let patches = cluster.spec.kubeadm.patches.iter().filter(|(name, _)| name.starts_with("kubeletconfiguration"));
    patches
        .map(|(name, content)| {
            check_patch_name(name)?;
            Ok(File::new(format!("{PATCHES}/{name}"), 0o644, content.as_str()))
        })
        .collect()
}

/// The first minor whose kubeadm patches CoreDNS.
const COREDNS_PATCH: u64 = 32;

/// kubeadm's patches: ours to the probes, then the user's, which win where kubeadm reads them later (it goes by name). A
/// sidecar's is among [`kine::files`].
pub fn patch_files(cluster: &Cluster, assets: &Assets) -> Result<Vec<File>, Failure> {
    let ours =
        |target: &str, text: String| File::new(format!("{PATCHES}/{target}-etcdless+strategic.yaml"), 0o644, text);
    let static_pods = ["kube-apiserver", "kube-controller-manager", "kube-scheduler"].map(|component| {
        Ok(ours(component, render(assets, "kubeadm/startup-probe.yaml.j2", &StartupProbe { component })?))
    });
    let coredns = (cluster.spec.kubernetes.version.minor() >= COREDNS_PATCH)
        .then(|| Ok(ours("corednsdeployment", render(assets, "kubeadm/coredns.yaml.j2", &())?)));
    let users = cluster.spec.kubeadm.patches.iter().map(|(name, content)| {
        check_patch_name(name)?;
        Ok(File::new(format!("{PATCHES}/{name}"), 0o644, content.as_str()))
    });
    static_pods.into_iter().chain(coredns).chain(users).collect()
}

#[derive(Serialize)]
struct StartupProbe {
    component: &'static str,
}

/// What the templates may say, both API versions alike.
#[derive(Serialize)]
struct Values {
    api: &'static str,
    name: String,
    address: String,
    api_port: u16,
    taints: Vec<Parts>,
    socket: &'static str,
    patches: &'static str,
    cluster: String,
    version: String,
    image_repository: Option<String>,
    endpoint: String,
    pod_subnet: String,
    service_subnet: String,
    dns_domain: String,
    etcd: String,
    overrides: Option<String>,
    sockets: Option<&'static str>,
    pki: Option<&'static str>,
    sans: Vec<String>,
    keep_swap: bool,
    allow_cgroup_v1: bool,
    proxy_mode: Option<ProxyMode>,
    conntrack: bool,
}

impl Values {
    fn new(cluster: &Cluster, node: &Node) -> Result<Self, Failure> {
        let spec = &cluster.spec;
        let (sockets, pki) = match spec.kine.listen {
            Listen::Unix => (Some(kine::SOCKETS), None),
            Listen::Tcp => (None, Some(kine::PKI)),
        };
        let Some(support) = support(&spec.kubernetes.version) else {
            return Err(Failure::new(Kind::Config, format!("Kubernetes {} is not supported", spec.kubernetes.version)));
        };
        Ok(Self {
            api: support.kubeadm_api,
            name: node.name.clone(),
            address: node.address.to_string(),
            api_port: API_PORT,
            taints: taints(cluster, node).into_iter().map(Parts::from).collect(),
            socket: CRI_SOCKET,
            patches: PATCHES,
            cluster: cluster.metadata.name.to_string(),
            version: spec.kubernetes.version.to_string(),
            image_repository: spec.kubernetes.image_repository.as_ref().map(ToString::to_string),
            endpoint: cluster.api().to_string(),
            pod_subnet: spec.kubernetes.pod_subnet.to_string(),
            service_subnet: spec.kubernetes.service_subnet.to_string(),
            dns_domain: spec.kubernetes.dns_domain.clone(),
            etcd: kine::main_url(cluster),
            overrides: kine::overrides(cluster),
            sockets,
            pki,
            sans: sans(cluster, node),
            keep_swap: spec.kubernetes.swap == Swap::Keep,
            // The kubelet knows the field since 1.31 and refuses cgroup v1 without it from 1.35.
            allow_cgroup_v1: node.cgroup_v1 && support.minor >= 31,
            proxy_mode: spec.kubernetes.proxy_mode,
            conntrack: node.conntrack_writable,
        })
    }
}

/// A taint as kubeadm's documents have it.
#[derive(Serialize)]
struct Parts {
    key: String,
    value: String,
    effect: String,
}

impl From<Taint> for Parts {
    fn from(Taint { key, value, effect }: Taint) -> Self {
        Self { key, value, effect }
    }
}

/// What the node is registered with: the taint of a control plane that is not for ordinary Pods, and its own.
pub fn taints(cluster: &Cluster, node: &Node) -> Vec<Taint> {
    let control_plane = Taint {
        key: "node-role.kubernetes.io/control-plane".into(),
        value: String::new(),
        effect: "NoSchedule".into(),
    };
    let host = cluster.spec.hosts.iter().find(|host| host.label() == node.label);
    let own = host.map(|host| host.taints.clone()).unwrap_or_default();
    (!node.schedulable).then_some(control_plane).into_iter().chain(own).collect()
}

/// The names that the API's certificate covers beside those that kubeadm adds by itself.
fn sans(cluster: &Cluster, node: &Node) -> Vec<String> {
    let host = cluster.spec.hosts.iter().find(|host| host.label() == node.label);
    let mut sans = vec![cluster.api_name(), node.address.to_string(), "127.0.0.1".into()];
    match cluster.endpoint() {
        Endpoint::Direct(_) | Endpoint::Local(_) => {}
        Endpoint::External(address) => sans.push(address.host),
        Endpoint::Vip(address) => sans.push(address.to_string()),
    }
    if let Some(Address::Ssh(address)) = host.map(|host| &host.address) {
        // What the user reaches the host by. An alias of ssh_config may be no DNS name, and kubeadm would refuse it.
        if !sans.contains(address) && (address.parse::<std::net::IpAddr>().is_ok() || is_dns_name(address)) {
            sans.push(address.clone());
        }
    }
    sans
}

/// RFC 1123 as Kubernetes reads it: labels joined by dots, 253 characters at most.
fn is_dns_name(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(|label| label.parse::<crate::config::DnsLabel>().is_ok())
}

fn check_patch_name(name: &str) -> Result<(), Failure> {
    let known = TARGETS.iter().any(|target| name.starts_with(target));
    let readable = ["yaml", "json"].iter().any(|end| name.ends_with(&format!(".{end}")));
    if known && readable && !name.contains(['/', '\n', '\0']) {
        return Ok(());
    }
    Err(Failure::new(Kind::Config, format!("spec.kubeadm.patches: kubeadm would not read a patch named `{name}`"))
        .hint(format!("write TARGET[SUFFIX][+TYPE].yaml; TARGET is one of {}", TARGETS.join(", "))))
}

/// One document. Without an overlay it is the template's text; with one it is written anew, since a merge keeps no comments.
fn document(assets: &Assets, template: &str, values: &Values, overlay: &Map<String, Value>) -> Result<String, Failure> {
    let text = render(assets, template, values)?;
    if overlay.is_empty() {
        return Ok(text);
    }
    let unusable = |error: &dyn std::fmt::Display| {
        Failure::new(
            Kind::Config,
            format!("{} is no usable YAML: {error}", assets.describe(&format!("templates/{template}"))),
        )
    };
    let mut document: Value = serde_yaml::from_str(&text).map_err(|error| unusable(&error))?;
    merge(&mut document, &Value::Object(overlay.clone()));
    // Quotes everything that YAML 1.1, which Go's reader follows, would take for something else than text.
    serde_saphyr::to_string(&document).map_err(|error| unusable(&error))
}

/// RFC 7396: objects merge, null deletes, everything else replaces.
fn merge(target: &mut Value, overlay: &Value) {
    let Value::Object(overlay) = overlay else {
        *target = overlay.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else { return };
    for (key, value) in overlay {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key.as_str()).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn overlays_merge_as_rfc_7396_says() {
        for (target, overlay, expected) in [
            (json!({"a": 1}), json!({"b": 2}), json!({"a": 1, "b": 2})),
            (json!({"a": {"b": 1, "c": 2}}), json!({"a": {"b": 3}}), json!({"a": {"b": 3, "c": 2}})),
            (json!({"a": [1, 2]}), json!({"a": [3]}), json!({"a": [3]})),
            (json!({"a": 1, "b": 2}), json!({"a": null}), json!({"b": 2})),
            (json!({"a": "text"}), json!({"a": {"b": null, "c": 1}}), json!({"a": {"c": 1}})),
            (json!({}), json!({"a": {"b": {"c": null}}}), json!({"a": {"b": {}}})),
            (json!({"a": {"b": 1}}), json!({"a": "text"}), json!({"a": "text"})),
        ] {
            let mut merged = target.clone();
            merge(&mut merged, &overlay);
            assert_eq!(merged, expected, "{target} with {overlay}");
        }
    }

    #[test]
    fn patch_names_are_those_that_kubeadm_reads() {
        for name in ["kube-apiserver.yaml", "kube-apiserver0+strategic.yaml", "kubeletconfiguration+json.json"] {
            assert!(check_patch_name(name).is_ok(), "{name}");
        }
        for name in ["apiserver.yaml", "kube-apiserver.yml", "kube-apiserver/../../x.yaml", "kube-apiserver", ""] {
            assert!(check_patch_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn aliases_that_are_no_dns_names_are_told_apart() {
        for (name, expected) in
            [("cp1", true), ("cp1.example.com", true), ("my_host", false), ("CP1", false), ("a..b", false), ("", false)]
        {
            assert_eq!(is_dns_name(name), expected, "{name}");
        }
    }
}

//! The `Cluster` document, typed. Values that exist are valid: names, versions and addresses are newtypes that check themselves.
//!
//! Reading a file is `load`'s job alone: `yaml` gives a tree with places in the text, `check` holds it against the JSON Schema and reports
//! every wrong key and value, `validate` has the rules between fields, `diagnostic` draws what is wrong.

mod check;
pub mod credentials;
mod datastore;
pub mod diagnostic;
mod endpoint;
mod formats;
pub mod hooks;
pub mod load;
pub mod names;
pub mod path;
pub mod proxy;
mod repository;
pub mod schema;
pub mod set;
pub(crate) mod suggest;
mod taint;
mod text;
pub mod validate;
pub mod yaml;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use datastore::{Datastore, Dsn, External, Managed, SecretRef, Server, ServerEngine, Shard, Tls, TlsMode};
pub use endpoint::{API_PORT, ApiAddress, Endpoint, LOCAL_PORT};
pub use hooks::{Hook, Hooks};
pub use names::{Address, AddressError, DnsLabel, ServerAddress, Version};
pub use proxy::{Proxy, ProxyEnvironment};
pub use repository::{ImageRepository, ImageRepositoryError};
pub use taint::Taint;

/// The only `apiVersion` that this program reads.
pub const API_VERSION: &str = "etcdless.dev/v1alpha1";

/// The shard that every cluster has, with everything that no other has.
pub const MAIN: &str = "main";

/// cluster.yaml: one document that describes one cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Cluster {
    /// Always `etcdless.dev/v1alpha1`.
    pub api_version: ApiVersion,
    /// Always `Cluster`.
    pub kind: ClusterKind,
    /// The cluster's name.
    pub metadata: Metadata,
    /// What the cluster should be.
    pub spec: Spec,
}

/// The `apiVersion` of a Cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ApiVersion {
    /// The first version.
    #[serde(rename = "etcdless.dev/v1alpha1")]
    V1Alpha1,
}

/// The `kind` of a Cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ClusterKind {
    /// The only kind.
    Cluster,
}

/// What names a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    /// A DNS label: it is part of the API's name and the context's name in kubeconfig.
    pub name: DnsLabel,
}

/// What the cluster should be. Everything but `hosts` has a default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Spec {
    /// Versions and address ranges.
    #[serde(default)]
    pub kubernetes: Kubernetes,
    /// How clients find the API server; `direct` on SQLite and `local` on servers where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Endpoint>,
    /// The kine process that stands where etcd would.
    #[serde(default)]
    pub kine: Kine,
    /// The SQL database that holds the state.
    #[serde(default)]
    pub datastore: Datastore,
    /// Resources that live in stores of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shards: Vec<Shard>,
    /// The container runtime.
    #[serde(default)]
    pub runtime: Runtime,
    /// The Pod network.
    #[serde(default)]
    pub network: Network,
    /// Where files and images come from.
    #[serde(default)]
    pub artifacts: Artifacts,
    /// The HTTP proxy that hosts go through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Proxy>,
    /// Raw additions to kubeadm's documents.
    #[serde(default)]
    pub kubeadm: Kubeadm,
    /// Programs of your own before and after phases.
    #[serde(default, skip_serializing_if = "Hooks::is_empty")]
    pub hooks: Hooks,
    /// The machines.
    pub hosts: Vec<Host>,
}

/// Versions and address ranges.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Kubernetes {
    /// For example `v1.34.4`.
    pub version: Version,
    /// Addresses of Pods.
    #[schemars(schema_with = "names::cidr_schema")]
    pub pod_subnet: IpNet,
    /// Addresses of Services.
    #[schemars(schema_with = "names::cidr_schema")]
    pub service_subnet: IpNet,
    /// The cluster's DNS domain.
    pub dns_domain: String,
    /// How kube-proxy programs Services; Kubernetes' own default where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_mode: Option<ProxyMode>,
    /// What becomes of swap on the hosts.
    pub swap: Swap,
    /// A flat repository that has every image as `REPOSITORY/NAME:TAG`; the publishers' own where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_repository: Option<ImageRepository>,
}

/// kube-proxy's `mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProxyMode {
    /// iptables rules.
    Iptables,
    /// IPVS, which needs the ip_vs modules.
    Ipvs,
    /// nftables rules (stable since 1.33).
    Nftables,
}

/// What becomes of swap on the hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Swap {
    /// Swap must be off already: preflight refuses a host that has it on.
    #[default]
    Refuse,
    /// Turned off and kept off: fstab lines are commented out, systemd's swap units masked.
    Off,
    /// Left as it is; the kubelet gets `failSwapOn: false`.
    Keep,
}

impl Default for Kubernetes {
    fn default() -> Self {
        Self {
            version: Version::new(1, 34, 4),
            pod_subnet: IpNet::V4(ipnet::Ipv4Net::new_assert(std::net::Ipv4Addr::new(10, 244, 0, 0), 16)),
            service_subnet: IpNet::V4(ipnet::Ipv4Net::new_assert(std::net::Ipv4Addr::new(10, 96, 0, 0), 12)),
            dns_domain: "cluster.local".into(),
            proxy_mode: None,
            swap: Swap::default(),
            image_repository: None,
        }
    }
}

/// `{}`: a choice without settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Empty {}

/// The kine process that stands where etcd would.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Kine {
    /// For example `v0.16.4`.
    pub version: Version,
    /// What runs it.
    pub placement: Placement,
    /// What the API server reaches it by.
    pub listen: Listen,
    /// How many connections to a database server each kine holds at most; SQLite has none.
    #[schemars(range(min = 2, max = 1000))]
    pub pool: u16,
}

impl Default for Kine {
    fn default() -> Self {
        Self { version: Version::new(0, 16, 4), placement: Placement::default(), listen: Listen::default(), pool: 16 }
    }
}

/// What runs kine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Placement {
    /// The kubelet, from a manifest; `kubectl` shows it.
    #[default]
    StaticPod,
    /// systemd, before the kubelet.
    Systemd,
    /// The kubelet, inside the API server's Pod.
    Sidecar,
}

/// What the API server reaches kine by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Listen {
    /// A unix socket that only root may open.
    #[default]
    Unix,
    /// Loopback TCP with mutual TLS.
    Tcp,
}

/// The container runtime.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Runtime {
    /// Which runtime.
    pub engine: Engine,
    /// Where the runtime comes from; kubelet and kubeadm always come from releases.
    pub install: Install,
}

/// Which container runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Engine {
    /// containerd.
    #[default]
    Containerd,
}

/// Where the container runtime comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Install {
    /// The project's own release files.
    #[default]
    Release,
    /// The distribution's packages.
    Packages,
}

/// The Pod network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Network {
    /// flannel, with VXLAN between hosts.
    Flannel(Empty),
    /// Nothing: nodes stay NotReady until a network is installed.
    None(Empty),
    /// A manifest of the user's: a path relative to cluster.yaml.
    Manifest(PathBuf),
}

impl Default for Network {
    fn default() -> Self {
        Self::Flannel(Empty {})
    }
}

/// Where files and images come from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Artifacts {
    /// A file mirror in HOST/PATH form: `https://dl.k8s.io/x` is asked for as `MIRROR/dl.k8s.io/x`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror: Option<String>,
    /// An image registry in HOST/NAME:TAG form, as `HOST:PORT` or `http(s)://HOST:PORT`; without a scheme, plain HTTP. Where it is the host
    /// of `kubernetes.imageRepository`, it is asked for that repository as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registry: Option<String>,
    /// A bundle that everything comes from, over SSH; nothing is fetched then. `etcdless mirror save` makes one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bundle: Option<PathBuf>,
    /// The older bundles that a bundle needs which holds only what is new since then.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bundle_base: Vec<PathBuf>,
    /// Who downloads.
    pub delivery: Delivery,
}

/// Who downloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Delivery {
    /// `node` where the host reaches the source, else `push`.
    #[default]
    Auto,
    /// Each host fetches by itself.
    Node,
    /// This machine fetches, verifies and sends over SSH.
    Push,
}

/// Raw additions to kubeadm's documents, merged over what etcdless renders; patches as kubeadm's `--patches` takes them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Kubeadm {
    /// Merged into InitConfiguration.
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    pub init: serde_json::Map<String, serde_json::Value>,
    /// Merged into ClusterConfiguration.
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    pub cluster: serde_json::Map<String, serde_json::Value>,
    /// Merged into KubeletConfiguration.
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    pub kubelet: serde_json::Map<String, serde_json::Value>,
    /// Merged into KubeProxyConfiguration.
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    pub kube_proxy: serde_json::Map<String, serde_json::Value>,
    /// File name (`kube-apiserver0+strategic.yaml`) to content.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub patches: BTreeMap<String, String>,
}

/// One machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Host {
    /// The node's name; the machine's own hostname where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<DnsLabel>,
    /// An IP address, a DNS name, an alias of ssh_config, or `local` for this machine.
    pub address: Address,
    /// Who logs in; ssh_config's choice where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// What the machine is for.
    #[serde(default)]
    pub role: Role,
    /// Whether ordinary Pods may run on a control plane. Where it is left out: only if the cluster has no other node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedulable: Option<bool>,
    /// The address that other nodes reach this one by; found from the SSH connection and the routes where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "nodeIP")]
    pub node_ip: Option<IpAddr>,
    /// Labels of the node. One that is taken out of the file stays on the node.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Taints of the node, as `kubectl taint` takes them: KEY=VALUE:EFFECT or KEY:EFFECT. One that is taken out of the file stays on the node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taints: Vec<Taint>,
    /// Overrides of the user's ssh_config.
    #[serde(default, skip_serializing_if = "Ssh::is_default")]
    pub ssh: Ssh,
}

/// What a machine is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Runs the API server and kine.
    #[default]
    ControlPlane,
    /// Runs Pods only.
    Worker,
    /// Runs a database server that etcdless keeps, and nothing of Kubernetes.
    Datastore,
}

impl Role {
    /// Whether a machine of this role is a node of the cluster.
    pub fn is_node(self) -> bool {
        matches!(self, Self::ControlPlane | Self::Worker)
    }

    /// Whether a machine of this role runs the API server and kine.
    pub fn is_control_plane(self) -> bool {
        self == Self::ControlPlane
    }
}

/// Overrides of the user's ssh_config.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Ssh {
    /// A private key file; `~` is the home folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<PathBuf>,
    /// The SSH port.
    #[schemars(range(min = 1))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// A host to go through, as ssh's ProxyJump takes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jump: Option<String>,
}

impl Ssh {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Cluster {
    /// A cluster of these hosts with every default.
    pub fn of(name: DnsLabel, hosts: Vec<Host>) -> Self {
        Self {
            api_version: ApiVersion::V1Alpha1,
            kind: ClusterKind::Cluster,
            metadata: Metadata { name },
            spec: Spec {
                kubernetes: Kubernetes::default(),
                endpoint: None,
                kine: Kine::default(),
                datastore: Datastore::default(),
                shards: Vec::new(),
                runtime: Runtime::default(),
                network: Network::default(),
                artifacts: Artifacts::default(),
                proxy: None,
                kubeadm: Kubeadm::default(),
                hooks: Hooks::default(),
                hosts,
            },
        }
    }

    /// The host that `init` builds the first control plane on. `validate` guarantees that there is one.
    pub fn first_control_plane(&self) -> Option<&Host> {
        self.spec.hosts.iter().find(|host| host.role == Role::ControlPlane)
    }

    /// The hosts that are nodes.
    pub fn nodes(&self) -> impl Iterator<Item = &Host> {
        self.spec.hosts.iter().filter(|host| host.role.is_node())
    }

    /// Every store by its shard's name: `main`, then the shards.
    pub fn datastores(&self) -> impl Iterator<Item = (&str, &Datastore)> {
        let shards = self.spec.shards.iter().map(|shard| (shard.name.as_str(), &shard.datastore));
        std::iter::once((MAIN, &self.spec.datastore)).chain(shards)
    }
}

impl Host {
    /// A control plane at this address.
    pub fn at(address: Address, user: Option<String>) -> Self {
        Self {
            name: None,
            address,
            user,
            role: Role::ControlPlane,
            schedulable: None,
            node_ip: None,
            labels: BTreeMap::new(),
            taints: Vec::new(),
            ssh: Ssh::default(),
        }
    }

    /// What people see this host as: its name, or its address where the file gives no name.
    pub fn label(&self) -> String {
        self.name.as_ref().map_or_else(|| self.address.to_string(), ToString::to_string)
    }
}

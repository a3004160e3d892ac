//! `spec.proxy`: the HTTP proxy that hosts go through, and what they reach without it.

use std::net::IpAddr;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Address, Cluster, Endpoint, Host, Role, ServerAddress};

/// The HTTP proxy that hosts go through: their package manager, their downloads, containerd and the kubelet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Proxy {
    /// For `http://` addresses, as `http://HOST:PORT`.
    pub http: String,
    /// For `https://` addresses; the same as `http` where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub https: Option<String>,
    /// What is reached without it beside the cluster itself: domains, addresses and address ranges.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub no: Vec<String>,
}

/// What programs on hosts are told of the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyEnvironment {
    /// For `http://` addresses.
    pub http: String,
    /// For `https://` addresses.
    pub https: String,
    /// What is reached without it: domains, addresses and address ranges.
    pub no: Vec<String>,
}

impl Cluster {
    /// What programs on hosts are told of the proxy, the same on all of them. `addresses` are those of control planes and servers, by which they know each other.
    ///
    /// Workers are not among them: nothing on a host asks another worker for anything, and so a new one restarts no containerd.
    pub fn proxy_environment(&self, addresses: impl IntoIterator<Item = IpAddr>) -> Option<ProxyEnvironment> {
        let proxy = self.spec.proxy.as_ref()?;
        let kubernetes = &self.spec.kubernetes;
        let mut no: Vec<String> = ["localhost", "127.0.0.1", "127.0.0.0/8", "::1"].map(String::from).into();
        no.extend([kubernetes.pod_subnet.to_string(), kubernetes.service_subnet.to_string()]);
        no.extend([".svc".into(), format!(".{}", kubernetes.dns_domain), ".etcdless.internal".into()]);
        let fixed = self.spec.hosts.iter().filter(|host| host.role != Role::Worker);
        no.extend(fixed.flat_map(names));
        no.extend(addresses.into_iter().map(|address| address.to_string()));
        match self.endpoint() {
            Endpoint::External(address) => no.push(address.host),
            Endpoint::Vip(address) => no.push(address.to_string()),
            Endpoint::Direct(_) | Endpoint::Local(_) => {}
        }
        no.extend(self.database_servers());
        no.extend(self.near_sources(&proxy.no));
        no.extend(proxy.no.iter().flat_map(|entry| written(entry)));
        let mut seen = std::collections::BTreeSet::new();
        no.retain(|entry| seen.insert(entry.clone()));
        let https = proxy.https.as_ref().unwrap_or(&proxy.http).clone();
        Some(ProxyEnvironment { http: proxy.http.clone(), https, no })
    }

    /// Where database servers of somebody else's are.
    fn database_servers(&self) -> impl Iterator<Item = String> {
        let external = self.datastores().filter_map(|(_, datastore)| datastore.external());
        let all = external.flat_map(|external| external.address.iter().chain(&external.addresses));
        all.filter_map(|address| match address {
            ServerAddress::Tcp { host, .. } => Some(host.clone()),
            ServerAddress::Socket(_) => None,
        })
    }

    /// Mirrors and registries that are hosts of the cluster, or within a range that is reached directly: curl knows ranges since 7.86 only, and apt does
    /// not at all.
    fn near_sources(&self, no: &[String]) -> Vec<String> {
        let artifacts = &self.spec.artifacts;
        let repository = self.spec.kubernetes.image_repository.as_ref().map(|repository| repository.host());
        let named = [artifacts.mirror.as_deref(), artifacts.registry.as_deref(), repository];
        let is_near = |host: &String| {
            let address = host.parse::<IpAddr>().ok();
            let within =
                |entry: &String| entry.parse::<IpNet>().is_ok_and(|net| address.is_some_and(|at| net.contains(&at)));
            self.spec.hosts.iter().flat_map(names).any(|name| name == *host) || no.iter().any(within)
        };
        named.into_iter().flatten().map(|url| host_of(url).to_owned()).filter(is_near).collect()
    }
}

/// What the description knows a host by.
fn names(host: &Host) -> impl Iterator<Item = String> {
    let address = match &host.address {
        Address::Ssh(address) => Some(address.clone()),
        Address::Local => None,
    };
    address.into_iter().chain(host.node_ip.map(|address| address.to_string()))
}

/// A domain stands for all that is in it, too, which apt only reads off a dot in front.
fn written(entry: &str) -> Vec<String> {
    let is_name = !entry.starts_with('.') && entry.parse::<IpAddr>().is_err() && entry.parse::<IpNet>().is_err();
    if is_name { vec![entry.into(), format!(".{entry}")] } else { vec![entry.into()] }
}

/// The host of a URL, or of HOST:PORT, without brackets.
pub fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    match authority.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        Some((address, _)) => address,
        None => authority.split(':').next().unwrap_or_default(),
    }
}

impl ProxyEnvironment {
    /// `NAME=VALUE`, in both spellings that programs read.
    pub fn variables(&self) -> Vec<String> {
        let no = self.no.join(",");
        let named = [("http_proxy", &self.http), ("https_proxy", &self.https), ("no_proxy", &no)];
        named
            .iter()
            .flat_map(|(name, value)| [format!("{name}={value}"), format!("{}={value}", name.to_uppercase())])
            .collect()
    }

    /// The proxy that an address is asked for through; none where it is reached directly.
    pub fn of(&self, url: &str) -> Option<&str> {
        let host = host_of(url);
        let address = host.parse::<IpAddr>().ok();
        let direct = |entry: &String| match entry.parse::<IpNet>() {
            Ok(net) => address.is_some_and(|address| net.contains(&address)),
            Err(_) => entry == host || (entry.starts_with('.') && host.ends_with(entry.as_str())),
        };
        let proxy = if url.starts_with("https://") { &self.https } else { &self.http };
        (!self.no.iter().any(direct)).then_some(proxy.as_str())
    }
}

impl std::fmt::Display for ProxyEnvironment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.http)?;
        if self.https != self.http {
            write!(f, ", https by {}", self.https)?;
        }
        write!(f, "; not for {}", self.no.join(","))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test")]
    use super::*;

    fn environment(spec: serde_json::Value, addresses: &[&str]) -> ProxyEnvironment {
        let mut document = serde_json::json!({
            "apiVersion": "etcdless.dev/v1alpha1", "kind": "Cluster", "metadata": { "name": "demo" },
            "spec": { "hosts": [{ "address": "cp1.corp.example" }, { "address": "10.0.0.21", "role": "worker" }] },
        });
        document["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let cluster: Cluster = serde_json::from_value(document).unwrap();
        cluster.proxy_environment(addresses.iter().map(|address| address.parse().unwrap())).unwrap()
    }

    #[test]
    fn the_cluster_itself_is_reached_directly() {
        let plain = environment(serde_json::json!({ "proxy": { "http": "http://proxy:3128" } }), &["10.0.0.11"]);
        assert_eq!(plain.https, "http://proxy:3128");
        assert_eq!(
            plain.no.join(","),
            "localhost,127.0.0.1,127.0.0.0/8,::1,10.244.0.0/16,10.96.0.0/12,.svc,.cluster.local,.etcdless.internal,cp1.corp.example,10.0.0.11"
        );
    }

    #[test]
    fn what_else_the_description_names_is_added() {
        let full = environment(
            serde_json::json!({
                "proxy": { "http": "http://p:1", "https": "http://q:2", "no": ["corp.example", "192.168.0.0/16", "fd00::5"] },
                "endpoint": { "external": "api.example.com:443" },
                "datastore": { "postgres": { "external": { "address": "db.example.com:5432", "database": "k", "user": "k" } } },
                "artifacts": { "mirror": "http://192.168.0.5:8080/x", "registry": "10.0.0.21:5000" },
            }),
            &[],
        );
        let added = full.no.iter().skip(9).map(String::as_str).collect::<Vec<_>>();
        assert_eq!(
            added,
            [
                "cp1.corp.example",
                "api.example.com",
                "db.example.com",
                "192.168.0.5",
                "10.0.0.21",
                "corp.example",
                ".corp.example",
                "192.168.0.0/16",
                "fd00::5"
            ]
        );
        for (url, proxy) in [
            ("https://dl.k8s.io/x", Some("http://q:2")),
            ("http://192.168.1.9/x", None),
            ("http://10.0.0.21:5000/v2/", None),
            ("http://10.0.0.22:5000/v2/", Some("http://p:1")),
            ("http://files.corp.example/x", None),
            ("http://notcorp.example/x", Some("http://p:1")),
            ("http://[fd00::5]:80/x", None),
            ("http://10.96.0.1/", None),
        ] {
            assert_eq!(full.of(url), proxy, "{url}");
        }
        assert_eq!(full.variables()[..2], ["http_proxy=http://p:1", "HTTP_PROXY=http://p:1"]);
    }
}

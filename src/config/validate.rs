//! Rules between fields, and for texts that have no type of their own. Pure: no file and no host is looked at.

mod datastore;
mod hosts;
mod kubeadm;
mod proxy;
mod shards;
mod sources;
mod subnets;

use super::{Cluster, ProxyMode};

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The field, such as `spec.hosts[1].address`; a field that the file leaves out is shown at the nearest one around it.
    pub path: String,
    /// What is wrong; lower case, one sentence.
    pub message: String,
    /// What to write instead.
    pub suggestion: Option<String>,
    /// Another field that belongs to it, such as the first of two equal names.
    pub related: Option<String>,
}

/// A rule that knows more than this module does, such as which versions go together.
pub type Rule = fn(&Cluster) -> Vec<Violation>;

impl Violation {
    /// A broken rule at a field.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into(), suggestion: None, related: None }
    }

    /// Adds what to write instead.
    #[must_use]
    pub fn suggest(mut self, suggestion: impl Into<String>) -> Self {
        self.suggestion = Some(suggestion.into());
        self
    }

    /// Adds the path of another field that belongs to it.
    #[must_use]
    pub fn related(mut self, path: impl Into<String>) -> Self {
        self.related = Some(path.into());
        self
    }
}

/// Every rule that the cluster breaks: those of this module, then `rules`.
pub fn validate(cluster: &Cluster, rules: &[Rule]) -> Vec<Violation> {
    let own: [Rule; 10] = [
        subnets::check,
        dns_domain,
        proxy_mode,
        hosts::check,
        sources::check,
        proxy::check,
        kubeadm::check,
        datastore::check,
        shards::check,
        super::hooks::check,
    ];
    own.iter().chain(rules).flat_map(|rule| rule(cluster)).collect()
}

fn dns_domain(cluster: &Cluster) -> Vec<Violation> {
    let domain = &cluster.spec.kubernetes.dns_domain;
    let ok = domain.len() <= 253 && domain.split('.').all(|label| label.parse::<super::DnsLabel>().is_ok());
    let broken = (!ok).then(|| {
        Violation::new("spec.kubernetes.dnsDomain", format!("`{domain}` is not a DNS domain"))
            .suggest("use labels of a-z, 0-9 and `-` with dots between them, such as `cluster.local`")
    });
    broken.into_iter().collect()
}

fn proxy_mode(cluster: &Cluster) -> Vec<Violation> {
    let kubernetes = &cluster.spec.kubernetes;
    let too_old = kubernetes.version.major() == 1 && kubernetes.version.minor() < 31;
    let broken = (kubernetes.proxy_mode == Some(ProxyMode::Nftables) && too_old).then(|| {
        let message = format!("kube-proxy {} has no nftables mode yet; it needs Kubernetes 1.31", kubernetes.version);
        Violation::new("spec.kubernetes.proxyMode", message)
            .suggest("use `iptables` or `ipvs`")
            .related("spec.kubernetes.version")
    });
    broken.into_iter().collect()
}

//! `spec.artifacts`: the forms of a mirror's URL and a registry's address.

use super::Violation;
use crate::config::{Address, Artifacts, Cluster, Delivery};

const MIRROR: &str = "spec.artifacts.mirror";
const REGISTRY: &str = "spec.artifacts.registry";

pub(super) fn check(cluster: &Cluster) -> Vec<Violation> {
    let artifacts = &cluster.spec.artifacts;
    let mirror = artifacts.mirror.as_deref().and_then(mirror);
    let registry = artifacts.registry.as_deref().and_then(registry);
    mirror.into_iter().chain(registry).chain(bundle(artifacts)).collect()
}

/// Nothing may be fetched beside a bundle, and what a bundle is based on is nothing without it.
fn bundle(artifacts: &Artifacts) -> Option<Violation> {
    if artifacts.bundle.is_none() {
        let alone = !artifacts.bundle_base.is_empty();
        return alone.then(|| {
            let message = "an older bundle is named, but not the one that is based on it";
            Violation::new("spec.artifacts.bundleBase", message).suggest("name the newer one as `bundle`")
        });
    }
    (artifacts.delivery == Delivery::Node).then(|| {
        let message = "with a bundle nothing is fetched by hosts: this machine sends everything";
        Violation::new("spec.artifacts.delivery", message).suggest("leave `delivery` out")
    })
}

fn mirror(text: &str) -> Option<Violation> {
    let form = "write `http://HOST:PORT/PATH` or `https://HOST:PORT/PATH`";
    let broken = |message: String| Some(Violation::new(MIRROR, message).suggest(form));
    let Some(rest) = without_scheme(text) else {
        return broken(format!("`{text}` is not an HTTP URL"));
    };
    let host = rest.split('/').next().unwrap_or_default();
    if host.contains('@') {
        return credentials(MIRROR);
    }
    if !is_host_and_port(host) {
        return broken(format!("`{host}` is not a host, or a host and a port"));
    }
    if rest.contains(['?', '#']) || rest.contains(char::is_whitespace) {
        return broken(format!("`{text}` has more than a host and a path"));
    }
    None
}

fn registry(text: &str) -> Option<Violation> {
    let rest = without_scheme(text).unwrap_or(text);
    if rest.contains('@') {
        return credentials(REGISTRY);
    }
    let host = rest.split('/').next().unwrap_or_default();
    if !is_host_and_port(host) {
        let message = format!("`{text}` is not a registry");
        return Some(Violation::new(REGISTRY, message).suggest("write `HOST:PORT` or `https://HOST:PORT`"));
    }
    (rest != host).then(|| {
        let message = format!("a registry has no path: images are asked for as {host}/ORIGIN/NAME:TAG");
        Violation::new(REGISTRY, message).suggest(format!("write `{}`", &text[..text.len() - rest.len() + host.len()]))
    })
}

/// A password in a URL would be in plans, logs and files on hosts.
fn credentials(path: &str) -> Option<Violation> {
    let message = "a password does not belong into cluster.yaml, which plans and logs show";
    Some(Violation::new(path, message).suggest("use one that needs no login, on a network that only the hosts reach"))
}

pub(super) fn without_scheme(text: &str) -> Option<&str> {
    text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"))
}

/// `HOST`, `HOST:PORT` or `[IPV6]:PORT`.
pub(super) fn is_host_and_port(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        Some((address, rest)) if address.parse::<std::net::Ipv6Addr>().is_ok() => (address, rest.strip_prefix(':')),
        Some(_) => return false,
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let named = host.parse::<Address>().is_ok_and(|address| address != Address::Local);
    named && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors() {
        for good in ["http://10.0.0.5:8080", "https://mirror.example.com/k8s", "http://[fd00::1]:80/", "http://h"] {
            assert_eq!(mirror(good), None, "{good}");
        }
        for bad in [
            "10.0.0.5:8080",
            "ftp://h",
            "http://",
            "http://h:0",
            "http://h:99999",
            "http://u:p@h",
            "http://h/?a",
            "http://a b",
        ] {
            assert!(mirror(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn registries() {
        for good in ["10.0.0.5:5000", "registry", "https://r.example.com", "[fd00::1]:5000"] {
            assert_eq!(registry(good), None, "{good}");
        }
        for bad in ["", "r/library", "https://r/v2/", "u:p@r", "r:port", "fd00::1", "oci://r"] {
            assert!(registry(bad).is_some(), "{bad}");
        }
        let suggested = registry("https://r:5000/v2/").and_then(|violation| violation.suggestion);
        assert_eq!(suggested.as_deref(), Some("write `https://r:5000`"));
    }
}

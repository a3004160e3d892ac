//! `spec.proxy`: the forms of its addresses, and of what is reached without it.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Violation;
use super::sources::{is_host_and_port, without_scheme};
use crate::config::Cluster;

pub(super) fn check(cluster: &Cluster) -> Vec<Violation> {
    let Some(proxy) = &cluster.spec.proxy else { return Vec::new() };
    let http = url("spec.proxy.http", &proxy.http);
    let https = proxy.https.as_deref().and_then(|text| url("spec.proxy.https", text));
    let no = proxy.no.iter().enumerate().filter_map(|(index, text)| direct(&format!("spec.proxy.no[{index}]"), text));
    http.into_iter().chain(https).chain(no).collect()
}

/// `http://HOST:PORT` or `https://HOST:PORT`.
fn url(path: &str, text: &str) -> Option<Violation> {
    if text.contains('@') {
        let message = "a password does not belong into cluster.yaml; a proxy's would also be in the environment of services, which every user of a host may read";
        return Some(
            Violation::new(path, message).suggest("let the proxy pass the hosts by their addresses, without a login"),
        );
    }
    let form = "write `http://HOST:PORT`";
    let Some(rest) = without_scheme(text) else {
        return Some(Violation::new(path, format!("`{text}` is not the address of an HTTP proxy")).suggest(form));
    };
    let host = rest.trim_end_matches('/');
    if !is_host_and_port(host) {
        return Some(Violation::new(path, format!("`{rest}` is not a host and a port")).suggest(form));
    }
    let advice = |message: String, host: &str| {
        Some(Violation::new(path, message).suggest(format!("write `{}{host}`", &text[..text.len() - rest.len()])))
    };
    if host.rsplit_once(':').is_none_or(|(_, port)| port.ends_with(']')) {
        return advice(format!("`{text}` has no port, and programs do not agree on one"), &format!("{host}:3128"));
    }
    if host == rest { None } else { advice("a proxy has no path".into(), host) }
}

/// A domain, an address or a range, as curl, apt and programs in Go all read it.
fn direct(path: &str, text: &str) -> Option<Violation> {
    let broken = |message: String, advice: String| Some(Violation::new(path, message).suggest(advice));
    if text.parse::<IpAddr>().is_ok() || text.parse::<IpNet>().is_ok() {
        return None;
    }
    if let Some(domain) = text.strip_prefix("*.").filter(|domain| is_domain(domain)) {
        return broken(
            format!("`{text}` has a pattern, which curl does not read"),
            format!("write `{domain}`, which stands for all in it"),
        );
    }
    if text.contains("://") || text.contains(':') || text.contains('/') {
        let host = crate::config::proxy::host_of(text);
        let advice =
            if is_domain(host) || host.parse::<IpAddr>().is_ok() { format!("write `{host}`") } else { FORM.into() };
        return broken(format!("`{text}` is more than a domain, an address or a range"), advice);
    }
    if is_domain(text.strip_prefix('.').unwrap_or(text)) {
        None
    } else {
        broken(format!("`{text}` is no domain, address or range"), FORM.into())
    }
}

const FORM: &str = "write a domain, an address, or a range such as 10.0.0.0/8";

fn is_domain(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    !text.is_empty() && text.split('.').all(|label| !label.is_empty() && label.chars().all(inner))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_proxies() {
        for good in ["http://proxy:3128", "https://proxy.example.com:3129", "http://[fd00::1]:3128"] {
            assert_eq!(url("p", good), None, "{good}");
        }
        for (bad, advised) in [
            ("proxy:3128", "write `http://HOST:PORT`"),
            ("socks5://proxy:1080", "write `http://HOST:PORT`"),
            ("http://proxy", "write `http://proxy:3128`"),
            ("http://[fd00::1]", "write `http://[fd00::1]:3128`"),
            ("http://proxy:3128/", "write `http://proxy:3128`"),
            ("http://me:secret@proxy:3128", "without a login"),
            ("http://", "write `http://HOST:PORT`"),
        ] {
            let violation = url("p", bad);
            let advice = violation.as_ref().and_then(|violation| violation.suggestion.as_deref());
            assert!(advice.is_some_and(|advice| advice.contains(advised)), "{bad}: {violation:?}");
            assert!(!violation.is_some_and(|violation| violation.message.contains("secret")), "{bad}");
        }
    }

    #[test]
    fn what_is_reached_directly() {
        for good in ["corp.example", ".corp.example", "host", "10.0.0.0/8", "10.0.0.5", "fd00::5", "fd00::/8"] {
            assert_eq!(direct("p", good), None, "{good}");
        }
        for (bad, advised) in [
            ("*.corp.example", "write `corp.example`"),
            ("http://mirror.example/", "write `mirror.example`"),
            ("mirror.example:8080", "write `mirror.example`"),
            ("a,b", FORM),
            ("*", FORM),
            ("", FORM),
        ] {
            let advice = direct("p", bad).and_then(|violation| violation.suggestion);
            assert!(advice.as_ref().is_some_and(|advice| advice.contains(advised)), "{bad}: {advice:?}");
        }
    }
}

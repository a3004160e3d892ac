//! Certificates of a host: which end soon, and who makes them anew.

use super::report::{Certificate, Check, Level};
use crate::config::Cluster;
use crate::datastore;

/// Days before the end at which people are told.
const SOON: i64 = 30;

/// The kubelet's own serving certificate, which nobody verifies: it signs it itself.
const SERVING: &str = "/var/lib/kubelet/pki/kubelet.crt";

/// What ends soon or has ended, most urgent first, one line for all that are renewed in the same way.
pub(super) fn checks(cluster: &Cluster, certificates: &[Certificate], again: &str) -> Vec<Check> {
    let mut urgent: Vec<&Certificate> =
        certificates.iter().filter(|certificate| certificate.days.is_none_or(|days| days < SOON)).collect();
    urgent.sort_by_key(|certificate| certificate.days);
    let mut checks: Vec<Check> = Vec::new();
    for certificate in urgent {
        let next = renewal(cluster, &certificate.path, again);
        let (level, detail) = (level(certificate), text(certificate));
        match checks.iter_mut().find(|check| check.next.as_deref() == Some(&next)) {
            Some(check) => {
                check.detail.push_str(&format!(", {detail}"));
                check.level = check.level.max(level);
            }
            None => checks.push(Check { name: "certificates", level, detail, next: Some(next) }),
        }
    }
    checks
}

fn level(certificate: &Certificate) -> Level {
    match certificate.days {
        _ if certificate.path == SERVING => Level::Warning,
        Some(0..) => Level::Warning,
        _ => Level::Degraded,
    }
}

fn text(certificate: &Certificate) -> String {
    let path = &certificate.path;
    match certificate.days {
        None => format!("{path} is not a certificate"),
        Some(days) if days < 0 => format!("{path} has expired"),
        Some(0) => format!("{path} ends within a day"),
        Some(1) => format!("{path} ends in 1 day"),
        Some(days) => format!("{path} ends in {days} days"),
    }
}

/// Who makes a certificate anew, and how.
fn renewal(cluster: &Cluster, path: &str, again: &str) -> String {
    if let Some(rest) = path.strip_prefix(datastore::FILES) {
        let shard = rest.trim_start_matches('/').split('/').next().unwrap_or_default();
        let is_managed = cluster.datastores().any(|(name, datastore)| name == shard && datastore.managed().is_some());
        return match is_managed {
            true => format!("`{again}` makes it anew"),
            false => format!("put a new one where the description's `tls` names it, then `{again}`"),
        };
    }
    if path.starts_with("/etc/etcdless/") {
        return format!("`{again}` makes it anew");
    }
    if path == SERVING {
        return "remove kubelet.crt and kubelet.key there, then `systemctl restart kubelet`".into();
    }
    if path.starts_with("/var/lib/kubelet/") {
        return "the kubelet renews it by itself: `journalctl -u kubelet` says why it has not".into();
    }
    if path.ends_with("ca.crt") {
        return "kubeadm renews no authority: see Kubernetes' page on manual rotation of CA certificates".into();
    }
    "`kubeadm certs renew all` on the host, then restart the Pods of kube-apiserver, kube-controller-manager and kube-scheduler; `etcdless \
     kubeconfig` fetches the new one"
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_soon_is_told_with_who_renews_it() {
        let cluster = Cluster::of("demo".parse().unwrap_or_else(|_| unreachable!()), Vec::new());
        let certificate = |path: &str, days| Certificate { path: path.into(), days };
        let told = checks(
            &cluster,
            &[
                certificate("/etc/kubernetes/pki/apiserver.crt", Some(29)),
                certificate("/etc/kubernetes/admin.conf", Some(-1)),
                certificate("/etc/kubernetes/pki/ca.crt", Some(30)),
                certificate("/etc/etcdless/kine/pki/server.crt", Some(0)),
                certificate("/etc/etcdless/kine/db/main/client.crt", Some(1)),
                certificate("/var/lib/kubelet/pki/kubelet.crt", Some(-400)),
                certificate("/var/lib/kubelet/pki/kubelet-client-current.pem", None),
            ],
            "etcdless init -c c.yaml",
        );
        let told: Vec<(Level, &str, &str)> = told
            .iter()
            .map(|check| (check.level, check.detail.as_str(), &check.next.as_deref().unwrap_or_default()[..20]))
            .collect();
        assert_eq!(
            told,
            [
                (
                    Level::Degraded,
                    "/var/lib/kubelet/pki/kubelet-client-current.pem is not a certificate",
                    "the kubelet renews i"
                ),
                (Level::Warning, "/var/lib/kubelet/pki/kubelet.crt has expired", "remove kubelet.crt a"),
                (
                    Level::Degraded,
                    "/etc/kubernetes/admin.conf has expired, /etc/kubernetes/pki/apiserver.crt ends in 29 days",
                    "`kubeadm certs renew"
                ),
                (Level::Warning, "/etc/etcdless/kine/pki/server.crt ends within a day", "`etcdless init -c c."),
                (Level::Warning, "/etc/etcdless/kine/db/main/client.crt ends in 1 day", "put a new one where "),
            ]
        );
    }
}

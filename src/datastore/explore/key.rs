//! Keys of the store: where the API server keeps what, and what people call it.

use std::collections::BTreeSet;

/// What every key of the API server's begins with.
pub const ROOT: &str = "/registry/";

/// Groups of Kubernetes' own that have a dot. Their resources are kept under the resource's name alone.
const GROUPS: [&str; 15] = [
    "admissionregistration.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "certificates.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "internal.apiserver.k8s.io",
    "networking.k8s.io",
    "node.k8s.io",
    "rbac.authorization.k8s.io",
    "resource.k8s.io",
    "scheduling.k8s.io",
    "storage.k8s.io",
];

/// Resources that are kept under another name: as people say, and where they are.
const KEPT_AS: [(&str, &str); 7] = [
    ("nodes", "minions"),
    ("services", "services/specs"),
    ("endpoints", "services/endpoints"),
    ("ingresses", "ingress"),
    ("replicationcontrollers", "controllers"),
    ("apiservices", "apiregistration.k8s.io/apiservices"),
    ("customresourcedefinitions", "apiextensions.k8s.io/customresourcedefinitions"),
];

/// kubectl's short names of what is looked for most.
const SHORT: [(&str, &str); 22] = [
    ("cm", "configmaps"),
    ("crd", "customresourcedefinitions"),
    ("crds", "customresourcedefinitions"),
    ("cj", "cronjobs"),
    ("deploy", "deployments"),
    ("ds", "daemonsets"),
    ("ep", "endpoints"),
    ("ev", "events"),
    ("hpa", "horizontalpodautoscalers"),
    ("ing", "ingresses"),
    ("netpol", "networkpolicies"),
    ("no", "nodes"),
    ("ns", "namespaces"),
    ("pdb", "poddisruptionbudgets"),
    ("po", "pods"),
    ("pv", "persistentvolumes"),
    ("pvc", "persistentvolumeclaims"),
    ("rs", "replicasets"),
    ("sa", "serviceaccounts"),
    ("sc", "storageclasses"),
    ("sts", "statefulsets"),
    ("svc", "services"),
];

/// The key that is meant: one of the store's own, or `RESOURCE[.GROUP][/NAMESPACE]/NAME` as kubectl calls it.
pub fn key(said: &str) -> String {
    if said.starts_with('/') {
        return said.to_owned();
    }
    let (resource, rest) = said.split_once('/').map_or((said, None), |(resource, rest)| (resource, Some(rest)));
    let folder = folder(resource);
    match rest {
        Some(rest) => format!("{ROOT}{folder}/{rest}"),
        None => format!("{ROOT}{folder}/"),
    }
}

/// Where a resource is kept, below [`ROOT`].
pub(super) fn folder(resource: &str) -> String {
    let (plural, group) = resource.split_once('.').map_or((resource, ""), |(plural, group)| (plural, group));
    if group.contains('.') && !GROUPS.contains(&group) {
        return format!("{group}/{plural}");
    }
    let plural = SHORT.iter().find(|(short, _)| *short == plural).map_or(plural, |(_, long)| long);
    KEPT_AS.iter().find(|(said, _)| *said == plural).map_or(plural, |(_, kept)| kept).to_owned()
}

/// What a key is of: `pods`, `services/specs`, `cert-manager.io/certificates`.
pub fn resource(key: &str) -> &str {
    let rest = key.strip_prefix(ROOT).unwrap_or(key);
    let end = |from: usize| rest[from..].find('/').map_or(rest.len(), |at| from + at);
    let first = end(0);
    let has_two = rest[..first].contains('.') || &rest[..first] == "services";
    if has_two && first < rest.len() { &rest[..end(first + 1)] } else { &rest[..first] }
}

/// The first key after all that begin with a prefix.
pub(in crate::datastore) fn after(prefix: &str) -> String {
    let mut end = prefix.to_owned();
    match end.pop() {
        Some(last) => end.push(char::from_u32(u32::from(last) + 1).unwrap_or(last)),
        None => end.push('\u{7f}'),
    }
    end
}

/// The folders around a key, nearest first, down to [`ROOT`].
pub fn around(key: &str) -> Vec<&str> {
    let ends = key.trim_end_matches('/').match_indices('/').map(|(at, _)| at + 1).collect::<BTreeSet<_>>();
    ends.into_iter().rev().map(|end| &key[..end]).filter(|folder| folder.len() >= ROOT.len()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_may_say_what_kubectl_says() {
        for (said, expected) in [
            ("/registry/pods/default/web", "/registry/pods/default/web"),
            ("pods/default/web", "/registry/pods/default/web"),
            ("po/default/web", "/registry/pods/default/web"),
            ("nodes/cp1", "/registry/minions/cp1"),
            ("deployments.apps/default/web", "/registry/deployments/default/web"),
            ("svc/default/kubernetes", "/registry/services/specs/default/kubernetes"),
            ("leases.coordination.k8s.io/kube-node-lease/cp1", "/registry/leases/kube-node-lease/cp1"),
            ("storageclasses.storage.k8s.io/fast", "/registry/storageclasses/fast"),
            ("crd/a.example.com", "/registry/apiextensions.k8s.io/customresourcedefinitions/a.example.com"),
            ("certificates.cert-manager.io/default/a", "/registry/cert-manager.io/certificates/default/a"),
            ("gateways.gateway.networking.k8s.io/default/a", "/registry/gateway.networking.k8s.io/gateways/default/a"),
            ("secrets", "/registry/secrets/"),
        ] {
            assert_eq!(key(said), expected, "{said}");
        }
    }

    #[test]
    fn a_key_tells_its_resource() {
        for (key, expected) in [
            ("/registry/pods/default/web", "pods"),
            ("/registry/health", "health"),
            ("/registry/services/specs/default/kubernetes", "services/specs"),
            ("/registry/cert-manager.io/certificates/default/a", "cert-manager.io/certificates"),
            ("/registry/apiregistration.k8s.io/apiservices/v1.apps", "apiregistration.k8s.io/apiservices"),
        ] {
            assert_eq!(resource(key), expected, "{key}");
        }
    }

    #[test]
    fn folders_around_a_key_end_at_the_root() {
        let expected = ["/registry/pods/default/", "/registry/pods/", "/registry/"];
        assert_eq!(around("/registry/pods/default/web"), expected);
        assert_eq!(around("/registry/pods/default/"), ["/registry/pods/", "/registry/"]);
        assert_eq!(after("/registry/"), "/registry0");
    }
}

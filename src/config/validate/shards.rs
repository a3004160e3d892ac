//! `spec.shards`: names of their own, and resources that the API server can move.

use super::Violation;
use crate::config::{Cluster, MAIN};

/// Every built-in resource that is stored, by its group; `""` is the core group. Custom resources have no override of their own: all of them
/// share the store of the API extensions (kubernetes, `--etcd-servers-overrides`).
const BUILT_IN: [(&str, &[&str]); 20] = [
    (
        "",
        &[
            "configmaps",
            "endpoints",
            "events",
            "limitranges",
            "namespaces",
            "nodes",
            "persistentvolumeclaims",
            "persistentvolumes",
            "pods",
            "podtemplates",
            "replicationcontrollers",
            "resourcequotas",
            "secrets",
            "serviceaccounts",
            "services",
        ],
    ),
    (
        "admissionregistration.k8s.io",
        &[
            "mutatingwebhookconfigurations",
            "validatingadmissionpolicies",
            "validatingadmissionpolicybindings",
            "validatingwebhookconfigurations",
        ],
    ),
    ("apiregistration.k8s.io", &["apiservices"]),
    ("apps", &["controllerrevisions", "daemonsets", "deployments", "replicasets", "statefulsets"]),
    ("autoscaling", &["horizontalpodautoscalers"]),
    ("batch", &["cronjobs", "jobs"]),
    ("certificates.k8s.io", &["certificatesigningrequests"]),
    ("coordination.k8s.io", &["leases"]),
    ("discovery.k8s.io", &["endpointslices"]),
    ("events.k8s.io", &[]),
    ("flowcontrol.apiserver.k8s.io", &["flowschemas", "prioritylevelconfigurations"]),
    ("internal.apiserver.k8s.io", &["storageversions"]),
    ("networking.k8s.io", &["ingressclasses", "ingresses", "ipaddresses", "networkpolicies", "servicecidrs"]),
    ("node.k8s.io", &["runtimeclasses"]),
    ("policy", &["poddisruptionbudgets"]),
    ("rbac.authorization.k8s.io", &["clusterrolebindings", "clusterroles", "rolebindings", "roles"]),
    ("resource.k8s.io", &["deviceclasses", "resourceclaims", "resourceclaimtemplates", "resourceslices"]),
    ("scheduling.k8s.io", &["priorityclasses"]),
    (
        "storage.k8s.io",
        &[
            "csidrivers",
            "csinodes",
            "csistoragecapacities",
            "storageclasses",
            "volumeattachments",
            "volumeattributesclasses",
        ],
    ),
    ("storagemigration.k8s.io", &["storageversionmigrations"]),
];

/// `kine-NAME-server-socket` is a volume's name, a DNS label.
const LONGEST_NAME: usize = 40;

pub(super) fn check(cluster: &Cluster) -> Vec<Violation> {
    let shards = &cluster.spec.shards;
    let mut broken = Vec::new();
    let mut taken: Vec<(&str, String)> = Vec::new();
    for (index, shard) in shards.iter().enumerate() {
        let at = |field: &str| format!("spec.shards[{index}].{field}");
        let name = shard.name.as_str();
        if name == MAIN {
            broken.push(
                Violation::new(at("name"), "`main` is the store of `spec.datastore`").suggest("choose another name"),
            );
        } else if name.len() > LONGEST_NAME {
            broken.push(
                Violation::new(at("name"), format!("`{name}` is too long: Pods and volumes have it in their names"))
                    .suggest(format!("use at most {LONGEST_NAME} letters")),
            );
        } else if shards[..index].iter().any(|other| other.name == shard.name) {
            broken.push(
                Violation::new(at("name"), format!("two shards have the name `{name}`")).suggest("names are unique"),
            );
        }
        if shard.resources.is_empty() {
            broken.push(
                Violation::new(at("resources"), "the shard has no resources").suggest("name one, such as `events`"),
            );
        }
        for (place, resource) in shard.resources.iter().enumerate() {
            let at = at(&format!("resources[{place}]"));
            if let Some((_, other)) = taken.iter().find(|(other, _)| other == resource) {
                broken.push(
                    Violation::new(at, format!("`{resource}` is in {other} already"))
                        .suggest("a resource has one store"),
                );
                continue;
            }
            taken.push((resource, format!("`{name}`")));
            broken.extend(
                resource_violation(resource).map(|(message, advice)| Violation::new(at, message).suggest(advice)),
            );
        }
    }
    broken
}

/// What is wrong with a resource, and what to write instead.
fn resource_violation(resource: &str) -> Option<(String, String)> {
    let (group, name) = resource.split_once('/').unwrap_or(("", resource));
    if (group, name) == ("events.k8s.io", "events") {
        let message = "the API server keeps the events of both groups where it keeps those of the core group";
        return Some((message.into(), "write `events`".into()));
    }
    let known = BUILT_IN.iter().find(|(known, _)| *known == group);
    match known {
        Some((_, resources)) if resources.contains(&name) => None,
        None => Some((
            format!("`{resource}` is no built-in resource: the API server can move only those"),
            "custom resources all stay in `main`".into(),
        )),
        Some((_, resources)) => {
            let elsewhere = BUILT_IN.iter().find(|(_, resources)| resources.contains(&name));
            let advice = match elsewhere {
                Some(("", _)) => format!("write `{name}`"),
                Some((group, _)) => format!("write `{group}/{name}`"),
                None if resources.is_empty() => "write `events`".into(),
                None => format!("the group has {}", resources.join(", ")),
            };
            let group = if group.is_empty() { "the core group".into() } else { format!("the group `{group}`") };
            Some((format!("there is no resource `{name}` in {group}"), advice))
        }
    }
}

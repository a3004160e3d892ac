//! `spec.kubeadm`: overlays may add to kubeadm's documents but not say again what other fields say; patches are named as kubeadm wants.

use serde_json::Map;

use super::Violation;
use crate::config::Cluster;
use crate::config::path::Path;
use crate::config::suggest::{any_of, closest};

/// What an overlay may not set, and what to do instead: document, JSON pointer, advice.
const RESERVED: &[(&str, &str, &str)] = &[
    ("cluster", "/etcd", "etcdless sets it to kine's endpoint; use `spec.kine` and `spec.datastore`"),
    ("cluster", "/controlPlaneEndpoint", "use `spec.endpoint`"),
    ("cluster", "/networking/podSubnet", "use `spec.kubernetes.podSubnet`"),
    ("cluster", "/networking/serviceSubnet", "use `spec.kubernetes.serviceSubnet`"),
    ("cluster", "/networking/dnsDomain", "use `spec.kubernetes.dnsDomain`"),
    ("cluster", "/kubernetesVersion", "use `spec.kubernetes.version`"),
    ("cluster", "/clusterName", "use `metadata.name`"),
    ("cluster", "/imageRepository", "use `spec.kubernetes.imageRepository`, which holds for kine and flannel, too"),
    ("init", "/bootstrapTokens", "etcdless makes a token of its own that lives minutes"),
    ("init", "/certificateKey", "etcdless makes keys of its own"),
    ("kubelet", "/clusterDomain", "use `spec.kubernetes.dnsDomain`"),
    ("kubelet", "/failSwapOn", "use `spec.kubernetes.swap`"),
    ("kubeProxy", "/mode", "use `spec.kubernetes.proxyMode`"),
    ("kubeProxy", "/clusterCIDR", "use `spec.kubernetes.podSubnet`"),
];

/// What kubeadm's `--patches` knows (`patches.go`).
const TARGETS: &[&str] =
    &["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubeletconfiguration", "corednsdeployment"];

pub(super) fn check(cluster: &Cluster) -> Vec<Violation> {
    let kubeadm = &cluster.spec.kubeadm;
    let overlays = [
        ("init", &kubeadm.init),
        ("cluster", &kubeadm.cluster),
        ("kubelet", &kubeadm.kubelet),
        ("kubeProxy", &kubeadm.kube_proxy),
    ];
    let overlays = overlays.into_iter().flat_map(|(name, overlay)| reserved(name, overlay));
    let patches = kubeadm.patches.keys().filter_map(|name| patch(name));
    overlays.chain(patches).collect()
}

fn reserved(document: &str, overlay: &Map<String, serde_json::Value>) -> Vec<Violation> {
    let overlay = serde_json::Value::Object(overlay.clone());
    let listed = RESERVED.iter().filter(|(name, ..)| *name == document).map(|(_, pointer, advice)| (*pointer, *advice));
    let typed = [("/apiVersion", "etcdless chooses it by version"), ("/kind", "the overlay's name already says it")];
    listed
        .chain(typed)
        .filter(|(pointer, _)| overlay.pointer(pointer).is_some())
        .map(|(pointer, advice)| {
            let field = pointer[1..].replace('/', ".");
            Violation::new(format!("spec.kubeadm.{document}.{field}"), format!("an overlay cannot set `{field}`"))
                .suggest(advice)
        })
        .collect()
}

/// `TARGET[SUFFIX][+TYPE].yaml` or `.json`. kubeadm passes over a file with a wrong target or extension, so that is a mistake here.
fn patch(name: &str) -> Option<Violation> {
    let path = Path::default().key("spec").key("kubeadm").key("patches").key(name).to_string();
    let broken = |message: String| Some(Violation::new(path.clone(), message));
    let example = "name it like `kube-apiserver0+strategic.yaml`";
    let Some(stem) = name.strip_suffix(".yaml").or_else(|| name.strip_suffix(".json")) else {
        return broken(format!("the patch `{name}` does not end in .yaml or .json"))
            .map(|broken| broken.suggest(example));
    };
    let (target, kind) = stem.split_once('+').map_or((stem, None), |(target, kind)| (target, Some(kind)));
    if target.starts_with("etcd") {
        return broken(format!("the patch `{name}` is for etcd, which this cluster does not have"))
            .map(|broken| broken.suggest("remove it; `spec.kine` configures what stands in etcd's place"));
    }
    if !TARGETS.iter().any(|known| target.starts_with(known)) {
        let help = match closest(target, TARGETS.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the name begins with {}", any_of(TARGETS.iter().copied())),
        };
        return broken(format!("the patch `{name}` is for nothing that kubeadm patches"))
            .map(|broken| broken.suggest(help));
    }
    if target.contains(['.', '/', '\n']) {
        return broken(format!("the patch `{name}` has a dot or slash in its suffix"))
            .map(|broken| broken.suggest(example));
    }
    if kind.is_some_and(|kind| !["strategic", "merge", "json"].contains(&kind)) {
        return broken(format!("the patch `{name}` is of no type that kubeadm knows"))
            .map(|broken| broken.suggest("after `+` comes `strategic`, `merge` or `json`"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patch_names() {
        for good in ["kube-apiserver.yaml", "kube-apiserver0+strategic.yaml", "kubeletconfiguration-x+json.json"] {
            assert_eq!(patch(good), None, "{good}");
        }
        for bad in [
            "etcd.yaml",
            "kube-apiserver",
            "kube-apiserver.yml",
            "apiserver.yaml",
            "kube-proxy.yaml",
            "kube-apiserver+patch.yaml",
            "kube-apiserver/../x.yaml",
            "kube-apiserver.1.yaml",
        ] {
            assert!(patch(bad).is_some(), "{bad}");
        }
    }
}

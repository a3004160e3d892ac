//! What kubeadm left of a cluster, changed from etcd to kine and back: `plain` is what kubeadm v1.34.4 wrote on a host. kubeadm itself is
//! asked for the same where there is one.

use std::fs;
use std::path::Path;
use std::process::Command;

use etcdless::cluster::migration::{Backend, configuration, manifest};
use serde_json::json;

use super::programs::{assert_ran, find, kubeadms, skipped};
use super::{cluster, kine_case};

const MANIFEST: &str = include_str!("plain/kube-apiserver.yaml");
const V1BETA4: &str = include_str!("plain/v1beta4.yaml");

/// What kubeadm of 1.30 keeps.
const V1BETA3: &str = "apiServer:
  certSANs:
  - api.example.com
  extraArgs:
    audit-log-path: /var/log/audit.log
    authorization-mode: Node,RBAC
  extraVolumes:
  - hostPath: /var/log
    mountPath: /var/log
    name: logs
  timeoutForControlPlane: 4m0s
apiVersion: kubeadm.k8s.io/v1beta3
certificatesDir: /etc/kubernetes/pki
clusterName: kubernetes
controllerManager: {}
dns: {}
etcd:
  local:
    dataDir: /var/lib/etcd
imageRepository: registry.k8s.io
kind: ClusterConfiguration
kubernetesVersion: v1.34.4
networking:
  dnsDomain: cluster.local
  serviceSubnet: 10.96.0.0/12
scheduler: {}
";

fn shards() -> Backend {
    Backend::kine(&cluster(
        json!({"shards": [{"name": "events", "resources": ["events"], "datastore": {"sqlite": {}}}]}),
    ))
}

fn unix() -> Backend {
    Backend::kine(&cluster(json!({})))
}

fn tcp() -> Backend {
    Backend::kine(&kine_case("staticPod", "tcp"))
}

/// The lines that are gone, and those that are new.
fn difference<'a>(before: &'a str, after: &'a str) -> (Vec<&'a str>, Vec<&'a str>) {
    let only = |one: &'a str, other: &str| {
        let mut others: Vec<&str> = other.lines().collect();
        let is_new = |line: &&str| match others.iter().position(|other| other == line) {
            Some(at) => {
                others.remove(at);
                false
            }
            None => true,
        };
        one.lines().filter(is_new).map(str::trim).collect::<Vec<_>>()
    };
    (only(before, after), only(after, before))
}

#[test]
fn only_what_names_the_store_is_changed_in_a_manifest() {
    let kine = manifest(MANIFEST, &unix()).unwrap();
    let (gone, new) = difference(MANIFEST, &kine);
    assert_eq!(
        gone,
        [
            "- --etcd-cafile=/etc/kubernetes/pki/etcd/ca.crt",
            "- --etcd-certfile=/etc/kubernetes/pki/apiserver-etcd-client.crt",
            "- --etcd-keyfile=/etc/kubernetes/pki/apiserver-etcd-client.key",
            "- --etcd-servers=https://127.0.0.1:2379",
        ]
    );
    assert_eq!(
        new,
        [
            "- --etcd-servers=unix:///run/etcdless/kine/main.sock",
            "- mountPath: /run/etcdless/kine",
            "name: etcdless-kine",
            "path: /run/etcdless/kine",
            "name: etcdless-kine",
            "- hostPath:",
            "type: DirectoryOrCreate",
        ]
    );
    for backend in [unix(), tcp(), shards()] {
        let kine = manifest(MANIFEST, &backend).unwrap();
        assert_eq!(manifest(&kine, &backend).unwrap(), kine);
        assert_eq!(manifest(&kine, &Backend::stacked_etcd()).unwrap(), MANIFEST);
    }
    assert_eq!(manifest(&manifest(MANIFEST, &tcp()).unwrap(), &unix()).unwrap(), kine);
}

#[test]
fn what_was_edited_by_hand_stays() {
    let edited = MANIFEST
        .replace(
            "    - --etcd-servers=https://127.0.0.1:2379\n",
            "    - --etcd-servers=https://10.0.0.1:2379,https://10.0.0.2:2379\n    - --v=2\n",
        )
        .replace(
            "    - kube-apiserver\n",
            "    - kube-apiserver\n    - --encryption-provider-config=/etc/kubernetes/enc/enc.yaml\n",
        )
        .replace(
            "    volumeMounts:\n",
            "    volumeMounts:\n    - mountPath: /etc/kubernetes/enc\n      name: enc\n      readOnly: true\n",
        )
        .replace("  volumes:\n", "  volumes:\n  - hostPath:\n      path: /etc/kubernetes/enc\n    name: enc\n");
    let kine = manifest(&edited, &unix()).unwrap();
    for line in
        ["- --v=2", "- --encryption-provider-config=/etc/kubernetes/enc/enc.yaml", "- mountPath: /etc/kubernetes/enc"]
    {
        assert!(kine.contains(line), "{line}");
    }
    assert_eq!(kine.matches("--etcd-servers").count(), 1);
    let back = manifest(&kine, &Backend::stacked_etcd()).unwrap();
    assert_eq!(back, edited.replace("https://10.0.0.1:2379,https://10.0.0.2:2379", "https://127.0.0.1:2379"));
}

#[test]
fn a_sidecar_goes_with_its_volumes() {
    let sidecar = MANIFEST
        .replace("  annotations:\n", "  annotations:\n    etcdless.dev/endpoint-revision: abcd\n")
        .replace("  hostNetwork: true\n", "  hostNetwork: true\n  initContainers:\n  - image: kine\n    name: kine\n    restartPolicy: Always\n    volumeMounts:\n    - mountPath: /data\n      name: kine-data\n    - mountPath: /etc/ssl/certs\n      name: ca-certs\n")
        .replace("  volumes:\n", "  volumes:\n  - hostPath:\n      path: /data\n      type: Directory\n    name: kine-data\n");
    assert!(sidecar.contains("name: kine-data") && sidecar.contains("initContainers"));
    assert_eq!(manifest(&sidecar, &Backend::stacked_etcd()).unwrap(), MANIFEST);
}

#[test]
fn what_cannot_be_changed_says_why() {
    let cases = [
        (MANIFEST.replace("--etcd-servers=", "--etcd-server="), "no container of it is told --etcd-servers"),
        (
            MANIFEST.replace("    - --etcd-servers=", "    - --etcd-prefix=/other\n    - --etcd-servers="),
            "its keys are below /other, and not below /registry",
        ),
        (
            MANIFEST.replace("--etcd-cafile=/etc", "--etcd-cafile\n    - /etc"),
            "write --etcd-cafile and its value as one word, with = between",
        ),
        ("kind: ConfigMap".into(), "it is no Pod"),
    ];
    for (text, why) in cases {
        assert_eq!(manifest(&text, &unix()).unwrap_err(), why);
    }
    assert_eq!(configuration("kind: Pod", &unix()).unwrap_err(), "it is no ClusterConfiguration");
}

#[test]
fn a_configuration_names_the_store() {
    let kine = configuration(V1BETA4, &unix()).unwrap();
    let (gone, new) = difference(V1BETA4, &kine);
    assert_eq!(gone, ["apiServer: {}", "local:", "dataDir: /var/lib/etcd", "imageTag: 3.6.5-0"]);
    let volume = [
        "- hostPath: /run/etcdless/kine",
        "mountPath: /run/etcdless/kine",
        "name: etcdless-kine",
        "pathType: DirectoryOrCreate",
    ];
    let external = [
        "external:",
        "caFile: ''",
        "certFile: ''",
        "endpoints:",
        "- unix:///run/etcdless/kine/main.sock",
        "keyFile: ''",
    ];
    assert_eq!(new, [&["apiServer:", "extraVolumes:"][..], &volume, &external].concat());

    for text in [V1BETA3, V1BETA4] {
        for backend in [unix(), tcp(), shards()] {
            let kine = configuration(text, &backend).unwrap();
            assert_eq!(configuration(&kine, &backend).unwrap(), kine);
            let back = configuration(&kine, &Backend::stacked_etcd()).unwrap();
            assert_eq!(back, text.replace("    imageTag: 3.6.5-0\n", ""));
        }
    }
}

/// What kubeadm makes of a configuration.
fn rendered(kubeadm: &Path, configuration: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.yaml");
    let api = if configuration.contains("v1beta3") { "v1beta3" } else { "v1beta4" };
    let init = format!(
        "apiVersion: kubeadm.k8s.io/{api}\nkind: InitConfiguration\nlocalAPIEndpoint:\n  advertiseAddress: 10.0.0.11\n"
    );
    fs::write(&config, format!("{init}---\n{configuration}")).unwrap();
    let output = Command::new(kubeadm)
        .args(["init", "phase", "control-plane", "apiserver", "--dry-run", "--config"])
        .arg(&config)
        .env("KUBEADM_INIT_DRYRUN_DIR", folder.path())
        .output()
        .unwrap();
    assert_ran(&output, configuration);
    fs::read_to_string(find(folder.path(), "kube-apiserver.yaml").unwrap()).unwrap()
}

/// `kubeadm upgrade` makes of the changed configuration what was made of the manifest here.
#[test]
fn kubeadm_makes_the_same_manifest() {
    let kubeadms: Vec<_> = kubeadms().into_iter().filter(|(_, version)| version.minor() == 34).collect();
    if kubeadms.is_empty() {
        skipped("kubeadm's own manifest", "ETCDLESS_KUBEADM names no kubeadm v1.34 and the lab has built none");
    }
    for (kubeadm, text) in kubeadms.iter().flat_map(|(kubeadm, _)| [V1BETA3, V1BETA4].map(|text| (kubeadm, text))) {
        let etcd = rendered(kubeadm, text);
        for backend in [unix(), tcp(), shards()] {
            let changed = configuration(text, &backend).unwrap();
            assert_eq!(rendered(kubeadm, &changed), manifest(&etcd, &backend).unwrap());
            let back = configuration(&changed, &Backend::stacked_etcd()).unwrap();
            assert_eq!(rendered(kubeadm, &back), etcd);
        }
    }
}

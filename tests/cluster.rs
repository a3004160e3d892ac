//! What Kubernetes is given, as golden files in tests/cluster, and checked by the real kubeadm where there is one.
//!
//! `cargo insta review`, or INSTA_UPDATE=always, takes over a change that is meant.
#![expect(clippy::unwrap_used)]

#[path = "cluster/migration.rs"]
mod migration;
#[path = "cluster/programs.rs"]
mod programs;

use etcdless::artifact::catalogue::catalogue;
use etcdless::assets::Assets;
use etcdless::cluster::kine::{self, Process, sidecar, static_pod, systemd};
use etcdless::cluster::node::Node;
use etcdless::cluster::{kubeadm, network};
use etcdless::config::credentials::Credentials;
use etcdless::config::{Cluster, Role};
use etcdless::datastore::{Store, Stores};
use etcdless::op::File;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

const PLACEMENTS: [&str; 3] = ["staticPod", "systemd", "sidecar"];
const LISTENERS: [&str; 2] = ["unix", "tcp"];

/// A cluster of one machine with these fields of `spec` besides.
fn cluster(spec: Value) -> Cluster {
    let mut document = json!({
        "apiVersion": "etcdless.dev/v1alpha1",
        "kind": "Cluster",
        "metadata": {"name": "demo"},
        "spec": {"hosts": [{"name": "cp1", "address": "10.0.0.11"}]},
    });
    document["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    serde_json::from_value(document).unwrap()
}

fn node() -> Node {
    Node {
        label: "cp1".into(),
        name: "cp1".into(),
        address: [10, 0, 0, 11].into(),
        arch: "amd64",
        role: Role::ControlPlane,
        schedulable: true,
        cgroup_v1: false,
        conntrack_writable: true,
        restrict_oom_score: false,
    }
}

fn assets() -> Assets {
    Assets::load(None).unwrap()
}

fn golden(name: &str, text: &str) {
    insta::with_settings!({
        snapshot_path => "cluster",
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, { insta::assert_snapshot!(name, text) });
}

/// Every document for `kubeadm init` that has a golden file.
fn init_cases() -> Vec<(&'static str, Cluster, Node)> {
    let closed = Node { schedulable: false, ..node() };
    let odd = Node { cgroup_v1: true, conntrack_writable: false, ..node() };
    let tcp = json!({"kine": {"listen": "tcp"}});
    let flat = json!({"kubernetes": {"imageRepository": "img.example.com/system"}});
    let old = json!({"kubernetes": {"version": "v1.30.14"}});
    let reached_by_name = json!({"hosts": [{"name": "cp1", "address": "cp1.example.com"}]});
    let overlays = json!({
        "kubeadm": {
            "init": {"nodeRegistration": {"taints": null}, "skipPhases": ["addon/kube-proxy"]},
            "cluster": {
                "apiServer": {"certSANs": ["only.example.com"], "extraArgs": [{"name": "profiling", "value": "no"}]},
                "networking": {"dnsDomain": null},
            },
            "kubelet": {"maxPods": 250, "imageGCHighThresholdPercent": 90},
            "kubeProxy": {"mode": "nftables"},
        },
    });
    let choices = json!({
        "kubernetes": {
            "podSubnet": "fd00:1::/56", "serviceSubnet": "fd00:2::/112", "dnsDomain": "on", "proxyMode": "ipvs", "swap": "keep",
        },
        "kubeadm": {"patches": {"kube-scheduler.yaml": "metadata: {labels: {a: b}}\n"}},
    });
    vec![
        ("init-unix-schedulable", cluster(json!({})), node()),
        ("init-unix", cluster(json!({})), closed.clone()),
        ("init-tcp-schedulable", cluster(tcp.clone()), node()),
        ("init-tcp", cluster(tcp), closed.clone()),
        ("init-flat-repository", cluster(flat), node()),
        ("init-v1beta3", cluster(old.clone()), node()),
        ("init-v1beta3-quirks", cluster(old), Node { schedulable: false, ..odd.clone() }),
        ("init-quirks", cluster(json!({})), odd),
        ("init-sidecar", cluster(json!({"kine": {"placement": "sidecar"}})), node()),
        ("init-reached-by-name", cluster(reached_by_name), node()),
        ("init-choices", cluster(choices), Node { address: "fd00::11".parse().unwrap(), ..node() }),
        ("init-overlays", cluster(overlays), closed),
    ]
}

#[test]
fn documents_for_init() {
    for (name, cluster, node) in init_cases() {
        golden(name, &kubeadm::init_document(&cluster, &node, &assets()).unwrap());
    }
}

/// The four documents of a text, by kind.
fn documents(text: &str) -> std::collections::BTreeMap<String, Value> {
    let parse = |document: &str| serde_yaml::from_str::<Value>(document).unwrap();
    text.split("---\n").map(parse).map(|document| (document["kind"].as_str().unwrap().to_owned(), document)).collect()
}

#[test]
fn overlays_change_what_they_name_and_nothing_else() {
    let closed = Node { schedulable: false, ..node() };
    let plain = documents(&kubeadm::init_document(&cluster(json!({})), &closed, &assets()).unwrap());
    let overlay = json!({"kubeadm": {"kubelet": {"maxPods": 250}, "cluster": {"networking": {"dnsDomain": "yes"}}}});
    let text = kubeadm::init_document(&cluster(overlay), &closed, &assets()).unwrap();
    let mut expected = plain;
    expected.get_mut("KubeletConfiguration").unwrap()["maxPods"] = json!(250);
    expected.get_mut("ClusterConfiguration").unwrap()["networking"]["dnsDomain"] = json!("yes");
    assert_eq!(documents(&text), expected);
    // go-yaml reads a bare yes as true.
    assert!(text.contains("dnsDomain: \"yes\"") || text.contains("dnsDomain: 'yes'"), "{text}");
}

#[test]
fn patches_of_the_user_are_placed_under_their_names() {
    let patched = cluster(json!({"kubeadm": {"patches": {"kube-scheduler.yaml": "a: 1\n"}}}));
    let files = kubeadm::patch_files(&patched, &assets()).unwrap();
    let listing = listing(&files);
    assert!(listing.contains("--- /etc/etcdless/kubeadm/patches/kube-scheduler.yaml 0644\na: 1\n"), "{listing}");
    assert!(listing.contains("kube-scheduler-etcdless+strategic.yaml 0644"), "{listing}");
    let wrong = cluster(json!({"kubeadm": {"patches": {"scheduler.yaml": "a: 1\n"}}}));
    let failure = kubeadm::patch_files(&wrong, &assets()).unwrap_err();
    assert_eq!(failure.message, "spec.kubeadm.patches: kubeadm would not read a patch named `scheduler.yaml`");
}

#[test]
fn coredns_is_patched_where_kubeadm_knows_how() {
    for (version, known) in [("v1.31.0", false), ("v1.32.0", true), ("v1.36.0", true)] {
        let cluster = cluster(json!({"kubernetes": {"version": version}}));
        let listing = listing(&kubeadm::patch_files(&cluster, &assets()).unwrap());
        assert_eq!(listing.contains("corednsdeployment-etcdless+strategic.yaml 0644"), known, "{version}: {listing}");
    }
}

/// Files as one text; secrets keep their content to themselves.
fn listing(files: &[File]) -> String {
    let one = |file: &File| {
        let content = if file.secret { "(secret)\n" } else { file.content.expose_secret() };
        format!("--- {} {:04o}\n{content}", file.path, file.mode)
    };
    files.iter().map(one).collect()
}

/// What each kine of a cluster is told, with words where secrets would be.
fn stores(cluster: &Cluster) -> Stores {
    Stores::of(cluster, &Credentials::placeholders(cluster)).unwrap()
}

/// The kine of `main`.
fn process(cluster: &Cluster) -> Process {
    kine::processes(cluster, &stores(cluster)).remove(0)
}

fn kine_case(placement: &str, listen: &str) -> Cluster {
    cluster(json!({"kine": {"placement": placement, "listen": listen}}))
}

#[test]
fn kine_in_every_placement() {
    for placement in PLACEMENTS {
        for listen in LISTENERS {
            let cluster = kine_case(placement, listen);
            let files = kine::files(&cluster, &stores(&cluster), &assets()).unwrap();
            golden(&format!("kine-{placement}-{listen}"), &listing(&files));
        }
    }
}

#[test]
fn folders_of_every_placement() {
    let folders = |placement: &str, listen: &str| -> Vec<String> {
        let cluster = kine_case(placement, listen);
        let folders = kine::directories(&cluster, &stores(&cluster));
        folders.iter().map(|(path, mode)| format!("{path} {mode:04o}")).collect()
    };
    let always =
        ["/etc/etcdless 0755", "/etc/etcdless/kine 0700", "/var/lib/etcdless 0755", "/var/lib/etcdless/kine 0700"];
    for placement in PLACEMENTS {
        for listen in LISTENERS {
            assert_eq!(folders(placement, listen)[..4], always, "{placement} {listen}");
        }
    }
    assert_eq!(folders("systemd", "unix")[4..], ["/run/etcdless 0755", "/run/etcdless/kine 0700"]);
    assert_eq!(folders("staticPod", "tcp")[4..], ["/etc/etcdless/kine/pki 0700", "/etc/kubernetes/manifests 0700"]);
}

/// The endpoint is in the secret file alone, and its own text there is what kine must be told.
#[test]
fn the_endpoint_is_in_no_manifest_unit_or_patch() {
    let password = "p%40ss\"w$o'rd";
    for placement in PLACEMENTS {
        for listen in LISTENERS {
            let cluster = kine_case(placement, listen);
            let files = kine::files(&cluster, &stores(&cluster), &assets()).unwrap();
            let (secret, open): (Vec<&File>, Vec<&File>) = files.iter().partition(|file| file.secret);
            assert_eq!(secret.len(), 1, "{placement} {listen}");
            assert_eq!(secret[0].mode, 0o600);
            assert!(secret[0].content.expose_secret().contains("sqlite:///var/lib/etcdless/kine/main.db?"));
            assert!(open.iter().all(|file| !file.content.expose_secret().contains("sqlite:")), "{placement} {listen}");

            let process =
                Process { store: Store::of(format!("postgres://kine:{password}@db/kine")), ..process(&cluster) };
            let texts = [
                static_pod::manifest(&process, &assets()).unwrap(),
                sidecar::patch(std::slice::from_ref(&process), &assets()).unwrap(),
                systemd::unit(&process, &assets()).unwrap(),
                format!("{process:?}"),
            ];
            for text in texts {
                assert!(!text.contains("postgres") && !text.contains("p%40ss"), "{text}");
            }
        }
    }
}

#[test]
fn another_endpoint_is_another_revision_of_a_sidecar() {
    let with = |endpoint: &str| Process { store: Store::of(endpoint.to_owned()), ..process(&cluster(json!({}))) };
    let patch = |endpoint: &str| sidecar::patch(&[with(endpoint)], &assets()).unwrap();
    assert_eq!(patch("a"), patch("a"));
    assert_ne!(patch("a"), patch("b"));
    // A Pod of its own stays, and kine in it is ended instead.
    let manifest = |endpoint: &str| static_pod::manifest(&with(endpoint), &assets()).unwrap();
    assert_eq!(manifest("a"), manifest("b"));
}

/// Only the placement may differ between kine in a Pod of its own and in the API server's.
#[test]
fn both_pods_run_the_same_container() {
    for listen in LISTENERS {
        let process = process(&kine_case("staticPod", listen));
        let pod: Value = serde_yaml::from_str(&static_pod::manifest(&process, &assets()).unwrap()).unwrap();
        let mut patch: Value =
            serde_yaml::from_str(&sidecar::patch(std::slice::from_ref(&process), &assets()).unwrap()).unwrap();
        let sidecar = patch["spec"]["initContainers"][0].as_object_mut().unwrap();
        assert_eq!(sidecar.remove("restartPolicy").unwrap(), "Always");
        assert_eq!(patch["spec"]["initContainers"], pod["spec"]["containers"]);
        assert_eq!(patch["spec"]["volumes"], pod["spec"]["volumes"]);
    }
}

#[test]
fn a_sidecar_needs_kubernetes_1_29() {
    let files = |version: &str, placement: &str| {
        let spec = json!({"kubernetes": {"version": version}, "kine": {"placement": placement}});
        let cluster = cluster(spec);
        kine::files(&cluster, &stores(&cluster), &assets())
    };
    let failure = files("v1.28.15", "sidecar").unwrap_err();
    assert_eq!(failure.message, "Kubernetes v1.28.15 has no sidecar containers: they are on from v1.29");
    assert!(files("v1.29.0", "sidecar").is_ok());
    assert!(files("v1.28.15", "systemd").is_ok());
}

/// Events, leases and Pods in stores of their own, beside everything else.
#[test]
fn shards_have_a_kine_of_their_own() {
    let server = |database: &str| json!({"postgres": {"external": {"address": "db", "database": database, "user": "kine", "tls": {"ca": "ca.pem"}}}});
    for placement in PLACEMENTS {
        let cluster = cluster(json!({
            "kine": {"placement": placement},
            "datastore": server("main"),
            "shards": [
                {"name": "events", "resources": ["events"], "datastore": {"sqlite": {}}},
                {"name": "leases", "resources": ["coordination.k8s.io/leases", "pods"], "datastore": server("leases")},
            ],
        }));
        golden(&format!("shards-{placement}"), &listing(&kine::files(&cluster, &stores(&cluster), &assets()).unwrap()));
        assert_eq!(
            kine::overrides(&cluster).unwrap(),
            "/events#unix:///run/etcdless/kine/events.sock,coordination.k8s.io/leases#unix:///run/etcdless/kine/leases.sock,\
             /pods#unix:///run/etcdless/kine/leases.sock"
        );
        let document = kubeadm::init_document(&cluster, &node(), &assets()).unwrap();
        assert!(document.contains("name: etcd-servers-overrides"), "{document}");
    }
}

/// An image that the catalogue lacks would be pulled from the Internet, or not at all.
#[test]
fn every_image_is_in_the_catalogue() {
    for spec in [json!({}), json!({"kubernetes": {"imageRepository": "10.0.0.5:5000"}})] {
        let cluster = cluster(spec);
        let process = process(&cluster);
        let texts = [
            static_pod::manifest(&process, &assets()).unwrap(),
            network::manifest(&cluster, None, &assets()).unwrap().unwrap(),
        ];
        let catalogue = catalogue(&cluster, "amd64", Role::ControlPlane).images;
        let images: Vec<&str> =
            texts.iter().flat_map(|text| text.lines()).filter_map(|line| line.trim().strip_prefix("image: ")).collect();
        assert_eq!(images.len(), 3);
        for image in images {
            assert!(catalogue.iter().any(|known| known == image.trim_matches('"')), "{image} of {catalogue:?}");
        }
    }
}

#[test]
fn flannel() {
    golden("flannel", &network::manifest(&cluster(json!({})), None, &assets()).unwrap().unwrap());
    let six = cluster(json!({"kubernetes": {"podSubnet": "fd00:1::/56"}}));
    let text = network::manifest(&six, None, &assets()).unwrap().unwrap();
    let maps = text.split("---\n").map(|part| serde_yaml::from_str::<Value>(part).unwrap());
    let data = maps.into_iter().find(|part| part["kind"] == "ConfigMap").unwrap()["data"].clone();
    let net: Value = serde_json::from_str(data["net-conf.json"].as_str().unwrap()).unwrap();
    assert_eq!(
        net,
        json!({"EnableIPv4": false, "EnableIPv6": true, "IPv6Network": "fd00:1::/56", "Backend": {"Type": "vxlan"}})
    );
    let cni: Value = serde_json::from_str(data["cni-conf.json"].as_str().unwrap()).unwrap();
    assert_eq!(cni["cniVersion"], "0.3.1");
}

#[test]
fn networks_of_the_user() {
    let none = cluster(json!({"network": {"none": {}}}));
    assert_eq!(network::manifest(&none, None, &assets()).unwrap(), None);
    let own = cluster(json!({"network": {"manifest": "net.yaml"}}));
    assert_eq!(network::manifest(&own, Some("kind: X\n"), &assets()).unwrap().unwrap(), "kind: X\n");
    assert!(network::manifest(&own, None, &assets()).is_err());
}

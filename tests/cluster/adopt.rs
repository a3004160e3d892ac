//! The description of a cluster that etcdless did not build: `plain/seen.txt` is what one of kubeadm v1.34.4 told, two control planes with etcd and
//! a worker.

use etcdless::cluster::adopt::{Adopted, Operator, describe, seen};
use etcdless::config::{Address, load};

use super::golden;
use super::migration::V1BETA3;

const SEEN: &str = include_str!("plain/seen.txt");

fn adopted(text: &str) -> Adopted {
    let operator = Operator { address: Address::Ssh("cp1".into()), user: Some("root".into()) };
    let adopted = describe(&seen(text).unwrap(), &operator).unwrap();
    load::parse("cluster.yaml", &adopted.text).unwrap_or_else(|failure| panic!("{failure:?}\n{}", adopted.text));
    adopted
}

/// What was seen, with one line of it another one.
fn with(text: &str, name: &str, line: &str) -> String {
    let line_of =
        |old: &str| if old.starts_with(&format!("{name} ")) { format!("{name} {line}\n") } else { format!("{old}\n") };
    text.lines().map(line_of).collect()
}

fn configuration(text: &str) -> String {
    serde_json::json!({ "data": { "ClusterConfiguration": text } }).to_string()
}

/// One control plane of v1beta3, set up with care: flags, certificates' names, IPVS, encryption.
fn alone() -> String {
    let nodes = r#"{"items":[{"metadata":{"name":"e1","labels":{"node-role.kubernetes.io/control-plane":""}},
        "spec":{"taints":[{"key":"node-role.kubernetes.io/control-plane","effect":"NoSchedule"}]},
        "status":{"addresses":[{"type":"InternalIP","address":"10.80.0.11"}],"nodeInfo":{"kubeletVersion":"v1.30.1",
        "containerRuntimeVersion":"cri-o://1.30.0","operatingSystem":"linux"}}}]}"#;
    let text = with(SEEN, "kubeadm-config", &configuration(&V1BETA3.replace("v1.34.4", "v1.30.14")));
    let text = with(&text, "nodes", &nodes.replace('\n', ""));
    let proxy = r#"{"data":{"config.conf":"mode: ipvs\nipvs:\n  strictARP: true\n  scheduler: \"\"\n"}}"#;
    let text = with(&text, "kube-proxy", proxy);
    let flags = "\u{c}    - --encryption-provider-config=/etc/kubernetes/enc.yaml\u{c}    - --v=2\u{c}    - --allow";
    text.replacen("\u{c}    - --allow", flags, 1)
}

#[test]
fn clusters_are_described() {
    golden("adopt-ha", &adopted(SEEN).text);
    golden("adopt-alone", &adopted(&alone()).text);
}

#[test]
fn what_a_file_cannot_say_is_warned_of() {
    assert_eq!(adopted(SEEN).warnings, Vec::<String>::new());
    let etcd = "  local:\n    dataDir: /var/lib/etcd\n";
    let external = "  external:\n    caFile: /ca.crt\n    endpoints:\n    - https://10.0.0.5:2379\n";
    let config = |from: &str, to: &str| with(SEEN, "kubeadm-config", &configuration(&V1BETA3.replace(from, to)));
    let cases = [
        (config(etcd, external), "the state is in an etcd of its own, https://10.0.0.5:2379"),
        (config(etcd, "  external:\n    endpoints: [\"unix:///run/kine.sock\"]\n"), "unix:///run/kine.sock already"),
        (config("10.96.0.0/12", "10.96.0.0/12,fd00:1::/108"), "Services have addresses of 10.96.0.0/12,fd00:1::/108"),
        (config("x", "x"), "no range for Pods is known to kubeadm"),
        (config("clusterName: kubernetes", "clusterName: My_Cluster"), "the cluster is called My_Cluster"),
        (config("registry.k8s.io", "img.example.com/k8s"), "images come from img.example.com/k8s"),
        (alone(), "values are encrypted by /etc/kubernetes/enc.yaml"),
        (alone(), "the API server's manifest has --encryption-provider-config --v,"),
        (alone(), "e1 runs cri-o://1.30.0"),
        (alone(), "the kubelet of e1 is v1.30.1"),
        (SEEN.replace("kube-proxy {", "other {"), "there is no kube-proxy"),
        (
            SEEN.replace(":2379\u{c}", ":2379\u{c}    - --etcd-servers-overrides=/events#https://127.0.0.1:4379\u{c}"),
            "some resources have a store of their own",
        ),
    ];
    for (text, expected) in cases {
        let warnings = adopted(&text).warnings;
        assert!(warnings.iter().any(|warning| warning.contains(expected)), "{expected}: {warnings:?}");
    }
}

#[test]
fn what_is_no_such_cluster_says_so() {
    let why = "there is no ClusterConfiguration in kube-system/kubeadm-config: kubeadm did not make it";
    assert_eq!(seen(&SEEN.replace("kubeadm-config {", "other {")).unwrap_err(), why);
    assert!(seen("kubeadm-config x\n").unwrap_err().starts_with("kubeadm-config: "));
}

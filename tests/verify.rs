//! verify against a host that answers from files: what it asks, what it makes of the answers, and that its Pods are always removed.
#![expect(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use etcdless::assets::Assets;
use etcdless::cluster::node::Node;
use etcdless::config::{Cluster, Role};
use etcdless::facts::{Facts, Probes};
use etcdless::failure::{Failure, Kind};
use etcdless::phase::verify::{Report, verify};
use etcdless::remote::{Output, Query, Question, RemoteError};
use etcdless::render::render;
use serde_json::json;

/// Answers every question of verify. Looks are given one after another; the last one stays.
struct Host {
    looks: Vec<String>,
    kine: Option<(i32, &'static str)>,
    create: Vec<(i32, &'static str)>,
    logs: &'static str,
    /// The look at which the connection is lost.
    lost: usize,
    log: Mutex<Log>,
}

#[derive(Default)]
struct Log {
    looks: usize,
    created: Vec<String>,
    manifest: String,
    deleted: Vec<String>,
}

impl Host {
    fn new(looks: &[String]) -> Self {
        Self {
            looks: looks.to_vec(),
            kine: None,
            create: vec![(0, "")],
            logs: "",
            lost: usize::MAX,
            log: Mutex::default(),
        }
    }

    fn deleted(&self) -> Vec<String> {
        self.log.lock().unwrap().deleted.clone()
    }
}

impl Query for Host {
    async fn facts(&self, _: &Probes) -> Result<Facts, RemoteError> {
        unimplemented!()
    }

    async fn ask(&self, question: Question) -> Result<Output, RemoteError> {
        let mut log = self.log.lock().unwrap();
        let script = question.script;
        let (status, stdout, stderr) = if script.contains("etcdserverpb") {
            match self.kine {
                None => (0, kine_answer(&question.args), ""),
                Some((status, stderr)) => (status, String::new(), stderr),
            }
        } else if script.contains("/readyz?verbose") {
            log.looks += 1;
            if log.looks == self.lost {
                return Err(RemoteError::Lost { host: "cp1".into(), reason: "broken pipe".into() });
            }
            let look = &self.looks[(log.looks - 1).min(self.looks.len() - 1)];
            let namespace = log.created.last().map_or("none", String::as_str);
            (0, look.replace("NAMESPACE", namespace), "")
        } else if script.contains("create --validate=false") {
            let manifest = String::from_utf8(question.input).unwrap();
            let namespace = manifest.split("namespace: \"").nth(1).unwrap().split('"').next().unwrap();
            log.created.push(namespace.to_owned());
            log.manifest.clone_from(&manifest);
            let (status, stderr) = self.create[(log.created.len() - 1).min(self.create.len() - 1)];
            (status, String::new(), stderr)
        } else if script.contains("delete --raw") {
            log.deleted.extend(question.args);
            (0, String::new(), "")
        } else if script.contains("/log?tailLines") {
            (0, self.logs.to_owned(), "")
        } else {
            panic!("an unexpected question: {script}");
        };
        Ok(Output { status, stdout: stdout.into(), stderr: stderr.into() })
    }
}

/// What a kine that works answers: the value under the key, at revision 2.
fn kine_answer(args: &[String]) -> String {
    let value = args[2].as_bytes();
    let nonce = args[2].rsplit(' ').next().unwrap();
    let key = format!("/etcdless/probe/cp1/{nonce}");
    let field = |tag: u8, bytes: &[u8]| [&[tag, bytes.len() as u8], bytes].concat();
    let message = field(0x12, &[field(0x0a, key.as_bytes()), vec![0x18, 2], field(0x2a, value)].concat());
    let frame = [&[0, 0, 0, 0, message.len() as u8], &message[..]].concat();
    let hex: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("write 0.001 0.0035\nread 0.001 0.0015\nanswer {hex}\n")
}

fn file(name: &str) -> serde_json::Value {
    let text = std::fs::read_to_string(format!("{}/tests/verify/{name}.json", env!("CARGO_MANIFEST_DIR"))).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn look(readyz: (i32, &str), nodes: &str, pods: &str) -> String {
    look_at(readyz, &file(nodes), &file(pods))
}

/// kubectl prints what the API server sends: one line.
fn look_at((status, body): (i32, &str), nodes: &serde_json::Value, pods: &serde_json::Value) -> String {
    format!("== readyz {status}\n{body}\n\n== nodes 0\n{nodes}\n\n== pods 0\n{pods}\n\n")
}

const READY: (i32, &str) = (0, "[+]ping ok\n[+]etcd ok\nreadyz check passed\n");

fn cluster(spec: serde_json::Value) -> Cluster {
    let mut document = json!({
        "apiVersion": "etcdless.dev/v1alpha1", "kind": "Cluster", "metadata": { "name": "demo" },
        "spec": { "hosts": [{ "name": "cp1", "address": "10.0.0.11" }] },
    });
    document["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    serde_json::from_value(document).unwrap()
}

fn node() -> Node {
    Node {
        label: "cp1".into(),
        name: "cp1".into(),
        address: "10.0.0.11".parse().unwrap(),
        arch: "amd64",
        role: Role::ControlPlane,
        schedulable: true,
        cgroup_v1: false,
        conntrack_writable: true,
        restrict_oom_score: false,
    }
}

async fn run(host: &Host, spec: serde_json::Value, deadline: Duration) -> Result<Report, Failure> {
    let assets = Assets::load(None).unwrap();
    verify(host, &cluster(spec), &node(), &assets, &BTreeSet::new(), deadline, |_| {}).await
}

/// Two looks, since Pods that the first one lets us create are seen by the second, then the end.
async fn at_once(host: &Host, spec: serde_json::Value) -> Report {
    run(host, spec, Duration::from_millis(50)).await.unwrap()
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_worker_that_is_described_and_missing_is_named() {
    let host = Host::new(&[look((0, ""), "nodes-ready", "pods-done")]);
    let hosts =
        json!([{ "name": "cp1", "address": "10.0.0.11" }, { "name": "w1", "address": "10.0.0.21", "role": "worker" }]);
    let report = at_once(&host, json!({ "hosts": hosts })).await;
    let nodes = report.checks.iter().find(|item| item.name == "nodes").unwrap();
    assert_eq!(nodes.detail, "1 of 2 are there: w1 missing");
}

#[tokio::test]
async fn a_cluster_that_becomes_well_is_awaited_and_left_clean() {
    let host = Host::new(&[
        look(READY, "nodes-no-network", "pods-system"),
        look(READY, "nodes-ready", "pods-system"),
        look(READY, "nodes-ready", "pods-done"),
    ]);
    let report = run(&host, json!({}), LONG).await.unwrap();
    assert!(report.is_healthy());
    assert!(report.failure().is_none());
    insta::assert_snapshot!(report.table(), @r"
    CHECK        STATE   DETAIL
    kine         ok      keeps what is written; write 2.5 ms, read 0.5 ms
    readyz       ok      the API server is ready
    nodes        ok      1 of 1 Ready
    system-pods  ok      7 Ready, 2 restarts
    dns          ok      a Pod found the server of a probe in cluster.local
    service      ok      a Pod reached the Service at the address that DNS gave
    ");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["cluster"], "demo");
    assert_eq!(json["checks"][0]["name"], "kine");
    assert_eq!(json["checks"][0]["ok"], true);
    assert_eq!(json["checks"][0]["lookAt"], json!([]));

    let log = host.log.lock().unwrap();
    assert_eq!((log.looks, log.created.len()), (3, 1), "created once, when the node was Ready");
    // What an interrupted verify left goes too.
    assert_eq!(log.deleted, ["etcdless-verify-0badcafe", &log.created[0]]);
}

/// The nodes that a Pod of the probe may be on.
fn nodes_of(pod: &serde_json::Value) -> &serde_json::Value {
    let affinity = &pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    let expression = &affinity["nodeSelectorTerms"][0]["matchExpressions"][0];
    assert_eq!((&expression["key"], &expression["operator"]), (&json!("kubernetes.io/hostname"), &json!("In")));
    &expression["values"]
}

/// A host whose SSH hung half-way through its join joins by itself, at any moment. A Pod there would never be looked at.
#[tokio::test]
async fn the_probe_stays_on_nodes_that_are_not_passed_over() {
    let joined = look(READY, "nodes-two", "pods-done");
    let host = Host::new(&[look(READY, "nodes-ready", "pods-system"), joined]);
    let (assets, absent) = (Assets::load(None).unwrap(), BTreeSet::from(["w1".to_owned(), "w2".to_owned()]));
    let report = verify(&host, &cluster(json!({})), &node(), &assets, &absent, LONG, |_| {}).await.unwrap();
    assert!(report.is_healthy(), "{}", report.table());
    let log = host.log.lock().unwrap();
    let documents = log.manifest.split("\n---\n").map(|text| serde_yaml::from_str(text).unwrap());
    let pods: Vec<serde_json::Value> =
        documents.filter(|document: &serde_json::Value| document["kind"] == "Pod").collect();
    assert_eq!(pods.len(), 2);
    for pod in &pods {
        assert_eq!(nodes_of(pod), &json!(["cp1"]));
    }
}

/// Where its SSH alone hangs, all of DNS may be there: so it was, and verify waited for what was well.
#[tokio::test]
async fn dns_may_live_on_a_node_that_is_passed_over() {
    let moved = |pods: &str| {
        let mut list = file(pods);
        for pod in list["items"].as_array_mut().unwrap() {
            if pod["metadata"]["labels"]["k8s-app"] == "kube-dns" {
                pod["spec"]["nodeName"] = "w1".into();
            }
        }
        look_at(READY, &file("nodes-two"), &list)
    };
    let host = Host::new(&[look(READY, "nodes-ready", "pods-system"), moved("pods-done")]);
    let (assets, absent) = (Assets::load(None).unwrap(), BTreeSet::from(["w1".to_owned(), "w2".to_owned()]));
    let report = verify(&host, &cluster(json!({})), &node(), &assets, &absent, LONG, |_| {}).await.unwrap();
    assert!(report.is_healthy(), "{}", report.table());
}

/// Otherwise the client would wait for a second node that it may not be on.
#[tokio::test]
async fn the_probe_waits_until_all_nodes_are_there() {
    let host = Host::new(&[look(READY, "nodes-ready", "pods-system")]);
    let hosts =
        json!([{ "name": "cp1", "address": "10.0.0.11" }, { "name": "w1", "address": "10.0.0.21", "role": "worker" }]);
    at_once(&host, json!({ "hosts": hosts })).await;
    assert!(host.log.lock().unwrap().created.is_empty());
}

#[tokio::test]
async fn everything_that_is_unwell_is_told_with_what_to_look_at() {
    let refused = "Error from server (InternalError): an error on the server (\"[+]ping ok\\n[-]etcd failed: reason withheld\\n[+]log ok\\nreadyz check failed\") has prevented the request from succeeding";
    let host = Host {
        kine: Some((3, "kine at /run/etcdless/kine/main.sock does not answer after 0 s: there is no socket\n")),
        ..Host::new(&[look((1, refused), "nodes-two", "pods-unwell")])
    };
    let report = at_once(&host, json!({})).await;
    insta::assert_snapshot!(report.table(), @r"
    CHECK        STATE   DETAIL
    kine         failed  kine at /run/etcdless/kine/main.sock does not answer after 0 s: there is no socket
    readyz       failed  [-]etcd failed: reason withheld
    nodes        failed  w1 is not Ready: NodeStatusUnknown: Kubelet stopped posting node status.
                         w2 is not Ready: the kubelet has not reported yet
    system-pods  failed  kube-scheduler-cp1 has no Pod yet
                         kube-system/kine-cp1 on cp1 is Running: container kine of docker.io/rancher/kine:v0.16.4, 1 restart: OOMKilled with status 137
                         kube-system/coredns-66bc5c9577-abcde on cp1 is Pending: container coredns of registry.k8s.io/coredns/coredns:v1.12.1, 3 restarts: CrashLoopBackOff: back-off 40s restarting failed container
                         kube-system/coredns-66bc5c9577-fghij is Pending: Unschedulable: 0/1 nodes are available
                         kube-flannel/kube-flannel-ds-5kq8z on cp1 is Pending: container install-cni of ghcr.io/flannel-io/flannel-cni-plugin:v1.8.0: ImagePullBackOff: Back-off pulling image
    dns          failed  not checked yet: it needs a Pod, and not every node is there and Ready
    service      failed  not checked yet: it needs a Pod, and not every node is there and Ready
    ");
    let failure = report.failure().unwrap();
    assert_eq!(failure.kind, Kind::Unhealthy);
    assert_eq!(
        failure.message,
        "the cluster `demo` is not healthy after 1 s: kine: kine at /run/etcdless/kine/main.sock does not answer after 0 s: there is no socket"
    );
    assert_eq!(failure.details.len(), 6);
    assert_eq!(
        failure.hints,
        ["look at `tail /var/log/pods/kube-system_kine-cp1_*/kine/*.log` on cp1", "`etcdless verify` checks again"]
    );
    assert_eq!(host.deleted(), Vec::<String>::new());
}

#[tokio::test]
async fn a_node_that_evicts_pods_is_not_well() {
    let report = at_once(&Host::new(&[look(READY, "nodes-pressed", "pods-done")]), json!({})).await;
    let failure = report.failure().unwrap();
    let pressed = "cp1 has DiskPressure: KubeletHasDiskPressure: kubelet has disk pressure";
    assert!(failure.message.ends_with(&format!(" s: nodes: {pressed}")), "{}", failure.message);
}

#[tokio::test]
async fn an_api_server_that_is_down_says_so_once_for_each_question() {
    let refused = "The connection to the server api.demo.etcdless.internal:6443 was refused";
    let look = format!("== readyz 1\n{refused}\n\n== nodes 1\n{refused}\n\n== pods 1\n{refused}\n\n");
    let report = at_once(&Host::new(&[look]), json!({ "kine": { "placement": "systemd" } })).await;
    let failure = report.failure().unwrap();
    assert!(failure.message.ends_with(&format!(" s: readyz: {refused}")), "{}", failure.message);
    assert_eq!(failure.details[..3], ["readyz", "nodes", "system-pods"].map(|name| format!("{name}: {refused}")));
}

#[tokio::test]
async fn dns_and_service_fail_apart_from_each_other() {
    let asking = [look(READY, "nodes-ready", "pods-asking")];
    let cases = [
        (
            "dns: ;; connection timed out; no servers could be reached\n",
            "failed a Pod asks for a Service's name: ;; connection timed out; no servers could be reached",
            "failed a Pod asks a Service: no answer yet",
        ),
        (
            "dns: ;; connection timed out\ndns ok\nservice: wget: download timed out\n",
            "ok a Pod found the server of a probe in cluster.local",
            "failed a Pod asks a Service: wget: download timed out",
        ),
        (
            "dns ok\nservice ok\n",
            "ok a Pod found the server of a probe in cluster.local",
            "ok a Pod reached the Service at the address that DNS gave",
        ),
    ];
    for (logs, dns, service) in cases {
        let host = Host { logs, ..Host::new(&asking) };
        let report = at_once(&host, json!({})).await;
        let line = |index: usize| {
            let item = &report.checks[index];
            format!("{} {}", if item.ok { "ok" } else { "failed" }, item.detail)
        };
        assert_eq!((line(4).as_str(), line(5).as_str()), (dns, service), "{logs}");
        assert_eq!(host.deleted(), host.log.lock().unwrap().created);
    }
}

#[tokio::test]
async fn a_probe_pod_that_does_not_start_is_the_reason() {
    let host = Host::new(&[look(READY, "nodes-ready", "pods-client-waits")]);
    let report = at_once(&host, json!({})).await;
    let namespace = host.log.lock().unwrap().created[0].clone();
    let expected = format!(
        "a Pod asks for a Service's name: {namespace}/client on cp1 is Pending: container client of docker.io/rancher/kine:v0.16.4: ErrImagePull: no basic auth credentials"
    );
    assert_eq!(report.checks[4].detail, expected);
    assert_eq!(report.checks[4].look_at, ["kubectl -n kube-system logs -l k8s-app=kube-dns"]);
}

#[tokio::test]
async fn a_probe_that_is_refused_is_tried_again() {
    let down = (1, "Error from server (InternalError): error when creating \"STDIN\"\n");
    let half = (
        1,
        "Error from server (AlreadyExists): namespaces \"x\" already exists\nError from server (AlreadyExists): pods \"server\" already exists\n",
    );
    let host = Host { create: vec![down, half], ..Host::new(&[look(READY, "nodes-ready", "pods-done")]) };
    assert!(run(&host, json!({}), LONG).await.unwrap().is_healthy());
    assert_eq!(host.log.lock().unwrap().created.len(), 2);

    let host = Host { create: vec![down], ..Host::new(&[look(READY, "nodes-ready", "pods-system")]) };
    let report = at_once(&host, json!({})).await;
    let expected =
        "the Pods that would check it were refused: Error from server (InternalError): error when creating \"STDIN\"";
    assert_eq!(report.checks[4].detail, expected);
    assert_eq!(host.deleted().len(), 1, "half of it may be there");
}

#[tokio::test]
async fn a_cluster_without_a_network_waits_for_one() {
    let host = Host::new(&[look(READY, "nodes-no-network", "pods-no-network")]);
    let report = at_once(&host, json!({ "network": { "none": {} } })).await;
    assert!(report.is_healthy(), "{}", report.table());
    assert_eq!(report.checks[2].detail, "wait for a Pod network, since network is none");
    assert_eq!(report.checks[4].detail, "not checked: there is no Pod network, since network is none");
    // The same look is not well where flannel should be.
    assert!(!at_once(&host, json!({})).await.is_healthy());
}

#[tokio::test]
async fn what_was_not_deployed_is_not_missed() {
    let host = Host::new(&[look(READY, "nodes-ready", "pods-done")]);
    let spec = json!({ "kine": { "placement": "sidecar" }, "network": { "manifest": "calico.yaml" } });
    assert!(at_once(&host, spec).await.is_healthy());
    let disabled = json!({ "kubeadm": { "cluster": { "dns": { "disabled": true }, "proxy": { "disabled": true } } } });
    let report = at_once(&Host::new(&[look(READY, "nodes-ready", "pods-unwell")]), disabled).await;
    assert!(!report.checks[3].detail.contains("kube-proxy"), "{}", report.checks[3].detail);
}

#[tokio::test]
async fn a_lost_connection_is_a_failure_and_the_probe_is_removed() {
    let host = Host { lost: 2, ..Host::new(&[look(READY, "nodes-ready", "pods-system")]) };
    let failure = run(&host, json!({}), LONG).await.unwrap_err();
    assert_eq!(failure.kind, Kind::Connection);
    assert_eq!(failure.message, "the cluster could not be verified: the connection to cp1 was lost: broken pipe");
    assert_eq!(host.deleted(), host.log.lock().unwrap().created);
}

#[test]
fn the_probe_is_a_manifest_that_no_value_breaks_out_of() {
    let assets = Assets::load(None).unwrap();
    let context = json!({ "namespace": "n\"\n- x", "image": "i: {{ x }}", "domain": "cluster.local", "apart": true, "among": ["n: 1", "w2"] });
    let text = render(&assets, "verify/probe.yaml.j2", &context).unwrap();
    let documents: Vec<serde_json::Value> =
        text.split("\n---\n").map(|document| serde_yaml::from_str(document).unwrap()).collect();
    let kinds: Vec<&str> = documents.iter().map(|document| document["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["Namespace", "ServiceAccount", "Service", "Pod", "Pod"]);
    assert_eq!(documents[0]["metadata"]["name"], "n\"\n- x");
    let client = &documents[4]["spec"]["containers"][0];
    assert_eq!(client["image"], "i: {{ x }}");
    assert_eq!(client["args"], json!(["server.n\"\n- x.svc.cluster.local"]));
    assert_eq!(nodes_of(&documents[4]), &json!(["n: 1", "w2"]));
}

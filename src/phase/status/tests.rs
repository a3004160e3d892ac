//! From what scripts print to rows and a verdict.
#![expect(clippy::unwrap_used, reason = "a test")]

use serde_json::{Value, json};

use super::look::Unit;
use super::*;
use crate::failure::Kind;

const NOW: i64 = 1_800_000_000;

fn cluster(spec: Value) -> Cluster {
    let mut spec = spec;
    spec["hosts"] = json!([
        { "name": "cp1", "address": "10.0.0.11", "user": "root" },
        { "name": "w1", "address": "10.0.0.21", "role": "worker" },
    ]);
    serde_json::from_value(json!({
        "apiVersion": "etcdless.dev/v1alpha1", "kind": "Cluster", "metadata": { "name": "demo" }, "spec": spec
    }))
    .unwrap()
}

fn node(name: &str, ready: &str) -> Value {
    let condition = json!({ "type": "Ready", "status": ready, "reason": "Because", "message": "of it" });
    json!({ "metadata": { "name": name }, "status": { "conditions": [condition] } })
}

fn control_plane(nodes: &[Value]) -> String {
    let nodes = json!({ "items": nodes });
    format!(
        "== host\ncp1\n{NOW}\n\
         == versions\nkubelet Kubernetes v1.34.4\ncontainerd containerd github.com/containerd/containerd/v2 v2.2.0 abc\n    image: \"docker.io/rancher/kine:v0.16.4\"\n    image: registry.k8s.io/kube-apiserver:v1.34.4\n\
         == units\nResult=success\nId=kubelet.service\nLoadState=loaded\nActiveState=active\nSubState=running\n\nResult=success\nId=containerd.service\nLoadState=loaded\nActiveState=active\nSubState=running\n\nId=etcdless-haproxy.service\nLoadState=not-found\nActiveState=inactive\nSubState=dead\n\
         == kine\n0::/kubepods.slice/x\n/bin/kine --listen-address=unix:///run/etcdless/kine/main.sock --compact-interval=0 \n\
         == endpoint\n10.0.0.11 api.demo.etcdless.internal # etcdless\n\
         == members\n== vip\n== addresses\n2: eth0    inet 10.0.0.11/24 brd 10.0.0.255 scope global eth0\n\
         == certificates\n\
         == readyz\n[+]ping ok\nreadyz check passed\n== readyz-status\n0\n\
         == nodes\n{nodes}\n\n== nodes-status\n0\n"
    )
}

fn worker() -> String {
    format!(
        "== host\nw1\n{NOW}\n== versions\nkubelet Kubernetes v1.34.4\ncontainerd containerd containerd.io 1.6.20~ds1 abc\n\
         == units\nId=kubelet.service\nLoadState=loaded\nActiveState=active\nSubState=running\nResult=success\n\nId=containerd.service\nLoadState=loaded\nActiveState=active\nSubState=running\nResult=success\n\
         == kine\n== endpoint\n10.0.0.11 api.demo.etcdless.internal\n"
    )
}

/// A report of one text a host; an empty one stands for a host that does not answer.
fn report(cluster: &Cluster, texts: &[String]) -> Report {
    let place = |(config, text): (_, &String)| Place {
        config,
        look: match text.as_str() {
            "" => Err("No route to host".into()),
            text => Ok(Look::parse(text, &cluster.api_name())),
        },
        lock: None,
        drift: Told::Told(Vec::new()),
    };
    let hosts = cluster.spec.hosts.iter().zip(texts).map(place).collect();
    judge(&Seen { cluster, hosts, stores: Told::Told(Vec::new()), again: "etcdless init -c c.yaml".into() })
}

/// What is not well: `HOST NAME: DETAIL`, warnings marked.
fn found(report: &Report) -> Vec<String> {
    let of_hosts = report.hosts.iter().flat_map(|host| host.checks.iter().map(|check| (host.host.as_str(), check)));
    of_hosts
        .chain(report.checks.iter().map(|check| ("-", check)))
        .filter(|(_, check)| check.level > Level::Ok)
        .map(|(host, check)| {
            let mark = if check.level == Level::Warning { "?" } else { "" };
            format!("{mark}{host} {}: {}", check.name, check.detail)
        })
        .collect()
}

fn both() -> Vec<String> {
    vec![control_plane(&[node("cp1", "True"), node("w1", "True")]), worker()]
}

#[test]
fn all_is_well() {
    let cluster = cluster(json!({}));
    let report = report(&cluster, &both());
    assert_eq!(found(&report), [""; 0]);
    assert!(report.failure().is_none());
    assert_eq!(
        report.table(false),
        "HOST  ROLE           STATE  NODE   KUBELET  CONTAINERD   KINE                API            CERTIFICATES  DRIFT\n\
         cp1   control-plane  ok     Ready  v1.34.4  v2.2.0       v0.16.4 static Pod  v1.34.4 ready  -             none\n\
         w1    worker         ok     Ready  v1.34.4  v1.6.20~ds1  -                   -              -             none\n\n\
         STORE  STATE  DETAIL\n\n\
         ENDPOINT api.demo.etcdless.internal\n  10.0.0.11 on cp1, w1"
    );
    let painted = report.table(true);
    assert!(painted.contains("\u{1b}[32mok\u{1b}[0m"), "{painted:?}");
}

#[test]
fn what_does_not_do_its_work_is_named() {
    let plain = cluster(json!({}));
    let systemd = cluster(json!({ "kine": { "placement": "systemd" } }));
    let shards =
        cluster(json!({ "shards": [{ "name": "events", "resources": ["events"], "datastore": { "sqlite": {} } }] }));
    let no_network = cluster(json!({ "network": { "none": {} } }));
    let dead = "ActiveState=inactive\nSubState=dead";
    let running = "ActiveState=active\nSubState=running";
    let changed = |host: usize, from: &str, to: &str| {
        let mut texts = both();
        assert!(texts[host].contains(from), "{from}");
        texts[host] = texts[host].replacen(from, to, 1);
        texts
    };
    let nodes = |nodes: &[Value]| vec![control_plane(nodes), worker()];
    let gone = |host: usize| {
        let mut texts = both();
        texts[host].clear();
        texts
    };
    for (cluster, texts, expected) in [
        (&plain, changed(1, running, dead), vec!["w1 kubelet: it does not run: dead"]),
        (
            &plain,
            changed(
                0,
                &format!("Result=success\nId=kubelet.service\nLoadState=loaded\n{running}"),
                "Result=exit-code\nId=kubelet.service\nLoadState=loaded\nActiveState=activating\nSubState=auto-restart",
            ),
            vec!["cp1 kubelet: it does not run: auto-restart (exit-code)"],
        ),
        (&plain, changed(1, "LoadState=loaded", "LoadState=not-found"), vec!["w1 kubelet: it is not installed"]),
        (
            &plain,
            changed(0, "0::/kubepods.slice/x\n/bin/kine", "0::/user.slice\n/bin/kine"),
            vec!["cp1 kine: it does not run for main"],
        ),
        (&shards, both(), vec!["cp1 kine: it does not run for events"]),
        (
            &systemd,
            changed(0, "0::/kubepods.slice/x", "9:name=systemd:/system.slice/etcdless-kine-main.service"),
            vec![],
        ),
        (
            &plain,
            changed(
                0,
                "[+]ping ok\nreadyz check passed\n== readyz-status\n0",
                "Error from server (InternalError): \"[+]ping ok\\n[-]etcd failed: reason withheld\\nreadyz check failed\"\n== readyz-status\n1",
            ),
            vec!["cp1 api-server: [-]etcd failed: reason withheld"],
        ),
        (
            &plain,
            changed(
                0,
                "== readyz\n[+]ping ok\nreadyz check passed\n== readyz-status\n0\n== nodes\n",
                "== readyz\nThe connection to the server 127.0.0.1:6443 was refused\n== readyz-status\n1\n== nodes\nrefused\n\n== nodes-status\n1\n== cut\n",
            ),
            vec![
                "cp1 api-server: The connection to the server 127.0.0.1:6443 was refused",
                "- nodes: no control plane's API server tells of the nodes",
            ],
        ),
        (
            &plain,
            changed(1, "10.0.0.11 api", "10.0.0.11 other"),
            vec!["w1 endpoint: /etc/hosts does not know api.demo.etcdless.internal"],
        ),
        (
            &plain,
            changed(0, "== members\n", "== members\n    server cp1 10.0.0.11:6443 check\n"),
            vec!["cp1 haproxy: it does not run: "],
        ),
        (
            &plain,
            nodes(&[node("cp1", "True"), node("w1", "Unknown")]),
            vec!["w1 node: w1 is not Ready: Because: of it"],
        ),
        (
            &no_network,
            nodes(&[node("cp1", "True"), node("w1", "False")]),
            vec!["w1 node: w1 is not Ready: Because: of it"],
        ),
        (&plain, nodes(&[node("cp1", "True")]), vec!["w1 node: the cluster has no such node"]),
        (
            &plain,
            nodes(&[node("cp1", "True"), node("w1", "True"), node("w2", "True")]),
            vec!["?- nodes: not in the description: w2"],
        ),
        (&plain, gone(1), vec!["w1 host: unreachable: No route to host"]),
        (
            &plain,
            gone(0),
            vec![
                "cp1 host: unreachable: No route to host",
                "- nodes: no control plane's API server tells of the nodes",
            ],
        ),
    ] {
        let report = report(cluster, &texts);
        assert_eq!(found(&report), expected);
        let is_degraded = expected.iter().any(|line| !line.starts_with('?'));
        assert_eq!(
            report.failure().map(|failure| failure.kind),
            is_degraded.then_some(Kind::Unhealthy),
            "{expected:?}"
        );
    }
}

#[test]
fn a_failure_names_everything_and_what_to_do() {
    let cluster = cluster(json!({}));
    let mut texts = both();
    texts[0] = texts[0].replacen("ActiveState=active\nSubState=running", "ActiveState=failed\nSubState=failed", 1);
    texts[1].clear();
    let failure = report(&cluster, &texts).failure().unwrap();
    assert_eq!(failure.message, "the cluster `demo` is degraded: cp1: kubelet: it does not run: failed");
    assert_eq!(failure.details, ["cp1: kubelet: it does not run: failed", "w1: host: unreachable: No route to host"]);
    assert_eq!(
        failure.hints,
        [
            "cp1: `journalctl -u kubelet` says why, `systemctl start kubelet` starts it",
            "w1: see whether `ssh 10.0.0.21` works from here, and whether the machine is on",
            "`etcdless status` looks again and changes nothing",
        ]
    );
}

#[test]
fn what_differs_and_who_is_at_work_are_warnings() {
    let cluster = cluster(json!({}));
    let looks: Vec<Look> = both().iter().map(|text| Look::parse(text, &cluster.api_name())).collect();
    let changes = |count: usize| {
        let change = Change { step: "node/x".into(), title: "write x".into(), change: "content differs".into() };
        Told::Told(vec![change; count])
    };
    let place = |number: usize, drift| Place {
        config: &cluster.spec.hosts[number],
        look: Ok(looks[number].clone()),
        lock: (number == 1).then(|| "jo@desk pid 7".to_owned()),
        drift,
    };
    let stores = Told::Told(vec![
        Store { shard: "main".into(), detail: "SQLite".into(), wrong: Vec::new() },
        Store {
            shard: "events".into(),
            detail: "PostgreSQL 15".into(),
            wrong: vec!["it is full: why; fix: how".into()],
        },
    ]);
    let hosts = vec![place(0, changes(6)), place(1, Told::NotTold { not_told: "why".into() })];
    let report = judge(&Seen { cluster: &cluster, hosts, stores, again: "etcdless init -c c.yaml".into() });
    let write = "write x (content differs)";
    assert_eq!(
        found(&report),
        [
            format!("?cp1 drift: `init` would {write}, {write}, {write}, {write}, and 2 more"),
            "?w1 lock: held by jo@desk pid 7".into(),
            "- datastore: events: it is full: why; fix: how".into(),
        ]
    );
    let table = report.table(false);
    for line in [
        "cp1   control-plane  warning  Ready  v1.34.4  v2.2.0       v0.16.4 static Pod  v1.34.4 ready  -             6 changes",
        "w1    worker         warning  Ready  v1.34.4  v1.6.20~ds1  -                   -              -             ?",
        "main    ok        SQLite",
        "events  degraded  PostgreSQL 15",
        "warning: w1: lock: held by jo@desk pid 7\n  next: wait until that run is done; `etcdless unlock --force` ends it\nwhat differs from the description is not told: why",
    ] {
        assert!(table.contains(line), "{line}\n{table}");
    }
}

#[test]
fn a_host_without_a_name_is_known_by_its_own_or_its_address() {
    let mut unnamed = cluster(json!({}));
    unnamed.spec.hosts.iter_mut().for_each(|host| host.name = None);
    let mut gone = node("w1", "Unknown");
    gone["status"]["addresses"] = json!([{ "type": "InternalIP", "address": "10.0.0.21" }]);
    let report = report(&unnamed, &[control_plane(&[node("cp1", "True"), gone]), String::new()]);
    assert_eq!(
        found(&report),
        ["10.0.0.21 host: unreachable: No route to host", "10.0.0.21 node: w1 is not Ready: Because: of it",]
    );
}

#[test]
fn a_balanced_endpoint_is_told_with_its_members() {
    let cluster = cluster(json!({}));
    let balanced = |text: String| {
        text.replace("10.0.0.11 api.demo", "127.0.0.1 api.demo")
            .replace("== kine\n", "== members\n    server cp1 10.0.0.11:6443 check\n    server cp2 10.0.0.12:6443 check\n== vip\n  virtual_ipaddress {\n    10.0.0.10/24 dev eth0\n  }\n== kine\n")
            .replace("== units\n", "== units\nId=etcdless-haproxy.service\nLoadState=loaded\nActiveState=active\nSubState=running\n\nId=etcdless-keepalived.service\nLoadState=loaded\nActiveState=active\nSubState=running\n\n")
            .replace("inet 10.0.0.11/24", "inet 10.0.0.10/24")
    };
    let report = report(&cluster, &both().into_iter().map(balanced).collect::<Vec<_>>());
    assert_eq!(found(&report), [""; 0]);
    let table = report.table(false);
    assert!(
        table.ends_with(
            "ENDPOINT api.demo.etcdless.internal\n  127.0.0.1 on cp1, w1, balanced over cp1 10.0.0.11:6443, cp2 10.0.0.12:6443\n  10.0.0.10 is held by cp1"
        ),
        "{table}"
    );
}

#[test]
fn a_host_that_says_nothing_is_read_all_the_same() {
    assert_eq!(Look::parse("", "api.demo.etcdless.internal"), Look::default());
    let look = Look::parse("== units\nId=kubelet.service\nLoadState=loaded\n== nodes\n{\"items\": [", "api");
    assert_eq!(look.units["kubelet.service"], Unit::default());
    assert_eq!(look.nodes, Some(Err("{\"items\": [".into())));
}

//! A cluster on kine becomes one on kubeadm's own etcd, on real hosts: `ETCDLESS_KINE_HOSTS` names its one control plane and a worker, both fresh
//! (`tests/lab/byhand`), as `root@ADDRESS,root@ADDRESS`, and `ETCDLESS_IDENTITY` the key. The worker is made a second member.

use std::collections::BTreeMap;
use std::time::Duration;

use etcdless::cluster::etcd::{self, Member};
use etcdless::cluster::kine::probe::{self, Endpoint};
use etcdless::cluster::migration::{self, Backend};
use etcdless::config;
use etcdless::datastore::copy::delta::{self, Delta};
use etcdless::datastore::copy::digest::Digest;
use etcdless::datastore::copy::etcd::{Etcd, SHORTEST_LEASE};
use etcdless::datastore::copy::{Change, Row};
use etcdless::datastore::explore::{self, foreign};
use etcdless::remote::{Connect, Host, Query, Question};

const IMAGE: &str = "registry.k8s.io/etcd:3.6.5-0";

/// How far above.
const ABOVE: u64 = 1_000_000;

async fn connect(target: &str, identity: &str) -> Host {
    let (user, address) = target.split_once('@').unwrap();
    let mut host = config::Host::at(address.parse().unwrap(), Some(user.to_owned()));
    host.ssh.identity = Some(identity.into());
    Host::connect(&host, &Connect { accept_new: true, ..Connect::default() }).await.unwrap()
}

async fn sh(host: &Host, script: &'static str, input: &str) -> String {
    let deadline = Duration::from_secs(180);
    let question = Question { script, args: Vec::new(), input: input.as_bytes().to_vec(), deadline };
    let output = host.ask(question).await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(output.status, 0, "{script}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// Whatever lasts of what happened.
fn apply(rows: &mut BTreeMap<String, Row>, changes: &[Change]) {
    for change in changes {
        match change {
            Change::Put(row) if row.key == "/registry/health" => {}
            Change::Put(row) if row.lease == 0 || row.lease >= SHORTEST_LEASE => {
                drop(rows.insert(row.key.clone(), row.clone()))
            }
            Change::Put(Row { key, .. }) | Change::Deleted { key, .. } => drop(rows.remove(key)),
        }
    }
}

/// All that the store of an API server holds, and its revision.
async fn content(host: &Host, manifest: &str) -> (u64, BTreeMap<String, Row>) {
    let places = foreign::places(manifest).unwrap();
    let mut store = places[0].open(host, 60).await.unwrap();
    let (mut keys, mut rows) = (Vec::new(), BTreeMap::new());
    store.keys(explore::ROOT, |page| keys.extend(page)).await.unwrap();
    for explore::Entry { key, .. } in keys.into_iter().filter(|entry| entry.key != "/registry/health") {
        let version = store.at(&key, None).await.unwrap().unwrap();
        let row = Row { key: key.clone(), created: 0, revision: version.revision, lease: 0, value: version.value };
        rows.insert(key, row);
    }
    (store.snapshot.revision, rows)
}

async fn since(host: &Host, endpoint: &Endpoint, revision: u64) -> Vec<Change> {
    match delta::since(host, endpoint, revision, 60).await.unwrap() {
        Delta::Since(changes) => changes,
        compacted => panic!("{compacted:?}: the cluster is not fresh"),
    }
}

#[tokio::test]
async fn a_cluster_on_kine_becomes_one_on_etcd() {
    let (Ok(hosts), Ok(identity)) = (std::env::var("ETCDLESS_KINE_HOSTS"), std::env::var("ETCDLESS_IDENTITY")) else {
        eprintln!("skipped: set ETCDLESS_KINE_HOSTS and ETCDLESS_IDENTITY");
        return;
    };
    let (first, second) = hosts.split_once(',').unwrap();
    let (first, second) = (connect(first, &identity).await, connect(second, &identity).await);
    let mut members = Vec::new();
    for (host, target) in [&first, &second].into_iter().zip(hosts.split(',')) {
        let name = sh(host, "hostname", "").await.trim().to_owned();
        members.push(Member { name, address: target.split_once('@').unwrap().1.parse().unwrap() });
        sh(host, "export PATH=$PATH:/usr/local/bin; ctr -n k8s.io images pull --hosts-dir /etc/containerd/certs.d registry.k8s.io/etcd:3.6.5-0 >/dev/null", "").await;
    }

    // While the cluster runs: everything that there is, and the members' data.
    let began = std::time::Instant::now();
    let say = |what: &str| eprintln!("{:6.1} s  {what}", began.elapsed().as_secs_f64());
    let kine = Endpoint::Unix { socket: "/run/kine/kine.sock".into() };
    let server = sh(&first, "cat /etc/kubernetes/manifests/kube-apiserver.yaml", "").await;
    let (copied, mut rows) = content(&first, &server).await;
    let all: Vec<Change> = rows.values().cloned().map(Change::Put).collect();
    say("everything is read");
    let temporary = etcd::begin(&first, IMAGE, copied + ABOVE).await.unwrap();
    say("a temporary etcd runs");
    Etcd::open(&first, temporary, 60).await.unwrap().apply(&all).await.unwrap();
    say("it is filled");
    let size = etcd::end(&first).await.unwrap();
    etcd::carry(&first, &second, size).await.unwrap();
    say("its store is on both hosts");
    for (host, member) in [&first, &second].into_iter().zip(&members) {
        etcd::restore(host, IMAGE, member, &members).await.unwrap();
    }
    say("both have their data");
    let text = "kubectl --kubeconfig /etc/kubernetes/admin.conf -n kube-system get configmap kubeadm-config -o 'jsonpath={.data.ClusterConfiguration}'";
    let configuration = migration::configuration(&sh(&first, text, "").await, &Backend::stacked_etcd()).unwrap();
    let configs = [0, 1].map(|at| etcd::config(&configuration, &members[at]).unwrap());
    etcd::certificates(&first, &configs[0], true).await.unwrap();
    for name in etcd::AUTHORITY.map(|path| path.rsplit('/').next().unwrap()) {
        let (get, put) = match name {
            "ca.crt" => (
                "cat /etc/kubernetes/pki/etcd/ca.crt",
                "umask 077; mkdir -p /etc/kubernetes/pki/etcd; cat >/etc/kubernetes/pki/etcd/ca.crt",
            ),
            _ => ("cat /etc/kubernetes/pki/etcd/ca.key", "umask 077; cat >/etc/kubernetes/pki/etcd/ca.key"),
        };
        sh(&second, put, &sh(&first, get, "").await).await;
    }
    // A worker has no key of the cluster's authority, and kubeadm asks for one.
    let key = sh(&first, "cat /etc/kubernetes/pki/ca.key", "").await;
    sh(&second, "umask 077; cat >/etc/kubernetes/pki/ca.key", &key).await;
    etcd::certificates(&second, &configs[1], false).await.unwrap();
    let mut manifests = Vec::new();
    for (host, config) in [&first, &second].into_iter().zip(&configs) {
        manifests.push(etcd::manifest(host, config, &members).await.unwrap());
    }
    say("certificates and manifests are made");

    // API servers stand still from here on.
    sh(&first, "kubectl --kubeconfig /etc/kubernetes/admin.conf create configmap late --from-literal=a=1", "").await;
    let stopped = "mv /etc/kubernetes/manifests/kube-apiserver.yaml /root/; while pgrep -x kube-apiserver >/dev/null; do sleep 0.2; done";
    sh(&first, stopped, "").await;
    let frozen = std::time::Instant::now();
    let late = since(&first, &kine, copied).await;
    apply(&mut rows, &late);
    // kine's metrics are where etcd's would be.
    sh(&first, "mv /etc/kubernetes/manifests/kine.yaml /root/; while pgrep -x kine >/dev/null; do sleep 0.2; done", "")
        .await;
    for (host, manifest) in [&first, &second].into_iter().zip(&manifests) {
        sh(host, "mkdir -p /etc/kubernetes/manifests; cat >/etc/kubernetes/.etcd; mv /etc/kubernetes/.etcd /etc/kubernetes/manifests/etcd.yaml", manifest)
            .await;
    }
    let endpoint = etcd::endpoint();
    let mut tries = 120;
    while probe::count(&first, &endpoint).await.is_err() {
        tries -= 1;
        assert!(tries > 0, "etcd does not answer");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    eprintln!("frozen for {:.1} s until etcd answers", frozen.elapsed().as_secs_f64());
    Etcd::open(&first, endpoint.clone(), 60).await.unwrap().apply(&late).await.unwrap();
    eprintln!("frozen for {:.1} s, {} keys of {} changed", frozen.elapsed().as_secs_f64(), late.len(), rows.len());

    // What is there now is what was there, and newer than all that anybody has seen.
    let changed = migration::manifest(&server, &Backend::stacked_etcd()).unwrap();
    let digest = |rows: &BTreeMap<String, Row>| {
        let mut digest = Digest::default();
        rows.values().for_each(|row| digest.add(row));
        digest
    };
    for host in [&first, &second] {
        let (_, found) = content(host, &changed).await;
        assert_eq!(digest(&found), digest(&rows));
        let oldest = found.values().map(|row| row.revision).min().unwrap();
        assert!(oldest > copied + ABOVE, "the oldest is of revision {oldest}");
    }
    say("both members hold what kine held");

    // The cluster goes on.
    sh(&first, "umask 077; cat >/etc/kubernetes/.server; mv /etc/kubernetes/.server /etc/kubernetes/manifests/kube-apiserver.yaml", &changed).await;
    let up = "export KUBECONFIG=/etc/kubernetes/admin.conf; tries=300; until kubectl get --raw /readyz >/dev/null 2>&1; do tries=$((tries - 1)); [ $tries -gt 0 ] || exit 1; sleep 0.5; done";
    sh(&first, up, "").await;
    say("the API server is ready");
    let late =
        sh(&first, "kubectl --kubeconfig /etc/kubernetes/admin.conf get configmap late -o 'jsonpath={.data.a}'", "")
            .await;
    assert_eq!(late, "1");
    let configured = "export KUBECONFIG=/etc/kubernetes/admin.conf; kubectl create configmap kubeadm-config -n kube-system --from-file=ClusterConfiguration=/dev/stdin --dry-run=client -o yaml | kubectl apply -f - 2>/dev/null; kubeadm upgrade plan v1.34.5 2>&1";
    let plan = sh(&first, configured, &configuration).await;
    assert!(plan.contains("kube-apiserver"), "{plan}");
    assert!(plan.contains("etcd "), "{plan}");
}

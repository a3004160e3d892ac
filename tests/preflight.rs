//! Every preflight check: a host that fails it, with the exact text, and a host that passes.
#![expect(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use etcdless::config::{Cluster, Host};
use etcdless::facts::{Cgroup, Facts, FileFact, Os};
use etcdless::failure::{Failure, Kind};
use etcdless::journal::Journal;
use etcdless::phase::preflight::{self, CHECKS, Ignore, Warning};
use serde_json::json;

const RECORD: &str = "/etc/etcdless/cluster.yaml";

/// One host with its cluster, changed by a case.
struct World {
    document: serde_json::Value,
    facts: Facts,
    /// Of the hosts after the first, where they differ.
    others: Option<Facts>,
    need: BTreeMap<String, u64>,
}

impl World {
    /// A host that passes every check without a warning.
    fn fit() -> Self {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<BTreeSet<_>>();
        let facts = Facts {
            hostname: "cp1".into(),
            os: Os {
                id: "debian".into(),
                version: "12".into(),
                name: "Debian GNU/Linux 12 (bookworm)".into(),
                ..Os::default()
            },
            machine: "x86_64".into(),
            kernel: "6.1.0-28-amd64".into(),
            cpus: 2,
            memory_kib: 1700 * 1024,
            clock_offset_ms: -30_000,
            loadable_modules: true,
            features: words("overlay"),
            available_modules: words("br_netfilter"),
            addresses: vec!["10.0.0.11".parse().unwrap()],
            ssh_address: Some("10.0.0.11".parse().unwrap()),
            listeners: BTreeMap::from([(22, "sshd".into())]),
            free_bytes: BTreeMap::from([("/var/lib".into(), 4 << 30), ("/".into(), 1 << 30)]),
            tools: words("curl tar gzip systemctl sha256sum base64 timeout flock ip ss"),
            ..Facts::default()
        };
        let document = json!({
            "apiVersion": "etcdless.dev/v1alpha1", "kind": "Cluster", "metadata": { "name": "demo" },
            "spec": { "hosts": [{ "name": "cp1", "address": "10.0.0.11" }] },
        });
        Self {
            document,
            facts,
            others: None,
            need: BTreeMap::from([
                ("/var/lib/containerd".into(), 3 << 30),
                ("/var/lib/etcdless".into(), 1 << 30),
                ("/usr/local".into(), 1 << 30),
            ]),
        }
    }

    fn spec(&mut self, pointer: &str, value: serde_json::Value) {
        let mut at = &mut self.document["spec"];
        for key in pointer.split('.') {
            at = match key.parse::<usize>() {
                Ok(index) => &mut at[index],
                Err(_) => &mut at[key],
            };
        }
        *at = value;
    }

    fn worker(&mut self) {
        self.spec("hosts", json!([{ "name": "cp1", "address": "10.0.0.11", "role": "worker" }]));
    }

    /// A worker of an earlier cluster, beside a control plane that is up.
    fn stranger(&mut self) {
        let worker = json!({ "name": "w1", "address": "10.0.0.11", "role": "worker" });
        self.spec("hosts", json!([worker, { "name": "cp1", "address": "10.0.0.12" }]));
        let authority = |digest: &str| FileFact { sha256: Some(digest.into()), ..FileFact::default() };
        let mut others = self.facts.clone();
        others.addresses = vec!["10.0.0.12".parse().unwrap()];
        others.journal.steps.insert("control-plane/kubeadm".into(), "digest".into());
        others.files.insert("/etc/kubernetes/pki/ca.crt".into(), authority("a"));
        self.others = Some(others);
        self.done(&["join/joined"]);
        self.facts.files.insert("/etc/kubernetes/pki/ca.crt".into(), authority("b"));
    }

    /// The first host is for a database server.
    fn server(&mut self, engine: &str) {
        self.spec("datastore", json!({ engine: { "managed": { "host": "db" } } }));
        let server = json!({ "name": "db", "address": "10.0.0.11", "role": "datastore" });
        self.spec("hosts", json!([server, { "address": "10.0.0.12" }]));
    }

    fn done(&mut self, steps: &[&str]) {
        let steps = steps.iter().map(|step| ((*step).to_owned(), "digest".to_owned())).collect();
        self.facts.journal = Journal { steps, ..Journal::default() };
    }

    /// The host keeps the description as it is now.
    fn record(&mut self) {
        let cluster: Cluster = serde_json::from_value(self.document.clone()).unwrap();
        self.facts.texts.insert(RECORD.into(), serde_saphyr::to_string(&cluster).unwrap());
    }

    fn check(&self, ignore: &[&str]) -> Result<Vec<Warning>, Failure> {
        let cluster: Cluster = serde_json::from_value(self.document.clone()).unwrap();
        let hosts: Vec<(&Host, &Facts)> = cluster
            .spec
            .hosts
            .iter()
            .enumerate()
            .map(|(index, host)| (host, self.others.as_ref().filter(|_| index > 0).unwrap_or(&self.facts)))
            .collect();
        let ignore: Vec<String> = ignore.iter().map(|name| (*name).to_owned()).collect();
        let seen = if self.others.is_some() { hosts.len() } else { 1 };
        preflight::check(&cluster, &hosts[..seen], |_, _| self.need.clone(), &Ignore::parse(&ignore).unwrap())
    }

    /// All findings as one text a line.
    fn findings(&self) -> Vec<String> {
        match self.check(&[]) {
            Ok(warnings) => warnings.into_iter().map(|w| format!("[WARNING {}] {}", w.check, w.text)).collect(),
            Err(failure) => failure.details,
        }
    }
}

type Case = (fn(&mut World), &'static str);
type Fine = (&'static str, fn(&mut World));

#[rustfmt::skip]
const FAIL: &[Case] = &[
    (|w| w.facts.machine = "riscv64".into(),
     "[ERROR Architecture] cp1 has a processor of type riscv64: the releases of Kubernetes, containerd and kine that etcdless places are for x86_64 and aarch64; fix: use a machine of type x86_64 or aarch64"),
    (|w| w.facts.os = Os { id: "arch".into(), name: "Arch Linux".into(), ..Os::default() },
     "[ERROR OS] cp1 runs Arch Linux: no playbook describes it; fix: use Debian, Ubuntu, or a distribution of the RHEL and Fedora family"),
    (|w| w.facts.os = Os::default(),
     "[ERROR OS] cp1 runs an unknown distribution: no playbook describes it; fix: use Debian, Ubuntu, or a distribution of the RHEL and Fedora family"),
    (|w| w.facts.os = Os { id: "rocky".into(), like: vec!["rhel".into(), "centos".into()], name: "Rocky Linux 9".into(), ..Os::default() },
     "[WARNING OS] cp1 runs Rocky Linux 9: this family is described, but nobody has tested it; fix: use Debian or Ubuntu where it matters, and please tell how it went"),
    (|w| w.facts.kernel = "4.19.0-27-amd64".into(),
     "[WARNING SystemVerification] cp1 runs kernel 4.19.0-27-amd64: Kubernetes is tested with 5.4 and later; fix: install a later kernel and boot it"),
    (|w| { w.facts.cgroup = Cgroup::V1; w.spec("kubernetes", json!({ "version": "v1.36.0" })); },
     "[WARNING SystemVerification] cp1 runs cgroup v1: Kubernetes v1.36.0 wants cgroup v2; etcdless sets failCgroupV1: false, and a later release will not run; fix: boot with systemd.unified_cgroup_hierarchy=1"),
    (|w| w.facts.cpus = 1,
     "[ERROR NumCPU] cp1 has 1 CPU, kubeadm needs 2: the control plane and the Pods would wait for each other; fix: give the machine 2 CPUs"),
    (|w| w.facts.memory_kib = 1700 * 1024 - 1,
     "[ERROR Mem] cp1 has 1699 MB of memory, kubeadm needs 1700 MB: the kernel would end parts of the control plane; fix: give the machine 1700 MB of memory"),
    (|w| { w.facts.free_bytes.insert("/var/lib".into(), 1 << 30); },
     "[ERROR DiskSpace] cp1 has 1024 MiB free on /var/lib: what this run places in /var/lib/containerd, /var/lib/etcdless takes 4096 MiB; fix: free 3072 MiB or enlarge the file system of /var/lib"),
    (|w| { w.facts.total_bytes.insert("/var/lib".into(), 100 << 30); w.facts.free_bytes.insert("/var/lib".into(), 18 << 30); },
     "[ERROR DiskPressure] cp1 will have 14336 MiB of 102400 MiB free on /var/lib: below 15 % (imagefs.available of the kubelet) it evicts Pods, and the cluster does not come up; fix: free 1024 MiB there, or lower the threshold: kubeadm.kubelet.evictionHard in cluster.yaml"),
    (|w| w.facts.swaps = vec!["/dev/sda2".into(), "/swapfile".into()],
     "[ERROR Swap] cp1 has swap on: /dev/sda2, /swapfile: the kubelet does not start with swap on; fix: --set kubernetes.swap=off turns it off and keeps it off; --set kubernetes.swap=keep runs the kubelet with failSwapOn: false"),
    (|w| w.facts.fstab_swaps = vec!["/dev/sda2".into()],
     "[WARNING Swap] cp1 has swap that the next boot turns on: /dev/sda2: the kubelet would not start after it; fix: --set kubernetes.swap=off turns it off and keeps it off; --set kubernetes.swap=keep runs the kubelet with failSwapOn: false"),
    (|w| w.facts.clock_offset_ms = -90_500,
     "[ERROR ClockSkew] cp1 has a clock 90 s behind this machine's: certificates made now would be expired or not valid yet, and leases would not hold; fix: set both clocks, for example with `timedatectl set-ntp true`"),
    (|w| w.facts.clock_offset_ms = 31_000,
     "[ERROR ClockSkew] cp1 has a clock 31 s ahead of this machine's: certificates made now would be expired or not valid yet, and leases would not hold; fix: set both clocks, for example with `timedatectl set-ntp true`"),
    (|w| { w.spec("hosts", json!([{ "address": "10.0.0.11" }])); w.facts.hostname = "My_Host".into(); },
     "[ERROR Hostname] 10.0.0.11 is named `My_Host`, which is not a DNS label: the node's name in Kubernetes is 1 to 63 of a-z, 0-9 and `-`, starting and ending with a letter or digit; fix: `hostnamectl set-hostname NAME`, or give the host a `name` in cluster.yaml"),
    (|w| w.spec("hosts", json!([{ "name": "cp1", "address": "10.0.0.11", "nodeIP": "10.9.9.9" }])),
     "[ERROR NodeAddress] cp1 does not have the address 10.9.9.9 of hosts[].nodeIP: the kubelet takes only an address of its own machine, which are 10.0.0.11; fix: set hosts[].nodeIP in cluster.yaml to an address that other machines reach this one by"),
    (|w| w.facts.addresses.clear(),
     "[ERROR NodeAddress] cp1 has no address that it can be a node with: neither the address that SSH reached nor that of the default route is on an interface; its addresses are none; fix: set hosts[].nodeIP in cluster.yaml to an address that other machines reach this one by"),
    (|w| { let nat = "10.0.2.15".parse().unwrap(); w.facts.addresses = vec![nat]; w.facts.route_address = Some(nat); },
     "[WARNING NodeAddress] cp1 would be the node with address 10.0.2.15: this looks like an address behind NAT, which no other machine reaches; fix: set hosts[].nodeIP in cluster.yaml to an address that other machines reach this one by"),
    (|w| { w.facts.addresses = ["10.0.2.15", "192.168.56.11", "172.17.0.1"].map(|address| address.parse().unwrap()).into(); w.facts.route_address = Some("10.0.2.15".parse().unwrap()); },
     "[ERROR NodeAddress] cp1 has several addresses, and nothing tells which one other machines reach: SSH and the default route use NAT's 10.0.2.15, which every machine behind it has; its addresses are 10.0.2.15, 192.168.56.11, 172.17.0.1; fix: set hosts[].nodeIP in cluster.yaml to an address that other machines reach this one by"),
    (|w| w.facts.features.clear(),
     "[ERROR KernelFeature-overlay] cp1 has no kernel feature overlay: it is neither built in nor loaded, and no module of that name can be loaded; fix: install the modules of kernel 6.1.0-28-amd64 and see that `modprobe overlay` works"),
    (|w| w.facts.loadable_modules = false,
     "[ERROR KernelFeature-br_netfilter] cp1 has no kernel feature br_netfilter: it is neither built in nor loaded, and no module of that name can be loaded; fix: boot a kernel that has br_netfilter built in"),
    (|w| ipvs_without(w, "ip_vs"),
     "[ERROR KernelFeature-ip_vs] cp1 has no kernel feature ip_vs: it is neither built in nor loaded, and no module of that name can be loaded; fix: install the modules of kernel 6.1.0-28-amd64 and see that `modprobe ip_vs` works"),
    (|w| ipvs_without(w, "ip_vs_rr"),
     "[ERROR KernelFeature-ip_vs_rr] cp1 has no kernel feature ip_vs_rr: it is neither built in nor loaded, and no module of that name can be loaded; fix: install the modules of kernel 6.1.0-28-amd64 and see that `modprobe ip_vs_rr` works"),
    (|w| ipvs_without(w, "ip_vs_wrr"),
     "[ERROR KernelFeature-ip_vs_wrr] cp1 has no kernel feature ip_vs_wrr: it is neither built in nor loaded, and no module of that name can be loaded; fix: install the modules of kernel 6.1.0-28-amd64 and see that `modprobe ip_vs_wrr` works"),
    (|w| ipvs_without(w, "ip_vs_sh"),
     "[ERROR KernelFeature-ip_vs_sh] cp1 has no kernel feature ip_vs_sh: it is neither built in nor loaded, and no module of that name can be loaded; fix: install the modules of kernel 6.1.0-28-amd64 and see that `modprobe ip_vs_sh` works"),
    (|w| ipvs_without(w, "nf_conntrack"),
     "[ERROR KernelFeature-nf_conntrack] cp1 has no kernel feature nf_conntrack: it is neither built in nor loaded, and no module of that name can be loaded; fix: install the modules of kernel 6.1.0-28-amd64 and see that `modprobe nf_conntrack` works"),
    (|w| { w.facts.tools.remove("curl"); w.spec("artifacts", json!({ "delivery": "push" })); },
     "[ERROR FileExisting-curl] cp1 has no program `curl`: the run needs it on the host; fix: `apt-get install -y curl` on the host"),
    (|w| { w.facts.tools.remove("tar"); },
     "[ERROR FileExisting-tar] cp1 has no program `tar`: the run needs it on the host; fix: `apt-get install -y tar` on the host"),
    (|w| { w.facts.tools.remove("gzip"); },
     "[ERROR FileExisting-gzip] cp1 has no program `gzip`: the run needs it on the host; fix: `apt-get install -y gzip` on the host"),
    (|w| { w.facts.tools.remove("systemctl"); },
     "[ERROR FileExisting-systemctl] cp1 has no program `systemctl`: the run needs it on the host; fix: `apt-get install -y systemd` on the host"),
    (|w| { w.facts.tools.remove("sha256sum"); },
     "[ERROR FileExisting-sha256sum] cp1 has no program `sha256sum`: the run needs it on the host; fix: `apt-get install -y coreutils` on the host"),
    (|w| { w.facts.tools.remove("base64"); },
     "[ERROR FileExisting-base64] cp1 has no program `base64`: the run needs it on the host; fix: `apt-get install -y coreutils` on the host"),
    (|w| { w.facts.tools.remove("timeout"); },
     "[ERROR FileExisting-timeout] cp1 has no program `timeout`: the run needs it on the host; fix: `apt-get install -y coreutils` on the host"),
    (|w| { w.facts.tools.remove("flock"); },
     "[ERROR FileExisting-flock] cp1 has no program `flock`: the run needs it on the host; fix: `apt-get install -y util-linux` on the host"),
    (|w| { w.facts.tools.remove("ip"); },
     "[ERROR FileExisting-ip] cp1 has no program `ip`: the run needs it on the host; fix: `apt-get install -y iproute2` on the host"),
    (|w| { w.facts.tools.remove("ss"); },
     "[WARNING FileExisting-ss] cp1 has no program `ss`: whether another program holds a port that Kubernetes needs cannot be told; fix: `apt-get install -y iproute2` on the host"),
    (|w| w.facts.traces = BTreeSet::from(["/etc/kubernetes/admin.conf".into(), "/var/lib/etcd".into()]),
     "[ERROR ExistingCluster] cp1 has a cluster already, or leftovers of one: /etc/kubernetes/admin.conf, /var/lib/etcd: etcdless did not place them, or a `reset` was cut off; fix: go on with `etcdless reset`, or use a fresh machine; if it is another's and nothing of it is needed, take it apart with `kubeadm reset -f` and remove what is left: rm -r /etc/kubernetes/admin.conf /var/lib/etcd"),
    (|w| { w.done(&["node/x"]); w.facts.traces = BTreeSet::from(["/etc/kubernetes/admin.conf".into(), "/var/lib/etcd".into()]); },
     "[ERROR ExistingCluster] cp1 has a cluster already, or leftovers of one: /var/lib/etcd: etcdless did not place them, or a `reset` was cut off; fix: go on with `etcdless reset`, or use a fresh machine; if it is another's and nothing of it is needed, take it apart with `kubeadm reset -f` and remove what is left: rm -r /var/lib/etcd"),
    (|w| w.facts.traces = BTreeSet::from(["/var/lib/etcdless/kine/main.db".into()]),
     "[ERROR ExistingCluster] cp1 keeps the data of an earlier cluster: /var/lib/etcdless/kine/main.db: its keys and certificates are gone, and a new cluster does not go on with it; fix: put it aside with `etcdless reset --datastore rename`, or delete it with `--datastore drop`"),
    (|w| { w.done(&["control-plane/x"]); w.record(); w.document["metadata"]["name"] = json!("other"); w.spec("kubernetes", json!({ "dnsDomain": "other.local" })); },
     "[ERROR ExistingCluster] cp1 belongs to the cluster `demo`: /etc/etcdless/cluster.yaml says so, and this run builds `other`; fix: --name demo goes on with that cluster; if nothing of it is needed, take it apart with `etcdless reset`"),
    (|w| { w.done(&["control-plane/x"]); w.facts.texts.insert(RECORD.into(), "a: [".into()); },
     "[ERROR ExistingCluster] cp1 has a /etc/etcdless/cluster.yaml that cannot be read: which cluster the host belongs to is unknown (did not find expected node content at line 2 column 1, while parsing a flow node); fix: repair the file, or if nothing of that cluster is needed, take it apart with `etcdless reset`"),
    (|w| { w.stranger(); },
     "[ERROR ClusterAuthority] w1 has the certificates of another cluster: its /etc/kubernetes/pki/ca.crt is not that of cp1; fix: `etcdless reset` the host, and run this again"),
    (|w| { w.done(&["control-plane/x"]); w.facts.files.insert("/etc/kubernetes/manifests/etcd.yaml".into(), FileFact::default()); },
     "[ERROR FileAvailable--etc-kubernetes-manifests-etcd.yaml] cp1 runs etcd: /etc/kubernetes/manifests/etcd.yaml exists: it is the control plane of a kubeadm cluster on etcd; fix: use another machine; if nothing of it is needed, take it apart with `kubeadm reset -f` and remove what is left"),
    (|w| { w.done(&["kubelet/x"]); w.record(); w.spec("kubernetes", json!({ "version": "v1.36.0" })); },
     "[ERROR ImmutableFields] cp1 runs `demo` with kubernetes.version v1.34.4, and now it should be v1.36.0: init does not change this field of a cluster that exists: an upgrade replaces the control plane in an order of its own; fix: set kubernetes.version back to v1.34.4, or build a new cluster on another machine"),
    (|w| { w.spec("datastore", postgres("kine")); w.done(&["kine/x"]); w.record(); w.spec("datastore", postgres("other")); },
     "[ERROR ImmutableFields] cp1 runs `demo` with datastore postgres, database kine, and now it should be postgres, database other: init does not change this field of a cluster that exists: the cluster's state would stay in the old one; fix: set datastore back to postgres, database kine, or build a new cluster on another machine"),
    (|w| { w.done(&["kine/x"]); w.record(); w.spec("shards", json!([{ "name": "events", "resources": ["events"] }])); },
     "[ERROR ImmutableFields] cp1 runs `demo` with shards none, and now it should be events (events in sqlite): init does not change this field of a cluster that exists: what is in a store would stay there; fix: set shards back to none, or build a new cluster on another machine"),
    (|w| { w.spec("shards", json!([{ "name": "events", "resources": ["events"] }])); listen(w, 2382, "etcd"); },
     "[ERROR Ports-shards] cp1 has TCP port 2382 taken by etcd, and kine needs it: only one program can; fix: stop etcd, or let it listen elsewhere; `ss -ltnp sport = :2382` shows it"),
    (|w| { w.server("mariadb"); listen(w, 3306, "mysqld"); },
     "[ERROR Port-server] db has TCP port 3306 taken by mysqld: etcdless keeps a MariaDB of its own there, and touches no other; fix: use a fresh machine, or describe the server that is there under `external`"),
    (|w| { w.server("postgres"); w.done(&["datastore/x"]); w.record(); w.document["metadata"]["name"] = json!("other"); },
     "[ERROR ExistingCluster] db belongs to the cluster `demo`: /etc/etcdless/cluster.yaml says so, and this run builds `other`; fix: --name demo goes on with that cluster; if nothing of it is needed, take it apart with `etcdless reset`"),
    (|w| { w.done(&["kine/x"]); w.record(); w.spec("network", json!({ "none": {} })); },
     "[ERROR ImmutableFields] cp1 runs `demo` with network flannel, and now it should be none: init does not change this field of a cluster that exists: two networks would configure the same nodes; fix: set network back to flannel, or build a new cluster on another machine"),
    (|w| w.spec("kubernetes", json!({ "version": "v1.33.2" })),
     "[WARNING KubernetesVersion] cp1 is to run versions that were not tested: Kubernetes v1.33.2 is supported, but v1.33 is not among the tested minors (v1.30, v1.34, v1.36); fix: choose a version of v1.30, v1.34, v1.36"),
    (|w| w.spec("runtime", json!({ "install": "packages" })),
     "[WARNING ContainerdVersion] cp1 has containerd 1.6.20 in its packages: containerd 1.6.20 is untested with Kubernetes v1.34.4: containerd names 1.7.28, 2.0.6, 2.1.3 and later patches; fix: --set runtime.install=release takes containerd's own release"),
    (|w| { w.spec("runtime", json!({ "install": "packages" })); w.spec("kubernetes", json!({ "version": "v1.36.3" })); },
     "[ERROR ContainerdVersion] cp1 has containerd 1.6.20 in its packages: Kubernetes v1.36.3 needs containerd 2.2 or newer, and the packages have 1.6.20; fix: --set runtime.install=release takes containerd's own release"),
    (|w| { w.facts.packages = BTreeMap::from([("kubelet".into(), "1.30.1-1.1".into()), ("kubeadm".into(), "1.30.1-1.1".into())]); },
     "[ERROR KubeletVersion] cp1 has the packages kubelet 1.30.1-1.1, kubeadm 1.30.1-1.1: etcdless places v1.34.4 from its release, and two kubelets would share one unit; fix: `apt-get purge -y kubelet kubeadm` on the host"),
    (|w| listen(w, 6443, "nginx (pid 17)"),
     "[ERROR Port-6443] cp1 has TCP port 6443 taken by nginx (pid 17), and kube-apiserver needs it: only one program can; fix: stop nginx (pid 17), or let it listen elsewhere; `ss -ltnp sport = :6443` shows it"),
    (|w| listen(w, 6443, "kube-apiserver"),
     "[ERROR Port-6443] cp1 has TCP port 6443 taken by kube-apiserver, and kube-apiserver needs it: a cluster that etcdless did not build runs here; fix: stop kube-apiserver, or let it listen elsewhere; `ss -ltnp sport = :6443` shows it"),
    (|w| { w.spec("endpoint", json!({ "local": {} })); w.worker(); listen(w, 7443, "nginx"); },
     "[ERROR Port-7443] cp1 has TCP port 7443 taken by nginx, and haproxy needs it: only one program can; fix: stop nginx, or let it listen elsewhere; `ss -ltnp sport = :7443` shows it"),
    (|w| { w.worker(); listen(w, 10250, ""); },
     "[ERROR Port-10250] cp1 has TCP port 10250 taken by a program that ss does not name, and kubelet needs it: only one program can; fix: stop a program that ss does not name, or let it listen elsewhere; `ss -ltnp sport = :10250` shows it"),
    (|w| { w.done(&["kubelet/x"]); listen(w, 10257, "kubelet"); },
     "[ERROR Port-10257] cp1 has TCP port 10257 taken by kubelet, and kube-controller-manager needs it: only one program can; fix: stop kubelet, or let it listen elsewhere; `ss -ltnp sport = :10257` shows it"),
    (|w| listen(w, 10259, "python3"),
     "[ERROR Port-10259] cp1 has TCP port 10259 taken by python3, and kube-scheduler needs it: only one program can; fix: stop python3, or let it listen elsewhere; `ss -ltnp sport = :10259` shows it"),
    (|w| { w.spec("kine", json!({ "listen": "tcp" })); listen(w, 2379, "etcd"); },
     "[ERROR Port-2379] cp1 has TCP port 2379 taken by etcd, and kine needs it: only one program can; fix: stop etcd, or let it listen elsewhere; `ss -ltnp sport = :2379` shows it"),
    (|w| listen(w, 2381, "etcd"),
     "[ERROR Port-2381] cp1 has TCP port 2381 taken by etcd, and kine needs it: only one program can; fix: stop etcd, or let it listen elsewhere; `ss -ltnp sport = :2381` shows it"),
];

/// What looks like a case above and is none.
const PASS: &[Fine] = &[
    ("a small machine is enough for a database server", |w| {
        w.server("postgres");
        w.facts.cpus = 1;
        w.facts.memory_kib = 512 * 1024;
        w.facts.swaps = vec!["/dev/sdb1".into()];
    }),
    ("a database server of ours holds its port", |w| {
        w.server("postgres");
        w.done(&["datastore/x"]);
        w.record();
        listen(w, 5432, "postgres");
    }),
    ("a fit host", |_| {}),
    ("aarch64", |w| w.facts.machine = "aarch64".into()),
    ("Ubuntu", |w| w.facts.os = Os { id: "ubuntu".into(), like: vec!["debian".into()], ..Os::default() }),
    ("cgroup v1 before 1.35", |w| w.facts.cgroup = Cgroup::V1),
    ("a small worker", |w| {
        w.worker();
        w.facts.cpus = 1;
        w.facts.memory_kib = 900 << 10;
        listen(w, 6443, "haproxy");
    }),
    ("a worker without curl that is sent its files", |w| {
        w.worker();
        w.facts.tools.remove("curl");
        w.spec("artifacts", json!({ "delivery": "push" }));
    }),
    ("swap that is kept", |w| {
        w.facts.swaps = vec!["/dev/sda2".into()];
        w.spec("kubernetes", json!({ "swap": "keep" }));
    }),
    ("swap that is turned off", |w| {
        w.facts.swaps = vec!["/dev/sda2".into()];
        w.spec("kubernetes", json!({ "swap": "off" }));
    }),
    ("a full disk whose thresholds are the user's", |w| {
        w.facts.total_bytes.insert("/var/lib".into(), 100 << 30);
        w.spec("kubeadm", json!({ "kubelet": { "evictionHard": { "imagefs.available": "1Gi" } } }));
    }),
    ("30 s ahead", |w| w.facts.clock_offset_ms = 30_000),
    ("an odd hostname with a name of its own", |w| w.facts.hostname = "My_Host".into()),
    ("a NAT address that is meant", |w| {
        w.spec("hosts", json!([{ "name": "cp1", "address": "10.0.0.11", "nodeIP": "10.0.2.15" }]));
        w.facts.addresses.push("10.0.2.15".parse().unwrap());
    }),
    ("everything built in", |w| {
        w.facts.loadable_modules = false;
        w.facts.features.insert("br_netfilter".into());
    }),
    ("ipvs with its modules", |w| {
        ipvs_without(w, "nothing");
    }),
    ("a port of TCP kine while it listens on a socket", |w| listen(w, 2379, "etcd")),
    ("our own cluster, running", |w| {
        w.done(&["node/x", "kubelet/x", "control-plane/x"]);
        w.record();
        w.facts.traces = BTreeSet::from([
            "/etc/kubernetes/admin.conf".into(),
            "/var/lib/kubelet/config.yaml".into(),
            "/var/lib/etcdless/kine/main.db".into(),
        ]);
        let programs = [
            (6443, "kube-apiserver"),
            (10250, "kubelet (pid 7)"),
            (10257, "kube-controller"),
            (10259, "kube-scheduler"),
            (2381, "kine"),
        ];
        for (port, program) in programs {
            listen(w, port, program);
        }
    }),
    ("fields changed before anything was built", |w| {
        w.done(&["node/x"]);
        w.record();
        w.spec("kubernetes", json!({ "podSubnet": "10.1.0.0/16" }));
    }),
    ("a record that a later version wrote", |w| {
        w.done(&["control-plane/x"]);
        w.facts
            .texts
            .insert(RECORD.into(), "{ metadata: { name: demo }, spec: { kine: { pool: 8 } }, more: true }".into());
    }),
];

fn postgres(database: &str) -> serde_json::Value {
    json!({ "postgres": { "external": { "address": "db", "database": database, "user": "kine" } } })
}

fn listen(world: &mut World, port: u16, program: &str) {
    world.facts.listeners.insert(port, program.into());
}

fn ipvs_without(world: &mut World, name: &str) {
    world.spec("kubernetes", json!({ "proxyMode": "ipvs" }));
    let modules = ["ip_vs", "ip_vs_rr", "ip_vs_wrr", "ip_vs_sh", "nf_conntrack"];
    world.facts.available_modules.extend(modules.map(str::to_owned));
    world.facts.available_modules.remove(name);
}

#[test]
fn every_check_tells_what_why_and_the_fix() {
    for (change, expected) in FAIL {
        let mut world = World::fit();
        change(&mut world);
        assert_eq!(world.findings(), [*expected]);
    }
}

#[test]
fn what_is_fine_passes_in_silence() {
    for (name, change) in PASS {
        let mut world = World::fit();
        change(&mut world);
        assert_eq!(world.findings(), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn every_check_has_a_case_that_fails() {
    // Nodename needs two hosts, and Proxy is asked with the sources: both have tests of their own.
    let elsewhere = |name: &str| ["Nodename", "Proxy"].contains(&name);
    let covered = |name: &str| elsewhere(name) || FAIL.iter().any(|(_, text)| text.contains(&format!(" {name}] ")));
    let missing: Vec<&str> = CHECKS.iter().map(|check| check.name).filter(|name| !covered(name)).collect();
    assert_eq!(missing, Vec::<&str>::new());
}

#[test]
fn two_hosts_behind_one_nat_are_told_apart_or_refused() {
    let mut world = World::fit();
    world.spec("hosts", json!([{ "name": "cp1", "address": "a" }, { "name": "w1", "address": "b", "role": "worker" }]));
    let nat = "10.0.2.15".parse().unwrap();
    let behind = |own: &str| Facts {
        addresses: [nat].into_iter().chain(own.parse()).collect(),
        ssh_address: Some(nat),
        route_address: Some(nat),
        ..World::fit().facts
    };
    (world.facts, world.others) = (behind("192.168.56.11"), Some(behind("192.168.56.21")));
    assert_eq!(world.findings(), [""; 0]);
    (world.facts, world.others) = (behind(""), Some(behind("")));
    let told = |host: &str, other: &str| {
        format!(
            "[ERROR NodeAddress] {host} would be the node with address 10.0.2.15, as would {other}: no other machine could tell them apart; \
             behind NAT each may have the same address; \
             fix: set hosts[].nodeIP in cluster.yaml to an address that other machines reach this one by"
        )
    };
    assert_eq!(world.findings(), [told("cp1", "w1"), told("w1", "cp1")]);
}

#[test]
fn two_hosts_of_one_name_cannot_be_two_nodes() {
    let mut world = World::fit();
    world.spec("hosts", json!([{ "address": "10.0.0.11" }, { "address": "10.0.0.12", "role": "worker" }]));
    let cluster: Cluster = serde_json::from_value(world.document.clone()).unwrap();
    let mut other = world.facts.clone();
    other.addresses = vec!["10.0.0.12".parse().unwrap()];
    other.ssh_address = other.addresses.first().copied();
    let check = |other: &Facts| {
        let hosts = [(&cluster.spec.hosts[0], &world.facts), (&cluster.spec.hosts[1], other)];
        preflight::check(&cluster, &hosts, |_, _| world.need.clone(), &Ignore::default())
    };
    let failure = check(&other).unwrap_err();
    assert_eq!(failure.message, "2 preflight checks failed on 10.0.0.11, 10.0.0.12; nothing was changed");
    assert_eq!(
        failure.details,
        [
            "[ERROR Nodename] 10.0.0.11 would be node `cp1`, as would 10.0.0.12: two machines cannot be one node; fix: give each host a `name` of its own in cluster.yaml",
            "[ERROR Nodename] 10.0.0.12 would be node `cp1`, as would 10.0.0.11: two machines cannot be one node; fix: give each host a `name` of its own in cluster.yaml",
        ]
    );
    other.hostname = "w1".into();
    assert_eq!(check(&other).unwrap(), []);
}

#[test]
fn all_failures_are_told_at_once_and_may_be_ignored_by_name() {
    let mut world = World::fit();
    world.facts.cpus = 1;
    world.facts.memory_kib = 1 << 20;
    let failure = world.check(&[]).unwrap_err();
    assert_eq!(failure.kind, Kind::Preflight);
    assert_eq!(failure.message, "2 preflight checks failed on cp1; nothing was changed");
    assert_eq!(failure.details.len(), 2);
    assert_eq!(
        failure.hints,
        [
            "fix these and run the same command again",
            "to go on in spite of it: --ignore-preflight Mem --ignore-preflight NumCPU"
        ]
    );

    let failure = world.check(&["mem"]).unwrap_err();
    assert_eq!(failure.message, "1 preflight check failed on cp1; nothing was changed");

    let warnings = world.check(&["NUMCPU", "mem"]).unwrap();
    assert_eq!(warnings.iter().map(|w| (w.check, w.ignored)).collect::<Vec<_>>(), [("NumCPU", true), ("Mem", true)]);
    assert_eq!(world.check(&["all"]).unwrap(), warnings);
}

#[test]
fn what_no_run_could_survive_cannot_be_ignored() {
    let mut world = World::fit();
    world.facts.machine = "riscv64".into();
    let failure = world.check(&["all"]).unwrap_err();
    assert_eq!(failure.hints, ["fix these and run the same command again"]);
}

#[test]
fn names_that_do_not_exist_are_a_usage_error() {
    let parse = |names: &[&str]| Ignore::parse(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    let failure = parse(&["Swap", "NumCPUs"]).unwrap_err();
    assert_eq!(failure.kind, Kind::Usage);
    assert_eq!(failure.message, "--ignore-preflight NumCPUs: there is no such check");
    assert!(failure.hints[0].starts_with("the checks are Architecture, OS, "), "{}", failure.hints[0]);
    assert!(failure.hints[0].ends_with("DatastoreLatency, or all"), "{}", failure.hints[0]);
    assert_eq!(
        parse(&["all", "Swap"]).unwrap_err().message,
        "--ignore-preflight all stands for every check: give it alone"
    );
}

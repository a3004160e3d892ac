//! kine, the process that stands where etcd would: one typed description of it, and three ways to run it.
//!
//! The datastore's endpoint may hold a password. It is in one root-only file a shard and nowhere else: not in an argument, a Pod, a unit
//! or a patch.

pub mod probe;
pub mod sidecar;
pub mod static_pod;
pub mod systemd;

use secrecy::ExposeSecret;
use serde::Serialize;

use crate::artifact::catalogue::kine_image;
use crate::assets::Assets;
use crate::cluster::kubeadm;
use crate::config::{Cluster, Listen, MAIN, Placement};
use crate::datastore::{self, Store, Stores, sqlite};
use crate::failure::{Failure, Kind};
use crate::op::{File, certificates, sha256};

/// The folder of the sockets, one a shard. systemd-tmpfiles makes it at boot; it outlives every kine.
pub const SOCKETS: &str = "/run/etcdless/kine";

/// The folder of endpoint files; root's alone.
pub const CONFIG: &str = "/etc/etcdless/kine";

/// The folder of the certificates of `listen: tcp`.
pub const PKI: &str = "/etc/etcdless/kine/pki";

/// What systemd-tmpfiles reads.
pub const TMPFILES: &str = "/etc/tmpfiles.d/etcdless.conf";

/// The port of shard `main` under `listen: tcp`, on loopback.
const PORT: u16 = 2379;

/// The port of the first further shard under `listen: tcp`, on loopback; the others come after it.
const SHARD_PORT: u16 = 12379;

/// The first metrics port, on loopback; each further shard has the next one.
const METRICS_PORT: u16 = 2381;

/// One kine process.
#[derive(Debug, Clone)]
pub struct Process {
    /// Which store it serves: `main`, or the name of a shard.
    pub shard: String,
    /// Its image, as the kubelet pulls it.
    pub image: String,
    /// What the API server reaches it by.
    pub listener: Listener,
    /// What kine is told of its store.
    pub store: Store,
    /// Its metrics port on 127.0.0.1.
    pub metrics_port: u16,
}

/// What a kine process listens on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listener {
    /// A unix socket, by absolute path. kine makes it mode 0600.
    Socket(String),
    /// A port on 127.0.0.1, with mutual TLS.
    Tcp(u16),
}

/// The kine processes of a control plane, one a shard, `main` first.
pub fn processes(cluster: &Cluster, stores: &Stores) -> Vec<Process> {
    let process = |(((shard, store), listener), metrics_port): (((&str, &Store), Listener), u16)| Process {
        shard: shard.to_owned(),
        image: kine_image(cluster),
        listener,
        store: store.clone(),
        metrics_port,
    };
    stores.iter().zip(listeners(cluster)).zip(METRICS_PORT..).map(process).collect()
}

/// What the API server of a control plane reaches each kine by, `main` first.
pub fn listeners(cluster: &Cluster) -> Vec<Listener> {
    let ports = std::iter::once(PORT).chain(SHARD_PORT..);
    let listener = |((shard, _), port): ((&str, _), u16)| match cluster.spec.kine.listen {
        Listen::Unix => Listener::Socket(format!("{SOCKETS}/{shard}.sock")),
        Listen::Tcp => Listener::Tcp(port),
    };
    cluster.datastores().zip(ports).map(listener).collect()
}

/// The ports on loopback of all kines but that of `main`: metrics, and those of `listen: tcp`.
pub fn shard_ports(cluster: &Cluster) -> Vec<u16> {
    let listening = listeners(cluster).into_iter().skip(1).filter_map(|listener| match listener {
        Listener::Tcp(port) => Some(port),
        Listener::Socket(_) => None,
    });
    (METRICS_PORT..).skip(1).zip(&cluster.spec.shards).map(|(port, _)| port).chain(listening).collect()
}

/// What the API server reaches the kine of `main` by.
pub fn main_url(cluster: &Cluster) -> String {
    listeners(cluster).first().map(Listener::url).unwrap_or_default()
}

/// The value of the API server's `--etcd-servers-overrides`; none where there are no shards.
pub fn overrides(cluster: &Cluster) -> Option<String> {
    let shards = cluster.spec.shards.iter().zip(listeners(cluster).into_iter().skip(1));
    let all: Vec<String> = shards
        .flat_map(|(shard, listener)| {
            let url = listener.url();
            // The core group has no name, and the slash stays.
            let keyed = |name: &String| if name.contains('/') { name.clone() } else { format!("/{name}") };
            shard.resources.iter().map(move |name| format!("{}#{url}", keyed(name)))
        })
        .collect();
    (!all.is_empty()).then(|| all.join(","))
}

/// Every file that the placement needs on disk, except the certificates of `listen: tcp`, which are made when they are placed.
/// A sidecar's patch is among them; [`kubeadm::patch_files`] has the user's.
pub fn files(cluster: &Cluster, stores: &Stores, assets: &Assets) -> Result<Vec<File>, Failure> {
    let processes = processes(cluster, stores);
    let mut files: Vec<File> = (cluster.spec.kine.listen == Listen::Unix).then(tmpfiles).into_iter().collect();
    files.extend(processes.iter().flat_map(|process| process.store.files.clone()));
    match cluster.spec.kine.placement {
        Placement::Sidecar => files.extend(sidecar::files(cluster, &processes, assets)?),
        Placement::StaticPod => {
            for process in &processes {
                files.extend(static_pod::files(process, assets)?);
            }
        }
        Placement::Systemd => {
            for process in &processes {
                files.extend(systemd::files(process, assets)?);
            }
        }
    }
    Ok(files)
}

/// The folders that the placement needs, with their modes, parents first.
pub fn directories(cluster: &Cluster, stores: &Stores) -> Vec<(String, u32)> {
    let by_listener: &[_] = match cluster.spec.kine.listen {
        Listen::Unix => &[("/run/etcdless", 0o755), (SOCKETS, 0o700)],
        Listen::Tcp => &[(PKI, 0o700)],
    };
    let by_placement: &[_] = match cluster.spec.kine.placement {
        Placement::StaticPod => &[(static_pod::MANIFESTS, 0o700)],
        Placement::Sidecar => &[("/etc/etcdless/kubeadm", 0o755), (kubeadm::PATCHES, 0o755)],
        Placement::Systemd => &[],
    };
    let always = [("/etc/etcdless", 0o755), (CONFIG, 0o700), ("/var/lib/etcdless", 0o755), (sqlite::DIRECTORY, 0o700)];
    let with_files: Vec<&str> =
        stores.iter().filter(|(_, store)| !store.files.is_empty()).map(|(shard, _)| shard).collect();
    let by_store = (!with_files.is_empty()).then(|| datastore::FILES.to_owned());
    let by_store = by_store.into_iter().chain(with_files.into_iter().map(datastore::folder)).map(|path| (path, 0o700));
    let fixed = always.iter().chain(by_listener).chain(by_placement).map(|(path, mode)| ((*path).to_owned(), *mode));
    fixed.chain(by_store).collect()
}

impl Listener {
    /// What the API server, and a probe on the host, connects to.
    pub fn url(&self) -> String {
        match self {
            Self::Socket(path) => format!("unix://{path}"),
            Self::Tcp(port) => format!("https://127.0.0.1:{port}"),
        }
    }
}

impl Process {
    /// What a Pod of it is called: `kine`, or `kine-SHARD`.
    pub fn name(&self) -> String {
        match self.shard.as_str() {
            MAIN => "kine".into(),
            shard => format!("kine-{shard}"),
        }
    }

    /// The systemd unit.
    pub fn unit(&self) -> String {
        format!("etcdless-kine-{}.service", self.shard)
    }

    /// The file that holds the endpoint for a container: one line.
    pub fn endpoint_file(&self) -> String {
        format!("{CONFIG}/{}.endpoint", self.shard)
    }

    /// The file that holds the endpoint for systemd: `KINE_ENDPOINT="..."`.
    pub fn environment_file(&self) -> String {
        format!("{CONFIG}/{}.env", self.shard)
    }

    /// kine's flags, all but the endpoint, which only ever travels by its environment. Compaction is the API server's alone.
    pub fn flags(&self) -> Vec<String> {
        let address = match &self.listener {
            Listener::Socket(path) => format!("unix://{path}"),
            Listener::Tcp(port) => format!("127.0.0.1:{port}"),
        };
        let mut flags = vec![
            format!("--listen-address={address}"),
            format!("--metrics-bind-address=127.0.0.1:{}", self.metrics_port),
            "--compact-interval=0".into(),
        ];
        flags.extend(self.store.flags.iter().cloned());
        if let Listener::Tcp(_) = self.listener {
            flags.extend([
                format!("--server-cert-file={PKI}/server.crt"),
                format!("--server-key-file={PKI}/server.key"),
                format!("--trusted-ca-file={PKI}/ca.crt"),
                // The kubelet's probes speak plain HTTP to loopback.
                "--metrics-ignore-tls-config=true".into(),
            ]);
        }
        flags
    }

    /// Files that kine reads once, when it starts: after a change of one of them it must be restarted.
    pub fn watches(&self, placement: Placement) -> Vec<String> {
        let endpoint = match placement {
            Placement::Systemd => self.environment_file(),
            Placement::StaticPod | Placement::Sidecar => self.endpoint_file(),
        };
        let pki = match self.listener {
            Listener::Tcp(_) => certificates(PKI).to_vec(),
            Listener::Socket(_) => Vec::new(),
        };
        let files = self.store.files.iter().map(|file| file.path.clone());
        [endpoint].into_iter().chain(pki).chain(files).collect()
    }

    /// The endpoint, where it is one line of text; nothing else survives the way into kine's environment.
    fn endpoint_line(&self) -> Result<&str, Failure> {
        let endpoint = self.store.endpoint.expose_secret();
        if endpoint.is_empty() || endpoint.chars().any(char::is_control) {
            let message =
                format!("the datastore endpoint of shard {} is empty or holds control characters", self.shard);
            return Err(Failure::new(Kind::Config, message).hint("write it as one line"));
        }
        Ok(endpoint)
    }

    /// The endpoint for a container, as [`START`] reads it.
    fn endpoint_secret(&self) -> Result<File, Failure> {
        Ok(File::secret(self.endpoint_file(), 0o600, format!("{}\n", self.endpoint_line()?)))
    }
}

/// Changes with the endpoints and the certificates, so that the kubelet starts a sidecar anew. Pods can be read by more people than an
/// endpoint: 16 bits notice a change and are far too few to guess a password by.
fn revision(processes: &[Process]) -> String {
    let secret = |process: &Process| {
        let files = process.store.files.iter().map(File::sha256);
        [sha256(process.store.endpoint.expose_secret().as_bytes())].into_iter().chain(files).collect::<String>()
    };
    sha256(processes.iter().map(secret).collect::<String>().as_bytes()).chars().take(4).collect()
}

/// Starts kine with the endpoint from the file `$1` and the further arguments. Without an endpoint kine would open an empty SQLite store
/// of its own, so a missing or empty file ends it. There is no `$(...)` in it, which the kubelet would take for a variable of its own.
const START: &str = r#"umask 077; IFS= read -r KINE_ENDPOINT <"$1"; if [ -z "$KINE_ENDPOINT" ]; then echo "$1 holds no endpoint" >&2; exit 1; fi; export KINE_ENDPOINT; shift; exec /bin/kine "$@""#;

/// What a Pod's template may say.
#[derive(Serialize)]
struct Pod {
    containers: Vec<Container>,
    sockets: Option<&'static str>,
    pki: Option<&'static str>,
    data: &'static str,
    revision: String,
}

/// What a Pod's template may say about a container of kine.
#[derive(Serialize)]
struct Container {
    name: String,
    image: String,
    command: Vec<String>,
    args: Vec<String>,
    metrics_port: u16,
    endpoint_file: String,
    /// Certificates and keys for the server.
    files: Option<String>,
    /// The folder of the server's unix socket.
    server_socket: Option<String>,
}

impl Pod {
    fn of(processes: &[Process]) -> Self {
        let sockets = processes.iter().any(|process| matches!(process.listener, Listener::Socket(_)));
        Self {
            containers: processes.iter().map(Container::of).collect(),
            sockets: sockets.then_some(SOCKETS),
            pki: (!sockets).then_some(PKI),
            data: sqlite::DIRECTORY,
            revision: revision(processes),
        }
    }
}

impl Container {
    fn of(process: &Process) -> Self {
        let name = process.name();
        Self {
            image: process.image.clone(),
            command: vec!["/bin/sh".into(), "-c".into(), START.into(), name.clone(), process.endpoint_file()],
            name,
            args: process.flags(),
            metrics_port: process.metrics_port,
            endpoint_file: process.endpoint_file(),
            files: (!process.store.files.is_empty()).then(|| datastore::folder(&process.shard)),
            server_socket: process.store.socket_folder.clone(),
        }
    }
}

/// The sockets' folder after every boot. A unit's RuntimeDirectory would vanish with the unit and leave the API server with a dead mount.
fn tmpfiles() -> File {
    let text = format!("# Written by etcdless.\nd /run/etcdless 0755 root root -\nd {SOCKETS} 0700 root root -\n");
    File::new(TMPFILES, 0o644, text)
}

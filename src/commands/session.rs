//! What commands that talk to a host share: which cluster is meant, the connection, the terminal, Ctrl-C.

use std::collections::BTreeMap;
use std::future::Future;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::stream::{self, StreamExt};
use tokio_util::sync::CancellationToken;

use super::Ended;
use super::progress::Progress;
use crate::artifact::bundle::Bundles;
use crate::artifact::supply::Supply;
use crate::cli::{Description, Show, Target};
use crate::cluster::versions;
use crate::config::validate::{Rule, Violation};
use crate::config::{self, Address, Cluster, Host as HostConfig, load, set};
use crate::facts::{Facts, Probes};
use crate::failure::{Failure, Kind};
use crate::phase::control_plane::RECORD;
use crate::phase::{hooks, runner};
use crate::remote::{Connect, Host, Lock, Query, RemoteError};
use crate::ui::{Event, Ui};

/// What a description must hold to beyond its own rules: versions that are known not to work together, and phases that there are none of, are
/// refused.
pub(super) const RULES: &[Rule] = &[
    |cluster| {
        let refused = |finding: &versions::Finding| finding.severity == versions::Severity::Refuse;
        let findings = versions::check_pair(cluster).into_iter().filter(refused);
        findings.map(|finding| Violation::new(finding.path, finding.message).suggest(finding.suggestion)).collect()
    },
    hooks::check,
];

/// The cluster that flags and file amount to.
pub(super) fn describe(target: &Target, description: Option<&Description>) -> Result<Cluster, Failure> {
    let described = match &target.config {
        Some(path) => load::load_with(path, RULES)?,
        None => quick(target)?,
    };
    adjusted(&described, target, description)
}

/// A description with what flags say otherwise.
pub(super) fn adjusted(
    described: &Cluster,
    target: &Target,
    description: Option<&Description>,
) -> Result<Cluster, Failure> {
    let mut items = Vec::new();
    let mut field = |path: &str, value: &Option<String>| {
        if let Some(value) = value {
            items.push(format!("{path}={value}"));
        }
    };
    field("metadata.name", &target.name);
    if let Some(description) = description {
        field("kubernetes.version", &description.kubernetes_version);
        field("artifacts.mirror", &description.mirror);
        field("artifacts.registry", &description.registry);
        field("artifacts.delivery", &description.delivery);
        if let Some(engine) = &description.datastore {
            items.push(format!("datastore={{{engine}: {{}}}}"));
        }
    }
    items.extend(target.set.iter().cloned());
    let mut cluster = set::set_with(described, &items, RULES)?;
    if let Some(description) = description {
        bundles(&mut cluster, &description.bundle);
    }
    if let Some(identity) = &target.login.identity {
        for host in &mut cluster.spec.hosts {
            host.ssh.identity = Some(identity.clone());
        }
    }
    Ok(cluster)
}

/// Lets everything come from these bundles, where any are named: the first, and those that it is based on.
pub(super) fn bundles(cluster: &mut Cluster, paths: &[PathBuf]) {
    if let Some((first, others)) = paths.split_first() {
        let artifacts = &mut cluster.spec.artifacts;
        (artifacts.bundle, artifacts.bundle_base) = (Some(first.clone()), others.to_vec());
    }
}

/// Where that comes from which hosts lack. Of bundles, every byte is read before anything is touched.
pub(super) async fn supply(ui: &Ui, cluster: &Cluster) -> Result<Supply, Failure> {
    let artifacts = &cluster.spec.artifacts;
    let bundles: Vec<PathBuf> = artifacts.bundle.iter().chain(&artifacts.bundle_base).cloned().collect();
    match bundles.as_slice() {
        [] => Ok(Supply::Sources(artifacts.clone())),
        bundles => verified(ui, bundles).await.map(Supply::Bundles),
    }
}

/// Opens bundles, and reads every byte of them.
pub(super) async fn verified(ui: &Ui, paths: &[PathBuf]) -> Result<Bundles, Failure> {
    let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    let progress = Progress::start(ui, "bundle", "bundle/verify", format!("verify {}", names.join(" and ")));
    let (told, paths) = (progress.bytes(), paths.to_vec());
    // Where nobody waits any more, as after Ctrl-C, it ends: the program cannot before.
    let stop = CancellationToken::new();
    let _stopped = stop.clone().drop_guard();
    let read = tokio::task::spawn_blocking(move || {
        let bundles = Bundles::open(&paths)?;
        let told = |done, total| {
            told(done, total);
            if stop.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        bundles.verify(told).map(|()| bundles)
    });
    progress.end(read.await.unwrap_or_else(|error| Err(Failure::new(Kind::Internal, error.to_string()))))
}

/// The description of `[USER@]HOST` alone.
fn quick(target: &Target) -> Result<Cluster, Failure> {
    let text = target.host.as_deref().unwrap_or_default();
    let (user, address) = text.rsplit_once('@').map_or((None, text), |(user, address)| (Some(user), address));
    let address: Address = address.parse().map_err(|error| Failure::new(Kind::Usage, format!("{error}")))?;
    let name = target.name.as_deref().unwrap_or("etcdless");
    let name = name.parse().map_err(|error| Failure::new(Kind::Usage, format!("--name: {error}")))?;
    Ok(Cluster::of(name, vec![HostConfig::at(address, user.map(str::to_owned))]))
}

/// How many hosts are logged in to, and worked on, at once by commands that have no flag for it.
pub(super) const CONCURRENCY: usize = 10;

/// Connects to a host; an unknown key is shown and asked about, or accepted with `--yes`.
pub(super) async fn connect(ui: &Ui, target: &Target, host: &HostConfig) -> Result<Host, Failure> {
    let error = match attempt(target, host, target.login.yes).await {
        Ok(connected) => return Ok(connected),
        Err(error) => error,
    };
    meet(ui, target, host, error).await
}

/// Connects to many hosts, `concurrency` at a time: sshd refuses some of more than ten that have not logged in yet, and all may come through
/// one jump host. Questions about unknown keys come one after the other.
pub(super) async fn connect_all(
    ui: &Ui,
    target: &Target,
    hosts: &[&HostConfig],
    concurrency: usize,
) -> Vec<Result<Host, Failure>> {
    let attempts = stream::iter(hosts).map(|host| attempt(target, host, target.login.yes)).buffered(concurrency);
    let attempts: Vec<Result<Host, RemoteError>> = attempts.collect().await;
    let mut connected = Vec::new();
    for (host, attempt) in hosts.iter().zip(attempts) {
        connected.push(match attempt {
            Ok(host) => Ok(host),
            Err(error) => meet(ui, target, host, error).await,
        });
    }
    connected
}

async fn attempt(target: &Target, host: &HostConfig, accept_new: bool) -> Result<Host, RemoteError> {
    Host::connect(host, &options(target, accept_new)).await
}

/// After a first attempt that failed: where only the host's key is unknown, it is asked about.
async fn meet(ui: &Ui, target: &Target, host: &HostConfig, error: RemoteError) -> Result<Host, Failure> {
    if let RemoteError::HostKeyUnknown { fingerprint, .. } = &error {
        let question = format!("{} is not known yet. Its key is {fingerprint}. Trust it?", host.label());
        if ui.confirm(&question).await == Some(true) {
            return attempt(target, host, true).await.map_err(|error| unreachable(&error, host));
        }
    }
    Err(unreachable(&error, host))
}

/// The `ssh` of an operator who tries by hand what we tried.
fn by_hand(host: &HostConfig) -> String {
    let mut words = vec!["ssh".to_owned()];
    words.extend(host.ssh.port.map(|port| format!("-p {port}")));
    words.extend(host.ssh.jump.as_ref().map(|jump| format!("-J {jump}")));
    words.extend(host.ssh.identity.as_ref().map(|identity| format!("-i {}", identity.display())));
    words.push(match &host.user {
        Some(user) => format!("{user}@{}", host.address),
        None => host.address.to_string(),
    });
    words.join(" ")
}

/// How the flags say to connect.
pub(super) fn options(target: &Target, accept_new: bool) -> Connect {
    Connect { accept_new, config_file: target.login.ssh_config.clone(), ..Connect::default() }
}

/// Connects to the first control plane that answers. Those before it are warned of: a cluster of several goes on without one.
pub(super) async fn control_plane(ui: &Ui, target: &Target, cluster: &Cluster) -> Result<(Host, HostConfig), Failure> {
    let mut failures: Vec<(String, Failure)> = Vec::new();
    for config in cluster.spec.hosts.iter().filter(|host| host.role.is_control_plane()) {
        match connect(ui, target, config).await {
            Err(failure) => failures.push((config.label(), failure)),
            Ok(host) => {
                for (host, failure) in failures {
                    ui.emit(Event::Warning { host, text: failure.message });
                }
                return Ok((host, config.clone()));
            }
        }
    }
    let failed = failures.into_iter().map(|(_, failure)| failure);
    let together = failed.reduce(|first, other| first.detail(other.message));
    Err(together.unwrap_or_else(|| Failure::new(Kind::Config, "there is no control plane in the description")))
}

/// What an error at a host's door means to the user.
pub(super) fn unreachable(error: &RemoteError, host: &HostConfig) -> Failure {
    let failure = Failure::new(runner::kind(error), error.to_string());
    let ssh = by_hand(host);
    match error {
        RemoteError::Unreachable { .. } => failure.hint(format!("see whether `{ssh}` works from here")),
        RemoteError::Denied { .. } => {
            failure.hint(format!("see whether `{ssh}` works from here")).hint("another key: --identity FILE")
        }
        RemoteError::HostKeyUnknown { .. } => failure.hint("compare the fingerprint, then accept it with --yes"),
        RemoteError::HostKeyChanged { .. } => failure.hint(format!(
            "if the machine was installed anew, remove the old key with `ssh-keygen -R {}`; if not, someone may be in between",
            host.address
        )),
        RemoteError::NoSudo { user, .. } => failure.hint(format!(
            "log in as root, or let {user} use sudo without a password: echo '{user} ALL=(ALL) NOPASSWD:ALL' > /etc/sudoers.d/{user}"
        )),
        RemoteError::Locked { .. } => {
            failure.hint("wait until that run is done (--lock-timeout SECONDS does); `etcdless unlock` shows it, and --force ends it")
        }
        _ => failure,
    }
}

/// Runs a command's body under a terminal of its own. The first Ctrl-C during `apply` lets running steps finish.
pub(super) async fn under_ui<F, W>(show: Show, body: F) -> Result<(), Ended>
where
    F: FnOnce(Ui, Arc<Interrupt>) -> W,
    W: Future<Output = Result<(), Failure>>,
{
    shown(show, |ui| async move {
        let interrupt = Arc::new(Interrupt::default());
        tokio::select! {
            outcome = body(ui.clone(), interrupt.clone()) => outcome,
            failure = interrupt.wait(&ui) => Err(failure),
        }
    })
    .await
}

/// The same for a body that heeds signals by itself.
pub(super) async fn shown<F, W>(show: Show, body: F) -> Result<(), Ended>
where
    F: FnOnce(Ui) -> W,
    W: Future<Output = Result<(), Failure>>,
{
    let (ui, monitor) = Ui::start(show.output, show.verbose);
    let log = ui.log.clone();
    let outcome = body(ui.clone()).await;
    if let Err(failure) = &outcome {
        let (message, hints) = (failure.message.clone(), failure.hints.clone());
        ui.emit(Event::Failed { code: failure.kind as u8, message, hints });
    }
    drop(ui);
    monitor.finish().await;
    outcome.map_err(|failure| Ended { failure, log })
}

/// Ctrl-C and SIGTERM.
#[derive(Debug, Default)]
pub(super) struct Interrupt {
    /// Set while hosts are being changed.
    pub(super) applying: AtomicBool,
    /// Set once every change is made, and what is left only looks.
    pub(super) applied: AtomicBool,
    /// Set by the first signal while hosts are being changed.
    pub(super) stop: Arc<AtomicBool>,
}

impl Interrupt {
    /// Returns when the command must end now.
    async fn wait(&self, ui: &Ui) -> Failure {
        loop {
            signal().await;
            if self.applied.load(Ordering::Relaxed) {
                return Failure::new(
                    Kind::Interrupted,
                    "interrupted: every step is done, the cluster was not verified",
                )
                .hint("`etcdless verify` looks at it; the same command again finds nothing left to change");
            }
            if !self.applying.load(Ordering::Relaxed) {
                return Failure::new(Kind::Interrupted, "interrupted: nothing was changed");
            }
            if self.stop.swap(true, Ordering::Relaxed) {
                return Failure::new(Kind::Interrupted, "interrupted twice: running steps may still end on the host")
                    .hint("run the same command again to go on");
            }
            ui.note(None, "interrupted: waiting for running steps to finish (again to leave at once)");
        }
    }
}

/// Waits for SIGINT or SIGTERM. Where a handler cannot be set, the system's own default ends the program.
pub(super) async fn signal() {
    let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

/// A short random text that tells runs apart in journals, from the clock and the process.
pub(super) fn run_id() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("{:x}-{:x}", now.as_secs(), std::process::id())
}

/// Who runs this, for the lock: `user@machine pid 123 since Nov 21 21:33:02 2026 +00:00 (etcdless init)`.
pub(super) fn owner(command: &str) -> String {
    let user = std::env::var("USER").unwrap_or_else(|_| "someone".into());
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_else(|_| "unknown".into());
    let now = x509_parser::time::ASN1Time::now();
    format!("{user}@{} pid {} since {now} (etcdless {command})", machine.trim(), std::process::id())
}

/// Reads the user's own Pod network manifest, if there is one.
pub(super) fn manifest(cluster: &Cluster) -> Result<Option<String>, Failure> {
    let config::Network::Manifest(path) = &cluster.spec.network else { return Ok(None) };
    std::fs::read_to_string(path).map(Some).map_err(|error| {
        Failure::new(Kind::Config, format!("the network manifest {} cannot be read: {error}", path.display()))
            .hint("spec.network.manifest is a path relative to cluster.yaml")
    })
}

/// Reads the hooks that hosts run, by path.
pub(super) fn scripts(cluster: &Cluster) -> Result<BTreeMap<PathBuf, String>, Failure> {
    cluster.spec.hooks.texts().map_err(|error| Failure::new(Kind::Config, format!("a hook cannot be read: {error}")))
}

/// A host of a description that a cluster kept, which says nothing of who logs in: whoever logs in at the host that was named.
pub(super) fn as_operator(target: &Target, host: &HostConfig) -> HostConfig {
    let mut host = host.clone();
    if target.config.is_none() {
        let named = target.host.as_deref().and_then(|text| text.rsplit_once('@'));
        host.user = host.user.or_else(|| named.map(|(user, _)| user.to_owned()));
        host.ssh.identity = host.ssh.identity.or_else(|| target.login.identity.clone());
    }
    host
}

/// A host with a cluster on it.
pub(super) struct Found {
    pub(super) host: Host,
    pub(super) config: HostConfig,
    pub(super) facts: Facts,
    /// As the host keeps it, where only an address was given; else as described.
    pub(super) cluster: Cluster,
}

/// Connects to a control plane. A cluster knows itself: without a file, its description is read from the host.
pub(super) async fn find(ui: &Ui, target: &Target, described: Cluster) -> Result<Found, Failure> {
    let (host, config) = control_plane(ui, target, &described).await?;
    let probes = Probes { texts: [RECORD.to_owned()].into(), ..Probes::default() };
    let facts = host.facts(&probes).await.map_err(|error| unreachable(&error, &config))?;
    let Some(text) = facts.texts.get(RECORD) else {
        return Err(Failure::new(Kind::Unhealthy, format!("{} has no cluster that etcdless built", config.label()))
            .hint("build one first: etcdless init"));
    };
    if target.config.is_some() {
        return Ok(Found { host, config, facts, cluster: described });
    }
    let cluster = load::parse(RECORD, text)?;
    // The kept description knows the node's name, which need not be the machine's.
    let config = recorded(&cluster, &config, &facts).map_or(config, |kept| as_operator(target, kept));
    Ok(Found { host, config, facts, cluster })
}

/// Which host of a kept description a connected one is: by the address that it was named by, its own addresses, or its hostname.
pub(super) fn recorded<'a>(cluster: &'a Cluster, named: &HostConfig, facts: &Facts) -> Option<&'a HostConfig> {
    let nodes: Vec<&HostConfig> = cluster.spec.hosts.iter().collect();
    let find = |is: &dyn Fn(&HostConfig) -> bool| nodes.iter().copied().find(|host| is(host));
    let own = |host: &HostConfig| {
        let address = host.address.to_string().parse().ok();
        [address, host.node_ip].into_iter().flatten().any(|address| facts.addresses.contains(&address))
    };
    find(&|host| host.address == named.address)
        .or_else(|| find(&own))
        .or_else(|| find(&|host| host.name.as_ref().is_some_and(|name| name.as_str() == facts.hostname)))
}

/// Locks every host, in the order of their names, as `init` does.
pub(super) async fn lock_all<'a>(
    command: &str,
    hosts: impl Iterator<Item = (&'a Host, &'a HostConfig)>,
) -> Result<Vec<Lock>, Failure> {
    let mut named: Vec<_> = hosts.collect();
    named.sort_by_key(|(host, _)| host.name());
    let mut locks = Vec::new();
    for (host, config) in named {
        let lock = host.lock(&owner(command)).await;
        locks.push(lock.map_err(|error| unreachable(&error, config))?);
    }
    Ok(locks)
}

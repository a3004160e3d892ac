//! What commands that talk to a host share: which cluster is meant, the connection, the terminal, Ctrl-C.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Ended;
use crate::cli::{Description, Show, Target};
use crate::cluster::versions;
use crate::config::validate::{Rule, Violation};
use crate::config::{self, Address, Cluster, Host as HostConfig, load, set};
use crate::facts::{Facts, Probes};
use crate::failure::{Failure, Kind};
use crate::phase::control_plane::RECORD;
use crate::phase::runner;
use crate::remote::{Connect, Host, Query, RemoteError};
use crate::ui::{Event, Ui};

/// What a description must hold to beyond its own rules: versions that are known not to work together are refused.
const RULES: &[Rule] = &[|cluster| {
    let refused = |finding: &versions::Finding| finding.severity == versions::Severity::Refuse;
    let findings = versions::check_pair(cluster).into_iter().filter(refused);
    findings.map(|finding| Violation::new(finding.path, finding.message).suggest(finding.suggestion)).collect()
}];

/// The cluster that flags and file amount to.
pub(super) fn describe(target: &Target, description: Option<&Description>) -> Result<Cluster, Failure> {
    let described = match &target.config {
        Some(path) => load::load_with(path, RULES)?,
        None => quick(target)?,
    };
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
    let mut cluster = set::set_with(&described, &items, RULES)?;
    if let Some(identity) = &target.identity {
        for host in &mut cluster.spec.hosts {
            host.ssh.identity = Some(identity.clone());
        }
    }
    Ok(cluster)
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

/// Connects to a host; an unknown key is shown and asked about, or accepted with `--yes`.
pub(super) async fn connect(ui: &Ui, target: &Target, host: &HostConfig) -> Result<Host, Failure> {
    let label = host.label();
    let options = |accept_new| Connect { accept_new, config_file: target.ssh_config.clone(), ..Connect::default() };
    match Host::connect(host, &options(target.yes)).await {
        Err(RemoteError::HostKeyUnknown { fingerprint, .. }) => {
            let question = format!("{label} is not known yet. Its key is {fingerprint}. Trust it?");
            if ui.confirm(&question).await != Some(true) {
                let error = RemoteError::HostKeyUnknown { host: label, fingerprint };
                return Err(unreachable(&error, host));
            }
            Host::connect(host, &options(true)).await.map_err(|error| unreachable(&error, host))
        }
        connected => connected.map_err(|error| unreachable(&error, host)),
    }
}

/// What an error at a host's door means to the user.
pub(super) fn unreachable(error: &RemoteError, host: &HostConfig) -> Failure {
    let failure = Failure::new(runner::kind(error), error.to_string());
    let ssh = match &host.user {
        Some(user) => format!("ssh {user}@{}", host.address),
        None => format!("ssh {}", host.address),
    };
    match error {
        RemoteError::Unreachable { .. } => failure.hint(format!("see whether `{ssh}` works from here")),
        RemoteError::Denied { .. } => {
            failure.hint(format!("see whether `{ssh}` works from here")).hint("another key: --identity FILE")
        }
        RemoteError::HostKeyUnknown { .. } => failure.hint("compare the fingerprint, then accept it with --yes"),
        RemoteError::HostKeyChanged { host, .. } => failure.hint(format!(
            "if the machine was installed anew, remove the old key with `ssh-keygen -R {host}`; if not, someone may be in between"
        )),
        RemoteError::NoSudo { user, .. } => failure.hint(format!(
            "log in as root, or let {user} use sudo without a password: echo '{user} ALL=(ALL) NOPASSWD:ALL' > /etc/sudoers.d/{user}"
        )),
        RemoteError::Locked { .. } => {
            failure.hint("wait until that run is done; `etcdless unlock` shows it, and --force ends it")
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
    let (ui, monitor) = Ui::start(show.output, show.verbose);
    let log = ui.log.clone();
    let interrupt = Arc::new(Interrupt::default());
    let outcome = tokio::select! {
        outcome = body(ui.clone(), interrupt.clone()) => outcome,
        failure = interrupt.wait(&ui) => Err(failure),
    };
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
async fn signal() {
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

/// Who runs this, for the lock: `user@machine pid 123`.
pub(super) fn owner(command: &str) -> String {
    let user = std::env::var("USER").unwrap_or_else(|_| "someone".into());
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_else(|_| "unknown".into());
    format!("{user}@{} pid {} (etcdless {command})", machine.trim(), std::process::id())
}

/// Reads the user's own Pod network manifest, if there is one.
pub(super) fn manifest(cluster: &Cluster) -> Result<Option<String>, Failure> {
    let config::Network::Manifest(path) = &cluster.spec.network else { return Ok(None) };
    std::fs::read_to_string(path).map(Some).map_err(|error| {
        Failure::new(Kind::Config, format!("the network manifest {} cannot be read: {error}", path.display()))
            .hint("spec.network.manifest is a path relative to cluster.yaml")
    })
}

/// A host of a description that a cluster kept, which says nothing of who logs in: whoever logs in at the host that was named.
pub(super) fn as_operator(target: &Target, host: &HostConfig) -> HostConfig {
    let mut host = host.clone();
    if target.config.is_none() {
        let named = target.host.as_deref().and_then(|text| text.rsplit_once('@'));
        host.user = host.user.or_else(|| named.map(|(user, _)| user.to_owned()));
        host.ssh.identity = host.ssh.identity.or_else(|| target.identity.clone());
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

/// Connects to the first control plane. A cluster knows itself: without a file, its description is read from the host.
pub(super) async fn find(ui: &Ui, target: &Target, described: Cluster) -> Result<Found, Failure> {
    let config = described.first_control_plane().cloned();
    let config = config.ok_or_else(|| Failure::new(Kind::Config, "there is no control plane in the description"))?;
    let host = connect(ui, target, &config).await?;
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

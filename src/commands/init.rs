//! `init`: connect, look, check, plan, apply, verify, hand over the kubeconfig.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;

use super::session::{self, Interrupt};
use super::{Ended, datastore as server, kubeconfig, verify};
use crate::assets::Assets;
use crate::cli::Init;
use crate::config::credentials::Credentials;
use crate::config::{Cluster, Host as HostConfig, Role, Spec, yaml};
use crate::failure::{Failure, Kind};
use crate::phase::plan::{Plan, Selection};
use crate::phase::preflight::{self, Ignore};
use crate::phase::runner::{self, Run};
use crate::phase::survey::{Desired, Place, Seen};
use crate::remote::{Host, Lock};
use crate::ui::{self, Event, Format, Ui};

/// How long everything may take to become well after the last step.
const VERIFY_DEADLINE: Duration = Duration::from_secs(180);

pub(super) async fn run(args: Init) -> Result<(), Ended> {
    let selection = Selection { only: args.only.clone(), skip: args.skip.clone(), from: args.from.clone() };
    selection.check()?;
    let ignore = Ignore::parse(&args.ignore_preflight)?;
    let cluster = session::describe(&args.target, Some(&args.description))?;
    if args.print_config {
        let endpoint = Some(cluster.endpoint());
        let spec = Spec { endpoint, ..cluster.spec };
        ui::result(&to_yaml(&Cluster { spec, ..cluster })?);
        return Ok(());
    }
    let assets = Assets::load(args.description.assets.as_deref())?;
    let manifest = session::manifest(&cluster)?;
    let credentials = Credentials::of_all(&cluster)?;
    let run = session::run_id();
    let desired = Desired { cluster, assets, credentials, manifest, selection, ignore, run };
    let args = &args;
    session::under_ui(args.show, |ui, interrupt| async move {
        let work = Work { args, desired, ui };
        work.run(&interrupt).await
    })
    .await
}

/// Everything that one `init` holds on to.
struct Work<'a> {
    args: &'a Init,
    desired: Desired,
    ui: Ui,
}

impl Work<'_> {
    async fn run(&self, interrupt: &Arc<Interrupt>) -> Result<(), Failure> {
        let began = Instant::now();
        let run = Run {
            id: self.desired.run.clone(),
            artifacts: self.desired.cluster.spec.artifacts.clone(),
            stop: interrupt.stop.clone(),
            ui: self.ui.clone(),
        };
        let (run_id, cluster) = (run.id.clone(), self.desired.cluster.metadata.name.to_string());
        self.ui.emit(Event::Started { run: run_id, cluster, version: env!("CARGO_PKG_VERSION") });
        let hosts = self.connect().await?;
        let _locks = if self.args.dry_run { Vec::new() } else { self.lock(&hosts).await? };
        let places: Vec<Place<'_, Host>> =
            hosts.iter().zip(&self.desired.cluster.spec.hosts).map(|(host, config)| Place { host, config }).collect();
        let surveyed = self.desired.survey(&places).await?;
        for warning in &surveyed.warnings {
            self.ui.emit(Event::Warning { host: warning.host.clone(), text: warning.text.clone() });
        }
        // The description's rules guarantee that there is one.
        let Some((place, seen)) = surveyed.first.map(|first| (&places[first], &surveyed.hosts[first])) else {
            return Err(Failure::new(Kind::Config, "there is no control plane in the description"));
        };
        if self.desired.selection.has("preflight") {
            let ours = surveyed.hosts.iter().any(|seen| preflight::holds_cluster(&seen.facts));
            let control_planes = places.iter().filter(|place| place.config.role == Role::ControlPlane);
            try_join_all(control_planes.map(|place| self.check_datastore(place, ours))).await?;
        }
        if self.merges_kubeconfig() && seen.plan.changes().any(|(step, _)| step.id == "kubelet/certificates") {
            let Desired { cluster, .. } = &self.desired;
            kubeconfig::check_free(cluster.metadata.name.as_str(), &cluster.api_outside(seen.node.address))?;
        }
        let plans: Vec<&Plan> = surveyed.hosts.iter().map(|seen| &seen.plan).collect();
        for plan in &plans {
            for (step, change) in plan.changes() {
                let (host, step, title) = (plan.host.clone(), step.id.clone(), step.title.clone());
                self.ui.emit(Event::Planned { host, step, title, change: change.into() });
            }
        }
        let changes = plans.iter().map(|plan| plan.changes().count()).sum();
        let text: String = plans.iter().map(|plan| plan.text()).collect();
        if self.args.dry_run || changes == 0 {
            return self.finish(changes, began, &text);
        }
        self.confirm(&plans, &text, changes).await?;
        interrupt.applying.store(true, Ordering::Relaxed);
        let targets: Vec<runner::Target<'_, Host>> = hosts
            .iter()
            .zip(&surveyed.hosts)
            .map(|(host, seen)| runner::Target { host, arch: seen.node.arch, plan: &seen.plan })
            .collect();
        let timings = runner::run(&run, &targets).await?;
        for (phase, seconds) in timings {
            self.ui.emit(Event::Phase { phase, seconds });
        }
        interrupt.applied.store(true, Ordering::Relaxed);
        if self.desired.selection.has("verify") {
            let Desired { cluster, assets, .. } = &self.desired;
            let report = verify::watch(&self.ui, place.host, cluster, &seen.node, assets, VERIFY_DEADLINE).await?;
            report.failure().map_or(Ok(()), Err)?;
        }
        self.hand_over(place.host, seen, changes, began).await
    }

    /// All hosts, in the description's order. Questions about unknown keys come one after the other.
    async fn connect(&self) -> Result<Vec<Host>, Failure> {
        let hosts = &self.desired.cluster.spec.hosts;
        if self.args.target.yes {
            return try_join_all(hosts.iter().map(|config| session::connect(&self.ui, &self.args.target, config)))
                .await;
        }
        let mut connected = Vec::new();
        for config in hosts {
            connected.push(session::connect(&self.ui, &self.args.target, config).await?);
        }
        Ok(connected)
    }

    /// Locks every host, in the order of their names, so that two operators cannot wait for each other.
    async fn lock(&self, hosts: &[Host]) -> Result<Vec<Lock>, Failure> {
        let mut named: Vec<(&Host, &HostConfig)> = hosts.iter().zip(&self.desired.cluster.spec.hosts).collect();
        named.sort_by_key(|(host, _)| host.name().to_owned());
        let mut locks = Vec::new();
        for (host, config) in named {
            let lock = host.lock(&session::owner("init")).await;
            locks.push(lock.map_err(|error| session::unreachable(&error, config))?);
        }
        Ok(locks)
    }

    /// Servers of somebody else's, as the host sees them. `ours`: this cluster is on some host already.
    async fn check_datastore(&self, place: &Place<'_, Host>, ours: bool) -> Result<(), Failure> {
        let Desired { cluster, credentials, ignore, .. } = &self.desired;
        let report = server::check(&self.ui, place.host, place.config, cluster, credentials, ours).await?;
        for text in report.warnings(|name| ignore.has(name)) {
            self.ui.emit(Event::Warning { host: report.host.clone(), text });
        }
        report.failure(|name| ignore.has(name)).map_or(Ok(()), Err)
    }

    async fn confirm(&self, plans: &[&Plan], text: &str, changes: usize) -> Result<(), Failure> {
        if self.args.target.yes {
            return Ok(());
        }
        self.ui.note(None, text.trim_end());
        let hosts: Vec<&str> = plans.iter().map(|plan| plan.host.as_str()).collect();
        match self.ui.confirm(&format!("Make these {changes} changes on {}?", hosts.join(", "))).await {
            Some(true) => Ok(()),
            Some(false) => Err(Failure::new(Kind::Interrupted, "stopped: nothing was changed")),
            None => Err(Failure::new(Kind::Usage, "there is no terminal to ask on: nothing was changed")
                .hint("say --yes to make the changes, or --dry-run to see them only")),
        }
    }

    /// Merges the kubeconfig and says what there is now.
    async fn hand_over(&self, host: &Host, seen: &Seen, changes: usize, began: Instant) -> Result<(), Failure> {
        let spec = &self.desired.cluster.spec;
        let mut text = format!(
            "{}: Kubernetes {} on kine {}, {changes} changes in {}\n",
            self.desired.cluster.metadata.name,
            spec.kubernetes.version,
            spec.kine.version,
            ui::elapsed(began.elapsed().as_secs_f64())
        );
        if self.merges_kubeconfig() {
            let Desired { cluster, .. } = &self.desired;
            let api = cluster.api_outside(seen.node.address);
            let context = kubeconfig::merge(host, cluster.metadata.name.as_str(), None, &api).await?;
            text.push_str(&format!("kubectl --context {context} get nodes\n"));
        }
        self.finish(changes, began, &text)
    }

    /// Whether a run to the end puts the cluster into the user's kubeconfig.
    fn merges_kubeconfig(&self) -> bool {
        !self.args.no_kubeconfig && self.desired.selection.only.is_empty()
    }

    fn finish(&self, changes: usize, began: Instant, text: &str) -> Result<(), Failure> {
        self.ui.emit(Event::Finished { changes, seconds: began.elapsed().as_secs_f64() });
        if self.ui.format() == Format::Text {
            ui::result(text);
        }
        Ok(())
    }
}

fn to_yaml(cluster: &Cluster) -> Result<String, Failure> {
    yaml::to_string(cluster).map_err(|error| Failure::new(Kind::Internal, format!("cannot write YAML: {error}")))
}

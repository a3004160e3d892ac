//! `init`: connect, look, check, plan, apply, verify, hand over the kubeconfig.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::session::{self, Interrupt};
use super::{Ended, datastore as server, kubeconfig, verify};
use crate::assets::Assets;
use crate::cli::Init;
use crate::config::credentials::Credentials;
use crate::config::{Cluster, Host as HostConfig, yaml};
use crate::datastore::Stores;
use crate::failure::{Failure, Kind};
use crate::phase::plan::{Plan, Selection};
use crate::phase::preflight::{self, Ignore};
use crate::phase::runner::{self, Run};
use crate::phase::survey::{Desired, Surveyed};
use crate::remote::Host;
use crate::ui::{self, Event, Format, Ui};

/// How long everything may take to become well after the last step.
const VERIFY_DEADLINE: Duration = Duration::from_secs(180);

pub(super) async fn run(args: Init) -> Result<(), Ended> {
    let selection = Selection { only: args.only.clone(), skip: args.skip.clone(), from: args.from.clone() };
    selection.check()?;
    let ignore = Ignore::parse(&args.ignore_preflight)?;
    let cluster = session::describe(&args.target, Some(&args.description))?;
    if args.print_config {
        ui::result(&to_yaml(&cluster)?);
        return Ok(());
    }
    let assets = Assets::load(args.description.assets.as_deref())?;
    let manifest = session::manifest(&cluster)?;
    let credentials = Credentials::of_all(&cluster)?;
    let stores = Stores::of(&cluster, &credentials)?;
    let desired = Desired { cluster, assets, stores, manifest, selection, ignore };
    let args = &args;
    session::under_ui(args.show, |ui, interrupt| async move {
        let work = Work { args, desired, credentials, ui };
        work.run(&interrupt).await
    })
    .await
}

/// Everything that one `init` holds on to.
struct Work<'a> {
    args: &'a Init,
    desired: Desired,
    /// In the order of the cluster's datastores.
    credentials: Vec<Credentials>,
    ui: Ui,
}

impl Work<'_> {
    async fn run(&self, interrupt: &Arc<Interrupt>) -> Result<(), Failure> {
        let began = Instant::now();
        let run = Run {
            id: session::run_id(),
            artifacts: self.desired.cluster.spec.artifacts.clone(),
            stop: interrupt.stop.clone(),
            ui: self.ui.clone(),
        };
        let (run_id, cluster) = (run.id.clone(), self.desired.cluster.metadata.name.to_string());
        self.ui.emit(Event::Started { run: run_id, cluster, version: env!("CARGO_PKG_VERSION") });
        // The description's rules guarantee that there is one.
        let Some(config) = self.desired.cluster.first_control_plane() else {
            return Err(Failure::new(Kind::Config, "there is no control plane in the description"));
        };
        let host = session::connect(&self.ui, &self.args.target, config).await?;
        let _lock = match self.args.dry_run {
            true => None,
            false => {
                let lock = host.lock(&session::owner("init")).await;
                Some(lock.map_err(|error| session::unreachable(&error, config))?)
            }
        };
        let seen = self.desired.survey(&host, config).await?;
        for warning in &seen.warnings {
            self.ui.emit(Event::Warning { host: warning.host.clone(), text: warning.text.clone() });
        }
        if self.desired.selection.has("preflight") {
            self.check_datastore(&host, config, &seen).await?;
        }
        if self.merges_kubeconfig() && seen.plan.changes().any(|(step, _)| step.id == "kubelet/certificates") {
            kubeconfig::check_free(self.desired.cluster.metadata.name.as_str(), seen.node.address)?;
        }
        let changes = seen.plan.changes().count();
        for (step, change) in seen.plan.changes() {
            let (host, step, title) = (seen.plan.host.clone(), step.id.clone(), step.title.clone());
            self.ui.emit(Event::Planned { host, step, title, change: change.into() });
        }
        if self.args.dry_run {
            return self.finish(changes, began, &seen.plan.text());
        }
        if changes == 0 {
            return self.finish(0, began, &format!("{}: no changes\n", seen.plan.host));
        }
        self.confirm(&seen.plan, changes).await?;
        interrupt.applying.store(true, Ordering::Relaxed);
        let timings = runner::run(&run, &host, seen.node.arch, &seen.plan).await?;
        for (phase, seconds) in timings {
            self.ui.emit(Event::Phase { phase, seconds });
        }
        interrupt.applied.store(true, Ordering::Relaxed);
        if self.desired.selection.has("verify") {
            let Desired { cluster, assets, .. } = &self.desired;
            let report = verify::watch(&self.ui, &host, cluster, &seen.node, assets, VERIFY_DEADLINE).await?;
            report.failure().map_or(Ok(()), Err)?;
        }
        self.hand_over(&host, &seen, changes, began).await
    }

    /// The server that holds the state, as the host sees it.
    async fn check_datastore(&self, host: &Host, config: &HostConfig, seen: &Surveyed) -> Result<(), Failure> {
        let Desired { cluster, ignore, .. } = &self.desired;
        let ours = preflight::holds_cluster(&seen.facts);
        let report = server::check(&self.ui, host, config, cluster, &self.credentials, ours).await?;
        for text in report.warnings(|name| ignore.has(name)) {
            self.ui.emit(Event::Warning { host: report.host.clone(), text });
        }
        report.failure(|name| ignore.has(name)).map_or(Ok(()), Err)
    }

    async fn confirm(&self, plan: &Plan, changes: usize) -> Result<(), Failure> {
        if self.args.target.yes {
            return Ok(());
        }
        self.ui.note(None, plan.text().trim_end());
        match self.ui.confirm(&format!("Make these {changes} changes on {}?", plan.host)).await {
            Some(true) => Ok(()),
            Some(false) => Err(Failure::new(Kind::Interrupted, "stopped: nothing was changed")),
            None => Err(Failure::new(Kind::Usage, "there is no terminal to ask on: nothing was changed")
                .hint("say --yes to make the changes, or --dry-run to see them only")),
        }
    }

    /// Merges the kubeconfig and says what there is now.
    async fn hand_over(&self, host: &Host, seen: &Surveyed, changes: usize, began: Instant) -> Result<(), Failure> {
        let spec = &self.desired.cluster.spec;
        let mut text = format!(
            "{}: Kubernetes {} on kine {}, {changes} changes in {}\n",
            self.desired.cluster.metadata.name,
            spec.kubernetes.version,
            spec.kine.version,
            ui::elapsed(began.elapsed().as_secs_f64())
        );
        if self.merges_kubeconfig() {
            let context =
                kubeconfig::merge(host, self.desired.cluster.metadata.name.as_str(), None, seen.node.address).await?;
            text.push_str(&format!("kubectl --context {context} get nodes\n"));
        }
        self.finish(changes, began, &text)
    }

    /// Whether a run to the end puts the cluster into the user's kubeconfig.
    fn merges_kubeconfig(&self) -> bool {
        !self.args.no_kubeconfig && self.desired.selection.only.is_empty() && self.desired.cluster.spec.hosts.len() == 1
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

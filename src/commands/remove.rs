//! `remove`: one node leaves. It is drained, its host taken apart, its Node deleted, and the hosts that stay forget it.

use std::sync::atomic::Ordering;
use std::time::Instant;

use super::Ended;
use super::session::{self, Interrupt};
use crate::assets::Assets;
use crate::cli::{Remove, Target};
use crate::cluster::node::Node;
use crate::config::credentials::Credentials;
use crate::config::{Cluster, Host as HostConfig, Role};
use crate::facts::Probes;
use crate::failure::{Failure, Kind};
use crate::phase::plan::{Plan, Selection};
use crate::phase::remove::{self, Leaving};
use crate::phase::reset::{self, Data, Purpose, Subject};
use crate::phase::runner::{self, Run};
use crate::phase::survey::{self, Desired, Place};
use crate::remote::{Host, Query};
use crate::ui::{self, Event, Format, Ui};

pub(super) async fn run(args: Remove) -> Result<(), Ended> {
    let target = Target::new(args.via.clone(), args.config.clone(), args.login.clone());
    let described = session::describe(&target, None)?;
    let (args, target) = (&args, &target);
    session::under_ui(args.show, |ui, interrupt| async move {
        let began = Instant::now();
        let cluster = match &args.config {
            Some(_) => described,
            None => session::find(&ui, target, described).await?.cluster,
        };
        let (leaving, staying) = parted(&cluster, &args.host)?;
        let (hosts, missing) = connect(&ui, target, &staying).await?;
        let gone = reach(&ui, args, target, &session::as_operator(target, &leaving)).await?;
        let _locks = if args.dry_run {
            Vec::new()
        } else {
            session::lock_all("remove", hosts.iter().chain(&gone).map(|(host, config)| (host, config))).await?
        };
        let work = Work { args, leaving, desired: desired(staying)?, hosts, missing, ui, began };
        work.run(gone, &interrupt).await
    })
    .await
}

/// The host that leaves, and the cluster without it.
fn parted(cluster: &Cluster, name: &str) -> Result<(HostConfig, Cluster), Failure> {
    let hosts = &cluster.spec.hosts;
    let refused = |message: String| Failure::new(Kind::Usage, message);
    let Some(leaving) = hosts.iter().find(|host| host.label() == name || host.address.to_string() == name) else {
        let known: Vec<String> = hosts.iter().map(HostConfig::label).collect();
        return Err(refused(format!("`{name}` is not a host of `{}`", cluster.metadata.name))
            .hint(format!("its hosts are {}", known.join(", "))));
    };
    if leaving.role == Role::Datastore {
        return Err(refused(format!("{name} keeps the cluster's data, and is no node"))
            .hint("the whole cluster, data and all: etcdless reset -c FILE --datastore drop"));
    }
    let mut staying = cluster.clone();
    staying.spec.hosts.retain(|host| host.label() != leaving.label());
    if staying.first_control_plane().is_none() {
        return Err(refused(format!("{name} is the last control plane of `{}`", cluster.metadata.name))
            .hint("the whole cluster: etcdless reset -c FILE"));
    }
    Ok((leaving.clone(), staying))
}

/// The hosts that stay, as far as they are reached. One control plane is enough to go on, but no server may be missing.
async fn connect(
    ui: &Ui,
    target: &Target,
    staying: &Cluster,
) -> Result<(Vec<(Host, HostConfig)>, Vec<String>), Failure> {
    let configs: Vec<HostConfig> =
        staying.spec.hosts.iter().map(|config| session::as_operator(target, config)).collect();
    let asked: Vec<&HostConfig> = configs.iter().collect();
    let connected = session::connect_all(ui, target, &asked, session::CONCURRENCY).await;
    let (mut hosts, mut missing, mut first) = (Vec::new(), Vec::new(), None);
    for (config, host) in configs.iter().zip(connected) {
        match host {
            Ok(host) => hosts.push((host, config.clone())),
            Err(failure) if survey::is_indispensable(staying, config) => return Err(failure),
            Err(failure) => {
                ui.emit(Event::Warning { host: config.label(), text: failure.message.clone() });
                missing.push(config.label());
                first.get_or_insert(failure);
            }
        }
    }
    match first {
        Some(failure) if !hosts.iter().any(|(_, config)| config.role.is_control_plane()) => Err(failure),
        _ => Ok((hosts, missing)),
    }
}

/// The host that leaves, if it is reached; without it only with --force.
async fn reach(
    ui: &Ui,
    args: &Remove,
    target: &Target,
    config: &HostConfig,
) -> Result<Option<(Host, HostConfig)>, Failure> {
    match session::connect(ui, target, config).await {
        Ok(host) => Ok(Some((host, config.clone()))),
        Err(failure) if failure.kind == Kind::Connection && args.force => {
            ui.emit(Event::Warning { host: config.label(), text: failure.message });
            Ok(None)
        }
        Err(failure) => Err(failure.hint("its machine is gone for good: --force")),
    }
}

/// What the hosts that stay should be told. Nothing of the stores is asked or changed, so nobody needs to let us into them.
fn desired(staying: Cluster) -> Result<Desired, Failure> {
    let only = ["endpoint", "control-plane", "datastore"].map(str::to_owned).to_vec();
    let credentials = Credentials::placeholders(&staying);
    let selection = Selection { only, ..Selection::default() };
    Ok(Desired::new(staying, Assets::load(None)?, credentials, selection, session::run_id()))
}

/// Everything that one `remove` holds on to.
struct Work<'a> {
    args: &'a Remove,
    leaving: HostConfig,
    /// The cluster without the host.
    desired: Desired,
    /// The hosts that stay, in its order.
    hosts: Vec<(Host, HostConfig)>,
    /// Those of them that are not reached, and will not hear of it.
    missing: Vec<String>,
    ui: Ui,
    began: Instant,
}

impl Work<'_> {
    async fn run(&self, gone: Option<(Host, HostConfig)>, interrupt: &Interrupt) -> Result<(), Failure> {
        let run = Run {
            id: self.desired.run.clone(),
            supply: self.desired.supply.clone(),
            stop: interrupt.stop.clone(),
            concurrency: session::CONCURRENCY,
            ui: self.ui.clone(),
        };
        let leaving = self.node(gone.as_ref()).await?;
        let places: Vec<Place<'_, Host>> = self.hosts.iter().map(|(host, config)| Place { host, config }).collect();
        let surveyed = self.desired.survey(&places).await?;
        let is_first = |place: &Place<'_, Host>| surveyed.first.as_ref() == Some(&place.config.label());
        let (Some(first), label) = (places.iter().position(is_first), self.leaving.label()) else {
            return Err(Failure::new(Kind::Internal, "no control plane stays"));
        };
        let members: Vec<(&'static str, Plan)> = surveyed
            .hosts
            .into_iter()
            .map(|seen| (seen.node.arch, remove::members(seen.plan, self.leaving.role, seen.node.role)))
            .collect();
        let subjects: Vec<Subject<'_, Host>> = match &gone {
            None => Vec::new(),
            Some((host, _)) => {
                let purpose = Purpose::Node(Data::Keep);
                let remains = reset::look(host, &label, purpose).await?;
                vec![Subject { host, label: label.clone(), purpose, remains }]
            }
        };
        let head = &places[first].config.label();
        let before = [remove::draining(head, &leaving, &run.id)];
        let after = [remove::deleting(head, &leaving, &run.id)];

        let plans: Vec<&Plan> = before.iter().chain(&after).chain(members.iter().map(|(_, plan)| plan)).collect();
        let mut changes = plans.iter().map(|plan| self.announce(plan)).sum();
        changes += reset::announce(&self.ui, &subjects);
        // In the order in which it happens.
        let told = |plans: &[&Plan]| -> String {
            plans.iter().filter(|plan| plan.changes().next().is_some()).map(|plan| plan.text()).collect()
        };
        let apart: String = subjects.iter().map(Subject::text).collect();
        let text = format!("{}{apart}{}", told(&plans[..1]), told(&plans[1..]));
        if self.args.dry_run {
            return self.finish(changes, &text);
        }
        self.confirm(&text).await?;
        interrupt.applying.store(true, Ordering::Relaxed);
        let (arch, host) = (members[first].0, places[first].host);
        let on_head = |plan| [runner::Target { host, arch, plan }];
        let drained = runner::run_whole(&run, &on_head(&before[0])).await;
        drained.map_err(|failure| remove::explain_drain(failure, &leaving.name))?;
        if !subjects.is_empty() {
            reset::take_apart(&run, &subjects).await?;
        }
        runner::run_whole(&run, &on_head(&after[0])).await?;
        let targets = places.iter().zip(&members);
        let targets: Vec<runner::Target<'_, Host>> =
            targets.map(|(place, (arch, plan))| runner::Target { host: place.host, arch, plan }).collect();
        runner::run_whole(&run, &targets).await?;
        self.finish(changes, &self.outcome(gone.is_some()))?;
        if self.missing.is_empty() {
            return Ok(());
        }
        let missing = self.missing.join(", ");
        Err(Failure::new(Kind::Partial, format!("{missing} could not be told that {label} is gone"))
            .hint("`etcdless init -c FILE` does it once they are back"))
    }

    /// The node as Kubernetes knows it.
    async fn node(&self, gone: Option<&(Host, HostConfig)>) -> Result<Leaving, Failure> {
        let (mut name, mut address) = (self.leaving.label(), self.leaving.address.to_string());
        if let Some((host, config)) = gone {
            let facts = host.facts(&Probes::default()).await.map_err(|error| session::unreachable(&error, config))?;
            if let Some(node) = Node::new(&self.desired.cluster, config, &facts) {
                (name, address) = (node.name, node.address.to_string());
            }
        }
        let Remove { drain_timeout, delete_emptydir_data, .. } = *self.args;
        Ok(Leaving { name, address, reached: gone.is_some(), seconds: drain_timeout, delete_emptydir_data })
    }

    fn announce(&self, plan: &Plan) -> usize {
        for (step, change) in plan.changes() {
            let (host, id, title) = (plan.host.clone(), step.id.clone(), step.title.clone());
            self.ui.emit(Event::Planned { host, step: id, title, change: change.into() });
        }
        plan.changes().count()
    }

    async fn confirm(&self, text: &str) -> Result<(), Failure> {
        if self.args.login.yes {
            return Ok(());
        }
        self.ui.note(None, text.trim_end());
        let (host, name) = (self.leaving.label(), &self.desired.cluster.metadata.name);
        match self.ui.confirm(&format!("Take {host} out of `{name}`, and apart?")).await {
            Some(true) => Ok(()),
            Some(false) => Err(Failure::new(Kind::Interrupted, "stopped: nothing was changed")),
            None => Err(Failure::new(Kind::Usage, "there is no terminal to ask on: nothing was changed")
                .hint("say --yes, or --dry-run to see what would be done")),
        }
    }

    fn outcome(&self, reached: bool) -> String {
        let (host, name) = (self.leaving.label(), &self.desired.cluster.metadata.name);
        let mut text = format!("{host}: out of `{name}`");
        text.push_str(match reached {
            true => ", taken apart, nothing is left on it\n",
            // Its certificate is good still.
            false => "; its machine was not reached: should it start again, so will its kubelet, and the Node is back: `etcdless reset` before\n",
        });
        if let Some(path) = &self.args.config {
            text.push_str(&format!("take it out of {}, too, or the next `init` joins it again\n", path.display()));
        }
        text
    }

    fn finish(&self, changes: usize, text: &str) -> Result<(), Failure> {
        self.ui.emit(Event::Finished { changes, seconds: self.began.elapsed().as_secs_f64() });
        if self.ui.format() == Format::Text {
            ui::result(text);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test")]
    use super::*;

    #[test]
    fn the_last_control_plane_and_a_server_stay() {
        let hosts = [("cp", "control-plane"), ("w1", "worker"), ("db", "datastore")];
        let hosts = hosts.iter().enumerate().map(|(number, (name, role))| {
            let address = format!("192.0.2.{number}");
            serde_json::from_value(serde_json::json!({ "name": name, "address": address, "role": role })).unwrap()
        });
        let cluster = Cluster::of("demo".parse().unwrap(), hosts.collect());
        for (name, refused) in [
            ("cp", Some("cp is the last control plane of `demo`")),
            ("db", Some("db keeps the cluster's data, and is no node")),
            ("w2", Some("`w2` is not a host of `demo`")),
            ("w1", None),
            ("192.0.2.1", None),
        ] {
            let outcome = parted(&cluster, name);
            assert_eq!(outcome.as_ref().err().map(|failure| failure.message.as_str()), refused, "{name}");
            if let Ok((leaving, staying)) = outcome {
                assert_eq!((leaving.label().as_str(), staying.spec.hosts.len()), ("w1", 2));
            }
        }
    }
}

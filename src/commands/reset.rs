//! `reset`: look at what is there, ask, take it away, look again.

use std::sync::atomic::Ordering;
use std::time::Instant;

use futures_util::future::try_join_all;

use super::Ended;
use super::session::{self, Interrupt};
use crate::artifact::supply::Supply;
use crate::cli::Reset;
use crate::config::Artifacts;
use crate::config::{Cluster, Host as HostConfig, Role, load};
use crate::facts::Probes;
use crate::failure::{Failure, Kind};
use crate::phase::control_plane::RECORD;
use crate::phase::reset::{self, Data, Part, Purpose, Remains, Subject, data};
use crate::phase::runner::Run;
use crate::remote::{Host, Query};
use crate::ui::{self, Event, Format, Ui};

pub(super) async fn run(args: Reset) -> Result<(), Ended> {
    let described = session::describe(&args.target, None)?;
    let chosen = chosen(&described, &args.hosts)?;
    let args = &args;
    session::under_ui(args.show, |ui, interrupt| async move {
        let began = Instant::now();
        let (hosts, missing) = connect(&ui, args, chosen).await?;
        let known = match args.target.config {
            Some(_) => Some(described),
            None => kept(&hosts).await?,
        };
        let (hosts, left_out) = concerned(hosts, known.as_ref(), args)?;
        for label in left_out {
            ui.note(Some(&label), "keeps the data: left as it is (--datastore drop takes it apart, too)");
        }
        for label in known.iter().flat_map(|cluster| orphans(cluster, &hosts)) {
            let text = "if it is a node yet, its Node stays in the cluster: `etcdless remove` takes both".to_owned();
            ui.emit(Event::Warning { host: label, text });
        }
        let _locks = if args.dry_run {
            Vec::new()
        } else {
            session::lock_all("reset", hosts.iter().map(|place| (&place.host, &place.config))).await?
        };
        let looks = hosts.iter().map(|place| reset::look(&place.host, &place.label, place.purpose));
        let remains = try_join_all(looks).await?;
        let work = Work { args, known, hosts, ui, began };
        work.run(remains, &missing, interrupt.as_ref()).await
    })
    .await
}

/// The hosts that were named, or all.
fn chosen(described: &Cluster, names: &[String]) -> Result<Vec<HostConfig>, Failure> {
    let hosts = &described.spec.hosts;
    let is = |host: &HostConfig, name: &String| host.label() == *name || host.address.to_string() == *name;
    if let Some(name) = names.iter().find(|name| !hosts.iter().any(|host| is(host, name))) {
        let known: Vec<String> = hosts.iter().map(HostConfig::label).collect();
        return Err(Failure::new(Kind::Usage, format!("`{name}` is not a host of the file"))
            .hint(format!("its hosts are {}", known.join(", "))));
    }
    let wanted = |host: &&HostConfig| names.is_empty() || names.iter().any(|name| is(host, name));
    Ok(hosts.iter().filter(wanted).cloned().collect())
}

/// A connected host that is to be taken apart.
struct Place {
    host: Host,
    config: HostConfig,
    label: String,
    purpose: Purpose,
}

/// Connects to all; with --force, those that are not reached are named instead.
async fn connect(ui: &Ui, args: &Reset, chosen: Vec<HostConfig>) -> Result<(Vec<Place>, Vec<String>), Failure> {
    let (mut places, mut missing) = (Vec::new(), Vec::new());
    for config in chosen {
        let label = config.label();
        match session::connect(ui, &args.target, &config).await {
            Ok(host) => places.push(Place { host, config, label, purpose: Purpose::Node(args.datastore) }),
            Err(failure) if args.force && failure.kind == Kind::Connection => {
                ui.emit(Event::Warning { host: label.clone(), text: failure.message });
                missing.push(label);
            }
            Err(failure) => return Err(failure.hint("without this host: --force")),
        }
    }
    Ok((places, missing))
}

/// The description that a host keeps, where only an address was given. A worker keeps none, and neither does a host that `init` did not finish.
async fn kept(hosts: &[Place]) -> Result<Option<Cluster>, Failure> {
    let Some(place) = hosts.first() else { return Ok(None) };
    let probes = Probes { texts: [RECORD.to_owned()].into(), ..Probes::default() };
    let facts = place.host.facts(&probes).await.map_err(|error| session::unreachable(&error, &place.config))?;
    let Some(text) = facts.texts.get(RECORD) else { return Ok(None) };
    let mut cluster = load::parse(RECORD, text)?;
    // From now on it is the host that was named, whatever the description calls it.
    let own = session::recorded(&cluster, &place.config, &facts).map(HostConfig::label);
    if let Some(host) = cluster.spec.hosts.iter_mut().find(|host| Some(host.label()) == own) {
        host.name = None;
        host.address = place.config.address.clone();
    }
    Ok(Some(cluster))
}

/// What each host is taken apart for, and those that stay because they keep data. Refuses what would leave a cluster without its head or its data.
fn concerned(hosts: Vec<Place>, known: Option<&Cluster>, args: &Reset) -> Result<(Vec<Place>, Vec<String>), Failure> {
    let Some(cluster) = known else { return Ok((hosts, Vec::new())) };
    let labels: Vec<String> = hosts.iter().map(|place| place.label.clone()).collect();
    if !args.force {
        headless(cluster, &labels).map_or(Ok(()), Err)?;
    }
    data::refusal(cluster, args.datastore, &labels).map_or(Ok(()), Err)?;
    let role = |label: &str| cluster.spec.hosts.iter().find(|host| host.label() == label).map(|host| host.role);
    let (mut concerned, mut left_out) = (Vec::new(), Vec::new());
    for mut place in hosts {
        if role(&place.label) != Some(Role::Datastore) {
            concerned.push(place);
        } else if args.datastore == Data::Drop {
            place.purpose = Purpose::Server;
            concerned.push(place);
        } else if args.target.config.is_some() && args.hosts.is_empty() {
            left_out.push(place.label);
        } else {
            return Err(Failure::new(Kind::Usage, format!("{} keeps the cluster's data", place.label))
                .hint("with all of its data: --datastore drop"));
        }
    }
    Ok((concerned, left_out))
}

/// A control plane does not go while other nodes stay.
fn headless(cluster: &Cluster, labels: &[String]) -> Option<Failure> {
    let goes = |host: &&HostConfig| labels.contains(&host.label());
    let head = cluster.nodes().filter(|host| host.role.is_control_plane()).find(goes)?.label();
    let stay: Vec<String> = cluster.nodes().filter(|host| !goes(host)).map(HostConfig::label).collect();
    if stay.is_empty() {
        return None;
    }
    let name = &cluster.metadata.name;
    Some(
        Failure::new(
            Kind::Usage,
            format!("{head} is a control plane of `{name}`, which has other nodes: {}", stay.join(", ")),
        )
        .hint("the whole cluster: etcdless reset -c FILE")
        .hint(format!("out of a cluster that goes on on another control plane: etcdless remove {head}"))
        .hint("this host alone, whatever becomes of the others: --force"),
    )
}

/// Hosts whose cluster goes on without them.
fn orphans(cluster: &Cluster, hosts: &[Place]) -> Vec<String> {
    let role = |place: &&Place| cluster.nodes().find(|host| host.label() == place.label).map(|host| host.role);
    let nodes = hosts.iter().filter(|place| role(place).is_some());
    match hosts.iter().any(|place| role(&place) == Some(Role::ControlPlane)) {
        true => Vec::new(),
        false => nodes.map(|place| place.label.clone()).collect(),
    }
}

/// Everything that one `reset` holds on to.
struct Work<'a> {
    args: &'a Reset,
    /// The cluster, as far as it is known.
    known: Option<Cluster>,
    hosts: Vec<Place>,
    ui: Ui,
    began: Instant,
}

impl Work<'_> {
    async fn run(&self, remains: Vec<Remains>, missing: &[String], interrupt: &Interrupt) -> Result<(), Failure> {
        let run = Run {
            id: session::run_id(),
            supply: Supply::Sources(Artifacts::default()),
            stop: interrupt.stop.clone(),
            concurrency: session::CONCURRENCY,
            ui: self.ui.clone(),
        };
        let subjects: Vec<Subject<'_, Host>> = self
            .hosts
            .iter()
            .zip(remains)
            .map(|(place, remains)| Subject {
                host: &place.host,
                label: place.label.clone(),
                purpose: place.purpose,
                remains,
            })
            .collect();
        let changes = reset::announce(&self.ui, &subjects);
        let text: String = subjects.iter().map(Subject::text).collect();
        if self.args.dry_run || changes == 0 {
            self.finish(changes, &text);
            return unreached(missing);
        }
        self.confirm(&subjects, &text).await?;
        interrupt.applying.store(true, Ordering::Relaxed);
        let left = reset::take_apart(&run, &subjects).await?;
        let text: String = subjects.iter().zip(&left).map(|(subject, left)| outcome(subject, left)).collect();
        self.finish(changes, &text);
        unreached(missing)
    }

    /// Asks as much as it deserves: a host, the whole cluster, or data that does not come back.
    async fn confirm(&self, subjects: &[Subject<'_, Host>], text: &str) -> Result<(), Failure> {
        let labels: Vec<&str> = subjects.iter().map(|subject| subject.label.as_str()).collect();
        let name = self.known.as_ref().map(|cluster| cluster.metadata.name.to_string());
        let name = name.unwrap_or_else(|| labels.first().copied().unwrap_or_default().to_owned());
        let stores = subjects
            .iter()
            .any(|subject| subject.purpose == Purpose::Server || subject.remains.of(Part::Store).next().is_some());
        let data = self.args.datastore != Data::Keep && stores;
        if let Some(given) = &self.args.confirm {
            return right(given, &name);
        }
        if self.args.target.login.yes && !data {
            return Ok(());
        }
        if !self.args.target.login.yes {
            self.ui.note(None, text.trim_end());
        }
        let nobody = || {
            Failure::new(Kind::Usage, "there is no terminal to ask on: nothing was changed")
                .hint(if data { format!("say --confirm {name}") } else { "say --yes".into() })
                .hint("--dry-run shows what would go")
        };
        let all = self.args.target.config.is_some() && self.args.hosts.is_empty();
        if data || all {
            let also = if data { " and their data" } else { "" };
            let question = format!("Take apart {}{also}? Type `{name}`:", labels.join(", "));
            return right(&self.ui.ask(&question).await.ok_or_else(nobody)?, &name);
        }
        match self.ui.confirm(&format!("Take apart {}?", labels.join(", "))).await {
            Some(true) => Ok(()),
            Some(false) => Err(Failure::new(Kind::Interrupted, "stopped: nothing was changed")),
            None => Err(nobody()),
        }
    }

    fn finish(&self, changes: usize, text: &str) {
        self.ui.emit(Event::Finished { changes, seconds: self.began.elapsed().as_secs_f64() });
        if self.ui.format() == Format::Text {
            ui::result(text);
        }
    }
}

fn right(given: &str, name: &str) -> Result<(), Failure> {
    match given == name {
        true => Ok(()),
        false => Err(Failure::new(Kind::Usage, format!("`{given}` is not `{name}`: nothing was changed"))),
    }
}

fn unreached(missing: &[String]) -> Result<(), Failure> {
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::new(Kind::Partial, format!("not reached, and as it was: {}", missing.join(", ")))
        .hint("run the same command once it is up"))
}

/// What became of a host, with what stays and why.
fn outcome(subject: &Subject<'_, Host>, left: &Remains) -> String {
    let label = &subject.label;
    let mut text = format!("{label}: taken apart, nothing is left\n");
    let stores: Vec<&str> = left.of(Part::Store).collect();
    if !stores.is_empty() {
        text.push_str(&format!("{label}: the data is kept: {}\n", stores.join(", ")));
    }
    // What etcdless knew of the host is gone by now, and with it why something stays.
    let remarks = subject
        .remains
        .remarks
        .iter()
        .chain(left.remarks.iter().filter(|line| !subject.remains.remarks.contains(line)));
    text.extend(remarks.map(|line| format!("{label}: {line}\n")));
    text
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test")]
    use super::*;

    #[test]
    fn a_control_plane_does_not_go_while_other_nodes_stay() {
        let hosts = [("cp", "control-plane"), ("w1", "worker"), ("db", "datastore")];
        let hosts = hosts.iter().enumerate().map(|(number, (name, role))| {
            let address = format!("192.0.2.{number}");
            serde_json::from_value(serde_json::json!({ "name": name, "address": address, "role": role })).unwrap()
        });
        let cluster = Cluster::of("demo".parse().unwrap(), hosts.collect());
        for (labels, refused) in [
            (&["cp", "w1", "db"][..], false),
            (&["cp", "w1"], false),
            (&["w1"], false),
            (&["db"], false),
            (&["cp"], true),
            (&["cp", "db"], true),
        ] {
            let labels: Vec<String> = labels.iter().map(|&label| label.to_owned()).collect();
            assert_eq!(headless(&cluster, &labels).is_some(), refused, "{labels:?}");
        }
    }
}

//! `status`: what runs where, and does it do its work?

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::time::timeout;

use super::{Ended, session, stores};
use crate::assets::Assets;
use crate::cli::Status;
use crate::config::credentials::Credentials;
use crate::config::{Cluster, Host as HostConfig, Role};
use crate::datastore::status as datastore;
use crate::datastore::status::seen::Told;
use crate::failure::Failure;
use crate::phase::plan::Selection;
use crate::phase::status::{self, Change, Level, Look, Place, Report, Seen, Store};
use crate::phase::survey::{self, Desired};
use crate::remote::{Host, RemoteError};
use crate::ui::{self, Event, Format, Ui};

/// What the terminal shows of each host.
const STEP: &str = "status/look";
const TITLE: &str = "look at the host";

/// How long a host may take to let us in. ssh gives up on one that is silent after 10 s.
const CONNECT: Duration = Duration::from_secs(15);

/// How long a host may take to answer; the script's own limit is less.
const LOOK: Duration = Duration::from_secs(20);

/// How long the stores, and the comparison with the description, may take beside the rest.
const ASIDE: Duration = Duration::from_secs(20);

pub(super) async fn run(args: Status) -> Result<(), Ended> {
    let described = session::describe(&args.target, None)?;
    let assets = Assets::load(args.assets.as_deref())?;
    let args = &args;
    session::under_ui(args.show, |ui, _| async move {
        let (cluster, connected) = connect(&ui, args, described).await?;
        let report = look(&ui, args, &cluster, connected, assets).await;
        tell(&ui, &report);
        report.failure().map_or(Ok(()), Err)
    })
    .await
}

/// A host of the description, and the connection to it, or why there is none.
struct Connected {
    config: HostConfig,
    host: Result<Host, String>,
}

/// All hosts, side by side. Without a file the description is the one that the named host keeps.
async fn connect(ui: &Ui, args: &Status, described: Cluster) -> Result<(Cluster, Vec<Connected>), Failure> {
    let target = &args.target;
    if target.config.is_some() {
        let reached = described.spec.hosts.iter().map(async |config| reach(ui, args, config).await);
        let connected = join_all(reached).await;
        return Ok((described, connected));
    }
    let found = session::find(ui, target, described).await?;
    started(ui, &found.config);
    let label = found.config.label();
    let others = found.cluster.spec.hosts.iter().filter(|config| config.label() != label);
    let others = others.map(async |config| reach(ui, args, &session::as_operator(target, config)).await);
    let mut connected = join_all(others).await;
    connected.push(Connected { config: found.config, host: Ok(found.host) });
    let place =
        |one: &Connected| found.cluster.spec.hosts.iter().position(|config| config.label() == one.config.label());
    connected.sort_by_key(place);
    Ok((found.cluster, connected))
}

/// Connects without a question: one that is not known yet says so in its line.
async fn reach(ui: &Ui, args: &Status, config: &HostConfig) -> Connected {
    started(ui, config);
    let options = session::options(&args.target, args.target.login.yes);
    let host = match timeout(CONNECT, Host::connect(config, &options)).await {
        Ok(connected) => connected.map_err(|error| reason(&error)),
        Err(_) => Err(format!("no connection within {} s", CONNECT.as_secs())),
    };
    Connected { config: config.clone(), host }
}

fn started(ui: &Ui, config: &HostConfig) {
    ui.emit(Event::StepStarted { host: config.label(), step: STEP.into(), title: TITLE.into() });
}

/// Why a host does not answer, in a few words.
fn reason(error: &RemoteError) -> String {
    match error {
        RemoteError::Unreachable { reason, .. } => reason.clone(),
        RemoteError::HostKeyUnknown { .. } => format!("{error}; --yes accepts it"),
        _ => error.to_string(),
    }
}

/// Looks at everything at once; what cannot be told says why.
async fn look(ui: &Ui, args: &Status, cluster: &Cluster, connected: Vec<Connected>, assets: Assets) -> Report {
    let again = match &args.target.config {
        Some(path) => format!("etcdless init -c {}", path.display()),
        None => "etcdless init -c FILE".into(),
    };
    let looked = async {
        let looks = join_all(connected.iter().map(|one| look_at(ui, cluster, one))).await;
        let drift = drift(cluster, &connected, &looks, assets).await;
        (looks, drift)
    };
    let ((looks, drift), stores) = tokio::join!(looked, stores(ui, args, cluster, &connected));
    let hosts = connected.iter().zip(looks).zip(drift).map(|((one, (look, lock)), drift)| Place {
        config: &one.config,
        look,
        lock,
        drift,
    });
    status::judge(&Seen { cluster, hosts: hosts.collect(), stores, again })
}

/// What a host tells, and who holds its lock.
async fn look_at(ui: &Ui, cluster: &Cluster, one: &Connected) -> (Result<Look, String>, Option<String>) {
    let label = one.config.label();
    let (step, title) = (STEP.to_owned(), TITLE.to_owned());
    let host = match &one.host {
        Ok(host) => host,
        Err(reason) => {
            ui.emit(Event::StepFailed { host: label, step, title, message: reason.clone() });
            return (Err(reason.clone()), None);
        }
    };
    let began = Instant::now();
    let both = async { tokio::join!(status::look(host, cluster), host.lock_owner()) };
    let answer = match timeout(LOOK, both).await {
        Ok((look, lock)) => (look.map_err(|error| reason(&error)), lock.ok().flatten()),
        Err(_) => (Err(format!("no answer within {} s", LOOK.as_secs())), None),
    };
    ui.emit(match &answer.0 {
        Ok(_) => Event::StepDone { host: label, step, title, seconds: began.elapsed().as_secs_f64() },
        Err(reason) => Event::StepFailed { host: label, step, title, message: reason.clone() },
    });
    answer
}

/// What `init` would change on each host. What a worker that is gone would tell changes nothing elsewhere; of others it would.
async fn drift(
    cluster: &Cluster,
    connected: &[Connected],
    looks: &[(Result<Look, String>, Option<String>)],
    assets: Assets,
) -> Vec<Told<Vec<Change>>> {
    let not_told = |why: String| Told::NotTold { not_told: why };
    let answers: Vec<bool> = looks.iter().map(|(look, _)| look.is_ok()).collect();
    let gone = connected.iter().zip(&answers).filter(|(_, answers)| !**answers).map(|(one, _)| &one.config);
    let needed: Vec<String> = gone.filter(|config| config.role != Role::Worker).map(HostConfig::label).collect();
    let planned = match needed.is_empty() {
        false => Err(format!("what others should be depends on {}", needed.join(", "))),
        true => match timeout(ASIDE, plans(cluster, connected, &answers, assets)).await {
            Ok(planned) => planned.map_err(|failure| failure.message),
            Err(_) => Err(format!("no plan within {} s", ASIDE.as_secs())),
        },
    };
    let mut planned = match planned {
        Ok(planned) => planned.into_iter(),
        Err(why) => return connected.iter().map(|_| not_told(why.clone())).collect(),
    };
    let of = |answers: &bool| match answers.then(|| planned.next()).flatten() {
        Some(changes) => Told::Told(changes),
        None => not_told("the host does not answer".into()),
    };
    answers.iter().map(of).collect()
}

/// The changes of the hosts that answer, as `init --dry-run` plans them.
async fn plans(
    cluster: &Cluster,
    connected: &[Connected],
    answers: &[bool],
    assets: Assets,
) -> Result<Vec<Vec<Change>>, Failure> {
    let selection = Selection { skip: vec!["preflight".into()], ..Selection::default() };
    let desired = Desired {
        manifest: session::manifest(cluster)?,
        scripts: session::scripts(cluster)?,
        ..Desired::new(cluster.clone(), assets, Credentials::of_all(cluster)?, selection, session::run_id())
    };
    let places: Vec<survey::Place<'_, Host>> = connected
        .iter()
        .zip(answers)
        .filter(|(_, answers)| **answers)
        .filter_map(|(one, _)| Some(survey::Place { host: one.host.as_ref().ok()?, config: &one.config }))
        .collect();
    let surveyed = desired.survey(&places).await?;
    let change = |(step, change): (&crate::phase::Step, &str)| Change {
        step: step.id.clone(),
        title: step.title.clone(),
        change: change.to_owned(),
    };
    Ok(surveyed.hosts.iter().map(|seen| seen.plan.changes().map(change).collect()).collect())
}

/// The stores, asked from the first control plane that answers.
async fn stores(ui: &Ui, args: &Status, cluster: &Cluster, connected: &[Connected]) -> Told<Vec<Store>> {
    let mut control_planes = connected.iter().filter(|one| one.config.role.is_control_plane());
    let Some(host) = control_planes.find_map(|one| one.host.as_ref().ok()) else {
        return Told::NotTold { not_told: "no control plane answers".into() };
    };
    let asked = async {
        let (cluster, credentials) =
            stores::resolve(ui, &args.target, cluster).await.map_err(|failure| failure.message)?;
        datastore::status(host, &cluster, &credentials).await.map_err(|error| error.to_string())
    };
    match timeout(ASIDE, asked).await {
        Ok(report) => report.map(|report| status::stores(&report)).into(),
        Err(_) => Told::NotTold { not_told: format!("no answer within {} s", ASIDE.as_secs()) },
    }
}

/// A table for people; for machines an event a host, and one for everything that was judged.
fn tell(ui: &Ui, report: &Report) {
    for host in &report.hosts {
        let status = serde_json::to_value(host).unwrap_or_default();
        ui.emit(Event::Host { host: host.host.clone(), status });
        for check in &host.checks {
            emit(ui, &host.host, check.name, check.level, &check.detail);
        }
    }
    for store in report.stores.told().into_iter().flatten() {
        let level = if store.wrong.is_empty() { Level::Ok } else { Level::Degraded };
        emit(ui, &report.cluster, &format!("datastore/{}", store.shard), level, &store.detail);
    }
    for check in &report.checks {
        emit(ui, &report.cluster, check.name, check.level, &check.detail);
    }
    if ui.format() == Format::Text {
        ui::result(&report.table(std::io::stdout().is_terminal() && console::colors_enabled()));
    }
}

/// What is a warning is well enough, and told as one.
fn emit(ui: &Ui, host: &str, name: &str, level: Level, detail: &str) {
    if level == Level::Warning && ui.format() == Format::Json {
        ui.emit(Event::Warning { host: host.to_owned(), text: format!("{name}: {detail}") });
    }
    let (host, name, detail) = (host.to_owned(), name.to_owned(), detail.to_owned());
    ui.emit(Event::Check { host, name, ok: level != Level::Degraded, detail });
}

//! `datastore check`: can the control planes use their server, and is it as kine needs it?

use crate::cli::datastore::Check;
use crate::commands::{Ended, session, stores};
use crate::config::credentials::Credentials;
use crate::config::{Cluster, Host as HostConfig, Role};
use crate::datastore::check::{self, Report};
use crate::facts::Probes;
use crate::failure::Failure;
use crate::phase::preflight;
use crate::remote::{Host, Query};
use crate::ui::{self, Event, Format, Ui};

pub(super) async fn run(args: Check) -> Result<(), Ended> {
    let described = session::describe(&args.target, None)?;
    let args = &args;
    session::under_ui(args.show, |ui, _| async move {
        let reports = reports(&ui, args, described).await?;
        if ui.format() == Format::Text {
            let tables: Vec<String> = reports.iter().map(|report| shown(report, reports.len() > 1)).collect();
            ui::result(&tables.join("\n\n"));
        }
        let failures = reports.iter().filter_map(|report| report.failure(|_| false));
        failures.reduce(both).map_or(Ok(()), Err)
    })
    .await
}

/// One a control plane. Without a file the description is the one that the host keeps.
async fn reports(ui: &Ui, args: &Check, described: Cluster) -> Result<Vec<Report>, Failure> {
    if args.target.config.is_none() {
        let found = session::find(ui, &args.target, described).await?;
        let ours = preflight::holds_cluster(&found.facts);
        let (cluster, credentials) = stores::resolve(ui, &args.target, &found.cluster).await?;
        return Ok(vec![look(ui, &found.host, &found.config, &cluster, &credentials, ours).await?]);
    }
    let (cluster, credentials) = stores::resolve(ui, &args.target, &described).await?;
    let mut reports = Vec::new();
    for config in described.spec.hosts.iter().filter(|host| host.role == Role::ControlPlane) {
        let host = session::connect(ui, &args.target, config).await?;
        let facts = host.facts(&Probes::default()).await.map_err(|error| session::unreachable(&error, config))?;
        reports.push(look(ui, &host, config, &cluster, &credentials, preflight::holds_cluster(&facts)).await?);
    }
    Ok(reports)
}

async fn look(
    ui: &Ui,
    host: &Host,
    config: &HostConfig,
    cluster: &Cluster,
    credentials: &[Credentials],
    ours: bool,
) -> Result<Report, Failure> {
    let report = check(ui, host, config, cluster, credentials, ours).await?;
    if ui.format() == Format::Json {
        for text in report.warnings(|_| false) {
            ui.emit(Event::Warning { host: report.host.clone(), text });
        }
    }
    Ok(report)
}

/// Checks the server from one host; its lines become events.
pub(in crate::commands) async fn check(
    ui: &Ui,
    host: &Host,
    config: &HostConfig,
    cluster: &Cluster,
    credentials: &[Credentials],
    ours: bool,
) -> Result<Report, Failure> {
    let checked = check::check(host, cluster, credentials, ours).await;
    let report = checked.map_err(|error| session::unreachable(&error, config))?;
    for line in &report.lines {
        let (name, ok, detail) = (line.name.to_owned(), !line.is_error(), line.text());
        ui.emit(Event::Check { host: report.host.clone(), name, ok, detail });
    }
    Ok(report)
}

fn shown(report: &Report, several: bool) -> String {
    let head = if several { format!("{}:\n", report.host) } else { String::new() };
    match report.lines.is_empty() {
        true => format!("{head}the state is in a SQLite file on the control plane: there is no server to check"),
        false => format!("{head}{}", report.table()),
    }
}

fn both(mut first: Failure, second: Failure) -> Failure {
    first.details.push(second.message);
    first.details.extend(second.details);
    first
}

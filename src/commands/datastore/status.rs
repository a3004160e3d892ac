//! `datastore status`: what is in the stores, and does one need a hand?

use crate::cli::datastore::Status;
use crate::commands::{Ended, session, stores};
use crate::config::{Cluster, Host as HostConfig};
use crate::datastore::status::{self, Report};
use crate::failure::Failure;
use crate::remote::Host;
use crate::ui::{self, Event, Format, Ui};

pub(super) async fn run(args: Status) -> Result<(), Ended> {
    let described = session::describe(&args.target, None)?;
    let args = &args;
    session::under_ui(args.show, |ui, _| async move {
        let (host, config, cluster) = first(&ui, args, described).await?;
        let (cluster, credentials) = stores::resolve(&ui, &args.target, &cluster).await?;
        let asked = status::status(&host, &cluster, &credentials).await;
        let report = asked.map_err(|error| session::unreachable(&error, &config))?;
        tell(&ui, &report);
        report.failure().map_or(Ok(()), Err)
    })
    .await
}

/// A control plane that answers. Without a file the description is the one that it keeps.
async fn first(ui: &Ui, args: &Status, described: Cluster) -> Result<(Host, HostConfig, Cluster), Failure> {
    if args.target.config.is_none() {
        let found = session::find(ui, &args.target, described).await?;
        return Ok((found.host, found.config, found.cluster));
    }
    let (host, config) = session::control_plane(ui, &args.target, &described).await?;
    Ok((host, config, described))
}

/// A table for people; for machines an event with the numbers of each store, and one a line of the table.
fn tell(ui: &Ui, report: &Report) {
    for status in &report.stores {
        let status = serde_json::to_value(status).unwrap_or_default();
        ui.emit(Event::Datastore { host: report.host.clone(), status });
    }
    for (shard, lines) in report.lines() {
        for line in lines {
            let name = format!("{shard}/{}", line.name);
            ui.emit(Event::Check { host: report.host.clone(), name, ok: !line.is_error(), detail: line.text() });
        }
    }
    if ui.format() == Format::Text {
        ui::result(&report.table());
    }
}

//! `verify`: is the cluster really up?

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::Ended;
use super::session;
use crate::assets::Assets;
use crate::cli::Verify;
use crate::cluster::node::Node;
use crate::config::Cluster;
use crate::failure::{Failure, Kind};
use crate::phase::verify::{self, Report};
use crate::remote::Query;
use crate::ui::{self, Event, Format, Ui};

pub(super) async fn run(args: Verify) -> Result<(), Ended> {
    let described = session::describe(&args.target, None)?;
    let assets = Assets::load(None)?;
    let args = &args;
    session::under_ui(args.show, |ui, _| async move {
        let found = session::find(&ui, &args.target, described).await?;
        let node = Node::new(&found.cluster, &found.config, &found.facts)
            .ok_or_else(|| Failure::new(Kind::Unhealthy, format!("{} has no usable address", found.config.label())))?;
        let deadline = Duration::from_secs(args.timeout);
        let report = watch(&ui, &found.host, &found.cluster, &node, &assets, &BTreeSet::new(), deadline).await?;
        if ui.format() == Format::Text {
            ui::result(&report.table());
        }
        report.failure().map_or(Ok(()), Err)
    })
    .await
}

/// Verifies while the terminal shows what is waited for; the lines of the report become events. `absent`
/// is as [`verify::verify`] takes it.
pub(super) async fn watch(
    ui: &Ui,
    host: &impl Query,
    cluster: &Cluster,
    node: &Node,
    assets: &Assets,
    absent: &BTreeSet<String>,
    deadline: Duration,
) -> Result<Report, Failure> {
    let began = Instant::now();
    let (label, step, title) = (node.label.clone(), "verify/cluster".to_owned(), "verify the cluster".to_owned());
    ui.emit(Event::StepStarted { host: label.clone(), step: step.clone(), title: title.clone() });
    let mut last = String::new();
    let progress = |items: &[verify::Item]| {
        let waiting = items.iter().find(|item| !item.ok).map(|item| format!("{}: {}", item.name, item.detail));
        if let Some(line) = waiting.filter(|line| *line != last) {
            last.clone_from(&line);
            ui.emit(Event::StepLine { host: label.clone(), step: step.clone(), line });
        }
    };
    let report = verify::verify(host, cluster, node, assets, absent, deadline, progress).await?;
    let seconds = began.elapsed().as_secs_f64();
    match report.checks.iter().filter(|item| !item.ok).count() {
        0 => ui.emit(Event::StepDone { host: label.clone(), step, title, seconds }),
        bad => {
            let message = format!("{bad} of {} checks", report.checks.len());
            ui.emit(Event::StepFailed { host: label.clone(), step, title, message });
        }
    }
    for item in &report.checks {
        let (name, detail) = (item.name.to_owned(), item.detail.clone());
        ui.emit(Event::Check { host: label.clone(), name, ok: item.ok, detail });
    }
    ui.emit(Event::Phase { phase: "verify".into(), seconds });
    Ok(report)
}

//! `verify`: is the cluster really up?

use std::time::Duration;

use super::Ended;
use super::session;
use crate::assets::Assets;
use crate::cli::Verify;
use crate::cluster::node::Node;
use crate::failure::{Failure, Kind};
use crate::phase::verify;
use crate::ui::{self, Event, Format};

pub(super) async fn run(args: Verify) -> Result<(), Ended> {
    let described = session::describe(&args.target, None)?;
    let assets = Assets::load(None)?;
    let args = &args;
    session::under_ui(args.show, |ui, _| async move {
        let found = session::find(&ui, &args.target, described).await?;
        let node = Node::new(&found.cluster, &found.config, &found.facts)
            .ok_or_else(|| Failure::new(Kind::Unhealthy, format!("{} has no usable address", found.config.label())))?;
        let progress = |text: &str| ui.note(None, text);
        let deadline = Duration::from_secs(args.timeout);
        let report = verify::verify(&found.host, &found.cluster, &node, &assets, deadline, &progress).await?;
        match ui.format() {
            Format::Text => ui::result(&report.table()),
            Format::Json => {
                for item in &report.checks {
                    let (host, name, detail) = (node.label.clone(), item.name.clone(), item.detail.clone());
                    ui.emit(Event::Check { host, name, ok: item.ok, detail });
                }
            }
        }
        report.failure().map_or(Ok(()), Err)
    })
    .await
}

//! `datastore compact`: what is superseded goes.

use serde_json::json;

use super::open::{self, agree, patiently};
use crate::cli::datastore::Compact;
use crate::commands::{Ended, session};
use crate::datastore::upkeep::compact::{self, Done, Plan};
use crate::ui::{self, Format, Ui};

pub(super) async fn run(args: Compact) -> Result<(), Ended> {
    let Compact { look, store, keep, dry_run, show } = args;
    let (seconds, yes) = (look.timeout, look.login.yes);
    let (target, _) = open::words(look, [], true)?;
    session::under_ui(show, |ui, _| async move {
        let opened = open::open(&ui, &target, seconds).await?;
        let mut needed = Vec::new();
        for place in opened.places(store.as_deref())? {
            let look = async {
                compact::plan(opened.host(), place, keep, seconds).await.map_err(|error| opened.failed(error))
            };
            let plan = patiently(&ui, opened.name(), &format!("count what may go of {}", place.shard), look).await?;
            tell(&ui, &plan);
            if plan.is_needed() {
                needed.push((place, plan));
            }
        }
        ui.settled().await;
        if dry_run || needed.is_empty() {
            return Ok(());
        }
        agree(&ui, yes, "Compact?").await?;
        for (place, plan) in &needed {
            let work = async { plan.run(opened.host(), place, seconds).await.map_err(|error| opened.failed(error)) };
            let done = patiently(&ui, opened.name(), &format!("compact {}", plan.shard), work).await?;
            tell_done(&ui, plan, done);
        }
        Ok(())
    })
    .await
}

/// What it would cost.
fn tell(ui: &Ui, plan: &Plan) {
    let Plan { shard, engine, newest, compacted, to, gone } = plan;
    if ui.format() == Format::Json {
        let rows = gone.map(|gone| gone.rows);
        let bytes = gone.map(|gone| gone.bytes);
        let line = json!({ "event": "compaction", "store": shard, "engine": engine, "newest": newest, "compacted": compacted, "to": to,
            "rows": rows, "bytes": bytes });
        return ui::result(&line.to_string());
    }
    ui::result(&format!("{shard}: {engine}, newest revision {newest}, compacted to {compacted}"));
    ui::result(&match (plan.is_needed(), gone) {
        (false, _) => {
            format!("  nothing to compact: the {} newest revisions are kept", newest.saturating_sub(*compacted))
        }
        (true, Some(gone)) => {
            format!("  to {to}: about {} rows go, with {} of values", gone.rows, ui::bytes(gone.bytes))
        }
        (true, None) => format!("  to {to}: how many rows go is not known, since the store is asked by its API alone"),
    });
    if plan.is_needed() {
        ui::result("  watches that began earlier list again; `history` and `get --revision` begin there");
    }
}

fn tell_done(ui: &Ui, plan: &Plan, done: Done) {
    let (shard, Done { compacted, rows }) = (&plan.shard, done);
    if ui.format() == Format::Json {
        let line = json!({ "event": "compacted", "store": shard, "before": plan.compacted, "compacted": compacted, "rows": rows });
        return ui::result(&line.to_string());
    }
    let rows = rows.map(|rows| format!("; {rows} rows are gone")).unwrap_or_default();
    ui::result(&format!("{shard}: compacted to {compacted}, before to {}{rows}", plan.compacted));
}

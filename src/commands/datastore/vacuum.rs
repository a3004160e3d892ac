//! `datastore vacuum`: room that is free within a store is given back.

use serde_json::json;

use super::open::{self, agree, patiently};
use crate::cli::datastore::Vacuum;
use crate::commands::{Ended, session};
use crate::datastore::upkeep::vacuum::{self, Plan, Way};
use crate::ui::{self, Format, Ui};

pub(super) async fn run(args: Vacuum) -> Result<(), Ended> {
    let Vacuum { look, store, full, dry_run, show } = args;
    let (seconds, yes) = (look.timeout, look.login.yes);
    let (target, _) = open::words(look, [], true)?;
    session::under_ui(show, |ui, _| async move {
        let opened = open::open(&ui, &target, seconds).await?;
        let mut plans = Vec::new();
        for place in opened.places(store.as_deref())? {
            let look =
                async { vacuum::plan(opened.host(), place, full, seconds).await.map_err(|error| opened.failed(error)) };
            let plan = patiently(&ui, opened.name(), &format!("see what is free in {}", place.shard), look).await?;
            tell(&ui, &plan);
            plans.push((place, plan));
        }
        ui.settled().await;
        if dry_run {
            return Ok(());
        }
        agree(&ui, yes, "Vacuum?").await?;
        for (place, before) in plans {
            let work = async {
                before.run(opened.host(), place).await.map_err(|error| opened.failed(error))?;
                vacuum::plan(opened.host(), place, full, seconds).await.map_err(|error| opened.failed(error))
            };
            let after = patiently(&ui, opened.name(), &format!("vacuum {}", before.shard), work).await?;
            tell_done(&ui, &before, &after);
        }
        Ok(())
    })
    .await
}

/// What there is to gain, and what it costs.
fn tell(ui: &Ui, plan: &Plan) {
    let Plan { shard, engine, way, size, empty, free } = plan;
    let seconds = plan.seconds();
    if ui.format() == Format::Json {
        let line = json!({ "event": "vacuum", "store": shard, "engine": engine, "bytes": size, "empty": empty, "needs": plan.needs(),
            "free": free, "seconds": seconds });
        return ui::result(&line.to_string());
    }
    let what = if *way == Way::File { "the file" } else { "kine's table" };
    ui::result(&format!(
        "{shard}: {engine}, {what} has {}, of which about {} are empty",
        ui::bytes(*size),
        ui::bytes(*empty)
    ));
    let needs = ui::bytes(plan.needs());
    let room = match free {
        Some(free) => format!("{needs} beside it, of {} that are free", ui::bytes(*free)),
        None => format!("{needs} on the server's disk, which does not tell what it has"),
    };
    ui::result(&match way {
        Way::Reuse => {
            "  VACUUM: nobody waits; the room is kine's to use again, and the table stays as large (--full shrinks it)"
                .into()
        }
        Way::Full => format!(
            "  VACUUM FULL: the API server waits for about {seconds} s (controllers restart after 10); until it ends it needs {room}"
        ),
        Way::Rebuild => format!(
            "  OPTIMIZE TABLE: takes about {seconds} s, kine goes on but for a moment at its begin and end; until it ends it needs {room}"
        ),
        Way::File => format!(
            "  VACUUM: the API server's writes wait for about {seconds} s (kine lets them fail after 30); until it ends it needs {room}"
        ),
    });
}

fn tell_done(ui: &Ui, before: &Plan, after: &Plan) {
    let shard = &before.shard;
    if ui.format() == Format::Json {
        let line = json!({ "event": "vacuumed", "store": shard, "before": before.size, "bytes": after.size });
        return ui::result(&line.to_string());
    }
    ui::result(&format!("{shard}: vacuumed; {}, before {}", ui::bytes(after.size), ui::bytes(before.size)));
}

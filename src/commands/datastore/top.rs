//! `datastore top`: what stands out.

use serde_json::json;

use super::open::{self, patiently, table};
use crate::cli::datastore;
use crate::commands::{Ended, session};
use crate::datastore::explore::{Heavy, Top};
use crate::ui::{self, Format};

pub(super) async fn run(args: datastore::Top) -> Result<(), Ended> {
    let datastore::Top { look, limit, show } = args;
    let seconds = look.timeout;
    let (target, _) = open::words(look, [], true)?;
    session::under_ui(show, |ui, _| async move {
        let opened = open::open(&ui, &target, seconds).await?;
        let mut parts = Vec::new();
        for place in &opened.places {
            let mut store = opened.store(place).await?;
            let shard = store.shard.clone();
            open::tell(&ui, &store);
            let look = async { store.top(limit.into()).await.map_err(|error| opened.failed(error)) };
            let top = patiently(&ui, opened.name(), &format!("see what stands out in {shard}"), look).await?;
            match ui.format() {
                Format::Json => lines(&shard, &top),
                Format::Text if opened.has_several() => parts.push(format!("store {shard}\n\n{}", shown(&top))),
                Format::Text => parts.push(shown(&top)),
            }
        }
        if ui.format() == Format::Text {
            ui::result(&parts.join("\n\n"));
        }
        Ok(())
    })
    .await
}

fn lines(shard: &str, top: &Top) {
    for (by, found) in [("bytes", &top.largest), ("revisions", top.rewritten.as_ref().unwrap_or(&Vec::new()))] {
        for Heavy { key, amount } in found {
            ui::result(&json!({ "event": "top", "store": shard, "by": by, "key": key, by: amount }).to_string());
        }
    }
}

fn shown(top: &Top) -> String {
    let rows = |found: &[Heavy], text: &dyn Fn(u64) -> String| -> Vec<Vec<String>> {
        found.iter().map(|heavy| vec![text(heavy.amount), heavy.key.clone()]).collect()
    };
    let largest = table(&["BYTES ", "LARGEST"], &rows(&top.largest, &ui::bytes));
    match &top.rewritten {
        Some(found) => {
            let rewritten = table(&["REVISIONS ", "MOST REWRITTEN"], &rows(found, &|many| many.to_string()));
            format!("{largest}\n\n{rewritten}")
        }
        None => format!(
            "{largest}\n\nwhat is rewritten most is not told: kine does not count, and there is no SQL to ask with"
        ),
    }
}

//! `datastore count`: what there is of each resource.

use std::collections::BTreeMap;

use serde_json::json;

use super::open::{self, patiently, table};
use crate::cli::datastore::Count;
use crate::commands::{Ended, session};
use crate::datastore::explore::Tally;
use crate::ui::{self, Format};

pub(super) async fn run(args: Count) -> Result<(), Ended> {
    let Count { look, show } = args;
    let seconds = look.timeout;
    let (target, _) = open::words(look, [], true)?;
    session::under_ui(show, |ui, _| async move {
        let opened = open::open(&ui, &target, seconds).await?;
        let mut found: BTreeMap<(String, String), Tally> = BTreeMap::new();
        for place in &opened.places {
            let mut store = opened.store(place).await?;
            let shard = store.shard.clone();
            open::tell(&ui, &store);
            let count = async { store.tally().await.map_err(|error| opened.failed(error)) };
            let tallies = patiently(&ui, opened.name(), &format!("count what is in {shard}"), count).await?;
            found.extend(tallies.into_iter().map(|(resource, tally)| ((resource, shard.clone()), tally)));
        }
        match ui.format() {
            Format::Text => ui::result(&shown(&found, opened.has_several())),
            Format::Json => {
                for ((resource, store), Tally { objects, revisions, bytes }) in &found {
                    let line = json!({ "event": "resource", "resource": resource, "store": store, "objects": objects, "revisions": revisions,
                        "bytes": bytes });
                    ui::result(&line.to_string());
                }
            }
        }
        Ok(())
    })
    .await
}

fn shown(found: &BTreeMap<(String, String), Tally>, several: bool) -> String {
    let row = |name: &str, tally: &Tally, store: &str| {
        let revisions = tally.revisions.map_or_else(|| "-".to_owned(), |many| many.to_string());
        let mut row = vec![name.to_owned(), tally.objects.to_string(), revisions, ui::bytes(tally.bytes)];
        row.extend(several.then(|| store.to_owned()));
        row
    };
    let mut rows: Vec<_> = found.iter().map(|((resource, store), tally)| row(resource, tally, store)).collect();
    let sum = found.values().fold(Tally { revisions: Some(0), ..Tally::default() }, |sum, tally| Tally {
        objects: sum.objects + tally.objects,
        revisions: sum.revisions.zip(tally.revisions).map(|(sum, more)| sum + more),
        bytes: sum.bytes + tally.bytes,
    });
    rows.push(row("all", &sum, ""));
    let head = ["RESOURCE", "OBJECTS ", "REVISIONS ", "BYTES ", "STORE"];
    table(&head[..if several { 5 } else { 4 }], &rows)
}

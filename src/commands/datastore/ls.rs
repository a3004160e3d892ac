//! `datastore ls`: keys, a page at a time.

use serde_json::json;

use super::open;
use crate::cli::datastore::Ls;
use crate::commands::{Ended, session};
use crate::datastore::explore::{Entry, ROOT, key};
use crate::ui::{self, Format};

pub(super) async fn run(args: Ls) -> Result<(), Ended> {
    let Ls { look, show } = args;
    let seconds = look.timeout;
    let (target, words) = open::words(look, ["[PREFIX]"], true)?;
    let prefix = words.first().map_or_else(|| ROOT.to_owned(), |said| key::key(said));
    session::under_ui(show, |ui, _| async move {
        let opened = open::open(&ui, &target, seconds).await?;
        ui.settled().await;
        let mut found = 0;
        for place in &opened.places {
            let mut store = opened.store(place).await?;
            let shard = store.shard.clone();
            let line = |Entry { key, revision }: Entry| match (ui.format(), opened.has_several()) {
                (Format::Json, _) => {
                    format!("{}\n", json!({ "event": "key", "store": shard, "key": key, "revision": revision }))
                }
                (Format::Text, true) => format!("{key}\t{shard}\n"),
                (Format::Text, false) => format!("{key}\n"),
            };
            let page = |entries: Vec<Entry>| {
                found += entries.len();
                let lines: String = entries.into_iter().map(line).collect();
                ui::raw(lines.as_bytes());
            };
            store.keys(&prefix, page).await.map_err(|error| opened.failed(error))?;
        }
        if found == 0 && prefix != ROOT {
            let mut store = opened.store_of(&prefix).await?;
            return Err(opened.missing(&mut store, &prefix, None).await);
        }
        Ok(())
    })
    .await
}

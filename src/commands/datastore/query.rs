//! `datastore query`: SQL that can only read.

use std::io::{BufRead as _, IsTerminal as _};

use serde_json::{Map, Value as Json, json};

use super::open;
use crate::cli::datastore::Query;
use crate::commands::{Ended, session};
use crate::datastore::explore::Store;
use crate::failure::{Failure, Kind};
use crate::ui::{self, Format, Ui};

pub(super) async fn run(args: Query) -> Result<(), Ended> {
    let Query { look, store: name, show } = args;
    let seconds = look.timeout;
    let (target, words) = open::words(look, ["[SQL]"], true)?;
    session::under_ui(show, |ui, _| async move {
        let opened = open::open(&ui, &target, seconds).await?;
        let places = opened.places(Some(&name))?;
        let place = places.first().ok_or_else(|| Failure::new(Kind::Config, "the cluster has no store"))?;
        let mut store = opened.store(place).await?;
        ui.settled().await;
        if let Some(statement) = words.first() {
            return ask(&ui, &mut store, statement).await.map_err(|error| opened.failed(error));
        }
        if std::io::stdin().is_terminal() {
            ui.note(None, format!("{}, reading only; an empty line ends", store.engine));
            while let Some(line) = ui.ask(&format!("{name}>")).await.filter(|line| !line.is_empty()) {
                if let Err(error) = ask(&ui, &mut store, &line).await {
                    ui::failure(&opened.failed(error), None);
                }
            }
            return Ok(());
        }
        for line in std::io::stdin().lock().lines().map_while(Result::ok).filter(|line| !line.trim().is_empty()) {
            ask(&ui, &mut store, &line).await.map_err(|error| opened.failed(error))?;
        }
        Ok(())
    })
    .await
}

/// Prints columns apart by tabs below their names, or an object a row.
async fn ask(ui: &Ui, store: &mut Store<'_>, statement: &str) -> Result<(), crate::datastore::explore::Error> {
    let mut names: Option<Vec<String>> = None;
    let statement = statement.trim().trim_end_matches(';');
    let each = |row: &[Option<String>]| {
        let text = |cell: &Option<String>| cell.clone().unwrap_or_else(|| "NULL".into());
        let Some(names) = &names else {
            names = Some(row.iter().map(text).collect());
            if ui.format() == Format::Text {
                ui::result(&row.iter().map(text).collect::<Vec<_>>().join("\t"));
            }
            return;
        };
        match ui.format() {
            Format::Text => ui::result(&row.iter().map(text).collect::<Vec<_>>().join("\t")),
            Format::Json => {
                let cells =
                    names.iter().cloned().zip(row.iter().map(|cell| cell.clone().map_or(Json::Null, Json::String)));
                ui::result(&json!({ "event": "row", "row": Map::from_iter(cells) }).to_string());
            }
        }
    };
    store.query(statement, each).await
}

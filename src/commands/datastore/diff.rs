//! `datastore diff`: how two revisions of a key differ.

use serde_json::{Value as Json, json};
use similar::TextDiff;

use super::open;
use crate::cli::datastore::Diff;
use crate::commands::{Ended, session};

use crate::datastore::explore::history::fields;
use crate::datastore::explore::{Version, key, show};
use crate::datastore::value::{Value, decode};
use crate::failure::{Failure, Kind};
use crate::ui::{self, Format};

pub(super) async fn run(args: Diff) -> Result<(), Ended> {
    let Diff { look, show } = args;
    let seconds = look.timeout;
    let (target, words) = open::words(look, ["KEY", "REVISION", "REVISION"], false)?;
    let key = words.first().map(|said| key::key(said)).unwrap_or_default();
    let revisions = words[1..].iter().map(|word| {
        word.parse::<u64>().map_err(|_| Failure::new(Kind::Usage, format!("`{word}` is no revision: they are numbers")))
    });
    let revisions = revisions.collect::<Result<Vec<u64>, Failure>>()?;
    session::under_ui(show, |ui, _| async move {
        let opened = open::open(&ui, &target, seconds).await?;
        let mut store = opened.store_of(&key).await?;
        let mut states = Vec::new();
        for revision in revisions {
            match store.at(&key, Some(revision)).await.map_err(|error| opened.failed(error))? {
                Some(version) => states.push((revision, version)),
                None => return Err(opened.missing(&mut store, &key, Some(revision)).await),
            }
        }
        let [(from, one), (to, other)] = &states[..] else { return Ok(()) };
        let (before, after) = sides(&key, one, other);
        let text = |side: &Json| show::as_yaml(side).map_err(|error| Failure::new(Kind::Internal, error));
        let (old, new) = (text(&before)?, text(&after)?);
        let diff = TextDiff::from_lines(&old, &new);
        let diff = diff.unified_diff().header(&format!("{key} at {from}"), &format!("{key} at {to}")).to_string();
        match ui.format() {
            Format::Json => ui::result(
                &json!({ "event": "diff", "key": key, "from": from, "to": to, "fields": fields(&before, &after), "diff": diff })
                    .to_string(),
            ),
            Format::Text if diff.is_empty() => ui.note(None, format!("{key} is the same at {from} and at {to}")),
            Format::Text => ui::result(&diff),
        }
        Ok(())
    })
    .await
}

/// Both as they are shown. Secrets show which of their entries differ, and not what they are.
fn sides(key: &str, one: &Version, other: &Version) -> (Json, Json) {
    let side = |version: &Version| match decode(&version.value) {
        Value::Object(object) => show::as_kubectl(object, version, false),
        value => show::instead(&value, key, version),
    };
    let (one, other) = (side(one), side(other));
    let after = show::masked(other, Some(&one));
    (show::masked(one, None), after)
}

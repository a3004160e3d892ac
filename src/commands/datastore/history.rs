//! `datastore history`: what happened to a key, and who says that they did it.

use serde_json::json;

use super::open::{self, patiently, table};
use crate::cli::datastore::History;
use crate::commands::{Ended, session};

use crate::datastore::explore::history::{Writer, fields, writers};
use crate::datastore::explore::{Version, key, show};
use crate::datastore::value::{Value, decode};
use crate::ui::{self, Format};

/// Fields that are named in a table.
const NAMED: usize = 4;

/// One line.
struct Line {
    revision: u64,
    what: &'static str,
    bytes: usize,
    writers: Vec<Writer>,
    /// Fields that differ from the line before, or what the value is where it shows none.
    fields: Vec<String>,
}

pub(super) async fn run(args: History) -> Result<(), Ended> {
    let History { look, show } = args;
    let seconds = look.timeout;
    let (target, words) = open::words(look, ["KEY"], false)?;
    let key = words.first().map(|said| key::key(said)).unwrap_or_default();
    session::under_ui(show, |ui, _| async move {
        let opened = open::open(&ui, &target, seconds).await?;
        let mut store = opened.store_of(&key).await?;
        let (mut lines, mut before) = (Vec::new(), None);
        let read = async {
            let compacted = store.history(&key, |version| lines.push(line(version, &mut before))).await;
            compacted.map_err(|error| opened.failed(error))
        };
        let compacted = patiently(&ui, opened.name(), &format!("read the history of {key}"), read).await?;
        if lines.is_empty() {
            return Err(opened.missing(&mut store, &key, None).await);
        }
        if let Some(first) = lines.first_mut().filter(|line| line.what == "created" && line.revision <= compacted) {
            first.what = "kept";
        }
        match ui.format() {
            Format::Text => ui::result(&shown(&lines, compacted)),
            Format::Json => {
                for Line { revision, what, bytes, writers, fields } in &lines {
                    let line = json!({ "event": "change", "store": store.shard, "key": key, "revision": revision, "what": what,
                        "bytes": bytes, "writers": writers, "fields": fields });
                    ui::result(&line.to_string());
                }
                ui::result(&json!({ "event": "history", "key": key, "compacted": compacted }).to_string());
            }
        }
        Ok(())
    })
    .await
}

/// A version as a line. `before` is the object that it followed, and becomes the one that it is.
fn line(version: Version, before: &mut Option<Value>) -> Line {
    let Version { revision, deleted, value } = version;
    let bytes = value.len();
    if deleted {
        *before = None;
        return Line { revision, what: "deleted", bytes: 0, writers: Vec::new(), fields: Vec::new() };
    }
    let value = decode(&value);
    let what = if before.is_some() { "updated" } else { "created" };
    let (writers, fields) = match (&before, &value) {
        (Some(Value::Object(old)), Value::Object(new)) => (writers(Some(old), new), fields(old, new)),
        (_, Value::Object(new)) => (writers(None, new), Vec::new()),
        (_, other) => (Vec::new(), vec![show::named(other, bytes)]),
    };
    *before = Some(value);
    Line { revision, what, bytes, writers, fields }
}

fn shown(lines: &[Line], compacted: u64) -> String {
    let row = |line: &Line| {
        let who: Vec<String> = line.writers.iter().map(name).collect();
        let when = line.writers.last().map(|writer| writer.time.clone()).filter(|time| !time.is_empty());
        let more = line.fields.len().saturating_sub(NAMED);
        let mut fields = line.fields.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
        if more > 0 {
            fields += &format!(" and {more} more");
        }
        let or_none = |text: String| if text.is_empty() { "-".to_owned() } else { text };
        vec![
            line.revision.to_string(),
            line.what.into(),
            or_none(when.unwrap_or_default()),
            or_none(who.join(", ")),
            fields,
        ]
    };
    let rows: Vec<Vec<String>> = lines.iter().map(row).collect();
    let begins = match lines.first() {
        Some(first) if first.what == "kept" => {
            format!("what was before revision {} is gone: the store is compacted to {compacted}", first.revision)
        }
        _ if compacted > 0 => format!("what was before revision {compacted} is gone: the store is compacted to it"),
        _ => "nothing is gone: the store was never compacted".to_owned(),
    };
    format!("{}\n\n{begins}", table(&["REVISION ", "WHAT", "WHEN", "WHO", "FIELDS"], &rows))
}

fn name(writer: &Writer) -> String {
    match writer.subresource.as_str() {
        "" => writer.manager.clone(),
        subresource => format!("{} ({subresource})", writer.manager),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value as Json;

    fn version(revision: u64, object: &Json) -> Version {
        Version { revision, deleted: object.is_null(), value: object.to_string().into() }
    }

    #[test]
    fn lines_follow_an_object_through_its_deletion() {
        let time = |second: u8| format!("2026-01-01T00:00:0{second}Z");
        let object = |replicas: u8| {
            json!({ "kind": "Deployment", "spec": { "replicas": replicas },
                "metadata": { "managedFields": [{ "manager": "kubectl", "time": time(replicas) }] } })
        };
        let mut before = None;
        let versions =
            [version(3, &object(1)), version(5, &object(2)), version(6, &Json::Null), version(9, &object(3))];
        let lines: Vec<Line> = versions.into_iter().map(|version| line(version, &mut before)).collect();
        assert_eq!(
            shown(&lines, 0),
            "REVISION  WHAT     WHEN                  WHO      FIELDS\n\
             \x20      3  created  2026-01-01T00:00:01Z  kubectl\n\
             \x20      5  updated  2026-01-01T00:00:02Z  kubectl  spec.replicas\n\
             \x20      6  deleted  -                     -\n\
             \x20      9  created  2026-01-01T00:00:03Z  kubectl\n\nnothing is gone: the store was never compacted"
        );
    }
}

//! What is asked of kine's table, the same of every engine.
//!
//! Revisions are read from the ends of indexes. Rows are counted by reading all of one, so an engine counts for [`COUNTING`] and no longer,
//! and in a transaction that reads only.

use super::lease;
use super::seen::{Revisions, Rows, Told};
use crate::datastore::check::bytes;

/// Seconds that a question about the table may take: less than anybody waits for an answer.
pub(super) const COUNTING: u64 = 8;

/// What stands for the answer of a question that took longer.
pub(super) fn too_long() -> String {
    format!("not counted within {COUNTING} s")
}

/// Rows of text, or why there are none.
pub(super) type Rowset = Result<Vec<Vec<String>>, String>;

/// How an engine writes what engines write differently.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dialect {
    /// A number as text.
    pub(super) text: fn(&str) -> String,
    /// Bytes as hexadecimal digits.
    pub(super) hex: fn(&str) -> String,
}

/// What the table tells. The name `etcdless` marks our own statements in the server's accounts of slow ones.
pub(super) async fn look(
    dialect: Dialect,
    mut ask: impl AsyncFnMut(String) -> Rowset,
) -> (Told<Revisions>, Told<Rows>) {
    let pair = |first: &str, second: &str| {
        format!(
            "SELECT {}, {} FROM ",
            (dialect.text)(&format!("etcdless.{first}")),
            (dialect.text)(&format!("etcdless.{second}"))
        )
    };
    // kine itself takes the larger one where an old release left two rows.
    let ends = pair("newest", "compacted")
        + "(SELECT COALESCE(MAX(id), 0) AS newest, (SELECT COALESCE(MAX(prev_revision), 0) FROM kine WHERE name = 'compact_rev_key') \
           AS compacted FROM kine) AS etcdless";
    let (current, compacted) = match ask(ends).await.and_then(numbers) {
        Ok(ends) => ends,
        Err(why) => return (Told::no(&why), Told::no(why)),
    };
    let lease = |order: &str| {
        format!(
            "SELECT {} FROM kine AS etcdless WHERE id > {compacted} AND name LIKE '/registry/leases/%' AND deleted = 0 ORDER BY id \
             {order} LIMIT 1",
            (dialect.hex)("value")
        )
    };
    let (first, last) = (renewed(ask(lease("ASC")).await), renewed(ask(lease("DESC")).await));
    let seconds = first.zip(last).map(|(first, last)| last.saturating_sub(first));
    let counts = pair("rows_all", "rows_live")
        + "(SELECT (SELECT COUNT(*) FROM kine) AS rows_all, (SELECT COUNT(*) FROM kine AS k JOIN (SELECT MAX(id) AS id FROM kine GROUP BY \
           name) AS newest ON newest.id = k.id WHERE k.deleted = 0) AS rows_live) AS etcdless";
    let rows = ask(counts).await.and_then(numbers);
    let rows = rows.map(|(all, live)| Rows { live, superseded: all.saturating_sub(live) });
    (Told::Told(Revisions { current, compacted, seconds }), rows.into())
}

/// The two numbers of an answer.
fn numbers(rows: Vec<Vec<String>>) -> Result<(u64, u64), String> {
    let numbers: Vec<u64> = rows.iter().flatten().filter_map(|text| text.parse().ok()).collect();
    match numbers[..] {
        [first, second] => Ok((first, second)),
        _ => Err(format!("the answer is {rows:?}")),
    }
}

/// When the Lease of an answer was renewed.
fn renewed(rows: Rowset) -> Option<u64> {
    rows.ok()?.iter().flatten().find_map(|hex| lease::renewed(&bytes(hex)))
}

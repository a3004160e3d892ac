//! What gives room back in a store that is in use. Each is told before with what it costs, and nothing that lives is ever touched.

pub mod compact;
pub mod vacuum;

use super::explore::{Error, Store};

/// The one row that a statement answers.
async fn row(store: &mut Store<'_>, sql: &str) -> Result<Vec<String>, Error> {
    let mut last = Vec::new();
    // The columns' names come first.
    let each = |row: &[Option<String>]| last = row.iter().map(|cell| cell.clone().unwrap_or_default()).collect();
    store.query(sql, each).await?;
    Ok(last)
}

/// A number of such a row; 0 where there is none.
fn number(row: &[String], at: usize) -> u64 {
    row.get(at).and_then(|text| text.parse().ok()).unwrap_or_default()
}

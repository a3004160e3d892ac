//! Everything that changed in kine's table after a revision, each key once, as it is now. After revision 0 that is all there is.
//!
//! Rows are passed on as they come, with no more of them in memory than the channel holds.

use futures_util::TryStreamExt;
use sqlx::mysql::MySqlConnection;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Row as _};
use tokio::sync::mpsc;

use super::{Batch, Change, Gone, Row, Span};
use crate::datastore::explore::{ROOT, key};

/// Where rows go to, a batch at a time.
pub type Out = mpsc::Sender<Vec<Change>>;

/// The columns, in the order that [`change`] takes them; `{value}` is how the value is asked for.
const COLUMNS: &str = "kine.name, kine.id, kine.created, kine.create_revision, kine.deleted, kine.lease, {value}";

/// The statement for a server or a file at hand.
fn statement(span: Span, below: &[String]) -> AssertSqlSafe<String> {
    AssertSqlSafe(sql(span, below, ("", ""), "kine.value"))
}

/// The statement for keys after `from`, as many as `limit` says.
pub(in crate::datastore) fn page(span: Span, below: &[String], from: &str, limit: usize, value: &str) -> String {
    let (rest, limit) = (format!(" AND name > {}", literal(from)), format!(" ORDER BY name LIMIT {limit}"));
    sql(span, below, (&rest, &limit), value)
}

/// `below` is what keys begin with.
fn sql(span: Span, below: &[String], (rest, limit): (&str, &str), value: &str) -> String {
    let Span { since, revision } = span;
    let columns = COLUMNS.replace("{value}", value);
    let range = |prefix: &String| format!("name >= {} AND name < {}", literal(prefix), literal(&key::after(prefix)));
    let ranges = below.iter().map(range).collect::<Vec<_>>().join(" OR ");
    format!(
        "SELECT {columns} FROM (SELECT MAX(id) AS id FROM kine WHERE ({ranges}){rest} AND id > {since} AND id <= {revision} GROUP BY \
         name{limit}) AS newest JOIN kine ON kine.id = newest.id"
    )
}

/// Keys of an API server's are without backslashes, which MySQL would take for more than they are.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// All keys of an API server's.
pub fn all() -> Vec<String> {
    vec![ROOT.to_owned()]
}

/// What a row tells: name, id, created, create_revision, deleted, lease, value.
pub(in crate::datastore) fn change(
    key: String,
    [id, created, create_revision, deleted, lease]: [u64; 5],
    value: Vec<u8>,
) -> Change {
    match deleted {
        0 => {
            let created = if created > 0 { id } else { create_revision };
            Change::Put(Row { key, created, revision: id, lease, value })
        }
        _ => Change::Deleted { key, revision: id },
    }
}

/// Why reading ended early.
#[derive(Debug)]
pub enum ReadError {
    /// The database's word.
    Sql(sqlx::Error),
    /// Whoever takes the rows takes no more.
    Gone(Gone),
}

impl From<sqlx::Error> for ReadError {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Gone> for ReadError {
    fn from(gone: Gone) -> Self {
        Self::Gone(gone)
    }
}

/// The statement for the names of keys that live.
fn names() -> AssertSqlSafe<String> {
    let sql = sql(Span::ALL, &all(), ("", ""), "kine.value");
    AssertSqlSafe(sql.replace(&COLUMNS.replace("{value}", "kine.value"), "kine.name") + " WHERE kine.deleted = 0")
}

/// The names of keys that live, of PostgreSQL.
pub async fn names_of_postgres(connection: &mut PgConnection, mut each: impl FnMut(String)) -> Result<(), sqlx::Error> {
    let mut rows = sqlx::query(names()).persistent(false).fetch(connection);
    while let Some(row) = rows.try_next().await? {
        each(row.try_get(0)?);
    }
    Ok(())
}

/// The names of keys that live, of MySQL or MariaDB.
pub async fn names_of_mysql(connection: &mut MySqlConnection, mut each: impl FnMut(String)) -> Result<(), sqlx::Error> {
    let mut rows = sqlx::query(names()).persistent(false).fetch(connection);
    while let Some(row) = rows.try_next().await? {
        let name: Vec<u8> = row.try_get_unchecked(0)?;
        each(String::from_utf8_lossy(&name).into_owned());
    }
    Ok(())
}

/// The names of keys that live, of a SQLite file that is here.
pub async fn names_of_sqlite(
    connection: &mut SqliteConnection,
    mut each: impl FnMut(String),
) -> Result<(), sqlx::Error> {
    let mut rows = sqlx::query(names()).persistent(false).fetch(connection);
    while let Some(row) = rows.try_next().await? {
        each(row.try_get(0)?);
    }
    Ok(())
}

/// Reads what is below some prefixes of PostgreSQL, in the transaction that is open.
pub async fn postgres(connection: &mut PgConnection, span: Span, below: &[String], out: &Out) -> Result<(), ReadError> {
    let mut rows = sqlx::query(statement(span, below)).persistent(false).fetch(connection);
    let mut batch = Batch::new(out);
    while let Some(row) = rows.try_next().await? {
        let [id, create_revision]: [i64; 2] = [row.try_get(1)?, row.try_get(3)?];
        let [created, deleted, lease]: [i32; 3] = [row.try_get(2)?, row.try_get(4)?, row.try_get(5)?];
        let numbers = [id, created.into(), create_revision, deleted.into(), lease.into()].map(i64::unsigned_abs);
        let value: Option<Vec<u8>> = row.try_get(6)?;
        batch.push(change(row.try_get(0)?, numbers, value.unwrap_or_default())).await?;
    }
    Ok(batch.end().await?)
}

/// Reads what is below some prefixes of MySQL or MariaDB, in the transaction that is open.
pub async fn mysql(connection: &mut MySqlConnection, span: Span, below: &[String], out: &Out) -> Result<(), ReadError> {
    let mut rows = sqlx::query(statement(span, below)).persistent(false).fetch(connection);
    let mut batch = Batch::new(out);
    while let Some(row) = rows.try_next().await? {
        let [id, create_revision]: [u64; 2] = [row.try_get(1)?, row.try_get(3)?];
        let [created, deleted, lease]: [i32; 3] = [row.try_get(2)?, row.try_get(4)?, row.try_get(5)?];
        let [created, deleted, lease] = [created, deleted, lease].map(|number| u64::from(number.unsigned_abs()));
        let value: Option<Vec<u8>> = row.try_get(6)?;
        let name: Vec<u8> = row.try_get_unchecked(0)?;
        let name = String::from_utf8_lossy(&name).into_owned();
        batch.push(change(name, [id, created, create_revision, deleted, lease], value.unwrap_or_default())).await?;
    }
    Ok(batch.end().await?)
}

/// Reads of a SQLite file that is here.
pub async fn sqlite(connection: &mut SqliteConnection, span: Span, out: &Out) -> Result<(), ReadError> {
    let mut rows = sqlx::query(statement(span, &all())).persistent(false).fetch(connection);
    let mut batch = Batch::new(out);
    while let Some(row) = rows.try_next().await? {
        let mut numbers = [0; 5];
        for (at, number) in numbers.iter_mut().enumerate() {
            *number = row.try_get::<i64, _>(at + 1)?.unsigned_abs();
        }
        let value: Option<Vec<u8>> = row.try_get(6)?;
        batch.push(change(row.try_get(0)?, numbers, value.unwrap_or_default())).await?;
    }
    Ok(batch.end().await?)
}

//! PostgreSQL: rows go in by COPY.

use sqlx::postgres::PgConnection;
use sqlx::{Connection, Executor};

use super::{BOOKKEEPING, Content, Line, UNFINISHED};

const SCHEMA: &str = include_str!("schema/postgres.sql");

/// COPY's binary form: what it begins with, and what it ends with.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const TRAILER: [u8; 2] = (-1i16).to_be_bytes();

pub(super) async fn content(connection: &mut PgConnection) -> Result<Content, sqlx::Error> {
    let there = "SELECT to_regclass('kine') IS NOT NULL, to_regclass('etcdless_copy') IS NOT NULL";
    let (has_kine, is_unfinished): (bool, bool) =
        sqlx::query_as(there).persistent(false).fetch_one(&mut *connection).await?;
    if is_unfinished {
        return Ok(Content::Unfinished);
    }
    if !has_kine {
        return Ok(Content::Nothing);
    }
    let count = "SELECT count(*) FILTER (WHERE name <> ALL($1)), coalesce(max(id), 0)::bigint FROM kine";
    let (keys, newest): (i64, i64) =
        sqlx::query_as(count).persistent(false).bind(&BOOKKEEPING[..]).fetch_one(connection).await?;
    Ok(Content::Keys(keys.unsigned_abs(), newest.unsigned_abs()))
}

/// Makes kine's table where there is none, and empties it. A table in partitions keeps the numbers of its rows beside it.
pub(super) async fn begin(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin().await?;
    transaction.execute(sqlx::AssertSqlSafe(format!("CREATE TABLE IF NOT EXISTS {UNFINISHED} (begun text)"))).await?;
    transaction.execute(sqlx::raw_sql(SCHEMA)).await?;
    transaction.execute("TRUNCATE kine").await?;
    let aside: bool =
        sqlx::query_scalar("SELECT to_regclass('kine_ids') IS NOT NULL").fetch_one(&mut *transaction).await?;
    if aside {
        transaction.execute("TRUNCATE kine_ids").await?;
    }
    transaction.commit().await
}

pub(super) async fn insert(connection: &mut PgConnection, lines: &[Line<'_>]) -> Result<(), sqlx::Error> {
    let mut bytes = HEADER.to_vec();
    for line in lines {
        bytes.extend(8i16.to_be_bytes());
        field(&mut bytes, &line.id.to_be_bytes());
        field(&mut bytes, line.name.as_bytes());
        field(&mut bytes, &line.created.to_be_bytes());
        field(&mut bytes, &0i32.to_be_bytes());
        field(&mut bytes, &line.create_revision.to_be_bytes());
        field(&mut bytes, &line.prev_revision.to_be_bytes());
        field(&mut bytes, &line.lease.to_be_bytes());
        field(&mut bytes, line.value);
    }
    bytes.extend(TRAILER);
    let into = "COPY kine (id, name, created, deleted, create_revision, prev_revision, lease, value) FROM STDIN (FORMAT binary)";
    let mut copy = connection.copy_in_raw(into).await?;
    copy.send(bytes).await?;
    copy.finish().await.map(drop)
}

/// Values are below 2 GiB: kine takes none above 2 MiB.
fn field(bytes: &mut Vec<u8>, value: &[u8]) {
    bytes.extend(i32::try_from(value.len()).unwrap_or(i32::MAX).to_be_bytes());
    bytes.extend(value);
}

pub(super) async fn delete(connection: &mut PgConnection, names: &[&str]) -> Result<(), sqlx::Error> {
    let delete = sqlx::query("DELETE FROM kine WHERE name = ANY($1)").persistent(false).bind(names);
    delete.execute(connection).await.map(drop)
}

/// Statistics are the planner's: without them it would look at every row of a table that grew so suddenly.
pub(super) async fn end(connection: &mut PgConnection, revision: u64) -> Result<(), sqlx::Error> {
    let next = "SELECT setval(pg_get_serial_sequence('kine', 'id'), $1)";
    sqlx::query(next).persistent(false).bind(revision.cast_signed()).execute(&mut *connection).await?;
    connection.execute("ANALYZE kine").await?;
    connection.execute(sqlx::AssertSqlSafe(format!("DROP TABLE IF EXISTS {UNFINISHED}"))).await.map(drop)
}

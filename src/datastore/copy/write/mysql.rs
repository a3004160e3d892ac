//! MySQL and MariaDB: rows go in many a statement.

use sqlx::mysql::{MySql, MySqlConnection};
use sqlx::{AssertSqlSafe, Connection, Executor, QueryBuilder};

use super::{BOOKKEEPING, Content, Line, UNFINISHED};

const SCHEMA: &str = include_str!("schema/mysql.sql");

/// Bytes of values a statement: far below the least `max_allowed_packet` that servers of today come with.
const BYTES: usize = 1 << 20;

pub(super) async fn content(connection: &mut MySqlConnection) -> Result<Content, sqlx::Error> {
    let there = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ";
    let mut tables = [false; 2];
    for (is_there, name) in tables.iter_mut().zip(["kine", UNFINISHED]) {
        let count: i64 =
            sqlx::query_scalar(AssertSqlSafe(format!("{there}'{name}'"))).fetch_one(&mut *connection).await?;
        *is_there = count > 0;
    }
    match tables {
        [_, true] => Ok(Content::Unfinished),
        [false, false] => Ok(Content::Nothing),
        [true, false] => {
            let [first, second] = BOOKKEEPING;
            let count =
                "SELECT COUNT(CASE WHEN name NOT IN (?, ?) THEN 1 END), CAST(COALESCE(MAX(id), 0) AS SIGNED) FROM kine";
            let (keys, newest): (i64, i64) =
                sqlx::query_as(count).bind(first).bind(second).fetch_one(connection).await?;
            Ok(Content::Keys(keys.unsigned_abs(), newest.unsigned_abs()))
        }
    }
}

/// Makes kine's table where there is none, and empties it.
pub(super) async fn begin(connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
    let unfinished = format!("CREATE TABLE IF NOT EXISTS {UNFINISHED} (begun INTEGER)");
    connection.execute(AssertSqlSafe(unfinished)).await?;
    connection.execute(sqlx::raw_sql(SCHEMA)).await?;
    connection.execute(sqlx::raw_sql("TRUNCATE TABLE kine")).await.map(drop)
}

pub(super) async fn insert(connection: &mut MySqlConnection, lines: &[Line<'_>]) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin().await?;
    let mut rest = lines;
    while !rest.is_empty() {
        let mut size = 0;
        let fits = |line: &&Line<'_>| {
            size += line.value.len();
            size <= BYTES
        };
        let (some, others) = rest.split_at(rest.iter().take_while(fits).count().max(1));
        rest = others;
        let mut insert = QueryBuilder::<MySql>::new(
            "INSERT INTO kine (id, name, created, deleted, create_revision, prev_revision, lease, value) ",
        );
        insert.push_values(some, |mut row, line| {
            row.push_bind(line.id).push_bind(line.name).push_bind(line.created).push_bind(0);
            row.push_bind(line.create_revision)
                .push_bind(line.prev_revision)
                .push_bind(line.lease)
                .push_bind(line.value);
        });
        insert.build().persistent(false).execute(&mut *transaction).await?;
    }
    transaction.commit().await
}

pub(super) async fn delete(connection: &mut MySqlConnection, names: &[&str]) -> Result<(), sqlx::Error> {
    if names.is_empty() {
        return Ok(());
    }
    let mut delete = QueryBuilder::<MySql>::new("DELETE FROM kine WHERE name IN (");
    let mut list = delete.separated(", ");
    for name in names {
        list.push_bind(*name);
    }
    delete.push(")");
    delete.build().persistent(false).execute(connection).await.map(drop)
}

pub(super) async fn end(connection: &mut MySqlConnection, revision: u64) -> Result<(), sqlx::Error> {
    // No statement that could be prepared.
    let next = format!("ALTER TABLE kine AUTO_INCREMENT = {}", revision + 1);
    connection.execute(sqlx::raw_sql(AssertSqlSafe(next))).await?;
    connection.execute(sqlx::raw_sql("ANALYZE TABLE kine")).await?;
    connection.execute(AssertSqlSafe(format!("DROP TABLE IF EXISTS {UNFINISHED}"))).await.map(drop)
}

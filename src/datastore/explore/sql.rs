//! A store by SQL: kine's table, read in one transaction that can only read.
//!
//! What counts is counted by the database. Rows are passed on as they come, so that not much of a long list is in memory.

use futures_util::TryStreamExt;
use sqlx::mysql::{MySqlConnection, MySqlRow};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Column, Executor, Row, SqlSafeStr, ValueRef};

use super::{Entry, Error, Heavy, ROOT, Snapshot, Tally, Version, key};
use crate::config::ServerEngine as Engine;
use crate::config::suggest::any_of;
use crate::datastore::check::mysql::judge as mysql_judge;
use crate::datastore::check::{Refusal, Way, bytes, mysql};
use crate::failure::{Failure, Kind};
use crate::remote::{Host, Query, Question};

const SQLITE: &str = include_str!("scripts/sqlite.sh");

/// Keys a page.
const KEYS: usize = 20_000;

/// How many revisions writes that are under way are looked for among.
const NEWEST_FEW: u64 = 1000;

/// How a statement ends that took too long: PostgreSQL's state, MySQL's number, MariaDB's, and `timeout`'s status.
const CUT_OFF: [&str; 3] = ["57014", "3024", "1969"];
const CUT_OFF_STATUS: i32 = 124;

/// What statements that only read begin with. A transaction that only reads is not enough: MariaDB ends it before it drops a table.
const READING: [&str; 8] = ["SELECT", "WITH", "SHOW", "EXPLAIN", "DESCRIBE", "DESC", "TABLE", "VALUES"];

/// The newest row of every name.
const NEWEST: &str =
    "SELECT MAX(id) AS id FROM kine WHERE name >= {from} AND name < {end} AND id <= {revision} GROUP BY name";

/// The newest revision, and the one that the store is compacted to.
const ENDS: &str = "SELECT COALESCE(MAX(id), 0), (SELECT COALESCE(MAX(prev_revision), 0) FROM kine WHERE name = 'compact_rev_key') FROM kine \
                    AS etcdless";

/// Whoever answers.
pub(in crate::datastore) enum Server<'a> {
    /// With the way that the connection takes.
    Postgres(PgConnection, Way),
    /// MySQL or MariaDB.
    Mysql(MySqlConnection, Way),
    /// A file on the host.
    Sqlite(&'a Host, String),
}

/// A store that is asked by SQL.
pub(super) struct Sql<'a> {
    pub(super) server: Server<'a>,
    pub(super) seconds: u64,
}

type Cells = [Option<String>];

impl Sql<'_> {
    /// Begins a transaction that only reads, and says what it sees. It ends with the connection.
    pub(super) async fn begin(&mut self) -> Result<Snapshot, Error> {
        let seconds = self.seconds;
        match &mut self.server {
            Server::Postgres(connection, _) => {
                let begin = format!(
                    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = '{seconds}s'; SET LOCAL \
                     max_parallel_workers_per_gather = 0"
                );
                sqlx::raw_sql(AssertSqlSafe(begin)).execute(connection).await.map_err(|error| said(error, seconds))?;
            }
            Server::Mysql(connection, _) => {
                let variables = mysql::variables(connection).await.map_err(|error| said(error, seconds))?;
                let limit = match mysql_judge::engine(&variables) {
                    Engine::Mariadb => format!("SET SESSION max_statement_time = {seconds}"),
                    _ => format!("SET SESSION max_execution_time = {}", seconds * 1000),
                };
                for statement in [
                    limit.as_str(),
                    "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
                    "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
                ] {
                    let ran = sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut *connection).await;
                    ran.map_err(|error| said(error, seconds))?;
                }
            }
            Server::Sqlite(..) => {}
        }
        let mut snapshot = Snapshot { revision: 0, compacted: Some(0) };
        self.each(ENDS.to_owned(), |row| {
            snapshot = Snapshot { revision: number(row, 0), compacted: Some(number(row, 1)) };
        })
        .await?;
        Ok(snapshot)
    }

    /// Of the newest revisions those that are not there, each the first of some in a row. Compaction takes none of those away, and SQLite lets
    /// nobody write while another does.
    pub(super) async fn missing(&mut self, snapshot: Snapshot) -> Result<Vec<u64>, Error> {
        if matches!(self.server, Server::Sqlite(..)) {
            return Ok(Vec::new());
        }
        let Snapshot { revision, compacted } = snapshot;
        let from = revision.saturating_sub(NEWEST_FEW).max(compacted.unwrap_or_default());
        let sql = format!(
            "SELECT etcdless.id + 1 FROM kine AS etcdless LEFT JOIN kine AS above ON above.id = etcdless.id + 1 WHERE etcdless.id >= {from} AND \
             etcdless.id < {revision} AND above.id IS NULL ORDER BY 1"
        );
        let mut missing = Vec::new();
        self.each(sql, |row| missing.push(number(row, 0))).await?;
        Ok(missing)
    }

    /// What the store is compacted to by now.
    pub(super) async fn compacted(&mut self) -> Result<u64, Error> {
        let mut compacted = 0;
        self.each(ENDS.to_owned(), |row| compacted = number(row, 1)).await?;
        Ok(compacted)
    }

    /// Every key below a prefix, as of a revision, a page at a time. Servers send all of them as they are taken; a file's answer comes whole.
    pub(super) async fn keys(
        &mut self,
        prefix: &str,
        revision: u64,
        mut page: impl FnMut(Vec<Entry>),
    ) -> Result<(), Error> {
        let end = self.literal(&key::after(prefix));
        let mut from = format!(">= {}", self.literal(prefix));
        let limit = matches!(self.server, Server::Sqlite(..)).then(|| format!("ORDER BY name LIMIT {KEYS}"));
        loop {
            // Names whose newest row is a deletion are read as well, to know where the next page begins.
            let sql = format!(
                "SELECT newest.name, newest.id, kine.deleted FROM (SELECT name, MAX(id) AS id FROM kine WHERE name {from} AND name < {end} \
                 AND id <= {revision} GROUP BY name {}) AS newest JOIN kine ON kine.id = newest.id ORDER BY newest.name",
                limit.as_deref().unwrap_or_default()
            );
            let (mut entries, mut rows, mut last) = (Vec::new(), 0, String::new());
            self.each(sql, |row| {
                rows += 1;
                last = cell(row, 0).to_owned();
                if number(row, 2) == 0 {
                    entries.push(Entry { key: last.clone(), revision: number(row, 1) });
                }
                if entries.len() == KEYS {
                    page(std::mem::take(&mut entries));
                }
            })
            .await?;
            page(entries);
            if limit.is_none() || rows < KEYS {
                return Ok(());
            }
            from = format!("> {}", self.literal(&last));
        }
    }

    /// What there is of each resource.
    pub(super) async fn tally(&mut self, revision: u64) -> Result<Vec<(String, Tally)>, Error> {
        let (resource, length) = (self.resource(), self.length());
        let sql = self.bounded(
            &format!(
                "SELECT resource, SUM(many), SUM(live), SUM(size) FROM (SELECT {resource} AS resource, many, CASE WHEN deleted = 0 THEN 1 \
                 ELSE 0 END AS live, CASE WHEN deleted = 0 THEN size ELSE 0 END AS size FROM (SELECT names.name, names.many, \
                 kine.deleted, {length} AS size FROM (SELECT name, MAX(id) AS id, COUNT(*) AS many FROM kine WHERE name >= {{from}} AND \
                 name < {{end}} AND id <= {{revision}} GROUP BY name) AS names JOIN kine ON kine.id = names.id) AS each_name) AS etcdless \
                 GROUP BY resource ORDER BY resource"
            ),
            revision,
        );
        let mut found = Vec::new();
        self.each(sql, |row| {
            let tally = Tally { objects: number(row, 2), revisions: Some(number(row, 1)), bytes: number(row, 3) };
            found.push((cell(row, 0).to_owned(), tally));
        })
        .await?;
        Ok(found)
    }

    /// The largest values.
    pub(super) async fn largest(&mut self, revision: u64, many: usize) -> Result<Vec<Heavy>, Error> {
        let length = self.length();
        let sql = self.bounded(
            &format!(
                "SELECT kine.name, {length} AS size FROM kine JOIN ({NEWEST}) AS newest ON newest.id = kine.id WHERE kine.deleted = 0 \
                 ORDER BY size DESC, kine.name LIMIT {many}"
            ),
            revision,
        );
        self.heavy(sql).await
    }

    /// The names with most rows.
    pub(super) async fn rewritten(&mut self, revision: u64, many: usize) -> Result<Vec<Heavy>, Error> {
        let sql = self.bounded(
            &format!(
                "SELECT name, COUNT(*) AS many FROM kine WHERE name >= {{from}} AND name < {{end}} AND id <= {{revision}} GROUP BY name \
                 HAVING COUNT(*) > 1 ORDER BY many DESC, name LIMIT {many}"
            ),
            revision,
        );
        self.heavy(sql).await
    }

    async fn heavy(&mut self, sql: String) -> Result<Vec<Heavy>, Error> {
        let mut found = Vec::new();
        self.each(sql, |row| found.push(Heavy { key: cell(row, 0).to_owned(), amount: number(row, 1) })).await?;
        Ok(found)
    }

    /// A key as of a revision.
    pub(super) async fn at(&mut self, key: &str, revision: u64) -> Result<Option<Version>, Error> {
        let mut newest = None;
        let sql = self.of_key(key, revision, "DESC LIMIT 1");
        self.each(sql, |row| newest = Some(version(row))).await?;
        Ok(newest.filter(|version| !version.deleted))
    }

    /// Every row of a key, oldest first.
    pub(super) async fn kept(&mut self, key: &str, revision: u64, mut each: impl FnMut(Version)) -> Result<(), Error> {
        let sql = self.of_key(key, revision, "ASC");
        self.each(sql, |row| each(version(row))).await
    }

    fn of_key(&self, key: &str, revision: u64, order: &str) -> String {
        let value = match self.server {
            Server::Postgres(..) => "encode(value, 'hex')",
            Server::Mysql(..) | Server::Sqlite(..) => "HEX(value)",
        };
        let name = self.literal(key);
        format!(
            "SELECT id, deleted, {value} FROM kine AS etcdless WHERE name = {name} AND id <= {revision} ORDER BY id {order}"
        )
    }

    /// A statement of the operator's, alone in a transaction that can only read. The first row is the columns' names.
    pub(super) async fn query(&mut self, sql: &str, mut each: impl FnMut(&Cells)) -> Result<(), Error> {
        if !reads(sql) {
            let failure = Failure::new(Kind::Usage, "that is no statement that only reads");
            return Err(Error::Store(failure.hint(format!("one begins with {}", any_of(READING)))));
        }
        self.end().await;
        self.begin().await?;
        let seconds = self.seconds;
        // Servers prepare one statement and no more, so that none comes after the end of our transaction.
        match &mut self.server {
            Server::Postgres(connection, _) => {
                let prepared = connection.prepare(AssertSqlSafe(sql.to_owned()).into_sql_str()).await;
                prepared.map_err(|error| said(error, seconds))?;
            }
            Server::Mysql(connection, _) => {
                let prepared = connection.prepare(AssertSqlSafe(sql.to_owned()).into_sql_str()).await;
                prepared.map_err(|error| said(error, seconds))?;
            }
            Server::Sqlite(..) => {}
        }
        let mut is_first = true;
        let ran = self
            .each_named(sql.to_owned(), |names, row| {
                if std::mem::take(&mut is_first) {
                    each(names);
                }
                each(row);
            })
            .await;
        self.end().await;
        ran
    }

    async fn end(&mut self) {
        let rollback = AssertSqlSafe("ROLLBACK".to_owned());
        let _ended = match &mut self.server {
            Server::Postgres(connection, _) => sqlx::raw_sql(rollback).execute(connection).await.map(drop),
            Server::Mysql(connection, _) => sqlx::raw_sql(rollback).execute(connection).await.map(drop),
            Server::Sqlite(..) => Ok(()),
        };
    }

    pub(super) async fn each(&mut self, sql: String, mut each: impl FnMut(&Cells)) -> Result<(), Error> {
        self.each_named(sql, |_, row| each(row)).await
    }

    /// Passes rows on as they come, with the names of their columns.
    async fn each_named(&mut self, sql: String, mut each: impl FnMut(&Cells, &Cells)) -> Result<(), Error> {
        let seconds = self.seconds;
        match &mut self.server {
            Server::Postgres(connection, _) => {
                let mut rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch(connection);
                while let Some(row) = rows.try_next().await.map_err(|error| said(error, seconds))? {
                    let names: Vec<_> = row.columns().iter().map(|column| Some(column.name().to_owned())).collect();
                    // Without a prepared statement all that PostgreSQL sends is text.
                    let cells = (0..row.len()).map(|at| {
                        let value = row.try_get_raw(at).ok().filter(|value| !value.is_null())?;
                        Some(value.as_str().unwrap_or_default().to_owned())
                    });
                    each(&names, &cells.collect::<Vec<_>>());
                }
            }
            Server::Mysql(connection, _) => {
                let mut rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch(connection);
                while let Some(row) = rows.try_next().await.map_err(|error| said(error, seconds))? {
                    let names: Vec<_> = row.columns().iter().map(|column| Some(column.name().to_owned())).collect();
                    each(&names, &(0..row.len()).map(|at| mysql_text(&row, at)).collect::<Vec<_>>());
                }
            }
            Server::Sqlite(host, file) => {
                let args = vec![file.clone(), sql, seconds.to_string()];
                let deadline = std::time::Duration::from_secs(seconds + 10);
                let output = host.ask(Question { script: SQLITE, args, input: Vec::new(), deadline }).await?;
                if output.status != 0 {
                    let why = String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned();
                    return Err(if output.status == CUT_OFF_STATUS { too_long(seconds) } else { refused(&why) });
                }
                let text = String::from_utf8_lossy(&output.stdout);
                let mut rows = text
                    .split_terminator('\x1e')
                    .map(|row| row.split('\x1f').map(|cell| Some(cell.to_owned())).collect::<Vec<_>>());
                let names = rows.next().unwrap_or_default();
                rows.for_each(|row| each(&names, &row));
            }
        }
        Ok(())
    }

    /// A statement over all that the API server keeps.
    fn bounded(&self, sql: &str, revision: u64) -> String {
        let (from, end) = (self.literal(ROOT), self.literal(&key::after(ROOT)));
        sql.replace("{from}", &from).replace("{end}", &end).replace("{revision}", &revision.to_string())
    }

    fn literal(&self, text: &str) -> String {
        let quoted = text.replace('\0', "").replace('\'', "''");
        match self.server {
            Server::Mysql(..) => format!("'{}'", quoted.replace('\\', "\\\\")),
            Server::Postgres(..) | Server::Sqlite(..) => format!("'{quoted}'"),
        }
    }

    fn length(&self) -> &'static str {
        match self.server {
            Server::Postgres(..) => "COALESCE(octet_length(kine.value), 0)",
            Server::Mysql(..) | Server::Sqlite(..) => "COALESCE(LENGTH(kine.value), 0)",
        }
    }

    /// What [`key::resource`] says of a name.
    fn resource(&self) -> String {
        let (first, second) = match self.server {
            Server::Postgres(..) => ("split_part(name, '/', 3)".to_owned(), "split_part(name, '/', 4)".to_owned()),
            Server::Mysql(..) => {
                let part = |at: u8| format!("SUBSTRING_INDEX(SUBSTRING_INDEX(name, '/', {at}), '/', -1)");
                (part(3), part(4))
            }
            Server::Sqlite(..) => {
                let head = |text: &str| format!("substr({text}, 1, instr({text} || '/', '/') - 1)");
                let rest = format!("substr(name, {})", ROOT.len() + 1);
                let first = head(&rest);
                let tail = format!("substr(name, {} + length({first}))", ROOT.len() + 2);
                (first, head(&tail))
            }
        };
        let joined = match self.server {
            Server::Mysql(..) => format!("CONCAT({first}, '/', {second})"),
            Server::Postgres(..) | Server::Sqlite(..) => format!("{first} || '/' || {second}"),
        };
        format!("CASE WHEN {first} LIKE '%.%' OR {first} = 'services' THEN {joined} ELSE {first} END")
    }
}

/// Whether a statement can be one that only reads, by its first word.
fn reads(sql: &str) -> bool {
    let rest = sql.trim_start_matches(|letter: char| letter.is_whitespace() || letter == '(');
    let word: String = rest.chars().take_while(char::is_ascii_alphabetic).collect();
    READING.contains(&word.to_ascii_uppercase().as_str())
}

pub(super) fn cell(row: &Cells, at: usize) -> &str {
    row.get(at).and_then(Option::as_deref).unwrap_or_default()
}

pub(super) fn number(row: &Cells, at: usize) -> u64 {
    cell(row, at).parse().unwrap_or_default()
}

fn version(row: &Cells) -> Version {
    Version { revision: number(row, 0), deleted: number(row, 1) > 0, value: bytes(cell(row, 2)) }
}

/// Text, or hexadecimal digits where it is none.
fn mysql_text(row: &MySqlRow, at: usize) -> Option<String> {
    match row.try_get_unchecked::<Option<String>, _>(at) {
        Ok(text) => text,
        Err(_) => {
            let raw = row.try_get_unchecked::<Option<Vec<u8>>, _>(at).ok().flatten()?;
            Some(raw.iter().map(|byte| format!("{byte:02x}")).collect())
        }
    }
}

pub(super) fn said(error: sqlx::Error, seconds: u64) -> Error {
    let refusal = Refusal::from(error);
    match refusal.code.as_deref().is_some_and(|code| CUT_OFF.contains(&code)) {
        true => too_long(seconds),
        false => refused(&refusal.message),
    }
}

fn refused(why: &str) -> Error {
    let failure = Failure::new(Kind::Datastore, format!("the database does not answer: {why}"));
    Error::Store(failure.hint("`etcdless datastore check` and `etcdless datastore status` say how it is"))
}

fn too_long(seconds: u64) -> Error {
    let failure = Failure::new(Kind::Datastore, format!("the database did not answer within {seconds} s"));
    Error::Store(failure.hint("give it more time: --timeout 10m"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_that_may_write_are_known_by_their_first_word() {
        for sql in ["select 1", " (SELECT 1)", "WITH a AS (SELECT 1) SELECT * FROM a", "explain select 1"] {
            assert!(reads(sql), "{sql}");
        }
        for sql in [
            "",
            "DROP TABLE kine",
            "/*! DROP TABLE kine */",
            ".shell id",
            "COMMIT",
            "selects",
            "SET a = 1",
            "-- a\nDELETE",
        ] {
            assert!(!reads(sql), "{sql}");
        }
    }
}

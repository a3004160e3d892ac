//! Vacuum: what compaction left free is given back, to the table or to the disk.

use std::time::Duration;

use sqlx::AssertSqlSafe;

use super::{number, row};
use crate::datastore::check::{Refusal, mysql};
use crate::datastore::explore::sql::Server;
use crate::datastore::explore::{Error, Place};
use crate::failure::{Failure, Kind};
use crate::remote::{Host, Query, Question};

const ROOM: &str = include_str!("scripts/room.sh");
const VACUUM: &str = include_str!("scripts/vacuum.sh");

/// The script's status where the host has no program for SQLite files.
const NO_PROGRAM: i32 = 3;

/// Seconds that a SQLite file may take.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Bytes a second that a disk is taken to write; said as a guess.
const PACE: u64 = 50 << 20;

/// Bytes of a row beside its name and values.
const ROW: u32 = 72;

/// The table, and its parts where it has some.
const PARTS: &str = "SELECT 'kine'::regclass AS part UNION SELECT relid FROM pg_partition_tree('kine')";

/// How it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// PostgreSQL's `VACUUM`: room becomes free within the table, and nobody waits.
    Reuse,
    /// PostgreSQL's `VACUUM FULL`: the table is written anew, and everybody waits.
    Full,
    /// `OPTIMIZE TABLE` of MySQL and MariaDB: the table is written anew, and nobody waits for long.
    Rebuild,
    /// SQLite's `VACUUM`: the file is written anew, and writers wait.
    File,
}

/// What it would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// `main`, or the name of a shard.
    pub shard: String,
    /// The engine's name.
    pub engine: &'static str,
    /// How it is done.
    pub way: Way,
    /// Bytes of the table with its indexes, or of the file.
    pub size: u64,
    /// Bytes of that which hold nothing, as far as the engine can tell.
    pub empty: u64,
    /// Bytes that the disk has free; none where the server does not tell.
    pub free: Option<u64>,
}

impl Plan {
    /// Bytes that are there twice until it ends.
    pub fn needs(&self) -> u64 {
        let full = self.size.saturating_sub(self.empty);
        match self.way {
            Way::Reuse => 0,
            Way::Full | Way::Rebuild => full,
            // Once as it is made, once in the write-ahead log.
            Way::File => 2 * full,
        }
    }

    /// Seconds that it takes, as a guess.
    pub fn seconds(&self) -> u64 {
        (self.size.saturating_sub(self.empty) / PACE).max(1)
    }
}

/// Looks what there is to gain. `full`: PostgreSQL's table is to be written anew.
pub async fn plan(host: &Host, place: &Place, full: bool, seconds: u64) -> Result<Plan, Error> {
    let shard = place.shard.clone();
    if let Some(file) = place.file() {
        return of_file(host, place, file, seconds).await;
    }
    match place.server(host).await? {
        Some(Server::Postgres(..)) => of_postgres(host, place, full, seconds).await,
        Some(Server::Mysql(mut connection, _way)) => {
            let variables = mysql::variables(&mut connection).await.map_err(refused)?;
            let engine = mysql::judge::engine(&variables).title();
            // MySQL would tell sizes of up to a day ago; MariaDB has no such setting.
            let _mariadb = mysql::ask(&mut connection, "SET SESSION information_schema_stats_expiry = 0".into()).await;
            let sql = "SELECT COALESCE(SUM(data_length + index_length + data_free), 0), COALESCE(SUM(data_free), 0) FROM \
                       information_schema.tables WHERE table_schema = DATABASE() AND table_name = 'kine'";
            let rows = mysql::ask(&mut connection, sql.into()).await.map_err(refused)?;
            let row = rows.into_iter().next().unwrap_or_default();
            let (size, empty) = (number(&row, 0), number(&row, 1));
            Ok(Plan { shard, engine, way: Way::Rebuild, size, empty, free: None })
        }
        Some(Server::Sqlite(..)) | None => {
            let what = format!("the store `{shard}` cannot be vacuumed from here");
            let failure = Failure::new(Kind::Datastore, what);
            Err(Error::Store(failure.hint("etcd gives room back with `etcdctl defrag`, one member after the other")))
        }
    }
}

async fn of_postgres(host: &Host, place: &Place, full: bool, seconds: u64) -> Result<Plan, Error> {
    let mut store = place.open(host, seconds).await?;
    let sql = format!(
        "SELECT SUM(pg_table_size(part)), SUM(pg_indexes_size(part)), (SELECT COALESCE(SUM(COALESCE(pg_column_size(value), 0) + \
         COALESCE(pg_column_size(old_value), 0) + LENGTH(name) + {ROW}), 0) FROM kine AS etcdless), (SELECT \
         pg_has_role(relowner, 'USAGE')::text FROM pg_class WHERE oid = 'kine'::regclass), (SELECT pg_get_userbyid(relowner) FROM pg_class \
         WHERE oid = 'kine'::regclass) FROM ({PARTS}) AS parts"
    );
    let row = row(&mut store, &sql).await?;
    if row.get(3).is_none_or(|owns| owns != "true") {
        let owner = row.get(4).map(String::as_str).unwrap_or_default();
        let what = format!("the table `kine` belongs to `{owner}`, who alone may vacuum it");
        let failure = Failure::new(Kind::Datastore, what);
        return Err(Error::Store(failure.hint("log in as its owner, or `ALTER TABLE kine OWNER TO` kine's user")));
    }
    let way = if full { Way::Full } else { Way::Reuse };
    let (table, indexes, rows) = (number(&row, 0), number(&row, 1), number(&row, 2));
    let (size, empty) = (table + indexes, table.saturating_sub(rows));
    Ok(Plan { shard: store.shard, engine: "PostgreSQL", way, size, empty, free: None })
}

async fn of_file(host: &Host, place: &Place, file: &str, seconds: u64) -> Result<Plan, Error> {
    let mut store = place.open(host, seconds).await?;
    if !store.speaks_sql() {
        return Err(without_program(host));
    }
    let sql = "SELECT page_count * page_size, freelist_count * page_size FROM pragma_page_count(), pragma_page_size(), \
               pragma_freelist_count()";
    let row = row(&mut store, sql).await?;
    let (size, empty) = (number(&row, 0), number(&row, 1));
    let deadline = Duration::from_secs(10);
    let question = Question { script: ROOM, args: vec![file.to_owned()], input: Vec::new(), deadline };
    let free = String::from_utf8_lossy(&host.ask(question).await?.stdout).trim().parse().ok();
    let plan = Plan { shard: store.shard, engine: "SQLite", way: Way::File, size, empty, free };
    match free.filter(|free| *free < plan.needs()) {
        Some(free) => {
            let (needs, mib) = (plan.needs(), |bytes: u64| bytes.div_ceil(1 << 20));
            let what = format!(
                "{file} needs {} MiB beside it until it is written anew, and its disk has {} MiB free",
                mib(needs),
                mib(free)
            );
            Err(Error::Store(Failure::new(Kind::Datastore, what).hint("make room on that disk first")))
        }
        None => Ok(plan),
    }
}

impl Plan {
    /// Does it. A database that is stopped in the middle is as it was before.
    pub async fn run(&self, host: &Host, place: &Place) -> Result<(), Error> {
        let statement = match self.way {
            Way::File => return vacuum_file(host, place.file().unwrap_or_default()).await,
            // Whoever waits for a lock keeps others from getting it: better not now than kine standing still.
            Way::Reuse => "SET lock_timeout = '10s'; SET statement_timeout = 0; VACUUM (ANALYZE) kine",
            Way::Full => "SET lock_timeout = '10s'; SET statement_timeout = 0; VACUUM (FULL, ANALYZE) kine",
            Way::Rebuild => "OPTIMIZE TABLE kine",
        };
        match place.server(host).await? {
            Some(Server::Postgres(mut connection, _way)) => {
                // Each alone: several in one message would be one transaction, in which there is no VACUUM.
                for statement in statement.split("; ") {
                    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await.map_err(refused)?;
                }
                Ok(())
            }
            Some(Server::Mysql(mut connection, _way)) => {
                let set = "SET SESSION lock_wait_timeout = 10";
                sqlx::raw_sql(AssertSqlSafe(set)).execute(&mut connection).await.map_err(refused)?;
                let rows = sqlx::raw_sql(AssertSqlSafe(statement)).fetch_all(&mut connection).await.map_err(refused)?;
                // A refusal is an answer here: table, operation, kind of message, message.
                let said: Result<Vec<Vec<String>>, _> = rows.iter().map(mysql::texts).collect();
                match said
                    .map_err(refused)?
                    .iter()
                    .find(|row| row.get(2).is_some_and(|kind| kind.eq_ignore_ascii_case("error")))
                {
                    Some(row) => Err(not_done(row.get(3).map(String::as_str).unwrap_or_default())),
                    None => Ok(()),
                }
            }
            Some(Server::Sqlite(..)) | None => Err(not_done("there is no server")),
        }
    }
}

async fn vacuum_file(host: &Host, file: &str) -> Result<(), Error> {
    let question = Question { script: VACUUM, args: vec![file.to_owned()], input: Vec::new(), deadline: PATIENCE };
    let output = host.ask(question).await?;
    match output.status {
        0 => Ok(()),
        NO_PROGRAM => Err(without_program(host)),
        _ => Err(not_done(String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default())),
    }
}

fn without_program(host: &Host) -> Error {
    let what = format!("{} has nothing to vacuum a SQLite file with", host.name());
    let failure = Failure::new(Kind::Datastore, what).hint("install sqlite3 or python3 there");
    Error::Store(failure.hint("or restart kine, which vacuums its file when it starts"))
}

fn refused(error: sqlx::Error) -> Error {
    not_done(&Refusal::from(error).message)
}

fn not_done(why: &str) -> Error {
    let failure = Failure::new(Kind::Datastore, format!("the store is not vacuumed: {why}"));
    Error::Store(failure.hint("it is as it was; `etcdless datastore status` says how it is"))
}

//! What PostgreSQL tells.

use sqlx::{Connection, PgConnection};

use super::seen::{Connections, Limit, Replication, Seen, Size, Standby, Statement, Told};
use super::table::{self, COUNTING, Dialect, Rowset, too_long};
use super::{Looked, count, said, statements};
use crate::datastore::check::postgres::judge::{self, quoted};
use crate::datastore::check::postgres::{ask, connect, row};
use crate::datastore::check::target::Target;
use crate::datastore::check::{Server, timely};
use crate::failure::Finding;

const DIALECT: Dialect = Dialect {
    text: |expression| format!("{expression}::text"),
    hex: |expression| format!("encode({expression}, 'hex')"),
};

/// Connections that are kept for others count as used up; the one that asks does not count.
const GENERAL: &str = "SELECT current_setting('server_version'), pg_is_in_recovery()::text, current_setting('transaction_read_only'), \
    pg_database_size(current_database())::text, (to_regclass('kine') IS NOT NULL)::text, \
    (current_setting('max_connections')::int - CASE WHEN (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN 0 ELSE \
     current_setting('superuser_reserved_connections')::int + COALESCE(current_setting('reserved_connections', true), '0')::int END)::text, \
    (SELECT sum(numbackends) - 1 FROM pg_stat_database)::text, \
    (SELECT count(*) - 1 FROM pg_stat_activity WHERE usename = current_user AND datname = current_database())::text, \
    (SELECT count(*) - 1 FROM pg_stat_activity WHERE usename = current_user)::text, \
    (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user)::text, \
    (SELECT count(*) - 1 FROM pg_stat_activity WHERE datname = current_database())::text, \
    (SELECT datconnlimit FROM pg_database WHERE datname = current_database())::text, \
    current_setting('server_version_num'), (to_regclass('pg_stat_statements') IS NOT NULL)::text";

/// Statements that etcdless itself makes are left out.
const STATEMENTS: &str = "SELECT query, calls::text, mean::text FROM (SELECT query, calls, {mean} AS mean FROM pg_stat_statements \
    WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND calls >= 10 AND query LIKE '%kine%' \
    AND query NOT LIKE '%etcdless%') AS seen ORDER BY seen.mean DESC LIMIT 3";

/// A standby that has everything has no lag to tell.
const STANDBYS: &str = "SELECT application_name, COALESCE(extract(epoch FROM replay_lag), CASE WHEN state = 'streaming' THEN 0 END)::text \
    FROM pg_stat_replication WHERE state IS DISTINCT FROM 'backup'";

const BEHIND: &str = "SELECT COALESCE(CASE WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0 \
    ELSE extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) END, 0)::text";

/// What allows the server more connections, or makes room among those that there are.
const MORE: &str =
    "`ALTER SYSTEM SET max_connections = N;` with a larger N and a restart, or end what holds them (pg_stat_activity)";

/// Asks everything; the error is why the server cannot be asked.
pub(super) async fn look(server: &Server<'_>) -> Result<Looked, Finding> {
    let mut connection = connect(server).await.map_err(|(_, finding)| finding)?;
    let general = row(&mut connection, GENERAL).await;
    let general = general.map_err(|error| judge::cut(&error.into(), server.place).1)?;
    let text = |at: usize| general.get(at).map(String::as_str).unwrap_or_default();
    let (in_recovery, has_table) = (text(1) == "true", text(4) == "true");
    let (revisions, rows) = match has_table {
        true => table::look(DIALECT, async |sql| guarded(&mut connection, &sql).await).await,
        false => (Told::no(super::NO_TABLE), Told::no(super::NO_TABLE)),
    };
    let seen = Seen {
        version: Some(text(0).to_owned()),
        served: None,
        size: Told::Told(Size { bytes: count(text(3)), log_bytes: None }),
        revisions,
        rows,
        connections: Some(Told::Told(Connections { ours: count(text(7)), limits: limits(server.target, &general) })),
        statements: Some(slow(&mut connection, text(12), text(13) == "true").await.into()),
        replication: Some(replication(&mut connection, in_recovery).await.into()),
    };
    let _gone = timely(connection.close()).await;
    let not_writable = judge::takes_no_writes(in_recovery, text(2) == "on", server.target);
    Ok(Looked { engine: "PostgreSQL", seen, not_writable, has_table })
}

/// A question about the table that ends by itself, in a transaction that reads only.
async fn guarded(connection: &mut PgConnection, sql: &str) -> Rowset {
    // One process of the server's, so that counting takes no more than one of its cores.
    let all = format!(
        "BEGIN READ ONLY; SET LOCAL statement_timeout = '{COUNTING}s'; SET LOCAL max_parallel_workers_per_gather = 0; {sql}; COMMIT"
    );
    match ask(connection, all).await {
        Ok(rows) => Ok(rows.into_iter().map(|row| row.into_iter().map(Option::unwrap_or_default).collect()).collect()),
        Err(error) => {
            let _ended = ask(connection, "ROLLBACK".into()).await;
            let is_cut_off = matches!(&error, sqlx::Error::Database(said) if said.code().as_deref() == Some("57014"));
            Err(if is_cut_off { too_long() } else { said(error) })
        }
    }
}

fn limits(target: &Target, general: &[String]) -> Vec<Limit> {
    let number = |at: usize| general.get(at).and_then(|text| text.parse::<i64>().ok()).unwrap_or_default();
    let (user, database) = (quoted(&target.user), quoted(&target.database));
    let alter = |what: String| format!("`ALTER {what} CONNECTION LIMIT N;` with a larger N");
    [
        ("the server".to_owned(), 6, 5, MORE.to_owned()),
        (format!("the role `{}`", target.user), 8, 9, alter(format!("ROLE {user}"))),
        (format!("the database `{}`", target.database), 10, 11, alter(format!("DATABASE {database}"))),
    ]
    .into_iter()
    .filter(|(_, _, allowed, _)| number(*allowed) >= 0)
    .map(|(of, used, allowed, fix)| Limit {
        of,
        used: u64::try_from(number(used)).unwrap_or_default(),
        allowed: u64::try_from(number(allowed)).unwrap_or_default(),
        fix,
    })
    .collect()
}

async fn slow(connection: &mut PgConnection, version: &str, there: bool) -> Result<Vec<Statement>, String> {
    if !there {
        return Err("the extension pg_stat_statements is not in the database".into());
    }
    // The column's name up to PostgreSQL 12.
    let mean = if count(version) < 130_000 { "mean_time" } else { "mean_exec_time" };
    let rows = ask(connection, STATEMENTS.replace("{mean}", mean)).await.map_err(said)?;
    Ok(statements(rows.into_iter().map(|row| row.into_iter().map(Option::unwrap_or_default).collect())))
}

async fn replication(connection: &mut PgConnection, in_recovery: bool) -> Result<Replication, String> {
    if in_recovery {
        let behind = row(connection, BEHIND).await.map_err(said)?;
        let seconds = behind.first().and_then(|text| text.parse().ok()).unwrap_or_default();
        return Ok(Replication { behind: Some(Told::Told(seconds)), standbys: Vec::new() });
    }
    let rows = ask(connection, STANDBYS.to_owned()).await.map_err(said)?;
    let standby = |row: Vec<Option<String>>| {
        let mut columns = row.into_iter();
        let name = columns.next().flatten().filter(|name| !name.is_empty()).unwrap_or_else(|| "a standby".into());
        let seconds = columns.next().flatten().and_then(|text| text.parse().ok());
        let seconds = seconds.ok_or_else(|| "pg_monitor is not granted to kine's user".to_owned());
        Standby { name, seconds: seconds.into() }
    };
    Ok(Replication { behind: None, standbys: rows.into_iter().map(standby).collect() })
}

//! What MySQL and MariaDB tell.

use std::collections::BTreeMap;

use sqlx::mysql::MySqlRow;
use sqlx::{AssertSqlSafe, Column, MySqlConnection, Row};

use super::seen::{Connections, Limit, Replication, Seen, Size, Statement, Told};
use super::table::{self, COUNTING, Dialect, Rowset, too_long};
use super::{Looked, count, said, statements};
use crate::config::ServerEngine as Engine;
use crate::datastore::check::mysql::{ask, connect, in_use, judge, number, variables};
use crate::datastore::check::target::Target;
use crate::datastore::check::{Refusal, Server, timely};
use crate::failure::Finding;

const DIALECT: Dialect = Dialect { text: str::to_owned, hex: |expression| format!("HEX({expression})") };

/// Statements that were cut off after a limit: MySQL's error and MariaDB's.
const CUT_OFF: [&str; 2] = ["3024", "1969"];

const TABLE: &str =
    "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = 'kine'";
const SIZE: &str = "SELECT COALESCE(SUM(data_length + index_length), 0) FROM information_schema.tables WHERE table_schema = DATABASE()";

/// Times are in picoseconds. Statements that etcdless itself makes are left out.
const STATEMENTS: &str = "SELECT digest_text, count_star, avg_timer_wait / 1000000000 FROM \
    performance_schema.events_statements_summary_by_digest WHERE schema_name = DATABASE() AND count_star >= 10 AND digest_text LIKE \
    '%kine%' AND digest_text NOT LIKE '%etcdless%' ORDER BY avg_timer_wait DESC LIMIT 3";

/// Asks everything; the error is why the server cannot be asked.
pub(super) async fn look(server: &Server<'_>) -> Result<Looked, Finding> {
    let target = server.target;
    let connection = &mut connect(server).await.map_err(|(_, finding)| finding)?;
    let cut = |error: sqlx::Error| judge::cut(&error.into(), target.engine, server.place).1;
    let variables = variables(connection).await.map_err(cut)?;
    let used = in_use(connection).await.map_err(cut)?;
    let account = ask(connection, "SELECT CURRENT_USER()".into()).await.map_err(cut)?;
    let account = account.into_iter().flatten().next().unwrap_or_default();
    let has_table = number(connection, TABLE.into()).await.map_err(cut)? > 0;
    let engine = judge::engine(&variables);
    let limited = match engine {
        Engine::Mariadb => format!("SET SESSION max_statement_time = {COUNTING}"),
        _ => format!("SET SESSION max_execution_time = {}", COUNTING * 1000),
    };
    ask(connection, limited).await.map_err(cut)?;
    // MySQL would tell sizes of up to a day ago; MariaDB has no such setting.
    let _mariadb = ask(connection, "SET SESSION information_schema_stats_expiry = 0".into()).await;
    let size = number(connection, SIZE.into()).await.map_err(said);
    let (revisions, rows) = match has_table {
        true => table::look(DIALECT, async |sql| guarded(connection, sql).await).await,
        false => (Told::no(super::NO_TABLE), Told::no(super::NO_TABLE)),
    };
    let seen = Seen {
        version: variables.get("version").cloned(),
        served: None,
        size: size.map(|bytes| Size { bytes: u64::try_from(bytes).unwrap_or_default(), log_bytes: None }).into(),
        revisions,
        rows,
        connections: Some(Told::Told(connections(&variables, used, target, &account))),
        statements: Some(slow(connection, &variables).await.into()),
        replication: Some(replication(connection).await.into()),
    };
    let not_writable = judge::takes_no_writes(&variables);
    Ok(Looked { engine: engine.title(), seen, not_writable, has_table })
}

/// A question about the table that ends by itself, in a transaction that reads only.
async fn guarded(connection: &mut MySqlConnection, sql: String) -> Rowset {
    ask(connection, "START TRANSACTION READ ONLY".into()).await.map_err(said)?;
    let answer = ask(connection, sql).await.map_err(|error| {
        let refusal = Refusal::from(error);
        match refusal.code.as_deref().is_some_and(|code| CUT_OFF.contains(&code)) {
            true => too_long(),
            false => refusal.message,
        }
    });
    let _ended = ask(connection, "ROLLBACK".into()).await;
    answer
}

fn connections(variables: &BTreeMap<String, String>, used: [i64; 3], target: &Target, account: &str) -> Connections {
    let [all, of_user, of_both] = used.map(|used| u64::try_from(used).unwrap_or_default());
    let allowed = |name: &str| variables.get(name).map_or(0, |text| count(text));
    let mut limits = vec![Limit {
        of: "the server".into(),
        used: all,
        allowed: allowed("max_connections"),
        fix: "`SET GLOBAL max_connections = N;` with a larger N, and the same in the server's [mysqld] section, or end what holds them \
              (SHOW PROCESSLIST)"
            .into(),
    }];
    if allowed("max_user_connections") > 0 {
        limits.push(Limit {
            of: format!("the user `{}`", target.user),
            used: of_user,
            allowed: allowed("max_user_connections"),
            fix: format!("`ALTER USER {} WITH MAX_USER_CONNECTIONS N;` with a larger N", judge::account(account)),
        });
    }
    Connections { ours: of_both, limits }
}

async fn slow(
    connection: &mut MySqlConnection,
    variables: &BTreeMap<String, String>,
) -> Result<Vec<Statement>, String> {
    if !judge::is_on(variables, "performance_schema") {
        return Err("performance_schema is off".into());
    }
    Ok(statements(ask(connection, STATEMENTS.into()).await.map_err(said)?))
}

/// How far the server is behind the one that it follows. One that is followed does not know how far others are.
async fn replication(connection: &mut MySqlConnection) -> Result<Replication, String> {
    let mut rows = timely(sqlx::raw_sql("SHOW REPLICA STATUS").fetch_all(&mut *connection)).await;
    if matches!(&rows, Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42000")) {
        // The statement's name before MySQL 8.0.22 and MariaDB 10.5.1.
        rows = timely(sqlx::raw_sql(AssertSqlSafe("SHOW SLAVE STATUS")).fetch_all(connection)).await;
    }
    let rows = rows.map_err(said)?;
    let Some(row) = rows.first() else {
        return Err("the server follows no other, and does not know how far behind those are that follow it".into());
    };
    let behind = behind(row).map_or_else(|| Told::no("replication is stopped"), Told::Told);
    Ok(Replication { behind: Some(behind), standbys: Vec::new() })
}

/// `Seconds_Behind_Source`, or `_Master`, as it was called.
fn behind(row: &MySqlRow) -> Option<f64> {
    let column = row.columns().iter().find(|column| column.name().starts_with("Seconds_Behind_"))?;
    row.try_get_unchecked::<Option<String>, _>(column.ordinal()).ok().flatten()?.parse().ok()
}

//! PostgreSQL: what is asked of a server, all of it over the simple protocol, which every pooler passes on.

pub(in crate::datastore) mod judge;

use secrecy::ExposeSecret;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row};

use self::judge::{Pooling, Seen, Table};
use super::judge::{COUNTED, Content};
use super::target::{Security, Target};
use super::{Account, Demand, Line, Looked, Refusal, Server, sampled, seen_from_host, timely};
use crate::failure::Finding;
use crate::remote::forward::{Door, Place};

/// Parameters of pgx's own; all others are the server's.
const PGX: [&str; 12] = [
    "application_name",
    "connect_timeout",
    "default_query_exec_mode",
    "description_cache_capacity",
    "min_read_buffer_size",
    "pool_health_check_period",
    "pool_max_conn_idle_time",
    "pool_max_conn_lifetime",
    "pool_max_conns",
    "pool_min_conns",
    "statement_cache_capacity",
    "krbsrvname",
];

pub(in crate::datastore) type Answer = Result<Vec<Vec<Option<String>>>, sqlx::Error>;

/// Logs in and looks around.
pub(super) async fn check(server: &Server<'_>, demand: Demand<'_>, round_trips: &[f64]) -> Looked {
    let target = server.target;
    let options = options(server);
    let mut connection = match connect(server).await {
        Ok(connection) => connection,
        Err((name, finding)) => return Looked { lines: vec![Line::of(name, finding)], complete: false },
    };
    let mut lines = vec![
        Line::ok("DatastoreLogin", format!("{} may log in", target.user)),
        Line::ok("DatastoreDatabase", format!("{} is there", target.database)),
    ];
    let seen = look(&mut connection, &options, target, demand.stores, round_trips).await;
    let _gone = timely(connection.close()).await;
    match seen {
        Ok(seen) => {
            lines.extend(judge::judge(&seen, target, demand));
            Looked { lines, complete: true }
        }
        Err(error) => {
            let (name, finding) = judge::cut(&error.into(), server.place);
            lines.push(Line::of(name, finding));
            Looked { lines, complete: false }
        }
    }
}

/// Logs in; where that fails, the check that says so.
pub(in crate::datastore) async fn connect(server: &Server<'_>) -> Result<PgConnection, (&'static str, Finding)> {
    let connected = timely(options(server).connect()).await;
    connected.map_err(|error| judge::refused(&error.into(), server.target, server.place))
}

fn options(server: &Server<'_>) -> PgConnectOptions {
    let target = server.target;
    // extra_float_digits is a startup parameter that PgBouncer refuses.
    let mut options = PgConnectOptions::new_without_pgpass()
        .username(&target.user)
        .database(&target.database)
        .password(target.password.as_ref().map(ExposeSecret::expose_secret).unwrap_or_default())
        .application_name("etcdless")
        .extra_float_digits(None);
    options = match (server.place, target.security) {
        (Place::Socket(_), _) | (_, Security::Off) => options.ssl_mode(PgSslMode::Disable),
        (_, Security::Prefer) => options.ssl_mode(PgSslMode::Prefer),
        (_, Security::Encrypt) => options.ssl_mode(PgSslMode::Require),
        (_, Security::Verify) => {
            options.ssl_mode(PgSslMode::VerifyFull).ssl_root_cert_from_pem(server.trust.as_bytes().to_vec())
        }
    };
    if let (Some(cert), Some(key)) = (&target.cert, &target.key) {
        options = options.ssl_client_cert_from_pem(cert).ssl_client_key_from_pem(key.expose_secret());
    }
    // The server's own name is what the certificate must hold, wherever the way to it begins.
    if let Place::Tcp { host, port } = server.place {
        options = options.host(host).port(*port);
    }
    if let Door::Socket(path) = server.door {
        let (folder, port) = super::super::postgres::socket(&path.to_string_lossy());
        options = options.socket(folder).port(port);
    }
    let ours = target.parameters.iter().filter(|(name, _)| !PGX.contains(&name.as_str()));
    let ours: Vec<(&String, &String)> = ours.collect();
    if ours.is_empty() { options } else { options.options(ours) }
}

/// Asks one question; every column must be text.
pub(in crate::datastore) async fn ask(connection: &mut PgConnection, sql: String) -> Answer {
    let rows = timely(sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(connection)).await?;
    rows.iter().map(|row| (0..row.len()).map(|column| row.try_get::<Option<String>, _>(column)).collect()).collect()
}

/// The one row of an answer, as text.
pub(in crate::datastore) async fn row(connection: &mut PgConnection, sql: &str) -> Result<Vec<String>, sqlx::Error> {
    let row = ask(connection, sql.to_owned()).await?.into_iter().next().ok_or(sqlx::Error::RowNotFound)?;
    Ok(row.into_iter().map(Option::unwrap_or_default).collect())
}

const GENERAL: &str = "SELECT current_setting('server_version_num'), pg_is_in_recovery()::text, \
    current_setting('transaction_read_only'), current_schema()::text, current_setting('search_path'), \
    has_schema_privilege(current_schema(), 'CREATE')::text, current_setting('max_connections'), \
    current_setting('superuser_reserved_connections'), current_setting('reserved_connections', true), \
    (SELECT sum(numbackends) FROM pg_stat_database)::text, \
    (SELECT count(*) FROM pg_stat_activity WHERE usename = current_user)::text, \
    (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database())::text, \
    (SELECT count(*) FROM pg_stat_activity WHERE usename = current_user AND datname = current_database())::text, \
    (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user)::text, \
    (SELECT datconnlimit FROM pg_database WHERE datname = current_database())::text, \
    (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)::text, current_setting('server_version')";

/// Connections of some users to some databases.
const OF_STORES: &str = "SELECT count(*)::text FROM pg_stat_activity WHERE (usename, datname) IN";

const TABLE: &str = "SELECT n.nspname::text, pg_get_userbyid(c.relowner)::text, pg_has_role(c.relowner, 'USAGE')::text, \
    concat_ws(', ', CASE WHEN NOT has_table_privilege(c.oid, 'SELECT') THEN 'SELECT' END, \
    CASE WHEN NOT has_table_privilege(c.oid, 'INSERT') THEN 'INSERT' END, \
    CASE WHEN NOT has_table_privilege(c.oid, 'UPDATE') THEN 'UPDATE' END, \
    CASE WHEN NOT has_table_privilege(c.oid, 'DELETE') THEN 'DELETE' END), \
    (SELECT CASE WHEN l.collname = 'default' THEN d.datcollate ELSE l.collname END FROM pg_attribute a \
     JOIN pg_collation l ON l.oid = a.attcollation, pg_database d \
     WHERE a.attrelid = c.oid AND a.attname = 'name' AND d.datname = current_database())::text \
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass('kine')";

const EMIT: &str = "SELECT pg_logical_emit_message(true, 'etcdless', '')::text";

async fn look(
    connection: &mut PgConnection,
    options: &PgConnectOptions,
    target: &Target,
    stores: &[Account<'_>],
    round_trips: &[f64],
) -> Result<Seen, sqlx::Error> {
    let general = row(connection, GENERAL).await?;
    let text = |at: usize| general.get(at).cloned().unwrap_or_default();
    let number = |at: usize| general.get(at).and_then(|text| text.parse::<i64>().ok()).unwrap_or_default();
    let stores = Account::rows(stores, |text| format!("'{}'", text.replace('\'', "''")));
    let of_stores = row(connection, &format!("{OF_STORES} ({stores})")).await?;
    let of_stores = of_stores.first().and_then(|text| text.parse::<i64>().ok()).unwrap_or_default();
    let table = ask(connection, TABLE.to_owned()).await?.into_iter().next().map(|row| {
        let text = |at: usize| row.get(at).cloned().flatten().unwrap_or_default();
        Table { schema: text(0), owner: text(1), is_owner: text(2) == "true", lacking: text(3), collation: text(4) }
    });
    let readable = table.as_ref().is_some_and(|table| !table.lacking.contains("SELECT"));
    let content = if readable { content(connection).await? } else { Content::Empty };
    let pooling = match target.parameters.get("default_query_exec_mode").map(String::as_str) {
        // None of these names a statement.
        Some("exec" | "simple_protocol" | "cache_describe") => Pooling::Unnamed,
        _ => pooling(connection, options).await?,
    };
    let here = sampled(connection, async |it: &mut PgConnection| ask(it, "SELECT ''".into()).await.map(drop)).await?;
    let writable = text(1) == "false" && text(2) == "off";
    // A logical message is written to the log and waited for like a row, and leaves nothing behind.
    let emit = async |it: &mut PgConnection| ask(it, EMIT.into()).await.map(drop);
    let commits = if writable { sampled(connection, emit).await.ok() } else { None };
    let (round_trips, commits) = seen_from_host(here, commits, round_trips);
    Ok(Seen {
        version_number: u32::try_from(number(0)).unwrap_or_default(),
        version: text(16),
        in_recovery: text(1) == "true",
        read_only: text(2) == "on",
        schema: general.get(3).filter(|schema| !schema.is_empty()).cloned(),
        search_path: text(4),
        may_create: text(5) == "true",
        max_connections: number(6),
        reserved: if text(15) == "true" { 0 } else { number(7) + number(8) },
        // All but the one that asks.
        in_use: number(9) - 1,
        of_role: number(10) - 1,
        of_database: number(11) - 1,
        of_both: number(12) - 1,
        of_stores: of_stores - 1,
        role_limit: number(13),
        database_limit: number(14),
        table,
        content,
        pooling,
        round_trips,
        commits,
    })
}

async fn content(connection: &mut PgConnection) -> Result<Content, sqlx::Error> {
    // kine's own rows, and those that it fills gaps with, are nobody's.
    let count = format!(
        "SELECT count(*)::text FROM (SELECT DISTINCT name FROM kine WHERE deleted = 0 AND name <> 'compact_rev_key' \
         AND name <> '/registry/health' AND name NOT LIKE 'gap-%' LIMIT {}) AS objects",
        COUNTED + 1
    );
    let answer = match row(connection, &count).await {
        Ok(answer) => answer,
        Err(sqlx::Error::Database(said)) => return Ok(Content::Strange(said.message().to_owned())),
        Err(error) => return Err(error),
    };
    let count = answer.first().and_then(|count| count.parse().ok()).unwrap_or(0);
    if count == 0 {
        return Ok(Content::Empty);
    }
    let newest = "SELECT encode(value, 'hex') FROM kine WHERE name = '/registry/namespaces/kube-system' AND deleted = 0 \
                  ORDER BY id DESC LIMIT 1";
    let value = ask(connection, newest.to_owned()).await?.into_iter().flatten().next().flatten();
    Ok(Content::Objects { count, kube_system: value.map(|hex| super::bytes(&hex)) })
}

/// Whether the connection stays with one backend. A pooler that lends backends to transactions gives ours to the next who asks.
async fn pooling(first: &mut PgConnection, options: &PgConnectOptions) -> Result<Pooling, sqlx::Error> {
    const PID: &str = "SELECT pg_backend_pid()::text";
    let mut second = timely(options.connect()).await?;
    let before = row(first, PID).await?;
    if ask(&mut second, "BEGIN".into()).await.is_err() {
        return Ok(Pooling::Statements);
    }
    let theirs = row(&mut second, PID).await?;
    let after = row(first, PID).await?;
    ask(&mut second, "ROLLBACK".into()).await?;
    let lent = before != after || theirs == before;
    let mut pooling = Pooling::None;
    if lent {
        // Both drivers name their first statement alike, so on one backend the second is refused unless the pooler keeps them apart.
        let prepared = timely(sqlx::query("SELECT 1").persistent(true).fetch_one(&mut *first)).await;
        let again = timely(sqlx::query("SELECT 1").persistent(true).fetch_one(&mut second)).await;
        pooling = match prepared.and(again) {
            Ok(_) => Pooling::Prepared,
            Err(error) => Pooling::Unprepared(Refusal::from(error).message),
        };
    }
    let _gone = timely(second.close()).await;
    Ok(pooling)
}

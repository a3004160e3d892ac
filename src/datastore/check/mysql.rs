//! MySQL and MariaDB: what is asked of a server.

pub(in crate::datastore) mod judge;

use std::collections::BTreeMap;

use secrecy::ExposeSecret;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row};

use self::judge::Seen;
use super::judge::{COUNTED, Content};
use super::target::Security;
use super::{Account, Demand, Line, Looked, Server, sampled, seen_from_host, timely};
use crate::failure::Finding;
use crate::remote::forward::{Door, Place};

/// The table that commits are timed with: MySQL has no other way to make one wait for the log. It is gone when the check ends, and one that
/// an earlier check was cut off from is removed first.
const TABLE: &str = "etcdless_latency";

pub(in crate::datastore) type Answer = Result<Vec<Vec<String>>, sqlx::Error>;

/// Logs in and looks around.
pub(super) async fn check(server: &Server<'_>, demand: Demand<'_>, round_trips: &[f64]) -> Looked {
    let target = server.target;
    let mut connection = match connect(server).await {
        Ok(connection) => connection,
        Err((name, finding)) => return Looked { lines: vec![Line::of(name, finding)], complete: false },
    };
    let mut lines = vec![
        Line::ok("DatastoreLogin", format!("{} may log in", target.user)),
        Line::ok("DatastoreDatabase", format!("{} is there", target.database)),
    ];
    let seen = look(&mut connection, &target.database, demand.stores, round_trips).await;
    let _gone = timely(connection.close()).await;
    match seen {
        Ok(seen) => {
            lines.extend(judge::judge(&seen, target, demand));
            Looked { lines, complete: true }
        }
        Err(error) => {
            let (name, finding) = judge::cut(&error.into(), target.engine, server.place);
            lines.push(Line::of(name, finding));
            Looked { lines, complete: false }
        }
    }
}

/// Logs in; where that fails, the check that says so.
pub(in crate::datastore) async fn connect(server: &Server<'_>) -> Result<MySqlConnection, (&'static str, Finding)> {
    let connected = timely(options(server).connect()).await;
    connected.map_err(|error| judge::refused(&error.into(), server.target, server.place))
}

fn options(server: &Server<'_>) -> MySqlConnectOptions {
    let target = server.target;
    // Nothing is set on the connection: its settings are to be those that kine finds.
    let mut options = MySqlConnectOptions::new()
        .username(&target.user)
        .database(&target.database)
        .pipes_as_concat(false)
        .no_engine_substitution(false)
        .timezone(None)
        .set_names(false);
    if let Some(password) = &target.password {
        options = options.password(password.expose_secret());
    }
    options = match (server.place, target.security) {
        (Place::Socket(_), _) | (_, Security::Off) => options.ssl_mode(MySqlSslMode::Disabled),
        (_, Security::Prefer) => options.ssl_mode(MySqlSslMode::Preferred),
        (_, Security::Encrypt) => options.ssl_mode(MySqlSslMode::Required),
        (_, Security::Verify) => {
            options.ssl_mode(MySqlSslMode::VerifyIdentity).ssl_ca_from_pem(server.trust.as_bytes().to_vec())
        }
    };
    if let (Some(cert), Some(key)) = (&target.cert, &target.key) {
        options = options.ssl_client_cert_from_pem(cert).ssl_client_key_from_pem(key.expose_secret());
    }
    // The server's own name is what the certificate must hold, wherever the way to it begins.
    if let Place::Tcp { host, port } = server.place {
        options = options.host(host).port(*port);
    }
    match server.door {
        Door::Socket(path) => options.socket(path),
        Door::Tcp(..) => options,
    }
}

/// Asks one question. What the server calls binary is text as well here.
pub(in crate::datastore) async fn ask(connection: &mut MySqlConnection, sql: String) -> Answer {
    let rows = timely(sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(connection)).await?;
    rows.iter().map(texts).collect()
}

/// The cells of a row.
pub(in crate::datastore) fn texts(row: &sqlx::mysql::MySqlRow) -> Result<Vec<String>, sqlx::Error> {
    let text = |column| row.try_get_unchecked::<Option<String>, _>(column).map(Option::unwrap_or_default);
    (0..row.len()).map(text).collect()
}

/// One number.
pub(in crate::datastore) async fn number(connection: &mut MySqlConnection, sql: String) -> Result<i64, sqlx::Error> {
    let rows = ask(connection, sql).await?;
    Ok(rows.first().and_then(|row| row.last()?.parse().ok()).unwrap_or_default())
}

const VARIABLES: &str = "SHOW VARIABLES WHERE Variable_name IN ('version', 'version_comment', 'read_only', 'super_read_only', \
    'innodb_read_only', 'auto_increment_increment', 'auto_increment_offset', 'innodb_autoinc_lock_mode', 'wsrep_on', 'innodb_snapshot_isolation', \
    'max_connections', 'max_user_connections', 'performance_schema')";

/// Our own connections; without further privileges the server tells of no others.
const OURS: &str = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = SUBSTRING_INDEX(USER(), '@', 1)";

/// Connections of some users to some databases.
const OF_STORES: &str = "SELECT COUNT(*) FROM information_schema.processlist WHERE (user, db) IN";

/// What a new connection finds set.
pub(in crate::datastore) async fn variables(
    connection: &mut MySqlConnection,
) -> Result<BTreeMap<String, String>, sqlx::Error> {
    let rows = ask(connection, VARIABLES.into()).await?;
    Ok(rows.into_iter().filter_map(|row| Some((row.first()?.to_lowercase(), row.get(1)?.clone()))).collect())
}

/// Connections in use but for the one that asks: all, those of our user, and those of our user in our database.
pub(in crate::datastore) async fn in_use(connection: &mut MySqlConnection) -> Result<[i64; 3], sqlx::Error> {
    let all = number(connection, "SHOW GLOBAL STATUS LIKE 'Threads_connected'".into()).await?;
    let of_user = number(connection, OURS.into()).await?;
    let of_both = number(connection, format!("{OURS} AND db = DATABASE()")).await?;
    Ok([all - 1, of_user - 1, of_both - 1])
}

async fn look(
    connection: &mut MySqlConnection,
    database: &str,
    stores: &[Account<'_>],
    round_trips: &[f64],
) -> Result<Seen, sqlx::Error> {
    let variables = variables(connection).await?;
    let account = ask(connection, "SELECT CURRENT_USER()".into()).await?.into_iter().flatten().next();
    let grants: Vec<String> = ask(connection, "SHOW GRANTS".into()).await?.into_iter().flatten().collect();
    let [in_use, of_user, of_both] = in_use(connection).await?;
    let stores = Account::rows(stores, |text| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''")));
    let of_stores = number(connection, format!("{OF_STORES} ({stores})")).await? - 1;
    let here = sampled(connection, async |it: &mut MySqlConnection| ask(it, "SELECT 1".into()).await.map(drop)).await?;
    let mut seen = Seen {
        variables,
        account: account.unwrap_or_default(),
        grants,
        in_use,
        of_user,
        of_both,
        of_stores,
        content: content(connection).await?,
        round_trips: Vec::new(),
        commits: None,
    };
    let may_time = ["CREATE", "INSERT", "DROP"].iter().all(|privilege| seen.may(privilege, database, TABLE));
    let commits = if seen.is_writable() && may_time { commits(connection).await } else { None };
    (seen.round_trips, seen.commits) = seen_from_host(here, commits, round_trips);
    Ok(seen)
}

async fn content(connection: &mut MySqlConnection) -> Result<Content, sqlx::Error> {
    let there =
        "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = 'kine'";
    if number(connection, there.into()).await? == 0 {
        return Ok(Content::Empty);
    }
    // kine's own rows, and those that it fills gaps with, are nobody's.
    let count = format!(
        "SELECT COUNT(*) FROM (SELECT DISTINCT name FROM kine WHERE deleted = 0 AND name <> 'compact_rev_key' \
         AND name <> '/registry/health' AND name NOT LIKE 'gap-%' LIMIT {}) AS objects",
        COUNTED + 1
    );
    let count = match number(connection, count).await {
        Ok(count) => u64::try_from(count).unwrap_or_default(),
        // A missing privilege is another check's.
        Err(sqlx::Error::Database(said)) if said.code().as_deref() == Some("42000") => 0,
        Err(sqlx::Error::Database(said)) => return Ok(Content::Strange(said.message().to_owned())),
        Err(error) => return Err(error),
    };
    if count == 0 {
        return Ok(Content::Empty);
    }
    let newest = "SELECT HEX(value) FROM kine WHERE name = '/registry/namespaces/kube-system' AND deleted = 0 \
                  ORDER BY id DESC LIMIT 1";
    let value = ask(connection, newest.into()).await?.into_iter().flatten().next();
    Ok(Content::Objects { count, kube_system: value.map(|hex| super::bytes(&hex)) })
}

/// Milliseconds that commits take. The table is removed whatever happens in between.
async fn commits(connection: &mut MySqlConnection) -> Option<Vec<f64>> {
    ask(connection, format!("DROP TABLE IF EXISTS {TABLE}")).await.ok()?;
    let made = ask(connection, format!("CREATE TABLE {TABLE} (id INT AUTO_INCREMENT PRIMARY KEY) ENGINE=InnoDB")).await;
    let insert = async |it: &mut MySqlConnection| ask(it, format!("INSERT INTO {TABLE} VALUES ()")).await.map(drop);
    let taken = match made {
        Ok(_) => sampled(connection, insert).await.ok(),
        Err(_) => None,
    };
    let _next_time = ask(connection, format!("DROP TABLE IF EXISTS {TABLE}")).await;
    taken
}

//! What PostgreSQL's answers mean for kine. Pure.

use super::super::judge::{Content, Room, Versions, connections, latency, table, version};
use super::super::target::Target;
use super::super::{Demand, Line, Refusal};
use crate::config::ServerEngine as Engine;
use crate::failure::Finding;
use crate::remote::forward::Place;

/// kine's own tests run on 14 to 17, this project's on 15 too.
const VERSIONS: Versions =
    Versions { floor: (12, 0), tested: &[(14, None), (15, None), (16, None), (17, None)], list: "PostgreSQL 14 to 17" };

/// What a server told of itself.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) version_number: u32,
    pub(super) version: String,
    pub(super) in_recovery: bool,
    pub(super) read_only: bool,
    /// Where an unqualified CREATE TABLE puts its table; none where no schema of the path exists.
    pub(super) schema: Option<String>,
    pub(super) search_path: String,
    pub(super) may_create: bool,
    pub(super) max_connections: i64,
    pub(super) reserved: i64,
    pub(super) in_use: i64,
    /// Of the connections in use, those of our role, of our database, and of both.
    pub(super) of_role: i64,
    pub(super) of_database: i64,
    pub(super) of_both: i64,
    /// Those of all the cluster's stores on the server.
    pub(super) of_stores: i64,
    /// -1 where there is none.
    pub(super) role_limit: i64,
    pub(super) database_limit: i64,
    pub(super) table: Option<Table>,
    pub(super) content: Content,
    pub(super) pooling: Pooling,
    /// Milliseconds.
    pub(super) round_trips: Vec<f64>,
    pub(super) commits: Option<Vec<f64>>,
}

/// An existing `kine`.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) schema: String,
    pub(super) owner: String,
    /// Whether we are the owner, or of its role.
    pub(super) is_owner: bool,
    /// Privileges that we do not have.
    pub(super) lacking: String,
    /// Of the column `name`; the database's own where the column has none.
    pub(super) collation: String,
}

/// How connections stay with backends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pooling {
    /// One connection, one backend.
    None,
    /// Not looked at: kine is told to name no statements.
    Unnamed,
    /// A backend a transaction, and named statements work all the same.
    Prepared,
    /// A backend a transaction, and named statements fail.
    Unprepared(String),
    /// A backend a statement.
    Statements,
}

/// Every check that the answers decide, in order.
pub(super) fn judge(seen: &Seen, target: &Target, demand: Demand<'_>) -> Vec<Line> {
    let round_trips = seen.round_trips.clone();
    vec![
        privileges(seen, target),
        Line::judged(
            "DatastoreVersion",
            format!("PostgreSQL {}", seen.version),
            version("PostgreSQL", (seen.version_number / 10_000, 0), &VERSIONS),
        ),
        writable(seen, target),
        pooling(seen),
        collation(seen, demand),
        connections(&rooms(seen, target, demand), demand),
        table(&seen.content, demand.ours, &target.database),
        latency(round_trips, seen.commits.clone()),
    ]
}

/// An identifier as SQL takes it.
pub(in crate::datastore) fn quoted(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// Why a login did not succeed: the check that fails, and what is wrong.
pub(super) fn refused(refusal: &Refusal, target: &Target, place: &Place) -> (&'static str, Finding) {
    let (user, database) = (quoted(&target.user), quoted(&target.database));
    let said = refusal.message.clone();
    match refusal.code.as_deref() {
        Some("28P01") => (
            "DatastoreLogin",
            Finding::error(
                format!("{place} does not accept the password of `{}`", target.user),
                said,
                format!(
                    "`ALTER ROLE {user} WITH LOGIN PASSWORD '...';` on the server, or the right secret in `password`"
                ),
            ),
        ),
        Some("28000") if said.contains("pg_hba.conf") => {
            let kind = if said.contains("no encryption") { "host" } else { "hostssl" };
            let from = said.split('"').nth(1).unwrap_or("ADDRESS");
            let from = match from.parse() {
                Ok(std::net::IpAddr::V4(_)) => format!("{from}/32"),
                Ok(std::net::IpAddr::V6(_)) => format!("{from}/128"),
                Err(_) => from.to_owned(),
            };
            let line = match place {
                Place::Socket(_) => format!("local {} {} scram-sha-256", target.database, target.user),
                Place::Tcp { .. } => format!("{kind} {} {} {from} scram-sha-256", target.database, target.user),
            };
            let fix = format!("a line `{line}` in the server's pg_hba.conf, then `SELECT pg_reload_conf();`");
            (
                "DatastoreLogin",
                Finding::error(format!("{place} lets nobody in from here as `{}`", target.user), said, fix),
            )
        }
        Some("28000") => (
            "DatastoreLogin",
            Finding::error(
                format!("{place} does not let `{}` log in", target.user),
                said,
                format!(
                    "`CREATE ROLE {user} LOGIN PASSWORD '...';` on the server, or `ALTER ROLE {user} LOGIN;` where it exists"
                ),
            ),
        ),
        Some("3D000") => (
            "DatastoreDatabase",
            Finding::error(
                format!("there is no database `{}` on {place}", target.database),
                "kine's tables belong into one of their own",
                format!("`CREATE DATABASE {database} OWNER {user};` on the server"),
            ),
        ),
        Some("42501") => (
            "DatastorePrivileges",
            Finding::error(
                format!("`{}` may not connect to the database `{}`", target.user, target.database),
                said,
                format!("`GRANT CONNECT ON DATABASE {database} TO {user};` on the server"),
            ),
        ),
        Some("53300") => (
            "DatastoreConnections",
            Finding::error(
                format!("{place} has no connection left"),
                said,
                "`ALTER SYSTEM SET max_connections = N;` with a larger N and a restart, or end what holds them (pg_stat_activity)",
            ),
        ),
        _ if refusal.tls => (
            "DatastoreTLS",
            Finding::error(
                format!("{place} ended the TLS connection"),
                said,
                "where the server asks for a client certificate: tls.cert and tls.key, signed by its ssl_ca_file",
            ),
        ),
        // PgBouncer speaks for itself, with a code of its own.
        Some("08P01") if said.contains("no such database") => (
            "DatastoreDatabase",
            Finding::error(
                format!("the pooler at {place} knows no database `{}`", target.database),
                said,
                format!("a line `{} = host=... port=5432` under [databases] in pgbouncer.ini", target.database),
            ),
        ),
        Some("08P01") if said.contains("auth") || said.contains("password") => (
            "DatastoreLogin",
            Finding::error(
                format!("the pooler at {place} does not let `{}` log in", target.user),
                said,
                "the user and its password in PgBouncer's auth_file, or an auth_query",
            ),
        ),
        Some(_) => {
            ("DatastoreConnect", Finding::error(format!("{place} refuses connections"), said, "see the server's log"))
        }
        None => cut(refusal, place),
    }
}

/// The connection ended, or there was no answer.
pub(in crate::datastore) fn cut(refusal: &Refusal, place: &Place) -> (&'static str, Finding) {
    let what = format!("{place} answers, but not as {} does", Engine::Postgres.title());
    let fix = "see the server's log, and that nothing else listens there";
    ("DatastoreConnect", Finding::error(what, refusal.message.clone(), fix))
}

fn privileges(seen: &Seen, target: &Target) -> Line {
    const NAME: &str = "DatastorePrivileges";
    let user = quoted(&target.user);
    let mut findings = Vec::new();
    match &seen.schema {
        None => findings.push(Finding::error(
            format!("no schema of search_path ({}) is there for `{}`", seen.search_path, target.user),
            "kine creates its table in the first one",
            format!(
                "`CREATE SCHEMA kine AUTHORIZATION {user}; ALTER ROLE {user} IN DATABASE {} SET search_path = kine;`",
                quoted(&target.database)
            ),
        )),
        Some(schema) if !seen.may_create => findings.push(Finding::error(
            format!("`{}` may not create tables in the schema `{schema}` of `{}`", target.user, target.database),
            "kine creates its table and indexes, and says so again at every start",
            format!(
                "`GRANT USAGE, CREATE ON SCHEMA {} TO {user};` in the database `{}`",
                quoted(schema),
                target.database
            ),
        )),
        Some(_) => {}
    }
    if let Some(table) = &seen.table {
        let name = format!("{}.kine", quoted(&table.schema));
        if !table.is_owner {
            findings.push(Finding::error(
                format!("the table {name} belongs to `{}`", table.owner),
                format!("kine creates missing indexes on it as `{}`, which only its owner may", target.user),
                format!("`ALTER TABLE {name} OWNER TO {user};` in the database `{}`", target.database),
            ));
        } else if !table.lacking.is_empty() {
            findings.push(Finding::error(
                format!("`{}` may not {} on {name}", target.user, table.lacking),
                "kine does all of that",
                format!("`GRANT {} ON {name} TO {user};` in the database `{}`", table.lacking, target.database),
            ));
        }
    }
    let schema = seen.schema.as_deref().unwrap_or_default();
    Line::judged(NAME, format!("{} may create tables in the schema {schema}", target.user), findings)
}

fn writable(seen: &Seen, target: &Target) -> Line {
    let finding = takes_no_writes(seen.in_recovery, seen.read_only, target);
    Line::judged("DatastoreWritable", "the server takes writes", finding.into_iter().collect())
}

/// Why a server takes no writes of ours.
pub(in crate::datastore) fn takes_no_writes(in_recovery: bool, read_only: bool, target: &Target) -> Option<Finding> {
    let (user, database) = (quoted(&target.user), quoted(&target.database));
    if in_recovery {
        return Some(Finding::error(
            "the server is a standby",
            "pg_is_in_recovery() is true, so it takes no writes",
            "name the primary as the address, or all servers under `addresses`",
        ));
    }
    read_only.then(|| {
        Finding::error(
            format!("transactions of `{}` are read-only", target.user),
            "default_transaction_read_only is on, for the server, the database or the role",
            format!(
                "`ALTER ROLE {user} IN DATABASE {database} SET default_transaction_read_only = off;` on the server"
            ),
        )
    })
}

fn pooling(seen: &Seen) -> Line {
    const NAME: &str = "DatastorePooling";
    let fix = "pool_mode = session for this database in pgbouncer.ini; or PgBouncer 1.21 or newer with max_prepared_statements = 200; or \
               `parameters: { default_query_exec_mode: exec }` for kine";
    match &seen.pooling {
        Pooling::None => Line::ok(NAME, "a connection keeps its backend"),
        Pooling::Unnamed => {
            Line::ok(NAME, "default_query_exec_mode lets kine name no statements, which every pooler passes on")
        }
        Pooling::Prepared => {
            Line::ok(NAME, "a pooler lends backends to transactions, and keeps prepared statements apart")
        }
        Pooling::Unprepared(said) => Line::of(
            NAME,
            Finding::error(
                "a pooler lends one backend to several connections, and prepared statements get mixed up",
                format!("kine prepares its statements ({said})"),
                fix,
            ),
        ),
        Pooling::Statements => Line::of(
            NAME,
            Finding::error(
                "a pooler allows no transactions",
                "kine writes in transactions",
                "pool_mode = session for this database in pgbouncer.ini",
            ),
        ),
    }
}

fn collation(seen: &Seen, demand: Demand<'_>) -> Line {
    const NAME: &str = "DatastoreCollation";
    let Some(table) = &seen.table else { return Line::ok(NAME, "kine creates its table with COLLATE \"C\"") };
    if ["C", "POSIX", ""].contains(&table.collation.as_str()) {
        return Line::ok(NAME, "names are sorted by their bytes");
    }
    let what = format!("the column `name` of {}.kine is sorted as in {}", quoted(&table.schema), table.collation);
    let why = "kine lists names by their bytes, so indexes are not used and pages of a list may lack objects";
    let fix = format!(
        "`ALTER TABLE {}.kine ALTER COLUMN name TYPE text COLLATE \"C\";`, which writes the table anew",
        quoted(&table.schema)
    );
    // A cluster that runs like that goes on as it did.
    let finding = if demand.ours { Finding::warning(what, why, fix) } else { Finding::error(what, why, fix) };
    Line::of(NAME, finding)
}

/// The server's own limit, and those of role and database. Connections that our own kines hold are theirs to use again.
fn rooms(seen: &Seen, target: &Target, demand: Demand<'_>) -> Vec<Room> {
    let own = if demand.ours { seen.of_both } else { 0 };
    let (needed, of_server) = (i64::from(demand.needed()), i64::from(demand.of_server()));
    let used = seen.in_use - if demand.ours { seen.of_stores } else { 0 };
    let mut rooms = vec![Room {
        needed: of_server,
        what: format!(
            "the server allows {} connections, reserves {} and has {used} in use",
            seen.max_connections, seen.reserved
        ),
        free: seen.max_connections - seen.reserved - used,
        fix: format!(
            "`ALTER SYSTEM SET max_connections = {};` and a restart of the server",
            of_server + used + seen.reserved
        ),
    }];
    let (user, database) = (quoted(&target.user), quoted(&target.database));
    for (limit, used, what, fix) in [
        (seen.role_limit, seen.of_role - own, format!("the role `{}`", target.user), format!("ROLE {user}")),
        (
            seen.database_limit,
            seen.of_database - own,
            format!("the database `{}`", target.database),
            format!("DATABASE {database}"),
        ),
    ] {
        if limit >= 0 {
            rooms.push(Room {
                what: format!("{what} allows {limit} connections and has {used} in use"),
                free: limit - used,
                needed,
                fix: format!("`ALTER {fix} CONNECTION LIMIT {};`", needed + used),
            });
        }
    }
    rooms
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;

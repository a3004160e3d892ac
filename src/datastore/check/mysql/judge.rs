//! What MySQL's and MariaDB's answers mean for kine. Pure.

use std::collections::BTreeMap;

use super::super::judge::{Content, Room, Versions, connections, latency, table, version};
use super::super::target::Target;
use super::super::{Demand, Line, Refusal};
use crate::config::ServerEngine as Engine;
use crate::failure::Finding;
use crate::remote::forward::Place;

/// What kine's own tests run on, and what this project's do.
const MYSQL: Versions =
    Versions { floor: (8, 0), tested: &[(8, Some(0)), (8, Some(4)), (9, None)], list: "MySQL 8.0, 8.4 and 9" };
const MARIADB: Versions = Versions {
    floor: (10, 5),
    tested: &[(10, Some(6)), (10, Some(11)), (11, Some(4))],
    list: "MariaDB 10.6, 10.11 and 11.4",
};

/// What kine does to its table: it makes it and its indexes, reads, writes and compacts.
const NEEDED: [&str; 6] = ["SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "INDEX"];

/// What a server told of itself.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// As a new connection has them; those that this server does not know are not there.
    pub(super) variables: BTreeMap<String, String>,
    /// `USER@HOST` as the server matched it.
    pub(super) account: String,
    /// The lines of SHOW GRANTS.
    pub(super) grants: Vec<String>,
    pub(super) in_use: i64,
    /// Of the connections in use, those of our user, and those of our user in our database.
    pub(super) of_user: i64,
    pub(super) of_both: i64,
    /// Those of all the cluster's stores on the server, as far as our user may see them.
    pub(super) of_stores: i64,
    pub(super) content: Content,
    /// Milliseconds.
    pub(super) round_trips: Vec<f64>,
    pub(super) commits: Option<Vec<f64>>,
}

impl Seen {
    fn variable(&self, name: &str) -> &str {
        self.variables.get(name).map_or("", String::as_str)
    }

    fn is_on(&self, name: &str) -> bool {
        is_on(&self.variables, name)
    }

    fn number(&self, name: &str) -> i64 {
        self.variable(name).parse().unwrap_or_default()
    }

    pub(super) fn is_writable(&self) -> bool {
        read_only(&self.variables).is_none()
    }

    /// Whether one of the grants covers this on a table.
    pub(super) fn may(&self, privilege: &str, database: &str, table: &str) -> bool {
        self.grants.iter().any(|grant| covers(grant, privilege, database, table))
    }

    /// The engine that answers, whatever it was called, with its version.
    fn version(&self) -> (Engine, (u32, u32)) {
        let mut parts =
            self.variable("version").split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
        (engine(&self.variables), (parts.next().unwrap_or(0), parts.next().unwrap_or(0)))
    }
}

/// The engine that answers, whatever it was called.
pub(in crate::datastore) fn engine(variables: &BTreeMap<String, String>) -> Engine {
    let of = |name: &str| variables.get(name).map(|text| text.to_lowercase()).unwrap_or_default();
    let is_mariadb = ["version", "version_comment"].iter().any(|name| of(name).contains("mariadb"));
    if is_mariadb { Engine::Mariadb } else { Engine::Mysql }
}

/// Whether a switch is on.
pub(in crate::datastore) fn is_on(variables: &BTreeMap<String, String>, name: &str) -> bool {
    variables.get(name).is_some_and(|value| matches!(value.as_str(), "ON" | "1"))
}

/// What makes a server take no writes of ours.
fn read_only(variables: &BTreeMap<String, String>) -> Option<&'static str> {
    ["innodb_read_only", "super_read_only", "read_only"].into_iter().find(|name| is_on(variables, name))
}

/// Whether a line of SHOW GRANTS covers a privilege on a table.
fn covers(grant: &str, privilege: &str, database: &str, table: &str) -> bool {
    let Some((privileges, rest)) = grant.strip_prefix("GRANT ").and_then(|rest| rest.split_once(" ON ")) else {
        return false;
    };
    let Some((object, _)) = rest.split_once(" TO ") else { return false };
    let object = object.strip_prefix("TABLE ").unwrap_or(object);
    let Some((schema, name)) = object.split_once('.') else { return false };
    let bare = |text: &str| text.trim_matches('`').replace("``", "`");
    let has = privileges.split(", ").any(|one| one == privilege || one == "ALL PRIVILEGES");
    has && (schema == "*" || like(bare(schema).as_bytes(), database.as_bytes())) && (name == "*" || bare(name) == table)
}

/// SQL's LIKE, as grants name databases.
fn like(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], _) => text.is_empty(),
        ([b'%', rest @ ..], _) => (0..=text.len()).any(|at| like(rest, &text[at..])),
        ([b'\\', wanted, rest @ ..], [found, others @ ..]) => wanted == found && like(rest, others),
        ([b'_', rest @ ..], [_, others @ ..]) => like(rest, others),
        ([wanted, rest @ ..], [found, others @ ..]) => wanted == found && like(rest, others),
        (_, []) => false,
    }
}

/// Every check that the answers decide, in order.
pub(super) fn judge(seen: &Seen, target: &Target, demand: Demand<'_>) -> Vec<Line> {
    let (engine, found) = seen.version();
    let versions = if engine == Engine::Mariadb { &MARIADB } else { &MYSQL };
    let mut lines = vec![
        privileges(seen, target),
        Line::judged(
            "DatastoreVersion",
            format!("{} {}", engine.title(), seen.variable("version")),
            version(engine.title(), found, versions),
        ),
        writable(seen),
        increment(seen),
        galera(seen),
    ];
    if engine == Engine::Mariadb {
        lines.push(snapshot_isolation(seen));
    }
    lines.push(connections(&rooms(seen, target, demand), demand));
    lines.push(table(&seen.content, demand.ours, &target.database));
    lines.push(latency(seen.round_trips.clone(), seen.commits.clone()));
    lines
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// An account as SQL takes it.
pub(in crate::datastore) fn account(text: &str) -> String {
    let (user, host) = text.rsplit_once('@').unwrap_or((text, "%"));
    format!("'{}'@'{host}'", user.replace('\'', "''"))
}

fn privileges(seen: &Seen, target: &Target) -> Line {
    let lacking: Vec<&str> =
        NEEDED.into_iter().filter(|privilege| !seen.may(privilege, &target.database, "kine")).collect();
    // What a role brings is not in the list.
    let roles = seen.grants.iter().any(|grant| grant.starts_with("GRANT ") && !grant.contains(" ON "));
    let findings = match lacking.is_empty() {
        true => Vec::new(),
        false => {
            let what = format!("`{}` may not {} in {}", target.user, lacking.join(", "), quoted(&target.database));
            let why = "kine makes its table and indexes there, reads, writes and compacts";
            let fix = format!(
                "`GRANT {} ON {}.* TO {};` on the server",
                lacking.join(", "),
                quoted(&target.database),
                account(&seen.account)
            );
            match roles {
                true => vec![Finding::warning(what, format!("{why}; what its roles allow was not looked at"), fix)],
                false => vec![Finding::error(what, why, fix)],
            }
        }
    };
    Line::judged("DatastorePrivileges", format!("{} may do what kine does", target.user), findings)
}

fn writable(seen: &Seen) -> Line {
    let finding = takes_no_writes(&seen.variables);
    Line::judged("DatastoreWritable", "the server takes writes", finding.into_iter().collect())
}

/// Why a server takes no writes of ours.
pub(in crate::datastore) fn takes_no_writes(variables: &BTreeMap<String, String>) -> Option<Finding> {
    read_only(variables).map(|name| {
        let fix = match name {
            "innodb_read_only" => "remove innodb_read_only from the server's configuration and restart it",
            _ => "name the primary as the address; if this is it: `SET GLOBAL read_only = OFF;`",
        };
        Finding::error("the server takes no writes", format!("{name} is ON, as on a replica"), fix)
    })
}

fn increment(seen: &Seen) -> Line {
    let (step, offset) = (seen.number("auto_increment_increment"), seen.number("auto_increment_offset"));
    let findings = (step != 1).then(|| {
        Finding::error(
            format!("automatic numbers go up by {step} (auto_increment_increment; the offset is {offset})"),
            "kine takes a gap in them for a write that is still to come, and waits for it",
            "`SET GLOBAL auto_increment_increment = 1, GLOBAL auto_increment_offset = 1;`, and the same in the server's [mysqld] section",
        )
    });
    let interleaved = (seen.number("innodb_autoinc_lock_mode") == 2).then(|| {
        Finding::warning(
            "automatic numbers may become visible in another order than they are given out (innodb_autoinc_lock_mode is 2)",
            "under load kine takes a row that is late for a gap, and the API server answers `already exists` to who creates an object",
            "`innodb_autoinc_lock_mode = 1` in the server's [mysqld] section, and a restart",
        )
    });
    let findings = findings.into_iter().chain(interleaved).collect();
    Line::judged("DatastoreIncrement", "automatic numbers go up by 1", findings)
}

fn galera(seen: &Seen) -> Line {
    let findings = seen.is_on("wsrep_on").then(|| {
        Finding::error(
            "the server is part of a Galera cluster (wsrep_on is ON)",
            "several servers give out numbers by themselves, and kine needs every number once and without gaps",
            "use a server with ordinary replication; `wsrep_on = OFF` in the [mysqld] section takes this one out of the cluster",
        )
    });
    Line::judged("DatastoreGalera", "no other server gives out numbers", findings.into_iter().collect())
}

fn snapshot_isolation(seen: &Seen) -> Line {
    let findings = seen.is_on("innodb_snapshot_isolation").then(|| {
        Finding::error(
            "innodb_snapshot_isolation is ON",
            "kine's compaction ends with `Record has changed since last read` (error 1020)",
            "`SET GLOBAL innodb_snapshot_isolation = OFF;`, and the same in the server's [mysqld] section",
        )
    });
    Line::judged("DatastoreSnapshotIsolation", "innodb_snapshot_isolation is off", findings.into_iter().collect())
}

/// The server's own limit, and the user's. Connections that our own kines hold are theirs to use again.
fn rooms(seen: &Seen, target: &Target, demand: Demand<'_>) -> Vec<Room> {
    let own = if demand.ours { seen.of_both } else { 0 };
    let (needed, of_server) = (i64::from(demand.needed()), i64::from(demand.of_server()));
    let (allowed, used) = (seen.number("max_connections"), seen.in_use - if demand.ours { seen.of_stores } else { 0 });
    let mut rooms = vec![Room {
        what: format!("the server allows {allowed} connections and has {used} in use"),
        free: allowed - used,
        needed: of_server,
        fix: format!(
            "`SET GLOBAL max_connections = {};`, and the same in the server's [mysqld] section",
            of_server + used
        ),
    }];
    let (limit, used) = (seen.number("max_user_connections"), seen.of_user - own);
    if limit > 0 {
        rooms.push(Room {
            what: format!("the user `{}` may have {limit} connections and has {used}", target.user),
            free: limit - used,
            needed,
            fix: format!("`ALTER USER {} WITH MAX_USER_CONNECTIONS {};`", account(&seen.account), needed + used),
        });
    }
    rooms
}

/// Why a login did not succeed: the check that fails, and what is wrong.
pub(super) fn refused(refusal: &Refusal, target: &Target, place: &Place) -> (&'static str, Finding) {
    let (user, database, said) = (&target.user, quoted(&target.database), refusal.message.clone());
    // `Access denied for user 'kine'@'10.0.0.11'` and `Host '10.0.0.11' is not allowed` tell whom the server saw.
    let from = said.split('\'').filter(|part| !part.is_empty() && *part != "@" && *part != user).nth(1).unwrap_or("%");
    let who = account(&format!("{user}@{from}"));
    let all = NEEDED.join(", ");
    match refusal.code.as_deref() {
        Some("1045" | "1698") => (
            "DatastoreLogin",
            Finding::error(
                format!("{place} does not accept the login of `{user}`"),
                said.clone(),
                format!(
                    "the right secret in `password`; or on the server `CREATE USER {who} IDENTIFIED BY '...';`, or `ALTER USER` where it exists"
                ),
            ),
        ),
        Some("1130") => (
            "DatastoreLogin",
            Finding::error(
                format!("{place} lets nobody in from here"),
                said.clone(),
                format!(
                    "`CREATE USER '{user}'@'%' IDENTIFIED BY '...'; GRANT {all}, DROP ON {database}.* TO '{user}'@'%';` on the server"
                ),
            ),
        ),
        Some("1049") => (
            "DatastoreDatabase",
            Finding::error(
                format!("there is no database {database} on {place}"),
                "kine's table belongs into one of its own",
                format!("`CREATE DATABASE {database};` on the server"),
            ),
        ),
        Some("1044") => (
            "DatastorePrivileges",
            Finding::error(
                format!("`{user}` may do nothing in {database}"),
                said.clone(),
                format!(
                    "`CREATE DATABASE IF NOT EXISTS {database}; GRANT {all}, DROP ON {database}.* TO {who};` on the server"
                ),
            ),
        ),
        Some("1129") => (
            "DatastoreConnect",
            Finding::error(
                format!("{place} has shut this host out"),
                said.clone(),
                "`FLUSH HOSTS;` on the server, and see its max_connect_errors",
            ),
        ),
        Some("1040" | "1203" | "1226") => (
            "DatastoreConnections",
            Finding::error(
                format!("{place} has no connection left for `{user}`"),
                said.clone(),
                "`SET GLOBAL max_connections = N;` with a larger N, or end what holds them (SHOW PROCESSLIST)",
            ),
        ),
        Some("3159") => (
            "DatastoreTLS",
            Finding::error(
                format!("{place} takes encrypted connections only"),
                said.clone(),
                "remove `tls.mode: off`, and name the authority's file as tls.ca",
            ),
        ),
        Some(_) => (
            "DatastoreConnect",
            Finding::error(format!("{place} refuses connections"), said.clone(), "see the server's log"),
        ),
        None if refusal.tls => (
            "DatastoreTLS",
            Finding::error(
                format!("{place} ended the TLS connection"),
                said.clone(),
                "where the server asks for a client certificate: tls.cert and tls.key, signed by its ssl_ca",
            ),
        ),
        None if said.contains("plugin") || said.contains("RSA") => (
            "DatastoreLogin",
            Finding::warning(
                format!("{place} asks `{user}` for a way to log in that etcdless does not have"),
                format!("nothing further is checked, and kine's own driver may have it ({said})"),
                "encrypt the connection (tls.mode), or let the user log in by mysql_native_password or caching_sha2_password",
            ),
        ),
        None => cut(refusal, target.engine, place),
    }
}

/// The connection ended, or there was no answer.
pub(in crate::datastore) fn cut(refusal: &Refusal, engine: Engine, place: &Place) -> (&'static str, Finding) {
    let what = format!("{place} answers, but not as {} does", engine.title());
    let fix = "see the server's log, and that nothing else listens there";
    ("DatastoreConnect", Finding::error(what, refusal.message.clone(), fix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_cover_what_they_name() {
        for (grant, database, expected) in [
            ("GRANT ALL PRIVILEGES ON *.* TO `a`@`%` WITH GRANT OPTION", "kine", true),
            ("GRANT SELECT, INSERT ON `kine`.* TO `a`@`%`", "kine", true),
            ("GRANT SELECT ON `kine`.`kine` TO `a`@`%`", "kine", true),
            ("GRANT SELECT ON `kine`.`other` TO `a`@`%`", "kine", false),
            ("GRANT SELECT ON `k8s\\_%`.* TO `a`@`%`", "k8s_demo", true),
            ("GRANT SELECT ON `k8s\\_%`.* TO `a`@`%`", "k8sdemo", false),
            ("GRANT INSERT ON `kine`.* TO `a`@`%`", "kine", false),
            ("GRANT USAGE ON *.* TO `a`@`%` IDENTIFIED BY PASSWORD '*00'", "kine", false),
            ("GRANT `role` TO `a`@`%`", "kine", false),
        ] {
            assert_eq!(covers(grant, "SELECT", database, "kine"), expected, "{grant}");
        }
    }

    #[test]
    fn engines_are_known_by_what_they_say() {
        let version = |version: &str, comment: &str| {
            let variables = [("version", version), ("version_comment", comment)];
            let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
            let seen = Seen {
                variables,
                account: String::new(),
                grants: Vec::new(),
                in_use: 0,
                of_user: 0,
                of_both: 0,
                of_stores: 0,
                content: Content::Empty,
                round_trips: Vec::new(),
                commits: None,
            };
            seen.version()
        };
        assert_eq!(version("10.11.6-MariaDB-0+deb12u1", "Debian 12"), (Engine::Mariadb, (10, 11)));
        assert_eq!(version("8.4.3", "MySQL Community Server - GPL"), (Engine::Mysql, (8, 4)));
    }
}

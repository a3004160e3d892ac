//! `datastore status`: what is in a store is counted, and what needs a hand is told.

use std::path::Path;
use std::process::Command;

use etcdless::config::credentials::Credentials;
use etcdless::config::{Cluster, Datastore};
use etcdless::datastore::status::seen::{Seen, Told};
use etcdless::datastore::status::{self, Report, sqlite};
use etcdless::facts::{Facts, Probes};
use etcdless::remote::{Output, Query, Question, RemoteError};
use serde_json::{Value, json};
use sqlx::ConnectOptions;
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use crate::postgres_server::Server;
use crate::servers::{local, program, run};
use crate::sshd::sshd;
use crate::{mariadb_server, postgres_server};

/// A Lease as the API server stores it, renewed then; in hexadecimal digits.
fn lease(seconds: u32) -> String {
    let mut time = vec![8];
    let mut rest = seconds;
    while rest >= 0x80 {
        time.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    time.push(rest as u8);
    let within = |tag: u8, message: &[u8]| [&[tag, message.len() as u8], message].concat();
    let lease = within(0x12, &within(0x12, &within(0x22, &time)));
    [b"k8s\0", lease.as_slice()].concat().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Nine rows, of which four are live, compacted up to the third; `lease` writes bytes.
fn rows(blob: impl Fn(&str) -> String) -> String {
    let mut rows = vec![
        "(1, 'compact_rev_key', 0, 3, NULL)".to_owned(),
        "(2, '/registry/health', 0, 0, NULL)".into(),
        "(3, 'gap-3', 1, 0, NULL)".into(),
        "(4, '/registry/pods/default/a', 0, 0, NULL)".into(),
        "(5, '/registry/pods/default/a', 0, 4, NULL)".into(),
        "(6, '/registry/pods/default/b', 0, 0, NULL)".into(),
        "(7, '/registry/pods/default/b', 1, 6, NULL)".into(),
    ];
    for (id, before, seconds) in [(8, 0, 1_763_748_000), (9, 8, 1_763_748_425)] {
        let value = blob(&lease(seconds));
        rows.push(format!("({id}, '/registry/leases/kube-node-lease/n1', 0, {before}, {value})"));
    }
    format!("INSERT INTO kine (id, name, deleted, prev_revision, value) VALUES {}", rows.join(", "))
}

async fn told(cluster: &Cluster, credentials: &Credentials) -> Report {
    status::status(&local().await, cluster, std::slice::from_ref(credentials)).await.unwrap()
}

fn detail(report: &Report, name: &str) -> String {
    let (_, lines) = report.lines().next().unwrap();
    lines.iter().find(|line| line.name == name).map(|line| line.detail.clone()).unwrap()
}

/// What needs a hand.
fn wrong(report: &Report) -> Vec<String> {
    report.failure().map(|failure| failure.details).unwrap_or_default()
}

fn numbers(seen: &Seen) -> Value {
    json!([seen.revisions, seen.rows])
}

fn expected() -> Value {
    json!([{ "current": 9, "compacted": 3, "seconds": 425 }, { "live": 4, "superseded": 5 }])
}

#[tokio::test]
async fn a_postgres_store_tells_what_is_in_it() {
    let Some(server) = Server::start_with("shared_preload_libraries = 'pg_stat_statements'\n") else { return };
    let cluster = server.cluster(json!({}));
    let credentials = postgres_server::credentials();
    let empty = told(&cluster, &credentials).await;
    assert!(wrong(&empty)[0].starts_with("store: the database `kine` holds no table `kine`: "), "{empty:?}");
    assert_eq!(detail(&empty, "rows"), "not told: there is no table `kine`");

    server.sql("kine", postgres_server::TABLE);
    server.sql("kine", &rows(|hex| format!("'\\x{hex}'")));
    server.sql("kine", "ALTER TABLE kine OWNER TO kine");
    let report = told(&cluster, &credentials).await;
    assert_eq!(wrong(&report), [""; 0]);
    assert_eq!(numbers(report.stores[0].seen.as_ref().unwrap()), expected());
    assert!(detail(&report, "store").starts_with("PostgreSQL 1"), "{report:?}");
    assert!(detail(&report, "size").ends_with(" MiB"), "{report:?}");
    assert_eq!(detail(&report, "connections"), "0 of 97 of the server; 0 of kine's user to its database");
    assert_eq!(detail(&report, "replication"), "no standby");
    assert_eq!(detail(&report, "statements"), "not told: the extension pg_stat_statements is not in the database");

    if let Some(sshd) = sshd() {
        let report = status::status(&sshd.connect().await, &cluster, std::slice::from_ref(&credentials)).await.unwrap();
        assert_eq!(numbers(report.stores[0].seen.as_ref().unwrap()), expected());
    }

    server.sql("kine", "CREATE EXTENSION pg_stat_statements");
    let said = detail(&told(&cluster, &credentials).await, "statements");
    assert_eq!(said, "none of kine's ran 10 times since the server's account began");
    for _ in 0..10 {
        server.sql("kine", "SET ROLE kine; SELECT max(id) FROM kine WHERE id > 7");
    }
    let said = detail(&told(&cluster, &credentials).await, "statements");
    let mut lines = said.lines();
    assert!(
        lines.any(|line| line.ends_with(" ms on average of 10 calls: SELECT max(id) FROM kine WHERE id > $1")),
        "{said}"
    );
    assert!(!said.contains("etcdless"), "{said}");
    assert_eq!(server.sql("kine", "SELECT count(*) FROM kine").trim(), "9", "nothing is written");
}

#[tokio::test]
async fn a_store_that_is_not_compacted_needs_a_hand() {
    let Some(server) = Server::start() else { return };
    let cluster = server.cluster(json!({}));
    let credentials = postgres_server::credentials();
    server.sql("kine", postgres_server::TABLE);
    server.sql("kine", &rows(|hex| format!("'\\x{hex}'")));
    server.sql("kine", "ALTER TABLE kine OWNER TO kine");
    let update = "INSERT INTO kine (id, name, deleted, prev_revision) SELECT id, '/registry/pods/default/a', 0, id - 1 FROM \
                  generate_series(10, 20000) AS id";
    server.sql("kine", update);
    assert_eq!(wrong(&told(&cluster, &credentials).await), [""; 0]);
    let late = lease(1_763_748_000 + 7_260);
    server.sql(
        "kine",
        &format!(
            "INSERT INTO kine (id, name, deleted, prev_revision, value) VALUES (20001, '/registry/leases/kube-node-lease/n1', 0, 9, \
             '\\x{late}')"
        ),
    );
    let report = told(&cluster, &credentials).await;
    assert_eq!(
        detail(&report, "revisions"),
        "20001 is the newest, 3 the compacted one: 19998 apart, written within 2 h 1 min"
    );
    let found = wrong(&report);
    assert!(
        found[0].starts_with(
            "revisions: compaction is behind: 19997 superseded rows beside 4 live ones: nothing was removed for 2 h 1 min, "
        ),
        "{found:?}"
    );
    assert_eq!((found.len(), report.failure().unwrap().kind as u8), (1, 8));

    // Somebody holds the whole table: what cannot be read in time is not told, and nothing waits for longer.
    let mut holder =
        server.psql("kine", "BEGIN; LOCK TABLE kine IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(600)").spawn().unwrap();
    crate::servers::until("the table is not locked", &server.path("log"), || {
        server.sql("kine", "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted").trim() == "1"
    });
    let report = told(&cluster, &credentials).await;
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert_eq!(detail(&report, "rows"), "not told: not counted within 8 s");
    assert_eq!(wrong(&report), [""; 0]);
}

#[tokio::test]
async fn connections_and_standbys_are_judged() {
    let Some(server) = Server::start() else { return };
    let cluster = server.cluster(json!({}));
    let credentials = postgres_server::credentials();
    server.sql("kine", postgres_server::TABLE);
    server.sql("kine", "ALTER TABLE kine OWNER TO kine");
    server.sql("postgres", "ALTER ROLE kine CONNECTION LIMIT 10");
    let options = PgConnectOptions::new_without_pgpass().host("127.0.0.1").port(server.port).database("postgres");
    let options = options.username("kine").password(postgres_server::PASSWORD).ssl_mode(PgSslMode::Disable);
    let mut held = Vec::new();
    for _ in 0..9 {
        held.push(options.connect().await.unwrap());
    }
    assert_eq!(
        wrong(&told(&cluster, &credentials).await),
        [
            "connections: 9 of 10 connections of the role `kine` are in use: once there are none, kine cannot open those of its pool, and the \
          API server's requests fail; fix: `ALTER ROLE kine CONNECTION LIMIT N;` with a larger N"
        ]
    );
    server.sql("postgres", "ALTER ROLE kine CONNECTION LIMIT 9");
    let full = wrong(&told(&cluster, &credentials).await);
    assert!(full[0].starts_with("store: ") && full[0].contains("too many connections for role"), "{full:?}");
    server.sql("postgres", "ALTER ROLE kine CONNECTION LIMIT -1");
    drop(held);

    let Some(standby) = server.standby() else { return };
    let following = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'";
    crate::servers::until("the standby does not follow", &standby.path("log"), || {
        server.sql("postgres", following).trim() == "1"
    });
    let said = detail(&told(&cluster, &credentials).await, "replication");
    assert!(said.ends_with(": how far behind is not told: pg_monitor is not granted to kine's user"), "{said}");
    server.sql("postgres", "GRANT pg_monitor TO kine");
    let said = detail(&told(&cluster, &credentials).await, "replication");
    assert!(said.starts_with("walreceiver: ") && said.ends_with(" s behind"), "{said}");

    let report = told(&standby.cluster(json!({})), &credentials).await;
    assert!(wrong(&report)[0].starts_with("store: the server is a standby: "), "{report:?}");
    let said = detail(&report, "replication");
    assert!(said.starts_with("the server follows another one, "), "{said}");
    let mut both = cluster.clone();
    if let Datastore::Postgres(etcdless::config::Server::External(external)) = &mut both.spec.datastore {
        external.address = None;
        external.addresses =
            [standby.port, server.port].map(|port| format!("localhost:{port}").parse().unwrap()).into();
    }
    let report = told(&both, &credentials).await;
    assert_eq!(wrong(&report), [""; 0]);
    assert!(report.table().contains(&format!("localhost:{}: the server is a standby: ", standby.port)), "{report:?}");
    assert!(detail(&report, "store").ends_with(&format!(" at localhost:{}", server.port)), "{report:?}");
}

#[tokio::test]
async fn a_mariadb_store_tells_what_is_in_it() {
    let Some(server) = mariadb_server::Server::start(&["--performance-schema=ON", "--server-id=1"]).await else {
        return;
    };
    let (cluster, credentials) = (server.cluster(json!({})), mariadb_server::credentials());
    let empty = told(&cluster, &credentials).await;
    assert!(wrong(&empty)[0].starts_with("store: the database `kine` holds no table `kine`: "), "{empty:?}");
    server.sql(mariadb_server::TABLE).await;
    server.sql(&rows(|hex| format!("x'{hex}'")).replace("INTO kine", "INTO kine.kine")).await;
    let report = told(&cluster, &credentials).await;
    assert_eq!(wrong(&report), [""; 0]);
    assert_eq!(numbers(report.stores[0].seen.as_ref().unwrap()), expected());
    assert!(detail(&report, "store").starts_with("MariaDB 1"), "{report:?}");
    assert!(detail(&report, "size").ends_with(" KiB"), "{report:?}");
    assert_eq!(detail(&report, "connections"), "0 of 151 of the server; 0 of kine's user to its database");
    assert!(detail(&report, "statements").starts_with("not told: SELECT command denied to user "), "{report:?}");
    assert!(detail(&report, "replication").starts_with("not told: Access denied; you need "), "{report:?}");

    server.sql("GRANT SELECT ON performance_schema.* TO kine@'%'; GRANT SLAVE MONITOR ON *.* TO kine@'%'").await;
    let options = MySqlConnectOptions::new().socket(server.path("sock")).username("root").database("kine");
    let mut kine = options.ssl_mode(MySqlSslMode::Disabled).connect().await.unwrap();
    for _ in 0..10 {
        sqlx::raw_sql("SELECT MAX(id) FROM kine").fetch_all(&mut kine).await.unwrap();
    }
    drop(kine);
    let report = told(&cluster, &credentials).await;
    let said = detail(&report, "statements");
    assert!(said.contains(" ms on average of 10 calls: SELECT MAX ") && said.lines().count() == 1, "{said}");
    let said = detail(&report, "replication");
    assert_eq!(
        said,
        "not told: the server follows no other, and does not know how far behind those are that follow it"
    );
    server.sql("CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = 1").await;
    server.sql("SET GLOBAL read_only = ON").await;
    let report = told(&cluster, &credentials).await;
    let said = detail(&report, "replication");
    assert_eq!(said, "the server follows another one, how far behind is not told: replication is stopped");
    assert!(wrong(&report)[0].starts_with("store: the server takes no writes: read_only is ON, "), "{report:?}");

    let mut many = "INSERT INTO kine.kine (id, name, deleted, prev_revision) VALUES (10, 'a', 0, 0)".to_owned();
    for id in 11..10_100 {
        many.push_str(&format!(", ({id}, 'a', 0, {})", id - 1));
    }
    server.sql("SET GLOBAL read_only = OFF").await;
    server.sql(&many).await;
    let late = lease(1_763_748_000 + 1_801);
    server
        .sql(&format!(
            "INSERT INTO kine.kine (name, deleted, value) VALUES ('/registry/leases/kube-system/s', 0, x'{late}')"
        ))
        .await;
    let found = wrong(&told(&cluster, &credentials).await);
    assert!(
        found[0].starts_with("revisions: compaction is behind: 10094 superseded rows beside 6 live ones: "),
        "{found:?}"
    );
}

/// This machine with a few programs.
struct With(tempfile::TempDir);

impl With {
    /// `sh` finds these and nothing else.
    fn programs(names: &[&str]) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            let Some(path) = program(name) else {
                eprintln!("skipped: {name} is not installed");
                return None;
            };
            std::os::unix::fs::symlink(path, folder.path().join(name)).unwrap();
        }
        Some(Self(folder))
    }
}

impl Query for With {
    async fn facts(&self, _: &Probes) -> Result<Facts, RemoteError> {
        unimplemented!()
    }

    async fn ask(&self, question: Question) -> Result<Output, RemoteError> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", question.script, "sh"]).args(&question.args).env("PATH", self.0.path());
        let output = command.output().unwrap();
        Ok(Output { status: output.status.code().unwrap(), stdout: output.stdout, stderr: output.stderr })
    }
}

fn sqlite3(file: &Path, sql: &str) {
    run(Command::new(program("sqlite3").unwrap()).arg(file).arg(sql));
}

#[tokio::test]
async fn a_sqlite_store_tells_what_the_host_can_read() {
    let Some(with_cli) = With::programs(&["sqlite3", "stat", "timeout"]) else { return };
    let Some(with_neither) = With::programs(&["stat", "timeout"]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a b.db");
    let name = file.display().to_string();
    let gone = sqlite::look(&with_cli, &name).await.unwrap();
    assert!(matches!(&gone.size, Told::NotTold { not_told } if not_told.contains("No such file")), "{gone:?}");
    assert!(!file.exists());
    sqlite3(
        &file,
        "PRAGMA journal_mode = WAL; CREATE TABLE kine (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, created INTEGER, deleted INTEGER, \
         create_revision INTEGER, prev_revision INTEGER, lease INTEGER, value BLOB, old_value BLOB)",
    );
    sqlite3(&file, &rows(|hex| format!("x'{hex}'")));
    let seen = sqlite::look(&with_cli, &name).await.unwrap();
    assert_eq!(numbers(&seen), expected());
    assert!(seen.size.told().is_some_and(|size| size.bytes >= 8192), "{seen:?}");
    if let Some(with_python) = With::programs(&["python3", "stat", "timeout"]) {
        assert_eq!(numbers(&sqlite::look(&with_python, &name).await.unwrap()), expected());
    }
    let seen = sqlite::look(&with_neither, &name).await.unwrap();
    let why = json!({ "notTold": "the host has neither sqlite3 nor python3" });
    assert_eq!(numbers(&seen), json!([why, why]));
    assert!(seen.size.told().is_some(), "{seen:?}");
}

//! `datastore compact` and `datastore vacuum`: what goes is what was said before, and nothing else.

use std::path::Path;
use std::process::Command;

use etcdless::cluster::kine::probe::{self, Endpoint};
use etcdless::datastore::explore::{self, Error, Place};
use etcdless::datastore::upkeep::compact::{self, KEPT};
use etcdless::datastore::upkeep::vacuum::{self, Way};
use etcdless::failure::Failure;
use serde_json::json;

use crate::servers::{behind, kine, local, program, run};
use crate::{mariadb_server, postgres_server};

/// Revisions of the one key, and the bytes of each value.
const MANY: u64 = 3_000;
const BYTES: usize = 1_500;

/// A key that was written over and over. `numbers` are those from 2 on, as `id`.
fn rows(numbers: &str, value: &str) -> String {
    format!(
        "INSERT INTO kine (id, name, created, deleted, create_revision, prev_revision, lease, value) SELECT id, '/registry/pods/default/a', CASE \
         WHEN id = 2 THEN 1 ELSE 0 END, 0, 0, CASE WHEN id = 2 THEN 0 ELSE id - 1 END, 0, {value} FROM {numbers}"
    )
}

/// What compactions do over time.
fn superseded() -> String {
    format!("DELETE FROM kine WHERE id > 1 AND id < {MANY}")
}

fn said(error: Error) -> Failure {
    match error {
        Error::Store(failure) => failure,
        Error::Remote(error) => panic!("{error}"),
    }
}

/// The key's newest value is what it was.
async fn is_whole(place: &Place) {
    let host = local().await;
    let mut store = place.open(&host, 20).await.unwrap();
    let version = store.at("/registry/pods/default/a", None).await.unwrap().unwrap();
    assert_eq!((version.revision, version.value.len()), (MANY, BYTES));
}

#[tokio::test]
async fn postgres_gives_room_back_to_the_table_or_to_the_disk() {
    let Some(server) = postgres_server::Server::start() else { return };
    server.sql("kine", postgres_server::TABLE);
    server.sql("kine", "GRANT ALL ON kine TO kine");
    let host = local().await;
    let place = explore::places(&server.cluster(json!({})), &[postgres_server::credentials()]).remove(0);
    let refused = said(vacuum::plan(&host, &place, false, 20).await.unwrap_err());
    assert!(refused.message.ends_with("who alone may vacuum it"), "{}", refused.message);

    server.sql("kine", "ALTER TABLE kine OWNER TO kine; ALTER TABLE kine SET (autovacuum_enabled = off)");
    let numbers = format!("generate_series(2, {MANY}) AS n(id)");
    server.sql("kine", &rows(&numbers, &format!("convert_to(lpad(id::text, {BYTES}, '0'), 'UTF8')")));
    server.sql("kine", &superseded());
    let plan = vacuum::plan(&host, &place, false, 20).await.unwrap();
    assert_eq!((plan.engine, plan.way, plan.needs(), plan.free), ("PostgreSQL", Way::Reuse, 0, None));
    assert!(plan.size > 4 << 20 && plan.empty > plan.size / 2, "{plan:?}");
    plan.run(&host, &place).await.unwrap();
    let visible = "SELECT relallvisible = relpages FROM pg_class WHERE relname = 'kine'";
    assert_eq!(server.sql("kine", visible).trim(), "t", "it was vacuumed");

    let full = vacuum::plan(&host, &place, true, 20).await.unwrap();
    assert_eq!((full.way, full.needs()), (Way::Full, full.size - full.empty));
    assert!(full.size > 4 << 20, "room within the table is the table's: {full:?}");
    full.run(&host, &place).await.unwrap();
    let after = vacuum::plan(&host, &place, true, 20).await.unwrap();
    assert!(after.size < 1 << 20, "{after:?}");
    is_whole(&place).await;
}

#[tokio::test]
async fn mariadb_writes_its_table_anew() {
    let Some(server) = mariadb_server::Server::start(&[]).await else { return };
    server.sql(mariadb_server::TABLE).await;
    let numbers = format!("(SELECT seq AS id FROM kine.seq_2_to_{MANY}) AS n");
    server.sql(&rows(&numbers, &format!("LPAD(id, {BYTES}, '0')")).replace("INTO kine", "INTO kine.kine")).await;
    server.sql(&superseded().replace("FROM kine", "FROM kine.kine")).await;
    let host = local().await;
    let place = explore::places(&server.cluster(json!({})), &[mariadb_server::credentials()]).remove(0);
    let plan = vacuum::plan(&host, &place, false, 20).await.unwrap();
    assert_eq!((plan.engine, plan.way, plan.free), ("MariaDB", Way::Rebuild, None));
    plan.run(&host, &place).await.unwrap();
    let after = vacuum::plan(&host, &place, false, 20).await.unwrap();
    assert!(after.size < plan.size / 2, "{plan:?} {after:?}");
    is_whole(&place).await;
}

/// A SQLite file with the rows in it, as kine makes it.
fn file(folder: &Path) -> Option<String> {
    let Some(sqlite3) = program("sqlite3") else {
        eprintln!("skipped: sqlite3 is not installed");
        return None;
    };
    let file = folder.join("kine.db").display().to_string();
    let numbers = format!(
        "(WITH RECURSIVE n(id) AS (SELECT 2 UNION ALL SELECT id + 1 FROM n WHERE id < {MANY}) SELECT id FROM n)"
    );
    let rows = rows(&numbers, &format!("CAST(printf('%0{BYTES}d', id) AS BLOB)"));
    let table = "PRAGMA journal_mode = WAL; CREATE TABLE kine (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, created INTEGER, deleted \
                 INTEGER, create_revision INTEGER, prev_revision INTEGER, lease INTEGER, value BLOB, old_value BLOB)";
    run(Command::new(&sqlite3).args([&file, table]));
    run(Command::new(sqlite3).args([&file, &rows]));
    Some(file)
}

/// A file of ours, and what kine is told of it.
fn told(file: &str) -> String {
    format!("sqlite://{file}?_journal_mode=WAL&_busy_timeout=30000&_txlock=immediate&cache=shared")
}

#[tokio::test]
async fn a_sqlite_file_is_written_anew_while_kine_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let Some(file) = file(folder.path()) else { return };
    let Some((_kine, socket)) = kine(folder.path(), &told(&file)) else { return };
    let socket = Endpoint::Unix { socket: socket.display().to_string() };
    let sqlite3 = program("sqlite3").unwrap();
    run(Command::new(&sqlite3).args([&file, &superseded()]));
    let (host, place) = (local().await, explore::sqlite("main", file.clone(), socket.clone()));
    let plan = vacuum::plan(&host, &place, false, 20).await.unwrap();
    assert_eq!((plan.engine, plan.way, plan.needs()), ("SQLite", Way::File, 2 * (plan.size - plan.empty)));
    assert!(plan.empty > plan.size / 2 && plan.free > Some(0), "{plan:?}");
    plan.run(&host, &place).await.unwrap();
    assert!(std::fs::metadata(&file).unwrap().len() < plan.size / 2);
    is_whole(&place).await;
    probe::check(&host, &socket, "cp1", "nonce").await.unwrap();
    assert_eq!(run(Command::new(sqlite3).args([&file, "PRAGMA integrity_check"])).trim(), "ok");
}

#[tokio::test]
async fn kine_compacts_as_far_as_it_was_said() {
    let folder = tempfile::tempdir().unwrap();
    let Some(file) = file(folder.path()) else { return };
    let Some((_kine, socket)) = kine(folder.path(), &told(&file)) else { return };
    let endpoint = Endpoint::Unix { socket: socket.display().to_string() };
    let (host, place) = (local().await, explore::sqlite("main", file, endpoint.clone()));

    let plan = compact::plan(&host, &place, KEPT, 20).await.unwrap();
    assert_eq!((plan.compacted, plan.to), (0, plan.newest - KEPT));
    assert!(plan.is_needed());
    // Every revision of the key up to there but for the last.
    let gone = plan.gone.unwrap();
    assert!((plan.to - 3..plan.to).contains(&gone.rows), "{plan:?}");
    assert_eq!(gone.bytes, gone.rows * BYTES as u64);
    let done = plan.run(&host, &place, 20).await.unwrap();
    assert_eq!((done.compacted, done.rows), (plan.to, Some(gone.rows)));
    is_whole(&place).await;

    // The next one takes the turn after that one, by the API alone as well.
    probe::check(&host, &endpoint, "cp1", "nonce").await.unwrap();
    let place = behind(&socket);
    let next = compact::plan(&host, &place, KEPT, 20).await.unwrap();
    assert_eq!((next.compacted, next.gone), (plan.to, None));
    assert!(next.is_needed());
    let done = next.run(&host, &place, 20).await.unwrap();
    assert_eq!((done.compacted, done.rows), (next.to, None));
    let last = compact::plan(&host, &place, 2 * KEPT, 20).await.unwrap();
    assert!(!last.is_needed(), "{last:?}");
}

#[tokio::test]
async fn a_store_whose_kine_is_away_is_not_compacted() {
    let folder = tempfile::tempdir().unwrap();
    let Some(file) = file(folder.path()) else { return };
    let (host, place) = (local().await, explore::sqlite("main", file, Endpoint::Unix { socket: "/nowhere".into() }));
    let plan = compact::plan(&host, &place, KEPT, 20).await.unwrap();
    let failure = said(plan.run(&host, &place, 20).await.unwrap_err());
    assert_eq!(failure.message, "the store `main` is not compacted: kine at /nowhere: there is no socket");
}

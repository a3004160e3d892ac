//! `datastore ls` and the verbs beside it: every way to read the same table tells the same, and writes nothing.

use std::path::Path;
use std::process::Command;

use etcdless::cluster::kine::probe::Endpoint;
use etcdless::datastore::explore::{self, Error, Heavy, Place, Snapshot, Store, Tally, Version};
use etcdless::failure::Kind;
use serde_json::json;

use crate::servers::{behind, kine, local, program, run};
use crate::{mariadb_server, postgres_server};

/// Twelve rows, compacted to the fourth.
fn rows(blob: impl Fn(&str) -> String) -> String {
    let rows = [
        (1, "compact_rev_key", 1, 0, 4, ""),
        (2, "/registry/health", 1, 0, 0, "{\"health\":\"true\"}"),
        (3, "/registry/pods/default/a", 1, 0, 0, "one"),
        (4, "/registry/configmaps/default/c", 1, 0, 0, "{\"kind\":\"ConfigMap\"}"),
        (5, "/registry/pods/default/a", 0, 0, 3, "three"),
        (6, "/registry/secrets/default/it's", 1, 0, 0, "k8s:enc:aescbc:v1:key1:?"),
        (7, "/registry/events/default/e", 1, 0, 0, "gone"),
        (8, "/registry/events/default/e", 0, 1, 7, "gone"),
        (9, "/registry/example.com/things/default/t", 1, 0, 0, "thing"),
        (10, "/registry/services/specs/default/kubernetes", 1, 0, 0, "service"),
        (11, "/registry/pods/default/a", 0, 0, 5, "eleven"),
        (12, "gap-12", 0, 1, 0, ""),
    ];
    let row = |(id, name, created, deleted, before, value): &(u64, &str, u8, u8, u64, &str)| {
        let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
        let name = name.replace('\'', "''");
        format!("({id}, '{name}', {created}, {deleted}, 0, {before}, 0, {})", blob(&hex))
    };
    let rows = rows.iter().map(row).collect::<Vec<_>>().join(", ");
    format!("INSERT INTO kine (id, name, created, deleted, create_revision, prev_revision, lease, value) VALUES {rows}")
}

const KEYS: [(&str, u64); 6] = [
    ("/registry/configmaps/default/c", 4),
    ("/registry/example.com/things/default/t", 9),
    ("/registry/health", 2),
    ("/registry/pods/default/a", 11),
    ("/registry/secrets/default/it's", 6),
    ("/registry/services/specs/default/kubernetes", 10),
];

async fn keys(store: &mut Store<'_>, prefix: &str) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    store.keys(prefix, |page| found.extend(page.into_iter().map(|entry| (entry.key, entry.revision)))).await.unwrap();
    found
}

async fn history(store: &mut Store<'_>, key: &str) -> (Vec<(u64, bool, String)>, u64) {
    let mut found = Vec::new();
    let each = |Version { revision, deleted, value }: Version| {
        // Some ways tell what a key held when it was deleted.
        let value = if deleted { String::new() } else { String::from_utf8(value).unwrap() };
        found.push((revision, deleted, value));
    };
    let compacted = store.history(key, each).await.unwrap();
    (found, compacted)
}

fn refusal<T: std::fmt::Debug>(answer: Result<T, Error>) -> (Kind, String) {
    match answer.unwrap_err() {
        Error::Store(failure) => (failure.kind, failure.message),
        Error::Remote(error) => panic!("{error}"),
    }
}

/// What every way tells of [`rows`].
async fn tells_all(place: &Place, engine: &str, counts_revisions: bool) {
    let host = local().await;
    let mut store = place.open(&host, 20).await.unwrap();
    assert_eq!((store.engine, store.snapshot.revision), (engine, 12));

    let owned = |(key, revision): (&str, u64)| (key.to_owned(), revision);
    assert_eq!(keys(&mut store, "/registry/").await, KEYS.map(owned), "{engine}");
    assert_eq!(keys(&mut store, "/registry/pods/").await, [owned(KEYS[3])], "{engine}");
    assert_eq!(keys(&mut store, "/registry/none/").await, []);

    let tallies = store.tally().await.unwrap();
    let tally = |objects, revisions, bytes| Tally { objects, revisions: counts_revisions.then_some(revisions), bytes };
    assert_eq!(tallies["pods"], tally(1, 3, 6), "{engine}");
    assert_eq!(tallies["example.com/things"], tally(1, 1, 5), "{engine}");
    assert_eq!(tallies["services/specs"], tally(1, 1, 7), "{engine}");
    // Where rows are counted, what was deleted is still there.
    assert_eq!(tallies.get("events").copied(), counts_revisions.then(|| tally(0, 2, 0)), "{engine}");

    let value = |version: Option<Version>| version.map(|v| (v.revision, String::from_utf8(v.value).unwrap()));
    let pod = "/registry/pods/default/a";
    assert_eq!(value(store.at(pod, None).await.unwrap()), Some((11, "eleven".into())), "{engine}");
    assert_eq!(value(store.at(pod, Some(10)).await.unwrap()), Some((5, "three".into())), "{engine}");
    assert_eq!(value(store.at(pod, Some(4)).await.unwrap()), Some((3, "one".into())), "{engine}");
    assert_eq!(value(store.at("/registry/events/default/e", None).await.unwrap()), None, "{engine}");
    assert_eq!(value(store.at("/registry/events/default/e", Some(7)).await.unwrap()), Some((7, "gone".into())));
    let secret = value(store.at("/registry/secrets/default/it's", None).await.unwrap());
    assert_eq!(secret, Some((6, "k8s:enc:aescbc:v1:key1:?".into())), "{engine}");
    let (_, said) = refusal(store.at(pod, Some(3)).await);
    assert!(said.contains("compacted"), "{engine}: {said}");
    let (kind, said) = refusal(store.at(pod, Some(13)).await);
    assert_eq!((kind, said.as_str()), (Kind::Usage, "there is no revision 13: the newest is 12"));

    let pods = [(3, false, "one".to_owned()), (5, false, "three".into()), (11, false, "eleven".into())];
    assert_eq!(history(&mut store, pod).await, (pods.to_vec(), 4), "{engine}");
    let events = [(7, false, "gone".to_owned()), (8, true, String::new())];
    assert_eq!(history(&mut store, "/registry/events/default/e").await, (events.to_vec(), 4), "{engine}");
    assert_eq!(history(&mut store, "/registry/none").await, (Vec::new(), 4), "{engine}");

    let top = store.top(2).await.unwrap();
    let heavy = |key: &str, amount| Heavy { key: key.into(), amount };
    let largest = [heavy("/registry/secrets/default/it's", 24), heavy("/registry/configmaps/default/c", 20)];
    assert_eq!(top.largest, largest, "{engine}");
    let rewritten = vec![heavy(pod, 3), heavy("/registry/events/default/e", 2)];
    assert_eq!(top.rewritten, counts_revisions.then_some(rewritten), "{engine}");
}

/// SQL that can only read. `write` is all that must be refused.
async fn reads_only(place: &Place, write: &[&str]) {
    let host = local().await;
    let mut store = place.open(&host, 2).await.unwrap();
    let mut rows = Vec::new();
    let each = |row: &[Option<String>]| rows.push(row.to_vec());
    store.query("SELECT id AS n, NULL AS x, 'a' AS t FROM kine WHERE id > 10 ORDER BY id", each).await.unwrap();
    let texts: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| cell.clone().unwrap_or_default()).collect()).collect();
    assert_eq!(texts, [["n", "x", "t"], ["11", "", "a"], ["12", "", "a"]]);
    for statement in write {
        let answer = store.query(statement, |_| ()).await;
        assert!(answer.is_err(), "{statement}");
        let (_, said) = refusal(answer);
        assert!(!said.contains("did not answer within"), "{statement}: {said}");
    }
    // One that was refused is no obstacle to the next.
    let mut count = Vec::new();
    let each = |row: &[Option<String>]| count.push(row.to_vec());
    store.query("SELECT COUNT(*) AS n FROM kine", each).await.unwrap();
    assert_eq!(count[1], [Some("12".to_owned())]);
}

/// Every way to write that the engines share.
const WRITES: [&str; 6] = [
    "DELETE FROM kine",
    "DROP TABLE kine",
    "INSERT INTO kine (name) VALUES ('a')",
    "COMMIT; DELETE FROM kine",
    "SELECT 1; DELETE FROM kine",
    "SELECT 1; DROP TABLE kine",
];

/// Statements that begin as if they only read.
const OF_POSTGRES: [&str; 3] = [
    "WITH gone AS (DELETE FROM kine RETURNING id) SELECT * FROM gone",
    "EXPLAIN ANALYZE DELETE FROM kine",
    "SELECT setval('kine_id_seq', 1)",
];

#[tokio::test]
async fn postgres_tells_what_is_in_it() {
    let Some(server) = postgres_server::Server::start() else { return };
    server.sql("kine", postgres_server::TABLE);
    server.sql("kine", &rows(|hex| format!("'\\x{hex}'")));
    server.sql("kine", "ALTER TABLE kine OWNER TO kine");
    let places = explore::places(&server.cluster(json!({})), &[postgres_server::credentials()]);
    tells_all(&places[0], "PostgreSQL", true).await;
    reads_only(&places[0], &[&WRITES[..], &OF_POSTGRES].concat()).await;

    let host = local().await;
    let mut store = places[0].open(&host, 1).await.unwrap();
    assert_eq!(store.snapshot, Snapshot { revision: 12, compacted: Some(4) });
    let (kind, said) = refusal(store.query("SELECT pg_sleep(60)", |_| ()).await);
    assert_eq!((kind, said.as_str()), (Kind::Datastore, "the database did not answer within 1 s"));

    // All of a command is of one moment.
    let mut store = places[0].open(&host, 20).await.unwrap();
    server.sql("kine", "UPDATE kine SET deleted = 1 WHERE id = 11; INSERT INTO kine (id, name, deleted) VALUES (13, '/registry/new', 0)");
    assert_eq!(keys(&mut store, "/registry/").await.len(), KEYS.len());
    let mut store = places[0].open(&host, 20).await.unwrap();
    assert!(keys(&mut store, "/registry/").await.contains(&("/registry/new".to_owned(), 13)));
}

#[tokio::test]
async fn mariadb_tells_what_is_in_it() {
    let Some(server) = mariadb_server::Server::start(&[]).await else { return };
    server.sql(mariadb_server::TABLE).await;
    server.sql(&rows(|hex| format!("x'{hex}'")).replace("INTO kine", "INTO kine.kine")).await;
    let places = explore::places(&server.cluster(json!({})), &[mariadb_server::credentials()]);
    tells_all(&places[0], "MariaDB", true).await;
    reads_only(
        &places[0],
        &[&WRITES[..], &["ANALYZE FORMAT=JSON DELETE FROM kine", "WITH a AS (SELECT 1) DELETE FROM kine"]].concat(),
    )
    .await;
    let host = local().await;
    let mut store = places[0].open(&host, 1).await.unwrap();
    let (_, said) = refusal(
        store
            .query(
                "SELECT COUNT(*) FROM kine a, kine b, kine c, kine d, kine e, kine f, kine g, kine h, kine i",
                |_| (),
            )
            .await,
    );
    assert_eq!(said, "the database did not answer within 1 s");
}

/// A SQLite file as kine makes it, with [`rows`] in it.
fn file(folder: &Path) -> Option<String> {
    let Some(sqlite3) = program("sqlite3") else {
        eprintln!("skipped: sqlite3 is not installed");
        return None;
    };
    let file = folder.join("kine.db").display().to_string();
    let table = "PRAGMA journal_mode = WAL; CREATE TABLE kine (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, created INTEGER, deleted \
                 INTEGER, create_revision INTEGER, prev_revision INTEGER, lease INTEGER, value BLOB, old_value BLOB)";
    run(Command::new(&sqlite3).arg(&file).arg(table));
    run(Command::new(sqlite3).arg(&file).arg(rows(|hex| format!("x'{hex}'"))));
    Some(file)
}

fn nowhere() -> Endpoint {
    Endpoint::Unix { socket: "/nowhere".into() }
}

#[tokio::test]
async fn a_sqlite_file_tells_what_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let Some(file) = file(folder.path()) else { return };
    let place = explore::sqlite("main", file, nowhere());
    tells_all(&place, "SQLite", true).await;
    let elsewhere = folder.path().join("written");
    let writes = format!("SELECT writefile('{}', 'a')", elsewhere.display());
    reads_only(&place, &[&WRITES[..], &[&writes]].concat()).await;
    assert!(!elsewhere.exists());
}

#[tokio::test]
async fn kine_tells_what_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let Some(file) = file(folder.path()) else { return };
    let endpoint = format!("sqlite://{file}?_journal_mode=WAL&_txlock=immediate&cache=shared");
    let Some((_kine, socket)) = kine(folder.path(), &endpoint) else { return };
    let place = behind(&socket);
    tells_all(&place, "kine", false).await;

    let host = local().await;
    let mut store = place.open(&host, 20).await.unwrap();
    let (_, said) = refusal(store.query("SELECT 1", |_| ()).await);
    assert_eq!(said, "there is no SQL to ask kine with");
    drop(_kine);
    let (kind, said) = refusal(place.open(&host, 20).await.map(|_| ()));
    assert_eq!(kind, Kind::Datastore);
    assert!(said.starts_with(&format!("the store at {} does not answer: ", socket.display())), "{said}");
}

//! A store's content goes from engine to engine and stays what it is; what comes out is a store that kine goes on with.

use std::path::Path;
use std::process::Command;

use etcdless::cluster::kine::probe::Endpoint;
use etcdless::config::Cluster;
use etcdless::config::credentials::Credentials;
use etcdless::datastore::Stores;
use etcdless::datastore::copy::digest::Digest;
use etcdless::datastore::copy::write::{BUMP, Sink};
use etcdless::datastore::copy::{self, Caught, Change, Row, Span};
use etcdless::datastore::explore::{self, Error, Place, Snapshot};
use secrecy::ExposeSecret;
use serde_json::json;
use tokio::sync::mpsc;

use crate::servers::{behind, kine, local, program, run};
use crate::{mariadb_server, postgres_server};

const KEYS: u64 = 5_000;

/// Keys as an API server has them, some rewritten since they were made, some that end by themselves, values of any byte.
fn rows() -> Vec<Change> {
    (0..KEYS)
        .map(|n| {
            let value: Vec<u8> =
                (0..(n % 97) as usize * 11).map(|at| ((n as usize * 7 + at * 13) % 256) as u8).collect();
            let key = format!("/registry/{}/default/it's-{n}", if n % 3 == 0 { "events" } else { "configmaps" });
            let revision = 10 + n * 2;
            let created = if n % 2 == 0 { revision } else { revision - 1 };
            Change::Put(Row { key, created, revision, lease: if n % 3 == 0 { 3600 } else { 0 }, value })
        })
        .collect()
}

async fn fill(sink: &mut Sink, changes: Vec<Change>) -> Digest {
    let (out, into) = mpsc::channel(2);
    let send = async move {
        for batch in changes.chunks(700) {
            out.send(batch.to_vec()).await.unwrap();
        }
    };
    let mut told = 0;
    let (written, ()) = tokio::join!(sink.fill(into, |digest| told = digest.keys), send);
    assert_eq!(told, KEYS);
    written.unwrap()
}

/// Moves what a place holds into a sink; what that was, and at which revision it is to go on.
async fn moved(from: &Place, sink: &mut Sink) -> (Digest, u64) {
    let host = local().await;
    let mut store = from.open(&host, 60).await.unwrap();
    let digest = copy::copy(&mut store, sink, |_| ()).await.unwrap();
    assert_eq!(sink.digest(Span::ALL).await.unwrap(), digest, "what was written is what was read");
    let revision = store.snapshot.revision + BUMP;
    sink.finish(revision).await.unwrap();
    (digest, revision)
}

/// What kine is told of the cluster's store.
fn endpoint(cluster: &Cluster, credentials: &Credentials) -> String {
    let stores = Stores::of(cluster, std::slice::from_ref(credentials)).unwrap();
    stores.iter().map(|(_, store)| store.endpoint.expose_secret().to_owned()).collect()
}

/// What kine tells of a store that was filled.
async fn kine_goes_on(folder: &Path, endpoint: &str, digest: &Digest, revision: u64) {
    let Some((_kine, socket)) = kine(folder, endpoint) else { return };
    let place = behind(&socket);
    let host = local().await;
    let mut sink = Sink::file().await.unwrap();
    let mut store = place.open(&host, 60).await.unwrap();
    // kine makes /registry/health at its start, with the first revision that is free.
    assert_eq!(store.snapshot.revision, revision + 1, "{endpoint}");
    assert_eq!(&copy::copy(&mut store, &mut sink, |_| ()).await.unwrap(), digest, "{endpoint}");
    let key = "/registry/configmaps/default/it's-1";
    let (mut versions, each) = (Vec::new(), |version: explore::Version| version.revision);
    assert_eq!(store.history(key, |version| versions.push(each(version))).await.unwrap(), revision, "{endpoint}");
    assert_eq!(versions, [12], "{endpoint}");
    let Err(Error::Store(failure)) = store.at(key, Some(revision - 1)).await else { panic!("{endpoint}") };
    assert!(failure.message.contains("compacted"), "{}", failure.message);
}

#[tokio::test]
async fn a_store_goes_from_engine_to_engine() {
    let Some(postgres) = postgres_server::Server::start() else { return };
    let Some(mariadb) = mariadb_server::Server::start(&[]).await else { return };
    let of_postgres = postgres.cluster(json!({}));
    let of_mariadb = mariadb.cluster(json!({}));
    let on_postgres = explore::places(&of_postgres, &[postgres_server::credentials()]).remove(0);
    let on_mariadb = explore::places(&of_mariadb, &[mariadb_server::credentials()]).remove(0);
    let host = local().await;

    let mut file = Sink::file().await.unwrap();
    let begun = fill(&mut file, rows()).await;
    assert_eq!(file.digest(Span::ALL).await.unwrap(), begun);
    assert_eq!(file.digest(Span { since: 10 + KEYS, revision: u64::MAX >> 1 }).await.unwrap().keys, KEYS / 2 - 1);
    file.finish(BUMP).await.unwrap();
    let file = file.into_file().unwrap().close().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    if program("sqlite3").is_some() {
        let path = file.path().display().to_string();
        kine_goes_on(folder.path(), &format!("sqlite://{path}"), &begun, BUMP).await;
        let on_file = explore::sqlite("main", path, Endpoint::Unix { socket: "/nowhere".into() });

        let mut sink = Sink::open(&host, &on_postgres).await.unwrap();
        let (digest, revision) = moved(&on_file, &mut sink).await;
        assert_eq!(digest, begun);
        drop(sink);
        let shows = Snapshot { revision, compacted: Some(revision) };
        assert_eq!(on_postgres.open(&host, 60).await.unwrap().snapshot, shows);
        assert_eq!(postgres.sql("kine", "SELECT relname FROM pg_class WHERE relname = 'etcdless_copy'"), "");

        let mut sink = Sink::open(&host, &on_mariadb).await.unwrap();
        let (digest, next) = moved(&on_postgres, &mut sink).await;
        assert_eq!((digest, next), (begun, revision + BUMP));
        drop(sink);

        let mut back = Sink::file().await.unwrap();
        let (digest, last) = moved(&on_mariadb, &mut back).await;
        assert_eq!((digest, last), (begun, next + BUMP));
        let back = back.into_file().unwrap().close().await.unwrap();
        let path = back.path().display().to_string();
        kine_goes_on(tempfile::tempdir().unwrap().path(), &format!("sqlite://{path}"), &begun, last).await;
        for (cluster, credentials, revision) in [
            (&of_postgres, postgres_server::credentials(), revision),
            (&of_mariadb, mariadb_server::credentials(), next),
        ] {
            let endpoint = endpoint(cluster, &credentials);
            kine_goes_on(tempfile::tempdir().unwrap().path(), &endpoint, &begun, revision).await;
        }
    } else {
        eprintln!("skipped: sqlite3 is not installed");
    }
}

#[tokio::test]
async fn what_changed_since_is_brought_over() {
    let Some(postgres) = postgres_server::Server::start() else { return };
    let Some(mariadb) = mariadb_server::Server::start(&[]).await else { return };
    let from = explore::places(&postgres.cluster(json!({})), &[postgres_server::credentials()]).remove(0);
    let into = explore::places(&mariadb.cluster(json!({})), &[mariadb_server::credentials()]).remove(0);
    let host = local().await;
    let mut sink = Sink::open(&host, &from).await.unwrap();
    fill(&mut sink, rows()).await;
    sink.finish(20_000).await.unwrap();
    drop(sink);

    let mut sink = Sink::open(&host, &into).await.unwrap();
    let mut store = from.open(&host, 60).await.unwrap();
    let since = store.snapshot.revision;
    copy::copy(&mut store, &mut sink, |_| ()).await.unwrap();
    // As kine writes: one is rewritten twice, one deleted, one new, one new and gone again.
    postgres.sql(
        "kine",
        "INSERT INTO kine (name, created, deleted, create_revision, prev_revision, lease, value) VALUES
         ('/registry/configmaps/default/it''s-1', 0, 0, 11, 12, 0, 'b'), ('/registry/configmaps/default/it''s-1', 0, 0, 11, 20001, 0, 'c'),
         ('/registry/configmaps/default/it''s-2', 0, 1, 14, 14, 0, ''), ('/registry/pods/default/new', 1, 0, 0, 0, 0, 'new'),
         ('/registry/pods/default/brief', 1, 0, 0, 0, 0, 'brief'), ('/registry/pods/default/brief', 0, 1, 20005, 20005, 0, '')",
    );
    let mut store = from.open(&host, 60).await.unwrap();
    assert_eq!(copy::catch_up(&mut store, since, &mut sink).await.unwrap(), Caught { put: 2, deleted: 2 });
    let mut store = from.open(&host, 60).await.unwrap();
    let mut aside = Sink::file().await.unwrap();
    let expected = copy::copy(&mut store, &mut aside, |_| ()).await.unwrap();
    assert_eq!(expected.keys, KEYS);
    assert_eq!(sink.digest(Span::ALL).await.unwrap(), expected);
    // And once more changes nothing.
    assert_eq!(copy::catch_up(&mut store, since, &mut sink).await.unwrap(), Caught { put: 2, deleted: 2 });
    assert_eq!(sink.digest(Span::ALL).await.unwrap(), expected);

    // A deletion that was compacted away is known by what is not there any more.
    postgres.sql("kine", "DELETE FROM kine WHERE name LIKE '%it''s-3'; UPDATE kine SET prev_revision = 20003 WHERE name = 'compact_rev_key'");
    let mut store = from.open(&host, 60).await.unwrap();
    assert_eq!(copy::catch_up(&mut store, since, &mut sink).await.unwrap(), Caught { put: 2, deleted: 3 });
    let mut aside = Sink::file().await.unwrap();
    let mut store = from.open(&host, 60).await.unwrap();
    let expected = copy::copy(&mut store, &mut aside, |_| ()).await.unwrap();
    assert_eq!((expected.keys, sink.digest(Span::ALL).await.unwrap()), (KEYS - 1, expected));

    // Where one side fails, the other ends as well.
    mariadb.sql("DROP TABLE kine.kine").await;
    let mut store = from.open(&host, 60).await.unwrap();
    let Err(Error::Store(failure)) = copy::copy(&mut store, &mut sink, |_| ()).await else { panic!("it goes on") };
    assert!(failure.message.contains("doesn't exist"), "{}", failure.message);
    let mut store = from.open(&host, 60).await.unwrap();
    postgres.sql("kine", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'etcdless'");
    assert!(copy::copy(&mut store, &mut aside, |_| ()).await.is_err());
}

/// The keys of `rows` that a prefix begins.
fn part(prefix: &str) -> Vec<Change> {
    rows().into_iter().filter(|change| change.key().starts_with(prefix)).collect()
}

/// What is written of a part of a store is that part, whoever reads it.
async fn goes_in_part(from: &Place, into: &mut Sink) -> u64 {
    let host = local().await;
    let prefix = "/registry/configmaps/".to_owned();
    let mut store = from.open(&host, 60).await.unwrap();
    store.below = Vec::new();
    assert_eq!(copy::copy(&mut store, into, |_| ()).await.unwrap().keys, 0, "{}", store.engine);
    store.below = vec![prefix.clone()];
    let copied = copy::copy(&mut store, into, |_| ()).await.unwrap();
    let mut expected = Digest::default();
    part(&prefix).iter().filter_map(Change::row).for_each(|row| expected.add(row));
    assert_eq!(copied, expected, "{}", store.engine);
    assert_eq!(into.digest(Span::ALL).await.unwrap(), expected, "{}", store.engine);
    store.snapshot.revision
}

#[tokio::test]
async fn a_part_of_a_store_goes_to_another_and_what_is_left_is_deleted() {
    let Some(postgres) = postgres_server::Server::start() else { return };
    let Some(mariadb) = mariadb_server::Server::start(&[]).await else { return };
    let (of_postgres, of_mariadb) = (postgres.cluster(json!({})), mariadb.cluster(json!({})));
    let on_postgres = explore::places(&of_postgres, &[postgres_server::credentials()]).remove(0);
    let on_mariadb = explore::places(&of_mariadb, &[mariadb_server::credentials()]).remove(0);
    let host = local().await;
    let mut sink = Sink::open(&host, &on_postgres).await.unwrap();
    fill(&mut sink, rows()).await;
    sink.finish(20_000).await.unwrap();
    drop(sink);

    let mut sink = Sink::open(&host, &on_mariadb).await.unwrap();
    let since = goes_in_part(&on_postgres, &mut sink).await;
    // Of what changes, too, only the part is brought over.
    postgres.sql(
        "kine",
        "INSERT INTO kine (name, created, deleted, create_revision, prev_revision, lease, value) VALUES
         ('/registry/configmaps/default/it''s-1', 0, 0, 11, 12, 0, 'b'), ('/registry/configmaps/default/it''s-2', 0, 1, 14, 14, 0, ''),
         ('/registry/events/default/it''s-3', 0, 1, 16, 16, 0, ''), ('/registry/configmapsets/default/new', 1, 0, 0, 0, 0, 'new')",
    );
    let mut store = on_postgres.open(&host, 60).await.unwrap();
    store.below = vec!["/registry/configmaps/".into()];
    assert_eq!(copy::catch_up(&mut store, since, &mut sink).await.unwrap(), Caught { put: 1, deleted: 1 });
    let changed = copy::changed(&mut store, since).await.unwrap();
    assert_eq!((changed.keys, sink.digest(Span { since, ..Span::ALL }).await.unwrap()), (1, changed));
    let kept = sink.digest(Span::ALL).await.unwrap().keys;
    assert_eq!(kept, part("/registry/configmaps/").len() as u64 - 1);
    sink.finish(since + BUMP).await.unwrap();
    drop((sink, store));

    // By kine's API, and what nobody needs any more goes by it, too.
    let folder = tempfile::tempdir().unwrap();
    let endpoint = endpoint(&of_postgres, &postgres_server::credentials());
    let Some((_kine, socket)) = kine(folder.path(), &endpoint) else { return };
    let place = behind(&socket);
    let mut store = place.open(&host, 60).await.unwrap();
    store.below = vec!["/registry/configmaps/".into()];
    let mut sink = Sink::file().await.unwrap();
    assert_eq!(copy::copy(&mut store, &mut sink, |_| ()).await.unwrap().keys, kept);
    // Told as it happened: the last of the part is a deletion.
    assert_eq!(copy::catch_up(&mut store, since + 1, &mut sink).await.unwrap(), Caught { put: 0, deleted: 1 });
    let prefixes = ["/registry/events/default/it's-4".to_owned(), "/registry/leases/".to_owned()];
    let [all, some] = ["/registry/events/", prefixes[0].as_str()].map(|prefix| part(prefix).len() as u64);
    assert_eq!(copy::remove::below(&host, &place, &prefixes, 60).await.unwrap(), some);
    let tally = place.open(&host, 60).await.unwrap().tally().await.unwrap();
    let objects =
        ["configmaps", "configmapsets", "events"].map(|name| tally.get(name).map_or(0, |tally| tally.objects));
    assert_eq!(objects, [kept, 1, all - 1 - some]);
    assert_eq!(copy::remove::below(&host, &place, &prefixes, 60).await.unwrap(), 0);
}

#[tokio::test]
async fn a_part_of_a_file_goes_to_another() {
    if program("sqlite3").is_none() {
        return eprintln!("skipped: sqlite3 is not installed");
    }
    let mut file = Sink::file().await.unwrap();
    fill(&mut file, rows()).await;
    file.finish(BUMP).await.unwrap();
    let file = file.into_file().unwrap().close().await.unwrap();
    let endpoint = Endpoint::Unix { socket: "/nowhere".into() };
    let place = explore::sqlite("main", file.path().display().to_string(), endpoint);
    goes_in_part(&place, &mut Sink::file().await.unwrap()).await;
    let Some(mariadb) = mariadb_server::Server::start(&[]).await else { return };
    let on_mariadb = explore::places(&mariadb.cluster(json!({})), &[mariadb_server::credentials()]).remove(0);
    let mut whole = Sink::open(&local().await, &on_mariadb).await.unwrap();
    moved(&place, &mut whole).await;
    goes_in_part(&on_mariadb, &mut Sink::file().await.unwrap()).await;
}

#[tokio::test]
async fn nobody_s_data_is_replaced_and_a_copy_that_was_cut_off_is() {
    let Some(postgres) = postgres_server::Server::start() else { return };
    let Some(mariadb) = mariadb_server::Server::start(&[]).await else { return };
    let host = local().await;
    for place in [
        explore::places(&postgres.cluster(json!({})), &[postgres_server::credentials()]).remove(0),
        explore::places(&mariadb.cluster(json!({})), &[mariadb_server::credentials()]).remove(0),
    ] {
        assert!(Sink::refusal(&host, &place).await.unwrap().is_none(), "there is not even a table");
        let mut sink = Sink::open(&host, &place).await.unwrap();
        fill(&mut sink, rows()).await;
        drop(sink);
        // Asking changes nothing.
        assert!(Sink::refusal(&host, &place).await.unwrap().is_none());
        let mut left = Sink::again(&host, &place).await.unwrap().unwrap();
        assert_eq!(left.digest(Span::ALL).await.unwrap().keys, KEYS);
        let mut sink = Sink::open(&host, &place).await.unwrap();
        assert_eq!(sink.digest(Span::ALL).await.unwrap().keys, 0);
        fill(&mut sink, rows()).await;
        sink.finish(BUMP).await.unwrap();
        let refusal = Sink::refusal(&host, &place).await.unwrap().unwrap();
        assert_eq!(refusal.message, "the database is not empty: it holds 5000 keys of an API server's");
        let Err(Error::Store(failure)) = Sink::open(&host, &place).await.map(drop) else { panic!("it is emptied") };
        assert_eq!(failure.message, "the database is not empty: it holds 5000 keys of an API server's");
        // Nobody has written since it was finished there, and another revision is nobody's.
        assert!(Sink::anew(&host, &place, Some(BUMP - 1)).await.is_err());
        Sink::anew(&host, &place, Some(BUMP)).await.unwrap();
    }
}

/// A row of a key of its own, in a transaction or out of it.
fn written(key: &str) -> sqlx::AssertSqlSafe<String> {
    sqlx::AssertSqlSafe(format!(
        "INSERT INTO kine (name, created, deleted, create_revision, prev_revision, lease, value) VALUES ('/registry/{key}', 1, 0, 0, 0, 0, 'a')"
    ))
}

/// Makes a write that got its number before another one did, and is finished after it, or never.
async fn overtaken<D>(place: &Place, [mut slow, mut fast, again]: [D; 3])
where
    D: sqlx::Connection + 'static,
    for<'a> &'a mut D: sqlx::Executor<'a, Database = D::Database>,
{
    use sqlx::Executor;
    let host = local().await;
    let mut sink = Sink::open(&host, place).await.unwrap();
    fill(&mut sink, rows()).await;
    sink.finish(BUMP).await.unwrap();
    drop(sink);
    let names = async |store: &mut explore::Store<'_>| {
        let mut names = Vec::new();
        store.keys("/registry/o", |page| names.extend(page.into_iter().map(|entry| entry.key))).await.unwrap();
        names
    };
    slow.execute("BEGIN").await.unwrap();
    slow.execute(written("overtaken")).await.unwrap();
    fast.execute(written("other")).await.unwrap();
    let mut hasty = place.open(&host, 60).await.unwrap();
    assert_eq!((hasty.snapshot.revision, names(&mut hasty).await), (BUMP + 2, vec!["/registry/other".to_owned()]));
    let finish = async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        slow.execute("COMMIT").await.unwrap();
    };
    let (settled, ()) = tokio::join!(place.settled(&host, 60), finish);
    let mut settled = settled.unwrap();
    assert_eq!(settled.snapshot.revision, BUMP + 2);
    assert_eq!(names(&mut settled).await, ["/registry/other", "/registry/overtaken"]);
    // A number whose write was given up stays free, and keeps nobody.
    let mut given_up = again;
    given_up.execute("BEGIN").await.unwrap();
    given_up.execute(written("given-up")).await.unwrap();
    given_up.execute("ROLLBACK").await.unwrap();
    fast.execute(written("o-last")).await.unwrap();
    let mut settled = place.settled(&host, 60).await.unwrap();
    assert_eq!(settled.snapshot.revision, BUMP + 4);
    assert_eq!(names(&mut settled).await.len(), 3);
}

#[tokio::test]
async fn a_store_is_copied_as_of_a_revision_that_nothing_is_missing_of() {
    use sqlx::ConnectOptions;
    if let Some(server) = postgres_server::Server::start() {
        let place = explore::places(&server.cluster(json!({})), &[postgres_server::credentials()]).remove(0);
        let options = sqlx::postgres::PgConnectOptions::new().host("127.0.0.1").port(server.port);
        let options = options.username("kine").password(postgres_server::PASSWORD).database("kine");
        let connect = async || options.connect().await.unwrap();
        overtaken(&place, [connect().await, connect().await, connect().await]).await;
    }
    if let Some(server) = mariadb_server::Server::start(&[]).await {
        let place = explore::places(&server.cluster(json!({})), &[mariadb_server::credentials()]).remove(0);
        let options = sqlx::mysql::MySqlConnectOptions::new().host("127.0.0.1").port(server.port);
        let options = options.username("kine").password(mariadb_server::PASSWORD).database("kine");
        let connect = async || options.connect().await.unwrap();
        overtaken(&place, [connect().await, connect().await, connect().await]).await;
    }
}

/// The tables that are made here are those that kine makes.
#[tokio::test]
async fn tables_are_kine_s_own() {
    let Some(postgres) = postgres_server::Server::start() else { return };
    let Some(mariadb) = mariadb_server::Server::start(&[]).await else { return };
    let Some(sqlite3) = program("sqlite3") else { return eprintln!("skipped: sqlite3 is not installed") };
    let host = local().await;
    let of_postgres = postgres.cluster(json!({}));
    let of_mariadb = mariadb.cluster(json!({}));
    let credentials = [postgres_server::credentials(), mariadb_server::credentials()];
    let columns = |table: &str| {
        format!(
            "SELECT column_name || ' ' || data_type || ' ' || coalesce(collation_name, '') || is_nullable FROM \
                 information_schema.columns WHERE table_name = '{table}' ORDER BY 1; SELECT replace(indexdef, '{table}.', '') FROM pg_indexes \
                 WHERE tablename = '{table}' ORDER BY 1"
        )
    };
    drop(Sink::open(&host, &explore::places(&of_postgres, &credentials[..1]).remove(0)).await.unwrap());
    let ours = postgres.sql("kine", &columns("kine"));
    postgres.sql("kine", "DROP TABLE kine");
    let folder = tempfile::tempdir().unwrap();
    let Some((process, _)) = kine(folder.path(), &endpoint(&of_postgres, &credentials[0])) else { return };
    drop(process);
    assert_eq!(ours, postgres.sql("kine", &columns("kine")));

    drop(Sink::open(&host, &explore::places(&of_mariadb, &credentials[1..]).remove(0)).await.unwrap());
    let ours = mariadb.table().await;
    mariadb.sql("DROP TABLE kine.kine").await;
    let folder = tempfile::tempdir().unwrap();
    let Some((process, _)) = kine(folder.path(), &endpoint(&of_mariadb, &credentials[1])) else { return };
    drop(process);
    assert_eq!(ours, mariadb.table().await);

    let schema = |path: &Path| {
        let text = run(Command::new(&sqlite3).arg(path).arg(".schema --nosys"));
        // Names of columns and types, whatever is between them.
        let text: String = text.chars().filter(|letter| !letter.is_whitespace()).collect();
        let mut parts: Vec<String> = text.replace("IFNOTEXISTS", "").split(';').map(str::to_owned).collect();
        parts.sort();
        parts
    };
    let file = Sink::file().await.unwrap().into_file().unwrap().close().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kine.db");
    let Some((process, _)) = kine(folder.path(), &format!("sqlite://{}", path.display())) else { return };
    drop(process);
    assert_eq!(schema(&file.path()), schema(&path));
}

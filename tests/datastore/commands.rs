//! `etcdless datastore check` as people and scripts run it.

use std::process::{Command, Output};

use serde_json::Value;

use crate::postgres_server::{PASSWORD, Server, TABLE};
use crate::servers::run;

fn check(file: &std::path::Path, password: &str, args: &[&str]) -> Output {
    datastore("check", file, password, args)
}

fn datastore(what: &str, file: &std::path::Path, password: &str, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_etcdless"));
    command.args(["datastore", what, "-c"]).arg(file).args(args);
    command.env("DB_PASSWORD", password).env("XDG_STATE_HOME", file.parent().unwrap());
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// kine's database of a server on this machine.
fn external(port: u16) -> String {
    format!(
        "{{ postgres: {{ external: {{ address: 'localhost:{port}', database: kine, user: kine, password: {{ env: DB_PASSWORD }}, tls: {{ mode: \
         'off' }} }} }} }}"
    )
}

fn described(folder: &std::path::Path, datastore: &str) -> std::path::PathBuf {
    let file = folder.join("cluster.yaml");
    let text = format!(
        "apiVersion: etcdless.dev/v1alpha1\nkind: Cluster\nmetadata: {{ name: demo }}\nspec:\n  datastore: {datastore}\n  \
         hosts: [{{ name: cp1, address: local }}]\n"
    );
    std::fs::write(&file, text).unwrap();
    file
}

#[test]
fn a_table_for_people_events_for_scripts_and_exit_code_7() {
    let Some(server) = Server::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = described(folder.path(), &external(server.port));
    let good = check(&file, PASSWORD, &[]);
    assert!(good.status.success(), "{}", text(&good.stderr));
    let table = text(&good.stdout);
    assert!(
        table.starts_with("CHECK                 STATE    DETAIL\nDatastoreResolve      ok       localhost is "),
        "{table}"
    );
    assert!(table.contains("DatastoreWritable     ok       the server takes writes\n"), "{table}");

    let wrong = check(&file, "s3cret canary", &[]);
    assert_eq!(wrong.status.code(), Some(7));
    assert!(text(&wrong.stdout).contains("DatastoreLogin    failed   localhost:"), "{}", text(&wrong.stdout));
    let said = text(&wrong.stderr);
    assert!(
        said.contains(
            "error: 1 check of the datastore failed, seen from cp1; nothing was changed\n  [ERROR DatastoreLogin] "
        ),
        "{said}"
    );
    let json = check(&file, "s3cret canary", &["--output", "json"]);
    assert_eq!(json.status.code(), Some(7));
    let events: Vec<Value> = text(&json.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let login = events.iter().find(|event| event["name"] == "DatastoreLogin").unwrap();
    assert_eq!((login["event"].as_str(), login["ok"].as_bool()), (Some("check"), Some(false)));
    assert_eq!(events.last().unwrap()["code"], 7);

    // Neither password is in anything that was printed or logged.
    for output in [&good, &wrong, &json] {
        let all = text(&output.stdout) + &text(&output.stderr);
        assert!(!all.contains("canary"), "{all}");
    }
    let logs = run(Command::new("sh").args(["-c", "grep -rl canary \"$1\" || true", "sh"]).arg(folder.path()));
    assert_eq!(logs, "");
}

#[test]
fn status_is_a_table_for_people_events_for_scripts_and_exit_code_8() {
    let Some(server) = Server::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = described(folder.path(), &external(server.port));
    let status = |password: &str, args: &[&str]| datastore("status", &file, password, args);
    let missing = status(PASSWORD, &[]);
    assert_eq!(missing.status.code(), Some(8));
    assert!(
        text(&missing.stderr)
            .contains("error: the datastore needs a hand, seen from cp1\n  store: the database `kine` holds no")
    );
    server.sql("kine", TABLE);
    server.sql(
        "kine",
        "ALTER TABLE kine OWNER TO kine; INSERT INTO kine (name, deleted) VALUES ('a', 0), ('a', 0), ('b', 1)",
    );
    let good = status(PASSWORD, &[]);
    assert!(good.status.success(), "{}", text(&good.stderr));
    let table = text(&good.stdout);
    assert!(table.starts_with("WHAT         STATE    DETAIL\nstore        ok       PostgreSQL "), "{table}");
    assert!(table.contains("rows         ok       1 live, 2 superseded\n"), "{table}");
    assert!(table.contains("statements   -        not told: "), "{table}");

    let json = status(PASSWORD, &["--output", "json"]);
    assert!(json.status.success());
    let events: Vec<Value> = text(&json.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let store = events.iter().find(|event| event["event"] == "datastore").unwrap();
    assert_eq!((store["host"].as_str(), store["status"]["shard"].as_str()), (Some("cp1"), Some("main")));
    assert_eq!(store["status"]["rows"], serde_json::json!({ "live": 1, "superseded": 2 }));
    assert!(store["status"]["statements"]["notTold"].is_string(), "{store}");
    let rows = events.iter().find(|event| event["name"] == "main/rows").unwrap();
    assert_eq!((rows["event"].as_str(), rows["ok"].as_bool()), (Some("check"), Some(true)));

    let wrong = status("s3cret canary", &["--output", "json"]);
    assert_eq!(wrong.status.code(), Some(8));
    let said = text(&wrong.stdout);
    assert!(said.contains("does not accept the password of `kine`") && !said.contains("canary"), "{said}");
}

#[test]
fn what_cannot_be_checked_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let file = described(folder.path(), "{ sqlite: {} }");
    let output = check(&file, "", &[]);
    let expected = "the state is in a SQLite file on the control plane: there is no server to check\n";
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(0), expected), "{}", text(&output.stderr));
    let file = described(folder.path(), "{ other: { dsn: { env: DB_PASSWORD } } }");
    let output = check(&file, "nats://canary", &[]);
    assert!(output.status.success());
    assert!(
        text(&output.stdout)
            .contains("warning  the store is of an engine that etcdless does not know: whether it can be reached, "),
        "{}",
        text(&output.stdout)
    );
    let file = described(folder.path(), "{ mysql: { dsn: { env: DB_PASSWORD } } }");
    let output = check(&file, "mysql://kine:canary@pipe(x)/kine", &[]);
    let table = text(&output.stdout);
    assert!(
        output.status.success() && table.contains("its network is neither tcp nor unix") && !table.contains("canary"),
        "{table}"
    );
}

#[test]
fn a_store_is_looked_into_by_words_and_flags() {
    let Some(server) = Server::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = described(folder.path(), &external(server.port));
    server.sql("kine", TABLE);
    let object = |kind: &str, data: &str| {
        format!(
            "convert_to('{{\"apiVersion\":\"v1\",\"kind\":\"{kind}\",\"metadata\":{{}},\"data\":{{\"a\":\"{data}\"}}}}', 'UTF8')"
        )
    };
    server.sql(
        "kine",
        &format!(
            "ALTER TABLE kine OWNER TO kine; INSERT INTO kine (id, name, created, deleted, value) VALUES \
             (1, '/registry/configmaps/default/c', 1, 0, {}), (2, '/registry/configmaps/default/c', 0, 0, {}), \
             (3, '/registry/secrets/default/s', 1, 0, {}), (4, '/registry/secrets/default/s', 0, 0, {})",
            object("ConfigMap", "1"),
            object("ConfigMap", "2"),
            object("Secret", "Y2FuYXJ5MQ=="),
            object("Secret", "Y2FuYXJ5Mg==")
        ),
    );
    let look = |verb: &str, words: &[&str]| datastore(verb, &file, PASSWORD, words);
    let said = |verb: &str, words: &[&str]| {
        let output = look(verb, words);
        assert!(output.status.success(), "{verb} {words:?}: {}", text(&output.stderr));
        text(&output.stdout)
    };
    assert_eq!(said("ls", &[]), "/registry/configmaps/default/c\n/registry/secrets/default/s\n");
    assert_eq!(said("ls", &["cm"]), "/registry/configmaps/default/c\n");
    assert_eq!(
        said("get", &["cm/default/c"]),
        "apiVersion: v1\ndata:\n  a: \"2\"\nkind: ConfigMap\nmetadata:\n  resourceVersion: \"2\"\n"
    );
    assert!(said("get", &["cm/default/c", "--revision", "1"]).contains("  a: \"1\"\n"));
    let diff = said("diff", &["secrets/default/s", "3", "4"]);
    assert!(diff.contains("-  a: <7 bytes>\n+  a: <7 bytes, other than before>\n"), "{diff}");
    assert!(said("history", &["secrets/default/s"]).contains("updated  -     -    data.a\n"));
    let count = said("count", &["--output", "json"]);
    let events: Vec<Value> = count.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((events[0]["engine"].as_str(), events[0]["revision"].as_u64()), (Some("PostgreSQL"), Some(4)));
    assert_eq!((events[1]["objects"].as_u64(), events[1]["revisions"].as_u64()), (Some(1), Some(2)));
    assert_eq!(
        said("query", &["SELECT id, name FROM kine WHERE id = 3"]),
        "id\tname\n3\t/registry/secrets/default/s\n"
    );
    assert!(said("top", &["--limit", "1"]).contains("        2  /registry/configmaps/default/c\n"));

    // What a Secret holds is in nothing but what asked for it.
    for verb in ["get", "history"] {
        assert!(!said(verb, &["secrets/default/s"]).contains("Y2Fu"), "{verb}");
    }
    assert!(!diff.contains("Y2Fu"), "{diff}");
    assert!(said("get", &["secrets/default/s", "--show-secrets"]).contains("Y2FuYXJ5Mg=="));

    for (code, expected, verb, words) in [
        (2, "hint: did you mean /registry/configmaps/default/c?\n", "get", &["cm/default/d"][..]),
        (
            2,
            "error: /registry/secrets/default/s is a Secret in the clear\n",
            "get",
            &["secrets/default/s", "-o", "hex"],
        ),
        (2, "error: there is no revision 5: the newest is 4\n", "get", &["cm/default/c", "--revision", "5"]),
        (2, "error: `x` is no revision: they are numbers\n", "diff", &["cm/default/c", "1", "x"]),
        (2, "error: it takes HOST KEY, without HOST where --config names a file\n", "get", &[]),
        (2, "error: there is no store events\nhint: stores: main\n", "query", &["SELECT 1", "--store", "events"]),
        (7, "error: the database does not answer: ", "query", &["SELECT 1 FROM nowhere"]),
    ] {
        let output = look(verb, words);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{verb} {words:?}: {stderr}");
        assert!(stderr.contains(expected), "{verb} {words:?}: {stderr}");
    }
}

#[test]
fn upkeep_says_what_it_costs_and_asks_before() {
    let Some(server) = Server::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = described(folder.path(), &external(server.port));
    server.sql("kine", TABLE);
    server.sql(
        "kine",
        "ALTER TABLE kine OWNER TO kine; INSERT INTO kine (id, name, created, deleted, prev_revision, value) SELECT id, '/registry/a', 0, 0, \
         id - 1, 'abcd' FROM generate_series(1, 1500) AS n(id)",
    );
    let run = |what: &str, args: &[&str]| datastore(what, &file, PASSWORD, args);
    let cost = run("compact", &["--dry-run"]);
    assert!(cost.status.success(), "{}", text(&cost.stderr));
    assert_eq!(
        text(&cost.stdout),
        "main: PostgreSQL, newest revision 1500, compacted to 0\n  to 500: about 499 rows go, with 1.9 KiB of values\n  watches that began \
         earlier list again; `history` and `get --revision` begin there\n"
    );
    let little = run("compact", &["--keep", "2000", "--yes"]);
    assert!(text(&little.stdout).contains("  nothing to compact: the 1500 newest revisions are kept\n"));
    let unsaid = run("compact", &[]);
    assert_eq!(unsaid.status.code(), Some(2));
    assert!(text(&unsaid.stderr).contains("there is no terminal to ask on: nothing was changed"));
    // kine alone compacts, and there is none.
    let away = run("compact", &["--yes"]);
    assert_eq!(away.status.code(), Some(7), "{}", text(&away.stderr));
    assert_eq!(server.sql("kine", "SELECT count(*) FROM kine").trim(), "1500");

    let cost = run("vacuum", &["--dry-run", "--full"]);
    assert!(text(&cost.stdout).contains("  VACUUM FULL: the API server waits for about 1 s"), "{}", text(&cost.stdout));
    let done = run("vacuum", &["--yes", "--full", "--output", "json"]);
    let events: Vec<Value> = text(&done.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<_> = events.iter().filter_map(|event| event["event"].as_str()).collect();
    assert_eq!(names, ["vacuum", "vacuumed"]);
    assert!(events[1]["bytes"].as_u64() <= events[0]["bytes"].as_u64(), "{events:?}");
    let none = run("vacuum", &["--store", "other"]);
    assert!(text(&none.stderr).contains("there is no store other\nhint: stores: main"), "{}", text(&none.stderr));
}

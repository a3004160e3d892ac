#![expect(clippy::unwrap_used)]
use secrecy::ExposeSecret;
use serde_json::json;

use super::*;

const PASSWORD: &str = r#"p@ss:w/rd?#%&=+'"$"#;

fn datastore(document: serde_json::Value) -> Datastore {
    serde_json::from_value(document).unwrap()
}

fn credentials(tls: bool) -> Credentials {
    let pem = |what: &str| tls.then(|| what.to_owned());
    Credentials {
        password: Some(PASSWORD.to_owned().into()),
        dsn: None,
        ca: pem("ca"),
        cert: pem("cert"),
        key: pem("key").map(Into::into),
        key_apart: false,
    }
}

fn told(engine: &str, external: serde_json::Value, credentials: &Credentials) -> (String, Vec<String>) {
    let mut external = external;
    external["database"] = json!("kine");
    external["user"] = json!("kine");
    let mut document = serde_json::Map::new();
    document.insert(engine.to_owned(), json!({ "external": external }));
    let store = store("main", &datastore(document.into()), 8, credentials).unwrap();
    let pool = ["--datastore-max-open-connections=8", "--datastore-max-idle-connections=8"];
    let flags: Vec<String> = store.flags.iter().filter(|flag| !pool.contains(&flag.as_str())).cloned().collect();
    assert_eq!(flags.len() + 2, store.flags.len(), "the pool is always bounded");
    (store.endpoint.expose_secret().to_owned(), flags)
}

#[test]
fn postgres_is_a_url_with_everything_as_parameters() {
    let login = "postgres://kine:p%40ss%3Aw%2Frd%3F%23%25%26%3D%2B%27%22%24@/kine?host=";
    let tls = "&sslrootcert=%2Fetc%2Fetcdless%2Fkine%2Fdb%2Fmain%2Fca.crt&sslcert=%2Fetc%2Fetcdless%2Fkine%2Fdb%2Fmain%2Fclient.crt\
               &sslkey=%2Fetc%2Fetcdless%2Fkine%2Fdb%2Fmain%2Fclient.key";
    for (external, files, expected) in [
        (json!({ "address": "db" }), false, "db&port=5432&sslmode=verify-full".to_owned()),
        (json!({ "address": "db:6432" }), true, format!("db&port=6432&sslmode=verify-full{tls}")),
        (
            json!({ "address": "[fd00::1]:5433", "tls": { "mode": "encrypt" } }),
            false,
            "fd00%3A%3A1&port=5433&sslmode=require".into(),
        ),
        (json!({ "address": "db", "tls": { "mode": "off" } }), false, "db&port=5432&sslmode=disable".into()),
        (
            json!({ "addresses": ["a", "b:5433"] }),
            false,
            "a%2Cb&port=5432%2C5433&target_session_attrs=read-write&sslmode=verify-full".into(),
        ),
        (json!({ "address": "/run/postgresql" }), false, "%2Frun%2Fpostgresql&port=5432&sslmode=disable".into()),
        (json!({ "address": "/tmp/.s.PGSQL.5433" }), false, "%2Ftmp&port=5433&sslmode=disable".into()),
        (
            json!({ "address": "db", "parameters": { "default_query_exec_mode": "exec" } }),
            false,
            "db&port=5432&sslmode=verify-full&default_query_exec_mode=exec".into(),
        ),
    ] {
        let (endpoint, flags) = told("postgres", external, &credentials(files));
        assert_eq!(endpoint, format!("{login}{expected}"));
        assert!(flags.is_empty(), "{flags:?}");
    }
}

#[test]
fn mysql_takes_the_password_as_it_is() {
    let login = format!("mysql://kine:{PASSWORD}@");
    let files = ["ca-file=", "cert-file=", "key-file="];
    let names = ["ca.crt", "client.crt", "client.key"];
    let with_files: Vec<String> =
        files.iter().zip(names).map(|(flag, name)| format!("--{flag}/etc/etcdless/kine/db/main/{name}")).collect();
    let skipping = [with_files.clone(), vec!["--skip-verify=true".into()]].concat();
    for (external, tls, expected, flags) in [
        (json!({ "address": "db" }), false, "tcp(db:3306)/kine?tls=true&interpolateParams=true", &[][..]),
        (json!({ "address": "db:3307" }), true, "tcp(db:3307)/kine?interpolateParams=true", &with_files[..]),
        (
            json!({ "address": "fd00::1", "tls": { "mode": "encrypt" } }),
            false,
            "tcp([fd00::1]:3306)/kine?tls=skip-verify&interpolateParams=true",
            &[],
        ),
        (
            json!({ "address": "db", "tls": { "mode": "encrypt" } }),
            true,
            "tcp(db:3306)/kine?interpolateParams=true",
            &skipping,
        ),
        (
            json!({ "address": "/run/mysqld/mysqld.sock" }),
            false,
            "unix(/run/mysqld/mysqld.sock)/kine?interpolateParams=true",
            &[],
        ),
        (
            json!({ "address": "db", "tls": { "mode": "off" }, "parameters": { "collation": "a/b", "interpolateParams": "false" } }),
            false,
            "tcp(db:3306)/kine?collation=a%2Fb&interpolateParams=false",
            &[],
        ),
    ] {
        for engine in ["mysql", "mariadb"] {
            let found = told(engine, external.clone(), &credentials(tls));
            assert_eq!(found, (format!("{login}{expected}"), flags.to_vec()));
        }
    }
}

#[test]
fn a_dsn_is_of_the_engine_that_it_is_for() {
    let found = |document: serde_json::Value, dsn: &str| {
        let credentials = Credentials { dsn: Some(dsn.to_owned().into()), ..Credentials::default() };
        store("main", &datastore(document), 8, &credentials).map(|store| store.endpoint.expose_secret().to_owned())
    };
    let env = json!({ "dsn": { "env": "DSN" } });
    assert_eq!(found(json!({ "postgres": env }), "postgresql://a@b/c").unwrap(), "postgresql://a@b/c");
    assert_eq!(found(json!({ "mariadb": env }), "mysql://a@tcp(b)/c").unwrap(), "mysql://a@tcp(b)/c");
    assert_eq!(found(json!({ "other": env }), "nats://a").unwrap(), "nats://a");
    for (document, dsn, message) in [
        (json!({ "postgres": env }), "host=s3cret", "the DSN of the datastore has no `ENGINE://` at its start"),
        (
            json!({ "postgres": env }),
            "mysql://s3cret",
            "the DSN of the datastore starts with `mysql://`, and the engine takes `postgres://` or `postgresql://`",
        ),
    ] {
        assert_eq!(found(document, dsn).unwrap_err().message, message);
    }
}

#[test]
fn what_stands_for_a_dsn_is_one() {
    let env = json!({ "dsn": { "env": "DSN" } });
    for engine in ["postgres", "mysql", "mariadb", "other"] {
        let mut cluster = Cluster::of("demo".parse().unwrap(), Vec::new());
        cluster.spec.datastore = serde_json::from_value(json!({ engine: env })).unwrap();
        let stores = Stores::of(&cluster, &Credentials::placeholders(&cluster));
        assert!(stores.is_ok(), "{engine}: {stores:?}");
    }
}

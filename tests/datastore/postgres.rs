//! PostgreSQL.

use etcdless::config::credentials::Credentials;
use etcdless::datastore::check;
use serde_json::json;

use crate::certificates::Authority;
use crate::postgres_server::{PASSWORD, Pooler, Server, TABLE, credentials};
use crate::servers::{checked, free_port, names, until, wrong};
use crate::sshd::sshd;

/// Rows of kine's own.
const OWN_ROWS: &str = "INSERT INTO kine (name, created, deleted) VALUES ('compact_rev_key', 1, 0), ('/registry/health', 1, 0), ('gap-3', 0, 1)";

#[tokio::test]
async fn a_server_that_is_fit_passes_and_keeps_nothing() {
    let Some(server) = Server::start() else { return };
    for cluster in [
        server.cluster(json!({})),
        server.cluster(
            json!({ "address": server.path("").display().to_string() + &format!(".s.PGSQL.{}", server.port) }),
        ),
    ] {
        let report = checked(&cluster, &credentials()).await;
        assert_eq!(wrong(&report), [""; 0]);
        assert!(names(&report).ends_with(&["DatastoreTable", "DatastoreEncryption", "DatastoreLatency"]), "{report:?}");
        let latency = report.lines.last().unwrap();
        assert!(latency.detail.starts_with("round trip ") && latency.detail.contains(", commit "), "{latency:?}");
    }
    assert_eq!(server.relations(), "");
    let dsn = format!("postgres://kine:{}@localhost:{}/kine?sslmode=disable", "kine%27s%20canary%20%2541", server.port);
    let credentials = Credentials { dsn: Some(dsn.into()), ..Credentials::default() };
    let cluster = crate::servers::cluster(json!({ "postgres": { "dsn": { "env": "DSN" } } }));
    assert_eq!(wrong(&checked(&cluster, &credentials).await), [""; 0]);
}

#[tokio::test]
async fn who_may_not_log_in_is_told_why() {
    let Some(server) = Server::start() else { return };
    let port = server.port;
    let cluster = server.cluster(json!({}));
    let other = Credentials { password: Some("s3cret".to_owned().into()), ..Credentials::default() };
    let report = checked(&cluster, &other).await;
    assert_eq!(
        wrong(&report),
        [format!(
            "DatastoreLogin: localhost:{port} does not accept the password of `kine`: password authentication failed for user \"kine\"; \
             fix: `ALTER ROLE kine WITH LOGIN PASSWORD '...';` on the server, or the right secret in `password`"
        )]
    );
    assert_eq!(names(&report), ["DatastoreResolve", "DatastoreConnect", "DatastoreLogin"]);
    let failure = report.failure(|_| false).unwrap();
    assert_eq!(failure.kind as u8, 7);
    assert!(report.failure(|name| name == "DatastoreLogin").is_none());
    assert!(!format!("{report:?}").contains("s3cret"));

    let nobody = server.cluster(json!({ "database": "missing" }));
    assert_eq!(
        wrong(&checked(&nobody, &credentials()).await),
        [format!(
            "DatastoreDatabase: there is no database `missing` on localhost:{port}: kine's tables belong into one of their own; \
             fix: `CREATE DATABASE missing OWNER kine;` on the server"
        )]
    );

    server.sql("postgres", "REVOKE CONNECT ON DATABASE kine FROM public; REVOKE CONNECT ON DATABASE kine FROM kine");
    assert_eq!(
        wrong(&checked(&cluster, &credentials()).await),
        [
            "DatastorePrivileges: `kine` may not connect to the database `kine`: permission denied for database \"kine\"; \
          fix: `GRANT CONNECT ON DATABASE kine TO kine;` on the server"
        ]
    );
    server.sql("postgres", "GRANT CONNECT ON DATABASE kine TO kine; ALTER ROLE kine NOLOGIN");
    assert_eq!(
        wrong(&checked(&cluster, &credentials()).await),
        [format!(
            "DatastoreLogin: localhost:{port} does not let `kine` log in: role \"kine\" is not permitted to log in; \
             fix: `CREATE ROLE kine LOGIN PASSWORD '...';` on the server, or `ALTER ROLE kine LOGIN;` where it exists"
        )]
    );
    server.sql("postgres", "ALTER ROLE kine LOGIN");
    let hba = std::fs::read_to_string(server.path("data/pg_hba.conf")).unwrap();
    crate::servers::write(&server.path("data/pg_hba.conf"), "local all all trust\n");
    server.set(&[("log_disconnections", "on")]);
    let report = wrong(&checked(&cluster, &credentials()).await);
    let expected =
        format!("DatastoreLogin: localhost:{port} lets nobody in from here as `kine`: no pg_hba.conf entry for host ");
    assert!(report[0].starts_with(&expected), "{report:?}");
    let fixed = |address: &str| {
        format!(
            "fix: a line `host kine kine {address} scram-sha-256` in the server's pg_hba.conf, then `SELECT pg_reload_conf();`"
        )
    };
    assert!(report[0].ends_with(&fixed("127.0.0.1/32")) || report[0].ends_with(&fixed("::1/128")), "{report:?}");
    crate::servers::write(&server.path("data/pg_hba.conf"), &hba);
    server.set(&[("log_disconnections", "off")]);
    assert_eq!(wrong(&checked(&cluster, &credentials()).await), [""; 0]);
}

#[tokio::test]
async fn what_kine_may_not_do_is_told_with_the_grant() {
    let Some(server) = Server::start() else { return };
    server.sql("postgres", "ALTER DATABASE kine OWNER TO postgres");
    server.sql("kine", "REVOKE CREATE ON SCHEMA public FROM public");
    let cluster = server.cluster(json!({}));
    assert_eq!(
        wrong(&checked(&cluster, &credentials()).await),
        [
            "DatastorePrivileges: `kine` may not create tables in the schema `public` of `kine`: kine creates its table and indexes, and says \
          so again at every start; fix: `GRANT USAGE, CREATE ON SCHEMA public TO kine;` in the database `kine`"
        ]
    );
    server.sql("kine", "GRANT USAGE, CREATE ON SCHEMA public TO kine");
    assert_eq!(wrong(&checked(&cluster, &credentials()).await), [""; 0]);

    server.sql("kine", TABLE);
    server.sql("kine", "GRANT SELECT, INSERT, UPDATE, DELETE ON kine TO kine");
    assert_eq!(
        wrong(&checked(&cluster, &credentials()).await),
        [
            "DatastorePrivileges: the table public.kine belongs to `postgres`: kine creates missing indexes on it as `kine`, which only its \
          owner may; fix: `ALTER TABLE public.kine OWNER TO kine;` in the database `kine`"
        ]
    );
    server.sql("kine", "ALTER TABLE kine OWNER TO kine");
    server.sql("kine", "REVOKE DELETE ON kine FROM kine");
    assert_eq!(
        wrong(&checked(&cluster, &credentials()).await),
        ["DatastorePrivileges: `kine` may not DELETE on public.kine: kine does all of that; \
          fix: `GRANT DELETE ON public.kine TO kine;` in the database `kine`"]
    );
    server.sql("kine", "GRANT DELETE ON kine TO kine");
    assert_eq!(wrong(&checked(&cluster, &credentials()).await), [""; 0]);
    server.sql("postgres", "ALTER ROLE kine SET search_path = nowhere");
    assert_eq!(
        wrong(&checked(&cluster, &credentials()).await),
        [
            "DatastorePrivileges: no schema of search_path (nowhere) is there for `kine`: kine creates its table in the first one; \
          fix: `CREATE SCHEMA kine AUTHORIZATION kine; ALTER ROLE kine IN DATABASE kine SET search_path = kine;`"
        ]
    );
}

#[tokio::test]
async fn certificates_are_told_apart() {
    let Some(server) = Server::start() else { return };
    let (good, other) = (Authority::new("good CA"), Authority::new("other CA"));
    let port = server.port;
    let cluster = server.cluster(json!({ "tls": { "ca": "/ca.pem" } }));
    let with = |ca: &Authority| Credentials { ca: Some(ca.pem.clone()), ..credentials() };
    assert_eq!(
        wrong(&checked(&cluster, &with(&good)).await),
        [format!(
            "DatastoreTLS: localhost:{port} speaks no TLS: the connection is to be encrypted; \
             fix: `ALTER SYSTEM SET ssl = on` with ssl_cert_file and ssl_key_file set, then reload; or tls.mode: off"
        )]
    );
    server.certificate("good", good.sign("db", &["localhost"], 30));
    let report = checked(&cluster, &with(&good)).await;
    assert_eq!(wrong(&report), [""; 0]);
    let tls = report.lines.iter().find(|line| line.name == "DatastoreTLS").unwrap();
    assert!(tls.detail.starts_with("TLS 1.3, the certificate names localhost, good until "), "{tls:?}");
    assert_eq!(
        wrong(&checked(&cluster, &with(&other)).await),
        [
            "DatastoreTLS: the certificate of localhost was signed by `CN=good CA`, which is not in tls.ca: kine verifies the server's \
          certificate and would refuse it; fix: tls.ca: the PEM file of that authority"
        ]
    );
    assert_eq!(
        wrong(&checked(&cluster, &credentials()).await),
        [
            "DatastoreTLS: the certificate of localhost was signed by `CN=good CA`, which the host does not trust: kine verifies the server's \
          certificate and would refuse it; fix: tls.ca: the PEM file of that authority"
        ]
    );
    server.certificate("named", good.sign("localhost", &["db.example.com", "192.0.2.7"], 30));
    assert_eq!(
        wrong(&checked(&cluster, &with(&good)).await),
        [
            "DatastoreTLS: the certificate of localhost names db.example.com, 192.0.2.7: kine verifies that it names the address; \
          fix: use one of these names as the address, or give the server a certificate that names localhost"
        ]
    );
    server.certificate("nameless", good.sign("localhost", &[], 30));
    let found = wrong(&checked(&cluster, &with(&good)).await);
    assert!(
        found[0].contains("names nothing: it has no subjectAltName, and `CN=localhost` does not count"),
        "{found:?}"
    );
    server.certificate("expired", good.sign("db", &["localhost"], -1));
    let found = wrong(&checked(&cluster, &with(&good)).await);
    assert!(found[0].starts_with("DatastoreTLS: the certificate of localhost has expired on "), "{found:?}");
    let encrypt = server.cluster(json!({ "tls": { "mode": "encrypt" } }));
    assert_eq!(wrong(&checked(&encrypt, &credentials()).await), [""; 0]);

    server.certificate("again", good.sign("db", &["localhost"], 30));
    let authority = server.path("clients.crt");
    crate::servers::write(&authority, &good.pem);
    crate::servers::write(&server.path("data/pg_hba.conf"), "local all all trust\nhostssl all all all cert\n");
    server.set(&[("ssl_ca_file", &authority.display().to_string())]);
    let report = wrong(&checked(&cluster, &with(&good)).await);
    assert!(report[0].contains("connection requires a valid client certificate"), "{report:?}");
    let (cert, key) = good.sign("kine", &[], 30);
    let mine =
        Credentials { ca: Some(good.pem.clone()), cert: Some(cert), key: Some(key.into()), ..Credentials::default() };
    assert_eq!(wrong(&checked(&cluster, &mine).await), [""; 0]);
}

#[tokio::test]
async fn a_server_that_takes_no_writes_is_refused() {
    let Some(server) = Server::start() else { return };
    let cluster = server.cluster(json!({}));
    server.set(&[("default_transaction_read_only", "on")]);
    assert_eq!(
        wrong(&checked(&cluster, &credentials()).await),
        [
            "DatastoreWritable: transactions of `kine` are read-only: default_transaction_read_only is on, for the server, the database or \
          the role; fix: `ALTER ROLE kine IN DATABASE kine SET default_transaction_read_only = off;` on the server"
        ]
    );
    server.set(&[("default_transaction_read_only", "off")]);
    let Some(standby) = server.standby() else { return };
    let standing_by = "DatastoreWritable: the server is a standby: pg_is_in_recovery() is true, so it takes no writes; \
                       fix: name the primary as the address, or all servers under `addresses`";
    assert_eq!(wrong(&checked(&standby.cluster(json!({})), &credentials()).await), [standing_by]);

    // With both named, the standby is nothing to stop at; without the primary it is.
    let both = |ports: [u16; 2]| {
        let addresses = ports.map(|port| format!("localhost:{port}"));
        let mut cluster = serde_json::to_value(server.cluster(json!({}))).unwrap();
        cluster["spec"]["datastore"]["postgres"]["external"]["addresses"] = json!(addresses);
        cluster["spec"]["datastore"]["postgres"]["external"].as_object_mut().unwrap().remove("address");
        serde_json::from_value(cluster).unwrap()
    };
    let report = checked(&both([standby.port, server.port]), &credentials()).await;
    assert!(report.failure(|_| false).is_none(), "{report:?}");
    assert_eq!(wrong(&report), [standing_by]);
    let report = checked(&both([standby.port, free_port()]), &credentials()).await;
    assert!(report.failure(|_| false).unwrap().details[0].contains(standing_by.split_once(": ").unwrap().1));
}

#[tokio::test]
async fn connections_are_counted() {
    let Some(server) = Server::start() else { return };
    let mut cluster = server.cluster(json!({}));
    cluster.spec.kine.pool = 8;
    server.sql("postgres", "ALTER ROLE kine CONNECTION LIMIT 5");
    server.sql("postgres", "ALTER DATABASE kine CONNECTION LIMIT 7");
    assert_eq!(
        wrong(&checked(&cluster, &credentials()).await),
        [
            "DatastoreConnections: the role `kine` allows 5 connections and has 0 in use, so 5 are left: kine opens up to 8 (8 for each of \
             1 control plane); fix: `ALTER ROLE kine CONNECTION LIMIT 8;`; or --set kine.pool=5",
            "DatastoreConnections: the database `kine` allows 7 connections and has 0 in use, so 7 are left: kine opens up to 8 (8 for each \
             of 1 control plane); fix: `ALTER DATABASE kine CONNECTION LIMIT 8;`; or --set kine.pool=7",
        ]
    );
    server.sql("postgres", "ALTER ROLE kine CONNECTION LIMIT -1; ALTER DATABASE kine CONNECTION LIMIT -1");
    let mut many = cluster.clone();
    many.spec.kine.pool = 200;
    assert_eq!(
        wrong(&checked(&many, &credentials()).await),
        [
            "DatastoreConnections: the server allows 100 connections, reserves 3 and has 0 in use, so 97 are left: kine opens up to 200 (200 \
          for each of 1 control plane); fix: `ALTER SYSTEM SET max_connections = 203;` and a restart of the server; or --set kine.pool=97"
        ]
    );
    assert_eq!(wrong(&checked(&cluster, &credentials()).await), [""; 0]);
}

#[tokio::test]
async fn every_store_of_a_cluster_is_checked() {
    let Some(server) = Server::start() else { return };
    let mut cluster = server.cluster(json!({}));
    let mut shard = serde_json::to_value(&cluster).unwrap()["spec"]["datastore"].clone();
    shard["postgres"]["external"]["database"] = json!("events");
    let shard = json!({ "name": "events", "resources": ["events"], "datastore": shard });
    cluster.spec.shards = vec![serde_json::from_value(shard).unwrap()];
    let both = [credentials(), credentials()];
    let host = crate::servers::local().await;
    let report = check::check(&host, &cluster, &both, false).await.unwrap();
    assert_eq!(
        wrong(&report),
        [format!(
            "DatastoreDatabase: events: there is no database `events` on localhost:{}: kine's tables belong into one of their own; \
             fix: `CREATE DATABASE events OWNER kine;` on the server",
            server.port
        )]
    );
    server.sql("postgres", "CREATE DATABASE events OWNER kine");
    assert_eq!(wrong(&check::check(&host, &cluster, &both, false).await.unwrap()), [""; 0]);
    cluster.spec.kine.pool = 60;
    let found = wrong(&check::check(&host, &cluster, &both, false).await.unwrap());
    let expected = "main: the server allows 100 connections, reserves 3 and has 0 in use, so 97 are left: kine opens up to 120 (60 for each \
                    of 1 control plane and 2 stores); fix: `ALTER SYSTEM SET max_connections = 123;` and a restart of the server; or --set \
                    kine.pool=48";
    assert_eq!(found[0], format!("DatastoreConnections: {expected}"));
    assert_eq!(found.len(), 2);

    // What the cluster's kines have open already is theirs, whichever store it is for; before there is a cluster it is somebody else's.
    cluster.spec.kine.pool = 40;
    let held: Vec<_> =
        std::iter::repeat_with(|| server.login("SELECT pg_sleep(60)").spawn().unwrap()).take(20).collect();
    let open = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'kine' AND query LIKE '%pg_sleep(60)'";
    until("the connections do not open", &server.path("log"), || server.sql("postgres", open).trim() == "20");
    let [theirs, ours] = [false, true].map(|ours| check::check(&host, &cluster, &both, ours));
    assert_eq!(wrong(&theirs.await.unwrap()).len(), 2);
    assert_eq!(wrong(&ours.await.unwrap()), [""; 0]);
    server.sql(
        "postgres",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)' AND usename = 'kine'",
    );
    for mut process in held {
        process.wait().unwrap();
    }
}

#[tokio::test]
async fn a_table_is_empty_or_ours_and_sorted_by_bytes() {
    let Some(server) = Server::start() else { return };
    let cluster = server.cluster(json!({}));
    server.sql("kine", &format!("SET ROLE kine; {}", TABLE.replace("COLLATE \"C\"", "COLLATE \"en-x-icu\"")));
    server.sql("kine", OWN_ROWS);
    assert_eq!(
        wrong(&checked(&cluster, &credentials()).await),
        [
            "DatastoreCollation: the column `name` of public.kine is sorted as in en-x-icu: kine lists names by their bytes, so indexes are \
          not used and pages of a list may lack objects; fix: `ALTER TABLE public.kine ALTER COLUMN name TYPE text COLLATE \"C\";`, which \
          writes the table anew"
        ]
    );
    server.sql("kine", "ALTER TABLE public.kine ALTER COLUMN name TYPE text COLLATE \"C\"");
    assert_eq!(wrong(&checked(&cluster, &credentials()).await), [""; 0]);

    server.sql(
        "kine",
        "INSERT INTO kine (name, created, deleted, value) VALUES ('/registry/namespaces/kube-system', 1, 0, \
         convert_to('k8s...*$0f3e4b6a-1111-4222-8333-abcdefabcdef2', 'UTF8')), ('/registry/pods/a/b', 1, 0, ''), ('/registry/pods/a/b', 0, 0, '')",
    );
    assert_eq!(
        wrong(&checked(&cluster, &credentials()).await),
        [
            "DatastoreTable: kine holds 2 objects of another cluster: this host runs no cluster of ours, so they are not this cluster's; they \
          are those of the cluster whose kube-system is 0f3e4b6a-1111-4222-8333-abcdefabcdef; fix: give this cluster a database of its own; \
          if nothing of that cluster is needed: `DROP TABLE kine;`"
        ]
    );
    let ours = check::check(&crate::servers::local().await, &cluster, &[credentials()], true).await.unwrap();
    assert_eq!(wrong(&ours), [""; 0]);
    server.sql("kine", "DROP TABLE kine; CREATE TABLE kine (a int); ALTER TABLE kine OWNER TO kine");
    let found = wrong(&checked(&cluster, &credentials()).await);
    assert!(
        found[0].starts_with("DatastoreTable: kine has a table `kine` that is not kine's: column \"name\""),
        "{found:?}"
    );
}

#[tokio::test]
async fn slow_commits_are_a_warning() {
    let Some(server) = Server::start() else { return };
    server.set(&[("commit_siblings", "0"), ("commit_delay", "30000"), ("fsync", "on")]);
    let report = checked(&server.cluster(json!({})), &credentials()).await;
    let latency = report.lines.last().unwrap();
    assert!(latency.text().starts_with("a commit takes ") && !latency.is_error(), "{latency:?}");
    assert!(report.failure(|_| false).is_none());
}

#[tokio::test]
async fn poolers_go_together_with_prepared_statements_or_are_refused() {
    let Some(server) = Server::start() else { return };
    let Some(pooler) = Pooler::start(&server, "transaction") else { return };
    let through = |pooler: &Pooler, changes: serde_json::Value| {
        let mut all = json!({ "address": format!("localhost:{}", pooler.port) });
        all.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        server.cluster(all)
    };
    let found = wrong(&checked(&through(&pooler, json!({})), &credentials()).await);
    assert_eq!(
        found,
        [
            "DatastorePooling: a pooler lends one backend to several connections, and prepared statements get mixed up: kine prepares its \
          statements (prepared statement \"sqlx_s_1\" already exists); fix: pool_mode = session for this database in pgbouncer.ini; or \
          PgBouncer 1.21 or newer with max_prepared_statements = 200; or `parameters: { default_query_exec_mode: exec }` for kine"
        ]
    );
    let unnamed = json!({ "parameters": { "default_query_exec_mode": "exec" } });
    assert_eq!(wrong(&checked(&through(&pooler, unnamed), &credentials()).await), [""; 0]);
    let wrong_password = Credentials { password: Some("s3cret".to_owned().into()), ..Credentials::default() };
    let found = wrong(&checked(&through(&pooler, json!({})), &wrong_password).await);
    assert!(found.len() == 1 && found[0].starts_with("DatastoreLogin: "), "{found:?}");
    let Some(session) = Pooler::start(&server, "session") else { return };
    assert_eq!(wrong(&checked(&through(&session, json!({})), &credentials()).await), [""; 0]);
}

#[tokio::test]
async fn a_host_over_ssh_sees_its_server_and_its_name_is_verified() {
    let (Some(server), Some(sshd)) = (Server::start(), sshd()) else { return };
    let authority = Authority::new("CA");
    server.certificate("good", authority.sign("db", &["localhost"], 30));
    let credentials = Credentials { ca: Some(authority.pem.clone()), ..credentials() };
    let host = sshd.connect().await;
    let report = async |address: String| {
        let cluster = server.cluster(json!({ "address": address, "tls": { "ca": "/ca.pem" } }));
        check::check(&host, &cluster, std::slice::from_ref(&credentials), false).await.unwrap()
    };
    let fit = report(format!("localhost:{}", server.port)).await;
    assert_eq!(wrong(&fit), [""; 0]);
    assert_eq!(
        wrong(&report(format!("127.0.0.1:{}", server.port)).await),
        [
            "DatastoreTLS: the certificate of 127.0.0.1 names localhost: kine verifies that it names the address; fix: use one of these \
          names as the address, or give the server a certificate that names 127.0.0.1"
        ]
    );
    let found = wrong(&report("nowhere.invalid".into()).await);
    assert!(found[0].starts_with("DatastoreResolve: nowhere.invalid has no address on 127.0.0.1: "), "{found:?}");
    let closed = free_port();
    let found = wrong(&report(format!("localhost:{closed}")).await);
    assert!(
        found[0]
            .starts_with(&format!("DatastoreConnect: localhost:{closed} does not answer 127.0.0.1: Failed to connect")),
        "{found:?}"
    );
    let socket = server.path("").display().to_string() + &format!(".s.PGSQL.{}", server.port);
    let cluster = server.cluster(json!({ "address": socket }));
    let report = check::check(&host, &cluster, std::slice::from_ref(&credentials), false).await.unwrap();
    assert_eq!(wrong(&report), [""; 0]);
    assert_eq!(
        wrong(
            &check::check(
                &host,
                &server.cluster(json!({ "address": "/nowhere" })),
                std::slice::from_ref(&credentials),
                false
            )
            .await
            .unwrap()
        )
        .len(),
        1
    );
    assert!(!format!("{fit:?}").contains(PASSWORD));
}

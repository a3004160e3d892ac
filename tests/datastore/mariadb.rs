//! MariaDB, and with it what MySQL has in common.

use etcdless::config::credentials::Credentials;
use etcdless::datastore::check;
use serde_json::json;

use crate::certificates::Authority;
use crate::mariadb_server::{PASSWORD, Server, TABLE, credentials};
use crate::servers::{checked, names, wrong};
use crate::sshd::sshd;

#[tokio::test]
async fn a_server_that_is_fit_passes_and_keeps_nothing() {
    let Some(server) = Server::start(&[]).await else { return };
    for cluster in [server.cluster(json!({})), server.cluster(json!({ "address": server.path("sock") }))] {
        let report = checked(&cluster, &credentials()).await;
        assert_eq!(wrong(&report), [""; 0]);
        assert!(names(&report).ends_with(&["DatastoreTable", "DatastoreEncryption", "DatastoreLatency"]), "{report:?}");
        let latency = report.lines.last().unwrap();
        assert!(latency.detail.starts_with("round trip ") && latency.detail.contains(", commit "), "{latency:?}");
        assert!(!format!("{report:?}").contains(PASSWORD));
    }
    assert_eq!(server.tables().await, 0);
    let dsn = format!("mysql://kine:{PASSWORD}@tcp(localhost:{})/kine", server.port);
    let credentials = Credentials { dsn: Some(dsn.into()), ..Credentials::default() };
    let cluster = crate::servers::cluster(json!({ "mariadb": { "dsn": { "env": "DSN" } } }));
    assert_eq!(wrong(&checked(&cluster, &credentials).await), [""; 0]);
}

#[tokio::test]
async fn who_may_not_log_in_is_told_why() {
    let Some(server) = Server::start(&[]).await else { return };
    let (port, cluster) = (server.port, server.cluster(json!({})));
    let other = Credentials { password: Some("s3cret".to_owned().into()), ..Credentials::default() };
    let report = checked(&cluster, &other).await;
    assert_eq!(
        wrong(&report),
        [format!(
            "DatastoreLogin: localhost:{port} does not accept the login of `kine`: Access denied for user 'kine'@'127.0.0.1' (using \
             password: YES); fix: the right secret in `password`; or on the server `CREATE USER 'kine'@'127.0.0.1' IDENTIFIED BY '...';`, \
             or `ALTER USER` where it exists"
        )]
    );
    assert_eq!(report.failure(|_| false).unwrap().kind as u8, 7);
    assert!(!format!("{report:?}").contains("s3cret"));
    server.sql("GRANT ALL ON missing.* TO kine@'%'").await;
    assert_eq!(
        wrong(&checked(&server.cluster(json!({ "database": "missing" })), &credentials()).await),
        [format!(
            "DatastoreDatabase: there is no database `missing` on localhost:{port}: kine's table belongs into one of its own; \
             fix: `CREATE DATABASE `missing`;` on the server"
        )]
    );
    server.sql("REVOKE ALL ON kine.* FROM kine@'%'").await;
    assert_eq!(
        wrong(&checked(&cluster, &credentials()).await),
        [
            "DatastorePrivileges: `kine` may do nothing in `kine`: Access denied for user 'kine'@'%' to database 'kine'; fix: `CREATE \
          DATABASE IF NOT EXISTS `kine`; GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, INDEX, DROP ON `kine`.* TO 'kine'@'%';` on the \
          server"
        ]
    );
    server.sql("GRANT SELECT, INSERT, UPDATE, CREATE ON kine.* TO kine@'%'").await;
    assert_eq!(
        wrong(&checked(&cluster, &credentials()).await),
        [
            "DatastorePrivileges: `kine` may not DELETE, INDEX in `kine`: kine makes its table and indexes there, reads, writes and \
          compacts; fix: `GRANT DELETE, INDEX ON `kine`.* TO 'kine'@'%';` on the server"
        ]
    );
    server.sql("GRANT DELETE, INDEX ON kine.* TO kine@'%'").await;
    let report = checked(&cluster, &credentials()).await;
    assert_eq!(wrong(&report), [""; 0]);
    assert!(report.lines.last().unwrap().detail.ends_with("commits were not timed"), "{report:?}");
    server.sql("RENAME USER kine@'%' TO kine@'192.0.2.1'").await;
    let found = wrong(&checked(&cluster, &credentials()).await);
    assert!(found.len() == 1 && found[0].starts_with("DatastoreLogin: "), "{found:?}");
}

#[tokio::test]
async fn settings_that_kine_cannot_live_with_are_refused() {
    let Some(server) = Server::start(&[]).await else { return };
    let cluster = server.cluster(json!({}));
    for (setting, fit, expected) in [
        (
            "read_only = ON",
            "read_only = OFF",
            "DatastoreWritable: the server takes no writes: read_only is ON, as on a replica; fix: name the primary as the address; if \
             this is it: `SET GLOBAL read_only = OFF;`",
        ),
        (
            "auto_increment_increment = 2",
            "auto_increment_increment = 1",
            "DatastoreIncrement: automatic numbers go up by 2 (auto_increment_increment; the offset is 1): kine takes a gap in them for a \
             write that is still to come, and waits for it; fix: `SET GLOBAL auto_increment_increment = 1, GLOBAL auto_increment_offset = \
             1;`, and the same in the server's [mysqld] section",
        ),
        (
            "innodb_snapshot_isolation = ON",
            "innodb_snapshot_isolation = OFF",
            "DatastoreSnapshotIsolation: innodb_snapshot_isolation is ON: kine's compaction ends with `Record has changed since last \
             read` (error 1020); fix: `SET GLOBAL innodb_snapshot_isolation = OFF;`, and the same in the server's [mysqld] section",
        ),
        (
            "max_connections = 10",
            "max_connections = 151",
            "DatastoreConnections: the server allows 10 connections and has 0 in use, so 10 are left: kine opens up to 16 (16 for each of 1 \
             control plane); fix: `SET GLOBAL max_connections = 16;`, and the same in the server's [mysqld] section; or --set kine.pool=10",
        ),
    ] {
        server.sql(&format!("SET GLOBAL {setting}")).await;
        assert_eq!(wrong(&checked(&cluster, &credentials()).await), [expected]);
        server.sql(&format!("SET GLOBAL {fit}")).await;
        assert_eq!(wrong(&checked(&cluster, &credentials()).await), [""; 0]);
    }
    server.sql("ALTER USER kine@'%' WITH MAX_USER_CONNECTIONS 5").await;
    assert_eq!(
        wrong(&checked(&cluster, &credentials()).await),
        [
            "DatastoreConnections: the user `kine` may have 5 connections and has 0, so 5 are left: kine opens up to 16 (16 for each of 1 control \
          plane); fix: `ALTER USER 'kine'@'%' WITH MAX_USER_CONNECTIONS 16;`; or --set kine.pool=5"
        ]
    );
}

#[tokio::test]
async fn numbers_that_become_visible_out_of_order_are_warned_about() {
    let Some(server) = Server::start(&["--innodb-autoinc-lock-mode=2"]).await else { return };
    let report = checked(&server.cluster(json!({})), &credentials()).await;
    assert_eq!(
        wrong(&report),
        [
            "DatastoreIncrement: automatic numbers may become visible in another order than they are given out (innodb_autoinc_lock_mode is \
             2): under load kine takes a row that is late for a gap, and the API server answers `already exists` to who creates an object; \
             fix: `innodb_autoinc_lock_mode = 1` in the server's [mysqld] section, and a restart"
        ]
    );
    assert!(report.failure(|_| false).is_none());
}

#[tokio::test]
async fn a_galera_node_is_refused() {
    let settings = ["--wsrep-on=ON", "--wsrep-provider=none", "--binlog-format=ROW"];
    let Some(server) = Server::start(&settings).await else { return };
    assert_eq!(
        wrong(&checked(&server.cluster(json!({})), &credentials()).await),
        [
            "DatastoreGalera: the server is part of a Galera cluster (wsrep_on is ON): several servers give out numbers by themselves, and \
          kine needs every number once and without gaps; fix: use a server with ordinary replication; `wsrep_on = OFF` in the [mysqld] \
          section takes this one out of the cluster"
        ]
    );
}

#[tokio::test]
async fn a_table_of_another_cluster_is_refused() {
    let Some(server) = Server::start(&[]).await else { return };
    let cluster = server.cluster(json!({}));
    server.sql(TABLE).await;
    server
        .sql("INSERT INTO kine.kine (name, created, deleted) VALUES ('compact_rev_key', 1, 0), ('gap-2', 0, 1)")
        .await;
    assert_eq!(wrong(&checked(&cluster, &credentials()).await), [""; 0]);
    server
        .sql(
            "INSERT INTO kine.kine (name, created, deleted, value) VALUES ('/registry/namespaces/kube-system', 1, 0, \
             'k8s*$0f3e4b6a-1111-4222-8333-abcdefabcdef2')",
        )
        .await;
    assert_eq!(
        wrong(&checked(&cluster, &credentials()).await),
        [
            "DatastoreTable: kine holds 1 object of another cluster: this host runs no cluster of ours, so they are not this cluster's; they \
          are those of the cluster whose kube-system is 0f3e4b6a-1111-4222-8333-abcdefabcdef; fix: give this cluster a database of its own; \
          if nothing of that cluster is needed: `DROP TABLE kine;`"
        ]
    );
    let ours = check::check(&crate::servers::local().await, &cluster, &[credentials()], true).await.unwrap();
    assert_eq!(wrong(&ours), [""; 0]);
    server.sql("DROP TABLE kine.kine; CREATE TABLE kine.kine (a INT)").await;
    let found = wrong(&checked(&cluster, &credentials()).await);
    assert!(
        found[0].starts_with("DatastoreTable: kine has a table `kine` that is not kine's: Unknown column "),
        "{found:?}"
    );
}

#[tokio::test]
async fn certificates_are_told_apart_from_here_and_over_ssh() {
    let (good, other) = (Authority::new("good CA"), Authority::new("other CA"));
    let fit = || good.sign("db", &["localhost"], 30);
    let Some(server) = Server::start_with(&[], Some((fit(), &good.pem))).await else { return };
    let cluster = server.cluster(json!({ "tls": { "ca": "/ca.pem" } }));
    let with = |ca: &Authority| Credentials { ca: Some(ca.pem.clone()), ..credentials() };
    let report = checked(&cluster, &with(&good)).await;
    assert_eq!(wrong(&report), [""; 0]);
    assert!(names(&report).contains(&"DatastoreTLS"));
    assert_eq!(
        wrong(&checked(&cluster, &with(&other)).await),
        [
            "DatastoreTLS: the certificate of localhost was signed by `CN=good CA`, which is not in tls.ca: kine verifies the server's \
          certificate and would refuse it; fix: tls.ca: the PEM file of that authority"
        ]
    );
    if let Some(sshd) = sshd() {
        let host = sshd.connect().await;
        let report = check::check(&host, &cluster, &[with(&good)], false).await.unwrap();
        assert_eq!(wrong(&report), [""; 0]);
        let numeric =
            server.cluster(json!({ "address": format!("127.0.0.1:{}", server.port), "tls": { "ca": "/ca.pem" } }));
        let found = wrong(&check::check(&host, &numeric, &[with(&good)], false).await.unwrap());
        assert!(found[0].starts_with("DatastoreTLS: the certificate of 127.0.0.1 names localhost: "), "{found:?}");
    }
    server.certificate(good.sign("db", &["localhost"], -1)).await;
    let found = wrong(&checked(&cluster, &with(&good)).await);
    assert!(found[0].starts_with("DatastoreTLS: the certificate of localhost has expired on "), "{found:?}");
    server.certificate(fit()).await;
    server.sql("ALTER USER kine@'%' REQUIRE X509").await;
    let found = wrong(&checked(&cluster, &with(&good)).await);
    assert!(found[0].starts_with("DatastoreLogin: "), "{found:?}");
    let (cert, key) = good.sign("kine", &[], 30);
    let mine = Credentials { cert: Some(cert), key: Some(key.into()), ..with(&good) };
    assert_eq!(wrong(&checked(&cluster, &mine).await), [""; 0]);

    let Some(plain) = Server::start(&["--skip-ssl"]).await else { return };
    let cluster = plain.cluster(json!({ "tls": { "mode": "encrypt" } }));
    let found = wrong(&checked(&cluster, &credentials()).await);
    assert!(
        found[0].contains(" speaks no TLS: the connection is to be encrypted; fix: ssl_cert and ssl_key "),
        "{found:?}"
    );
}

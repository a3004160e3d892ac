#![expect(clippy::unwrap_used)]
use serde_json::json;

use super::super::super::target;
use super::*;
use crate::config::credentials::Credentials;
use crate::datastore::check::Account;

fn target() -> Target {
    let external = json!({ "postgres": { "external": { "address": "db", "database": "Kine-1", "user": "kine" } } });
    target::of(&serde_json::from_value(external).unwrap(), &Credentials::default()).unwrap().unwrap()
}

#[test]
fn refusals_name_the_check_and_the_statement() {
    let place = Place::Tcp { host: "db".into(), port: 5432 };
    for (code, message, expected) in [
        (
            Some("28000"),
            "no pg_hba.conf entry for host \"fd00::9\", user \"kine\", database \"Kine-1\", SSL encryption",
            "DatastoreLogin: db:5432 lets nobody in from here as `kine`: no pg_hba.conf entry for host \"fd00::9\", user \"kine\", \
             database \"Kine-1\", SSL encryption; fix: a line `hostssl Kine-1 kine fd00::9/128 scram-sha-256` in the server's pg_hba.conf, \
             then `SELECT pg_reload_conf();`",
        ),
        (
            Some("3D000"),
            "database \"Kine-1\" does not exist",
            "DatastoreDatabase: there is no database `Kine-1` on db:5432: kine's tables belong into one of their own; \
             fix: `CREATE DATABASE \"Kine-1\" OWNER kine;` on the server",
        ),
        (
            Some("53300"),
            "sorry, too many clients already",
            "DatastoreConnections: db:5432 has no connection left: sorry, too many clients already; fix: `ALTER SYSTEM SET max_connections \
             = N;` with a larger N and a restart, or end what holds them (pg_stat_activity)",
        ),
        (
            Some("08P01"),
            "no such database: Kine-1",
            "DatastoreDatabase: the pooler at db:5432 knows no database `Kine-1`: no such database: Kine-1; fix: a line `Kine-1 = host=... \
             port=5432` under [databases] in pgbouncer.ini",
        ),
        (
            Some("57P03"),
            "the database system is starting up",
            "DatastoreConnect: db:5432 refuses connections: the database system is starting up; fix: see the server's log",
        ),
        (
            None,
            "no answer within 10 s",
            "DatastoreConnect: db:5432 answers, but not as PostgreSQL does: no answer within 10 s; fix: see the server's log, and that \
             nothing else listens there",
        ),
    ] {
        let refusal = Refusal { code: code.map(str::to_owned), message: message.to_owned(), tls: false };
        let (name, finding) = refused(&refusal, &target(), &place);
        assert_eq!(format!("{name}: {finding}"), expected);
    }
    let refusal = Refusal { code: None, message: "received fatal alert: CertificateRequired".into(), tls: true };
    let (name, finding) = refused(&refusal, &target(), &place);
    assert_eq!(name, "DatastoreTLS");
    assert!(finding.fix.contains("tls.cert and tls.key"));
}

#[test]
fn identifiers_are_quoted_where_sql_wants_it() {
    let names = ["kine", "_k1", "Kine", "k-1", "1k", "a\"b"].map(quoted);
    assert_eq!(names, ["kine", "_k1", "\"Kine\"", "\"k-1\"", "\"1k\"", "\"a\"\"b\""]);
}

#[test]
fn our_own_connections_are_ours_to_use_again() {
    let seen = Seen {
        version_number: 150_018,
        version: "15.18".into(),
        in_recovery: false,
        read_only: false,
        schema: Some("public".into()),
        search_path: "public".into(),
        may_create: true,
        max_connections: 20,
        reserved: 3,
        in_use: 12,
        of_role: 8,
        of_database: 8,
        of_both: 8,
        of_stores: 8,
        role_limit: -1,
        database_limit: -1,
        table: None,
        content: Content::Empty,
        pooling: Pooling::Statements,
        round_trips: vec![1.0],
        commits: None,
    };
    const STORES: [Account<'_>; 1] = [Account { user: "kine", database: "kine" }];
    let text = |ours| {
        let lines = judge(&seen, &target(), Demand { pool: 8, control_planes: 1, stores: &STORES, ours });
        lines.iter().find(|line| line.name == "DatastoreConnections").unwrap().text()
    };
    assert_eq!(text(true), "kine opens up to 8 (8 for each of 1 control plane), and 13 are left");
    assert_eq!(
        text(false),
        "the server allows 20 connections, reserves 3 and has 12 in use, so 5 are left: kine opens up to 8 (8 for each of 1 control plane); \
         fix: `ALTER SYSTEM SET max_connections = 23;` and a restart of the server; or --set kine.pool=5"
    );
    let lines = judge(&seen, &target(), Demand { pool: 8, control_planes: 1, stores: &STORES, ours: false });
    let pooling = lines.iter().find(|line| line.name == "DatastorePooling").unwrap().text();
    assert_eq!(
        pooling,
        "a pooler allows no transactions: kine writes in transactions; fix: pool_mode = session for this database in pgbouncer.ini"
    );
}

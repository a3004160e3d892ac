//! `spec.datastore`: one server or several, names that need no quoting, TLS settings that go together.

use super::Violation;
use crate::config::{Cluster, Datastore, External, Server, ServerAddress, TlsMode};

const PATH: &str = "spec.datastore";

/// Parameters that etcdless sets itself, of all drivers.
const OURS: [&str; 13] = [
    "host",
    "port",
    "user",
    "password",
    "dbname",
    "database",
    "sslmode",
    "sslcert",
    "sslkey",
    "sslrootcert",
    "tls",
    "target_session_attrs",
    "allowCleartextPasswords",
];

pub(super) fn check(cluster: &Cluster) -> Vec<Violation> {
    match &cluster.spec.datastore {
        Datastore::Postgres(Server::External(external)) => [common(external, "postgres"), postgres(external)].concat(),
        Datastore::Mysql(Server::External(external)) => [common(external, "mysql"), mysql(external, "mysql")].concat(),
        Datastore::Mariadb(Server::External(external)) => {
            [common(external, "mariadb"), mysql(external, "mariadb")].concat()
        }
        _ => Vec::new(),
    }
}

fn at(engine: &str, field: &str) -> String {
    match field {
        "" => format!("{PATH}.{engine}.external"),
        field => format!("{PATH}.{engine}.external.{field}"),
    }
}

fn common(external: &External, engine: &str) -> Vec<Violation> {
    let mut broken = Vec::new();
    match (&external.address, external.addresses.is_empty()) {
        (None, true) => {
            broken.push(Violation::new(at(engine, ""), "the server has no address").suggest("add `address: HOST:PORT`"))
        }
        (Some(_), false) => broken.push(
            Violation::new(at(engine, "addresses"), "there is `address` as well as `addresses`")
                .suggest("keep one of them"),
        ),
        _ => {}
    }
    for (field, text) in [("database", &external.database), ("user", &external.user)] {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '$' | '.');
        if text.is_empty() || text.len() > 63 || !text.chars().all(plain) {
            broken.push(
                Violation::new(at(engine, field), format!("`{text}` is not a name that etcdless writes into SQL"))
                    .suggest("use 1 to 63 letters, digits, `_`, `-`, `.` or `$`"),
            );
        }
    }
    let tls = &external.tls;
    let socket = external.servers().any(|server| matches!(server, ServerAddress::Socket(_)));
    if tls.cert.is_some() != tls.key.is_some() {
        let (has, lacks) = if tls.cert.is_some() { ("cert", "key") } else { ("key", "cert") };
        broken.push(
            Violation::new(at(engine, &format!("tls.{has}")), format!("there is a `{has}` and no `{lacks}`"))
                .suggest(format!("add `{lacks}: FILE`")),
        );
    }
    let files = tls.ca.is_some() || tls.cert.is_some() || tls.key.is_some();
    if socket && files {
        broken.push(
            Violation::new(at(engine, "tls"), "a unix socket is not encrypted, so certificates have no use")
                .suggest("remove `tls`, or name the server by HOST:PORT"),
        );
    } else if files && tls.mode == TlsMode::Off {
        broken.push(
            Violation::new(at(engine, "tls.mode"), "there are certificates, and encryption is off")
                .suggest("remove `mode: off`"),
        );
    } else if tls.ca.is_some() && tls.mode == TlsMode::Encrypt {
        broken.push(
            Violation::new(at(engine, "tls.mode"), "there is a `ca`, and nothing is verified by it")
                .suggest("remove `mode: encrypt`"),
        );
    }
    for name in external.parameters.keys().filter(|name| OURS.contains(&name.as_str())) {
        broken.push(
            Violation::new(at(engine, &format!("parameters.{name}")), format!("`{name}` has a field of its own"))
                .suggest("use address, database, user, password or tls"),
        );
    }
    broken
}

fn postgres(external: &External) -> Vec<Violation> {
    let mut broken = Vec::new();
    if external.database.chars().any(|c| c.is_ascii_uppercase()) {
        broken.push(
            Violation::new(at("postgres", "database"), "kine writes the database's name in lower case")
                .suggest(format!("use `{}`", external.database.to_ascii_lowercase())),
        );
    }
    broken
}

/// go-sql-driver/mysql knows one server.
fn mysql(external: &External, engine: &str) -> Vec<Violation> {
    let several = (!external.addresses.is_empty()).then(|| {
        Violation::new(at(engine, "addresses"), "kine's driver for this engine takes one server")
            .suggest("use `address` with a DNS name or a proxy that leads to the server that may be written to")
    });
    several.into_iter().collect()
}

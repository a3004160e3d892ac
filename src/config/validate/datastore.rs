//! `spec.datastore`: one server or several, names that need no quoting, TLS settings that go together.

use super::Violation;
use crate::config::{Cluster, Datastore, External, Managed, ServerAddress, TlsMode};

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
    let main = engine("spec.datastore", &cluster.spec.datastore);
    let shards = cluster.spec.shards.iter().enumerate();
    let shards = shards.flat_map(|(index, shard)| engine(&format!("spec.shards[{index}].datastore"), &shard.datastore));
    main.into_iter().chain(shards).chain(same_database(cluster)).collect()
}

/// What holds for the servers of one engine.
type Rules = fn(&str, &External) -> Vec<Violation>;

fn engine(path: &str, datastore: &Datastore) -> Vec<Violation> {
    let (engine, rules): (&str, Rules) = match datastore {
        Datastore::Postgres(_) => ("postgres", postgres),
        Datastore::Mysql(_) => ("mysql", mysql),
        Datastore::Mariadb(_) => ("mariadb", mysql),
        Datastore::Sqlite(_) | Datastore::Other(_) => return Vec::new(),
    };
    if let Some(managed) = datastore.managed() {
        return partitions(&format!("{path}.{engine}.managed"), engine, managed);
    }
    match datastore.external() {
        Some(external) => {
            let path = format!("{path}.{engine}.external");
            [common(&path, external), rules(&path, external)].concat()
        }
        None => Vec::new(),
    }
}

/// Every statement that does not name a key looks into all partitions, so they are few.
fn partitions(path: &str, engine: &str, managed: &Managed) -> Vec<Violation> {
    const MOST: usize = 8;
    let folders = &managed.partitions;
    let mut broken = Vec::new();
    if !folders.is_empty() && engine != "postgres" {
        let message = "this engine cannot keep revisions unique in partitions";
        broken.push(Violation::new(at(path, "partitions"), message).suggest("remove it, or use `postgres`"));
    }
    if folders.len() > MOST {
        let message = format!("{} partitions make every statement slower", folders.len());
        broken.push(Violation::new(at(path, "partitions"), message).suggest(format!("name {MOST} at most")));
    }
    for (index, folder) in folders.iter().enumerate() {
        let at = at(path, &format!("partitions[{index}]"));
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
        if folder.is_empty() || folder.len() > 40 || !folder.chars().all(plain) {
            broken.push(
                Violation::new(at, format!("`{folder}` is no folder of keys"))
                    .suggest("write what follows /registry/ in the keys, such as `events`, `leases` or `pods`"),
            );
        } else if folders[..index].contains(folder) {
            broken.push(Violation::new(at, format!("`{folder}` is there already")).suggest("remove one"));
        }
    }
    broken
}

/// kine's table has one name, so two shards in one database would be one store.
fn same_database(cluster: &Cluster) -> Vec<Violation> {
    let place = |datastore: &Datastore| {
        let external = datastore.external()?;
        Some((external.servers().cloned().collect::<Vec<_>>(), external.database.clone()))
    };
    let places: Vec<_> = cluster.datastores().map(|(name, datastore)| (name, place(datastore))).collect();
    let mut broken = Vec::new();
    for (index, (name, place)) in places.iter().enumerate().skip(1) {
        if let Some((other, _)) = places[..index].iter().find(|(_, other)| place.is_some() && other == place) {
            let message = format!("`{name}` and `{other}` have the same database, and kine's table has one name");
            broken.push(
                Violation::new(format!("spec.shards[{}].datastore", index - 1), message)
                    .suggest("give each shard a database of its own"),
            );
        }
    }
    broken
}

fn at(path: &str, field: &str) -> String {
    if field.is_empty() { path.to_owned() } else { format!("{path}.{field}") }
}

fn common(path: &str, external: &External) -> Vec<Violation> {
    let mut broken = Vec::new();
    match (&external.address, external.addresses.is_empty()) {
        (None, true) => {
            broken.push(Violation::new(at(path, ""), "the server has no address").suggest("add `address: HOST:PORT`"))
        }
        (Some(_), false) => broken.push(
            Violation::new(at(path, "addresses"), "there is `address` as well as `addresses`")
                .suggest("keep one of them"),
        ),
        _ => {}
    }
    for (field, text) in [("database", &external.database), ("user", &external.user)] {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '$' | '.');
        if text.is_empty() || text.len() > 63 || !text.chars().all(plain) {
            broken.push(
                Violation::new(at(path, field), format!("`{text}` is not a name that etcdless writes into SQL"))
                    .suggest("use 1 to 63 letters, digits, `_`, `-`, `.` or `$`"),
            );
        }
    }
    let tls = &external.tls;
    let socket = external.servers().any(|server| matches!(server, ServerAddress::Socket(_)));
    if tls.cert.is_some() != tls.key.is_some() {
        let (has, lacks) = if tls.cert.is_some() { ("cert", "key") } else { ("key", "cert") };
        broken.push(
            Violation::new(at(path, &format!("tls.{has}")), format!("there is a `{has}` and no `{lacks}`"))
                .suggest(format!("add `{lacks}: FILE`")),
        );
    }
    let files = tls.ca.is_some() || tls.cert.is_some() || tls.key.is_some();
    if socket && files {
        broken.push(
            Violation::new(at(path, "tls"), "a unix socket is not encrypted, so certificates have no use")
                .suggest("remove `tls`, or name the server by HOST:PORT"),
        );
    } else if files && tls.mode == TlsMode::Off {
        broken.push(
            Violation::new(at(path, "tls.mode"), "there are certificates, and encryption is off")
                .suggest("remove `mode: off`"),
        );
    } else if tls.ca.is_some() && tls.mode == TlsMode::Encrypt {
        broken.push(
            Violation::new(at(path, "tls.mode"), "there is a `ca`, and nothing is verified by it")
                .suggest("remove `mode: encrypt`"),
        );
    }
    for name in external.parameters.keys().filter(|name| OURS.contains(&name.as_str())) {
        broken.push(
            Violation::new(at(path, &format!("parameters.{name}")), format!("`{name}` has a field of its own"))
                .suggest("use address, database, user, password or tls"),
        );
    }
    broken
}

fn postgres(path: &str, external: &External) -> Vec<Violation> {
    let mut broken = Vec::new();
    if external.database.chars().any(|c| c.is_ascii_uppercase()) {
        broken.push(
            Violation::new(at(path, "database"), "kine writes the database's name in lower case")
                .suggest(format!("use `{}`", external.database.to_ascii_lowercase())),
        );
    }
    broken
}

/// go-sql-driver/mysql knows one server.
fn mysql(path: &str, external: &External) -> Vec<Violation> {
    let several = (!external.addresses.is_empty()).then(|| {
        Violation::new(at(path, "addresses"), "kine's driver for this engine takes one server")
            .suggest("use `address` with a DNS name or a proxy that leads to the server that may be written to")
    });
    several.into_iter().collect()
}

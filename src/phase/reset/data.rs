//! What `reset` may do with a cluster's data: files of SQLite, and servers that etcdless keeps. Somebody else's server is left to them.

use super::Data;
use crate::config::{Cluster, Datastore, ServerEngine};
use crate::datastore::managed;
use crate::failure::{Failure, Kind};

/// Why the data cannot be dropped or put aside, with the statement that does it by hand. `hosts` are the labels of those that are taken apart.
pub fn refusal(cluster: &Cluster, data: Data, hosts: &[String]) -> Option<Failure> {
    if data == Data::Keep {
        return None;
    }
    cluster.datastores().find_map(|(shard, datastore)| one(cluster, shard, datastore, data, hosts))
}

fn one(cluster: &Cluster, shard: &str, datastore: &Datastore, data: Data, hosts: &[String]) -> Option<Failure> {
    if let Datastore::Sqlite(_) = datastore {
        return None;
    }
    let refused = |message: String| Failure::new(Kind::Usage, message);
    if let Some(managed) = datastore.managed() {
        let database = managed::database(cluster, shard);
        let named = hosts.iter().any(|host| host == managed.host.as_str());
        return match data {
            Data::Drop if named => None,
            Data::Drop => Some(
                refused(format!("the data of store `{shard}` is on {}, which is not among the hosts", managed.host))
                    .hint(format!("name it, too: --host {}", managed.host)),
            ),
            _ => Some(
                refused(format!(
                    "the data of store `{shard}` is on {}, and is not put aside by etcdless",
                    managed.host
                ))
                .hint(by_hand(datastore.engine(), &database, data)),
            ),
        };
    }
    let database = datastore.external().map_or("of the DSN", |external| external.database.as_str());
    Some(
        refused(format!(
            "the data of store `{shard}` is on a server that etcdless does not keep, so it is left to you"
        ))
        .hint("reset with --datastore keep")
        .hint(by_hand(datastore.engine(), database, data)),
    )
}

fn by_hand(engine: Option<ServerEngine>, database: &str, data: Data) -> String {
    let statement = match (data, engine) {
        (Data::Drop | Data::Keep, _) => "DROP TABLE kine;".to_owned(),
        // Its indexes and its sequence go with it; a renamed table's indexes would be in the way of a new one's.
        (Data::Rename, Some(ServerEngine::Postgres)) => {
            "CREATE SCHEMA before; ALTER TABLE kine SET SCHEMA before;".to_owned()
        }
        (Data::Rename, _) => "CREATE DATABASE kine_before; RENAME TABLE kine TO kine_before.kine;".to_owned(),
    };
    format!("then, in database `{database}`: {statement}")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test")]
    use super::*;
    use crate::config::Host;

    fn cluster(datastore: serde_json::Value) -> Cluster {
        let mut cluster = Cluster::of("my-demo".parse().unwrap(), vec![Host::at("192.0.2.11".parse().unwrap(), None)]);
        cluster.spec.datastore = serde_json::from_value(datastore).unwrap();
        cluster
    }

    #[test]
    fn only_sqlite_and_a_server_that_goes_too_are_dropped() {
        let managed = serde_json::json!({ "postgres": { "managed": { "host": "db" } } });
        let external = serde_json::json!({ "mariadb": { "external": { "address": "db.example.com", "database": "k", "user": "k" } } });
        let (cp, both) = (vec!["cp".to_owned()], vec!["cp".to_owned(), "db".to_owned()]);
        let sqlite = serde_json::json!({ "sqlite": {} });
        for (datastore, data, hosts, expected) in [
            (&sqlite, Data::Drop, &cp, None),
            (&sqlite, Data::Rename, &cp, None),
            (&external, Data::Keep, &cp, None),
            (&external, Data::Drop, &cp, Some("then, in database `k`: DROP TABLE kine;")),
            (
                &external,
                Data::Rename,
                &cp,
                Some("then, in database `k`: CREATE DATABASE kine_before; RENAME TABLE kine TO kine_before.kine;"),
            ),
            (&managed, Data::Drop, &both, None),
            (&managed, Data::Drop, &cp, Some("name it, too: --host db")),
            (
                &managed,
                Data::Rename,
                &both,
                Some("then, in database `my_demo_main`: CREATE SCHEMA before; ALTER TABLE kine SET SCHEMA before;"),
            ),
        ] {
            let hint =
                refusal(&cluster(datastore.clone()), data, hosts).and_then(|failure| failure.hints.last().cloned());
            assert_eq!(hint.as_deref(), expected, "{datastore} {data:?}");
        }
    }
}

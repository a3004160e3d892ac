//! One file an engine. Each says what kine is told of a store, and what a host must have for it.

pub mod backup;
pub mod check;
pub mod copy;
pub mod explore;
pub mod managed;
pub mod mysql;
pub mod postgres;
pub mod sqlite;
pub mod status;
pub mod upkeep;
pub mod value;

use secrecy::SecretString;

use crate::config::credentials::Credentials;
use crate::config::{Cluster, Datastore, Server};
use crate::failure::{Failure, Kind};
use crate::op::File;

/// The folder of certificates and keys that kine shows to a server; one folder a shard. Root's alone.
pub const FILES: &str = "/etc/etcdless/kine/db";

/// What kine is told of a store.
#[derive(Debug, Clone)]
pub struct Store {
    /// kine's `--endpoint`; it may hold a password.
    pub endpoint: SecretString,
    /// Further flags of kine's.
    pub flags: Vec<String>,
    /// Certificates and keys for the server, by where they belong on a control plane.
    pub files: Vec<File>,
    /// A folder beside kine's own that kine opens a unix socket in.
    pub socket_folder: Option<String>,
}

impl Store {
    /// A store that is an endpoint and nothing else.
    pub fn of(endpoint: impl Into<SecretString>) -> Self {
        Self { endpoint: endpoint.into(), flags: Vec::new(), files: Vec::new(), socket_folder: None }
    }
}

/// What each kine of a cluster is told: by the shard's name, `main` first.
#[derive(Debug, Clone)]
pub struct Stores(Vec<(String, Store)>);

impl Stores {
    /// Of every datastore of the cluster; `credentials` are in the order of [`Cluster::datastores`].
    pub fn of(cluster: &Cluster, credentials: &[Credentials]) -> Result<Self, Failure> {
        let told = |((shard, datastore), credentials): ((&str, &Datastore), &Credentials)| {
            let store = store(shard, datastore, cluster.spec.kine.pool, credentials)?;
            Ok((shard.to_owned(), store))
        };
        cluster.datastores().zip(credentials).map(told).collect::<Result<_, _>>().map(Self)
    }

    /// Every shard's name and store.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Store)> {
        self.0.iter().map(|(shard, store)| (shard.as_str(), store))
    }
}

/// What kine is told of a store.
fn store(shard: &str, datastore: &Datastore, pool: u16, credentials: &Credentials) -> Result<Store, Failure> {
    let mut store = match datastore {
        Datastore::Sqlite(_) => return Ok(Store::of(sqlite::endpoint(shard))),
        Datastore::Postgres(Server::External(external)) => postgres::store(shard, external, credentials),
        Datastore::Mysql(Server::External(external)) | Datastore::Mariadb(Server::External(external)) => {
            mysql::store(shard, external, credentials)
        }
        Datastore::Postgres(Server::Dsn(_)) => dsn(credentials, &["postgres", "postgresql"])?,
        Datastore::Mysql(Server::Dsn(_)) | Datastore::Mariadb(Server::Dsn(_)) => dsn(credentials, &["mysql"])?,
        Datastore::Other(_) => dsn(credentials, &[])?,
        Datastore::Postgres(Server::Managed(managed))
        | Datastore::Mysql(Server::Managed(managed))
        | Datastore::Mariadb(Server::Managed(managed)) => {
            return Err(Failure::new(Kind::Internal, format!("the server on {} was not looked at", managed.host)));
        }
    };
    // kine's own default is unlimited, which a server answers with "too many connections" under load.
    store.flags.push(format!("--datastore-max-open-connections={pool}"));
    store.flags.push(format!("--datastore-max-idle-connections={pool}"));
    Ok(store)
}

/// A DSN as it is. `schemes` are those of the engine; none where any will do.
fn dsn(credentials: &Credentials, schemes: &[&str]) -> Result<Store, Failure> {
    use secrecy::ExposeSecret;
    let dsn = credentials.dsn.clone().unwrap_or_default();
    let scheme = dsn.expose_secret().split_once("://").map(|(scheme, _)| scheme);
    let wrong = |message: String| Err(Failure::new(Kind::Config, message));
    match scheme {
        None => wrong("the DSN of the datastore has no `ENGINE://` at its start".into()),
        Some(scheme) if !schemes.is_empty() && !schemes.contains(&scheme) => wrong(format!(
            "the DSN of the datastore starts with `{scheme}://`, and the engine takes `{}://`",
            schemes.join("://` or `")
        )),
        Some(_) => Ok(Store::of(dsn)),
    }
}

/// The folder of a shard's certificates.
pub(crate) fn folder(shard: &str) -> String {
    format!("{FILES}/{shard}")
}

/// Certificates and keys as files of a shard.
fn files(shard: &str, credentials: &Credentials) -> Vec<File> {
    use secrecy::ExposeSecret;
    let folder = folder(shard);
    let public = |name: &str, text: &Option<String>| {
        text.as_ref().map(|text| File::new(format!("{folder}/{name}"), 0o600, text.as_str()))
    };
    let key = credentials.key.as_ref().filter(|_| !credentials.key_apart);
    let key = key.map(|key| File::secret(format!("{folder}/client.key"), 0o600, key.expose_secret()));
    public("ca.crt", &credentials.ca).into_iter().chain(public("client.crt", &credentials.cert)).chain(key).collect()
}

/// Percent-encoding of everything that is not unreserved (RFC 3986), as URLs and query strings alike take it.
fn percent_encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests;

//! What is to be checked: an external server's description, or what a DSN amounts to.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};

use super::super::postgres;
use super::dsn;
use crate::config::credentials::Credentials;
use crate::config::{self, Datastore, External, ServerAddress, ServerEngine as Engine, TlsMode};
use crate::failure::Finding;
use crate::remote::forward::Place;

/// How much of the server's identity the connection makes sure of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::datastore) enum Security {
    /// Never encrypted.
    Off,
    /// Encrypted if the server can; a driver's default, which only a DSN leaves in place.
    Prefer,
    /// Encrypted, whoever answers.
    Encrypt,
    /// Encrypted and verified.
    Verify,
}

/// A server, or several of which one takes writes, and how to log in.
#[derive(Debug, Clone)]
pub(in crate::datastore) struct Target {
    pub(in crate::datastore) engine: Engine,
    pub(in crate::datastore) servers: Vec<Place>,
    pub(in crate::datastore) database: String,
    pub(in crate::datastore) user: String,
    pub(in crate::datastore) password: Option<SecretString>,
    pub(in crate::datastore) security: Security,
    pub(in crate::datastore) ca: Option<String>,
    pub(in crate::datastore) cert: Option<String>,
    pub(in crate::datastore) key: Option<SecretString>,
    pub(in crate::datastore) parameters: BTreeMap<String, String>,
}

/// What there is to check; nothing for SQLite. The error is the warning where it cannot be known.
pub(in crate::datastore) fn of(datastore: &Datastore, credentials: &Credentials) -> Result<Option<Target>, Finding> {
    let (engine, server) = match datastore {
        Datastore::Sqlite(_) => return Ok(None),
        Datastore::Postgres(server) => (Engine::Postgres, server),
        Datastore::Mysql(server) => (Engine::Mysql, server),
        Datastore::Mariadb(server) => (Engine::Mariadb, server),
        Datastore::Other(_) => {
            return Err(Finding::warning(
                "the store is of an engine that etcdless does not know",
                "whether it can be reached, written to and holds no other cluster is unchecked",
                "see that the DSN works where the control planes are before you go on",
            ));
        }
    };
    match server {
        // Looked at through what it is resolved to.
        config::Server::Managed(_) => Ok(None),
        config::Server::External(external) => Ok(Some(external_server(engine, external, credentials))),
        config::Server::Dsn(_) => {
            let text = credentials.dsn.as_ref().map(ExposeSecret::expose_secret).unwrap_or_default();
            let parsed = match engine {
                Engine::Postgres => dsn::postgres(text),
                Engine::Mysql | Engine::Mariadb => dsn::mysql(engine, text),
            };
            parsed.map(Some).map_err(|why| {
                Finding::warning(
                    format!("the DSN is one that etcdless cannot take apart: {why}"),
                    "nothing about the server is checked, and kine gets the DSN as it is",
                    "describe the server under `external`, which has a field for everything that is in a DSN",
                )
            })
        }
    }
}

fn external_server(engine: Engine, external: &External, credentials: &Credentials) -> Target {
    Target {
        engine,
        servers: external.servers().map(|server| place(engine, server)).collect(),
        database: external.database.clone(),
        user: external.user.clone(),
        password: credentials.password.clone(),
        security: match external.tls.mode {
            TlsMode::Off => Security::Off,
            TlsMode::Encrypt => Security::Encrypt,
            TlsMode::Verify => Security::Verify,
        },
        ca: credentials.ca.clone(),
        cert: credentials.cert.clone(),
        key: credentials.key.clone(),
        parameters: external.parameters.clone(),
    }
}

/// Where a server is, with the engine's own port and name of a socket filled in.
pub(super) fn place(engine: Engine, server: &ServerAddress) -> Place {
    match (server, engine) {
        (ServerAddress::Tcp { host, port }, _) => {
            let port = port.unwrap_or(engine.port());
            Place::Tcp { host: host.clone(), port }
        }
        (ServerAddress::Socket(path), Engine::Postgres) => {
            let (folder, port) = postgres::socket(path);
            Place::Socket(format!("{folder}/.s.PGSQL.{port}"))
        }
        (ServerAddress::Socket(path), _) => Place::Socket(path.clone()),
    }
}

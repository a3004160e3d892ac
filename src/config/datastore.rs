//! `spec.datastore` and `spec.shards`: which SQL database holds the state, and by what it is reached. Secrets are references, never values.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DnsLabel, Empty, ServerAddress};

/// The SQL database that holds the state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Datastore {
    /// A file on the one control plane, opened by kine itself.
    Sqlite(Empty),
    /// PostgreSQL.
    Postgres(Server),
    /// MySQL.
    Mysql(Server),
    /// MariaDB.
    Mariadb(Server),
    /// Another engine of kine's, by its DSN: nothing about it is checked.
    Other(Dsn),
}

impl Default for Datastore {
    fn default() -> Self {
        Self::Sqlite(Empty {})
    }
}

impl Datastore {
    /// The engine, where it is one that runs as a server and that etcdless knows.
    pub fn engine(&self) -> Option<ServerEngine> {
        match self {
            Self::Postgres(_) => Some(ServerEngine::Postgres),
            Self::Mysql(_) => Some(ServerEngine::Mysql),
            Self::Mariadb(_) => Some(ServerEngine::Mariadb),
            Self::Sqlite(_) | Self::Other(_) => None,
        }
    }

    /// The server that etcdless keeps itself, if it is one.
    pub fn managed(&self) -> Option<&Managed> {
        match self {
            Self::Postgres(Server::Managed(managed))
            | Self::Mysql(Server::Managed(managed))
            | Self::Mariadb(Server::Managed(managed)) => Some(managed),
            _ => None,
        }
    }

    /// The server, where it is described by its parts.
    pub fn external(&self) -> Option<&External> {
        match self {
            Self::Postgres(Server::External(external))
            | Self::Mysql(Server::External(external))
            | Self::Mariadb(Server::External(external)) => Some(external),
            _ => None,
        }
    }

    /// Every file of the operator's that it names.
    pub(super) fn files_mut(&mut self) -> Vec<&mut PathBuf> {
        match self {
            Self::Sqlite(_) => Vec::new(),
            Self::Postgres(server) | Self::Mysql(server) | Self::Mariadb(server) => match server {
                Server::External(external) => {
                    let Tls { ca, cert, key, mode: _ } = &mut external.tls;
                    [ca.as_mut(), cert.as_mut(), key.as_mut(), external.password.as_mut().and_then(SecretRef::file_mut)]
                        .into_iter()
                        .flatten()
                        .collect()
                }
                Server::Dsn(reference) => reference.file_mut().into_iter().collect(),
                Server::Managed(_) => Vec::new(),
            },
            Self::Other(other) => other.dsn.file_mut().into_iter().collect(),
        }
    }
}

/// How a database server is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Server {
    /// One that etcdless installs and keeps on a host of its own.
    Managed(Managed),
    /// One that somebody else keeps.
    External(Box<External>),
    /// One that somebody else keeps, described by the text that kine's `--endpoint` takes.
    Dsn(SecretRef),
}

/// The engines that run as a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServerEngine {
    /// PostgreSQL.
    Postgres,
    /// MySQL.
    Mysql,
    /// MariaDB.
    Mariadb,
}

impl ServerEngine {
    /// As its makers write it.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Postgres => "PostgreSQL",
            Self::Mysql => "MySQL",
            Self::Mariadb => "MariaDB",
        }
    }

    /// As cluster.yaml and playbooks write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Mysql => "mysql",
            Self::Mariadb => "mariadb",
        }
    }

    /// The port that it listens on where nobody says otherwise.
    pub const fn port(self) -> u16 {
        match self {
            Self::Postgres => 5432,
            Self::Mysql | Self::Mariadb => 3306,
        }
    }
}

/// A database server that etcdless installs and keeps. Each shard has a database of its own there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Managed {
    /// The name of a host with `role: datastore`.
    pub host: DnsLabel,
    /// Folders of keys below /registry, such as `events`, that get a partition of kine's table for themselves when it is made; PostgreSQL only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partitions: Vec<String>,
}

/// A DSN of kine's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dsn {
    /// Where the text is, such as `nats://...`.
    pub dsn: SecretRef,
}

/// A database server that somebody else keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct External {
    /// `HOST`, `HOST:PORT`, or the path of a unix socket on the control plane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<ServerAddress>,
    /// Several servers, of which one may be written to; PostgreSQL only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<ServerAddress>,
    /// The database, which must be there; each cluster and each shard has one of its own.
    pub database: String,
    /// Who logs in.
    pub user: String,
    /// Where the password is; none where a client certificate or the socket's owner is enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretRef>,
    /// How the connection is encrypted.
    #[serde(default, skip_serializing_if = "Tls::is_default")]
    pub tls: Tls,
    /// Further parameters of the driver (pgx, go-sql-driver/mysql), such as `default_query_exec_mode: exec`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
}

impl External {
    /// `address`, or all of `addresses`.
    pub fn servers(&self) -> impl Iterator<Item = &ServerAddress> {
        self.address.iter().chain(&self.addresses)
    }
}

/// How a connection to a server is encrypted. Files are on this machine; they are copied to the control planes for root alone.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Tls {
    /// How much of the server's certificate is verified.
    pub mode: TlsMode,
    /// Certificates that may have signed the server's, in PEM; the machine's own trust where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// A client certificate in PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert: Option<PathBuf>,
    /// Its key in PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
}

impl Tls {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// How much of the server's certificate is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TlsMode {
    /// Who signed it, and that it names the server.
    #[default]
    Verify,
    /// Encrypted, whoever answers.
    Encrypt,
    /// Not encrypted. A unix socket never is.
    Off,
}

/// Where a secret is. Its value is read when it is needed and never kept in cluster.yaml.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum SecretRef {
    /// An environment variable.
    Env(String),
    /// A file; a line break at its end is not part of the secret.
    File(PathBuf),
    /// What a shell command prints; a line break at its end is not part of the secret.
    Command(String),
}

impl SecretRef {
    fn file_mut(&mut self) -> Option<&mut PathBuf> {
        match self {
            Self::File(path) => Some(path),
            Self::Env(_) | Self::Command(_) => None,
        }
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "the environment variable {name}"),
            Self::File(path) => write!(f, "the file {}", path.display()),
            Self::Command(command) => write!(f, "the command `{command}`"),
        }
    }
}

/// Resources that live in a store of their own, served by a kine of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Shard {
    /// A DNS label other than `main`.
    pub name: DnsLabel,
    /// Built-in resources: `RESOURCE` of the core group, or `GROUP/RESOURCE`. `events` stands for both groups that have events.
    pub resources: Vec<String>,
    /// Where they live.
    #[serde(default)]
    pub datastore: Datastore,
}

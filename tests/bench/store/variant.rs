//! What is compared: an engine, and what is changed of it.

use std::fmt;
use std::str::FromStr;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Etcd,
    Sqlite,
    Postgres,
    Mariadb,
    Mysql,
}

/// `ENGINE[+CHANGE...]`, for example `postgres+pool=16+wal_compression=on`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Variant {
    pub(crate) engine: Engine,
    pub(crate) changes: Vec<Change>,
    text: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// `pool=N`: connections of kine's to the server.
    Pool(u16),
    /// `tcp`: kine reaches the server over loopback, not over its unix socket.
    Tcp,
    /// `dsn.NAME=VALUE`: a parameter of kine's driver.
    Parameter(String, String),
    /// `--NAME=VALUE`: a flag of kine's.
    Flag(String),
    /// `NAME=VALUE`: a setting of the server.
    Setting(String, String),
}

impl FromStr for Variant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split('+');
        let engine = match parts.next().unwrap_or_default() {
            "etcd" => Engine::Etcd,
            "sqlite" => Engine::Sqlite,
            "postgres" => Engine::Postgres,
            "mariadb" => Engine::Mariadb,
            "mysql" => Engine::Mysql,
            other => return Err(format!("no engine `{other}`: etcd, sqlite, postgres, mariadb, mysql")),
        };
        let changes = parts.map(change).collect::<Result<_, _>>()?;
        Ok(Self { engine, changes, text: text.to_owned() })
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn change(text: &str) -> Result<Change, String> {
    if text.starts_with("--") {
        return Ok(Change::Flag(text.to_owned()));
    }
    Ok(match (text, text.split_once('=')) {
        ("tcp", _) => Change::Tcp,
        (_, Some(("pool", number))) => Change::Pool(number.parse().map_err(|error| format!("{text}: {error}"))?),
        (_, Some((name, value))) => match name.strip_prefix("dsn.") {
            Some(name) => Change::Parameter(name.to_owned(), value.to_owned()),
            None => Change::Setting(name.to_owned(), value.to_owned()),
        },
        _ => {
            return Err(format!("`{text}` is neither tcp, pool=N, dsn.NAME=VALUE, --FLAG=VALUE nor SETTING=VALUE"));
        }
    })
}

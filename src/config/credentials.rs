//! The secrets and certificates that a datastore's description refers to, read from where they are.

use std::path::Path;
use std::process::Command;

use secrecy::SecretString;

use super::{Cluster, Datastore, External, SecretRef, Server};
use crate::failure::{Failure, Kind};

/// What one datastore's references hold. Its `Debug` shows no secret.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// The password.
    pub password: Option<SecretString>,
    /// The whole DSN, where the description has nothing else.
    pub dsn: Option<SecretString>,
    /// Certificates that may have signed the server's, in PEM.
    pub ca: Option<String>,
    /// The client certificate, in PEM.
    pub cert: Option<String>,
    /// Its key, in PEM.
    pub key: Option<SecretString>,
    /// The key is placed by a step of its own; what is in `key` only says that there is one.
    pub key_apart: bool,
}

impl Credentials {
    /// Reads everything that the datastore refers to: environment, files, commands.
    pub fn read(datastore: &Datastore) -> Result<Self, Failure> {
        match datastore {
            Datastore::Sqlite(_) => Ok(Self::default()),
            Datastore::Postgres(server) | Datastore::Mysql(server) | Datastore::Mariadb(server) => match server {
                Server::External(external) => Self::of(external),
                Server::Dsn(reference) => Self::dsn(reference),
                // Certificates that are made when they are needed.
                Server::Managed(_) => Ok(Self::default()),
            },
            Datastore::Other(other) => Self::dsn(&other.dsn),
        }
    }

    /// The same of every store of a cluster, in the order of [`Cluster::datastores`].
    pub fn of_all(cluster: &Cluster) -> Result<Vec<Self>, Failure> {
        cluster.datastores().map(|(_, datastore)| Self::read(datastore)).collect()
    }

    /// Values that stand where secrets would, for texts that people look at; in the order of [`Cluster::datastores`].
    pub fn placeholders(cluster: &Cluster) -> Vec<Self> {
        cluster.datastores().map(|(_, datastore)| Self::placeholder(datastore)).collect()
    }

    fn placeholder(datastore: &Datastore) -> Self {
        let stands = |what: &str| Some(SecretString::from(what.to_owned()));
        let shown = |what: &str| Some(format!("(the {what})\n"));
        match datastore {
            _ if datastore.managed().is_some() => Self::default(),
            Datastore::Sqlite(_) => Self::default(),
            Datastore::Postgres(Server::External(external))
            | Datastore::Mysql(Server::External(external))
            | Datastore::Mariadb(Server::External(external)) => Self {
                password: external.password.as_ref().and_then(|_| stands("PASSWORD")),
                dsn: None,
                ca: external.tls.ca.as_ref().and_then(|_| shown("CA")),
                cert: external.tls.cert.as_ref().and_then(|_| shown("client certificate")),
                key: external.tls.key.as_ref().and_then(|_| stands("(the key)\n")),
                key_apart: false,
            },
            Datastore::Postgres(_) => Self { dsn: stands("postgres://DSN"), ..Self::default() },
            Datastore::Mysql(_) | Datastore::Mariadb(_) => Self { dsn: stands("mysql://DSN"), ..Self::default() },
            Datastore::Other(_) => Self { dsn: stands("engine://DSN"), ..Self::default() },
        }
    }

    fn of(external: &External) -> Result<Self, Failure> {
        let tls = &external.tls;
        let pem = |path: &Option<std::path::PathBuf>, field: &str| match path {
            Some(path) => read_pem(path, field).map(Some),
            None => Ok(None),
        };
        Ok(Self {
            password: external
                .password
                .as_ref()
                .map(|reference| secret(reference, "the password of the datastore"))
                .transpose()?,
            dsn: None,
            ca: pem(&tls.ca, "tls.ca")?,
            cert: pem(&tls.cert, "tls.cert")?,
            key: pem(&tls.key, "tls.key")?.map(SecretString::from),
            key_apart: false,
        })
    }

    fn dsn(reference: &SecretRef) -> Result<Self, Failure> {
        Ok(Self { dsn: Some(secret(reference, "the DSN of the datastore")?), ..Self::default() })
    }
}

fn read_pem(path: &Path, field: &str) -> Result<String, Failure> {
    let failure = |why: String| Failure::new(Kind::Config, format!("{field} {} {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| failure(format!("cannot be read: {error}")))?;
    match text.contains("-----BEGIN ") {
        true => Ok(text),
        false => Err(failure("is not PEM".into()).hint("a PEM file has a line `-----BEGIN ...-----`")),
    }
}

/// The value, without the line break that editors and `echo` leave at its end. `what` is what it is to people.
pub fn secret(reference: &SecretRef, what: &str) -> Result<SecretString, Failure> {
    let failure = |why: &str| Failure::new(Kind::Config, format!("{what}: {reference} {why}"));
    let text = match reference {
        SecretRef::Env(name) => std::env::var(name)
            .map_err(|_| failure("is not set").hint(format!("set it where etcdless runs: export {name}=...")))?,
        SecretRef::File(path) => {
            std::fs::read_to_string(path).map_err(|error| failure(&format!("cannot be read: {error}")))?
        }
        SecretRef::Command(command) => {
            let output = Command::new("sh").arg("-c").arg(command).stderr(std::process::Stdio::inherit()).output();
            let output = output.map_err(|error| failure(&format!("cannot be run: {error}")))?;
            if !output.status.success() {
                return Err(failure(&format!("ended with {}", output.status)));
            }
            String::from_utf8(output.stdout).map_err(|_| failure("printed something that is not text"))?
        }
    };
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    match text {
        "" => Err(failure("is empty")),
        _ if text.chars().any(char::is_control) => Err(failure("holds more than one line, or control characters")),
        _ => Ok(SecretString::from(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used)]
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_secret_is_one_line_from_wherever_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, "p w\r\n").unwrap();
        for (reference, expected) in
            [(SecretRef::File(file), "p w"), (SecretRef::Command("printf 'a\"b$c\\n'".into()), "a\"b$c")]
        {
            assert_eq!(secret(&reference, "the password").unwrap().expose_secret(), expected);
        }
    }

    #[test]
    fn what_is_wrong_names_the_place_and_never_the_value() {
        for (reference, expected) in [
            (SecretRef::Env("ETCDLESS_NOT_SET".into()), "the environment variable ETCDLESS_NOT_SET is not set"),
            (
                SecretRef::File("/nowhere/x".into()),
                "the file /nowhere/x cannot be read: No such file or directory (os error 2)",
            ),
            (SecretRef::Command("exit 3".into()), "the command `exit 3` ended with exit status: 3"),
            (SecretRef::Command("true".into()), "the command `true` is empty"),
            (
                SecretRef::Command("printf 'a\\nb\\n'".into()),
                "the command `printf 'a\\nb\\n'` holds more than one line, or control characters",
            ),
        ] {
            let failure = secret(&reference, "the password").unwrap_err();
            assert_eq!((failure.kind, failure.message), (Kind::Config, format!("the password: {expected}")));
        }
    }
}

//! PostgreSQL: kine's driver is pgx, whose DSN is a URL.

use secrecy::{ExposeSecret, SecretString};

use super::{Store, files, folder, percent_encoded};
use crate::config::credentials::Credentials;
use crate::config::{External, ServerAddress, ServerEngine, TlsMode};

const PORT: u16 = ServerEngine::Postgres.port();

/// What kine is told of an external server.
///
/// Servers are parameters, not the URL's host: that is the one form that takes several of them, IPv6 and sockets alike
/// (pgx v5.10, pgconn/config.go).
pub(super) fn store(shard: &str, external: &External, credentials: &Credentials) -> Store {
    let (mut hosts, mut ports, mut socket_folder) = (Vec::new(), Vec::new(), None);
    for server in external.servers() {
        match server {
            ServerAddress::Tcp { host, port } => {
                hosts.push(host.clone());
                ports.push(port.unwrap_or(PORT).to_string());
            }
            ServerAddress::Socket(path) => {
                let (folder, port) = socket(path);
                socket_folder = Some(folder.clone());
                hosts.push(folder);
                ports.push(port.to_string());
            }
        }
    }
    let mut parameters = vec![("host", hosts.join(",")), ("port", ports.join(","))];
    if hosts.len() > 1 {
        parameters.push(("target_session_attrs", "read-write".into()));
    }
    let mode = match (external.tls.mode, &socket_folder) {
        (_, Some(_)) | (TlsMode::Off, _) => "disable",
        (TlsMode::Encrypt, None) => "require",
        (TlsMode::Verify, None) => "verify-full",
    };
    parameters.push(("sslmode", mode.into()));
    let folder = folder(shard);
    for (name, file, there) in [
        ("sslrootcert", "ca.crt", credentials.ca.is_some()),
        ("sslcert", "client.crt", credentials.cert.is_some()),
        ("sslkey", "client.key", credentials.key.is_some()),
    ] {
        if there {
            parameters.push((name, format!("{folder}/{file}")));
        }
    }
    parameters.extend(external.parameters.iter().map(|(name, value)| (name.as_str(), value.clone())));
    let query: Vec<String> = parameters
        .iter()
        .map(|(name, value)| format!("{}={}", percent_encoded(name), percent_encoded(value)))
        .collect();
    let mut login = percent_encoded(&external.user);
    if let Some(password) = &credentials.password {
        login.push(':');
        login.push_str(&percent_encoded(password.expose_secret()));
    }
    let endpoint = format!("postgres://{login}@/{}?{}", percent_encoded(&external.database), query.join("&"));
    Store { endpoint: SecretString::from(endpoint), flags: Vec::new(), files: files(shard, credentials), socket_folder }
}

/// The folder and port of a socket: libpq names it `.s.PGSQL.PORT`, and takes the folder.
pub(super) fn socket(path: &str) -> (String, u16) {
    match path.rsplit_once("/.s.PGSQL.") {
        Some((folder, port)) => (folder.to_owned(), port.parse().unwrap_or(PORT)),
        None => (path.trim_end_matches('/').to_owned(), PORT),
    }
}

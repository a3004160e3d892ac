//! MySQL and MariaDB: kine's driver is go-sql-driver/mysql, whose DSN is no URL.

use secrecy::{ExposeSecret, SecretString};

use super::{Store, files, folder, percent_encoded};
use crate::config::credentials::Credentials;
use crate::config::{External, ServerAddress, ServerEngine, TlsMode};

const PORT: u16 = ServerEngine::Mysql.port();

/// What kine is told of an external server: `mysql://USER:PASSWORD@NET(ADDRESS)/DATABASE?PARAMETERS`.
///
/// The password is taken as it is, from the first colon to the last `@` (go-sql-driver/mysql v1.10, dsn.go). Any file flag makes kine use a TLS
/// configuration of its own in place of the parameter `tls`, and heed `--skip-verify`.
pub(super) fn store(shard: &str, external: &External, credentials: &Credentials) -> Store {
    let mut socket_folder = None;
    let address = match external.servers().next() {
        Some(ServerAddress::Socket(path)) => {
            socket_folder = path.rsplit_once('/').map(|(folder, _)| folder.to_owned());
            format!("unix({path})")
        }
        Some(ServerAddress::Tcp { host, port }) if host.contains(':') => {
            format!("tcp([{host}]:{})", port.unwrap_or(PORT))
        }
        Some(ServerAddress::Tcp { host, port }) => format!("tcp({host}:{})", port.unwrap_or(PORT)),
        None => String::new(),
    };
    let folder = folder(shard);
    let mut flags: Vec<String> = [
        ("ca-file", "ca.crt", credentials.ca.is_some()),
        ("cert-file", "client.crt", credentials.cert.is_some()),
        ("key-file", "client.key", credentials.key.is_some()),
    ]
    .into_iter()
    .filter(|(_, _, there)| *there)
    .map(|(flag, file, _)| format!("--{flag}={folder}/{file}"))
    .collect();
    let mut parameters: Vec<(&str, &str)> = Vec::new();
    match (external.tls.mode, &socket_folder) {
        (_, Some(_)) | (TlsMode::Off, _) => {}
        (TlsMode::Encrypt, None) if flags.is_empty() => parameters.push(("tls", "skip-verify")),
        (TlsMode::Encrypt, None) => flags.push("--skip-verify=true".into()),
        (TlsMode::Verify, None) if flags.is_empty() => parameters.push(("tls", "true")),
        (TlsMode::Verify, None) => {}
    }
    // One round trip a statement; without it the driver prepares each one first (docs/benchmarks.md).
    if !external.parameters.contains_key("interpolateParams") {
        parameters.push(("interpolateParams", "true"));
    }
    parameters.extend(external.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let query: Vec<String> =
        parameters.iter().map(|(name, value)| format!("{name}={}", percent_encoded(value))).collect();
    let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
    let password = credentials.password.as_ref().map(|password| format!(":{}", password.expose_secret()));
    let login = format!("{}{}", external.user, password.unwrap_or_default());
    let endpoint = format!("mysql://{login}@{address}/{}{query}", percent_encoded(&external.database));
    Store { endpoint: SecretString::from(endpoint), flags, files: files(shard, credentials), socket_folder }
}

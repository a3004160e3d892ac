//! The one HTTP client of this machine, for `--delivery push`.

use std::error::Error;
use std::sync::OnceLock;
use std::time::Duration;

use crate::failure::{Failure, Kind};

/// How etcdless names itself to servers.
pub const USER_AGENT: &str = concat!("etcdless/", env!("CARGO_PKG_VERSION"));
/// The longest that a connection may take to stand.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest silence within a transfer.
pub const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// The client, made at its first use: it follows redirects and takes the proxies of the environment.
pub fn client() -> Result<&'static reqwest::Client, Failure> {
    static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
    if let Some(client) = CLIENT.get() {
        return Ok(client);
    }
    install_tls();
    let builder = reqwest::Client::builder().user_agent(USER_AGENT);
    let client = builder.connect_timeout(CONNECT_TIMEOUT).read_timeout(READ_TIMEOUT).build();
    client.map(|client| CLIENT.get_or_init(|| client)).map_err(|error| unusable(&error))
}

/// Makes ring the TLS provider of this process. Doing it again changes nothing.
pub fn install_tls() {
    // An error only says that a provider is there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// No client could be made, which means that this machine has no CA certificates to trust.
pub fn unusable(error: &dyn Error) -> Failure {
    Failure::new(Kind::Preflight, format!("this machine cannot open HTTPS connections: {}", cause(error)))
        .hint("install this machine's CA certificates (the package is called ca-certificates)")
}

/// The innermost cause, which is the one that says what happened: `connection refused` instead of `error sending request`.
pub fn cause(error: &dyn Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

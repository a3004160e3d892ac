//! Newtypes that can only hold what Kubernetes and SSH accept.

use std::fmt;
use std::str::FromStr;

use super::text::text;

/// A DNS label as RFC 1123 and Kubernetes take it: 1 to 63 of a-z, 0-9 and `-`, not at either end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DnsLabel(String);

/// Why a text is not a [`DnsLabel`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a DNS label: use 1 to 63 of a-z, 0-9 and `-`, starting and ending with a letter or digit")]
pub struct DnsLabelError(String);

impl DnsLabel {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DnsLabel {
    type Err = DnsLabelError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let ok =
            (1..=63).contains(&text.len()) && text.chars().all(inner) && !text.starts_with('-') && !text.ends_with('-');
        if ok { Ok(Self(text.into())) } else { Err(DnsLabelError(text.into())) }
    }
}

/// A release such as `v1.34.4`; the `v` may be left out when it is read and is always there when it is shown.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(semver::Version);

/// Why a text is not a [`Version`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a version such as v1.34.4")]
pub struct VersionError(String);

impl Version {
    /// `vMAJOR.MINOR.PATCH`.
    pub const fn new(major: u64, minor: u64, patch: u64) -> Self {
        Self(semver::Version::new(major, minor, patch))
    }

    /// The `34` of `v1.34.4`.
    pub const fn minor(&self) -> u64 {
        self.0.minor
    }

    /// The `1` of `v1.34.4`.
    pub const fn major(&self) -> u64 {
        self.0.major
    }

    /// `1.34.4`, as some release files are named.
    pub fn bare(&self) -> String {
        self.0.to_string()
    }
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        semver::Version::parse(text.strip_prefix('v').unwrap_or(text)).map(Self).map_err(|_| VersionError(text.into()))
    }
}

/// Where SSH connects: an IP address, a DNS name or ssh_config alias, or this machine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// This machine, without SSH.
    Local,
    /// Anything that `ssh` takes as a host.
    Ssh(String),
}

/// Why a text is not an [`Address`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a host: use an IP address, a DNS name, an alias of your ssh_config, or `local`")]
pub struct AddressError(String);

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // A leading dash would be read by ssh as an option.
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        match text {
            "local" => Ok(Self::Local),
            _ if !text.is_empty() && !text.starts_with('-') && text.chars().all(allowed) => Ok(Self::Ssh(text.into())),
            _ => Err(AddressError(text.into())),
        }
    }
}

/// Where a database server is: a host and perhaps a port, or a unix socket on the control plane.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServerAddress {
    /// Over the network.
    Tcp {
        /// A DNS name or IP address, without brackets.
        host: String,
        /// The engine's own port where there is none.
        port: Option<u16>,
    },
    /// An absolute path: of the socket for MySQL and MariaDB, of the socket or its folder for PostgreSQL.
    Socket(String),
}

/// Why a text is not a [`ServerAddress`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a server: use HOST, HOST:PORT, [IPV6]:PORT, or the absolute path of a unix socket")]
pub struct ServerAddressError(String);

impl FromStr for ServerAddress {
    type Err = ServerAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ServerAddressError(text.into());
        if text.starts_with('/') {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_' | '+');
            return if text.len() > 1 && text.chars().all(plain) {
                Ok(Self::Socket(text.into()))
            } else {
                Err(wrong())
            };
        }
        let ipv6 = |text: &str| text.parse::<std::net::Ipv6Addr>().is_ok();
        if ipv6(text) {
            return Ok(Self::Tcp { host: text.into(), port: None });
        }
        let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, rest)) if ipv6(host) => (host, rest),
            Some(_) => return Err(wrong()),
            None => text.split_at(text.find(':').unwrap_or(text.len())),
        };
        let port = match port.strip_prefix(':') {
            Some(port) => Some(port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?),
            None if port.is_empty() => None,
            None => return Err(wrong()),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') || (c == ':' && ipv6(host));
        if host.is_empty() || host.starts_with('-') || !host.chars().all(plain) {
            return Err(wrong());
        }
        Ok(Self::Tcp { host: host.into(), port })
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => f.write_str(path),
            Self::Tcp { host, port: None } => f.write_str(host),
            Self::Tcp { host, port: Some(port) } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port: Some(port) } => write!(f, "{host}:{port}"),
        }
    }
}

impl fmt::Display for DnsLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "local",
            Self::Ssh(host) => host,
        })
    }
}

text!(ServerAddress, "a database server", "format": "server-address");
text!(DnsLabel, "a DNS label", "format": "dns-label", "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$");
text!(Version, "a version such as v1.34.4", "format": "version", "pattern": "^v?[0-9]+\\.[0-9]+\\.[0-9]+");
text!(Address, "a host", "format": "host-address", "pattern": "^[A-Za-z0-9._:][A-Za-z0-9._:-]*$");

/// The schema of an address range; `ipnet` has none of its own.
pub(super) fn cidr_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "string", "format": "cidr" })
}

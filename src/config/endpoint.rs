//! How every node, and everybody else, finds the API server.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::text;
use super::{Cluster, Datastore, Empty, ServerAddress};

/// The port that every API server listens on.
pub const API_PORT: u16 = 6443;

/// The port of the load balancer that each node runs for itself.
pub const LOCAL_PORT: u16 = 7443;

/// How clients find the API server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Endpoint {
    /// The one control plane's own address.
    Direct(Empty),
    /// A load balancer on every node, on its loopback address.
    Local(Empty),
    /// A load balancer, a DNS name or an address of the user's: HOST or HOST:PORT.
    External(ApiAddress),
    /// An address that moves between the control planes.
    Vip(IpAddr),
}

impl Cluster {
    /// How clients find the API server. Unless the file says so: the one control plane where the state is a file on it, else a load balancer
    /// on every node, so that control planes may be added later and no address is special.
    pub fn endpoint(&self) -> Endpoint {
        match (&self.spec.endpoint, &self.spec.datastore) {
            (Some(endpoint), _) => endpoint.clone(),
            (None, Datastore::Sqlite(_)) => Endpoint::Direct(Empty {}),
            (None, _) => Endpoint::Local(Empty {}),
        }
    }

    /// The name that every node resolves the API server by, and the port there.
    pub fn api(&self) -> ApiAddress {
        let named = |port| ApiAddress { host: self.api_name(), port };
        match self.endpoint() {
            Endpoint::Direct(_) | Endpoint::Vip(_) => named(API_PORT),
            Endpoint::Local(_) => named(LOCAL_PORT),
            Endpoint::External(address) => address,
        }
    }

    /// Where people outside, who do not know the cluster's own name for it, find the API server: what was made for that, or a control plane.
    pub fn api_outside(&self, control_plane: IpAddr) -> ApiAddress {
        match self.endpoint() {
            Endpoint::Direct(_) | Endpoint::Local(_) => ApiAddress { host: control_plane.to_string(), port: API_PORT },
            Endpoint::External(address) => address,
            Endpoint::Vip(address) => ApiAddress { host: address.to_string(), port: API_PORT },
        }
    }

    /// The name that /etc/hosts gives the API server.
    pub fn api_name(&self) -> String {
        format!("api.{}.etcdless.internal", self.metadata.name)
    }
}

/// Where an API server is asked: a DNS name or IP address and a port; 6443 where none is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiAddress {
    /// Without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// Why a text is not an [`ApiAddress`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an endpoint: use HOST, HOST:PORT or [IPV6]:PORT")]
pub struct ApiAddressError(String);

impl FromStr for ApiAddress {
    type Err = ApiAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(ServerAddress::Tcp { host, port }) => Ok(Self { host, port: port.unwrap_or(API_PORT) }),
            Ok(ServerAddress::Socket(_)) | Err(_) => Err(ApiAddressError(text.into())),
        }
    }
}

impl fmt::Display for ApiAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

text!(ApiAddress, "an endpoint", "format": "api-address");

//! Servers that are reached from a host: whether they can be, and a way to them from this machine.
//!
//! Names are resolved and connections are made on the host, by its sshd. This end is a unix socket, so that a client still verifies the
//! server's own name: it is told a socket to connect to, and a name to find in the certificate.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use openssh::{ForwardType, Session, Socket};
use tempfile::TempDir;

use super::{Host, Query, Question, RemoteError, ssh};

const REACH: &str = include_str!("scripts/reach.sh");
const TRUST: &str = include_str!("scripts/trust.sh");

/// How long a host may take to say whether it reaches a server: its resolver's own patience, and 6 s for connections.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where ports of this machine are forwarded from.
const LOOPBACK: &str = "127.0.0.1";

/// How many free ports are tried.
const PORTS: usize = 3;

/// A server as a host sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Over the network.
    Tcp {
        /// A name or an address without brackets.
        host: String,
        /// Its port.
        port: u16,
    },
    /// A unix socket.
    Socket(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Socket(path) => f.write_str(path),
        }
    }
}

/// What a host says of a server over the network.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reach {
    /// The addresses that its name has there.
    pub addresses: Vec<IpAddr>,
    /// Seconds that each connection took, as one round trip; none where none came up.
    pub connected: Vec<f64>,
    /// Why none came up, in curl's words.
    pub refused: Option<String>,
}

impl Reach {
    fn parse(text: &str) -> Self {
        let (addresses, connections) = text.split_once("\n\n").unwrap_or(("", text.trim_start()));
        let mut reach = Self::default();
        for address in addresses.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok()) {
            if !reach.addresses.contains(&address) {
                reach.addresses.push(address);
            }
        }
        for line in connections.lines() {
            if let Some((_, why)) = line.strip_prefix("curl: (").and_then(|line| line.split_once(") ")) {
                reach.refused = Some(why.to_owned());
            } else if let Some((resolved, connected)) = line.split_once(' ') {
                // Some locales write a comma.
                let seconds = |text: &str| text.replace(',', ".").parse::<f64>().unwrap_or_default();
                if seconds(connected) > 0.0 {
                    reach.connected.push(seconds(connected) - seconds(resolved));
                }
            }
        }
        if !reach.connected.is_empty() {
            reach.refused = None;
        }
        reach
    }
}

/// Asks a host whether it reaches a server. A forward cannot tell: what fails behind it only closes it.
/// Over SSH the connections are timed, as the way that the host's own packets take.
pub async fn reach(host: &Host, name: &str, port: u16) -> Result<Reach, RemoteError> {
    let mut args = vec![name.to_owned(), port.to_string()];
    if !host.is_local() {
        args.extend(["again"; 4].map(str::to_owned));
    }
    let output = host.ask(Question { script: REACH, args, input: Vec::new(), deadline: PATIENCE }).await?;
    Ok(Reach::parse(&String::from_utf8_lossy(&output.stdout)))
}

/// The certificates that kine trusts on a host where it is told of none, in PEM.
pub async fn trust(host: &impl Query) -> Result<String, RemoteError> {
    let question = Question { script: TRUST, args: Vec::new(), input: Vec::new(), deadline: PATIENCE };
    Ok(String::from_utf8_lossy(&host.ask(question).await?.stdout).into_owned())
}

/// Where a client on this machine connects to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Door {
    /// A name or an address, and a port.
    Tcp(String, u16),
    /// A unix socket.
    Socket(PathBuf),
}

/// A way from this machine to a server that a host reaches; closed when it is dropped.
pub struct Forward {
    door: Door,
    held: Option<Held>,
}

/// A forward of ssh's. The folder of its socket goes with it.
struct Held {
    session: Arc<Session>,
    here: Door,
    there: Place,
    _folder: Option<TempDir>,
}

impl Forward {
    /// Where to connect to.
    pub fn door(&self) -> &Door {
        &self.door
    }
}

impl fmt::Debug for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forward").field("door", &self.door).finish_non_exhaustive()
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        // Without a runtime the connection itself is about to end, and the forward with it.
        if let (Some(held), Ok(runtime)) = (self.held.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move {
                let _gone =
                    held.session.close_port_forward(ForwardType::Local, door(&held.here), socket(&held.there)).await;
            });
        }
    }
}

impl Host {
    /// Opens a way to a server. On this machine that is the server itself; over SSH it is a socket named `file`, in a folder that nobody
    /// else may look into.
    pub async fn forward(&self, there: &Place, file: &str) -> Result<Forward, RemoteError> {
        if self.is_local() {
            return Ok(Forward { door: there.door(), held: None });
        }
        let folder = tempfile::Builder::new().prefix("etcdless-").tempdir_in(ssh::control_directory());
        let folder = folder.map_err(|error| self.lost(format!("no folder for a socket: {error}")))?;
        let here = Door::Socket(folder.path().join(file));
        self.open(here, there, Some(folder)).await
    }

    /// Opens a way to a server for a client that knows no sockets: over SSH it is a port of this machine's loopback, which everybody here
    /// may connect to, so the server must ask who comes.
    pub async fn forward_port(&self, there: &Place) -> Result<Forward, RemoteError> {
        if self.is_local() {
            return Ok(Forward { door: there.door(), held: None });
        }
        let mut refused = None;
        for _ in 0..PORTS {
            let here = Door::Tcp(LOOPBACK.into(), self.free_port()?);
            match self.open(here, there, None).await {
                Ok(forward) => return Ok(forward),
                // Somebody else may have taken the port in the meantime.
                Err(error) => refused = Some(error),
            }
        }
        Err(refused.unwrap_or_else(|| self.lost("no port to forward from".into())))
    }

    /// A port that nobody listens on now. ssh must be told one: it chooses none itself for this direction.
    fn free_port(&self) -> Result<u16, RemoteError> {
        let listener = std::net::TcpListener::bind((LOOPBACK, 0)).and_then(|listener| listener.local_addr());
        listener.map(|address| address.port()).map_err(|error| self.lost(format!("no port to forward from: {error}")))
    }

    async fn open(&self, here: Door, there: &Place, folder: Option<TempDir>) -> Result<Forward, RemoteError> {
        let session = self.session().ok_or_else(|| self.lost("there is no SSH connection".into()))?;
        let opened = session.request_port_forward(ForwardType::Local, door(&here), socket(there)).await;
        opened.map_err(|error| self.lost(format!("sshd does not forward to {there}: {}", ssh::chain(&error))))?;
        let held = Held { session: session.clone(), here: here.clone(), there: there.clone(), _folder: folder };
        Ok(Forward { door: here, held: Some(held) })
    }
}

impl Place {
    /// The same place for a client on the host itself.
    fn door(&self) -> Door {
        match self {
            Self::Tcp { host, port } => Door::Tcp(host.clone(), *port),
            Self::Socket(path) => Door::Socket(path.into()),
        }
    }
}

fn door(here: &Door) -> Socket<'_> {
    match here {
        Door::Tcp(host, port) => Socket::new(host.as_str(), *port),
        Door::Socket(path) => path.as_path().into(),
    }
}

fn socket(place: &Place) -> Socket<'_> {
    match place {
        Place::Tcp { host, port } => Socket::new(host.as_str(), *port),
        Place::Socket(path) => Path::new(path).into(),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_the_host_says_is_read() {
        let seen = "10.0.0.5  STREAM db\n10.0.0.5  DGRAM\nfd00::5 STREAM\n\ncurl: (28) Time-out\n0.5 0.75\n0,1 0,2\n";
        assert_eq!(
            Reach::parse(seen),
            Reach {
                addresses: vec!["10.0.0.5".parse().unwrap(), "fd00::5".parse().unwrap()],
                connected: vec![0.25, 0.1],
                refused: None
            }
        );
        let refused = Reach::parse("\ncurl: (6) Could not resolve host: db\n0.000000 0.000000\n");
        let why = Some("Could not resolve host: db".to_owned());
        assert_eq!(refused, Reach { refused: why, ..Reach::default() });
    }

    #[test]
    fn places_read_as_addresses() {
        let tcp = |host: &str| Place::Tcp { host: host.into(), port: 5432 }.to_string();
        assert_eq!([tcp("db"), tcp("fd00::1")], ["db:5432", "[fd00::1]:5432"]);
    }
}

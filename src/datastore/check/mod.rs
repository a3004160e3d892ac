//! Checks of a database server as a control plane sees it; of one that somebody else keeps, before anything is changed.
//!
//! They go from the outside in: a name, a connection, TLS, a login, and then everything that the server tells of itself. One that makes the
//! others impossible ends the list; otherwise all that is wrong is told at once. Nothing is left on the server.

mod dsn;
mod judge;
pub(super) mod mysql;
pub(super) mod postgres;
mod report;
pub(super) mod target;
mod tls;

use std::future::Future;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::config::credentials::Credentials;
use crate::config::{Cluster, Role, ServerEngine as Engine};
use crate::remote::forward::{self, Forward, Place};
use crate::remote::{Host, Query, Question, RemoteError};

pub use report::{Line, Report};
use target::{Security, Target};

/// Every check in order, as `--ignore-preflight` takes it, and what it asks for.
pub const NAMES: &[(&str, &str)] = &[
    ("DatastoreResolve", "the server's name has an address on the host"),
    ("DatastoreConnect", "the server answers the host"),
    ("DatastoreTLS", "its certificate is valid, trusted, and names it"),
    ("DatastoreLogin", "user and password, or certificate, are accepted"),
    ("DatastoreDatabase", "the database is there"),
    ("DatastorePrivileges", "the user may do in it what kine does"),
    ("DatastoreVersion", "kine was tested with the server's version"),
    ("DatastoreWritable", "the server takes writes: it is no replica and not read-only"),
    ("DatastoreIncrement", "automatic numbers go up by 1"),
    ("DatastoreGalera", "no other server of a cluster takes writes as well"),
    ("DatastoreSnapshotIsolation", "MariaDB's innodb_snapshot_isolation is off"),
    ("DatastorePooling", "a pooler in front of the server goes together with prepared statements"),
    ("DatastoreCollation", "an existing table sorts names by their bytes"),
    ("DatastoreConnections", "the server allows as many connections as kine opens"),
    ("DatastoreTable", "the database holds no other cluster"),
    ("DatastoreEncryption", "what goes over the network is encrypted, and the server is verified"),
    ("DatastoreLatency", "round trips and commits take 10 ms at most"),
];

/// The longest that a connection or a question may take.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);

/// How often round trips and commits are timed.
const SAMPLES: usize = 20;

/// Who logs in, and to what.
#[derive(Debug, Clone, Copy)]
struct Account<'a> {
    user: &'a str,
    database: &'a str,
}

impl Account<'_> {
    /// Rows of users and databases, as `IN` takes them; `quoted` makes a literal.
    fn rows(accounts: &[Self], quoted: impl Fn(&str) -> String) -> String {
        let row = |account: &Account<'_>| format!("({}, {})", quoted(account.user), quoted(account.database));
        accounts.iter().map(row).collect::<Vec<_>>().join(", ")
    }
}

/// What the cluster asks of its server.
#[derive(Debug, Clone, Copy)]
struct Demand<'a> {
    /// Connections of one kine.
    pool: u32,
    /// How many of them there will be.
    control_planes: u32,
    /// Users and databases of the cluster's stores on this server.
    stores: &'a [Account<'a>],
    /// Whether what is in the store is this cluster's own.
    ours: bool,
}

impl Demand<'_> {
    /// Connections to this store.
    fn needed(self) -> u32 {
        self.pool.saturating_mul(self.control_planes)
    }

    /// Connections to its server.
    fn of_server(self) -> u32 {
        self.needed().saturating_mul(u32::try_from(self.stores.len()).unwrap_or(u32::MAX))
    }
}

/// How one server did.
struct Tried {
    lines: Vec<Line>,
    /// Whether the server was asked everything and takes writes.
    usable: bool,
}

/// What the socket of a forward is called: libpq's way of naming sockets is the one that sqlx's PostgreSQL driver knows; the other takes any.
const SOCKET_FILE: &str = ".s.PGSQL.5432";

/// Checks the cluster's stores from a host; `credentials` are in the order of [`Cluster::datastores`]. `ours` says that the host runs this
/// very cluster already.
pub async fn check(
    host: &Host,
    cluster: &Cluster,
    credentials: &[Credentials],
    ours: bool,
) -> Result<Report, RemoteError> {
    let control_planes = cluster.spec.hosts.iter().filter(|host| host.role == Role::ControlPlane).count();
    let control_planes = u32::try_from(control_planes).unwrap_or(u32::MAX);
    let stores: Vec<_> =
        cluster.datastores().zip(credentials).map(|((shard, d), c)| (shard, target::of(d, c))).collect();
    let mut lines = Vec::new();
    for (shard, target) in &stores {
        let found = match target {
            Ok(None) => continue,
            Ok(Some(target)) => {
                let targets = stores.iter().filter_map(|(_, other)| other.as_ref().ok()?.as_ref());
                let beside: Vec<Account<'_>> = targets
                    .filter(|other| other.servers == target.servers)
                    .map(|other| Account { user: &other.user, database: &other.database })
                    .collect();
                let demand = Demand { pool: cluster.spec.kine.pool.into(), control_planes, stores: &beside, ours };
                store(host, target, demand).await?
            }
            Err(unchecked) => vec![Line::of("DatastoreConnect", unchecked.clone())],
        };
        let named = found.into_iter().map(|line| if stores.len() > 1 { line.of_store(shard) } else { line });
        lines.extend(named);
    }
    Ok(Report { host: host.name().to_owned(), lines })
}

/// One store: its server, or all of its servers until one is fit.
async fn store(host: &Host, target: &Target, demand: Demand<'_>) -> Result<Vec<Line>, RemoteError> {
    let mut others = Vec::new();
    for place in &target.servers {
        let tried = one(host, target, place, demand).await?;
        if tried.usable || target.servers.len() == 1 {
            // One that may be written to is enough; what is wrong with the others only matters once they take over.
            let passed: Vec<Line> = others.into_iter().filter_map(Line::into_warning).collect();
            return Ok([passed, tried.lines].concat());
        }
        others.extend(tried.lines);
    }
    Ok(others)
}

/// Everything about one server.
async fn one(host: &Host, target: &Target, place: &Place, demand: Demand<'_>) -> Result<Tried, RemoteError> {
    let mut lines = Vec::new();
    let Some(way) = way(host, target, place, &mut lines).await? else {
        return Ok(Tried { lines, usable: false });
    };
    let server = way.server(target, place);
    let round_trips = if host.is_local() { &[][..] } else { &way.reached.round_trips };
    let looked = match target.engine {
        Engine::Postgres => postgres::check(&server, demand, round_trips).await,
        Engine::Mysql | Engine::Mariadb => mysql::check(&server, demand, round_trips).await,
    };
    let complete = looked.complete;
    lines.extend(looked.lines);
    if complete {
        let network = !matches!(place, Place::Socket(_)) && !way.reached.loopback;
        let line = judge::encryption(target.security, network, place);
        let at = lines.iter().position(|line| line.name == "DatastoreLatency").unwrap_or(lines.len());
        lines.insert(at, line);
    }
    let writable = lines.iter().any(|line| line.name == "DatastoreWritable" && line.findings.is_empty());
    Ok(Tried { lines, usable: complete && writable })
}

/// A way to a server's door.
pub(super) struct Way {
    forward: Forward,
    trust: String,
    reached: Reached,
}

impl Way {
    /// The server behind it.
    pub(super) fn server<'a>(&'a self, target: &'a Target, place: &'a Place) -> Server<'a> {
        Server { target, place, door: self.forward.door(), trust: &self.trust }
    }
}

/// Goes as far as TLS; nothing where that is too far, and the lines say why.
pub(super) async fn way(
    host: &Host,
    target: &Target,
    place: &Place,
    lines: &mut Vec<Line>,
) -> Result<Option<Way>, RemoteError> {
    let Some(reached) = reach(host, target, place, lines).await? else { return Ok(None) };
    let forward = host.forward(place, SOCKET_FILE).await?;
    let trust = match (&target.ca, target.security, place) {
        (Some(ca), ..) => ca.clone(),
        (None, Security::Verify, Place::Tcp { .. }) => forward::trust(host).await?,
        _ => String::new(),
    };
    let way = Way { forward, trust, reached };
    if let (Place::Tcp { .. }, Security::Encrypt | Security::Verify) = (place, target.security) {
        let line = tls::check(&way.server(target, place)).await;
        let wrong = line.as_ref().is_some_and(|line| !line.findings.is_empty());
        lines.extend(line);
        if wrong {
            return Ok(None);
        }
    }
    Ok(Some(way))
}

/// A server with a way to it.
pub(super) struct Server<'a> {
    pub(super) target: &'a Target,
    pub(super) place: &'a Place,
    door: &'a forward::Door,
    /// Who may have signed its certificate, in PEM.
    trust: &'a str,
}

/// What the engine's own checks found.
struct Looked {
    lines: Vec<Line>,
    /// Whether the server let us ask everything.
    complete: bool,
}

struct Reached {
    loopback: bool,
    /// Seconds.
    round_trips: Vec<f64>,
}

/// The first two checks; nothing where the server cannot be reached.
async fn reach(
    host: &Host,
    target: &Target,
    place: &Place,
    lines: &mut Vec<Line>,
) -> Result<Option<Reached>, RemoteError> {
    let label = host.name();
    let (name, port) = match place {
        Place::Socket(path) => {
            let question =
                Question { script: "[ -S \"$1\" ]", args: vec![path.clone()], input: Vec::new(), deadline: DEADLINE };
            if host.ask(question).await?.status != 0 {
                lines.push(Line::of("DatastoreConnect", judge::no_socket(label, path, target.engine)));
                return Ok(None);
            }
            if !host.is_local() && host.user() != "root" {
                lines.push(Line::of("DatastoreConnect", judge::other_user(host.user(), path)));
                return Ok(None);
            }
            lines.push(Line::ok("DatastoreConnect", format!("{path} is a socket")));
            return Ok(Some(Reached { loopback: true, round_trips: Vec::new() }));
        }
        Place::Tcp { host, port } => (host, *port),
    };
    let reach = forward::reach(host, name, port).await?;
    if reach.addresses.is_empty() && reach.connected.is_empty() {
        lines.push(Line::of("DatastoreResolve", judge::unresolved(label, name)));
        return Ok(None);
    }
    let addresses: Vec<String> = reach.addresses.iter().map(IpAddr::to_string).collect();
    lines.push(Line::ok("DatastoreResolve", format!("{name} is {}", addresses.join(", "))));
    if reach.connected.is_empty() {
        let why = reach.refused.unwrap_or_else(|| "no answer".into());
        lines.push(Line::of("DatastoreConnect", judge::refused(label, place, &why, target.engine)));
        return Ok(None);
    }
    lines.push(Line::ok("DatastoreConnect", format!("{place} answers")));
    let loopback = !reach.addresses.is_empty() && reach.addresses.iter().all(IpAddr::is_loopback);
    Ok(Some(Reached { loopback, round_trips: reach.connected }))
}

/// Waits for an answer of the server, and no longer than anybody would.
pub(super) async fn timely<T>(answer: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    match tokio::time::timeout(DEADLINE, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(sqlx::Error::Io(std::io::Error::new(
            std::io::ErrorKind::TimedOut,
            format!("no answer within {} s", DEADLINE.as_secs()),
        ))),
    }
}

/// What a server said instead of doing as it was asked. Holds no secret: servers repeat none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The SQLSTATE, or MySQL's own number; none where it was not the server that spoke.
    pub(super) code: Option<String>,
    pub(super) message: String,
    /// Whether TLS is what failed.
    tls: bool,
}

impl From<sqlx::Error> for Refusal {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(said) => {
                let number = said.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>().map(|e| e.number().to_string());
                let code = number.or_else(|| said.code().map(Into::into));
                Self { code, message: said.message().to_owned(), tls: false }
            }
            sqlx::Error::Tls(why) => Self { code: None, message: why.to_string(), tls: true },
            sqlx::Error::Io(why) => {
                // rustls reports alerts of the server's through std::io.
                let tls = why.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
                Self { code: None, message: why.to_string(), tls }
            }
            _ => Self { code: None, message: error.to_string(), tls: false },
        }
    }
}

/// Milliseconds that each of some questions took.
async fn sampled<C>(
    connection: &mut C,
    ask: impl AsyncFn(&mut C) -> Result<(), sqlx::Error>,
) -> Result<Vec<f64>, sqlx::Error> {
    let mut taken = Vec::with_capacity(SAMPLES);
    for _ in 0..SAMPLES {
        let begun = Instant::now();
        ask(connection).await?;
        taken.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(taken)
}

/// Round trips and commits in milliseconds as the host has them: the way from this machine, which is `here`, is replaced by the host's
/// own, in seconds, where that was timed.
fn seen_from_host(here: Vec<f64>, commits: Option<Vec<f64>>, host: &[f64]) -> (Vec<f64>, Option<Vec<f64>>) {
    if host.is_empty() {
        return (here, commits);
    }
    let median = |values: &[f64]| {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or_default()
    };
    let round_trips: Vec<f64> = host.iter().map(|seconds| seconds * 1000.0).collect();
    let shift = median(&round_trips) - median(&here);
    let commits = commits.map(|commits| commits.iter().map(|taken| (taken + shift).max(0.0)).collect());
    (round_trips, commits)
}

/// What hexadecimal digits stand for; servers print nothing else when they are asked for them.
pub(super) fn bytes(hex: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).unwrap_or(0);
    hex.as_bytes().chunks(2).map(|pair| pair.iter().fold(0, |sum, byte| sum * 16 + digit(*byte))).collect()
}

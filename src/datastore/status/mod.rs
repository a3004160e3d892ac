//! How the stores of a cluster that runs are: what is in them, how much room is left, and whether something needs a hand.
//!
//! Servers are asked by SQL, by the way that the checks take. A SQLite file is on the host, and kine has it open: what the host has no program
//! for is not told. Nothing is written anywhere.

mod judge;
mod lease;
mod mysql;
mod postgres;
mod report;
pub mod seen;
pub mod sqlite;
mod table;

use super::check::target::{self, Target};
use super::check::{self, Refusal};
use crate::cluster::kine::probe::{self, Endpoint, ProbeError};
use crate::cluster::kine::{self, Listener};
use crate::config::credentials::Credentials;
use crate::config::{Cluster, ServerEngine as Engine};
use crate::failure::{Finding, Severity};
use crate::remote::forward::Place;
use crate::remote::{Host, RemoteError};

pub use report::{Line, Report};
use seen::{Seen, Served, Statement, Status};

/// What a store says of kine's table where there is none.
const NO_TABLE: &str = "there is no table `kine`";

/// What an engine's own questions found.
struct Looked {
    engine: &'static str,
    seen: Seen,
    /// Why it takes no writes.
    not_writable: Option<Finding>,
    has_table: bool,
}

/// Asks every store of the cluster from a control plane; `credentials` are in the order of [`Cluster::datastores`].
pub async fn status(host: &Host, cluster: &Cluster, credentials: &[Credentials]) -> Result<Report, RemoteError> {
    let mut stores = Vec::new();
    for (((shard, datastore), credentials), listener) in
        cluster.datastores().zip(credentials).zip(kine::listeners(cluster))
    {
        stores.push(match target::of(datastore, credentials) {
            Ok(Some(target)) => server(host, shard, &target).await?,
            Ok(None) => {
                let file = super::sqlite::file(shard);
                let seen = sqlite::look(host, &file).await?;
                through_kine(host, &listener, Status { engine: "SQLite", at: file, ..of(shard, seen) }).await?
            }
            Err(unknown) => {
                let engine = datastore.engine().map_or("another engine", Engine::title);
                let seen = Seen::nothing(&unknown.what);
                through_kine(host, &listener, Status { engine, at: "its DSN".into(), ..of(shard, seen) }).await?
            }
        });
    }
    Ok(Report { host: host.name().to_owned(), stores })
}

fn of(shard: &str, seen: Seen) -> Status {
    Status { shard: shard.to_owned(), engine: "", at: String::new(), seen: Some(seen), wrong: Vec::new() }
}

/// What kine itself tells of a store that etcdless cannot ask.
async fn through_kine(host: &Host, listener: &Listener, mut status: Status) -> Result<Status, RemoteError> {
    match probe::count(host, &Endpoint::of(listener)).await {
        Ok((revision, objects)) => {
            if let Some(seen) = &mut status.seen {
                seen.served = Some(Served { revision, objects });
            }
        }
        Err(ProbeError::Remote(error)) => return Err(error),
        Err(error) => status.wrong.push(Finding::error(
            error.to_string(),
            "the API server reaches its state through kine alone",
            "`etcdless verify` says what the cluster waits for, and where its logs are",
        )),
    }
    Ok(status)
}

/// A server, or the one of several that takes writes.
async fn server(host: &Host, shard: &str, target: &Target) -> Result<Status, RemoteError> {
    let mut status = Status {
        shard: shard.to_owned(),
        engine: target.engine.title(),
        at: target.servers.iter().map(Place::to_string).collect::<Vec<_>>().join(", "),
        seen: None,
        wrong: Vec::new(),
    };
    for place in &target.servers {
        let named = |finding: Finding| match target.servers.len() {
            1 => finding,
            _ => Finding { what: format!("{place}: {}", finding.what), ..finding },
        };
        let looked = match ask(host, target, place).await? {
            Ok(looked) => looked,
            Err(findings) => {
                status.wrong.extend(findings.into_iter().map(named));
                continue;
            }
        };
        let is_writable = looked.not_writable.is_none();
        status.wrong.extend(looked.not_writable.map(named));
        if is_writable {
            // The others only matter once they take over.
            status.wrong.iter_mut().for_each(|finding| finding.severity = Severity::Warning);
        }
        if is_writable && !looked.has_table {
            status.wrong.push(Finding::error(
                format!("the database `{}` holds no table `kine`", target.database),
                "no kine has served a cluster from it yet, or it is another database than kine's",
                "`etcdless init` builds the cluster; else see `database` in the description",
            ));
        }
        (status.engine, status.at, status.seen) = (looked.engine, place.to_string(), Some(looked.seen));
        if is_writable {
            break;
        }
    }
    Ok(status)
}

/// Asks one server; the findings are why it cannot be asked.
async fn ask(host: &Host, target: &Target, place: &Place) -> Result<Result<Looked, Vec<Finding>>, RemoteError> {
    let mut lines = Vec::new();
    let Some(way) = check::way(host, target, place, &mut lines).await? else {
        return Ok(Err(lines.into_iter().flat_map(|line| line.findings).collect()));
    };
    let server = way.server(target, place);
    let looked = match target.engine {
        Engine::Postgres => postgres::look(&server).await,
        Engine::Mysql | Engine::Mariadb => mysql::look(&server).await,
    };
    Ok(looked.map_err(|finding| vec![finding]))
}

/// What a server said instead of an answer.
fn said(error: sqlx::Error) -> String {
    Refusal::from(error).message
}

/// A number that a server wrote.
fn count(text: &str) -> u64 {
    text.parse().unwrap_or_default()
}

/// Rows of text, calls and milliseconds.
fn statements(rows: impl IntoIterator<Item = Vec<String>>) -> Vec<Statement> {
    let statement = |row: Vec<String>| {
        let text = row.first()?.split_whitespace().collect::<Vec<_>>().join(" ");
        Some(Statement { text, calls: count(row.get(1)?), milliseconds: row.get(2)?.parse().ok()? })
    };
    rows.into_iter().filter_map(statement).collect()
}

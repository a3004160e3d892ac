//! What runs where: one look at every host, judged together.
//!
//! Hosts are looked at side by side, by one script that only reads. What they tell is judged here, so that a host that is gone, or a
//! control plane whose API server is down, takes away its own answers and nobody else's.

mod certificates;
mod judge;
mod look;
mod report;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::Serialize;

use crate::config::{Cluster, Host as HostConfig};
use crate::datastore::status::seen::Told;
use crate::datastore::status::{Line, Report as Datastore};
use crate::remote::{Query, Question, RemoteError};

pub use judge::judge;
pub use look::Look;
pub use report::{Check, HostStatus, Level, Report, Store};

/// How long a host may take to answer; kubectl gives up before.
const ANSWER: Duration = Duration::from_secs(15);

/// What a cluster and its hosts told.
#[derive(Debug)]
pub struct Seen<'a> {
    /// The description.
    pub cluster: &'a Cluster,
    /// Its hosts, in its order.
    pub hosts: Vec<Place<'a>>,
    /// Its stores, or why nothing is told of them.
    pub stores: Told<Vec<Store>>,
    /// The command that makes the cluster what it should be.
    pub again: String,
}

/// A host, and what it told.
#[derive(Debug)]
pub struct Place<'a> {
    /// Its description.
    pub config: &'a HostConfig,
    /// What was seen, or why nothing was.
    pub look: Result<Look, String>,
    /// Who holds its lock.
    pub lock: Option<String>,
    /// What `init` would change on it.
    pub drift: Told<Vec<Change>>,
}

/// A change that `init` would make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The step.
    pub step: String,
    /// For people.
    pub title: String,
    /// What differs.
    pub change: String,
}

/// Looks at a host once.
pub async fn look(host: &impl Query, cluster: &Cluster) -> Result<Look, RemoteError> {
    let api = cluster.api_name();
    let script = include_str!("../scripts/status_look.sh");
    let question = Question { script, args: vec![api.clone()], input: Vec::new(), deadline: ANSWER };
    let output = host.ask(question).await?;
    Ok(Look::parse(&String::from_utf8_lossy(&output.stdout), &api))
}

/// A line for each store: what it is and how much it holds, and all that needs a hand.
pub fn stores(report: &Datastore) -> Vec<Store> {
    let store = |(shard, lines): (&str, Vec<Line>)| {
        let told = lines.iter().filter(|line| line.is_told && matches!(line.name, "store" | "size"));
        let mut details: Vec<&str> = told.map(|line| line.detail.as_str()).collect();
        if details.is_empty() {
            details.extend(lines.first().map(|line| line.detail.as_str()));
        }
        let wrong = |line: &Line| line.findings.iter().map(ToString::to_string).collect::<Vec<_>>();
        Store {
            shard: shard.to_owned(),
            detail: details.join("; "),
            wrong: lines.iter().filter(|line| line.is_error()).flat_map(wrong).collect(),
        }
    };
    report.lines().map(store).collect()
}

//! What runs where, for people and machines.

use serde::Serialize;

use super::Change;
use crate::config::Role;
use crate::datastore::status::seen::Told;
use crate::failure::{Failure, Kind};

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works, and somebody should look at it.
    Warning,
    /// It does not do its work.
    Degraded,
}

/// One thing about a host or the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// How it is.
    pub level: Level,
    /// What was seen.
    pub detail: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A program that runs on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Service {
    /// Its version.
    pub version: Option<String>,
    /// Whether it runs.
    pub runs: bool,
    /// systemd's word for how it is, or what runs it.
    pub state: String,
}

/// A certificate of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Certificate {
    /// The file.
    pub path: String,
    /// Whole days that are left by the host's clock, negative once it has expired; none where the file cannot be read.
    pub days: Option<i64>,
}

/// How the API is found from a host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Endpoint {
    /// What /etc/hosts says of the API's name.
    pub address: Option<String>,
    /// The API servers that a balancer on the host knows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<String>,
    /// Shared addresses that the host holds now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<String>,
}

/// One host.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HostStatus {
    /// Its label.
    #[serde(skip)]
    pub host: String,
    /// What it is for.
    pub role: Role,
    /// The worst of its checks.
    pub level: Level,
    /// Why it could not be looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreachable: Option<String>,
    /// Its node: `Ready`, `Ready, cordoned`, `NotReady`, `missing`; none where it is no node, or no API server tells.
    pub node: Option<String>,
    /// The kubelet.
    pub kubelet: Option<Service>,
    /// containerd.
    pub containerd: Option<Service>,
    /// kine, all shards together.
    pub kine: Option<Service>,
    /// The API server of this very host.
    pub api_server: Option<Service>,
    /// Its certificates.
    pub certificates: Vec<Certificate>,
    /// How the API is found from it.
    pub endpoint: Endpoint,
    /// Who holds its lock.
    pub lock: Option<String>,
    /// What `init` would change on it.
    pub drift: Told<Vec<Change>>,
    /// All that was judged.
    #[serde(skip)]
    pub checks: Vec<Check>,
}

/// One store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// `main`, or the name of a shard.
    pub shard: String,
    /// What it is, and how much it holds.
    pub detail: String,
    /// All that needs a hand.
    pub wrong: Vec<String>,
}

/// What runs where.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The cluster's name.
    pub cluster: String,
    /// The API's name.
    pub api: String,
    /// In the description's order.
    pub hosts: Vec<HostStatus>,
    /// The stores, or why nothing is told of them.
    pub stores: Told<Vec<Store>>,
    /// What is about no single host.
    pub checks: Vec<Check>,
    /// The command that looks again.
    pub again: String,
}

impl Service {
    fn cell(&self) -> String {
        [self.version.as_deref(), Some(self.state.as_str()).filter(|state| !state.is_empty())]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(" ")
    }
}

impl HostStatus {
    /// `ok`, `warning`, `degraded` or `unreachable`.
    fn state(&self) -> &'static str {
        match (self.level, &self.unreachable) {
            (_, Some(_)) => "unreachable",
            (Level::Ok, None) => "ok",
            (Level::Warning, None) => "warning",
            (Level::Degraded, None) => "degraded",
        }
    }

    fn cells(&self) -> [String; 10] {
        let service = |service: &Option<Service>| service.as_ref().map_or_else(|| "-".into(), Service::cell);
        let drift = match &self.drift {
            Told::Told(changes) => match changes.len() {
                0 => "none".into(),
                1 => "1 change".into(),
                count => format!("{count} changes"),
            },
            Told::NotTold { .. } => "?".into(),
        };
        [
            self.host.clone(),
            role(self.role).into(),
            self.state().into(),
            self.node.clone().unwrap_or_else(|| if self.role.is_node() { "?".into() } else { "-".into() }),
            service(&self.kubelet),
            service(&self.containerd),
            service(&self.kine),
            service(&self.api_server),
            match self.certificates.iter().map(|certificate| certificate.days.unwrap_or(-1)).min() {
                None => "-".into(),
                Some(..0) => "expired".into(),
                Some(days) => format!("{days} d"),
            },
            drift,
        ]
    }
}

impl Report {
    /// Every check that is not well, with the host that it is about.
    fn found(&self, level: Level) -> impl Iterator<Item = (Option<&str>, &Check)> {
        let of_hosts =
            self.hosts.iter().flat_map(|host| host.checks.iter().map(|check| (Some(host.host.as_str()), check)));
        of_hosts.chain(self.checks.iter().map(|check| (None, check))).filter(move |(_, check)| check.level == level)
    }

    /// The report as tables, without a trailing line break; `paint` colours what is not well.
    pub fn table(&self, paint: bool) -> String {
        let heads = ["HOST", "ROLE", "STATE", "NODE", "KUBELET", "CONTAINERD", "KINE", "API", "CERTIFICATES", "DRIFT"];
        let mut rows = vec![heads.map(str::to_owned).to_vec()];
        rows.extend(self.hosts.iter().map(|host| host.cells().to_vec()));
        let mut blocks = vec![columns(&rows, paint)];
        let mut rows = vec![vec!["STORE".to_owned(), "STATE".into(), "DETAIL".into()]];
        match &self.stores {
            Told::Told(stores) => rows.extend(stores.iter().map(|store| {
                let state = if store.wrong.is_empty() { "ok" } else { "degraded" };
                vec![store.shard.clone(), state.into(), store.detail.clone()]
            })),
            Told::NotTold { not_told } => rows.push(vec!["?".into(), "-".into(), format!("not told: {not_told}")]),
        }
        blocks.push(columns(&rows, paint));
        blocks.push(self.endpoint());
        let warnings: Vec<String> = self
            .found(Level::Warning)
            .map(|(host, check)| {
                let next = check.next.as_ref().map(|next| format!("\n  next: {next}")).unwrap_or_default();
                format!("{} {}{next}", painted("warning:", "warning", paint), line(host, check))
            })
            .collect();
        let untold = self.untold().map(|why| format!("what differs from the description is not told: {why}"));
        let notes: Vec<String> = warnings.into_iter().chain(untold).collect();
        if !notes.is_empty() {
            blocks.push(notes.join("\n"));
        }
        blocks.join("\n\n")
    }

    /// Why hosts that answer are not compared with the description: the same for all of them.
    fn untold(&self) -> Option<&str> {
        let answering = self.hosts.iter().filter(|host| host.unreachable.is_none());
        answering.filter_map(|host| host.drift.not_told()).next()
    }

    /// How the API is found: the hosts that agree share a line.
    fn endpoint(&self) -> String {
        let mut groups: Vec<(&str, &[String], Vec<&str>)> = Vec::new();
        for host in &self.hosts {
            let Some(address) = host.endpoint.address.as_deref() else { continue };
            let members = host.endpoint.members.as_slice();
            match groups.iter_mut().find(|group| (group.0, group.1) == (address, members)) {
                Some(group) => group.2.push(&host.host),
                None => groups.push((address, members, vec![&host.host])),
            }
        }
        let mut lines = vec![format!("ENDPOINT {}", self.api)];
        for (address, members, hosts) in groups {
            let members =
                if members.is_empty() { String::new() } else { format!(", balanced over {}", members.join(", ")) };
            lines.push(format!("{address} on {}{members}", hosts.join(", ")));
        }
        for host in &self.hosts {
            lines.extend(host.endpoint.holds.iter().map(|address| format!("{address} is held by {}", host.host)));
        }
        lines.join("\n  ")
    }

    /// What a command ends with; `None` where nothing is degraded.
    pub fn failure(&self) -> Option<Failure> {
        let found: Vec<(Option<&str>, &Check)> = self.found(Level::Degraded).collect();
        let (host, check) = found.first()?;
        let message = format!("the cluster `{}` is degraded: {}", self.cluster, line(*host, check));
        let mut failure = Failure::new(Kind::Unhealthy, message);
        if found.len() > 1 {
            failure.details = found.iter().map(|(host, check)| line(*host, check)).collect();
        }
        for (host, check) in found {
            let next =
                check.next.as_ref().map(|next| host.map_or_else(|| next.clone(), |host| format!("{host}: {next}")));
            if let Some(next) = next.filter(|next| !failure.hints.contains(next)) {
                failure.hints.push(next);
            }
        }
        Some(failure.hint(&self.again))
    }
}

fn role(role: Role) -> &'static str {
    match role {
        Role::ControlPlane => "control-plane",
        Role::Worker => "worker",
        Role::Datastore => "datastore",
    }
}

fn line(host: Option<&str>, check: &Check) -> String {
    let host = host.map(|host| format!("{host}: ")).unwrap_or_default();
    format!("{host}{}: {}", check.name, check.detail)
}

/// Rows in columns; the third is coloured by its word.
fn columns(rows: &[Vec<String>], paint: bool) -> String {
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..rows.first().map_or(0, Vec::len)).map(|column| width(column).unwrap_or(0)).collect();
    let row = |row: &Vec<String>| {
        let last = row.len().saturating_sub(1);
        let cell = |(column, (cell, width)): (usize, (&String, &usize))| {
            let padding = if column == last { 0 } else { width.saturating_sub(cell.chars().count()) };
            painted(cell, cell, paint) + &" ".repeat(padding)
        };
        row.iter().zip(&widths).enumerate().map(cell).collect::<Vec<_>>().join("  ")
    };
    rows.iter().map(row).collect::<Vec<_>>().join("\n")
}

/// A text in the colour of a state; whatever is no state stays as it is.
fn painted(text: &str, state: &str, paint: bool) -> String {
    let style = console::Style::new().force_styling(paint);
    let style = match state {
        "ok" => style.green(),
        "warning" => style.yellow(),
        "degraded" | "unreachable" => style.red(),
        _ => return text.to_owned(),
    };
    style.apply_to(text).to_string()
}

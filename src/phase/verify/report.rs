//! What verify found, for people and machines.

use serde::Serialize;

use crate::failure::{Failure, Kind};

/// One line of a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// What was checked.
    pub name: &'static str,
    /// Whether it is well.
    pub ok: bool,
    /// What was found.
    pub detail: String,
    /// Commands that show more, to be run on the host; empty where all is well.
    pub look_at: Vec<String>,
}

/// What was found at last: when all was well, or when the deadline passed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The cluster's name.
    pub cluster: String,
    /// The host that was asked.
    pub host: String,
    /// Milliseconds that it took.
    pub took_ms: u64,
    /// One line a check, in a fixed order.
    pub checks: Vec<Item>,
}

impl Item {
    pub(super) fn good(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, ok: true, detail: detail.into(), look_at: Vec::new() }
    }

    pub(super) fn bad(name: &'static str, detail: impl Into<String>, look_at: &[&str]) -> Self {
        let look_at = look_at.iter().map(|command| (*command).to_owned()).collect();
        Self { name, ok: false, detail: detail.into(), look_at }
    }
}

impl Report {
    /// Whether everything is well.
    pub fn is_healthy(&self) -> bool {
        self.checks.iter().all(|item| item.ok)
    }

    /// The report as a table, without a trailing line break.
    pub fn table(&self) -> String {
        let width = self.checks.iter().map(|item| item.name.len()).max().unwrap_or(0).max("CHECK".len());
        let mut lines = vec![format!("{:width$}  {:6}  {}", "CHECK", "STATE", "DETAIL")];
        for item in &self.checks {
            let state = if item.ok { "ok" } else { "failed" };
            let mut details = item.detail.lines();
            lines.push(format!("{:width$}  {state:6}  {}", item.name, details.next().unwrap_or_default()));
            lines.extend(details.map(|line| format!("{:width$}  {:6}  {line}", "", "")));
        }
        lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n")
    }

    /// What a command ends with; `None` where everything is well.
    pub fn failure(&self) -> Option<Failure> {
        let failed: Vec<&Item> = self.checks.iter().filter(|item| !item.ok).collect();
        let first = failed.first()?;
        let seconds = self.took_ms.div_ceil(1000);
        let message = format!(
            "the cluster `{}` is not healthy after {seconds} s: {}: {}",
            self.cluster,
            first.name,
            first.detail.lines().next().unwrap_or_default()
        );
        let mut failure = Failure::new(Kind::Unhealthy, message);
        for item in &failed {
            failure = failure.detail(format!("{}: {}", item.name, item.detail));
        }
        for command in first.look_at.iter() {
            failure = failure.hint(format!("look at `{command}` on {}", self.host));
        }
        Some(failure.hint("`etcdless verify` checks again"))
    }
}

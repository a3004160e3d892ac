//! What the stores told, for people and machines.

use super::judge;
use super::seen::{Status, Told};
use crate::failure::{Failure, Finding, Kind, Severity};

/// One thing about one store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What it is about.
    pub name: &'static str,
    /// What was seen, or why nothing was.
    pub detail: String,
    /// Whether the store tells it.
    pub is_told: bool,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

impl Line {
    /// What a store tells, in words, and what is wrong with it.
    pub(super) fn of<T>(
        name: &'static str,
        told: &Told<T>,
        shown: impl Fn(&T) -> String,
        judged: impl Fn(&T) -> Vec<Finding>,
    ) -> Self {
        match told {
            Told::Told(told) => Self { name, detail: shown(told), is_told: true, findings: judged(told) },
            Told::NotTold { not_told } => {
                Self { name, detail: format!("not told: {not_told}"), is_told: false, findings: Vec::new() }
            }
        }
    }

    /// Whether it needs a hand.
    pub fn is_error(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }

    fn state(&self) -> &'static str {
        match (self.is_error(), self.findings.is_empty(), self.is_told) {
            (true, ..) => "failed",
            (false, false, _) => "warning",
            (false, true, true) => "ok",
            (false, true, false) => "-",
        }
    }

    /// What was seen and what is wrong, a line each.
    pub fn text(&self) -> String {
        let findings = self.findings.iter().map(ToString::to_string);
        std::iter::once(self.detail.clone()).chain(findings).collect::<Vec<_>>().join("\n")
    }
}

/// All that a host found out about the stores.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The host's label.
    pub host: String,
    /// `main` first.
    pub stores: Vec<Status>,
}

impl Report {
    /// Every store's name and lines.
    pub fn lines(&self) -> impl Iterator<Item = (&str, Vec<Line>)> {
        self.stores.iter().map(|status| (status.shard.as_str(), judge::lines(status)))
    }

    /// The report as a table a store, without a trailing line break.
    pub fn table(&self) -> String {
        let table = |(shard, lines): (&str, Vec<Line>)| {
            let head = if self.stores.len() > 1 { format!("{shard}:\n") } else { String::new() };
            let width = lines.iter().map(|line| line.name.len()).max().unwrap_or(0).max("WHAT".len());
            let mut rows = vec![format!("{:width$}  {:7}  {}", "WHAT", "STATE", "DETAIL")];
            for line in &lines {
                let text = line.text();
                let mut details = text.lines();
                rows.push(format!("{:width$}  {:7}  {}", line.name, line.state(), details.next().unwrap_or_default()));
                rows.extend(details.map(|detail| format!("{:width$}  {:7}  {detail}", "", "")));
            }
            head + &rows.iter().map(|row| row.trim_end()).collect::<Vec<_>>().join("\n")
        };
        self.lines().map(table).collect::<Vec<_>>().join("\n\n")
    }

    /// What a command ends with; `None` where nothing needs a hand.
    pub fn failure(&self) -> Option<Failure> {
        let of = |(shard, lines): (&str, Vec<Line>)| {
            let store = if self.stores.len() > 1 { format!("{shard}: ") } else { String::new() };
            let errors =
                lines.into_iter().flat_map(|line| line.findings.into_iter().map(move |found| (line.name, found)));
            let errors = errors.filter(|(_, finding)| finding.severity == Severity::Error);
            errors.map(move |(name, finding)| format!("{store}{name}: {finding}")).collect::<Vec<_>>()
        };
        let wrong: Vec<String> = self.lines().flat_map(of).collect();
        let message = match &wrong[..] {
            [] => return None,
            [_] => format!("the datastore needs a hand, seen from {}", self.host),
            more => format!("the datastore needs a hand in {} things, seen from {}", more.len(), self.host),
        };
        let failure = wrong.into_iter().fold(Failure::new(Kind::Unhealthy, message), Failure::detail);
        Some(failure.hint("fix these; `etcdless datastore status` looks again and changes nothing"))
    }
}

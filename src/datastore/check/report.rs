//! What the checks found, for people and machines.

use crate::failure::{Failure, Finding, Kind, Severity};

/// One check of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The check's name.
    pub name: &'static str,
    /// What was seen, where all is well.
    pub detail: String,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

impl Line {
    /// All is well.
    pub(super) fn ok(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, detail: detail.into(), findings: Vec::new() }
    }

    /// One thing is wrong.
    pub(super) fn of(name: &'static str, finding: Finding) -> Self {
        Self { name, detail: String::new(), findings: vec![finding] }
    }

    /// Well where nothing is wrong.
    pub(super) fn judged(name: &'static str, detail: impl Into<String>, findings: Vec<Finding>) -> Self {
        Self { name, detail: detail.into(), findings }
    }

    /// The same, of a server that is only one of several; nothing where it was well.
    pub(super) fn into_warning(mut self) -> Option<Self> {
        for finding in &mut self.findings {
            finding.severity = Severity::Warning;
        }
        (!self.findings.is_empty()).then_some(self)
    }

    /// The same, of one of several stores.
    pub(super) fn of_store(mut self, shard: &str) -> Self {
        self.detail = format!("{shard}: {}", self.detail);
        for finding in &mut self.findings {
            finding.what = format!("{shard}: {}", finding.what);
        }
        self
    }

    /// Whether it stops a run.
    pub fn is_error(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }

    fn state(&self) -> &'static str {
        match (self.is_error(), self.findings.is_empty()) {
            (true, _) => "failed",
            (false, false) => "warning",
            (false, true) => "ok",
        }
    }

    /// What was seen, or what is wrong, a line each.
    pub fn text(&self) -> String {
        match self.findings.is_empty() {
            true => self.detail.clone(),
            false => self.findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
        }
    }
}

/// All that a host found out about its server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The host's label.
    pub host: String,
    /// In the order of [`super::NAMES`], store by store.
    pub lines: Vec<Line>,
}

impl Report {
    /// Makes warnings of what is to be ignored; the texts of all warnings.
    pub fn warnings(&self, ignored: impl Fn(&str) -> bool) -> Vec<String> {
        let shown = self.lines.iter().filter(|line| !line.is_error() || ignored(line.name));
        shown.flat_map(|line| line.findings.iter().map(|finding| format!("[{}] {finding}", line.name))).collect()
    }

    /// The report as a table, without a trailing line break.
    pub fn table(&self) -> String {
        let width = self.lines.iter().map(|line| line.name.len()).max().unwrap_or(0).max("CHECK".len());
        let mut rows = vec![format!("{:width$}  {:7}  {}", "CHECK", "STATE", "DETAIL")];
        for line in &self.lines {
            let text = line.text();
            let mut details = text.lines();
            rows.push(format!("{:width$}  {:7}  {}", line.name, line.state(), details.next().unwrap_or_default()));
            rows.extend(details.map(|detail| format!("{:width$}  {:7}  {detail}", "", "")));
        }
        rows.iter().map(|row| row.trim_end()).collect::<Vec<_>>().join("\n")
    }

    /// What a command ends with; `None` where nothing stops it.
    pub fn failure(&self, ignored: impl Fn(&str) -> bool) -> Option<Failure> {
        let wrong: Vec<&Line> = self.lines.iter().filter(|line| line.is_error() && !ignored(line.name)).collect();
        let checks = match wrong.len() {
            0 => return None,
            1 => "1 check".to_owned(),
            more => format!("{more} checks"),
        };
        let message = format!("{checks} of the datastore failed, seen from {}; nothing was changed", self.host);
        let mut failure = Failure::new(Kind::Datastore, message);
        for line in &wrong {
            for finding in &line.findings {
                failure = failure.detail(format!("[ERROR {}] {finding}", line.name));
            }
        }
        let flags: Vec<String> = wrong.iter().map(|line| format!("--ignore-preflight {}", line.name)).collect();
        let failure = failure.hint("fix these; `etcdless datastore check` looks again and changes nothing");
        Some(failure.hint(format!("to go on in spite of it: {}", flags.join(" "))))
    }
}

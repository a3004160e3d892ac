//! What became of each host of a run, and what that makes of the run as a whole. Pure.

use crate::failure::{Failure, Kind};
use crate::ui::Event;

/// What became of one host.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// All of its steps are done; how many there were.
    Done(usize),
    /// It could not be reached, or did not let us in: nothing was done.
    Unreachable(Failure),
    /// It is not fit for what is asked, or could not be looked at: nothing was done.
    Refused(Failure),
    /// A step failed; what was done before it stays done.
    Failed {
        /// The step's ID.
        step: String,
        /// Why.
        failure: Failure,
    },
    /// What its next step waits for on another host will never be done.
    Waits {
        /// The other host's label.
        host: String,
    },
    /// Ctrl-C: how many steps are left.
    Interrupted(usize),
}

/// One host with what became of it.
#[derive(Debug, Clone)]
pub struct HostOutcome {
    /// The host's label.
    pub host: String,
    /// Whether others, or the cluster itself, cannot be without it.
    pub needed: bool,
    /// What became of it.
    pub outcome: Outcome,
}

impl Outcome {
    /// Of a host that was left out before anything was done to it.
    pub fn left_out(failure: Failure) -> Self {
        if failure.kind == Kind::Connection { Self::Unreachable(failure) } else { Self::Refused(failure) }
    }

    /// Whether the host is as described.
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Done(_))
    }

    /// One word or two, for a table's column.
    pub fn state(&self) -> &'static str {
        match self {
            Self::Done(0) => "no changes",
            Self::Done(_) => "done",
            Self::Unreachable(_) => "unreachable",
            Self::Refused(_) => "refused",
            Self::Failed { .. } => "failed",
            Self::Waits { .. } => "skipped",
            Self::Interrupted(_) => "interrupted",
        }
    }

    /// Its own failure, where it has one.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Unreachable(failure) | Self::Refused(failure) | Self::Failed { failure, .. } => Some(failure),
            Self::Done(_) | Self::Waits { .. } | Self::Interrupted(_) => None,
        }
    }

    /// What there is to say beside the state, in one line; nothing where the state says it all.
    pub fn detail(&self) -> String {
        match self {
            Self::Done(0) => String::new(),
            Self::Done(1) => "1 change".into(),
            Self::Done(changes) => format!("{changes} changes"),
            Self::Unreachable(failure) | Self::Refused(failure) => failure.message.clone(),
            Self::Failed { step, failure } => format!("at {step}: {}", failure.message),
            Self::Waits { host } => format!("waits for {host}"),
            Self::Interrupted(left) => format!("{left} steps are left"),
        }
    }
}

impl HostOutcome {
    /// The same for machines.
    pub fn event(&self) -> Event {
        let step = if let Outcome::Failed { step, .. } = &self.outcome { Some(step.clone()) } else { None };
        Event::Outcome { host: self.host.clone(), state: self.outcome.state(), step, detail: self.outcome.detail() }
    }

    /// All that is known of a host that is not done: its failure with the last lines that it printed.
    fn account(&self) -> String {
        let head = format!("{}: {} {}", self.host, self.outcome.state(), self.outcome.detail());
        let Some(failure) = self.outcome.failure() else { return head };
        let details = failure.details.iter().flat_map(|detail| detail.lines()).map(|line| format!("\n  {line}"));
        let output = failure.output.iter().map(|line| format!("\n  | {line}"));
        std::iter::once(head).chain(details).chain(output).collect()
    }
}

/// A table for people, without a trailing line break.
pub fn table(hosts: &[HostOutcome]) -> String {
    let width = |lengths: &mut dyn Iterator<Item = usize>| lengths.max().unwrap_or(0);
    let name = width(&mut hosts.iter().map(|host| host.host.len())).max("HOST".len());
    let state = width(&mut hosts.iter().map(|host| host.outcome.state().len())).max("STATE".len());
    let head = format!("{:name$}  {:state$}  DETAIL", "HOST", "STATE");
    let rows = hosts.iter().map(|host| {
        format!("\n{:name$}  {:state$}  {}", host.host, host.outcome.state(), host.outcome.detail())
            .trim_end_matches(' ')
            .to_owned()
    });
    std::iter::once(head).chain(rows).collect()
}

/// What keeps the cluster itself from being up: the failure of a host that others need, or Ctrl-C.
pub fn fatal(hosts: &[HostOutcome]) -> Option<Failure> {
    let needed = hosts.iter().filter(|host| host.needed);
    if let Some(failure) = needed.clone().find_map(|host| host.outcome.failure()) {
        return Some(failure.clone());
    }
    let left: Vec<String> = hosts
        .iter()
        .filter_map(|host| match host.outcome {
            Outcome::Interrupted(left) => Some(format!("{left} steps of {}", host.host)),
            _ => None,
        })
        .collect();
    if !left.is_empty() {
        let text = format!("interrupted: {} are left to do; what is done stays done", left.join(", "));
        return Some(Failure::new(Kind::Interrupted, text).hint("run the same command again to go on"));
    }
    let waiting = needed.clone().find(|host| !host.outcome.is_done())?;
    // A host that others need waits for one that they can be without: whoever planned that made a mistake.
    Some(Failure::new(Kind::Internal, format!("{} {}", waiting.host, waiting.outcome.detail())))
}

/// What a run ends with whose cluster is up, where some hosts are not done.
pub fn partial(hosts: &[HostOutcome]) -> Option<Failure> {
    let left: Vec<&HostOutcome> = hosts.iter().filter(|host| !host.outcome.is_done()).collect();
    if left.is_empty() {
        return None;
    }
    let labels: Vec<&str> = left.iter().map(|host| host.host.as_str()).collect();
    let message = format!("{} of {} hosts are not done: {}", left.len(), hosts.len(), labels.join(", "));
    let failure =
        left.iter().fold(Failure::new(Kind::Partial, message), |failure, host| failure.detail(host.account()));
    let mut hints: Vec<&String> = Vec::new();
    for hint in left.iter().filter_map(|host| host.outcome.failure()).flat_map(|failure| &failure.hints) {
        if !hints.contains(&hint) {
            hints.push(hint);
        }
    }
    let failure = hints.into_iter().fold(failure, |failure, hint| failure.hint(hint));
    Some(failure.hint("the other hosts are done; run the same command again for what is missing"))
}

/// Several failures as one, with the code of the first; alone, a failure stays as it is.
pub fn together(what: &str, failures: Vec<(String, Failure)>) -> Option<Failure> {
    let labels: Vec<&str> = failures.iter().map(|(host, _)| host.as_str()).collect();
    let message = format!("{what}: {}", labels.join(", "));
    let mut failures = failures.iter().map(|(_, failure)| failure);
    let first = failures.next()?;
    if labels.len() == 1 {
        return Some(first.clone());
    }
    let mut whole = Failure::new(first.kind, message);
    for failure in std::iter::once(first).chain(failures) {
        whole = whole.detail(&failure.message);
        whole = failure.details.iter().fold(whole, |whole, detail| whole.detail(detail));
        for hint in &failure.hints {
            if !whole.hints.contains(hint) {
                whole = whole.hint(hint);
            }
        }
    }
    Some(whole)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test")]
    use super::*;

    fn host(host: &str, needed: bool, outcome: Outcome) -> HostOutcome {
        HostOutcome { host: host.into(), needed, outcome }
    }

    fn failed(kind: Kind) -> Outcome {
        let failure = Failure::new(kind, "join failed").output(vec!["no room".into()]).hint("mend it");
        Outcome::Failed { step: "join/joined".into(), failure }
    }

    #[test]
    fn the_table_says_what_became_of_each() {
        let hosts = [
            host("cp", true, Outcome::Done(60)),
            host("w1", false, Outcome::Done(0)),
            host("worker-2", false, Outcome::Unreachable(Failure::new(Kind::Connection, "no route"))),
            host("w3", false, failed(Kind::Step)),
            host("w4", false, Outcome::Waits { host: "cp".into() }),
        ];
        assert_eq!(
            table(&hosts),
            "HOST      STATE        DETAIL\n\
             cp        done         60 changes\n\
             w1        no changes\n\
             worker-2  unreachable  no route\n\
             w3        failed       at join/joined: join failed\n\
             w4        skipped      waits for cp"
        );
        let partial = partial(&hosts).unwrap();
        assert_eq!(partial.kind, Kind::Partial);
        assert_eq!(partial.message, "3 of 5 hosts are not done: worker-2, w3, w4");
        assert_eq!(partial.details[1], "w3: failed at join/joined: join failed\n  | no room");
        assert_eq!(partial.hints[0], "mend it");
        assert!(fatal(&hosts).is_none());
    }

    #[test]
    fn a_host_that_others_need_decides_the_code() {
        let waits = || Outcome::Waits { host: "db".into() };
        let hosts = [host("cp", true, waits()), host("db", true, failed(Kind::Step)), host("w1", false, waits())];
        assert_eq!(fatal(&hosts).unwrap().kind, Kind::Step);
        let stopped = [host("cp", true, Outcome::Interrupted(3)), host("w1", false, failed(Kind::Step))];
        let failure = fatal(&stopped).unwrap();
        assert_eq!(failure.kind, Kind::Interrupted);
        assert_eq!(failure.message, "interrupted: 3 steps of cp are left to do; what is done stays done");
        assert!(fatal(&[host("cp", true, Outcome::Done(1))]).is_none());
        assert!(super::partial(&[host("cp", true, Outcome::Done(1))]).is_none());
    }

    #[test]
    fn several_failures_are_told_at_once() {
        let one = |text: &str| Failure::new(Kind::Connection, text).hint("see `ssh`");
        let alone = together("cannot be reached", vec![("cp".into(), one("a"))]).unwrap();
        assert_eq!(alone.message, "a");
        let both = together("cannot be reached", vec![("cp".into(), one("a")), ("db".into(), one("b"))]).unwrap();
        assert_eq!(
            (both.message.as_str(), both.details, both.hints.len()),
            ("cannot be reached: cp, db", vec!["a".into(), "b".into()], 1)
        );
    }
}

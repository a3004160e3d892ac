//! Taking a host apart: what is still there, as a list, and the steps that take it away.
//!
//! The same list is what `--dry-run` shows, what the steps follow from, and what proves in the end that nothing is left. It comes from the
//! journal's notes of what was made, and from what Kubernetes is known to leave behind.

pub mod data;
mod remains;

use std::time::Duration;

pub use remains::{Item, Part, Remains};

use futures_util::future::try_join_all;

use super::Step;
use super::plan::{Plan, Planned};
use super::runner::{self, Run, Target};
use crate::failure::{Failure, Kind};
use crate::journal;
use crate::op::{Decision, Op, Script};
use crate::remote::{Mutate, Query, Question};
use crate::ui::{Event, Ui};

/// Puts the lists before a script.
macro_rules! script {
    ($file:literal) => {
        concat!(include_str!("scripts/lists.sh"), include_str!($file))
    };
}

/// How long listing may take: a large node has many files.
const LOOK: Duration = Duration::from_secs(120);

/// What becomes of a cluster's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Data {
    /// It stays where it is.
    #[default]
    Keep,
    /// It is deleted.
    Drop,
    /// It is put aside, beside its place.
    Rename,
}

/// What a host is taken apart for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A node, with what becomes of the SQLite stores on it.
    Node(Data),
    /// A database server that etcdless kept, with its data.
    Server,
}

impl Purpose {
    fn role(self) -> &'static str {
        match self {
            Self::Node(_) => "node",
            Self::Server => "server",
        }
    }

    /// What becomes of files of SQLite stores.
    fn data(self) -> Data {
        match self {
            Self::Node(data) => data,
            Self::Server => Data::Drop,
        }
    }

    fn args(self) -> Vec<String> {
        vec![journal::PATH.into(), self.role().into()]
    }
}

/// Lists what is on a host. `label` is what messages call it.
pub async fn look(host: &impl Query, label: &str, purpose: Purpose) -> Result<Remains, Failure> {
    let question =
        Question { script: script!("scripts/look.sh"), args: purpose.args(), input: Vec::new(), deadline: LOOK };
    let answer = host
        .ask(question)
        .await
        .map_err(|error| Failure::new(runner::kind(&error), format!("cannot look at {label}: {error}")))?;
    Remains::parse(&String::from_utf8_lossy(&answer.stdout)).ok_or_else(|| {
        let said = String::from_utf8_lossy(&answer.stderr).lines().map(str::to_owned).collect();
        Failure::new(Kind::Step, format!("the list of what is on {label} was cut off")).output(said)
    })
}

/// A host that is to be taken apart.
#[derive(Debug)]
pub struct Subject<'a, H> {
    /// The host.
    pub host: &'a H,
    /// What messages call it.
    pub label: String,
    /// What it is taken apart for.
    pub purpose: Purpose,
    /// What was seen on it.
    pub remains: Remains,
}

impl<H> Subject<'_, H> {
    /// What will go, for people: a line a thing under a head line for the host, then what stays and why.
    pub fn text(&self) -> String {
        let goes = self.goes();
        let head = if goes.items.is_empty() { "there is nothing of etcdless's".to_owned() } else { count(&goes) };
        let mut text = format!("{}: {head}\n{}", self.label, goes.text());
        let stores = self.remains.of(Part::Store).filter(|_| self.purpose.data() == Data::Keep);
        text.extend(stores.map(|path| format!("  = kept     {path}\n")));
        text.extend(self.remains.remarks.iter().map(|line| format!("  = {line}\n")));
        text
    }

    /// What is there and will not stay.
    fn goes(&self) -> Remains {
        let kept: &[Part] = if self.purpose.data() == Data::Keep { &[Part::Store] } else { &[] };
        self.remains.clone().without(kept)
    }
}

fn count(remains: &Remains) -> String {
    match remains.items.len() {
        1 => "1 thing goes".into(),
        many => format!("{many} things go"),
    }
}

/// Tells what is planned; returns how many steps there are.
pub fn announce<H>(ui: &Ui, subjects: &[Subject<'_, H>]) -> usize {
    let mut steps = 0;
    for subject in subjects {
        let plans = [taking_apart, forgetting].map(|plan| plan(&subject.label, &subject.remains, subject.purpose));
        for (step, change) in plans.iter().flat_map(Plan::changes) {
            let (host, id, title) = (subject.label.clone(), step.id.clone(), step.title.clone());
            ui.emit(Event::Planned { host, step: id, title, change: change.into() });
            steps += 1;
        }
    }
    steps
}

/// Takes hosts apart, all at once, and looks at each again: what is left is a failure. What etcdless knows of a host goes only once nothing else is
/// left, so that the same command can go on. Returns what stays on purpose.
pub async fn take_apart<H: Mutate>(run: &Run, subjects: &[Subject<'_, H>]) -> Result<Vec<Remains>, Failure> {
    let plan = |subject: &Subject<'_, H>| taking_apart(&subject.label, &subject.remains, subject.purpose);
    run_all(run, subjects, subjects.iter().map(plan).collect()).await?;
    let remains = look_again(subjects).await?;
    clean(subjects, &remains, &[Part::Record])?;
    let plans = subjects.iter().zip(&remains).map(|(subject, left)| forgetting(&subject.label, left, subject.purpose));
    run_all(run, subjects, plans.collect()).await?;
    let remains = look_again(subjects).await?;
    clean(subjects, &remains, &[])?;
    Ok(remains)
}

async fn run_all<H: Mutate>(run: &Run, subjects: &[Subject<'_, H>], plans: Vec<Plan>) -> Result<(), Failure> {
    let target = |(subject, plan)| -> Target<'_, H> {
        let subject: &Subject<'_, H> = subject;
        Target { host: subject.host, arch: "", plan }
    };
    let targets: Vec<Target<'_, H>> = subjects.iter().zip(&plans).map(target).collect();
    runner::run_whole(run, &targets).await
}

async fn look_again<H: Query>(subjects: &[Subject<'_, H>]) -> Result<Vec<Remains>, Failure> {
    try_join_all(subjects.iter().map(|subject| look(subject.host, &subject.label, subject.purpose))).await
}

/// Fails with everything that is left and should not be.
fn clean<H>(subjects: &[Subject<'_, H>], remains: &[Remains], but: &[Part]) -> Result<(), Failure> {
    let mut left = Vec::new();
    for (subject, remains) in subjects.iter().zip(remains) {
        let kept: &[Part] = if subject.purpose.data() == Data::Keep { &[Part::Store] } else { &[] };
        let wrong = remains.clone().without(but).without(kept);
        if !wrong.items.is_empty() {
            left.push((subject.label.as_str(), wrong.text()));
        }
    }
    if left.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = left.iter().map(|(label, _)| *label).collect();
    let failure = Failure::new(Kind::Partial, format!("not clean yet: {}", names.join(", ")));
    let failure = left.iter().fold(failure, |failure, (label, text)| failure.detail(format!("{label}:\n{text}")));
    Err(failure.hint("run the same command again; what stays then is for you to look at"))
}

/// The steps that take everything away but what etcdless knows of the host, in their order.
pub fn taking_apart(label: &str, remains: &Remains, purpose: Purpose) -> Plan {
    let all: [(&str, &str, &[Part], &'static str, u64); 8] = [
        (
            "processes",
            "end Pods and the container runtime",
            &[Part::Process, Part::Unit],
            script!("scripts/processes.sh"),
            120,
        ),
        ("units", "stop and disable services", &[Part::Unit], script!("scripts/units.sh"), 300),
        ("mounts", "unmount what Pods used", &[Part::Mount, Part::Process], script!("scripts/mounts.sh"), 120),
        (
            "network",
            "remove links and rules",
            &[Part::Link, Part::Rule, Part::Process],
            script!("scripts/network.sh"),
            120,
        ),
        ("settings", "put settings back", &[Part::Setting], script!("scripts/settings.sh"), 300),
        ("packages", "remove packages", &[Part::Package], script!("scripts/packages.sh"), 900),
        ("files", "remove files", &[Part::File], script!("scripts/files.sh"), 900),
        ("store", store_title(purpose.data()), &[Part::Store], script!("scripts/store.sh"), 900),
    ];
    let mut steps =
        vec![planned("begin", "note that the host is taken apart", "", script!("scripts/begin.sh"), 60, purpose)];
    for (name, title, parts, text, seconds) in all {
        let concerned = remains.items.iter().filter(|item| parts.contains(&item.part)).count();
        let stays = name == "store" && purpose.data() == Data::Keep;
        if concerned == 0 || stays {
            continue;
        }
        let own = remains.items.iter().filter(|item| item.part == parts[0]).count();
        let mut step = planned(name, title, &counted(own, parts[0]), text, seconds, purpose);
        if let Op::Script(script) = &mut step.step.op {
            script.args.extend((name == "store").then(|| data_word(purpose.data()).to_owned()));
        }
        steps.push(step);
    }
    in_order(label, if steps.len() > 1 { steps } else { Vec::new() })
}

/// The last step: what etcdless knows of the host, the journal at the very end.
pub fn forgetting(label: &str, remains: &Remains, purpose: Purpose) -> Plan {
    let records = remains.items.iter().filter(|item| item.part == Part::Record).count();
    let what = counted(records, Part::Record);
    let step = planned("records", "forget the host", &what, script!("scripts/records.sh"), 300, purpose);
    in_order(label, if records > 0 { vec![step] } else { Vec::new() })
}

fn planned(name: &str, title: &str, what: &str, text: &'static str, seconds: u64, purpose: Purpose) -> Planned {
    let op = Op::Script(Script {
        text: text.into(),
        args: purpose.args(),
        creates: Vec::new(),
        watches: Vec::new(),
        of: String::new(),
        seconds,
    });
    Planned { step: Step::new(format!("reset/{name}"), title, op), decision: Decision::Change(what.to_owned()) }
}

/// One after the other.
fn in_order(label: &str, mut steps: Vec<Planned>) -> Plan {
    let mut before: Option<String> = None;
    for planned in &mut steps {
        planned.step.after = before.replace(planned.step.id.clone()).into_iter().collect();
    }
    Plan { host: label.to_owned(), steps, proxy: None }
}

fn store_title(data: Data) -> &'static str {
    match data {
        Data::Keep => "keep the store",
        Data::Drop => "delete the store",
        Data::Rename => "put the store aside",
    }
}

fn data_word(data: Data) -> &'static str {
    match data {
        Data::Keep => "keep",
        Data::Drop => "drop",
        Data::Rename => "rename",
    }
}

fn counted(count: usize, part: Part) -> String {
    let (one, many) = part.names();
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test")]
    use super::*;

    const HOST: &str = "process\t12 pause\nunit\tkubelet.service\nfile\t/etc/kubernetes\nfile\t/etc/kubernetes/pki\nstore\t/var/lib/etcdless/kine/main.db\n\
        record\t/var/lib/etcdless/journal\nremark\t/opt stays\nend\n";

    fn names(plan: &Plan) -> Vec<&str> {
        plan.steps.iter().map(|planned| planned.step.id.as_str()).collect()
    }

    #[test]
    fn only_what_is_there_is_taken_away_and_the_store_only_when_asked() {
        let remains = Remains::parse(HOST).unwrap();
        let kept = taking_apart("cp", &remains, Purpose::Node(Data::Keep));
        assert_eq!(
            names(&kept),
            ["reset/begin", "reset/processes", "reset/units", "reset/mounts", "reset/network", "reset/files"]
        );
        assert_eq!(kept.steps[2].step.after, ["reset/processes"]);
        let dropped = taking_apart("cp", &remains, Purpose::Node(Data::Drop));
        assert_eq!(names(&dropped).last(), Some(&"reset/store"));
        let Op::Script(script) = &dropped.steps.last().unwrap().step.op else { panic!("a script") };
        assert_eq!(script.args.last().unwrap(), "drop");
        assert_eq!(names(&forgetting("cp", &remains, Purpose::Node(Data::Keep))), ["reset/records"]);
    }

    #[test]
    fn a_clean_host_wants_nothing() {
        let kept = Remains::parse("store\t/var/lib/etcdless/kine/main.db\nend\n").unwrap();
        assert!(names(&taking_apart("cp", &kept, Purpose::Node(Data::Keep))).is_empty());
        assert!(names(&forgetting("cp", &kept, Purpose::Node(Data::Keep))).is_empty());
        assert_eq!(names(&taking_apart("cp", &kept, Purpose::Node(Data::Rename))), ["reset/begin", "reset/store"]);
    }
}

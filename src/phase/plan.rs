//! From facts to a plan: every step of the chosen phases with its decision. `--dry-run` prints it; the runner runs just that.

use std::collections::{BTreeMap, BTreeSet};

use super::{Context, PHASES, Step, hooks};
use crate::config::ProxyEnvironment;
use crate::facts::Probes;
use crate::failure::{Failure, Kind};
use crate::op::{Decision, Fetch, Image, Op, Pending, Release};

/// What is to become of one host.
#[derive(Debug)]
pub struct Plan {
    /// The host's label.
    pub host: String,
    /// Every step, in the order of the phases.
    pub steps: Vec<Planned>,
    /// What the host goes through, for people.
    pub proxy: Option<String>,
}

/// A step and whether the host needs it.
#[derive(Debug)]
pub struct Planned {
    /// What should be so.
    pub step: Step,
    /// Whether it is.
    pub decision: Decision,
}

/// Which phases run: `--only`, `--skip`, `--from`.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Only these, or these of their steps by ID; all where it is empty.
    pub only: Vec<String>,
    /// Not these.
    pub skip: Vec<String>,
    /// Not those before this one.
    pub from: Option<String>,
}

impl Selection {
    /// Fails with kind Usage when a name is no phase.
    pub fn check(&self) -> Result<(), Failure> {
        let known = names();
        match self.only.iter().chain(&self.skip).chain(&self.from).find(|name| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => Err(Failure::new(Kind::Usage, format!("`{name}` is not a phase"))
                .hint(format!("the phases are {}", known.join(", ")))),
        }
    }

    /// Whether a phase is chosen, or some of its steps are.
    pub fn has(&self, phase: &str) -> bool {
        let place = |name: &str| names().iter().position(|known| *known == name);
        let is_of = |name: &String| name.split('/').next() == Some(phase);
        (self.only.is_empty() || self.only.iter().any(is_of))
            && !self.skip.iter().any(|name| name == phase)
            && self.from.as_deref().is_none_or(|from| place(phase) >= place(from))
    }

    /// Whether a step is chosen.
    fn takes(&self, step: &Step) -> bool {
        let is_named = || self.only.iter().any(|name| *name == step.id || name == step.phase());
        self.has(step.phase()) && (self.only.is_empty() || is_named())
    }
}

/// Every phase's name in order, the two that only read included.
pub fn names() -> Vec<&'static str> {
    let changing = PHASES.iter().map(|phase| phase.name);
    std::iter::once("preflight").chain(changing).chain(["verify"]).collect()
}

/// Every step that the phases want on a host, chosen or not, in order.
pub fn steps(context: &Context<'_>) -> Result<Vec<Step>, Failure> {
    let mut steps = Vec::new();
    for phase in PHASES.iter().filter(|phase| (phase.concerns)(context.node.role)) {
        steps.extend((phase.steps)(context)?);
    }
    link_fetches(&mut steps);
    if context.sources.packages {
        bundle_packages(&mut steps, context);
    }
    if let Some(proxy) = context.proxy {
        steps.iter_mut().for_each(|step| download_through(&mut step.op, proxy));
    }
    Ok(steps)
}

/// What a host downloads by itself goes through the proxy.
fn download_through(op: &mut Op, proxy: &ProxyEnvironment) {
    match op {
        Op::Fetch(Fetch { environment, .. })
        | Op::Image(Image { environment, .. })
        | Op::Package { environment, .. } => *environment = proxy.variables(),
        _ => {}
    }
}

/// Tells each transfer where its contents end up, from the steps that install or unpack the staged file.
fn link_fetches(steps: &mut [Step]) {
    let mut yields: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for step in steps.iter() {
        if let Op::Install { staged, .. } | Op::Unpack { staged, .. } = &step.op {
            yields.entry(staged.clone()).or_default().extend(step.op.changes());
        }
    }
    for step in steps {
        if let Op::Fetch(fetch) = &mut step.op {
            fetch.yields = yields.remove(&fetch.staged).unwrap_or_default();
        }
    }
}

/// Tells each installation of packages which of a bundle's packages are this host's.
fn bundle_packages(steps: &mut [Step], context: &Context<'_>) {
    let release = Release {
        distribution: context.facts.os.id.clone(),
        version: context.facts.os.version.clone(),
        arch: context.node.arch.into(),
    };
    for step in steps {
        if let Op::Package { bundled, .. } = &mut step.op {
            *bundled = Some(release.clone());
        }
    }
}

/// What facts must answer so that the steps can be decided.
pub fn probes(steps: &[Step]) -> Probes {
    let mut probes = Probes::default();
    for step in steps {
        probes.extend(step.op.probes());
    }
    probes
}

/// Compares steps with facts. Nothing on a host changes before every file has arrived and been verified: each step waits for all
/// transfers, so that a broken mirror leaves the host as it was.
pub fn plan(context: &Context<'_>, steps: Vec<Step>, selection: &Selection) -> Plan {
    let mut pending = Pending::new();
    let mut fetches = BTreeSet::new();
    let mut planned = Vec::new();
    let ids: Vec<String> = steps.iter().map(|step| step.id.clone()).collect();
    for mut step in steps.into_iter().filter(|step| selection.takes(step)) {
        let decision = step.op.decide(&step.id, context.facts, &pending);
        if let Decision::Change(_) = decision {
            pending.extend(step.op.changes());
            if matches!(step.op, Op::Fetch(_)) {
                fetches.insert(step.id.clone());
            } else {
                step.after.extend(fetches.iter().cloned());
            }
        }
        step.after = step.after.iter().flat_map(|id| expand(id, &ids)).collect();
        planned.push(Planned { step, decision });
    }
    hooks::weave(context, &mut planned);
    let proxy = context.proxy.map(ToString::to_string);
    Plan { host: context.node.label.clone(), steps: planned, proxy }
}

/// A phase's name in `after` stands for all of its steps.
fn expand(id: &str, ids: &[String]) -> Vec<String> {
    if id.contains('/') {
        return vec![id.into()];
    }
    ids.iter().filter(|step| step.split_once('/').is_some_and(|(phase, _)| phase == id)).cloned().collect()
}

impl Plan {
    /// The steps that change something, in order.
    pub fn changes(&self) -> impl Iterator<Item = (&Step, &str)> {
        self.steps.iter().filter_map(|planned| match &planned.decision {
            Decision::Change(what) => Some((&planned.step, what.as_str())),
            Decision::AlreadySo => None,
        })
    }

    /// For people: a line a change, under a head line for the host.
    pub fn text(&self) -> String {
        let changes: Vec<_> = self.changes().collect();
        if changes.is_empty() {
            return format!("{}: no changes\n", self.host);
        }
        let width = changes.iter().map(|(step, _)| step.id.len()).max().unwrap_or(0);
        let mut text = format!("{}: {} of {} steps\n", self.host, changes.len(), self.steps.len());
        if let Some(proxy) = &self.proxy {
            text.push_str(&format!("  through the proxy {proxy}\n"));
        }
        for (step, what) in changes {
            text.push_str(&format!("  + {:width$}  {} ({what})\n", step.id, step.title));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test")]
    use super::*;

    #[test]
    fn phases_are_chosen_by_only_skip_and_from() {
        let all = |selection: Selection| names().into_iter().filter(|name| selection.has(name)).collect::<Vec<_>>();
        let list = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(all(Selection { only: list(&["node", "kine"]), ..Default::default() }), ["node", "kine"]);
        assert_eq!(
            all(Selection { from: Some("kine".into()), skip: list(&["network"]), ..Default::default() }),
            ["kine", "control-plane", "join", "verify"]
        );
        let single = Selection { only: list(&["artifacts/kine", "kine"]), ..Default::default() };
        assert_eq!(all(single.clone()), ["artifacts", "kine"]);
        let step = |id: &str| Step::new(id, "", Op::Directory { path: "/etc".into(), mode: 0o755 });
        let taken =
            ["artifacts/kine", "artifacts/runc", "kine/manifest", "node/swap"].map(|id| single.takes(&step(id)));
        assert_eq!(taken, [true, false, true, false]);
        let wrong = Selection { skip: list(&["nodes"]), ..Default::default() }.check();
        assert_eq!(wrong.unwrap_err().message, "`nodes` is not a phase");
    }
}

//! Preparation of nodes and database servers that differs by distribution, as data (`playbooks/*.yaml`): steps of the closed set of operations, without loops,
//! includes or registers. A step that needs to know the cluster's state is Rust and belongs to a phase.

mod inputs;
mod load;
mod schema;
mod when;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

pub use inputs::{Inputs, Server, Versions};

use crate::assets::Assets;
use crate::facts::{Facts, Probes};
use crate::failure::{Failure, Kind};
use crate::op::{File, Op, Script};
use crate::render;
use schema::{Artifact, Change, Path, Playbook, Scalar, Step, Variant, Word};

/// Where fetched files wait until a step puts them in place; each is called as the catalogue calls it.
pub const STAGING: &str = "/var/lib/etcdless/artifacts";

/// One step of a playbook on one host.
#[derive(Debug, Clone)]
pub struct Task {
    /// Unique over all playbooks.
    pub name: String,
    /// For people.
    pub title: String,
    /// What is to be so.
    pub op: Op,
    /// Names of tasks that come before.
    pub after: Vec<String>,
}

/// Everything that playbooks want on this host. A task never comes before one that it is after.
pub fn tasks(assets: &Assets, inputs: &Inputs, facts: &Facts) -> Result<Vec<Task>, Failure> {
    let mut tasks: Vec<Task> = Vec::new();
    let mut members: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for playbook in load::all(assets)? {
        let meant = playbook.server == inputs.server.as_ref().map(|server| server.engine);
        if !meant || !playbook.when.holds(inputs, facts) {
            continue;
        }
        let variant = choose(assets, &playbook, inputs, facts)?;
        let steps: Vec<&Step> = variant
            .map_or(&[][..], |variant| &variant.steps)
            .iter()
            .chain(&playbook.steps)
            .filter(|step| step.when.holds(inputs, facts))
            .collect();
        let host = Host { assets, inputs, sysctl: sysctls(&steps, facts), playbook: &playbook };
        let own: Vec<Task> = steps.into_iter().map(|step| host.task(step)).collect::<Result<_, _>>()?;
        members
            .insert(format!("{}/*", playbook.name.value.as_str()), own.iter().map(|task| task.name.clone()).collect());
        tasks.extend(own);
    }
    for task in &mut tasks {
        task.after = expand(&task.after, &members);
    }
    ordered(tasks)
}

/// Only names of tasks that there are; `PLAYBOOK/*` is all of its tasks.
fn expand(after: &[String], members: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let planned = |name: &String| members.values().any(|names| names.contains(name));
    let one = |name: &String| members.get(name).cloned().unwrap_or_else(|| vec![name.clone()]);
    after.iter().flat_map(one).filter(planned).collect()
}

/// The same tasks, moved only as far as their order asks.
fn ordered(mut tasks: Vec<Task>) -> Result<Vec<Task>, Failure> {
    let mut sorted: Vec<Task> = Vec::with_capacity(tasks.len());
    while !tasks.is_empty() {
        let waits = |task: &Task| task.after.iter().any(|name| tasks.iter().any(|other| other.name == *name));
        let Some(next) = tasks.iter().position(|task| !waits(task)) else {
            let names: Vec<&str> = tasks.iter().map(|task| task.name.as_str()).collect();
            let message = format!("steps of the playbooks wait for each other: {}", names.join(", "));
            return Err(Failure::new(Kind::Config, message));
        };
        sorted.push(tasks.remove(next));
    }
    Ok(sorted)
}

/// What facts must answer for any playbook on any host: they are gathered before it is known which steps apply.
pub fn probes(assets: &Assets) -> Result<Probes, Failure> {
    let mut probes = Probes::default();
    for playbook in load::all(assets)? {
        for step in load::every_step(&playbook) {
            if let Ok(change) = step.change() {
                probes.extend(look(change).probes());
            }
        }
    }
    // Which configuration containerd reads depends on the version of its package.
    probes.packages.insert("containerd".into());
    Ok(probes)
}

/// The kernel features that playbooks name, for `Facts::features`.
pub fn features(assets: &Assets) -> Result<BTreeSet<String>, Failure> {
    let name = |step: &Step| step.module.as_ref().map(|Word(name)| name.clone());
    Ok(load::all(assets)?
        .iter()
        .flat_map(|playbook| load::every_step(playbook).filter_map(name).collect::<Vec<_>>())
        .collect())
}

/// The one variant that fits; `None` where the playbook has no variants.
fn choose<'a>(
    assets: &Assets,
    playbook: &'a Playbook,
    inputs: &Inputs,
    facts: &Facts,
) -> Result<Option<&'a Variant>, Failure> {
    let name = playbook.name.value.as_str();
    let fitting: Vec<&Variant> = playbook.variants.iter().filter(|variant| variant.when.holds(inputs, facts)).collect();
    match fitting[..] {
        [] if playbook.variants.is_empty() => Ok(None),
        [variant] => Ok(Some(variant)),
        [] => {
            let message = format!("the playbook {name} has no variant for {}", facts.os.name);
            let known = playbook.variants.iter().map(|variant| variant.name.value.as_str()).collect::<Vec<_>>();
            let way_out = match playbook.server {
                None => "spec.runtime.install: release works on every distribution",
                Some(_) => "install the server yourself and describe it under `external`, or use another distribution",
            };
            Err(Failure::new(Kind::Preflight, message)
                .detail(format!("{name} is {}; its variants are {}", playbook.about, known.join(", ")))
                .hint(way_out)
                .hint("etcdless assets export DIR, then --assets DIR, adds a variant of your own"))
        }
        [first, second, ..] => {
            let place = assets.describe(&format!("playbooks/{name}.yaml"));
            let (first, second) = (first.name.value.as_str(), second.name.value.as_str());
            let message = format!("{place}: the variants {first} and {second} both fit {}", facts.os.name);
            Err(Failure::new(Kind::Config, message))
        }
    }
}

/// The value that each sysctl of these steps has once they are done: a floor leaves a larger value alone, now and at the next boot.
fn sysctls<'a>(steps: &[&'a Step], facts: &Facts) -> BTreeMap<&'a str, u64> {
    let value = |step: &&'a Step| {
        let sysctl = step.sysctl.as_ref()?;
        let now = facts.sysctls.get(&sysctl.key.0).and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        Some((sysctl.key.0.as_str(), if sysctl.at_least { sysctl.value.max(now) } else { sysctl.value }))
    };
    steps.iter().filter_map(value).collect()
}

/// One playbook on one host.
struct Host<'a> {
    assets: &'a Assets,
    inputs: &'a Inputs,
    sysctl: BTreeMap<&'a str, u64>,
    playbook: &'a Playbook,
}

impl Host<'_> {
    fn task(&self, step: &Step) -> Result<Task, Failure> {
        let name = step.name.value.as_str();
        let change = step.change().map_err(|_| Failure::new(Kind::Internal, format!("{name} was not checked")))?;
        let op = match change {
            Change::File(file) => Op::File(File::new(&file.path.0, file.mode.0, self.content(step, file)?)),
            Change::Install(install) => Op::Install {
                staged: staged(install.artifact),
                path: install.path.0.clone(),
                mode: install.mode.0,
                version: self.inputs.version(install.artifact).into(),
            },
            Change::Unpack(unpack) => Op::Unpack {
                staged: staged(unpack.artifact),
                into: unpack.into.0.clone(),
                creates: paths(&unpack.creates),
                version: self.inputs.version(unpack.artifact).into(),
            },
            Change::Script(script) => Op::Script(Script {
                text: Cow::Owned(script.run.clone()),
                args: script.args.iter().map(|arg| self.string(step, arg)).collect::<Result<_, _>>()?,
                creates: paths(&script.creates),
                watches: paths(&script.watches),
                of: String::new(),
                seconds: script.seconds,
            }),
            plain => look(plain),
        };
        let title = match &step.title {
            Some(title) => self.string(step, title)?,
            None => self.title(change),
        };
        let after = step.after.iter().map(|other| other.value.clone()).collect();
        Ok(Task { name: name.into(), title, op, after })
    }

    fn content(&self, step: &Step, file: &schema::File) -> Result<String, Failure> {
        match (&file.template, &file.content) {
            (Some(template), _) => {
                let scope = self.inputs.scope(self.sysctl.clone(), &self.playbook.vars, &file.with);
                render::render(self.assets, template, &scope)
            }
            (None, content) => self.string(step, content.as_deref().unwrap_or_default()),
        }
    }

    /// A string of the playbook with its variables filled in.
    fn string(&self, step: &Step, text: &str) -> Result<String, Failure> {
        let none: BTreeMap<String, Scalar> = BTreeMap::new();
        let scope = self.inputs.scope(self.sysctl.clone(), &self.playbook.vars, &none);
        let file = self.assets.describe(&format!("playbooks/{}.yaml", self.playbook.name.value.as_str()));
        let line = step.name.referenced.line();
        render::render_plain(&format!("{file}:{line}: in the step `{}`", step.name.value.as_str()), text, &scope)
    }

    fn title(&self, change: Change<'_>) -> String {
        match change {
            Change::Directory(directory) => format!("create {}", directory.path.0),
            Change::File(file) => format!("write {}", file.path.0),
            Change::Install(schema::Install { artifact, .. }) | Change::Unpack(schema::Unpack { artifact, .. }) => {
                format!("install {} {}", artifact.name(), self.inputs.version(*artifact))
            }
            Change::Package(names) => format!("install the packages {}", words(names).join(", ")),
            Change::Module(Word(name)) => format!("load the kernel module {name}"),
            Change::Sysctl(sysctl) if sysctl.at_least => format!("set {} to at least {}", sysctl.key.0, sysctl.value),
            Change::Sysctl(sysctl) => format!("set {} to {}", sysctl.key.0, sysctl.value),
            Change::SwapOff => "turn swap off".into(),
            Change::Unit(unit) if unit.running => format!("start {}", unit.name.0),
            Change::Unit(unit) => format!("enable {}", unit.name.0),
            Change::Script(_) => "run a script".into(),
        }
    }
}

/// The operation without what has to be filled in: enough to know what to look at, and all of it where nothing can be filled in.
fn look(change: Change<'_>) -> Op {
    match change {
        Change::Directory(directory) => Op::Directory { path: directory.path.0.clone(), mode: directory.mode.0 },
        Change::File(file) => Op::File(File::new(&file.path.0, file.mode.0, "")),
        Change::Install(install) => Op::Install {
            staged: staged(install.artifact),
            path: install.path.0.clone(),
            mode: install.mode.0,
            version: String::new(),
        },
        Change::Unpack(unpack) => Op::Unpack {
            staged: staged(unpack.artifact),
            into: unpack.into.0.clone(),
            creates: paths(&unpack.creates),
            version: String::new(),
        },
        Change::Package(names) => Op::Package { names: words(names), bundled: None, environment: Vec::new() },
        Change::Module(Word(name)) => Op::Module { name: name.clone() },
        Change::Sysctl(sysctl) => {
            Op::Sysctl { key: sysctl.key.0.clone(), value: sysctl.value.to_string(), at_least: sysctl.at_least }
        }
        Change::SwapOff => Op::SwapOff,
        Change::Unit(unit) => {
            Op::Unit { name: unit.name.0.clone(), running: unit.running, watches: paths(&unit.watches) }
        }
        Change::Script(script) => Op::Script(Script {
            text: Cow::Borrowed(""),
            args: Vec::new(),
            creates: paths(&script.creates),
            watches: paths(&script.watches),
            of: String::new(),
            seconds: script.seconds,
        }),
    }
}

fn staged(artifact: Artifact) -> String {
    format!("{STAGING}/{}", artifact.name())
}

fn paths(paths: &[Path]) -> Vec<String> {
    paths.iter().map(|Path(path)| path.clone()).collect()
}

fn words(words: &[Word]) -> Vec<String> {
    words.iter().map(|Word(word)| word.clone()).collect()
}

//! `spec.hooks`: programs of the user's own before and after phases.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::validate::Violation;
use super::{Cluster, DnsLabel, Host, Role};

/// The most bytes of a program that a host runs: it travels on a command line.
const MAX_BYTES: u64 = 16 << 10;

/// Programs of the user's own before and after phases, by the phase's name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Hooks {
    /// Run on a host before the phase changes anything there; one that fails stops that host.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub before: BTreeMap<String, Vec<Hook>>,
    /// Run on a host once the phase's changes are made there; one that fails stops that host and is run again by the next run.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub after: BTreeMap<String, Vec<Hook>>,
}

/// One program: either `local` or `host`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Hook {
    /// A program that runs on this machine, once a host: a path relative to cluster.yaml.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<PathBuf>,
    /// A program that is sent to the host and runs there as root: a path relative to cluster.yaml.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<PathBuf>,
    /// After this time it is ended, with all that it started.
    #[schemars(range(min = 1, max = 3600))]
    #[serde(default = "minute")]
    pub timeout_seconds: u16,
    /// Only for hosts of these roles; for all where it is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<Role>,
    /// Only for hosts of these names; for all where it is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<DnsLabel>,
}

fn minute() -> u16 {
    60
}

impl Hooks {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.before.is_empty() && self.after.is_empty()
    }

    /// Every hook with its place in the document.
    fn all(&self) -> impl Iterator<Item = (String, &Hook)> {
        let before = self.before.iter().map(|(phase, hooks)| ("before", phase, hooks));
        let phases = before.chain(self.after.iter().map(|(phase, hooks)| ("after", phase, hooks)));
        phases.flat_map(|(when, phase, hooks)| {
            let place = move |index: usize| format!("spec.hooks.{when}.{phase}[{index}]");
            hooks.iter().enumerate().map(move |(index, hook)| (place(index), hook))
        })
    }

    /// Every path in it, to be made independent of where the command runs.
    pub(super) fn paths_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let hooks = self.before.values_mut().chain(self.after.values_mut()).flatten();
        hooks.flat_map(|hook| [hook.local.as_mut(), hook.host.as_mut()]).flatten()
    }

    /// The texts of all programs that hosts run, by path.
    pub fn texts(&self) -> Result<BTreeMap<PathBuf, String>, std::io::Error> {
        let paths = self.all().filter_map(|(_, hook)| hook.host.as_ref());
        paths.map(|path| Ok((path.clone(), fs::read_to_string(path)?))).collect()
    }
}

impl Hook {
    /// Whether it runs for a host.
    pub fn concerns(&self, label: &str, role: Role) -> bool {
        (self.roles.is_empty() || self.roles.contains(&role))
            && (self.hosts.is_empty() || self.hosts.iter().any(|name| name.as_str() == label))
    }
}

/// One of `local` and `host`, and only hosts that there are.
pub(super) fn check(cluster: &Cluster) -> Vec<Violation> {
    let mut broken = Vec::new();
    for (place, hook) in cluster.spec.hooks.all() {
        if hook.local.is_some() == hook.host.is_some() {
            broken.push(
                Violation::new(&place, "a hook has one program, and says where it runs")
                    .suggest("write either `local: PATH` (this machine) or `host: PATH` (the host, as root)"),
            );
        }
        for (index, name) in hook.hosts.iter().enumerate() {
            let known = |host: &Host| host.name.as_ref() == Some(name);
            if !cluster.spec.hosts.iter().any(known) {
                broken.push(
                    Violation::new(format!("{place}.hosts[{index}]"), format!("no host is named `{name}`"))
                        .suggest("use the `name` of a host in `spec.hosts`"),
                );
            }
        }
    }
    broken
}

/// Programs that are not there, or cannot run.
pub(super) fn missing(cluster: &Cluster) -> Vec<Violation> {
    let hooks = cluster.spec.hooks.all();
    let broken = hooks.flat_map(|(place, hook)| {
        let local = hook.local.as_ref().and_then(|path| runs_here(path).map(|broken| ("local", broken)));
        let host = hook.host.as_ref().and_then(|path| runs_there(path).map(|broken| ("host", broken)));
        let broken = local.into_iter().chain(host);
        broken
            .map(|(field, (message, advice))| Violation::new(format!("{place}.{field}"), message).suggest(advice))
            .collect::<Vec<_>>()
    });
    broken.collect()
}

fn no_file(path: &Path) -> (String, &'static str) {
    let advice = "a relative path begins at the folder of cluster.yaml, or with `--set` where the command runs";
    (format!("there is no file `{}`", path.display()), advice)
}

fn runs_here(path: &Path) -> Option<(String, &'static str)> {
    match fs::metadata(path) {
        Ok(about) if about.is_file() && about.permissions().mode() & 0o111 != 0 => None,
        Ok(about) if about.is_file() => Some((format!("`{}` is not executable", path.display()), "chmod +x it")),
        _ => Some(no_file(path)),
    }
}

fn runs_there(path: &Path) -> Option<(String, &'static str)> {
    match fs::metadata(path) {
        Ok(about) if about.is_file() && about.len() <= MAX_BYTES => {}
        Ok(about) if about.is_file() => {
            let message = format!("`{}` has {} bytes; {MAX_BYTES} is the most", path.display(), about.len());
            return Some((message, "let a small script fetch what is larger"));
        }
        _ => return Some(no_file(path)),
    }
    let starts = fs::read_to_string(path).is_ok_and(|text| text.starts_with("#!"));
    let message = || format!("`{}` does not say what runs it", path.display());
    (!starts).then(|| (message(), "let it be a text that starts with a line such as `#!/bin/sh`"))
}

//! Checks of a host before anything is changed. kubeadm's own preflight is skipped (kine cannot pass its `ExternalEtcdVersion`), so its checks are
//! here under its names, beside ours. All that is wrong with all hosts is told at once.
//!
//! A new check is one function and one line in `list.rs`.

mod existing;
mod list;
mod machine;
mod proxy;
mod versions;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::config::{Cluster, Host, Role};
use crate::datastore;
use crate::facts::{Facts, Probes};
use crate::failure::{Failure, Finding, Kind, Severity};

pub use list::CHECKS;
pub use proxy::{NAME as PROXY, ask as ask_proxy};

/// The description of the cluster that a control plane keeps.
const RECORD: &str = "/etc/etcdless/cluster.yaml";

/// kubeadm's manifest of etcd, which a host of ours never has.
const ETCD_MANIFEST: &str = "/etc/kubernetes/manifests/etcd.yaml";

/// One named check. Pure.
#[derive(Debug)]
pub struct Check {
    /// What `--ignore-preflight` takes.
    pub name: &'static str,
    /// One sentence for help.
    pub about: &'static str,
    /// Finds what is wrong; nothing where all is well.
    pub run: fn(&Subject<'_>) -> Vec<Finding>,
    /// Whether a run could go on in spite of it.
    pub ignorable: bool,
    /// Whether it has to do with hosts of a role.
    pub concerns: fn(Role) -> bool,
}

/// Everything that a check may know.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The whole description.
    pub cluster: &'a Cluster,
    /// The host in question.
    pub host: &'a Host,
    /// What it looks like.
    pub facts: &'a Facts,
    /// All hosts of the run, this one among them.
    pub hosts: &'a [(&'a Host, &'a Facts)],
    /// Bytes that the run will write, by path.
    pub need: &'a BTreeMap<String, u64>,
}

/// What does not stop the run, or was told not to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// The host's label.
    pub host: String,
    /// The check's name.
    pub check: &'static str,
    /// What, why and the fix, in one line that starts with the host's label.
    pub text: String,
    /// Whether `--ignore-preflight` made a warning of an error.
    pub ignored: bool,
}

/// The checks whose errors are to be warnings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ignore(BTreeSet<&'static str>);

impl Ignore {
    /// Reads the values of `--ignore-preflight`, in any case; `all` stands alone. An unknown name is a usage error that lists the known ones.
    pub fn parse(names: &[String]) -> Result<Self, Failure> {
        let known =
            || CHECKS.iter().map(|check| check.name).chain(datastore::check::NAMES.iter().map(|(name, _)| *name));
        if names.iter().any(|name| name.eq_ignore_ascii_case("all")) {
            return match names.len() {
                1 => Ok(Self(known().collect())),
                _ => Err(Failure::new(Kind::Usage, "--ignore-preflight all stands for every check: give it alone")),
            };
        }
        let find = |name: &String| {
            known().find(|known| known.eq_ignore_ascii_case(name)).ok_or_else(|| {
                Failure::new(Kind::Usage, format!("--ignore-preflight {name}: there is no such check"))
                    .hint(format!("the checks are {}, or all", known().collect::<Vec<_>>().join(", ")))
            })
        };
        names.iter().map(find).collect::<Result<_, _>>().map(Self)
    }

    /// Whether errors of this check are to be warnings.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains(name)
    }
}

/// What the facts must answer beside the general look.
pub fn probes() -> Probes {
    Probes {
        texts: BTreeSet::from([RECORD.into()]),
        files: BTreeSet::from([ETCD_MANIFEST.into(), existing::AUTHORITY.into()]),
        packages: existing::PACKAGES.into_iter().chain([versions::CONTAINERD]).map(Into::into).collect(),
        ..Probes::default()
    }
}

/// Whether a cluster of ours has begun to keep its state where the description says.
pub fn holds_cluster(facts: &Facts) -> bool {
    facts.journal.steps.keys().any(|step| step.starts_with("kine/") || step.starts_with("control-plane/"))
}

/// What checks found wrong with a host.
#[derive(Debug)]
pub struct Refusal {
    /// The host's label.
    host: String,
    check: &'static Check,
    text: String,
}

/// Runs every check that concerns it on every host. `need` is what the run will write there, in bytes by path. The failure holds one line
/// a finding.
pub fn check(
    cluster: &Cluster,
    hosts: &[(&Host, &Facts)],
    need: impl Fn(&Host, &Facts) -> BTreeMap<String, u64>,
    ignore: &Ignore,
) -> Result<Vec<Warning>, Failure> {
    let (warnings, errors) = findings(cluster, hosts, need, ignore);
    if errors.is_empty() { Ok(warnings) } else { Err(refuse(&errors)) }
}

/// The same, told apart: what does not stop the run, and what is wrong.
pub fn findings(
    cluster: &Cluster,
    hosts: &[(&Host, &Facts)],
    need: impl Fn(&Host, &Facts) -> BTreeMap<String, u64>,
    ignore: &Ignore,
) -> (Vec<Warning>, Vec<Refusal>) {
    let (mut warnings, mut errors) = (Vec::new(), Vec::new());
    for &(host, facts) in hosts {
        let subject = Subject { cluster, host, facts, hosts, need: &need(host, facts) };
        for check in CHECKS.iter().filter(|check| (check.concerns)(host.role)) {
            for finding in (check.run)(&subject) {
                let text = format!("{} {finding}", host.label());
                let ignored = check.ignorable && ignore.has(check.name);
                if finding.severity == Severity::Error && !ignored {
                    errors.push(Refusal { host: host.label(), check, text });
                } else {
                    let ignored = finding.severity == Severity::Error;
                    warnings.push(Warning { host: host.label(), check: check.name, text, ignored });
                }
            }
        }
    }
    (warnings, errors)
}

/// That a host does not get through the proxy, as one failure; nothing where that is to be ignored.
pub fn proxy_refuses(host: &str, finding: &Finding) -> Failure {
    refuse(&[Refusal { host: host.into(), check: &proxy::PROXY, text: format!("{host} {finding}") }])
}

/// What is wrong as one failure a host, by its label.
pub fn refused(errors: Vec<Refusal>) -> BTreeMap<String, Failure> {
    let mut hosts: BTreeMap<String, Vec<Refusal>> = BTreeMap::new();
    for error in errors {
        hosts.entry(error.host.clone()).or_default().push(error);
    }
    hosts.into_iter().map(|(host, errors)| (host, refuse(&errors))).collect()
}

/// What is wrong as one failure.
pub fn refuse(errors: &[Refusal]) -> Failure {
    let labels: BTreeSet<&str> = errors.iter().map(|error| error.host.as_str()).collect();
    let labels = labels.into_iter().collect::<Vec<_>>().join(", ");
    let checks =
        if errors.len() == 1 { "1 preflight check".into() } else { format!("{} preflight checks", errors.len()) };
    let mut failure = Failure::new(Kind::Preflight, format!("{checks} failed on {labels}; nothing was changed"));
    for error in errors {
        failure = failure.detail(format!("[ERROR {}] {}", error.check.name, error.text));
    }
    failure = failure.hint("fix these and run the same command again");
    let names: BTreeSet<&str> =
        errors.iter().filter(|error| error.check.ignorable).map(|error| error.check.name).collect();
    if !names.is_empty() {
        let flags: Vec<String> = names.iter().map(|name| format!("--ignore-preflight {name}")).collect();
        failure = failure.hint(format!("to go on in spite of it: {}", flags.join(" ")));
    }
    failure
}

impl Refusal {
    /// The host's label.
    pub fn host(&self) -> &str {
        &self.host
    }
}

impl Subject<'_> {
    fn is_control_plane(&self) -> bool {
        self.host.role == Role::ControlPlane
    }

    /// The node's name in Kubernetes.
    fn node_name(&self) -> String {
        self.host.name.as_ref().map_or_else(|| self.facts.hostname.clone(), ToString::to_string)
    }

    /// Whether etcdless has begun to work on this host. Its first step came after a preflight that found the host empty.
    fn is_ours(&self) -> bool {
        !self.facts.journal.steps.is_empty()
    }
}

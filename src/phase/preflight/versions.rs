//! Checks of versions that do not go together, or that nobody has tried together.

use super::{Finding, Subject};
use crate::cluster::versions::{self, Severity};
use crate::config::Install;

/// The package that is asked for.
pub(super) const CONTAINERD: &str = "containerd";

/// What a distribution installs where nothing is installed yet, as far as it is known without asking its package manager.
const PACKAGED: [(&str, &str, &str); 1] = [("debian", "12", "1.6.20")];

/// What the description says about versions. What is known not to work was refused when it was read.
pub(super) fn kubernetes_version(subject: &Subject<'_>) -> Vec<Finding> {
    let untested = versions::check_pair(subject.cluster).into_iter().filter(|found| found.severity == Severity::Warn);
    let finding = |found: versions::Finding| {
        Finding::warning("is to run versions that were not tested", found.message, found.suggestion)
    };
    untested.map(finding).collect()
}

/// The distribution's containerd against the Kubernetes version.
pub(super) fn containerd_version(subject: &Subject<'_>) -> Vec<Finding> {
    if subject.cluster.spec.runtime.install != Install::Packages {
        return Vec::new();
    }
    let os = &subject.facts.os;
    let packaged = PACKAGED.iter().find(|(id, version, _)| (os.id.as_str(), os.version.as_str()) == (*id, *version));
    let installed = subject.facts.packages.get(CONTAINERD).map(String::as_str);
    let Some(containerd) = installed.or_else(|| packaged.map(|(_, _, containerd)| *containerd)) else {
        return Vec::new();
    };
    let kubernetes = &subject.cluster.spec.kubernetes.version;
    let what = format!("has containerd {containerd} in its packages");
    let fix = "--set runtime.install=release takes containerd's own release";
    let refused =
        versions::containerd_refusal(kubernetes, containerd).map(|why| Finding::error(what.clone(), why, fix));
    let warned = versions::containerd_warning(kubernetes, containerd).map(|why| Finding::warning(what, why, fix));
    refused.into_iter().chain(warned).collect()
}

//! The closed set of tests that choose playbooks, variants and steps. Every test that is given must hold; there are no expressions.

use serde::Deserialize;

use super::inputs::Inputs;
use crate::config::{Install, ProxyMode, Swap};
use crate::facts::Facts;

/// Tests of a host and of what is asked for it. In a list, one hit is enough.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct When {
    /// The distribution's ID or one of its ID_LIKE.
    family: Option<Vec<Family>>,
    /// The distribution's own ID.
    os: Option<Vec<String>>,
    /// `amd64` or `arm64`.
    arch: Option<String>,
    /// Where the container runtime comes from.
    install: Option<Install>,
    /// The major version of containerd.
    containerd: Option<u64>,
    /// kube-proxy's mode; a cluster that leaves it to Kubernetes has `iptables`.
    proxy_mode: Option<Vec<ProxyMode>>,
    /// What becomes of swap.
    swap: Option<Swap>,
    /// Whether the cluster has IPv6 addresses for Pods or Services.
    ipv6: Option<bool>,
    /// Whether the cluster pulls through a registry of its own.
    registry: Option<bool>,
    /// Whether the kernel can load modules.
    loadable_modules: Option<bool>,
    /// Programs of which the host lacks one.
    lacks_tool: Option<Vec<String>>,
}

/// A family of distributions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Family {
    Debian,
    Rhel,
    Fedora,
}

impl When {
    /// Whether every given test holds.
    pub(super) fn holds(&self, inputs: &Inputs, facts: &Facts) -> bool {
        let proxy_mode = inputs.proxy_mode.unwrap_or(ProxyMode::Iptables);
        holds(&self.family, |families| families.iter().any(|family| facts.is_family(family.id())))
            && holds(&self.os, |ids| ids.contains(&facts.os.id))
            && holds(&self.arch, |arch| facts.release_arch() == Some(arch))
            && holds(&self.install, |install| *install == inputs.install)
            && holds(&self.containerd, |major| *major == inputs.containerd_major(facts))
            && holds(&self.proxy_mode, |modes| modes.contains(&proxy_mode))
            && holds(&self.swap, |swap| *swap == inputs.swap)
            && holds(&self.ipv6, |ipv6| *ipv6 == inputs.ipv6)
            && holds(&self.registry, |registry| *registry == inputs.registry.is_some())
            && holds(&self.loadable_modules, |loadable| *loadable == facts.loadable_modules)
            && holds(&self.lacks_tool, |tools| tools.iter().any(|tool| !facts.tools.contains(tool)))
    }

    /// Whether no test is given.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Family {
    const fn id(self) -> &'static str {
        match self {
            Self::Debian => "debian",
            Self::Rhel => "rhel",
            Self::Fedora => "fedora",
        }
    }
}

fn holds<T>(test: &Option<T>, check: impl FnOnce(&T) -> bool) -> bool {
    test.as_ref().is_none_or(check)
}

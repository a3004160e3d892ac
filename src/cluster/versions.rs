//! Which versions work together, and which pairs are known not to. What a pair is made of is `artifact::releases`' table.

pub use crate::artifact::releases::{MINORS, Support, support};

use crate::config::{Cluster, Placement, ProxyMode, Version};

/// The oldest kine that every supported Kubernetes works with.
pub const KINE_FLOOR: Version = Version::new(0, 14, 12);

/// How grave a [`Finding`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Known not to work.
    Refuse,
    /// Not tested, or known to have a fault that not everybody meets.
    Warn,
}

/// A pair of versions that does not go together, or is not known to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The field of cluster.yaml that it is about.
    pub path: &'static str,
    /// Whether it stops the run.
    pub severity: Severity,
    /// What is wrong; lower case, no full stop.
    pub message: String,
    /// What to write instead.
    pub suggestion: String,
}

const KUBERNETES: &str = "spec.kubernetes.version";
const KINE: &str = "spec.kine.version";

/// Everything that is known about the versions in this description, the gravest first.
pub fn check_pair(cluster: &Cluster) -> Vec<Finding> {
    let spec = &cluster.spec;
    let kubernetes = &spec.kubernetes.version;
    let mut findings = vec![];
    findings.extend(kubernetes_finding(kubernetes));
    findings.extend(kine_finding(kubernetes, &spec.kine.version));
    findings.extend(sidecar_finding(kubernetes, spec.kine.placement));
    findings.extend(proxy_finding(kubernetes, spec.kubernetes.proxy_mode));
    findings.sort_by_key(|finding| finding.severity == Severity::Warn);
    findings
}

fn kubernetes_finding(version: &Version) -> Option<Finding> {
    let (oldest, newest) = (MINORS.start(), MINORS.end());
    let finding = |severity, message, suggestion| Finding { path: KUBERNETES, severity, message, suggestion };
    match support(version) {
        Some(found) if found.tested => None,
        Some(found) => Some(finding(
            Severity::Warn,
            format!(
                "Kubernetes {version} is supported, but v1.{} is not among the tested minors ({})",
                found.minor,
                tested()
            ),
            format!("choose a version of {}", tested()),
        )),
        None => Some(finding(
            Severity::Refuse,
            format!("Kubernetes {version} is not supported: v1.{oldest} to v1.{newest} are"),
            format!(
                "use a release of v1.{}, the nearest that is supported",
                crate::artifact::releases::nearest(version).minor
            ),
        )),
    }
}

fn tested() -> String {
    let tested = MINORS.filter(|minor| support(&Version::new(1, *minor, 0)).is_some_and(|found| found.tested));
    tested.map(|minor| format!("v1.{minor}")).collect::<Vec<_>>().join(", ")
}

/// Faults of kine, ascending by the release that mended them. Below the floor the first that applies is named.
const KINE_FAULTS: &[(Version, &str)] = &[
    (Version::new(0, 14, 1), "it reads no environment, so the datastore's password would show in the process list"),
    (Version::new(0, 14, 4), "it has no Put, so it cannot be proven before the API server needs it"),
    (Version::new(0, 14, 9), "its watch progress can carry revision 0, which stalls watches"),
    (Version::new(0, 14, 10), "it has no --trusted-ca-file, so it cannot tell who connects"),
    (Version::new(0, 14, 12), "it reports watch progress before the events themselves, so the API server loses events"),
    (
        Version::new(0, 16, 0),
        "its revision can fall back under load, and the API server then answers `required revision is a future revision`",
    ),
];

fn kine_finding(kubernetes: &Version, kine: &Version) -> Option<Finding> {
    // 1.34 is where the API server began to list keys without values and to compact by itself.
    let lists_keys = support(kubernetes).is_some_and(|found| found.minor >= 34) && *kine < Version::new(0, 14, 0);
    let fault = if lists_keys {
        "it cannot list keys alone, which Kubernetes needs from v1.34 on"
    } else {
        KINE_FAULTS.iter().find(|(mended, _)| kine < mended).map(|(_, fault)| *fault)?
    };
    let refused = *kine < KINE_FLOOR;
    Some(Finding {
        path: KINE,
        severity: if refused { Severity::Refuse } else { Severity::Warn },
        message: if refused {
            format!("kine {kine} is older than {KINE_FLOOR}: {fault}")
        } else {
            format!("kine {kine} has a known fault: {fault}")
        },
        suggestion: format!("use {} or newer", if refused { default_kine() } else { Version::new(0, 16, 0) }),
    })
}

fn default_kine() -> Version {
    crate::config::Kine::default().version
}

fn sidecar_finding(kubernetes: &Version, placement: Placement) -> Option<Finding> {
    (placement == Placement::Sidecar && *kubernetes < Version::new(1, 29, 0)).then(|| Finding {
        path: "spec.kine.placement",
        severity: Severity::Refuse,
        message: format!("Kubernetes {kubernetes} has no sidecar containers: they are on from v1.29"),
        suggestion: "use staticPod or systemd, or a newer Kubernetes".into(),
    })
}

fn proxy_finding(kubernetes: &Version, mode: Option<ProxyMode>) -> Option<Finding> {
    (mode == Some(ProxyMode::Nftables) && *kubernetes < Version::new(1, 31, 0)).then(|| Finding {
        path: "spec.kubernetes.proxyMode",
        severity: Severity::Refuse,
        message: format!("kube-proxy {kubernetes} has no nftables mode: it is on from v1.31"),
        suggestion: "use iptables or ipvs, or a newer Kubernetes".into(),
    })
}

/// Major, minor and patch of a containerd release.
type Release = (u64, u64, u64);

/// containerd's support matrix: the first patch release of each containerd minor that goes with a Kubernetes minor.
const CONTAINERD: &[(u64, &[Release])] = &[
    (28, &[(1, 6, 15), (1, 7, 0), (2, 0, 0)]),
    (29, &[(1, 6, 27), (1, 7, 11), (2, 0, 0)]),
    (30, &[(1, 6, 28), (1, 7, 13), (2, 0, 0)]),
    (31, &[(1, 6, 34), (1, 7, 20), (2, 0, 0)]),
    (32, &[(1, 6, 36), (1, 7, 24), (2, 0, 1), (2, 1, 0)]),
    (33, &[(1, 6, 36), (1, 7, 24), (2, 0, 4), (2, 1, 0)]),
    (34, &[(1, 7, 28), (2, 0, 6), (2, 1, 3)]),
    (35, &[(1, 7, 28), (2, 1, 5), (2, 2, 0)]),
    (36, &[(2, 2, 0)]),
];

/// Why this Kubernetes cannot run on a host's containerd, for `install: packages`. `containerd` is the package's version, as the
/// distribution writes it. `None` where it can, where the text is not a version, or where the Kubernetes version is not supported.
pub fn containerd_refusal(kubernetes: &Version, containerd: &str) -> Option<String> {
    let (major, _, _) = upstream(containerd)?;
    (support(kubernetes)?.minor >= 36 && major < 2)
        .then(|| format!("Kubernetes {kubernetes} needs containerd 2.2 or newer, and the packages have {containerd}"))
}

/// Why this Kubernetes on a host's containerd is untested by the containerd project. `None` where it is tested, and where
/// [`containerd_refusal`] says more.
pub fn containerd_warning(kubernetes: &Version, containerd: &str) -> Option<String> {
    let (major, minor, patch) = upstream(containerd)?;
    let minors = CONTAINERD.iter().find(|(of, _)| support(kubernetes).is_some_and(|found| found.minor == *of))?.1;
    let listed = minors.iter().find(|(a, b, _)| (*a, *b) == (major, minor));
    let newer_than_all = minors.iter().all(|(a, b, _)| (*a, *b) < (major, minor));
    let fine = newer_than_all || listed.is_some_and(|(_, _, first)| patch >= *first);
    (!fine && containerd_refusal(kubernetes, containerd).is_none()).then(|| {
        let list = minors.iter().map(|(a, b, c)| format!("{a}.{b}.{c}")).collect::<Vec<_>>().join(", ");
        format!("containerd {containerd} is untested with Kubernetes {kubernetes}: containerd names {list} and later patches")
    })
}

/// The upstream part of a package's version: (1, 6, 20) of `1:1.6.20~ds1-1+deb12u1`.
fn upstream(package: &str) -> Option<Release> {
    let text = package.split_once(':').map_or(package, |(_epoch, rest)| rest);
    let text = text.strip_prefix('v').unwrap_or(text);
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let mut numbers = text[..end].split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next().and_then(Result::ok).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used)]
    use super::*;

    fn cluster(kubernetes: &str, kine: &str, placement: &str, proxy: Option<&str>) -> Cluster {
        let mut document = serde_json::json!({
            "apiVersion": "etcdless.dev/v1alpha1", "kind": "Cluster", "metadata": { "name": "demo" },
            "spec": {
                "kubernetes": { "version": kubernetes }, "kine": { "version": kine, "placement": placement },
                "hosts": [{ "address": "10.0.0.11" }],
            },
        });
        if let Some(mode) = proxy {
            document["spec"]["kubernetes"]["proxyMode"] = mode.into();
        }
        serde_json::from_value(document).unwrap()
    }

    fn lines(cluster: &Cluster) -> Vec<String> {
        let line = |f: Finding| format!("{:?} {}: {}; {}", f.severity, f.path, f.message, f.suggestion);
        check_pair(cluster).into_iter().map(line).collect()
    }

    #[test]
    fn the_tested_pair_has_no_findings() {
        assert_eq!(lines(&cluster("v1.34.4", "v0.16.4", "sidecar", Some("nftables"))), [""; 0]);
        assert_eq!(lines(&cluster("v1.34.4", "v0.17.1", "staticPod", None)), [""; 0]);
    }

    #[test]
    fn an_unsupported_kubernetes_names_range_and_nearest() {
        let expected = |version: &str, near: u64| {
            format!(
                "Refuse spec.kubernetes.version: Kubernetes {version} is not supported: v1.28 to v1.36 are; \
                 use a release of v1.{near}, the nearest that is supported"
            )
        };
        for (version, near) in [("v1.27.16", 28), ("v1.37.1", 36), ("v2.0.0", 36)] {
            assert_eq!(lines(&cluster(version, "v0.16.4", "staticPod", None)), [expected(version, near)]);
        }
    }

    #[test]
    fn an_untested_minor_warns() {
        assert_eq!(
            lines(&cluster("v1.33.2", "v0.16.4", "staticPod", None)),
            [
                "Warn spec.kubernetes.version: Kubernetes v1.33.2 is supported, but v1.33 is not among the tested minors (v1.30, v1.34, v1.36); \
              choose a version of v1.30, v1.34, v1.36"
            ]
        );
    }

    #[test]
    fn a_kine_below_the_floor_says_why() {
        let cases = [
            ("v1.34.4", "v0.13.19", "it cannot list keys alone"),
            ("v1.30.5", "v0.13.19", "it reads no environment"),
            ("v1.34.4", "v0.14.0", "it reads no environment"),
            ("v1.34.4", "v0.14.3", "it has no Put"),
            ("v1.34.4", "v0.14.8", "revision 0"),
            ("v1.34.4", "v0.14.9", "--trusted-ca-file"),
            ("v1.34.4", "v0.14.11", "before the events"),
        ];
        for (kubernetes, kine, why) in cases {
            let found = check_pair(&cluster(kubernetes, kine, "staticPod", None)).swap_remove(0);
            assert_eq!((found.path, found.severity), ("spec.kine.version", Severity::Refuse), "{kine}");
            assert!(found.message.starts_with(&format!("kine {kine} is older than v0.14.12: ")), "{}", found.message);
            assert!(found.message.contains(why), "{kine}: {}", found.message);
            assert_eq!(found.suggestion, "use v0.16.4 or newer");
        }
    }

    #[test]
    fn a_kine_with_a_known_fault_warns() {
        for (kine, findings) in [("v0.14.12", 1), ("v0.15.3", 1), ("v0.16.0", 0)] {
            let found = check_pair(&cluster("v1.34.4", kine, "staticPod", None));
            assert_eq!(found.iter().filter(|f| f.severity == Severity::Warn).count(), findings, "{kine}");
            assert!(found.iter().all(|f| f.message.contains("future revision")), "{kine}");
        }
    }

    #[test]
    fn features_that_a_minor_lacks_are_refused_before_warnings() {
        let found = check_pair(&cluster("v1.28.3", "v0.16.4", "sidecar", Some("nftables")));
        let seen: Vec<_> = found.iter().map(|f| (f.path, f.severity)).collect();
        assert_eq!(
            seen,
            [
                ("spec.kine.placement", Severity::Refuse),
                ("spec.kubernetes.proxyMode", Severity::Refuse),
                ("spec.kubernetes.version", Severity::Warn)
            ]
        );
    }

    #[test]
    fn packages_of_containerd_are_refused_warned_about_or_fine() {
        let cases = [
            ("v1.34.4", "1.6.20~ds1-1+deb12u1", "warn"),
            ("v1.34.4", "1.7.24~ds1-6", "warn"),
            ("v1.34.4", "1.7.28-0ubuntu1", "fine"),
            ("v1.34.4", "2.1.2", "warn"),
            ("v1.34.4", "2.2.0", "fine"),
            ("v1.34.4", "2.3.4", "fine"),
            ("v1.28.3", "1.6.20~ds1-1+deb12u1", "fine"),
            ("v1.35.0", "2.0.9", "warn"),
            ("v1.36.0", "1.7.28-1", "refuse"),
            ("v1.36.0", "1:1.6.20", "refuse"),
            ("v1.36.0", "2.1.9", "warn"),
            ("v1.36.0", "v2.2.1-1.el9", "fine"),
            ("v1.34.4", "unknown", "fine"),
        ];
        for (kubernetes, containerd, expected) in cases {
            let kubernetes = kubernetes.parse().unwrap();
            let warned = containerd_warning(&kubernetes, containerd);
            let refused = containerd_refusal(&kubernetes, containerd);
            let seen = match (&refused, &warned) {
                (Some(_), None) => "refuse",
                (None, Some(_)) => "warn",
                (None, None) => "fine",
                (Some(_), Some(_)) => "both",
            };
            assert_eq!(seen, expected, "{kubernetes} on {containerd}: {refused:?} {warned:?}");
        }
    }

    #[test]
    fn the_warning_names_what_containerd_lists() {
        assert_eq!(
            containerd_warning(&Version::new(1, 34, 4), "1.6.20~ds1-1+deb12u1").unwrap(),
            "containerd 1.6.20~ds1-1+deb12u1 is untested with Kubernetes v1.34.4: containerd names 1.7.28, 2.0.6, 2.1.3 and later patches"
        );
    }
}

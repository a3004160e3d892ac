//! Which releases go together: what kubeadm, the container runtime and the Pod network of one Kubernetes version are. A table and nothing else.

use crate::config::Version;

/// What goes with one Kubernetes version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Support {
    /// The `34` of v1.34.
    pub minor: u64,
    /// kubeadm's config API: `v1beta3` or `v1beta4`.
    pub kubeadm_api: &'static str,
    /// The CoreDNS image's tag.
    pub coredns: &'static str,
    /// The pause image's tag.
    pub pause: &'static str,
    /// containerd's release.
    pub containerd: &'static str,
    /// runc's release.
    pub runc: &'static str,
    /// The CNI plugins' release.
    pub cni: &'static str,
    /// Whether clusters of this minor are part of the project's own tests.
    pub tested: bool,
}

/// The tag of flannel's image.
pub const FLANNEL: &str = "v0.28.4";
/// The tag of the image that carries flannel's CNI plugin.
pub const FLANNEL_CNI: &str = "v1.8.0-flannel1";

/// The oldest and the newest minor of Kubernetes 1 that the table holds.
pub const MINORS: std::ops::RangeInclusive<u64> = 28..=36;

/// kubeadm's own choice of images from one Kubernetes release on.
struct Row {
    minor: u64,
    patch: u64,
    coredns: &'static str,
    pause: &'static str,
}

const fn from(minor: u64, patch: u64, coredns: &'static str, pause: &'static str) -> Row {
    Row { minor, patch, coredns, pause }
}

/// What `kubeadm config images list` says, in ascending order: one row for each minor, and one where a patch release moved a tag.
const ROWS: &[Row] = &[
    from(28, 0, "v1.10.1", "3.9"),
    from(29, 0, "v1.11.1", "3.9"),
    from(30, 0, "v1.11.1", "3.9"),
    from(30, 5, "v1.11.3", "3.9"),
    from(31, 0, "v1.11.1", "3.10"),
    from(31, 1, "v1.11.3", "3.10"),
    from(32, 0, "v1.11.3", "3.10"),
    from(33, 0, "v1.12.0", "3.10"),
    from(34, 0, "v1.12.1", "3.10.1"),
    from(35, 0, "v1.13.1", "3.10.1"),
    from(36, 0, "v1.14.2", "3.10.2"),
];

impl Row {
    const fn support(&self) -> Support {
        Support {
            minor: self.minor,
            kubeadm_api: if self.minor >= 31 { "v1beta4" } else { "v1beta3" },
            coredns: self.coredns,
            pause: self.pause,
            // One set for all minors: it is what the tests run, and it speaks CRI v1, which every kubelet of the table asks for.
            containerd: "v2.2.0",
            runc: "v1.3.3",
            cni: "v1.8.0",
            tested: matches!(self.minor, 30 | 34 | 36),
        }
    }
}

/// What goes with this Kubernetes version; `None` where it is not supported, as pre-releases of a first patch are not.
pub fn support(version: &Version) -> Option<Support> {
    let holds = |row: &&Row| row.minor == version.minor() && *version >= Version::new(1, row.minor, row.patch);
    ROWS.iter().rev().filter(|_| version.major() == 1).find(holds).map(Row::support)
}

/// The same, with the nearest supported minor where the version itself is not supported.
pub fn nearest(version: &Version) -> Support {
    let minor = if version.major() == 1 { version.minor() } else { *MINORS.end() };
    let distance = |row: &Row| row.minor.abs_diff(minor);
    let closest = || ROWS.iter().fold(&ROWS[0], |best, row| if distance(row) <= distance(best) { row } else { best });
    support(version).unwrap_or_else(|| closest().support())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn tags_follow_minor_and_patch() {
        let cases = [
            ("v1.28.0", "v1beta3", "v1.10.1", "3.9"),
            ("v1.28.15", "v1beta3", "v1.10.1", "3.9"),
            ("v1.29.9", "v1beta3", "v1.11.1", "3.9"),
            ("v1.30.4", "v1beta3", "v1.11.1", "3.9"),
            ("v1.30.5", "v1beta3", "v1.11.3", "3.9"),
            ("v1.31.0", "v1beta4", "v1.11.1", "3.10"),
            ("v1.31.14", "v1beta4", "v1.11.3", "3.10"),
            ("v1.32.3", "v1beta4", "v1.11.3", "3.10"),
            ("v1.33.6", "v1beta4", "v1.12.0", "3.10"),
            ("v1.34.4", "v1beta4", "v1.12.1", "3.10.1"),
            ("v1.35.0", "v1beta4", "v1.13.1", "3.10.1"),
            ("v1.36.3", "v1beta4", "v1.14.2", "3.10.2"),
        ];
        for (version, api, coredns, pause) in cases {
            let found = support(&version.parse().unwrap()).unwrap();
            assert_eq!((found.kubeadm_api, found.coredns, found.pause), (api, coredns, pause), "{version}");
        }
    }

    #[test]
    fn the_tested_releases_go_with_1_34() {
        let found = support(&Version::new(1, 34, 4)).unwrap();
        assert_eq!((found.containerd, found.runc, found.cni, found.tested), ("v2.2.0", "v1.3.3", "v1.8.0", true));
        assert!(!support(&Version::new(1, 33, 0)).unwrap().tested);
    }

    #[test]
    fn every_minor_has_a_first_row_and_rows_ascend() {
        for minor in MINORS {
            assert!(support(&Version::new(1, minor, 0)).is_some(), "{minor}");
        }
        assert!(ROWS.windows(2).all(|pair| (pair[0].minor, pair[0].patch) < (pair[1].minor, pair[1].patch)));
    }

    #[test]
    fn versions_beyond_the_table_are_not_supported_and_have_a_nearest() {
        for (version, minor) in
            [("v1.27.16", 28), ("v1.37.0", 36), ("v2.0.0", 36), ("v0.34.1", 36), ("v1.34.0-rc.1", 34)]
        {
            let version = version.parse().unwrap();
            assert_eq!(support(&version), None, "{version}");
            assert_eq!(nearest(&version).minor, minor, "{version}");
        }
        assert_eq!(nearest(&Version::new(1, 30, 4)).coredns, "v1.11.1", "a supported version is its own nearest");
    }
}

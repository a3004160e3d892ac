//! Everything that clusters take from outside, as their descriptions alone tell it: what `mirror` lists and saves.

use std::collections::BTreeSet;

use super::survey::Desired;
use crate::artifact::Item;
use crate::artifact::catalogue::{self, catalogue};
use crate::config::Role;
use crate::facts::Os;
use crate::failure::Failure;
use crate::op::Op;

/// What clusters need, each thing once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Files with the architecture that they are for.
    pub files: BTreeSet<(Item, String)>,
    /// Image references as Kubernetes knows them.
    pub images: BTreeSet<String>,
    /// Packages of a distribution.
    pub packages: BTreeSet<String>,
}

impl Needs {
    /// Adds what a description needs on these architectures (`amd64`, `arm64`), with packages as hosts of this distribution get them.
    pub fn add(&mut self, desired: &Desired, architectures: &[String], os: &Os) -> Result<(), Failure> {
        for arch in architectures {
            // A control plane needs all that a worker does.
            let catalogue = catalogue(&desired.cluster, arch, Role::ControlPlane);
            self.files.extend(catalogue.files.into_iter().map(|item| (item, arch.clone())));
            self.images.extend(catalogue.images);
        }
        self.images.extend(desired.manifest.as_deref().map(catalogue::images_of).unwrap_or_default());
        for (_, steps) in desired.expected_on(os)? {
            for step in steps {
                if let Op::Package { names, .. } = step.op {
                    self.packages.extend(names);
                }
            }
        }
        Ok(())
    }
}

//! `mirror`: what a cluster needs, brought to where no internet is.

mod images;
mod push;

use super::{Ended, session};
use crate::artifact::catalogue::catalogue;
use crate::cli::mirror::{Mirror, Wanted};
use crate::cli::{Description, Target};
use crate::config::{Cluster, Role};
use crate::failure::Failure;

pub(super) async fn run(args: Mirror) -> Result<(), Ended> {
    match args {
        Mirror::Push(args) => push::run(args).await,
        Mirror::Images(args) => images::run(args).await,
    }
}

/// The cluster that is meant; without a file, one with every default.
fn describe(wanted: &Wanted) -> Result<Cluster, Failure> {
    let target = Target {
        // Which host it is makes no difference: all of them need the same images.
        host: wanted.config.is_none().then(|| "local".into()),
        config: wanted.config.clone(),
        identity: None,
        ssh_config: None,
        name: None,
        set: wanted.set.clone(),
        yes: false,
    };
    let description = Description {
        kubernetes_version: wanted.kubernetes_version.clone(),
        mirror: None,
        registry: None,
        delivery: None,
        datastore: None,
        assets: None,
    };
    session::describe(&target, Some(&description))
}

/// Every image that one of its hosts needs. They are the same on all architectures, and a control plane needs all of them.
fn images(cluster: &Cluster) -> Vec<String> {
    catalogue(cluster, "amd64", Role::ControlPlane).images
}

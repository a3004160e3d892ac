//! Where what a host lacks comes from: sources that are asked for digests and sizes, or bundles.

use std::collections::{BTreeMap, BTreeSet};

use super::fleet::{Fleet, Known};
use super::{Desired, Place};
use crate::artifact::bundle::Bundles;
use crate::artifact::catalogue::catalogue;
use crate::artifact::supply::Supply;
use crate::artifact::{Item, Resolved, Sources, source};
use crate::config::{Delivery, ProxyEnvironment};
use crate::datastore::Stores;
use crate::failure::Failure;
use crate::op::Op;
use crate::phase::plan::Plan;
use crate::phase::preflight;
use crate::remote::Query;

impl Desired {
    /// Asks the sources, or the bundle, for digests and sizes of what the host lacks; asks nothing where it lacks nothing.
    pub(super) async fn sources<H: Query>(
        &self,
        place: &Place<'_, H>,
        known: &Known<'_>,
        stores: &Stores,
        fleet: &Fleet<'_>,
    ) -> Result<Sources, Failure> {
        if let Supply::Bundles(bundles) = &self.supply {
            let all = Sources { push: true, packages: true, ..Sources::default() };
            let plan = self.plan(known, &all, stores, fleet)?;
            let files = bundled(bundles, &self.missing(&plan, known), &plan, known.node.arch)?;
            return Ok(Sources { files, ..all });
        }
        let plan = self.plan(known, &Sources::default(), stores, fleet)?;
        let missing = self.missing(&plan, known);
        if let Some(proxy) = &fleet.proxy {
            self.gets_through(place, &plan, proxy, &missing).await?;
        }
        if !plan.changes().any(|(step, _)| transfer(&step.op).is_some()) {
            return Ok(Sources::default());
        }
        source::resolve(&self.cluster, fleet.proxy.as_ref(), &missing, place.host, &place.config.label()).await
    }

    /// Refuses a host that does not get through the proxy, where it is to download something.
    pub(super) async fn gets_through<H: Query>(
        &self,
        place: &Place<'_, H>,
        plan: &Plan,
        proxy: &ProxyEnvironment,
        missing: &[Item],
    ) -> Result<(), Failure> {
        let sent = self.cluster.spec.artifacts.delivery == Delivery::Push;
        let downloads = plan.changes().any(|(step, _)| match &step.op {
            Op::Package { .. } => true,
            op => !sent && transfer(op).is_some(),
        });
        if !downloads || !self.selection.has("preflight") || self.ignore.has(preflight::PROXY) {
            return Ok(());
        }
        let url = (!sent && place.config.role.is_node()).then(|| source::first_url(&self.cluster, missing));
        let label = place.config.label();
        match preflight::ask_proxy(proxy, url.as_deref(), place.host, &label).await? {
            Some(finding) => Err(preflight::proxy_refuses(&label, &finding)),
            None => Ok(()),
        }
    }

    /// The files of the catalogue that a plan brings to a host.
    pub(super) fn missing(&self, plan: &Plan, known: &Known<'_>) -> Vec<Item> {
        let names: BTreeSet<&str> = plan.changes().filter_map(|(step, _)| transfer(&step.op)).collect();
        let files = catalogue(&self.cluster, known.node.arch, known.node.role).files;
        files.into_iter().filter(|item| names.contains(item.name.as_str())).collect()
    }
}

/// What a bundle says of the files that a host lacks. It must have the images and packages of the plan, too; all that it lacks is told.
fn bundled(
    bundles: &Bundles,
    missing: &[Item],
    plan: &Plan,
    arch: &str,
) -> Result<BTreeMap<String, Resolved>, Failure> {
    let files = missing.iter().map(|item| Ok((item.name.clone(), bundles.resolve(item, arch)?)));
    let (files, lacking): (Vec<_>, Vec<_>) = files.partition(Result::is_ok);
    let lacking = lacking.into_iter().filter_map(Result::err);
    let others = plan.changes().filter_map(|(step, _)| match &step.op {
        Op::Image(image) => bundles.image(&image.reference, arch).err(),
        Op::Package { names, bundled: Some(release), .. } => bundles.packages_of(release, names).err(),
        _ => None,
    });
    match lacking.chain(others).reduce(|first, next| first.detail(next.message)) {
        Some(failure) => Err(failure),
        None => Ok(files.into_iter().filter_map(Result::ok).collect()),
    }
}

/// What a transfer brings: a file by its name in the catalogue, or an image.
fn transfer(op: &Op) -> Option<&str> {
    match op {
        Op::Fetch(fetch) => Some(&fetch.name),
        Op::Image(image) => Some(&image.reference),
        _ => None,
    }
}

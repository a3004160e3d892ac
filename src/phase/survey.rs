//! From a description and a connected host to a plan: look, check, ask the sources, compare. Changes nothing anywhere.

use std::collections::{BTreeMap, BTreeSet};

use super::plan::{self, Plan, Selection};
use super::preflight::{self, Ignore};
use super::{Context, runner};
use crate::artifact::catalogue::catalogue;
use crate::artifact::{Item, Sources, source};
use crate::assets::Assets;
use crate::cluster::node::Node;
use crate::config::{Cluster, Host as HostConfig};
use crate::datastore::Stores;
use crate::facts::{Facts, Probes};
use crate::failure::{Failure, Kind};
use crate::op::Op;
use crate::playbook;
use crate::remote::Query;

/// What is wanted, read from files and flags before any host is asked.
#[derive(Debug)]
pub struct Desired {
    /// The description.
    pub cluster: Cluster,
    /// Templates and playbooks.
    pub assets: Assets,
    /// What each kine is told of its store.
    pub stores: Stores,
    /// The text of the user's own Pod network manifest, where the description names one.
    pub manifest: Option<String>,
    /// The chosen phases.
    pub selection: Selection,
    /// Preflight checks that only warn.
    pub ignore: Ignore,
}

/// What was seen of a host, and what is to become of it.
#[derive(Debug)]
pub struct Surveyed {
    /// The host as a node.
    pub node: Node,
    /// What it looks like.
    pub facts: Facts,
    /// What is to be done.
    pub plan: Plan,
    /// What preflight has to say without stopping.
    pub warnings: Vec<preflight::Warning>,
}

impl Desired {
    /// Surveys one host. One look is enough nearly always, since what to ask follows from a plan for a machine as one expects it.
    pub async fn survey(&self, host: &impl Query, config: &HostConfig) -> Result<Surveyed, Failure> {
        let expected = Facts::expected(&config.address);
        let mut probes = preflight::probes();
        probes.extend(playbook::probes(&self.assets)?);
        probes.extend(self.probes(&self.node(config, &expected)?, &expected)?);
        let mut facts = look(host, &probes).await?;
        let warnings = match self.selection.has("preflight") {
            true => preflight::check(&self.cluster, &[(config, &facts)], &need(&facts), &self.ignore)?,
            false => Vec::new(),
        };
        let node = self.node(config, &facts)?;
        let needed = self.probes(&node, &facts)?;
        if !needed.is_within(&probes) {
            probes.extend(needed);
            facts = look(host, &probes).await?;
        }
        let sources = self.sources(host, config, &node, &facts).await?;
        let plan = self.plan(&node, &facts, &sources)?;
        Ok(Surveyed { node, facts, plan, warnings })
    }

    /// Asks the sources for digests and sizes of what the host lacks; asks nothing where it lacks nothing.
    async fn sources(
        &self,
        host: &impl Query,
        config: &HostConfig,
        node: &Node,
        facts: &Facts,
    ) -> Result<Sources, Failure> {
        let plan = self.plan(node, facts, &Sources::default())?;
        let names: BTreeSet<&str> = plan.changes().filter_map(|(step, _)| transfer(&step.op)).collect();
        if names.is_empty() {
            return Ok(Sources::default());
        }
        let missing: Vec<Item> = catalogue(&self.cluster, node.arch)
            .files
            .into_iter()
            .filter(|item| names.contains(item.name.as_str()))
            .collect();
        let artifacts = &self.cluster.spec.artifacts;
        source::resolve(artifacts, artifacts.delivery, &missing, host, &config.label()).await
    }

    fn node(&self, config: &HostConfig, facts: &Facts) -> Result<Node, Failure> {
        Node::new(&self.cluster, config, facts).ok_or_else(|| {
            Failure::new(Kind::Preflight, format!("{} has no usable address or architecture", config.label()))
                .hint("name the address that other nodes reach it by: hosts[].nodeIP")
        })
    }

    fn probes(&self, node: &Node, facts: &Facts) -> Result<Probes, Failure> {
        Ok(plan::probes(&plan::steps(&self.context(node, facts, &Sources::default()))?))
    }

    fn plan(&self, node: &Node, facts: &Facts, sources: &Sources) -> Result<Plan, Failure> {
        let context = self.context(node, facts, sources);
        Ok(plan::plan(&context, plan::steps(&context)?, &self.selection))
    }

    /// Everything that planning may know about one host.
    pub fn context<'a>(&'a self, node: &'a Node, facts: &'a Facts, sources: &'a Sources) -> Context<'a> {
        let (cluster, assets, stores, manifest) = (&self.cluster, &self.assets, &self.stores, self.manifest.as_deref());
        Context { cluster, node, facts, assets, sources, stores, manifest }
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

/// Bytes that a fresh host needs, by path, rounded up from what a control plane of Kubernetes 1.34 takes: staged files and images with
/// their unpacked layers, then the programs. A host that was begun on needs less; how much less is not worth asking.
fn need(facts: &Facts) -> BTreeMap<String, u64> {
    match facts.journal.steps.is_empty() {
        true => [
            ("/var/lib/containerd".to_owned(), 1536 << 20),
            ("/var/lib/etcdless".to_owned(), 512 << 20),
            ("/usr/local".to_owned(), 512 << 20),
        ]
        .into(),
        false => BTreeMap::new(),
    }
}

async fn look(host: &impl Query, probes: &Probes) -> Result<Facts, Failure> {
    host.facts(probes)
        .await
        .map_err(|error| Failure::new(runner::kind(&error), format!("cannot look at the host: {error}")))
}

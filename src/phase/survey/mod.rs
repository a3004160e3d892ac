//! From a description and connected hosts to plans: look, check, ask the sources, compare. Changes nothing anywhere.

mod fleet;
mod sources;

use std::collections::BTreeMap;
use std::path::PathBuf;

use futures_util::future::join_all;

use fleet::{Fleet, Known};

use crate::artifact::Sources;
use crate::artifact::supply::Supply;
use crate::assets::Assets;
use crate::cluster::node::Node;
use crate::config::credentials::Credentials;
use crate::config::{Cluster, Host as HostConfig, Network, Role};
use crate::datastore::{Stores, managed};
use crate::facts::{Facts, Os, Probes};
use crate::failure::Failure;
use crate::op::File;
use crate::phase::plan::{self, Plan, Selection};
use crate::phase::preflight::{self, Ignore};
use crate::phase::{Context, Kept, Step, outcome, runner};
use crate::playbook;
use crate::remote::Query;

/// What is wanted, read from files and flags before any host is asked.
#[derive(Debug)]
pub struct Desired {
    /// The description.
    pub cluster: Cluster,
    /// Templates and playbooks.
    pub assets: Assets,
    /// What lets us into the stores, in the order of [`Cluster::datastores`].
    pub credentials: Vec<Credentials>,
    /// The text of the user's own Pod network manifest, where the description names one.
    pub manifest: Option<String>,
    /// The texts of hooks that hosts run, by path.
    pub scripts: BTreeMap<PathBuf, String>,
    /// The chosen phases.
    pub selection: Selection,
    /// Preflight checks that only warn.
    pub ignore: Ignore,
    /// Where that comes from which hosts lack.
    pub supply: Supply,
    /// Files of a backup that control planes are made with, where there is one.
    pub restored: Vec<File>,
    /// Tells this run from others.
    pub run: String,
}

/// What was seen of all hosts, and what is to become of them.
#[derive(Debug)]
pub struct Surveyed {
    /// In the order in which the hosts were given; those that are left out are missing.
    pub hosts: Vec<Seen>,
    /// The label of the control plane that the others join.
    pub first: Option<String>,
    /// Whether there is no cluster yet.
    pub fresh: bool,
    /// Hosts that nothing else needs and that cannot be part of this run, by label, with the reason.
    pub left: Vec<(String, Failure)>,
    /// What preflight has to say without stopping.
    pub warnings: Vec<preflight::Warning>,
}

/// What was seen of a host, and what is to become of it.
#[derive(Debug)]
pub struct Seen {
    /// The host as a node.
    pub node: Node,
    /// What it looks like.
    pub facts: Facts,
    /// What is to be done.
    pub plan: Plan,
}

/// A connected host with its description.
#[derive(Debug)]
pub struct Place<'a, H> {
    /// The host.
    pub host: &'a H,
    /// Its description.
    pub config: &'a HostConfig,
}

/// Whether a run looks after a host before others: what the others wait for is on it.
pub fn is_needed(host: &HostConfig) -> bool {
    host.role != Role::Worker
}

/// Whether nothing can be done while a host is away: a server, or the only control plane.
pub fn is_indispensable(cluster: &Cluster, host: &HostConfig) -> bool {
    match host.role {
        Role::Datastore => true,
        Role::ControlPlane => cluster.spec.hosts.iter().filter(|host| host.role == Role::ControlPlane).count() == 1,
        Role::Worker => false,
    }
}

/// Of each host, whether it is fit.
type Fit = Vec<Result<(), Failure>>;

impl Desired {
    /// A cluster with its own sources, and no check passed over. Texts that are not read, of hooks and of a Pod network of the user's own, are
    /// nobody's concern where their phases are not chosen.
    pub fn new(
        cluster: Cluster,
        assets: Assets,
        credentials: Vec<Credentials>,
        selection: Selection,
        run: String,
    ) -> Self {
        Self {
            assets,
            credentials,
            manifest: matches!(cluster.spec.network, Network::Manifest(_)).then(String::new),
            scripts: BTreeMap::new(),
            selection,
            ignore: Ignore::default(),
            supply: Supply::Sources(cluster.spec.artifacts.clone()),
            restored: Vec::new(),
            run,
            cluster,
        }
    }

    /// Surveys all hosts at once. One look is enough nearly always, since what to ask follows from a plan for machines as one expects them.
    /// A host that nothing else needs is left out where it cannot be looked at, or is not fit; any other ends the survey.
    pub async fn survey<H: Query>(&self, places: &[Place<'_, H>]) -> Result<Surveyed, Failure> {
        let expected: Vec<Facts> = places.iter().map(|place| Facts::expected(&place.config.address)).collect();
        let mut probes = self.probes(&self.imagined(self.known(places, &expected)?))?;
        let general = [preflight::probes(), playbook::probes(&self.assets)?];
        probes.iter_mut().for_each(|own| general.iter().for_each(|probes| own.extend(probes.clone())));
        let mut left = Vec::new();
        let looks = join_all(places.iter().zip(&probes).map(|(place, probes)| look(place, probes))).await;
        let looked = sift(places, probes.into_iter().zip(looks).map(|(asked, facts)| Ok((asked, facts?))), &mut left)?;
        let (places, looked): (Vec<_>, Vec<_>) = looked.into_iter().unzip();
        let (probes, facts): (Vec<_>, Vec<_>) = looked.into_iter().unzip();

        let (warnings, fit) = self.fit(&places, &facts)?;
        let fit = sift(
            &places,
            fit.into_iter().zip(probes.into_iter().zip(facts)).map(|(fit, seen)| fit.map(|()| seen)),
            &mut left,
        )?;
        let (places, looked): (Vec<_>, Vec<_>) = fit.into_iter().unzip();
        let (probes, facts): (Vec<_>, Vec<_>) = looked.into_iter().unzip();

        let needed = self.probes(&self.imagined(self.known(&places, &facts)?))?;
        let again = places.iter().zip(probes).zip(needed).zip(&facts).map(async |(((place, asked), needed), facts)| {
            if needed.is_within(&asked) {
                return Ok(facts.clone());
            }
            let mut both = asked;
            both.extend(needed);
            look(place, &both).await
        });
        let (places, facts): (Vec<_>, Vec<_>) = sift(&places, join_all(again).await, &mut left)?.into_iter().unzip();

        let known = self.known(&places, &facts)?;
        self.addresses_are_known(&known)?;
        let servers = self.certified(&places, &known).await?;
        let fleet = self.fleet(known, servers);
        let plans = places.iter().zip(&fleet.known).map(async |(place, known)| {
            let stores = self.stores(known, &fleet.servers)?;
            let sources = self.sources(place, known, &stores, &fleet).await?;
            self.plan(known, &sources, &stores, &fleet)
        });
        let plans = join_all(plans).await;
        let first = fleet.first.map(|first| fleet.known[first].node.label.clone());
        let fresh = !fleet.peers.iter().any(|peer| peer.built);
        let nodes: Vec<Node> = fleet.known.into_iter().map(|known| known.node).collect();
        let seen = nodes.into_iter().zip(facts).zip(plans);
        let seen = seen.map(|((node, facts), plan)| Ok(Seen { node, facts, plan: plan? }));
        let hosts = sift(&places, seen, &mut left)?.into_iter().map(|(_, seen)| seen).collect();
        Ok(Surveyed { hosts, first, fresh, left, warnings })
    }

    /// Every step of each host, by its label, as one expects it without asking any: for texts that people look at.
    pub fn expected(&self) -> Result<Vec<(String, Vec<Step>)>, Failure> {
        self.expected_on(&Os::expected())
    }

    /// The same on hosts of a distribution.
    pub fn expected_on(&self, os: &Os) -> Result<Vec<(String, Vec<Step>)>, Failure> {
        let hosts = self.cluster.spec.hosts.iter();
        let places: Vec<Place<'_, ()>> = hosts.map(|config| Place { host: &(), config }).collect();
        let expected = |place: &Place<'_, ()>| Facts { os: os.clone(), ..Facts::expected(&place.config.address) };
        let facts: Vec<Facts> = places.iter().map(expected).collect();
        let fleet = self.imagined(self.known(&places, &facts)?);
        fleet.known.iter().map(|known| Ok((known.node.label.clone(), self.steps(known, &fleet)?))).collect()
    }

    /// What preflight has to say, and for each host whether it is fit. Where a host is not fit that others need, all that is wrong with any
    /// is told at once.
    fn fit<H>(&self, places: &[Place<'_, H>], facts: &[Facts]) -> Result<(Vec<preflight::Warning>, Fit), Failure> {
        let usable = |(place, facts): (&Place<'_, H>, &Facts)| self.node(place.config, facts).map(drop);
        if !self.selection.has("preflight") {
            return Ok((Vec::new(), places.iter().zip(facts).map(usable).collect()));
        }
        let hosts: Vec<_> = places.iter().map(|place| place.config).zip(facts).collect();
        let (warnings, errors) = preflight::findings(&self.cluster, &hosts, need, &self.ignore);
        let needs = |label: &str| places.iter().any(|place| is_needed(place.config) && place.config.label() == label);
        if errors.iter().any(|error| needs(error.host())) {
            return Err(preflight::refuse(&errors));
        }
        let mut refused = preflight::refused(errors);
        let fit = places.iter().zip(facts).map(|(place, facts)| match refused.remove(&place.config.label()) {
            Some(failure) => Err(failure),
            None => usable((place, facts)),
        });
        Ok((warnings, fit.collect()))
    }

    /// What each kine of a host is told: a server that etcdless keeps lets it in by a certificate of this very host.
    fn stores(&self, known: &Known<'_>, servers: &[Kept]) -> Result<Stores, Failure> {
        let certificate = |shard: &str| {
            let mut clients = servers.iter().flat_map(|kept| &kept.certificates.clients);
            clients.find(|client| client.shard == shard && client.host == known.node.label)
        };
        let described: Vec<managed::Server> = servers.iter().map(|kept| kept.server.clone()).collect();
        let credentials: Vec<Credentials> = self
            .cluster
            .datastores()
            .zip(&self.credentials)
            .map(|((shard, _), read)| {
                certificate(shard).map_or_else(|| read.clone(), |client| client.credentials.clone())
            })
            .collect();
        Stores::of(&managed::resolved(&self.cluster, &described), &credentials)
    }

    /// What facts must answer about each host.
    fn probes(&self, fleet: &Fleet<'_>) -> Result<Vec<Probes>, Failure> {
        let of = |known: &Known<'_>| {
            let mut probes = plan::probes(&self.steps(known, fleet)?);
            fleet.servers.iter().for_each(|kept| probes.extend(managed::probes(&kept.server)));
            Ok(probes)
        };
        fleet.known.iter().map(of).collect()
    }

    fn steps(&self, known: &Known<'_>, fleet: &Fleet<'_>) -> Result<Vec<Step>, Failure> {
        let stores = self.stores(known, &fleet.servers)?;
        plan::steps(&self.context(known, &Sources::default(), &stores, fleet))
    }

    fn plan(&self, known: &Known<'_>, sources: &Sources, stores: &Stores, fleet: &Fleet<'_>) -> Result<Plan, Failure> {
        let context = self.context(known, sources, stores, fleet);
        Ok(plan::plan(&context, plan::steps(&context)?, &self.selection))
    }

    fn context<'a>(
        &'a self,
        known: &'a Known<'_>,
        sources: &'a Sources,
        stores: &'a Stores,
        fleet: &'a Fleet<'_>,
    ) -> Context<'a> {
        Context {
            cluster: &self.cluster,
            node: &known.node,
            control_plane: fleet.first.map(|first| &fleet.known[first].node),
            peers: &fleet.peers,
            joining: &fleet.joining,
            restored: &self.restored,
            run: &self.run,
            facts: known.facts,
            assets: &self.assets,
            sources,
            stores,
            servers: &fleet.servers,
            proxy: fleet.proxy.as_ref(),
            manifest: self.manifest.as_deref(),
            scripts: &self.scripts,
        }
    }
}

/// Keeps the hosts that all went well with. The others are left out, or end the survey where one of them is needed.
fn sift<'a, H, T>(
    places: &[Place<'a, H>],
    outcomes: impl IntoIterator<Item = Result<T, Failure>>,
    left: &mut Vec<(String, Failure)>,
) -> Result<Vec<(Place<'a, H>, T)>, Failure> {
    let (mut kept, mut needed) = (Vec::new(), Vec::new());
    for (place, outcome) in places.iter().zip(outcomes) {
        let label = place.config.label();
        match outcome {
            Ok(value) => kept.push((Place { host: place.host, config: place.config }, value)),
            Err(failure) if is_needed(place.config) => needed.push((label, failure)),
            Err(failure) => left.push((label, failure)),
        }
    }
    outcome::together("nothing was changed, since the run cannot do without", needed).map_or(Ok(kept), Err)
}

/// Bytes that a fresh host needs, by path, rounded up: for a node from what a control plane of Kubernetes 1.34 takes (staged files and images
/// with their unpacked layers, then the programs), for a server its packages and an empty database with its log. A host that was begun on
/// needs less; how much less is not worth asking.
fn need(host: &HostConfig, facts: &Facts) -> BTreeMap<String, u64> {
    let paths: &[(&str, u64)] = match (facts.journal.steps.is_empty(), host.role.is_node()) {
        (true, true) => {
            &[("/var/lib/containerd", 1536 << 20), ("/var/lib/etcdless", 512 << 20), ("/usr/local", 512 << 20)]
        }
        (true, false) => &[("/var/lib/etcdless", 1024 << 20), ("/usr/local", 512 << 20)],
        (false, _) => &[],
    };
    paths.iter().map(|(path, bytes)| ((*path).to_owned(), *bytes)).collect()
}

async fn look<H: Query>(place: &Place<'_, H>, probes: &Probes) -> Result<Facts, Failure> {
    place.host.facts(probes).await.map_err(|error| {
        Failure::new(runner::kind(&error), format!("cannot look at {}: {error}", place.config.label()))
    })
}

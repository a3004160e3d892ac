//! From a description and connected hosts to plans: look, check, ask the sources, compare. Changes nothing anywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

use futures_util::future::join_all;

use super::control_plane::{FOUNDER, MEMBER};
use super::plan::{self, Plan, Selection};
use super::preflight::{self, Ignore};
use super::{Context, Kept, Peer, Step, join, outcome, runner};
use crate::artifact::bundle::Bundles;
use crate::artifact::catalogue::catalogue;
use crate::artifact::supply::Supply;
use crate::artifact::{Item, Resolved, Sources, source};
use crate::assets::Assets;
use crate::cluster::node::Node;
use crate::config::credentials::Credentials;
use crate::config::{Cluster, Delivery, Host as HostConfig, ProxyEnvironment, Role};
use crate::datastore::{Stores, managed};
use crate::facts::{Facts, Os, Probes};
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

/// A host as far as it is known: expected at first, then seen.
struct Known<'a> {
    node: Node,
    facts: &'a Facts,
}

/// Of each host, whether it is fit.
type Fit = Vec<Result<(), Failure>>;

/// All hosts as far as they are known, and what follows from them together.
struct Fleet<'a> {
    known: Vec<Known<'a>>,
    /// The servers that etcdless keeps.
    servers: Vec<Kept>,
    /// The nodes as they know each other.
    peers: Vec<Peer>,
    /// The control plane that the others join: its place among the known.
    first: Option<usize>,
    /// The labels of workers that are no nodes yet.
    joining: Vec<String>,
    /// What programs on hosts are told of the proxy.
    proxy: Option<ProxyEnvironment>,
}

impl Desired {
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

    fn known<'a, H>(&self, places: &[Place<'_, H>], facts: &'a [Facts]) -> Result<Vec<Known<'a>>, Failure> {
        let known =
            |(place, facts): (&Place<'_, H>, &'a Facts)| Ok(Known { node: self.node(place.config, facts)?, facts });
        places.iter().zip(facts).map(known).collect()
    }

    /// Load balancers and database servers are told of every control plane, also of one that is away.
    fn addresses_are_known(&self, known: &[Known<'_>]) -> Result<(), Failure> {
        let mut away = self.cluster.spec.hosts.iter().filter(|config| is_away(config, known));
        let Some(config) = away.find(|config| told(config).is_none()) else { return Ok(()) };
        Err(Failure::new(Kind::Preflight, format!("{} is away, and nothing tells its address", config.label()))
            .hint("name the address that other nodes reach it by: hosts[].nodeIP"))
    }

    fn node(&self, config: &HostConfig, facts: &Facts) -> Result<Node, Failure> {
        Node::new(&self.cluster, config, facts).ok_or_else(|| {
            Failure::new(Kind::Preflight, format!("{} has no usable address or architecture", config.label()))
                .hint("name the address that other nodes reach it by: hosts[].nodeIP")
        })
    }

    fn fleet<'a>(&self, known: Vec<Known<'a>>, servers: Vec<Kept>) -> Fleet<'a> {
        let workers = known.iter().filter(|known| known.node.role == Role::Worker && !join::has_joined(known.facts));
        let joining = workers.map(|known| known.node.label.clone()).collect();
        let peers: Vec<Peer> = self.cluster.nodes().filter_map(|config| peer(config, &known)).collect();
        let control_planes = peers.iter().filter(|peer| peer.role == Role::ControlPlane).map(|peer| peer.address);
        let kept = known.iter().filter(|known| known.node.role == Role::Datastore).map(|known| known.node.address);
        let proxy = self.cluster.proxy_environment(control_planes.chain(kept));
        let first = first(&known);
        Fleet { known, servers, peers, first, joining, proxy }
    }

    /// The same with something in the place of certificates, to know what to ask, and for texts that people look at.
    fn imagined<'a>(&self, known: Vec<Known<'a>>) -> Fleet<'a> {
        let kept = |server: managed::Server| Kept { certificates: managed::Set::placeholder(&server), server };
        let servers = self.servers(&known).into_iter().map(kept).collect();
        self.fleet(known, servers)
    }

    /// The servers that etcdless keeps on these hosts.
    fn servers(&self, known: &[Known<'_>]) -> Vec<managed::Server> {
        let member = |known: &Known<'_>| managed::Member {
            label: known.node.label.clone(),
            role: known.node.role,
            address: known.node.address,
            memory: known.facts.memory_kib / 1024,
        };
        // A control plane that is away comes back, and is to be let in then.
        let away = self.cluster.spec.hosts.iter().filter(|config| is_away(config, known));
        let away = away.filter_map(|config| {
            let (label, role, address) = (config.label(), config.role, told(config)?);
            Some(managed::Member { label, role, address, memory: 0 })
        });
        managed::servers(&self.cluster, &known.iter().map(member).chain(away).collect::<Vec<_>>())
    }

    /// The servers with certificates that are good, or new. Only where something is to be signed, the authority's key is read.
    async fn certified<H: Query>(&self, places: &[Place<'_, H>], known: &[Known<'_>]) -> Result<Vec<Kept>, Failure> {
        let held: managed::Held<'_> = known.iter().map(|known| (known.node.label.as_str(), known.facts)).collect();
        let mut kept = Vec::new();
        for server in self.servers(known) {
            let place = places.iter().find(|place| place.config.label() == server.host);
            let key = match place {
                Some(place) if managed::Set::wants_key(&server, &held) => {
                    Some(runner::content(place.host, &server.host, managed::KEY).await?)
                }
                _ => None,
            };
            let certificates = managed::Set::of(&server, &held, key.as_ref())?;
            kept.push(Kept { server, certificates });
        }
        Ok(kept)
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

    /// Asks the sources, or the bundle, for digests and sizes of what the host lacks; asks nothing where it lacks nothing.
    async fn sources<H: Query>(
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
    async fn gets_through<H: Query>(
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
    fn missing(&self, plan: &Plan, known: &Known<'_>) -> Vec<Item> {
        let names: BTreeSet<&str> = plan.changes().filter_map(|(step, _)| transfer(&step.op)).collect();
        let files = catalogue(&self.cluster, known.node.arch, known.node.role).files;
        files.into_iter().filter(|item| names.contains(item.name.as_str())).collect()
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

/// Whether a host is a control plane that was not seen.
fn is_away(config: &HostConfig, known: &[Known<'_>]) -> bool {
    config.role == Role::ControlPlane && !known.iter().any(|known| known.node.label == config.label())
}

/// The address of a node as far as the description alone tells it.
fn told(config: &HostConfig) -> Option<IpAddr> {
    config.node_ip.or_else(|| config.address.to_string().parse().ok())
}

/// A node as the others know it; one that was not seen counts as far as the description tells its address.
fn peer(config: &HostConfig, known: &[Known<'_>]) -> Option<Peer> {
    let (label, role) = (config.label(), config.role);
    let seen = known.iter().find(|known| known.node.label == label);
    Some(Peer {
        name: seen.map(|known| known.node.name.clone()).or_else(|| config.name.as_ref().map(ToString::to_string)),
        address: seen.map_or_else(|| told(config), |known| Some(known.node.address))?,
        seen: seen.is_some(),
        built: seen.is_some_and(|known| is_control_plane(known.facts)),
        label,
        role,
    })
}

/// The control plane that the others join: the one that made the cluster; if that is gone, the first of those that are in it; before there
/// is a cluster, the first of all.
fn first(known: &[Known<'_>]) -> Option<usize> {
    let place = |is: &dyn Fn(&Facts) -> bool| {
        known.iter().position(|known| known.node.role == Role::ControlPlane && is(known.facts))
    };
    place(&|facts| facts.journal.steps.contains_key(FOUNDER))
        .or_else(|| place(&is_control_plane))
        .or_else(|| place(&|_| true))
}

/// Whether a host is a control plane of a cluster already, as far as its journal tells.
fn is_control_plane(facts: &Facts) -> bool {
    [FOUNDER, MEMBER].iter().any(|step| facts.journal.steps.contains_key(*step))
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

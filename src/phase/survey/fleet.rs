//! All hosts together: what follows for each from what is known of the others.

use std::net::IpAddr;

use super::{Desired, Place};
use crate::cluster::node::Node;
use crate::config::{Host as HostConfig, ProxyEnvironment, Role};
use crate::datastore::managed;
use crate::facts::Facts;
use crate::failure::{Failure, Kind};
use crate::phase::control_plane::{FOUNDER, MEMBER};
use crate::phase::{Kept, Peer, join, runner};
use crate::remote::Query;

/// A host as far as it is known: expected at first, then seen.
pub(super) struct Known<'a> {
    pub(super) node: Node,
    pub(super) facts: &'a Facts,
}

/// All hosts as far as they are known, and what follows from them together.
pub(super) struct Fleet<'a> {
    pub(super) known: Vec<Known<'a>>,
    /// The servers that etcdless keeps.
    pub(super) servers: Vec<Kept>,
    /// The nodes as they know each other.
    pub(super) peers: Vec<Peer>,
    /// The control plane that the others join: its place among the known.
    pub(super) first: Option<usize>,
    /// The labels of workers that are no nodes yet.
    pub(super) joining: Vec<String>,
    /// What programs on hosts are told of the proxy.
    pub(super) proxy: Option<ProxyEnvironment>,
}

impl Desired {
    pub(super) fn known<'a, H>(&self, places: &[Place<'_, H>], facts: &'a [Facts]) -> Result<Vec<Known<'a>>, Failure> {
        let known =
            |(place, facts): (&Place<'_, H>, &'a Facts)| Ok(Known { node: self.node(place.config, facts)?, facts });
        places.iter().zip(facts).map(known).collect()
    }

    /// Load balancers and database servers are told of every control plane, also of one that is away.
    pub(super) fn addresses_are_known(&self, known: &[Known<'_>]) -> Result<(), Failure> {
        let mut away = self.cluster.spec.hosts.iter().filter(|config| is_away(config, known));
        let Some(config) = away.find(|config| told(config).is_none()) else { return Ok(()) };
        Err(Failure::new(Kind::Preflight, format!("{} is away, and nothing tells its address", config.label()))
            .hint("name the address that other nodes reach it by: hosts[].nodeIP"))
    }

    pub(super) fn node(&self, config: &HostConfig, facts: &Facts) -> Result<Node, Failure> {
        Node::new(&self.cluster, config, facts).ok_or_else(|| {
            Failure::new(Kind::Preflight, format!("{} has no usable address or architecture", config.label()))
                .hint("name the address that other nodes reach it by: hosts[].nodeIP")
        })
    }

    pub(super) fn fleet<'a>(&self, known: Vec<Known<'a>>, servers: Vec<Kept>) -> Fleet<'a> {
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
    pub(super) fn imagined<'a>(&self, known: Vec<Known<'a>>) -> Fleet<'a> {
        let kept = |server: managed::Server| Kept { certificates: managed::Set::placeholder(&server), server };
        let servers = self.servers(&known).into_iter().map(kept).collect();
        self.fleet(known, servers)
    }

    /// The servers that etcdless keeps on these hosts.
    pub(super) fn servers(&self, known: &[Known<'_>]) -> Vec<managed::Server> {
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
    pub(super) async fn certified<H: Query>(
        &self,
        places: &[Place<'_, H>],
        known: &[Known<'_>],
    ) -> Result<Vec<Kept>, Failure> {
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

//! The cluster that moves: its control planes, what they serve, and how far a migration is on each.

use futures_util::future::try_join_all;

use crate::cli::Target;
use crate::cluster::node::Node;
use crate::commands::session;
use crate::config::{Cluster, Host as HostConfig, Role, load};
use crate::datastore::explore::foreign::MANIFEST;
use crate::facts::{Facts, Probes};
use crate::failure::{Failure, Kind};
use crate::phase::control_plane::RECORD;
use crate::phase::kubelet::CERTIFICATES;
use crate::phase::migrate::{self, Seen};
use crate::remote::{Host, Query};
use crate::ui::Ui;

/// A control plane, or the host of a database server.
pub(super) struct Member {
    pub(super) host: Host,
    pub(super) config: HostConfig,
    pub(super) facts: Facts,
    pub(super) seen: Seen,
}

/// All of them.
pub(super) struct Site {
    /// Control planes in the description's order: the first decides.
    pub(super) planes: Vec<Member>,
    /// Hosts of servers.
    pub(super) servers: Vec<Member>,
    /// The description that the cluster keeps of itself; none where etcdless did not build it.
    pub(super) kept: Option<Cluster>,
    /// The one that --to names.
    pub(super) to: Option<Cluster>,
}

impl Site {
    /// Connects to all control planes, and to hosts of servers. `to` knows them where the cluster does not know itself.
    pub(super) async fn find(ui: &Ui, target: &Target, to: Option<&Cluster>) -> Result<Self, Failure> {
        let described = session::describe(target, None)?;
        let (host, config) = session::control_plane(ui, target, &described).await?;
        let probes = || Probes { texts: [RECORD.to_owned(), MANIFEST.to_owned()].into(), ..Probes::default() };
        let facts = host.facts(&probes()).await.map_err(|error| session::unreachable(&error, &config))?;
        let kept = facts.texts.get(RECORD).map(|text| load::parse(RECORD, text)).transpose()?;
        let known = match &kept {
            Some(kept) => Some(kept.clone()),
            // On etcd it has none, but a migration that is not finished has.
            None => {
                let record = migrate::look(&host, &config.label()).await?.record;
                let text = record.map(|record| if record.old.is_empty() { record.new } else { record.old });
                text.map(|text| load::parse("what the migration keeps", &text)).transpose()?
            }
        };
        drop(host);
        let by_login = |cluster: &Cluster| {
            cluster.spec.hosts.iter().map(|host| session::as_operator(target, host)).collect::<Vec<_>>()
        };
        let mut configs = match (&target.config, &known, to) {
            (Some(_), ..) => described.spec.hosts.clone(),
            (None, Some(known), _) => by_login(known),
            (None, None, Some(to)) => by_login(to),
            (None, None, None) => {
                let why = format!("{} has no cluster that etcdless built", config.label());
                return Err(Failure::new(Kind::Unhealthy, why).hint("name a control plane"));
            }
        };
        // A server that the cluster is to have.
        let known: Vec<String> = configs.iter().map(HostConfig::label).collect();
        let new = to.iter().flat_map(|to| &to.spec.hosts).filter(|host| host.role == Role::Datastore);
        configs.extend(new.filter(|host| !known.contains(&host.label())).cloned());
        configs.retain(|config| config.role != Role::Worker);
        let asked: Vec<&HostConfig> = configs.iter().collect();
        let hosts = session::connect_all(ui, target, &asked, session::CONCURRENCY).await;
        let members = hosts.into_iter().zip(configs).map(async |(host, config)| {
            let host = host?;
            let facts = host.facts(&probes()).await.map_err(|error| session::unreachable(&error, &config))?;
            let seen = migrate::look(&host, &config.label()).await?;
            Ok::<Member, Failure>(Member { host, config, facts, seen })
        });
        let (planes, servers) =
            try_join_all(members).await?.into_iter().partition(|member| member.config.role.is_control_plane());
        Ok(Self { planes, servers, kept, to: to.cloned() })
    }

    /// The control plane that decides.
    pub(super) fn first(&self) -> Result<&Member, Failure> {
        self.planes.first().ok_or_else(|| Failure::new(Kind::Config, "there is no control plane in the description"))
    }

    /// Whether etcdless built the cluster, and not only moved it: else nothing but its store is etcdless's.
    pub(super) fn is_built(&self) -> bool {
        let is_built = |member: &Member| member.facts.journal.steps.contains_key(CERTIFICATES);
        self.kept.is_some() && self.planes.first().is_some_and(is_built)
    }

    /// All hosts, control planes first.
    pub(super) fn members(&self) -> impl Iterator<Item = &Member> {
        self.planes.iter().chain(&self.servers)
    }

    pub(super) fn labels(&self) -> String {
        self.planes.iter().map(|member| member.config.label()).collect::<Vec<_>>().join(", ")
    }
}

impl Member {
    /// Where its API server is reached on the host itself.
    pub(super) fn address(&self, cluster: &Cluster) -> Result<String, Failure> {
        let node = Node::new(cluster, &self.config, &self.facts)
            .ok_or_else(|| Failure::new(Kind::Unhealthy, format!("{} has no usable address", self.config.label())))?;
        Ok(match node.address {
            std::net::IpAddr::V4(address) => format!("{address}:6443"),
            std::net::IpAddr::V6(address) => format!("[{address}]:6443"),
        })
    }
}

//! What lets this machine into a cluster's stores: what the description refers to, and for servers that etcdless keeps a certificate of the
//! moment, which never leaves memory.

use super::session;
use crate::cli::Target;
use crate::cluster::node::Node;
use crate::config::credentials::Credentials;
use crate::config::{Cluster, Host as HostConfig, Role};
use crate::datastore::managed::{self, Member};
use crate::facts::Probes;
use crate::failure::{Failure, Kind};
use crate::phase::runner;
use crate::remote::Query;
use crate::ui::Ui;

/// The cluster with every server described as an external one, and the credentials in the order of [`Cluster::datastores`].
pub(super) async fn resolve(
    ui: &Ui,
    target: &Target,
    cluster: &Cluster,
) -> Result<(Cluster, Vec<Credentials>), Failure> {
    let mut credentials = Credentials::of_all(cluster)?;
    let mut resolved = cluster.clone();
    for config in cluster.spec.hosts.iter().filter(|host| host.role == Role::Datastore) {
        let (server, own) = server(ui, target, cluster, &session::as_operator(target, config)).await?;
        for ((shard, _), kept) in cluster.datastores().zip(&mut credentials) {
            if server.databases.iter().any(|database| database.shard == shard) {
                *kept = own.clone();
            }
        }
        resolved = managed::resolved(&resolved, &[server]);
    }
    Ok((resolved, credentials))
}

async fn server(
    ui: &Ui,
    target: &Target,
    cluster: &Cluster,
    config: &HostConfig,
) -> Result<(managed::Server, Credentials), Failure> {
    let host = session::connect(ui, target, config).await?;
    let probes = Probes { texts: [managed::AUTHORITY.to_owned()].into(), ..Probes::default() };
    let facts = host.facts(&probes).await.map_err(|error| session::unreachable(&error, config))?;
    let missing = || {
        Failure::new(Kind::Datastore, format!("{} has no database server of etcdless's", config.label()))
            .hint("make it: etcdless init -c FILE")
    };
    let authority = facts.texts.get(managed::AUTHORITY).ok_or_else(missing)?;
    let node = Node::new(cluster, config, &facts).ok_or_else(missing)?;
    let memory = facts.memory_kib / 1024;
    let member = Member { label: node.label, role: node.role, address: node.address, memory };
    let server = managed::servers(cluster, &[member]).pop().ok_or_else(missing)?;
    let key = runner::content(&host, &server.host, managed::KEY).await?;
    Ok((server, managed::Set::visitor(authority, &key)?))
}

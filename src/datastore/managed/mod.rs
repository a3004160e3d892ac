//! Servers that etcdless installs and keeps, each on a host of its own: what they are for, who may log in, and with which certificate.
//!
//! kine and the checks see such a server as any external one: [`resolved`] describes it by its parts.

mod certificates;
mod settings;

use std::net::IpAddr;

pub use certificates::{AUTHORITY, Client, FOLDER, Held, KEY, Set, probes};
pub use settings::{Load, Settings};

use crate::config::{
    Cluster, Datastore, External, Managed, Role, Server as Described, ServerAddress, ServerEngine, Tls,
};

/// What psql makes kine's table in partitions with; it needs the variables `user` and `partitions`.
pub const PARTITIONS: &str = include_str!("partitions.sql");

/// Who kine logs in as; the server lets it in by a certificate of this name alone.
pub const USER: &str = "kine";

/// A host as far as servers and their clients care.
#[derive(Debug, Clone)]
pub struct Member {
    /// What people see the host as.
    pub label: String,
    /// What it is for.
    pub role: Role,
    /// The address that the other hosts reach it by.
    pub address: IpAddr,
    /// Its memory in MiB.
    pub memory: u64,
}

/// A server that etcdless keeps.
#[derive(Debug, Clone)]
pub struct Server {
    /// The label of its host.
    pub host: String,
    /// What it runs.
    pub engine: ServerEngine,
    /// The address that it listens on.
    pub address: IpAddr,
    /// Its databases.
    pub databases: Vec<Database>,
    /// Who may connect: the control planes.
    pub clients: Vec<Member>,
    /// Its sizes.
    pub settings: Settings,
}

/// A database of one store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    /// The shard whose state it holds.
    pub shard: String,
    /// Its name: that of the cluster and that of the shard, `-` written as `_`.
    pub name: String,
    /// Folders of keys that have a partition of kine's table for themselves.
    pub partitions: Vec<String>,
}

/// The servers of a cluster, as far as their hosts are among the members.
pub fn servers(cluster: &Cluster, members: &[Member]) -> Vec<Server> {
    let described = |member: &&Member| member.role == Role::Datastore;
    members.iter().filter(described).filter_map(|member| server(cluster, member, members)).collect()
}

fn server(cluster: &Cluster, member: &Member, members: &[Member]) -> Option<Server> {
    let stores: Vec<(&str, ServerEngine, &Managed)> = cluster
        .datastores()
        .filter_map(|(shard, datastore)| Some((shard, datastore.engine()?, datastore.managed()?)))
        .filter(|(_, _, managed)| managed.host.as_str() == member.label)
        .collect();
    let &(_, engine, _) = stores.first()?;
    let clients: Vec<Member> = members.iter().filter(|other| other.role == Role::ControlPlane).cloned().collect();
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let settings = Settings::of(Load {
        memory: member.memory,
        control_planes: count(clients.len()),
        stores: count(stores.len()),
        pool: cluster.spec.kine.pool.into(),
        nodes: count(cluster.nodes().count()),
    });
    let databases = stores.iter().map(|(shard, _, managed)| Database {
        shard: (*shard).to_owned(),
        name: database(cluster, shard),
        partitions: managed.partitions.clone(),
    });
    let (host, address, databases) = (member.label.clone(), member.address, databases.collect());
    Some(Server { host, engine, address, databases, clients, settings })
}

/// The database of a shard.
pub fn database(cluster: &Cluster, shard: &str) -> String {
    format!("{}_{shard}", cluster.metadata.name).replace('-', "_")
}

/// The cluster with each server of ours described as an external one is: the same user for all, let in by a certificate.
pub fn resolved(cluster: &Cluster, servers: &[Server]) -> Cluster {
    let mut resolved = cluster.clone();
    let describe = |shard: &str, datastore: &mut Datastore| {
        let of_shard = |server: &&Server| server.databases.iter().any(|database| database.shard == shard);
        let Some(server) = servers.iter().find(of_shard) else { return };
        let external = Described::External(Box::new(External {
            address: Some(ServerAddress::Tcp { host: server.address.to_string(), port: Some(server.engine.port()) }),
            addresses: Vec::new(),
            database: database(cluster, shard),
            user: USER.into(),
            password: None,
            tls: Tls::default(),
            parameters: [].into(),
        }));
        *datastore = match server.engine {
            ServerEngine::Postgres => Datastore::Postgres(external),
            ServerEngine::Mysql => Datastore::Mysql(external),
            ServerEngine::Mariadb => Datastore::Mariadb(external),
        };
    };
    describe(crate::config::MAIN, &mut resolved.spec.datastore);
    for shard in &mut resolved.spec.shards {
        describe(shard.name.as_str(), &mut shard.datastore);
    }
    resolved
}

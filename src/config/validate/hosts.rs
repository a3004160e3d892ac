//! The machines: how many of which role, and that no two are the same one.

use super::Violation;
use crate::config::{Address, Cluster, Datastore, DnsLabel, Endpoint, Host, MAIN, Role, ServerEngine, taint};

/// PostgreSQL's limit, the shortest.
const LONGEST_DATABASE: usize = 63;

pub(super) fn check(cluster: &Cluster) -> Vec<Violation> {
    let hosts = &cluster.spec.hosts;
    let mut broken = roles(cluster);
    broken.extend(servers(cluster));
    for (index, host) in hosts.iter().enumerate() {
        let earlier = &hosts[..index];
        let at = |index: usize, field: &str| format!("spec.hosts[{index}].{field}");
        if let Some(first) = earlier.iter().position(|other| host.name.is_some() && other.name == host.name) {
            let message = format!("two hosts have the name `{}`", host.label());
            broken.push(
                Violation::new(at(index, "name"), message)
                    .suggest("names of nodes are unique")
                    .related(at(first, "name")),
            );
        }
        if let Some(first) = earlier.iter().position(|other| same_machine(other, host)) {
            let message = format!("two hosts have the address `{}`", host.address);
            let advice = match host.address {
                Address::Local => "this machine can be one host only",
                Address::Ssh(_) => "remove one; two machines behind one address differ in `ssh.port`",
            };
            broken.push(Violation::new(at(index, "address"), message).suggest(advice).related(at(first, "address")));
        }
        if let Some(first) = earlier.iter().position(|other| host.node_ip.is_some() && other.node_ip == host.node_ip) {
            broken.push(
                Violation::new(at(index, "nodeIP"), "two hosts have the same nodeIP")
                    .suggest("each node has its own")
                    .related(at(first, "nodeIP")),
            );
        }
        broken.extend(login(index, host));
    }
    broken
}

fn roles(cluster: &Cluster) -> Vec<Violation> {
    let hosts = &cluster.spec.hosts;
    let mut broken = Vec::new();
    if hosts.is_empty() {
        broken.push(Violation::new("spec.hosts", "there are no hosts").suggest("add `- address: HOST`"));
    } else if cluster.first_control_plane().is_none() {
        broken.push(
            Violation::new("spec.hosts", "no host is a control plane").suggest("give one host `role: control-plane`"),
        );
    }
    let mut control_planes = hosts.iter().enumerate().filter(|(_, host)| host.role == Role::ControlPlane);
    let first = control_planes.next().map(|(index, _)| index);
    for (index, host) in control_planes {
        let sqlite = cluster.datastores().find(|(_, datastore)| matches!(datastore, Datastore::Sqlite(_)));
        let direct = matches!(cluster.endpoint(), Endpoint::Direct(_));
        let (message, advice) = match sqlite {
            Some((shard, _)) => (
                format!("{} would be a second control plane, and SQLite is one file on one machine", host.label()),
                match shard {
                    MAIN => "keep one control plane; a second one needs PostgreSQL, MySQL or MariaDB".to_owned(),
                    _ => format!("keep one control plane, or move the shard `{shard}` to PostgreSQL, MySQL or MariaDB"),
                },
            ),
            None if direct => (
                format!("{} would be a second control plane, and `endpoint: direct` leads to one only", host.label()),
                "use `endpoint: { local: {} }`, which is the default, `external` or `vip`".to_owned(),
            ),
            None => continue,
        };
        let broken_here = Violation::new(format!("spec.hosts[{index}]"), message).suggest(advice);
        broken.push(match first {
            Some(first) => broken_here.related(format!("spec.hosts[{first}]")),
            None => broken_here,
        });
    }
    broken.extend(vip(cluster));
    for (index, host) in hosts.iter().enumerate() {
        broken.extend(labels(index, host));
    }
    broken
}

/// An address that moves is nobody's own, and of the nodes' family.
fn vip(cluster: &Cluster) -> Vec<Violation> {
    const AT: &str = "spec.endpoint.vip";
    let Endpoint::Vip(vip) = cluster.endpoint() else { return Vec::new() };
    let own = |host: &Host| host.node_ip == Some(vip) || host.address.to_string().parse() == Ok(vip);
    let mut broken = Vec::new();
    if let Some(index) = cluster.spec.hosts.iter().position(own) {
        let message = format!("{vip} is the address of {}, and so cannot move", cluster.spec.hosts[index].label());
        let advice = "use an address of the same network that no machine has";
        broken.push(Violation::new(AT, message).suggest(advice).related(format!("spec.hosts[{index}]")));
    }
    let kubernetes = &cluster.spec.kubernetes;
    for (name, range) in [("podSubnet", kubernetes.pod_subnet), ("serviceSubnet", kubernetes.service_subnet)] {
        if range.contains(&vip) {
            let message = format!("{vip} is inside {name} {range}");
            let advice = "use an address of the network that the nodes are in";
            broken.push(Violation::new(AT, message).suggest(advice).related(format!("spec.kubernetes.{name}")));
        }
    }
    broken
}

fn labels(index: usize, host: &Host) -> Vec<Violation> {
    let wrong = host.labels.iter().filter(|(key, value)| !taint::is_key(key) || !taint::is_value(value));
    wrong
        .map(|(key, value)| {
            Violation::new(format!("spec.hosts[{index}].labels"), format!("`{key}: {value}` is not a label"))
                .suggest("63 letters, digits, `-`, `_` and `.` at most; a key may have a DNS name and `/` in front")
        })
        .collect()
}

/// Hosts of servers that etcdless keeps: each store names one, and each one is named.
fn servers(cluster: &Cluster) -> Vec<Violation> {
    let hosts = &cluster.spec.hosts;
    let named = |host: &Host, name: &DnsLabel| host.name.as_ref() == Some(name);
    let place = |index: usize| {
        if index == 0 { "spec.datastore".into() } else { format!("spec.shards[{}].datastore", index - 1) }
    };
    let mut broken = Vec::new();
    let mut engines: Vec<(&DnsLabel, ServerEngine)> = Vec::new();
    let mut longest = 0;
    for (index, (shard, datastore)) in cluster.datastores().enumerate() {
        let (Some(managed), Some(engine)) = (datastore.managed(), datastore.engine()) else { continue };
        let at = format!("{}.{}.managed.host", place(index), engine.name());
        match hosts.iter().position(|host| named(host, &managed.host)) {
            None => broken.push(
                Violation::new(at, format!("no host is named `{}`", managed.host))
                    .suggest(format!("add a host `{{ name: {}, address: ..., role: datastore }}`", managed.host)),
            ),
            Some(host) if hosts[host].role != Role::Datastore => broken.push(
                Violation::new(at, format!("the host `{}` is not for a database server", managed.host))
                    .suggest("give the server a host of its own, with `role: datastore`")
                    .related(format!("spec.hosts[{host}]")),
            ),
            Some(host) => match engines.iter().find(|(name, _)| **name == managed.host) {
                Some((_, other)) if *other != engine => broken.push(
                    Violation::new(at, format!("`{}` is to run {} already", managed.host, other.title()))
                        .suggest("one host runs one server; give the other a host of its own")
                        .related(format!("spec.hosts[{host}]")),
                ),
                _ => engines.push((&managed.host, engine)),
            },
        }
        longest = longest.max(format!("{}_{shard}", cluster.metadata.name).len());
    }
    if longest > LONGEST_DATABASE {
        let message = format!("a database of {longest} letters would be named after the cluster and its shard");
        let advice =
            format!("shorten the name by {} letters: {LONGEST_DATABASE} is the most", longest - LONGEST_DATABASE);
        broken.push(Violation::new("metadata.name", message).suggest(advice));
    }
    for (index, host) in hosts.iter().enumerate().filter(|(_, host)| host.role == Role::Datastore) {
        let used = cluster.datastores().filter_map(|(_, datastore)| datastore.managed());
        if !used.into_iter().any(|managed| named(host, &managed.host)) {
            broken.push(
                Violation::new(format!("spec.hosts[{index}].role"), format!("no store is on {}", host.label()))
                    .suggest("name it: `datastore: { postgres: { managed: { host: NAME } } }`, or remove the host"),
            );
        }
    }
    broken
}

/// Two ports of one address may be forwarded to two machines.
fn same_machine(a: &Host, b: &Host) -> bool {
    let port = |host: &Host| host.ssh.port.unwrap_or(22);
    let same_address = match (&a.address, &b.address) {
        (Address::Ssh(a), Address::Ssh(b)) => match (a.parse::<std::net::IpAddr>(), b.parse::<std::net::IpAddr>()) {
            (Ok(a), Ok(b)) => a == b,
            _ => a.eq_ignore_ascii_case(b),
        },
        (a, b) => return a == b,
    };
    same_address && port(a) == port(b)
}

/// What goes to ssh as arguments of its own, and settings that would have no effect.
fn login(index: usize, host: &Host) -> Vec<Violation> {
    let mut broken = Vec::new();
    let mut refuse = |field: &str, message: String, advice: &str| {
        broken.push(Violation::new(format!("spec.hosts[{index}].{field}"), message).suggest(advice));
    };
    let texts = [("user", "user name", &host.user), ("ssh.jump", "jump host", &host.ssh.jump)];
    for (field, noun, text) in texts {
        if let Some(text) = text.as_deref().filter(|text| !is_argument(text)) {
            refuse(field, format!("`{text}` is not a {noun}"), "it has no blanks and does not start with `-`");
        }
    }
    if let Some(identity) = &host.ssh.identity {
        let text = identity.to_string_lossy();
        if text.is_empty() {
            refuse(
                "ssh.identity",
                "the path of the key file is empty".into(),
                "remove it to use the keys of your ssh_config and agent",
            );
        } else if text.starts_with('~') && !text.starts_with("~/") {
            refuse(
                "ssh.identity",
                format!("`{text}` is not a path that can be found"),
                "only `~/` stands for a home folder, your own",
            );
        }
    }
    if host.address == Address::Local {
        if host.user.is_some() {
            refuse("user", "`address: local` does not log in, so `user` has no effect".into(), "remove it");
        }
        if !host.ssh.is_default() {
            refuse("ssh", "`address: local` does not use SSH, so `ssh` has no effect".into(), "remove it");
        }
    }
    broken
}

/// Not empty, no blanks, and nothing that ssh would take for an option.
fn is_argument(text: &str) -> bool {
    !text.is_empty() && !text.starts_with('-') && !text.contains(|c: char| c.is_whitespace() || c.is_control())
}

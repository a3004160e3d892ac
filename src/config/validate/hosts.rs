//! The machines: how many of which role, and that no two are the same one.

use super::Violation;
use crate::config::{Address, Cluster, Datastore, Host, Role};

pub(super) fn check(cluster: &Cluster) -> Vec<Violation> {
    let hosts = &cluster.spec.hosts;
    let mut broken = roles(cluster);
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
        let (message, advice) = match cluster.spec.datastore {
            Datastore::Sqlite(_) => (
                format!("{} would be a second control plane, and SQLite is one file on one machine", host.label()),
                "keep one control plane; a second one needs PostgreSQL, MySQL or MariaDB",
            ),
            _ => (
                format!("{} would be a second control plane, and this version cannot join one yet", host.label()),
                "keep one control plane",
            ),
        };
        let broken_here = Violation::new(format!("spec.hosts[{index}]"), message).suggest(advice);
        broken.push(match first {
            Some(first) => broken_here.related(format!("spec.hosts[{first}]")),
            None => broken_here,
        });
    }
    for (index, host) in hosts.iter().enumerate().filter(|(_, host)| host.role == Role::Worker) {
        let message = format!("{} is a worker, and this version cannot join workers yet", host.label());
        broken.push(
            Violation::new(format!("spec.hosts[{index}].role"), message)
                .suggest("remove the host: this version builds one control plane, which runs ordinary Pods too"),
        );
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

//! Phase `endpoint`: the API server is found by its name on the host before anything asks for it.
//!
//! `local` runs HAProxy on every node, control planes too, so that no address is special: control planes come and go by a reload, and a node
//! notices by itself that one is gone. `vip` runs keepalived on the control planes. Both come from the distribution and run under units of
//! etcdless's own, so that what else uses them on the host is left alone.

use std::net::{IpAddr, Ipv4Addr};

use serde::Serialize;

use super::{Context, Peer, Step};
use crate::config::{API_PORT, ApiAddress, Endpoint, LOCAL_PORT};
use crate::failure::{Failure, Kind};
use crate::op::{File, Op, Script};
use crate::render::render;

/// What HAProxy reads.
pub const HAPROXY: &str = "/etc/etcdless/endpoint/haproxy.cfg";

/// What keepalived reads.
pub const KEEPALIVED: &str = "/etc/etcdless/endpoint/keepalived.conf";

/// With more nodes than this, each asks the API servers half as often.
const MANY: usize = 50;

/// What this phase wants on a host.
pub fn steps(context: &Context<'_>) -> Result<Vec<Step>, Failure> {
    match context.cluster.endpoint() {
        Endpoint::Direct(_) => Ok(vec![name(context, context.control_plane.unwrap_or(context.node).address)]),
        Endpoint::Local(_) => Ok([vec![name(context, Ipv4Addr::LOCALHOST.into())], balancer(context)?].concat()),
        Endpoint::External(_) => Ok(Vec::new()),
        Endpoint::Vip(address) if context.node.role.is_control_plane() => {
            Ok([vec![name(context, address)], moving(context, address)?].concat())
        }
        Endpoint::Vip(address) => Ok(vec![name(context, address)]),
    }
}

/// The API's name in /etc/hosts.
fn name(context: &Context<'_>, address: IpAddr) -> Step {
    let (name, address) = (context.cluster.api_name(), address.to_string());
    let title = format!("let {name} be {address}");
    Step::new("endpoint/name", title, Op::HostsEntry { name, address })
}

#[derive(Serialize)]
struct Balancer<'a> {
    port: u16,
    seconds: u8,
    servers: Vec<Server<'a>>,
}

#[derive(Serialize)]
struct Server<'a> {
    name: &'a str,
    address: String,
    /// Asked only while no other is up.
    backup: bool,
}

/// HAProxy on the loopback address.
fn balancer(context: &Context<'_>) -> Result<Vec<Step>, Failure> {
    let own = context.node.role.is_control_plane();
    let server = |peer: &'_ Peer| (peer.label == context.node.label, peer.label.clone(), peer.address);
    let members: Vec<(bool, String, IpAddr)> = context.control_planes().map(server).collect();
    let servers = members.iter().map(|(here, label, address)| Server {
        name: label,
        address: ApiAddress { host: address.to_string(), port: API_PORT }.to_string(),
        // A control plane asks its own API server: a kubelet may not be newer than the one that it talks to, while one is upgraded.
        backup: own && !here,
    });
    let seconds = if context.peers.len() > MANY { 2 } else { 1 };
    let balancer = Balancer { port: LOCAL_PORT, seconds, servers: servers.collect() };
    let config = render(context.assets, "endpoint/haproxy.cfg.j2", &balancer)?;
    let parts = Parts { package: "haproxy", config: (HAPROXY, config), template: "endpoint/haproxy.service.j2" };
    service(context, &parts)
}

#[derive(Serialize)]
struct Moving {
    interface: String,
    own: String,
    others: Vec<String>,
    address: String,
    length: u8,
    priority: usize,
    router: u8,
    port: u16,
}

/// keepalived on a control plane.
fn moving(context: &Context<'_>, address: IpAddr) -> Result<Vec<Step>, Failure> {
    let node = context.node;
    let interface = context.facts.interfaces.get(&node.address).cloned().ok_or_else(|| {
        Failure::new(Kind::Preflight, format!("{} does not tell which interface has {}", node.label, node.address))
            .hint("name the address that other nodes reach it by: hosts[].nodeIP")
    })?;
    let place = context.control_planes().position(|peer| peer.label == node.label).unwrap_or_default();
    let others = context.control_planes().filter(|peer| peer.label != node.label);
    let moving = Moving {
        interface,
        own: node.address.to_string(),
        others: others.map(|peer| peer.address.to_string()).collect(),
        address: address.to_string(),
        length: if address.is_ipv4() { 32 } else { 128 },
        // The one that makes the cluster has the address before any API server is up.
        priority: if context.is_first() { 150 } else { 140 - place.min(100) },
        router: router(address),
        port: API_PORT,
    };
    let config = render(context.assets, "endpoint/keepalived.conf.j2", &moving)?;
    let parts =
        Parts { package: "keepalived", config: (KEEPALIVED, config), template: "endpoint/keepalived.service.j2" };
    service(context, &parts)
}

/// The number that groups of keepalived on one network tell each other apart by: 1 to 255, from the address.
fn router(address: IpAddr) -> u8 {
    let last = match address {
        IpAddr::V4(address) => address.octets()[3],
        IpAddr::V6(address) => address.octets()[15],
    };
    last.max(1)
}

/// A program of the distribution's under a unit of etcdless's own.
struct Parts {
    package: &'static str,
    config: (&'static str, String),
    template: &'static str,
}

fn service(context: &Context<'_>, parts: &Parts) -> Result<Vec<Step>, Failure> {
    let Parts { package, config: (path, config), template } = parts;
    let unit = format!("etcdless-{package}.service");
    let unit_path = format!("/etc/systemd/system/{unit}");
    let unit_file = render(context.assets, template, &Unit { config: path })?;
    let [configured, placed] = [format!("endpoint/{package}-config"), format!("endpoint/{package}-unit")];
    let installed = format!("endpoint/{package}");
    let started = format!("endpoint/{package}-started");
    let quiet = quiet(context, package);
    let before: Vec<String> = quiet.iter().map(|step| step.id.clone()).collect();
    let steps = vec![
        Step::new(&configured, format!("write {path}"), Op::File(File::new(*path, 0o644, config.as_str()))),
        Step::new(&placed, format!("write {unit_path}"), Op::File(File::new(&unit_path, 0o644, unit_file))),
        // Two installations at a time would meet at the package manager's lock.
        Step::new(
            &installed,
            format!("install the package {package}"),
            Op::Package { names: vec![(*package).into()], bundled: None, environment: Vec::new() },
        )
        .after(["node"])
        .after(before),
        Step::new(
            &started,
            format!("start {unit}"),
            Op::Unit { name: unit.clone(), running: true, watches: vec![unit_path] },
        )
        .after([&configured, &placed, &installed].map(String::as_str)),
        Step::new(
            format!("endpoint/{package}-reloaded"),
            format!("let {package} read its configuration"),
            Op::Script(Script {
                text: include_str!("scripts/endpoint_reloaded.sh").into(),
                args: vec![unit, (*path).into()],
                creates: Vec::new(),
                watches: vec![(*path).into()],
                of: config.clone(),
                seconds: 60,
            }),
        )
        .after([started]),
    ];
    Ok(quiet.into_iter().chain(steps).collect())
}

/// The package's own unit would start with nothing to do. Where the package was there before, its unit is somebody's and stays as it is.
fn quiet(context: &Context<'_>, package: &str) -> Option<Step> {
    let path = format!("/etc/systemd/system/{package}.service.d/etcdless.conf");
    if context.facts.packages.contains_key(package) && !context.facts.files.contains_key(&path) {
        return None;
    }
    let text = "# Written by etcdless, which runs this program under a unit of its own. Remove the file to use the package's unit, too.\n\
                [Unit]\nConditionPathExists=/nonexistent\n";
    let op = Op::File(File::new(&path, 0o644, text));
    Some(Step::new(
        format!("endpoint/{package}-quiet"),
        format!("keep the package's own {package}.service from starting"),
        op,
    ))
}

#[derive(Serialize)]
struct Unit<'a> {
    config: &'a str,
}

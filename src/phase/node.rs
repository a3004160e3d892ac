//! The host itself: what playbooks say about kernel, swap, container runtime and kubelet files, as steps.

use ipnet::IpNet;
use serde::Serialize;

use super::{Context, Step};
use crate::artifact::catalogue::pause_image;
use crate::cluster::versions;
use crate::failure::{Failure, Kind};
use crate::op::{File, Op};
use crate::playbook::{self, Inputs, Task, Versions};
use crate::render::render;

/// Hosts of images for which playbooks tell containerd of the registry.
const PUBLISHERS: [&str; 3] = ["registry.k8s.io", "docker.io", "ghcr.io"];

/// What this phase wants on a host.
pub fn steps(context: &Context<'_>) -> Result<Vec<Step>, Failure> {
    let tasks = playbook::tasks(context.assets, &inputs(context)?, context.facts)?;
    // In front of the units: those are restarted for what changes before them.
    let mut steps = proxies(context)?;
    steps.extend(tasks.into_iter().map(step));
    for step in &mut steps {
        if let Some((unit, path)) = PROXIED.iter().find(|(unit, _)| step.id == id(unit))
            && let Op::Unit { watches, .. } = &mut step.op
        {
            // The folder is newer, too, once the file has gone from it, which another unit's reload of systemd would hide.
            watches.extend([*path, path.rsplit_once('/').map_or(*path, |(folder, _)| folder)].map(String::from));
            step.after.push(proxy_step(unit));
        }
    }
    if let Some(file) = repository(context)? {
        steps.push(Step::new("node/registry-repository", format!("write {}", file.path), Op::File(file)));
    }
    Ok(steps)
}

/// The units that go through the proxy by themselves, by the names of their steps, and where they are told so.
const PROXIED: [(&str, &str); 2] = [
    ("containerd", "/etc/systemd/system/containerd.service.d/20-etcdless-proxy.conf"),
    ("kubelet", "/etc/systemd/system/kubelet.service.d/20-etcdless-proxy.conf"),
];

fn proxy_step(unit: &str) -> String {
    format!("node/{unit}-proxy")
}

/// What the units are told of the proxy; without one, that nothing of an earlier one is left.
fn proxies(context: &Context<'_>) -> Result<Vec<Step>, Failure> {
    let one = |(unit, path): (&str, &str)| {
        let (title, op) = match context.proxy {
            Some(proxy) => {
                let values = Proxied { http: &proxy.http, https: &proxy.https, no: proxy.no.join(",") };
                let text = render(context.assets, "systemd/proxy.conf.j2", &values)?;
                (format!("let {unit} go through the proxy {}", proxy.http), Op::File(File::new(path, 0o644, text)))
            }
            None => (format!("let {unit} go through no proxy"), Op::Absent { path: path.into() }),
        };
        Ok(Step::new(proxy_step(unit), title, op))
    };
    PROXIED.into_iter().map(one).collect()
}

#[derive(Serialize)]
struct Proxied<'a> {
    http: &'a str,
    https: &'a str,
    no: String,
}

/// What containerd is told of the host of `kubernetes.imageRepository`, which it asks over HTTPS by itself. containerd reads it at every pull.
fn repository(context: &Context<'_>) -> Result<Option<File>, Failure> {
    let spec = &context.cluster.spec;
    let (Some(repository), Some(registry)) = (&spec.kubernetes.image_repository, spec.artifacts.registry_url()) else {
        return Ok(None);
    };
    let host = repository.host();
    if PUBLISHERS.contains(&host) {
        return Ok(None);
    }
    let template = match spec.artifacts.registry_is(host) {
        true => "containerd/server.toml.j2",
        false => "containerd/hosts.toml.j2",
    };
    let text = render(context.assets, template, &Registry { registry, vars: Vars { host } })?;
    Ok(Some(File::new(format!("/etc/containerd/certs.d/{host}/hosts.toml"), 0o644, text)))
}

#[derive(Serialize)]
struct Registry<'a> {
    registry: String,
    vars: Vars<'a>,
}

#[derive(Serialize)]
struct Vars<'a> {
    host: &'a str,
}

fn step(task: Task) -> Step {
    let after = task.after.iter().map(|name| id(name));
    Step::new(id(&task.name), task.title, task.op).after(after)
}

fn id(name: &str) -> String {
    format!("node/{name}")
}

/// What playbooks may know of a node.
pub(super) fn inputs(context: &Context<'_>) -> Result<Inputs, Failure> {
    let spec = &context.cluster.spec;
    let version = &spec.kubernetes.version;
    let support = versions::support(version)
        .ok_or_else(|| Failure::new(Kind::Config, format!("Kubernetes {version} is not supported")))?;
    Ok(Inputs {
        versions: Versions {
            kubernetes: spec.kubernetes.version.to_string(),
            containerd: support.containerd.into(),
            runc: support.runc.into(),
            cni_plugins: support.cni.into(),
        },
        pause_image: pause_image(context.cluster),
        registry: spec.artifacts.registry_url(),
        install: spec.runtime.install,
        proxy_mode: spec.kubernetes.proxy_mode,
        swap: spec.kubernetes.swap,
        ipv6: [spec.kubernetes.pod_subnet, spec.kubernetes.service_subnet]
            .iter()
            .any(|net| matches!(net, IpNet::V6(_))),
        restrict_oom_score: context.node.restrict_oom_score,
        server: None,
    })
}

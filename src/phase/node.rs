//! The host itself: what playbooks say about kernel, swap, container runtime and kubelet files, as steps.

use ipnet::IpNet;

use super::{Context, Step};
use crate::cluster::versions;
use crate::failure::{Failure, Kind};
use crate::playbook::{self, Inputs, Task, Versions};

/// What this phase wants on a host.
pub fn steps(context: &Context<'_>) -> Result<Vec<Step>, Failure> {
    let tasks = playbook::tasks(context.assets, &inputs(context)?, context.facts)?;
    Ok(tasks.into_iter().map(step).collect())
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
        pause_image: format!("registry.k8s.io/pause:{}", support.pause),
        registry: spec.artifacts.registry.clone(),
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

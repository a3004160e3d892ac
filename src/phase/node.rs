//! The host itself: what playbooks say about kernel, swap, container runtime and kubelet files, as steps.

use ipnet::IpNet;

use super::{Context, Step};
use crate::artifact::catalogue::catalogue;
use crate::cluster::versions::{self, Support};
use crate::failure::{Failure, Kind};
use crate::playbook::{self, Inputs, Task, Versions};

/// What this phase wants on a host.
pub fn steps(context: &Context<'_>) -> Result<Vec<Step>, Failure> {
    let version = &context.cluster.spec.kubernetes.version;
    let support = versions::support(version)
        .ok_or_else(|| Failure::new(Kind::Config, format!("Kubernetes {version} is not supported")))?;
    let tasks = playbook::tasks(context.assets, &inputs(context, &support), context.facts)?;
    let files = catalogue(context.cluster, context.node.arch).files;
    let fetched: Vec<String> = files.iter().map(|item| format!("artifacts/{}", item.name)).collect();
    Ok(tasks.into_iter().map(|task| step(task, &fetched)).collect())
}

/// The host is changed only once every file is there: a mirror that lacks one leaves it untouched.
fn step(task: Task, fetched: &[String]) -> Step {
    let after = task.after.iter().map(|name| id(name)).chain(fetched.iter().cloned());
    Step::new(id(&task.name), task.title, task.op).after(after)
}

fn id(name: &str) -> String {
    format!("node/{name}")
}

fn inputs(context: &Context<'_>, support: &Support) -> Inputs {
    let spec = &context.cluster.spec;
    Inputs {
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::Op;

    #[test]
    fn a_step_waits_for_its_own_phase_and_for_every_file() {
        let task =
            Task { name: "kubelet".into(), title: "t".into(), op: Op::SwapOff, after: vec!["kubelet-unit".into()] };
        let step = step(task, &["artifacts/kubelet".into(), "artifacts/kine".into()]);
        assert_eq!(step.id, "node/kubelet");
        assert_eq!(step.after, ["node/kubelet-unit", "artifacts/kubelet", "artifacts/kine"]);
    }
}

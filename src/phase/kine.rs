//! Phase `kine`: kine in place, running where systemd keeps it, and proven by write and read back through the API server's own endpoint.

use super::artifacts::STAGE;
use super::{Context, Step};
use crate::cluster::kine::probe::{self, Endpoint};
use crate::cluster::kine::{self, Process, static_pod, systemd};
use crate::config::{Listen, MAIN, Placement};
use crate::failure::Failure;
use crate::op::{File, Op, Script, sha256};

/// Seconds that kine has to answer: its image is there, but a large SQLite file is checked and vacuumed first.
const PROOF_DEADLINE: u64 = 120;

/// What this phase wants on a host.
pub fn steps(context: &Context<'_>) -> Result<Vec<Step>, Failure> {
    let files = kine::files(context.cluster, context.stores, context.assets)?;
    let digest = sha256(files.iter().map(File::sha256).collect::<String>().as_bytes());
    let mut steps = placed(context, files);
    let placement = context.cluster.spec.kine.placement;
    let processes = kine::processes(context.cluster, context.stores);
    if placement == Placement::Systemd {
        steps.extend(under_systemd(context, &processes, &steps));
    }
    let before: Vec<String> = steps.iter().map(|step| step.id.clone()).collect();
    for process in &processes {
        let proof = probe::proof(&Endpoint::of(&process.listener), &context.node.name, PROOF_DEADLINE, digest.clone());
        let title = format!("prove {}: write, read back, delete", process.name());
        let after = match placement {
            Placement::StaticPod => {
                steps.push(
                    renewed(process, &digest)
                        .after(before.iter().cloned())
                        .after(["kubelet/started"])
                        .after_ahead(context, "kine"),
                );
                renewed_step(&process.shard)
            }
            Placement::Systemd => unit_step(&process.shard),
            Placement::Sidecar => "control-plane/api-server".to_owned(),
        };
        steps.push(
            Step::new(proven_step(&process.shard), title, Op::Script(proof)).after([after]).after_servers(context),
        );
    }
    Ok(steps)
}

/// A kine that runs reads a changed endpoint or certificate only when it starts.
fn renewed(process: &Process, digest: &str) -> Step {
    let watches = process.watches(Placement::StaticPod);
    let op = Op::Script(Script {
        text: include_str!("scripts/kine_renewed.sh").into(),
        args: [process.name()].into_iter().chain(watches.iter().cloned()).collect(),
        creates: Vec::new(),
        watches,
        of: digest.into(),
        seconds: 60,
    });
    Step::new(renewed_step(&process.shard), format!("end a {} that is older than its files", process.name()), op)
}

/// The ID of the step that makes a shard's kine read its files anew.
fn renewed_step(shard: &str) -> String {
    if shard == MAIN { "kine/renewed".into() } else { format!("kine/renewed-{shard}") }
}

/// The ID of the step that makes a folder.
pub(super) fn folder_step(path: &str) -> String {
    format!("kine/folder{}", path.replace('/', "-"))
}

/// The ID of the step that proves a shard's kine.
fn proven_step(shard: &str) -> String {
    if shard == MAIN { "kine/proven".into() } else { format!("kine/proven-{shard}") }
}

/// The ID of the step that starts a shard's kine under systemd.
fn unit_step(shard: &str) -> String {
    if shard == MAIN { "kine/unit".into() } else { format!("kine/unit-{shard}") }
}

/// The IDs of the steps that prove every kine.
pub(super) fn proven_ids(context: &Context<'_>) -> Vec<String> {
    context.cluster.datastores().map(|(shard, _)| proven_step(shard)).collect()
}

/// The IDs of everything that lies on disk before something starts kine.
pub(super) fn placed_ids(context: &Context<'_>) -> Result<Vec<String>, Failure> {
    let files = kine::files(context.cluster, context.stores, context.assets)?;
    Ok(placed(context, files).into_iter().map(|step| step.id).collect())
}

fn placed(context: &Context<'_>, files: Vec<File>) -> Vec<Step> {
    let folders: Vec<Step> = kine::directories(context.cluster, context.stores)
        .into_iter()
        .map(|(path, mode)| {
            let op = Op::Directory { path: path.clone(), mode };
            Step::new(folder_step(&path), format!("make {path}"), op)
        })
        .collect();
    let ids: Vec<String> = folders.iter().map(|step| step.id.clone()).collect();
    let mut steps = folders;
    if context.cluster.spec.kine.listen == Listen::Tcp {
        let op = Op::Certificates { directory: kine::PKI.into() };
        steps.push(Step::new("kine/certificates", "make kine's certificates", op).after(ids.clone()));
    }
    // The kubelet acts on a manifest at once, so what it names is there before, and the server that it connects to.
    let (starters, others): (Vec<File>, Vec<File>) =
        files.into_iter().partition(|file| file.path.starts_with(static_pod::MANIFESTS));
    let step = |file: File, after: &[String]| {
        let name = file.path.trim_start_matches("/etc/").replace('/', "-");
        Step::new(format!("kine/file/{name}"), format!("write {}", file.path), Op::File(file))
            .after(after.iter().cloned())
    };
    // A client's certificate comes after its key.
    steps.extend(others.into_iter().map(|file| step(file, &ids).after(["datastore"])));
    let before: Vec<String> = steps.iter().map(|step| step.id.clone()).collect();
    let starters = starters.into_iter();
    steps.extend(starters.map(|file| step(file, &before).after_servers(context).after_ahead(context, "kine")));
    steps
}

/// The program and its units, up before the kubelet.
fn under_systemd(context: &Context<'_>, processes: &[Process], placed: &[Step]) -> Vec<Step> {
    let version = context.cluster.spec.kine.version.to_string();
    let program = Op::Install {
        staged: format!("{STAGE}/kine"),
        path: systemd::PROGRAM.into(),
        mode: 0o755,
        version: version.clone(),
    };
    let mut steps = vec![Step::new("kine/program", format!("install kine {version}"), program)];
    steps.extend(processes.iter().map(|process| {
        let mut watches = process.watches(Placement::Systemd);
        watches.extend([systemd::PROGRAM.to_owned(), systemd::unit_path(process)]);
        let unit = Op::Unit { name: process.unit(), running: true, watches };
        Step::new(unit_step(&process.shard), format!("start {}", process.name()), unit)
            .after(["kine/program", "datastore"])
            .after(placed.iter().map(|step| step.id.clone()))
            .after_servers(context)
            .after_ahead(context, "kine")
    }));
    steps
}

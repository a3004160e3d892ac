//! Phase `kine`: kine in place, running where systemd keeps it, and proven by write and read back through the API server's own endpoint.

use super::artifacts::STAGE;
use super::{Context, Step};
use crate::cluster::kine::probe::{self, Endpoint};
use crate::cluster::kine::{self, Listener, Process, systemd};
use crate::config::Placement;
use crate::failure::Failure;
use crate::op::{File, Op, sha256};

/// Seconds that kine has to answer: its image is there, but a large SQLite file is checked and vacuumed first.
const PROOF_DEADLINE: u64 = 120;

/// What this phase wants on a host.
pub fn steps(context: &Context<'_>) -> Result<Vec<Step>, Failure> {
    let process = kine::process(context.cluster, context.store);
    let files = kine::files(context.cluster, context.store, context.assets)?;
    let digest = sha256(files.iter().map(File::sha256).collect::<String>().as_bytes());
    let mut steps = placed(context, files);
    let placement = context.cluster.spec.kine.placement;
    if placement == Placement::Systemd {
        steps.extend(under_systemd(context, &process, &steps));
    }
    let proof = probe::proof(&Endpoint::of(&process.listener), &context.node.name, PROOF_DEADLINE, digest);
    let proven = Step::new("kine/proven", "prove kine: write, read back, delete", Op::Script(proof));
    steps.push(proven.after([match placement {
        Placement::StaticPod => "kubelet/started",
        Placement::Systemd => "kine/unit",
        Placement::Sidecar => "control-plane/api-server",
    }]));
    Ok(steps)
}

/// The IDs of everything that lies on disk before something starts kine.
pub(super) fn placed_ids(context: &Context<'_>) -> Result<Vec<String>, Failure> {
    let files = kine::files(context.cluster, context.store, context.assets)?;
    Ok(placed(context, files).into_iter().map(|step| step.id).collect())
}

fn placed(context: &Context<'_>, files: Vec<File>) -> Vec<Step> {
    let folders: Vec<Step> = kine::directories(context.cluster, context.store)
        .into_iter()
        .map(|(path, mode)| {
            let op = Op::Directory { path: path.clone(), mode };
            Step::new(format!("kine/folder{}", path.replace('/', "-")), format!("make {path}"), op)
        })
        .collect();
    let ids: Vec<String> = folders.iter().map(|step| step.id.clone()).collect();
    let mut steps = folders;
    if let Listener::Tcp(_) = kine::listener(context.cluster) {
        let op = Op::Certificates { directory: kine::PKI.into() };
        steps.push(Step::new("kine/certificates", "make kine's certificates", op).after(ids.clone()));
    }
    steps.extend(files.into_iter().map(|file| {
        let name = file.path.rsplit('/').next().unwrap_or(&file.path).to_owned();
        Step::new(format!("kine/file/{name}"), format!("write {}", file.path), Op::File(file)).after(ids.clone())
    }));
    steps
}

/// The program and its unit, up before the kubelet.
fn under_systemd(context: &Context<'_>, process: &Process, placed: &[Step]) -> [Step; 2] {
    let version = context.cluster.spec.kine.version.to_string();
    let program = Op::Install {
        staged: format!("{STAGE}/kine"),
        path: systemd::PROGRAM.into(),
        mode: 0o755,
        version: version.clone(),
    };
    let mut watches = process.watches(Placement::Systemd);
    watches.extend([systemd::PROGRAM.to_owned(), systemd::unit_path(process)]);
    let unit = Op::Unit { name: process.unit(), running: true, watches };
    [
        Step::new("kine/program", format!("install kine {version}"), program),
        Step::new("kine/unit", "start kine", unit)
            .after(["kine/program", "datastore"])
            .after(placed.iter().map(|step| step.id.clone())),
    ]
}

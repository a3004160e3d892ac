//! `join`: one more host for a cluster that is up. The same run as `init`'s, over the cluster's description with the host in it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Ended;
use super::init::{Purpose, Work};
use super::session::{self, Found, Interrupt};
use crate::assets::Assets;
use crate::cli::{Join, Target};
use crate::config::credentials::Credentials;
use crate::config::{Address, Cluster, Host as HostConfig, Role, set};
use crate::failure::{Failure, Kind};
use crate::phase::plan::Selection;
use crate::phase::preflight::Ignore;
use crate::phase::survey::Desired;
use crate::ui::Ui;

/// The phases that a worker needs, on itself and on the control planes. None of them opens the store, so nobody needs to know its password.
const OF_A_WORKER: [&str; 7] = ["preflight", "artifacts", "node", "endpoint", "control-plane", "join", "verify"];

pub(super) async fn run(args: Join) -> Result<(), Ended> {
    let ignore = Ignore::parse(&args.ignore_preflight)?;
    let assets = Assets::load(args.assets.as_deref())?;
    let target = Target::new(args.via.clone(), args.config.clone(), args.login.clone());
    let described = session::describe(&target, None)?;
    let newcomer = newcomer(&args)?;
    let (args, target) = (&args, &target);
    session::under_ui(args.show, |ui, interrupt| async move {
        let mut plan = match newcomer {
            Some(newcomer) => with(session::find(&ui, target, described).await?, target, newcomer)?,
            None => Plan { cluster: described, hosts: None, only: Vec::new() },
        };
        session::bundles(&mut plan.cluster, &args.bundle);
        plan.run(args, target, (assets, ignore), ui, &interrupt).await
    })
    .await
}

/// The description with the new host in it, and how much of it takes part.
struct Plan {
    cluster: Cluster,
    hosts: Option<BTreeSet<String>>,
    only: Vec<String>,
}

impl Plan {
    async fn run(
        self,
        args: &Join,
        target: &Target,
        (assets, ignore): (Assets, Ignore),
        ui: Ui,
        interrupt: &Arc<Interrupt>,
    ) -> Result<(), Failure> {
        let Self { cluster, hosts, only } = self;
        let credentials = match only.is_empty() {
            true => Credentials::of_all(&cluster)?,
            false => cluster.datastores().map(|_| Credentials::default()).collect(),
        };
        // The operator's own file is known to whoever has the description; a cluster keeps what follows from it.
        let (manifest, skip) = match &args.config {
            Some(_) => (session::manifest(&cluster)?, Vec::new()),
            None => (Some(String::new()), vec!["network".to_owned()]),
        };
        let scripts = session::scripts(&cluster)?;
        let selection = Selection { only, skip, ..Selection::default() };
        let run = session::run_id();
        let supply = session::supply(&ui, &cluster).await?;
        let desired =
            Desired { manifest, scripts, ignore, supply, ..Desired::new(cluster, assets, credentials, selection, run) };
        let (dry_run, pace) = (args.dry_run, args.pace);
        Work {
            purpose: Purpose::Join,
            target,
            dry_run,
            merges: false,
            pace,
            hosts,
            absent: BTreeSet::new(),
            desired,
            ui,
        }
        .run(interrupt)
        .await
    }
}

/// The new host as the command line describes it; none where a file does.
fn newcomer(args: &Join) -> Result<Option<HostConfig>, Failure> {
    let Some(text) = &args.host else { return Ok(None) };
    let (user, address) = text.rsplit_once('@').map_or((None, text.as_str()), |(user, address)| (Some(user), address));
    let address: Address = address.parse().map_err(|error| Failure::new(Kind::Usage, format!("{error}")))?;
    let mut host = HostConfig::at(address, user.map(str::to_owned));
    host.role = if args.control_plane { Role::ControlPlane } else { Role::Worker };
    let name = args.node_name.as_ref().map(|name| name.parse());
    host.name = name.transpose().map_err(|error| Failure::new(Kind::Usage, format!("--node-name: {error}")))?;
    host.ssh.identity.clone_from(&args.login.identity);
    Ok(Some(host))
}

/// Adds a host to the cluster that was found, or takes up the one that an earlier run added.
fn with(found: Found, target: &Target, newcomer: HostConfig) -> Result<Plan, Failure> {
    let mut cluster = found.cluster;
    for host in &mut cluster.spec.hosts {
        *host = session::as_operator(target, host);
    }
    let label = match cluster.spec.hosts.iter_mut().find(|host| host.address == newcomer.address) {
        Some(known) if known.role != newcomer.role => {
            let message = format!("{} is a host of the cluster `{}` already", known.label(), cluster.metadata.name);
            return Err(
                Failure::new(Kind::Usage, message).hint("a host changes its role by etcdless remove, then join")
            );
        }
        Some(known) => {
            known.user = newcomer.user.clone().or(known.user.take());
            known.label()
        }
        None => {
            let label = newcomer.label();
            cluster.spec.hosts.push(newcomer.clone());
            label
        }
    };
    // Every rule of a description holds for the larger cluster, too.
    let cluster = set::set(&cluster, &[])?;
    if newcomer.role == Role::ControlPlane {
        return Ok(Plan { cluster, hosts: None, only: Vec::new() });
    }
    let part = cluster.spec.hosts.iter().filter(|host| host.role != Role::Worker || host.label() == label);
    let hosts = Some(part.map(HostConfig::label).collect());
    Ok(Plan { cluster, hosts, only: OF_A_WORKER.map(str::to_owned).into() })
}

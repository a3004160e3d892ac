//! What is to become of a cluster: which stores move, what hosts need for it, and what of that waits for the switch.

use std::collections::BTreeMap;

use super::shards::Split;
use super::site::Member;
use super::{ETCD, MANIFEST, Where, Work};
use crate::artifact::catalogue::kine_image;
use crate::assets::Assets;
use crate::cluster::migration::{self, Backend};
use crate::config::credentials::Credentials;
use crate::config::{Cluster, Datastore, yaml};
use crate::datastore::copy::read;
use crate::failure::{Failure, Kind};
use crate::op::{File, Op};
use crate::phase::artifacts::image_step;
use crate::phase::migrate::Change;
use crate::phase::plan::{Plan, Selection};
use crate::phase::survey::{Desired, Place, Surveyed};
use crate::remote::Host;

/// The step that fetches kine where systemd runs it.
const KINE: &str = "artifacts/kine";

/// A store that is filled.
pub(super) struct Moved {
    pub(super) shard: String,
    /// Its places among the stores of before, which it is filled from, and of after.
    pub(super) from: usize,
    pub(super) to: usize,
    /// What the keys begin with that are copied.
    pub(super) below: Vec<String>,
}

/// What is to become of the cluster.
pub(super) struct Wanted {
    pub(super) desired: Desired,
    /// By label: what is done before anything stops, and what the switch puts in place.
    pub(super) hosts: BTreeMap<String, (Plan, Change, &'static str)>,
}

impl Work<'_> {
    /// The description of the cluster as it shall be.
    pub(super) fn wanted(&self, to: Option<Cluster>) -> Result<Cluster, Failure> {
        let new = match (to, &self.site.kept) {
            (Some(new), Some(kept)) => {
                let labels = |cluster: &Cluster| {
                    let nodes = cluster.spec.hosts.iter().filter(|host| host.role.is_node());
                    nodes.map(|host| host.address.to_string()).collect::<std::collections::BTreeSet<_>>()
                };
                let same = new.metadata.name == kept.metadata.name
                    && labels(&new) == labels(kept)
                    && new.spec.kine.placement == kept.spec.kine.placement
                    && new.spec.kine.listen == kept.spec.kine.listen;
                if !same {
                    return Err(Failure::new(Kind::Config, "the cluster that --to describes is another one than this")
                        .hint("only `datastore` and shards may differ: name, hosts and kine stay as they are"));
                }
                Split::of(kept, &new)?;
                if kept.endpoint() != new.endpoint() {
                    let endpoint = yaml::to_string(&kept.endpoint()).unwrap_or_default();
                    let endpoint = endpoint.trim().replace('\n', " ");
                    return Err(Failure::new(
                        Kind::Config,
                        "the cluster that --to describes has another endpoint than this",
                    )
                    .hint("what an endpoint is by default depends on the datastore")
                    .hint(format!("write the one that it has into the file: spec.endpoint: {{ {endpoint} }}")));
                }
                new
            }
            (Some(new), None) => new,
            (None, Some(kept)) => {
                let mut new = kept.clone();
                new.spec.endpoint = Some(kept.endpoint());
                new.spec.datastore = Datastore::Sqlite(Default::default());
                new
            }
            (None, None) => {
                return Err(Failure::new(
                    Kind::Usage,
                    "the cluster is not one that etcdless built, and --to names no file",
                )
                .hint("etcdless adopt HOST -o cluster.yaml writes one"));
            }
        };
        let planes = new.spec.hosts.iter().filter(|host| host.role.is_control_plane()).count();
        let is_file = new.datastores().any(|(_, datastore)| matches!(datastore, Datastore::Sqlite(_)));
        if planes > 1 && is_file {
            return Err(Failure::new(
                Kind::Config,
                format!("SQLite is a file on one host, and there are {planes} control planes"),
            )
            .hint("name a database server that all of them reach"));
        }
        if new.spec.kine.placement == crate::config::Placement::Sidecar {
            return Err(Failure::new(
                Kind::Config,
                "kine runs beside the API server in its Pod, which cannot be moved yet",
            )
            .hint("a cluster with kine.placement staticPod or systemd can"));
        }
        Ok(new)
    }

    /// What a description has besides what the cluster has; nothing where shards stay as they are.
    pub(super) fn split_to(&self, new: &Cluster) -> Result<Option<Split>, Failure> {
        Ok(self.site.kept.as_ref().map(|kept| Split::of(kept, new)).transpose()?.flatten())
    }

    /// Which stores move.
    pub(super) fn moves(&self, new: &Cluster, old: &[Where]) -> Result<Vec<Moved>, Failure> {
        if let Some(split) = self.split_to(new)? {
            return Ok(split.moves(new));
        }
        let stores: Vec<_> = new.datastores().collect();
        if stores.len() != old.len() {
            return Err(Failure::new(
                Kind::Config,
                format!("the cluster has {} stores, and is to have {}", old.len(), stores.len()),
            )
            .hint("shards stay as they are while a cluster moves"));
        }
        let before: Vec<_> = self.site.kept.iter().flat_map(Cluster::datastores).collect();
        let moves: Vec<_> = stores
            .iter()
            .enumerate()
            .filter(|(at, (_, store))| before.get(*at).is_none_or(|(_, before)| before != store))
            .map(|(at, (shard, _))| Moved { shard: (*shard).to_owned(), from: at, to: at, below: read::all() })
            .collect();
        match moves.is_empty() {
            true => Err(Failure::new(Kind::Usage, "the cluster is on that store already")
                .hint("--to names the one that it shall have")),
            false => Ok(moves),
        }
    }

    /// What the hosts are to have, and which of it waits for the switch.
    pub(super) async fn survey(&self, new: Cluster) -> Result<Wanted, Failure> {
        let (is_ours, is_split) = (self.site.is_built(), self.split_to(&new)?.is_some());
        let image = image_step(&kine_image(&new));
        let mut phases = vec!["datastore", "kine", "control-plane"];
        if !is_ours {
            // All else that `artifacts` brings is there, from wherever.
            phases.extend([KINE, &image]);
        }
        let desired = self.desired(new, &phases)?;
        let surveyed = self.surveyed(&desired).await?;
        let mut hosts = BTreeMap::new();
        for seen in surveyed.hosts {
            let (mut plan, mut change) = (seen.plan, Change::default());
            plan.steps.retain(|planned| {
                let id = planned.step.id.as_str();
                match &planned.step.op {
                    Op::File(file) if planned.step.phase() == "kine" || id == "control-plane/record" => {
                        // All of kine's, since every kine stops for the switch.
                        change.files.push(file.clone());
                        false
                    }
                    Op::Directory { .. } | Op::Certificates { .. } | Op::Install { .. }
                        if planned.step.phase() == "kine" =>
                    {
                        true
                    }
                    _ => planned.step.phase() == "datastore" || id == image || id == KINE,
                }
            });
            plan.steps.iter_mut().for_each(|planned| planned.step.after_on.clear());
            let member = self.site.members().find(|member| member.config.label() == seen.node.label);
            if let Some(member) = member.filter(|member| member.config.role.is_control_plane()) {
                if !is_ours || is_split {
                    self.manifest(member, &desired.cluster, &mut change)?;
                }
                if !is_ours {
                    change.absent.insert(ETCD.to_owned());
                }
            }
            hosts.insert(seen.node.label.clone(), (plan, change, seen.node.arch));
        }
        Ok(Wanted { desired, hosts })
    }

    /// The API server is told of other stores than it has.
    fn manifest(&self, member: &Member, new: &Cluster, change: &mut Change) -> Result<(), Failure> {
        let manifest = member.facts.texts.get(MANIFEST).map(String::as_str).unwrap_or_default();
        let text = migration::manifest(manifest, &Backend::kine(new)).map_err(|why| {
            Failure::new(Kind::Unhealthy, format!("{MANIFEST} of {} cannot be changed: {why}", member.config.label()))
        })?;
        change.files.push(File::new(MANIFEST, 0o600, text));
        Ok(())
    }

    pub(super) fn desired(&self, cluster: Cluster, phases: &[&str]) -> Result<Desired, Failure> {
        let credentials = Credentials::of_all(&cluster)?;
        let selection = Selection { only: phases.iter().map(ToString::to_string).collect(), ..Selection::default() };
        Ok(Desired::new(cluster, Assets::load(None)?, credentials, selection, self.id.clone()))
    }

    pub(super) async fn surveyed(&self, desired: &Desired) -> Result<Surveyed, Failure> {
        let labels: Vec<String> = desired.cluster.spec.hosts.iter().map(crate::config::Host::label).collect();
        let members = self.site.members().filter(|member| labels.contains(&member.config.label()));
        let places: Vec<Place<'_, Host>> =
            members.map(|member| Place { host: &member.host, config: &member.config }).collect();
        desired.survey(&places).await
    }
}

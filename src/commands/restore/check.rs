//! What is to be restored, and whether it can be: by the description, and by the hosts that are there.

use std::collections::BTreeSet;

use super::super::progress::Progress;
use super::super::session;
use super::{Reached, Restoring};
use crate::cli::{Restore, Target};
use crate::cluster::node::Node;
use crate::config::credentials::Credentials;
use crate::config::{Address, Cluster, Datastore, Host as HostConfig, load};
use crate::datastore::backup::Backup;
use crate::datastore::explore;
use crate::failure::{Failure, Kind};
use crate::phase::control_plane::RECORD;
use crate::phase::restore;

/// What all control planes of a cluster are signed by.
pub(super) const AUTHORITY: &str = "/etc/kubernetes/pki/ca.crt";

/// The description to restore to: a file, or the backup's own, on the host that was named.
pub(super) fn described(args: &Restore, backup: &Backup, target: &Target) -> Result<Cluster, Failure> {
    if args.config.is_some() {
        return session::describe(target, Some(&args.description));
    }
    let record = backup.file(RECORD).and_then(|content| std::str::from_utf8(content).ok());
    let record = record.ok_or_else(|| {
        Failure::new(Kind::Usage, "the backup has no description of its cluster, which etcdless did not build")
            .hint("write one, and name it: -c cluster.yaml")
    })?;
    let mut cluster = load::parse(RECORD, record)?;
    if let Some(text) = &args.host {
        let heads = cluster.spec.hosts.iter_mut().filter(|host| host.role.is_control_plane()).collect::<Vec<_>>();
        let Ok([head]) = <[&mut HostConfig; 1]>::try_from(heads) else {
            return Err(Failure::new(Kind::Usage, "the cluster has several control planes")
                .hint("name a file with all of its hosts: -c cluster.yaml"));
        };
        let (user, address) =
            text.rsplit_once('@').map_or((None, text.as_str()), |(user, address)| (Some(user), address));
        let address: Address = address.parse().map_err(|error| Failure::new(Kind::Usage, format!("{error}")))?;
        if address != head.address {
            // Where it is now is another place than where it was.
            head.node_ip = None;
        }
        head.address = address;
        head.user = user.map(str::to_owned);
    }
    session::adjusted(&cluster, target, Some(&args.description))
}

/// Whether a description is one that the backup can be restored to.
pub(super) fn fits(cluster: &Cluster, backup: &Backup) -> Result<(), Failure> {
    let head = &backup.head;
    let refused = |message: String, hint: &str| Err(Failure::new(Kind::Config, message).hint(hint));
    if cluster.metadata.name.as_str() != head.cluster {
        let message =
            format!("the backup is of `{}`, and the description is of `{}`", head.cluster, cluster.metadata.name);
        return refused(
            message,
            "the name is in the cluster's endpoint and certificates: set metadata.name to the backup's",
        );
    }
    let own: Vec<&str> = cluster.datastores().map(|(shard, _)| shard).collect();
    if own != head.stores {
        let message =
            format!("the backup has the stores {}, and the description {}", head.stores.join(", "), own.join(", "));
        return refused(message, "describe the same shards; their engines may be others");
    }
    let minor =
        |version: &str| version.trim_start_matches('v').split('.').take(2).map(str::to_owned).collect::<Vec<_>>();
    let version = cluster.spec.kubernetes.version.to_string();
    if let Some(saved) = head.kubernetes.as_ref().filter(|saved| minor(saved) != minor(&version)) {
        let message = format!("the backup is of Kubernetes {saved}, and the description wants {version}");
        return refused(message, "restore with the backup's minor, and upgrade afterwards");
    }
    let Some(record) = backup.file(RECORD).and_then(|content| std::str::from_utf8(content).ok()) else { return Ok(()) };
    let saved = load::parse(RECORD, record)?;
    for ((field, before), (_, now)) in shape(&saved).into_iter().zip(shape(cluster)) {
        if before != now {
            let message = format!("the backup's cluster has {field} {before}, and the description {now}");
            return refused(message, "nodes, Pods and certificates have it: describe it as it was");
        }
    }
    Ok(())
}

/// What nodes that are still there, and everything in the stores, go by. Another engine has another endpoint unless one is described.
fn shape(cluster: &Cluster) -> [(String, serde_json::Value); 4] {
    let kubernetes = serde_json::to_value(&cluster.spec.kubernetes).unwrap_or_default();
    let endpoint = serde_json::to_value(cluster.endpoint()).unwrap_or_default();
    let field = |name: &str| (format!("kubernetes.{name}"), kubernetes[name].clone());
    [field("podSubnet"), field("serviceSubnet"), field("dnsDomain"), ("endpoint".to_owned(), endpoint)]
}

impl Restoring<'_> {
    /// The names of the nodes that the backup knows. Each row must be where the description keeps it.
    pub(super) async fn survey_rows(&self) -> Result<BTreeSet<String>, Failure> {
        let progress = Progress::start(&self.ui, "backup", "backup/survey", "see what belongs where");
        let (backup, cluster) = (self.backup.clone(), self.cluster.clone());
        let surveyed = tokio::task::spawn_blocking(move || {
            let places = explore::places(&cluster, &Credentials::placeholders(&cluster));
            restore::survey(&backup, |key| explore::place_of(&places, key).map(|place| place.shard.as_str()))
        });
        progress.end(surveyed.await.unwrap_or_else(|error| Err(Failure::new(Kind::Internal, error.to_string()))))
    }

    /// A cluster that is there must be the one that the backup is of: its nodes trust nobody else.
    pub(super) fn same_authority(&self, built: &[&Reached]) -> Result<(), Failure> {
        let saved = self.backup.head.files.iter().find(|file| file.path == AUTHORITY).map(|file| &file.sha256);
        for host in built {
            let own = host.facts.files.get(AUTHORITY).and_then(|file| file.sha256.as_ref());
            if own.is_some() && own != saved {
                let message = format!(
                    "{} belongs to another cluster than the backup: its {AUTHORITY} is another one",
                    host.config.label()
                );
                return Err(Failure::new(Kind::Preflight, message)
                    .hint("restore to fresh hosts, or take this one apart first: etcdless reset"));
            }
        }
        Ok(())
    }

    /// Nodes of the backup that the description has no host for.
    pub(super) fn absent(&self, nodes: BTreeSet<String>, hosts: &[Reached]) -> BTreeSet<String> {
        let named = |host: &Reached| Node::new(&self.cluster, &host.config, &host.facts).map(|node| node.name);
        let seen: BTreeSet<String> = hosts.iter().filter_map(named).collect();
        let told: BTreeSet<String> =
            self.cluster.spec.hosts.iter().filter_map(|config| config.name.as_ref().map(ToString::to_string)).collect();
        nodes.into_iter().filter(|name| !seen.contains(name) && !told.contains(name)).collect()
    }

    pub(super) fn announcement(&self, built: &[&Reached]) -> String {
        let Backup { head, manifest, .. } = &*self.backup;
        let mut text = format!("restore {} as of the backup of {}:\n", head.cluster, head.begun);
        for (shard, (_, datastore)) in manifest.stores.iter().zip(self.cluster.datastores()) {
            text.push_str(&format!(
                "  the store {}: {} keys as of {} (revision {}), from {} into {}\n",
                shard.name,
                shard.keys,
                shard.instant,
                shard.revision,
                shard.engine,
                engine(datastore)
            ));
        }
        let labels: Vec<String> = built.iter().map(|host| host.config.label()).collect();
        text.push_str(&match built {
            [] => format!(
                "  no control plane is there: it is built as by `init`, with {} files of the backup\n",
                self.files.len()
            ),
            _ => format!("  API server, controllers and kine stand still meanwhile on {}\n", labels.join(", ")),
        });
        text.push_str(
            "  a store that holds anything is refused; whatever happened after the instant is not there afterwards",
        );
        text
    }
}

fn engine(datastore: &Datastore) -> String {
    match datastore {
        Datastore::Sqlite(_) => "SQLite".into(),
        Datastore::Other(_) => "another engine".into(),
        server => server.engine().map(|engine| engine.title().to_owned()).unwrap_or_default(),
    }
}

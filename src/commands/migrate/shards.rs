//! Resources go to stores of their own: which ones, what is refused, and who may write meanwhile.

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::site::Member;
use super::stores::{self, AT_ONCE, Move};
use super::wanted::Moved;
use super::{MANIFEST, Work, parse, written};
use crate::commands::progress::Progress;
use crate::commands::{session, stores as access};
use crate::config::{Cluster, Shard};
use crate::datastore::copy::remove;
use crate::datastore::explore::{self, foreign};
use crate::failure::{Failure, Kind};
use crate::phase::migrate::{Record, State, Which, deny};
use crate::phase::runner::Run;

/// What lives for an hour at most, or is renewed every few seconds: new stores begin without them.
const BRIEF: [&str; 2] = ["events", "coordination.k8s.io/leases"];

/// Seconds that deleting some keys of a store may take.
const DELETING: u64 = 120;

/// Shards that a cluster is to have besides those that it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Split {
    added: Vec<Shard>,
}

impl Split {
    /// What is new in a description; nothing where the shards are the same. Everything else that differs in them is refused.
    pub(super) fn of(old: &Cluster, new: &Cluster) -> Result<Option<Self>, Failure> {
        let refused = |why: String| Failure::new(Kind::Config, why);
        let named = |cluster: &Cluster, name: &str| {
            cluster.spec.shards.iter().find(|shard| shard.name.as_str() == name).cloned()
        };
        for shard in &old.spec.shards {
            let name = shard.name.as_str();
            let Some(now) = named(new, name) else {
                return Err(refused(format!("the cluster has the shard {name}, and --to does not"))
                    .hint("what is in a store of its own stays there: a split only grows"));
            };
            if now.resources != shard.resources {
                return Err(refused(format!(
                    "the shard {name} has {}, and is to have {}",
                    shard.resources.join(", "),
                    now.resources.join(", ")
                ))
                .hint("resources go from `main` to a shard that is new; those that there are stay as they are"));
            }
        }
        let is_new = |shard: &&Shard| named(old, shard.name.as_str()).is_none();
        let added: Vec<Shard> = new.spec.shards.iter().filter(is_new).cloned().collect();
        if added.is_empty() {
            return Ok(None);
        }
        let store = |cluster: &Cluster, name: &str| {
            cluster.datastores().find(|(shard, _)| *shard == name).map(|(_, store)| format!("{store:?}"))
        };
        if let Some((name, _)) = old.datastores().find(|(name, _)| store(old, name) != store(new, name)) {
            return Err(refused(format!("the store {name} is to be another one, and there are to be new shards"))
                .hint("one after the other: first to the other store, then the split, or the other way round"));
        }
        Ok(Some(Self { added }))
    }

    /// What is copied of the resources that a store gets: what their keys begin with.
    fn copied(resources: &[String]) -> Vec<String> {
        let lasting: Vec<String> = resources.iter().filter(|name| !is_brief(name)).cloned().collect();
        explore::prefixes(&lasting)
    }

    /// Resources that are copied, and must not be written meanwhile.
    fn denied(&self) -> Vec<String> {
        self.resources().filter(|name| !is_brief(name)).cloned().collect()
    }

    fn resources(&self) -> impl Iterator<Item = &String> {
        self.added.iter().flat_map(|shard| &shard.resources)
    }

    /// The stores that are filled, all from `main`, which is the first.
    pub(super) fn moves(&self, new: &Cluster) -> Vec<Moved> {
        let place = |shard: &Shard| new.datastores().position(|(name, _)| name == shard.name.as_str());
        let all = self.added.iter().filter_map(|shard| Some((shard, place(shard)?)));
        let moved = |(shard, to): (&Shard, usize)| {
            let below = Self::copied(&shard.resources);
            Moved { shard: shard.name.to_string(), from: 0, to, below }
        };
        all.map(moved).collect()
    }

    /// What a plan says besides.
    pub(super) fn told(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let brief: Vec<&str> = self.resources().map(String::as_str).filter(|name| is_brief(name)).collect();
        if !brief.is_empty() {
            lines.push(format!("{}: not copied, their new stores begin without any", brief.join(", ")));
        }
        let denied = self.denied();
        if !denied.is_empty() {
            lines.push(format!("{}: writes are denied while the last of them is copied", denied.join(", ")));
        }
        lines.push(
            "there is no way back from a split: --rollback is refused once the first control plane has committed"
                .into(),
        );
        lines
    }
}

fn is_brief(resource: &str) -> bool {
    BRIEF.contains(&resource)
}

/// A migration that is kept was a split, and cannot go back.
pub(super) fn goes_back(record: &Record, state: State) -> Result<(), Failure> {
    let is_there = matches!(state, State::On(Which::New) | State::Committed(Which::New));
    match parsed(record)? {
        Some((split, _)) if is_there => {
            let resources: Vec<&str> = split.resources().map(String::as_str).collect();
            Err(Failure::new(
                Kind::Usage,
                format!(
                    "there is no way back from a split: {} were written in stores of their own",
                    resources.join(", ")
                ),
            )
            .hint("nothing was changed; where something does not work, `etcdless verify` and `etcdless datastore check` say what")
            .hint("a backup that was made before the split is of one store: `etcdless restore`"))
        }
        _ => Ok(()),
    }
}

/// Resources that a migration that is kept took to stores of their own; none where it was no split.
pub(super) fn gone(record: &Record) -> Result<Vec<String>, Failure> {
    Ok(parsed(record)?.map(|(split, _)| split.resources().cloned().collect()).unwrap_or_default())
}

/// What a record is about, where that is a split, and the cluster as it is since.
fn parsed(record: &Record) -> Result<Option<(Split, Cluster)>, Failure> {
    if record.old.is_empty() || record.new.is_empty() {
        // From etcd, or to it.
        return Ok(None);
    }
    let (old, new) = (parse(&record.old)?, parse(&record.new)?);
    Ok(Split::of(&old, &new)?.map(|split| (split, new)))
}

impl Work<'_> {
    /// Writes are denied while the last of what moves is copied, and until the API servers are on the new stores.
    pub(super) async fn split(
        &self,
        split: &Split,
        mut moving: Vec<Move<'_>>,
        record: Record,
        (run, sure): (&Run, &Run),
        new: &Cluster,
    ) -> Result<(), Failure> {
        self.busy(true);
        let switched = async {
            self.deny(run, split).await?;
            let caught = stream::iter(moving.iter_mut().map(Move::catch_up)).buffer_unordered(AT_ONCE);
            caught.try_for_each(async |_| Ok(())).await?;
            let rest = async |record: &mut Record| self.rest(run, moving, Which::New, record).await;
            self.switch((Which::Old, Which::New), rest, record, (run, sure), new).await
        };
        let switched = switched.await;
        let allowed = self.allow().await;
        switched.and(allowed)
    }

    /// Whether what leads to a description is a split, or was one that is now brought to its end.
    pub(super) fn is_split(&self, cluster: &Cluster) -> Result<bool, Failure> {
        let leads_there = match &self.site.first()?.seen.record {
            Some(record) => record.new == written(cluster)? && !gone(record)?.is_empty(),
            None => false,
        };
        Ok(leads_there || self.split_to(cluster)?.is_some())
    }

    async fn deny(&self, run: &Run, split: &Split) -> Result<(), Failure> {
        let resources = split.denied();
        if resources.is_empty() {
            return Ok(());
        }
        let first = self.site.first()?;
        let plan = deny::deny(&first.config.label(), &resources, self.args.freeze, &self.id);
        self.on(run, first, &plan).await?;
        for member in &self.site.planes {
            let cluster = self.site.kept.as_ref().ok_or_else(|| unknown(member))?;
            let plan = deny::wait(&member.config.label(), &member.address(cluster)?, &self.id);
            self.on(run, member, &plan).await?;
        }
        Ok(())
    }

    /// Takes the policy away that a split made, this one or one that was cut off.
    pub(super) async fn allow(&self) -> Result<(), Failure> {
        let first = self.site.first()?;
        let is_left = deny::is_left(&first.host).await;
        if self.args.dry_run || !is_left.map_err(|error| session::unreachable(&error, &first.config))? {
            return Ok(());
        }
        let sure = self.run(Arc::default());
        self.on(&sure, first, &deny::allow(&first.config.label(), &self.id))
            .await
            .map_err(|failure| failure.hint(format!("it is tried again on {} until it is done", first.config.label())))
    }

    /// What the old store holds of resources that moved, which nobody sees any more, is deleted.
    pub(super) async fn prune(&self, record: &Record) -> Result<(), Failure> {
        let Some((split, new)) = parsed(record)? else { return Ok(()) };
        let is_there = |member: &&Member| member.seen.state == State::On(Which::New);
        if !self.site.planes.iter().any(|member| is_there(&member)) {
            // It never came to it: the old store has all of it to itself.
            return Ok(());
        }
        let resources: Vec<String> = split.resources().cloned().collect();
        let prefixes = explore::prefixes(&resources);
        for member in &self.site.planes {
            let manifest = member.facts.texts.get(MANIFEST).map(String::as_str).unwrap_or_default();
            if !is_there(&member) || !keeps_elsewhere(manifest, &prefixes) {
                let label = member.config.label();
                return Err(Failure::new(
                    Kind::Unhealthy,
                    format!("the API server of {label} may still use `main` for {}", resources.join(", ")),
                )
                .hint(format!(
                    "{MANIFEST} there names no other store in --etcd-servers-overrides, or the switch was cut off"
                ))
                .hint("nothing was deleted; `etcdless migrate --to FILE` brings an unfinished switch to its end"));
            }
        }
        let first = self.site.first()?;
        let described = match &self.args.config {
            Some(_) => session::describe(self.target, None)?,
            None => new,
        };
        let (resolved, credentials) = access::resolve(self.ui, self.target, &described).await?;
        let places = explore::places(&resolved, &credentials);
        let main = places.first().ok_or_else(|| unknown(first))?;
        let title = format!("delete what `main` still holds of {}", resources.join(", "));
        let progress = Progress::start(self.ui, first.host.name(), "migrate/prune", title);
        let pruned = remove::below(&first.host, main, &prefixes, DELETING).await;
        let keys = progress.end(pruned.map_err(|error| stores::failed(error, &first.config)))?;
        self.ui.note(None, format!("{keys} keys that nobody used any more are deleted in `main`"));
        Ok(())
    }
}

fn unknown(member: &Member) -> Failure {
    Failure::new(Kind::Unhealthy, format!("{} has no cluster that etcdless built", member.config.label()))
}

/// Whether an API server is told another store than its main one for each of some prefixes.
fn keeps_elsewhere(manifest: &str, prefixes: &[String]) -> bool {
    let Ok(places) = foreign::places(manifest) else { return false };
    let is_main = |place: &explore::Place| places.first().is_some_and(|main| std::ptr::eq(main, place));
    prefixes.iter().all(|prefix| explore::place_of(&places, prefix).is_some_and(|place| !is_main(place)))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test")]
    use super::*;

    fn cluster(spec: &str) -> Cluster {
        let text = format!(
            "apiVersion: etcdless.dev/v1alpha1\nkind: Cluster\nmetadata: {{ name: demo }}\nspec:\n  hosts: [{{ address: 10.0.0.11 }}]\n{spec}"
        );
        crate::config::load::parse("cluster.yaml", &text).unwrap()
    }

    fn shard(name: &str, resources: &str) -> String {
        format!("    - {{ name: {name}, resources: [{resources}] }}\n")
    }

    fn shards(all: &[&str]) -> Cluster {
        cluster(&format!("  shards:\n{}", all.concat()))
    }

    #[test]
    fn events_and_leases_begin_anew_and_all_else_is_copied() {
        let old = shards(&[&shard("pods", "pods")]);
        let new = shards(&[
            &shard("brief", "events, coordination.k8s.io/leases"),
            &shard("pods", "pods"),
            &shard("b", "configmaps, nodes, policy/poddisruptionbudgets"),
        ]);
        let split = Split::of(&old, &new).unwrap().unwrap();
        let prefixes = ["/registry/configmaps/", "/registry/minions/", "/registry/poddisruptionbudgets/"];
        let moves = split.moves(&new).into_iter().map(|moved| (moved.shard, moved.from, moved.to, moved.below));
        assert_eq!(
            moves.collect::<Vec<_>>(),
            [("brief".into(), 0, 1, Vec::new()), ("b".into(), 0, 3, prefixes.map(str::to_owned).to_vec())]
        );
        assert_eq!(split.denied(), ["configmaps", "nodes", "policy/poddisruptionbudgets"]);
        assert_eq!(Split::of(&new, &new).unwrap(), None);
    }

    #[test]
    fn a_split_only_grows() {
        let (pods, cms) = (shard("pods", "pods"), shard("cms", "configmaps"));
        let postgres = |shards: &str| {
            let server = "postgres: { external: { address: db, database: kine, user: kine, password: { env: P } } }";
            cluster(&format!("  datastore: {{ {server} }}\n  shards:\n{shards}"))
        };
        for (old, new, why) in [
            (shards(&[&pods, &cms]), shards(&[&pods]), "the cluster has the shard cms, and --to does not"),
            (
                shards(&[&pods]),
                shards(&[&shard("pods", "pods, secrets"), &cms]),
                "the shard pods has pods, and is to have pods, secrets",
            ),
            (
                shards(&[&pods]),
                postgres(&format!("{pods}{cms}")),
                "the store main is to be another one, and there are to be new shards",
            ),
        ] {
            let failure = Split::of(&old, &new).unwrap_err();
            assert_eq!((failure.kind, failure.message.as_str()), (Kind::Config, why));
        }
        // Whole stores move without one.
        assert_eq!(Split::of(&shards(&[&pods]), &postgres(&pods)).unwrap(), None);
    }

    #[test]
    fn only_what_no_split_was_about_goes_back() {
        let text = |cluster: &Cluster| crate::config::yaml::to_string(cluster).unwrap();
        let (old, new) = (cluster(""), shards(&[&shard("pods", "pods")]));
        let record = |old: &Cluster| Record { id: "1".into(), old: text(old), new: text(&new), begins: Vec::new() };
        let failure = goes_back(&record(&old), State::On(Which::New)).unwrap_err();
        assert_eq!(failure.message, "there is no way back from a split: pods were written in stores of their own");
        assert!(goes_back(&record(&old), State::Frozen(Which::Old)).is_ok());
        assert!(goes_back(&record(&new), State::On(Which::New)).is_ok());
    }

    #[test]
    fn nothing_is_deleted_that_an_api_server_may_use() {
        let manifest = |overrides: &str| {
            format!("spec:\n  containers:\n  - command: [kube-apiserver, --etcd-servers=unix:///run/m{overrides}]\n")
        };
        let told = ", \"--etcd-servers-overrides=/pods#unix:///run/p,coordination.k8s.io/leases#unix:///run/l\"";
        let [pods, leases, nodes] =
            ["pods", "coordination.k8s.io/leases", "nodes"].map(|name| explore::prefixes(&[name.to_owned()]).remove(0));
        assert!(keeps_elsewhere(&manifest(told), &[pods.clone(), leases.clone()]));
        assert!(!keeps_elsewhere(&manifest(told), &[pods.clone(), nodes]));
        assert!(!keeps_elsewhere(&manifest(""), &[pods]));
        assert!(!keeps_elsewhere("", &[leases]));
    }
}

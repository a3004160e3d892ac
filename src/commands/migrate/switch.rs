//! The switch itself, and what becomes of one that was cut off.

use std::sync::Arc;
use std::time::Instant;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::stores::{AT_ONCE, Move};
use super::{Work, parse, shards};
use crate::config::Cluster;
use crate::failure::{Failure, Kind};
use crate::phase::migrate::{self, Record, State, Which};
use crate::phase::runner::Run;

impl Work<'_> {
    /// API servers stop, `rest` copies what is left and says how many keys changed, and they start on the other store.
    pub(super) async fn switch(
        &self,
        (serves, to): (Which, Which),
        rest: impl AsyncFnOnce(&mut Record) -> Result<u64, Failure>,
        mut record: Record,
        (run, sure): (&Run, &Run),
        cluster: &Cluster,
    ) -> Result<(), Failure> {
        self.busy(true);
        let away = Instant::now();
        let froze = async {
            let plans = self.plans(|label| Ok(Some(migrate::freeze(label, serves, self.args.freeze, &self.id))))?;
            self.each(run, |label| plans.get(label)).await?;
            let changed = rest(&mut record).await?;
            let first = self.site.first()?.config.label();
            let held = self.plans(|label| Ok((label != first).then(|| migrate::hold(label, &self.id))))?;
            self.each(run, |label| held.get(label)).await?;
            Ok::<u64, Failure>(changed)
        };
        let changed = match froze.await {
            Ok(changed) => changed,
            Err(failure) => {
                self.ui.note(None, "the store that served serves again");
                self.thaw_to(serves).await?;
                return Err(failure.hint("run the same command again: it begins anew, and removes nothing that served"));
            }
        };
        let first = self.site.first()?;
        let committed = migrate::commit(&first.config.label(), to, &first.address(cluster)?, &self.id);
        self.on(sure, first, &committed).await.map_err(|failure| {
            failure.hint(match shards::goes_back(&record, State::Committed(to)) {
                Ok(()) => "`etcdless migrate --rollback` goes back",
                Err(_) => "the same command again goes on",
            })
        })?;
        let seconds = away.elapsed().as_secs_f64();
        let keys = if changed == 1 { "1 key".into() } else { format!("{changed} keys") };
        self.ui.note(None, format!("the API was away for {seconds:.1} s; {keys} had changed since the first copy"));
        self.follow(sure, to, cluster).await
    }

    /// What changed in stores since the last time, and files to where the switch takes them from.
    pub(super) async fn rest(
        &self,
        run: &Run,
        mut moving: Vec<Move<'_>>,
        to: Which,
        record: &mut Record,
    ) -> Result<u64, Failure> {
        let rested: Vec<(u64, u64)> =
            stream::iter(moving.iter_mut().map(Move::rest)).buffered(AT_ONCE).try_collect().await?;
        record.begins = moving.iter().zip(&rested).map(|(one, (begins, _))| (one.shard.clone(), *begins)).collect();
        // First what they begin with is known, so that a store that is ready, and is never used, is known as our own.
        self.note(run, record).await?;
        let ended = moving.into_iter().zip(&rested).map(|(one, (begins, _))| one.end(*begins, to));
        stream::iter(ended).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        Ok(rested.iter().map(|(_, keys)| keys).sum())
    }

    /// The stores that an earlier run to the same description made ready and never used, with what they begin at.
    pub(super) fn filled(&self, new: &str) -> Vec<(String, u64)> {
        let records = self.site.planes.iter().filter_map(|member| member.seen.record.as_ref());
        records.filter(|record| record.new == new).flat_map(|record| record.begins.clone()).collect()
    }

    /// All control planes know what the migration is about.
    pub(super) async fn note(&self, run: &Run, record: &Record) -> Result<(), Failure> {
        let noted = self.plans(|label| migrate::noted(label, record).map(Some))?;
        self.each(run, |label| noted.get(label)).await
    }

    /// The other control planes go where the first is.
    async fn follow(&self, sure: &Run, to: Which, cluster: &Cluster) -> Result<(), Failure> {
        for member in self.site.planes.iter().skip(1) {
            let plan = migrate::follow(&member.config.label(), to, &member.address(cluster)?, &self.id);
            self.on(sure, member, &plan).await?;
        }
        Ok(())
    }

    /// Whatever was cut off is brought to an end. What the cut off migration is about, where it is the one to `new` and needs only its end.
    pub(super) async fn resume(&self, new: &str) -> Result<Option<Record>, Failure> {
        let first = self.site.first()?;
        let sure = self.run(Arc::default());
        match first.seen.state {
            State::None | State::Staged => Ok(None),
            State::On(Which::Old) if self.site.planes.iter().all(|member| member.seen.state == first.seen.state) => {
                Ok(None)
            }
            State::Committed(Which::New) | State::On(Which::New) if self.args.dry_run => {
                Err(Failure::new(Kind::Usage, "the last migration is not finished")
                    .hint("the same command without --dry-run goes on with it"))
            }
            State::Committed(Which::New) | State::On(Which::New) => {
                let record = self.record()?;
                if record.new != new {
                    return Err(Failure::new(Kind::Usage, "the last migration is not finished")
                        .hint("`etcdless migrate --finish` forgets the way back, --rollback takes it"));
                }
                let cluster = self.moved()?;
                let committed = migrate::commit(&first.config.label(), Which::New, &first.address(&cluster)?, &self.id);
                self.on(&sure, first, &committed).await?;
                self.follow(&sure, Which::New, &cluster).await?;
                Ok(Some(record))
            }
            _ => {
                self.thaw().await?;
                Ok(None)
            }
        }
    }

    /// Where a switch was cut off, all control planes go to the store that it left serving. Which that is.
    pub(super) async fn thaw(&self) -> Result<Which, Failure> {
        let states: Vec<State> = self.site.planes.iter().map(|member| member.seen.state).collect();
        let (serves, is_calm) = migrate::serves(&states);
        match is_calm {
            true => Ok(serves),
            false if self.args.dry_run => Err(Failure::new(Kind::Unhealthy, "a migration was cut off here")
                .hint("the same command without --dry-run goes on with it")),
            false => self.thaw_to(serves).await.map(|()| serves),
        }
    }

    /// All control planes go back to the store that served; the first decides here, too.
    async fn thaw_to(&self, serves: Which) -> Result<(), Failure> {
        let sure = self.run(Arc::default());
        // What a migration that never got as far as a record was about is not needed here.
        let cluster = self.moved()?;
        for member in &self.site.planes {
            let plan = migrate::follow(&member.config.label(), serves, &member.address(&cluster)?, &self.id);
            self.on(&sure, member, &plan).await?;
        }
        Ok(())
    }

    /// The description of the cluster that moves, on whichever side of the migration it has one.
    fn moved(&self) -> Result<Cluster, Failure> {
        if let Some(kept) = &self.site.kept {
            return Ok(kept.clone());
        }
        let record = self.site.planes.iter().find_map(|member| member.seen.record.clone());
        let text = record.map(|record| if record.new.is_empty() { record.old } else { record.new });
        match (text, &self.site.to) {
            (Some(text), _) => parse(&text),
            (None, Some(to)) => Ok(to.clone()),
            (None, None) => Err(Failure::new(Kind::Config, "there is no description of the cluster")),
        }
    }
}

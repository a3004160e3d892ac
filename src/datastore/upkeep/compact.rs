//! Compaction: what is superseded goes, by the hand of kine or etcd, which is asked as the API server asks it.

use super::{number, row};
use crate::cluster::kine::probe::{self, ProbeError};
use crate::datastore::explore::{Error, Place, Store};
use crate::failure::{Failure, Kind};
use crate::remote::Host;

/// Revisions that are always kept: kine never gives up more, whoever asks.
pub const KEPT: u64 = 1000;

/// Seconds that it may take. kine goes in small steps, and goes on where nobody listens any more.
const PATIENCE: u64 = 3600;

/// What the API server writes into every store to see that it works.
const HEALTH: &str = "/registry/health";

/// What a compaction would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// `main`, or the name of a shard.
    pub shard: String,
    /// Who keeps it.
    pub engine: &'static str,
    /// The newest revision.
    pub newest: u64,
    /// What the store is compacted to; 0 where it never was.
    pub compacted: u64,
    /// What it would be compacted to.
    pub to: u64,
    /// What would go; none where only the API can be asked.
    pub gone: Option<Gone>,
}

/// Rows that a compaction removes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gone {
    /// How many.
    pub rows: u64,
    /// Bytes of their values.
    pub bytes: u64,
}

/// What a compaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// What the store is compacted to.
    pub compacted: u64,
    /// Rows that went; none where only the API can be asked.
    pub rows: Option<u64>,
}

/// Looks what a compaction would do that keeps the newest `keep` revisions. No question takes longer than `seconds`.
pub async fn plan(host: &Host, place: &Place, keep: u64, seconds: u64) -> Result<Plan, Error> {
    let mut store = place.open(host, seconds).await?;
    let (newest, compacted) = (store.snapshot.revision, compacted(&mut store).await?);
    let to = newest.saturating_sub(keep).max(compacted);
    let gone = gone(&mut store, to).await?;
    Ok(Plan { shard: store.shard, engine: store.engine, newest, compacted, to, gone })
}

impl Plan {
    /// Whether there is anything to compact.
    pub fn is_needed(&self) -> bool {
        self.to > self.compacted
    }

    /// Compacts, and looks what became of it.
    pub async fn run(&self, host: &Host, place: &Place, seconds: u64) -> Result<Done, Error> {
        probe::compact(host, place.endpoint(), self.to, PATIENCE).await.map_err(|error| match error {
            ProbeError::Remote(error) => Error::Remote(error),
            error => Error::Store(
                Failure::new(Kind::Datastore, format!("the store `{}` is not compacted: {error}", self.shard))
                    .hint("`etcdless verify` says how kine is, and where its logs are"),
            ),
        })?;
        let mut store = place.open(host, seconds).await?;
        let compacted = compacted(&mut store).await?;
        if compacted < self.to {
            let what = format!("the store `{}` is compacted to {compacted}, not to {}", self.shard, self.to);
            return Err(Error::Store(
                Failure::new(Kind::Datastore, what)
                    .hint("kine gives up a step that takes it longer than 5 s, and compacts for nobody unless --compact-interval is 0: see its log")
                    .hint("what is done stays done: run the same command again"),
            ));
        }
        let left = gone(&mut store, self.to).await?;
        let rows = self.gone.zip(left).map(|(before, left)| before.rows.saturating_sub(left.rows));
        Ok(Done { compacted, rows })
    }
}

async fn compacted(store: &mut Store<'_>) -> Result<u64, Error> {
    match store.snapshot.compacted {
        Some(compacted) => Ok(compacted),
        None => store.history(HEALTH, |_| ()).await,
    }
}

/// The rows that kine removes when it compacts to a revision: what was superseded up to there, and deletions.
async fn gone(store: &mut Store<'_>, to: u64) -> Result<Option<Gone>, Error> {
    if !store.speaks_sql() {
        return Ok(None);
    }
    let sql = format!(
        "SELECT COUNT(*), SUM(COALESCE(LENGTH(kine.value), 0) + COALESCE(LENGTH(kine.old_value), 0)) FROM kine JOIN (SELECT prev_revision \
         AS id FROM kine WHERE name <> 'compact_rev_key' AND prev_revision <> 0 AND id <= {to} UNION SELECT id FROM kine WHERE deleted <> 0 \
         AND id <= {to}) AS gone ON gone.id = kine.id"
    );
    let found = row(store, &sql).await?;
    Ok(Some(Gone { rows: number(&found, 0), bytes: number(&found, 1) }))
}

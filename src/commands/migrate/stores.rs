//! The data itself: copied while the cluster runs, brought up to date once nobody writes, and compared.

use crate::commands::progress::Progress;
use crate::commands::session;
use crate::config::Host as HostConfig;
use crate::datastore::copy::digest::Digest;
use crate::datastore::copy::read;
use crate::datastore::copy::write::{BUMP, Sink};
use crate::datastore::copy::{self, Caught, Span};
use crate::datastore::explore::{self, Place, Store};
use crate::failure::{Failure, Kind};
use crate::phase::migrate;
use crate::remote::Host;
use crate::ui::Ui;

/// Seconds that reading a store may take.
pub(super) const READING: u64 = 6 * 3600;

/// A store is brought up to date as often as it takes until so few keys are left, and no more often than that.
pub(super) const FEW: u64 = 500;
pub(super) const TIMES: usize = 8;

/// Stores that are brought up to date at once.
pub(super) const AT_ONCE: usize = 4;

/// One store on its way.
pub(super) struct Move<'a> {
    pub(super) shard: String,
    ui: &'a Ui,
    host: &'a Host,
    config: &'a HostConfig,
    from: &'a Place,
    /// What the keys begin with that move.
    below: Vec<String>,
    sink: Sink,
    /// All up to this revision of the old store was read back and compared.
    compared: u64,
    /// All up to this one is there.
    since: u64,
}

impl<'a> Move<'a> {
    /// Copies all that is in a store below some prefixes, reads it back, and then what changed meanwhile.
    pub(super) async fn begin(
        ui: &'a Ui,
        (host, config): (&'a Host, &'a HostConfig),
        shard: &str,
        (from, below): (&'a Place, Vec<String>),
        (to, ours): (&Place, Option<u64>),
    ) -> Result<Self, Failure> {
        let failed = |error| failed(error, config);
        let sink = Sink::anew(host, to, ours).await.map_err(failed)?;
        let mut own = Self { shard: shard.into(), ui, host, config, from, below, sink, compared: 0, since: 0 };
        let mut store = own.open().await?;
        let progress = Progress::start(ui, host.name(), format!("migrate/copy-{shard}"), format!("copy {shard}"));
        let told = progress.bytes();
        let copied = copy::copy(&mut store, &mut own.sink, |digest| told(digest.bytes, 0)).await;
        let copied = progress.end(copied.map_err(failed))?;
        own.since = store.snapshot.revision;
        drop(store);
        let title = format!("compare {} keys of {shard}", copied.keys);
        let progress = Progress::start(ui, host.name(), format!("migrate/compare-{shard}"), title);
        let found = own.sink.digest(Span::ALL).await.map_err(failed);
        progress.end(found.and_then(|found| own.same(copied, found)))?;
        own.compared = own.since;
        for _ in 0..TIMES {
            if own.catch_up().await? <= FEW {
                break;
            }
        }
        Ok(own)
    }

    /// The store that served before, brought up to what the new one has since it began at a revision.
    pub(super) async fn back(
        ui: &'a Ui,
        (host, config): (&'a Host, &'a HostConfig),
        shard: &str,
        (from, since): (&'a Place, u64),
        to: &Place,
    ) -> Result<Self, Failure> {
        let all = read::all();
        let Some(sink) = Sink::again(host, to).await.map_err(|error| failed(error, config))? else {
            return Self::begin(ui, (host, config), shard, (from, all), (to, None)).await;
        };
        let mut own = Self { shard: shard.into(), ui, host, config, from, below: all, sink, compared: since, since };
        for _ in 0..TIMES {
            if own.catch_up().await? <= FEW {
                break;
            }
        }
        Ok(own)
    }

    /// What changed since the last time. How many keys that were.
    pub(super) async fn catch_up(&mut self) -> Result<u64, Failure> {
        self.caught_up(true).await.map(|caught| caught.put + caught.deleted)
    }

    async fn caught_up(&mut self, runs: bool) -> Result<Caught, Failure> {
        let mut store = if runs { self.open().await? } else { self.still().await? };
        let caught = copy::catch_up(&mut store, self.since, &mut self.sink).await;
        let caught = caught.map_err(|error| failed(error, self.config))?;
        self.since = store.snapshot.revision;
        Ok(caught)
    }

    /// Once nobody writes: what is left, and whether all that changed since the first comparison is the same. The revision that the new store
    /// begins at, and how many keys changed.
    pub(super) async fn rest(&mut self) -> Result<(u64, u64), Failure> {
        let title = format!("copy what changed in {} since", self.shard);
        let progress = Progress::start(self.ui, self.host.name(), format!("migrate/rest-{}", self.shard), title);
        let rest = self.brought_over().await;
        progress.end(rest)
    }

    async fn brought_over(&mut self) -> Result<(u64, u64), Failure> {
        self.caught_up(false).await?;
        let mut expected = self.changed().await?;
        // What ends by itself, as events do, is nobody's write.
        for _ in 0..TIMES {
            let caught = self.caught_up(false).await?;
            if caught.put > 0 {
                return Err(self.written_to());
            }
            if caught.deleted == 0 {
                break;
            }
            expected = self.changed().await?;
        }
        let span = Span { since: self.compared, revision: i64::MAX as u64 };
        let found = self.sink.digest(span).await.map_err(|error| failed(error, self.config))?;
        self.same(expected, found)?;
        Ok((self.since + BUMP, expected.keys))
    }

    /// What the old store has that is newer than what was compared.
    async fn changed(&mut self) -> Result<Digest, Failure> {
        let mut store = self.still().await?;
        copy::changed(&mut store, self.compared).await.map_err(|error| failed(error, self.config))
    }

    fn written_to(&self) -> Failure {
        let shard = &self.shard;
        Failure::new(Kind::Unhealthy, format!("somebody writes to the store {shard} though no API server runs"))
            .hint("stop what else uses the store; the cluster goes on with the old one")
    }

    fn same(&self, expected: Digest, found: Digest) -> Result<(), Failure> {
        same(&format!("the new store {}", self.shard), expected, found).map_err(|failure| {
            failure.hint("something else writes to the new database, or it keeps text in another way than bytes")
        })
    }

    /// The new store begins at a revision; a file goes to where the switch takes it from.
    pub(super) async fn end(mut self, begins: u64, which: migrate::Which) -> Result<(), Failure> {
        self.sink.finish(begins).await.map_err(|error| failed(error, self.config))?;
        let Some(file) = self.sink.into_file() else { return Ok(()) };
        let file = file.close().await.map_err(|error| failed(error, self.config))?;
        let title = format!("send the store {}", self.shard);
        let progress = Progress::start(self.ui, self.host.name(), format!("migrate/file-{}", self.shard), title);
        let sent = migrate::send(self.host, &file.path(), &self.shard, which, progress.bytes()).await;
        progress.end(sent)
    }

    /// The store that serves, where no write is still under way.
    async fn open(&self) -> Result<Store<'a>, Failure> {
        self.from
            .settled(self.host, READING)
            .await
            .map_or_else(|error| Err(failed(error, self.config)), |store| Ok(self.part(store)))
    }

    /// The store that nobody writes to.
    async fn still(&self) -> Result<Store<'a>, Failure> {
        self.from
            .open(self.host, READING)
            .await
            .map_or_else(|error| Err(failed(error, self.config)), |store| Ok(self.part(store)))
    }

    fn part(&self, mut store: Store<'a>) -> Store<'a> {
        store.below.clone_from(&self.below);
        store
    }
}

/// Whether a store holds what was read of another.
pub(super) fn same(store: &str, expected: Digest, found: Digest) -> Result<(), Failure> {
    if expected == found {
        return Ok(());
    }
    let counted = |digest: Digest| format!("{} keys, {} bytes, {digest}", digest.keys, digest.bytes);
    Err(Failure::new(Kind::Datastore, format!("what {store} holds is not what was read"))
        .detail(format!("read    {}", counted(expected)))
        .detail(format!("written {}", counted(found))))
}

pub(super) fn failed(error: explore::Error, config: &HostConfig) -> Failure {
    match error {
        explore::Error::Remote(error) => session::unreachable(&error, config),
        explore::Error::Store(failure) => failure,
    }
}

//! The stores are filled while nothing runs on them, and read back.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::mpsc;

use super::super::progress::Progress;
use super::super::session::{self, Interrupt};
use super::super::{backup as file, stores};
use super::{Reached, Restoring};
use crate::config::{Datastore, Host as HostConfig};
use crate::datastore::backup::{Backup, Shard};
use crate::datastore::copy::digest::Digest;
use crate::datastore::copy::write::{BUMP, Sink};
use crate::datastore::copy::{Change, Span};
use crate::datastore::explore::{self, Place};
use crate::facts::Probes;
use crate::failure::{Failure, Kind};
use crate::phase::plan::Plan;
use crate::phase::restore;
use crate::remote::Query;
use crate::ui::{self, Event, Format, Ui};

/// Batches under way between who reads the file and who fills a store.
const UNDER_WAY: usize = 4;

/// Puts every store into a scratch file and reads it back.
pub(super) async fn prove(ui: &Ui, backup: &Arc<Backup>) -> Result<(), Failure> {
    for shard in &backup.manifest.stores {
        let mut sink = Sink::file().await.map_err(|error| failed(error, None))?;
        fill(ui, "scratch", backup, shard, &mut sink, None).await?;
    }
    ui.settled().await;
    if ui.format() == Format::Text {
        let named = backup.path.display().to_string();
        ui::result(&file::text(&named, backup.length, &backup.head, &backup.manifest));
    }
    ui.note(None, "every byte is as it was written, and every store came back out of a scratch file as it went in");
    Ok(())
}

/// Fills an empty store with one of a backup, and reads it back. Without a host, nothing can be lost on the way to it.
async fn fill(
    ui: &Ui,
    label: &str,
    backup: &Arc<Backup>,
    shard: &Shard,
    sink: &mut Sink,
    config: Option<&HostConfig>,
) -> Result<(), Failure> {
    let title = format!("fill the store {}", shard.name);
    let progress = Progress::start(ui, label, format!("restore/fill-{}", shard.name), title);
    let (tell, total) = (progress.bytes(), shard.bytes);
    let (out, rows) = mpsc::channel(UNDER_WAY);
    let (source, name) = (backup.clone(), shard.name.clone());
    let read = tokio::task::spawn_blocking(move || {
        source.rows(&name, |rows| out.blocking_send(rows.into_iter().map(Change::Put).collect()).is_ok())
    });
    let work = async {
        let written = sink.fill(rows, |digest| tell(digest.bytes, total)).await;
        let written = written.map_err(|error| failed(error, config))?;
        read.await.unwrap_or_else(|error| Err(Failure::new(Kind::Internal, error.to_string())))?;
        as_written(shard, &written, "what the backup says it holds")?;
        let back = sink.digest(Span::ALL).await.map_err(|error| failed(error, config))?;
        as_written(shard, &back, "what was written into it")?;
        sink.finish(shard.revision + BUMP).await.map_err(|error| failed(error, config))
    };
    let done = work.await;
    progress.end(done)
}

fn as_written(shard: &Shard, found: &Digest, what: &str) -> Result<(), Failure> {
    match (found.keys, found.bytes, found.to_string()) == (shard.keys, shard.bytes, shard.digest.clone()) {
        true => Ok(()),
        false => {
            let message =
                format!("the store {} holds {} keys, which are not {what}: {}", shard.name, found.keys, shard.keys);
            Err(Failure::new(Kind::Datastore, message))
        }
    }
}

fn failed(error: explore::Error, config: Option<&HostConfig>) -> Failure {
    match (error, config) {
        (explore::Error::Store(failure), _) => failure,
        (explore::Error::Remote(error), Some(config)) => session::unreachable(&error, config),
        (explore::Error::Remote(error), None) => Failure::new(Kind::Internal, error.to_string()),
    }
}

impl Restoring<'_> {
    /// Fills every store while nothing runs on any. What is refused is refused before anything is stopped.
    pub(super) async fn fill_all(
        &self,
        first: &Reached,
        built: &[&Reached],
        hosts: &[Reached],
        interrupt: &Arc<Interrupt>,
    ) -> Result<(), Failure> {
        let heads = hosts.iter().filter(|host| host.config.role.is_control_plane());
        let _locks = session::lock_all("restore", heads.map(|host| (&host.host, &host.config))).await?;
        let (resolved, credentials) = stores::resolve(&self.ui, &self.target, &self.cluster).await?;
        let places = explore::places(&resolved, &credentials);
        // Another run may have filled some, and written so into the journal after we looked.
        let facts = first.host.facts(&Probes::default()).await;
        let journal = facts.map_err(|error| session::unreachable(&error, &first.config))?.journal;
        let shards = self.backup.manifest.stores.iter().zip(self.cluster.datastores());
        let wanted = places.iter().zip(shards).map(|(place, (shard, (_, datastore)))| Wanted {
            place,
            shard,
            is_sqlite: matches!(datastore, Datastore::Sqlite(_)),
            is_filled: restore::is_filled(&journal, &shard.name, &self.backup.sum),
        });
        let wanted: Vec<Wanted<'_>> = wanted.collect();
        for store in &wanted {
            store.is_vacant(first).await?;
        }
        interrupt.applying.store(true, Ordering::Relaxed);
        let plans: Vec<Plan> = built.iter().map(|host| restore::stopped(&host.config.label(), &self.run)).collect();
        self.apply(built, &plans, interrupt).await?;
        for store in &wanted {
            let filled = self.fill_one(first, store, interrupt).await;
            filled.map_err(|failure| if built.is_empty() { failure } else { stands_still(failure) })?;
        }
        let plans: Vec<Plan> = built.iter().map(|host| restore::started(&host.config.label(), &self.run)).collect();
        self.apply(built, &plans, interrupt).await?;
        interrupt.applying.store(false, Ordering::Relaxed);
        Ok(())
    }

    async fn fill_one(&self, first: &Reached, store: &Wanted<'_>, interrupt: &Arc<Interrupt>) -> Result<(), Failure> {
        let (label, shard) = (first.config.label(), store.shard);
        // Whatever ran until now may have written there since it was looked at.
        if !store.is_vacant(first).await? {
            let text = format!("the store {} was filled by an earlier run: it is gone on with", shard.name);
            self.ui.note(Some(&label), text);
            return Ok(());
        }
        let sink = if store.is_sqlite { Sink::file().await } else { Sink::open(&first.host, store.place).await };
        let mut sink = sink.map_err(|error| failed(error, Some(&first.config)))?;
        fill(&self.ui, &label, &self.backup, shard, &mut sink, Some(&first.config)).await?;
        // Only now, since a run that is cut off before leaves a store that is not used, and that a cluster may begin to use as it is.
        let Some(made) = sink.into_file() else {
            let plan = restore::filled(&label, &shard.name, &self.backup.sum, false);
            return self.apply(&[first], &[plan], interrupt).await;
        };
        let made = made.close().await.map_err(|error| failed(error, Some(&first.config)))?;
        let step = format!("restore/place-{}", shard.name);
        let progress = Progress::start(&self.ui, &label, step.clone(), format!("send the store {}", shard.name));
        let (signals, mut heard) = mpsc::unbounded_channel();
        let (ui, host) = (self.ui.clone(), label.clone());
        let told = tokio::spawn(async move {
            while let Some(signal) = heard.recv().await {
                if let crate::remote::Signal::Bytes { done, total } = signal {
                    ui.emit(Event::StepBytes { host: host.clone(), step: step.clone(), done, total });
                }
            }
        });
        let placed =
            restore::place_sqlite(&first.host, (&shard.name, &self.backup.sum), &made.path(), &self.run, &signals)
                .await;
        drop(signals);
        let _ended = told.await;
        progress.end(placed)
    }
}

/// A store that is to be filled.
struct Wanted<'a> {
    place: &'a Place,
    shard: &'a Shard,
    is_sqlite: bool,
    /// An earlier run with this backup filled it, and was cut off before the cluster was up.
    is_filled: bool,
}

impl Wanted<'_> {
    /// Whether it is to be filled: not where an earlier run did. One that holds anything else is refused. Nothing is changed.
    async fn is_vacant(&self, first: &Reached) -> Result<bool, Failure> {
        let refusal = match self.is_sqlite {
            true => self.file_refusal(first).await,
            false => Sink::refusal(&first.host, self.place).await,
        };
        match refusal.map_err(|error| failed(error, Some(&first.config)))? {
            None => Ok(true),
            Some(_) if self.is_filled => Ok(false),
            Some(failure) => Err(failure),
        }
    }

    async fn file_refusal(&self, first: &Reached) -> Result<Option<Failure>, explore::Error> {
        let there = restore::sqlite_files(&first.host, &self.shard.name).await?;
        if there.is_empty() {
            return Ok(None);
        }
        let (label, name) = (first.config.label(), &self.shard.name);
        let message = format!("{label} has the store {name} already: {}", there.join(", "));
        let failure = Failure::new(Kind::Datastore, message);
        Ok(Some(failure.hint(
            "stop kine and put the files into another folder, or remove them if nobody needs them; etcdless removes no data",
        )))
    }
}

/// What a failure leaves that comes while the cluster is stopped.
fn stands_still(failure: Failure) -> Failure {
    failure
        .hint("API server, controllers and kine are stopped; mend the cause, and the same command goes on")
        .hint("to let the cluster run on as it is instead: etcdless init, as it was built")
}

//! What the commands that look into stores share: the way there, errors, tables.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use serde_json::json;

use crate::cli::Target;
use crate::cli::datastore::Look;
use crate::commands::progress::Progress;
use crate::commands::{session, stores};
use crate::config::{Host as HostConfig, load, suggest};
use crate::datastore::explore::{self, Place, Store, foreign, key};
use crate::facts::Probes;
use crate::failure::{Failure, Kind};
use crate::phase::control_plane::RECORD;
use crate::remote::{Host, Query};
use crate::ui::{self, Format, Ui};

/// How long nobody needs to be told that something is going on.
const PATIENCE: Duration = Duration::from_secs(1);

/// Keys that are compared with one that is not there.
const NEAR: usize = 20_000;

/// The stores of a cluster, and the host that they are looked at from.
pub(in crate::commands) struct Opened {
    pub(in crate::commands) host: Host,
    pub(in crate::commands) config: HostConfig,
    pub(in crate::commands) places: Vec<Place>,
    seconds: u64,
}

/// The flags that say which cluster, and the words that are left: as many as the command takes.
pub(super) fn words<const N: usize>(
    look: Look,
    takes: [&str; N],
    optional: bool,
) -> Result<(Target, Vec<String>), Failure> {
    let Look { words, config, login, .. } = look;
    let mut words = words.into_iter();
    let host = if config.is_none() { words.next() } else { None };
    let words: Vec<String> = words.collect();
    let all = ["HOST"].into_iter().chain(takes).collect::<Vec<_>>().join(" ");
    let needed = if optional { 0 } else { N };
    if (host.is_none() && config.is_none()) || words.len() < needed || words.len() > N {
        let failure = Failure::new(Kind::Usage, format!("it takes {all}, without HOST where --config names a file"));
        return Err(failure.hint("see `etcdless help datastore`, and --help of the command"));
    }
    Ok((Target::new(host, config, login), words))
}

/// Connects to a control plane. Without a file, the cluster is what the host keeps of it, or else what its API server is told.
pub(in crate::commands) async fn open(ui: &Ui, target: &Target, seconds: u64) -> Result<Opened, Failure> {
    let described = session::describe(target, None)?;
    let (host, config) = session::control_plane(ui, target, &described).await?;
    if target.config.is_some() {
        let (cluster, credentials) = stores::resolve(ui, target, &described).await?;
        let places = explore::places(&cluster, &credentials);
        return Ok(Opened { host, config, places, seconds });
    }
    let probes = Probes { texts: [RECORD.to_owned(), foreign::MANIFEST.to_owned()].into(), ..Probes::default() };
    let facts = host.facts(&probes).await.map_err(|error| session::unreachable(&error, &config))?;
    let places = match (facts.texts.get(RECORD), facts.texts.get(foreign::MANIFEST)) {
        (Some(record), _) => {
            let (cluster, credentials) = stores::resolve(ui, target, &load::parse(RECORD, record)?).await?;
            explore::places(&cluster, &credentials)
        }
        (None, Some(manifest)) => foreign::places(manifest).map_err(|why| {
            Failure::new(Kind::Unhealthy, format!("{} of {} is of no use: {why}", foreign::MANIFEST, config.label()))
                .hint("name a control plane whose API server keeps its state in etcd or kine")
        })?,
        (None, None) => {
            let why = format!("{} has neither a cluster that etcdless built nor {}", config.label(), foreign::MANIFEST);
            return Err(Failure::new(Kind::Unhealthy, why).hint("name a control plane"));
        }
    };
    Ok(Opened { host, config, places, seconds })
}

impl Opened {
    /// What people call the host.
    pub(super) fn name(&self) -> &str {
        self.host.name()
    }

    /// Opens a store.
    pub(in crate::commands) async fn store(&self, place: &Place) -> Result<Store<'_>, Failure> {
        place.open(&self.host, self.seconds).await.map_err(|error| self.failed(error))
    }

    /// Opens a store that is to be copied: nothing up to its revision is missing.
    pub(in crate::commands) async fn settled(&self, place: &Place) -> Result<Store<'_>, Failure> {
        place.settled(&self.host, self.seconds).await.map_err(|error| self.failed(error))
    }

    /// The places of all stores, or of the one that goes by this name.
    pub(super) fn places(&self, name: Option<&str>) -> Result<Vec<&Place>, Failure> {
        let found: Vec<&Place> =
            self.places.iter().filter(|place| name.is_none_or(|name| place.shard == name)).collect();
        if found.is_empty() {
            let names: Vec<&str> = self.places.iter().map(|place| place.shard.as_str()).collect();
            let what = format!("there is no store {}", name.unwrap_or_default());
            return Err(Failure::new(Kind::Usage, what).hint(format!("stores: {}", names.join(", "))));
        }
        Ok(found)
    }

    /// The host that stores are looked at from.
    pub(super) fn host(&self) -> &Host {
        &self.host
    }

    /// Opens the store that a key is in.
    pub(super) async fn store_of(&self, key: &str) -> Result<Store<'_>, Failure> {
        let place = explore::place_of(&self.places, key);
        self.store(place.ok_or_else(|| Failure::new(Kind::Config, "the cluster has no store"))?).await
    }

    /// Whether the stores have to be told apart.
    pub(super) fn has_several(&self) -> bool {
        self.places.len() > 1
    }

    pub(in crate::commands) fn failed(&self, error: explore::Error) -> Failure {
        match error {
            explore::Error::Remote(error) => session::unreachable(&error, &self.config),
            explore::Error::Store(failure) => failure,
        }
    }

    /// What to say of a key that is not there.
    pub(super) async fn missing(&self, store: &mut Store<'_>, key: &str, revision: Option<u64>) -> Failure {
        let when = revision.map(|revision| format!(" at revision {revision}")).unwrap_or_default();
        let failure = Failure::new(Kind::Usage, format!("there is no key {key}{when}"));
        for folder in key::around(key) {
            let mut keys = Vec::new();
            let near = |page: Vec<explore::Entry>| {
                let room = NEAR.saturating_sub(keys.len());
                keys.extend(page.into_iter().take(room).map(|entry| entry.key));
            };
            if store.keys(folder, near).await.is_err() {
                break;
            }
            if keys.is_empty() {
                continue;
            }
            let alike = suggest::closest(key, keys.iter().map(String::as_str)).filter(|alike| *alike != key);
            let failure = match alike {
                Some(alike) => failure.hint(format!("did you mean {alike}?")),
                None => failure,
            };
            let keys = match keys.len() {
                1 => "one key".to_owned(),
                many => format!("{many} keys"),
            };
            return failure
                .hint(format!("the nearest that is there is {folder}: `etcdless datastore ls` lists its {keys}"));
        }
        failure.hint("`etcdless datastore ls` lists every key")
    }
}

/// Tells which store is looked at, and as of when.
pub(super) fn tell(ui: &Ui, store: &Store<'_>) {
    let Store { shard, engine, snapshot, .. } = store;
    match ui.format() {
        Format::Text => ui.note(None, format!("{shard}: {engine}, as of revision {}", snapshot.revision)),
        Format::Json => {
            ui::result(
                &json!({ "event": "store", "store": shard, "engine": engine, "revision": snapshot.revision })
                    .to_string(),
            );
        }
    }
}

/// Whether to go on: `yes` says so before it is asked.
pub(super) async fn agree(ui: &Ui, yes: bool, question: &str) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    match ui.confirm(question).await {
        Some(true) => Ok(()),
        Some(false) => Err(Failure::new(Kind::Interrupted, "stopped: nothing was changed")),
        None => Err(Failure::new(Kind::Usage, "there is no terminal to ask on: nothing was changed")
            .hint("say --yes to go on, or --dry-run to see only what it costs")),
    }
}

/// Waits for something, and tells that it goes on once that takes a while.
pub(super) async fn patiently<T>(
    ui: &Ui,
    host: &str,
    title: &str,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let mut work = pin!(work);
    tokio::select! {
        done = &mut work => return done,
        () = tokio::time::sleep(PATIENCE) => {}
    }
    let progress = Progress::start(ui, host, "datastore", title);
    let done = work.await;
    let done = progress.end(done);
    ui.settled().await;
    done
}

/// Rows below a head, in columns; those whose head ends in a space stand at the right.
pub(in crate::commands) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let names: Vec<&str> = head.iter().map(|name| name.trim_end()).collect();
    let width = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count());
        cells.chain([names[at].len()]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..names.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&widths).zip(head).map(|((cell, width), head)| match head.ends_with(' ') {
            true => format!("{cell:>width$}"),
            false => format!("{cell:width$}"),
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let rows = rows.iter().map(|row| line(row.iter().map(String::as_str).collect()));
    std::iter::once(line(names.clone())).chain(rows).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(words: &[&str], config: Option<&str>) -> Look {
        let words = words.iter().map(ToString::to_string).collect();
        Look { words, config: config.map(Into::into), login: crate::cli::Login::default(), timeout: 60 }
    }

    #[test]
    fn the_first_word_is_the_host_where_there_is_no_file() {
        let taken = |given: &[&str], config, optional| {
            let taken = words(look(given, config), ["KEY"], optional);
            taken
                .map(|(target, words)| (target.host.unwrap_or_default(), words.concat()))
                .map_err(|failure| failure.message)
        };
        let pair = |host: &str, key: &str| Ok((host.to_owned(), key.to_owned()));
        assert_eq!(taken(&["cp1", "pods"], None, false), pair("cp1", "pods"));
        assert_eq!(taken(&["pods"], Some("c.yaml"), false), pair("", "pods"));
        assert_eq!(taken(&["cp1"], None, true), pair("cp1", ""));
        let refused = Err("it takes HOST KEY, without HOST where --config names a file".to_owned());
        assert_eq!(taken(&["cp1"], None, false), refused);
        assert_eq!(taken(&[], None, true), refused);
        assert!(taken(&["cp1", "pods"], Some("c.yaml"), false).is_err());
    }

    #[test]
    fn numbers_stand_at_the_right() {
        let rows = [vec!["pods".to_owned(), "7".to_owned()], vec!["secrets".to_owned(), "120".to_owned()]];
        assert_eq!(table(&["WHAT", "MANY "], &rows), "WHAT     MANY\npods        7\nsecrets   120");
    }
}

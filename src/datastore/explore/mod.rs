//! A look into the stores of a cluster that runs. Nothing is written anywhere.
//!
//! Database servers are asked by SQL, by the way that the checks take; a SQLite file too, where its host has a program for that. Everything
//! else, a live etcd among it, answers by etcd's API on the host. Either way all that a command shows of a store is of one revision.

mod api;
pub mod foreign;
pub mod history;
pub mod key;
mod rows;
pub mod show;
pub(in crate::datastore) mod sql;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::check::target::{self, Target};
use super::check::{self, mysql, postgres};
use crate::cluster::kine;
use crate::cluster::kine::probe::Endpoint;
use crate::cluster::kine::probe::frame::KeyValue;
use crate::config::credentials::Credentials;
use crate::config::{Cluster, ServerEngine as Engine};
use crate::failure::{Failure, Kind};
use crate::remote::forward::Place as Address;
use crate::remote::{Host, Query, Question, RemoteError};
use api::Api;
use sql::{Server, Sql};

pub use key::ROOT;

/// How long a write may be under way before it is taken for one that never comes.
const UNDER_WAY: Duration = Duration::from_secs(2);

/// A key and the revision of its last change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The revision.
    pub revision: u64,
}

/// A key as it was at a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// When it became so.
    pub revision: u64,
    /// Whether it was deleted then.
    pub deleted: bool,
    /// What it holds.
    pub value: Vec<u8>,
}

/// What there is of a resource.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Objects.
    pub objects: u64,
    /// Revisions of them that are kept, deletions as well; none where the store does not tell.
    pub revisions: Option<u64>,
    /// Bytes of the objects' newest values.
    pub bytes: u64,
}

/// A key with a number that makes it stand out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heavy {
    /// The key.
    pub key: String,
    /// Bytes, or revisions.
    pub amount: u64,
}

/// The moment that a command sees of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshot {
    /// The newest revision.
    pub revision: u64,
    /// What the store is compacted to, where it says so by itself.
    pub compacted: Option<u64>,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Error {
    /// The host could not be asked.
    Remote(RemoteError),
    /// The store did not answer as it should.
    Store(Failure),
}

impl From<RemoteError> for Error {
    fn from(error: RemoteError) -> Self {
        Self::Remote(error)
    }
}

/// Where a store is.
#[derive(Debug)]
pub struct Place {
    /// `main`, or the name of a shard.
    pub shard: String,
    /// Where the resources that it has to itself are kept, below [`ROOT`].
    folders: Vec<String>,
    route: Route,
}

#[derive(Debug)]
enum Route {
    /// A server, and a kine that serves from it.
    Server(Target, Endpoint),
    /// Its file, and its kine, for hosts that have no program for SQLite.
    Sqlite(String, Endpoint),
    Api(&'static str, Endpoint),
}

/// The stores of a cluster that etcdless built, `main` first; `credentials` are in the order of [`Cluster::datastores`].
pub fn places(cluster: &Cluster, credentials: &[Credentials]) -> Vec<Place> {
    let folders = std::iter::once(Vec::new()).chain(cluster.spec.shards.iter().map(|shard| folders(&shard.resources)));
    let stores = cluster.datastores().zip(credentials).zip(kine::listeners(cluster)).zip(folders);
    stores
        .map(|((((shard, datastore), credentials), listener), folders)| {
            let endpoint = Endpoint::of(&listener);
            let route = match target::of(datastore, credentials) {
                Ok(Some(target)) => Route::Server(target, endpoint),
                Ok(None) => return Place { folders, ..sqlite(shard, super::sqlite::file(shard), endpoint) },
                Err(_) => Route::Api("kine", endpoint),
            };
            Place { shard: shard.to_owned(), folders, route }
        })
        .collect()
}

/// A store in a file on the host, which its kine answers for where the host has no program to read it with.
pub fn sqlite(shard: &str, file: String, kine: Endpoint) -> Place {
    Place { shard: shard.to_owned(), folders: Vec::new(), route: Route::Sqlite(file, kine) }
}

/// An etcd that all is in.
pub fn etcd(endpoint: Endpoint) -> Place {
    Place { shard: crate::config::MAIN.to_owned(), folders: Vec::new(), route: Route::Api("etcd", endpoint) }
}

/// What the keys of resources begin with; the resources as `--etcd-servers-overrides` names them.
pub fn prefixes(resources: &[String]) -> Vec<String> {
    folders(resources).iter().map(|folder| format!("{ROOT}{folder}/")).collect()
}

/// Where resources, as `--etcd-servers-overrides` names them, are kept.
fn folders(resources: &[String]) -> Vec<String> {
    let folder = |name: &String| match name.trim_start_matches('/').split_once('/') {
        Some((group, plural)) => key::folder(&format!("{plural}.{group}")),
        None => key::folder(name.trim_start_matches('/')),
    };
    resources.iter().map(folder).collect()
}

/// The store that a key is in.
pub fn place_of<'a>(places: &'a [Place], key: &str) -> Option<&'a Place> {
    let folder = key::resource(key);
    places.iter().find(|place| place.folders.iter().any(|own| own == folder)).or(places.first())
}

impl Place {
    /// Where the API that the API server itself uses is.
    pub(in crate::datastore) fn endpoint(&self) -> &Endpoint {
        match &self.route {
            Route::Server(_, endpoint) | Route::Sqlite(_, endpoint) | Route::Api(_, endpoint) => endpoint,
        }
    }

    /// The file that it is, where it is one.
    pub(in crate::datastore) fn file(&self) -> Option<&str> {
        match &self.route {
            Route::Sqlite(file, _) => Some(file),
            Route::Server(..) | Route::Api(..) => None,
        }
    }

    /// A connection to the server that keeps it; nothing where no server does.
    pub(in crate::datastore) async fn server<'a>(&self, host: &'a Host) -> Result<Option<Server<'a>>, Error> {
        match &self.route {
            Route::Server(target, _) => server(host, target).await.map(|(_, server)| Some(server)),
            Route::Sqlite(..) | Route::Api(..) => Ok(None),
        }
    }

    /// Goes there and fixes the moment that is looked at. No question takes longer than `seconds`.
    pub async fn open<'a>(&self, host: &'a Host, seconds: u64) -> Result<Store<'a>, Error> {
        let api = |endpoint: &Endpoint| Reader::Api(Api { host, endpoint: endpoint.clone(), seconds });
        let (engine, mut reader) = match &self.route {
            Route::Server(target, _) => {
                let (engine, server) = server(host, target).await?;
                (engine, Reader::Sql(Sql { server, seconds }))
            }
            Route::Sqlite(file, _) if has_sqlite(host).await? => {
                ("SQLite", Reader::Sql(Sql { server: Server::Sqlite(host, file.clone()), seconds }))
            }
            Route::Sqlite(_, endpoint) => ("SQLite, through kine", api(endpoint)),
            Route::Api(engine, endpoint) => (*engine, api(endpoint)),
        };
        let snapshot = match &mut reader {
            Reader::Api(api) => Snapshot { revision: api.revision().await?, compacted: None },
            Reader::Sql(sql) => sql.begin().await?,
        };
        Ok(Store { shard: self.shard.clone(), engine, snapshot, reader, below: crate::datastore::copy::read::all() })
    }

    /// Goes there as [`Self::open`] does, and sees every revision up to the one that it tells. A server gives numbers before writes are
    /// finished: of two at once the later may be seen first. What is missing for longer is missing for good, since kine fills such gaps.
    pub async fn settled<'a>(&self, host: &'a Host, seconds: u64) -> Result<Store<'a>, Error> {
        let (begun, mut at_first) = (Instant::now(), None);
        loop {
            let mut store = self.open(host, seconds).await?;
            let missing = store.missing().await?;
            let at_first = at_first.get_or_insert_with(|| missing.clone());
            let is_over = begun.elapsed() >= UNDER_WAY;
            match missing.iter().find(|revision| !is_over || !at_first.contains(revision)) {
                None => return Ok(store),
                Some(revision) if is_over => {
                    store.snapshot.revision = revision - 1;
                    return Ok(store);
                }
                Some(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }
}

async fn has_sqlite(host: &Host) -> Result<bool, RemoteError> {
    let script = "command -v sqlite3 >/dev/null || { command -v python3 >/dev/null && python3 -I -c 'import sqlite3' 2>/dev/null; }";
    let deadline = Duration::from_secs(10);
    Ok(host.ask(Question { script, args: Vec::new(), input: Vec::new(), deadline }).await?.status == 0)
}

/// A connection to a server, or to the one of several that takes writes: others may be behind.
async fn server<'a>(host: &'a Host, target: &Target) -> Result<(&'static str, Server<'a>), Error> {
    let (mut behind, mut wrong) = (None, Vec::new());
    for place in &target.servers {
        match connect(host, target, place).await? {
            Ok((engine, server, true)) => return Ok((engine, server)),
            Ok((engine, server, false)) => behind = behind.or(Some((engine, server))),
            Err(findings) => wrong.extend(findings),
        }
    }
    behind.ok_or_else(|| {
        let failure = Failure::new(Kind::Datastore, format!("the database cannot be asked, seen from {}", host.name()));
        let failure = wrong.into_iter().fold(failure, Failure::detail);
        Error::Store(failure.hint("`etcdless datastore check` says more"))
    })
}

/// The engine, a connection, and whether it takes writes; or what is wrong.
async fn connect<'a>(
    host: &'a Host,
    target: &Target,
    place: &Address,
) -> Result<Result<(&'static str, Server<'a>, bool), Vec<String>>, RemoteError> {
    let mut lines = Vec::new();
    let Some(way) = check::way(host, target, place, &mut lines).await? else {
        let findings = lines.iter().flat_map(|line| &line.findings).map(ToString::to_string);
        return Ok(Err(findings.collect()));
    };
    let server = way.server(target, place);
    let connected = match target.engine {
        Engine::Postgres => match postgres::connect(&server).await {
            Ok(mut connection) => {
                let standby = postgres::row(&mut connection, "SELECT pg_is_in_recovery()::text").await;
                let is_standby = standby.is_ok_and(|row| row.first().is_some_and(|text| text == "true"));
                Ok(("PostgreSQL", Server::Postgres(connection, way), !is_standby))
            }
            Err((_, finding)) => Err(finding),
        },
        Engine::Mysql | Engine::Mariadb => match mysql::connect(&server).await {
            Ok(mut connection) => {
                let variables = mysql::variables(&mut connection).await.unwrap_or_default();
                let takes_writes = mysql::judge::takes_no_writes(&variables).is_none();
                Ok((mysql::judge::engine(&variables).title(), Server::Mysql(connection, way), takes_writes))
            }
            Err((_, finding)) => Err(finding),
        },
    };
    Ok(connected.map_err(|finding| vec![finding.to_string()]))
}

/// A store that is being looked at.
pub struct Store<'a> {
    /// `main`, or the name of a shard.
    pub shard: String,
    /// Who keeps it.
    pub engine: &'static str,
    /// As of when.
    pub snapshot: Snapshot,
    /// Which part of it is told of what changed: keys that begin so.
    pub below: Vec<String>,
    reader: Reader<'a>,
}

enum Reader<'a> {
    Api(Api<'a>),
    Sql(Sql<'a>),
}

/// The keys that stand out.
#[derive(Debug, Default)]
pub struct Top {
    /// By the size of their values.
    pub largest: Vec<Heavy>,
    /// By how often they were written; none where the store does not tell.
    pub rewritten: Option<Vec<Heavy>>,
}

impl Store<'_> {
    /// Of the newest revisions those that are not there, in order.
    async fn missing(&mut self) -> Result<Vec<u64>, Error> {
        match &mut self.reader {
            Reader::Sql(sql) => sql.missing(self.snapshot).await,
            Reader::Api(_) => Ok(Vec::new()),
        }
    }

    /// Whether it is asked by SQL.
    pub fn speaks_sql(&self) -> bool {
        matches!(self.reader, Reader::Sql(_))
    }

    /// Every key below a prefix, a page at a time, in the store's own order.
    pub async fn keys(&mut self, prefix: &str, page: impl FnMut(Vec<Entry>)) -> Result<(), Error> {
        let revision = self.snapshot.revision;
        match &mut self.reader {
            Reader::Api(api) => api.keys(prefix, revision, page).await,
            Reader::Sql(sql) => sql.keys(prefix, revision, page).await,
        }
    }

    /// What there is of each resource.
    pub async fn tally(&mut self) -> Result<BTreeMap<String, Tally>, Error> {
        let revision = self.snapshot.revision;
        let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
        match &mut self.reader {
            Reader::Sql(sql) => tallies.extend(sql.tally(revision).await?),
            Reader::Api(api) => {
                let page = |pairs: Vec<KeyValue>| {
                    for pair in pairs {
                        let tally = tallies.entry(key::resource(&api::text(&pair.key)).to_owned()).or_default();
                        tally.objects += 1;
                        tally.bytes += pair.value.len() as u64;
                    }
                };
                api.values(ROOT, revision, page).await?;
            }
        }
        Ok(tallies)
    }

    /// The `many` keys that stand out most.
    pub async fn top(&mut self, many: usize) -> Result<Top, Error> {
        let revision = self.snapshot.revision;
        let api = match &mut self.reader {
            Reader::Sql(sql) => {
                let largest = sql.largest(revision, many).await?;
                return Ok(Top { largest, rewritten: Some(sql.rewritten(revision, many).await?) });
            }
            Reader::Api(api) => api,
        };
        let (mut largest, mut rewritten) = (Vec::new(), Vec::new());
        api.values(ROOT, revision, |pairs| {
            for pair in pairs {
                let (key, bytes) = (api::text(&pair.key), pair.value.len() as u64);
                if pair.version > 1 {
                    rewritten.push(Heavy { key: key.clone(), amount: pair.version });
                }
                largest.push(Heavy { key, amount: bytes });
            }
            heaviest(&mut largest, many);
            heaviest(&mut rewritten, many);
        })
        .await?;
        Ok(Top { largest, rewritten: Some(rewritten).filter(|found| !found.is_empty()) })
    }

    /// A key as of a revision, or as it is.
    pub async fn at(&mut self, key: &str, revision: Option<u64>) -> Result<Option<Version>, Error> {
        let Snapshot { revision: newest, compacted } = self.snapshot;
        let revision = revision.unwrap_or(newest);
        if revision > newest {
            return Err(refused(format!("there is no revision {revision}: the newest is {newest}")));
        }
        if let Some(compacted) = compacted.filter(|compacted| revision < *compacted) {
            return Err(refused(format!("revision {revision} is gone: the store is compacted to {compacted}")));
        }
        match &mut self.reader {
            Reader::Api(api) => api.at(key, revision).await,
            Reader::Sql(sql) => sql.at(key, revision).await,
        }
    }

    /// Everything that is kept of a key, oldest first, and the revision that the store is compacted to.
    pub async fn history(&mut self, key: &str, mut each: impl FnMut(Version)) -> Result<u64, Error> {
        let Snapshot { revision, compacted } = self.snapshot;
        match &mut self.reader {
            Reader::Api(api) => {
                let kept = api.kept(key, revision).await?;
                for change in kept.changes {
                    let (revision, deleted) = (change.pair.mod_revision, change.deleted);
                    each(Version { revision, deleted, value: change.pair.value });
                }
                Ok(kept.compacted)
            }
            Reader::Sql(sql) => {
                sql.kept(key, revision, each).await?;
                Ok(compacted.unwrap_or_default())
            }
        }
    }

    /// Runs one SQL statement in a transaction that can only read. The first row is the columns' names.
    pub async fn query(&mut self, statement: &str, each: impl FnMut(&[Option<String>])) -> Result<(), Error> {
        match &mut self.reader {
            Reader::Sql(sql) => sql.query(statement, each).await,
            Reader::Api(_) => {
                let failure = Failure::new(Kind::Datastore, format!("there is no SQL to ask {} with", self.engine));
                Err(Error::Store(failure.hint("a SQLite file is asked where its host has sqlite3 or python3; `etcdless datastore ls` needs neither")))
            }
        }
    }
}

fn heaviest(found: &mut Vec<Heavy>, many: usize) {
    found.sort_by(|a, b| b.amount.cmp(&a.amount).then_with(|| a.key.cmp(&b.key)));
    found.truncate(many);
}

fn refused(why: String) -> Error {
    Error::Store(
        Failure::new(Kind::Usage, why).hint("`etcdless datastore history` says which revisions are kept of a key"),
    )
}

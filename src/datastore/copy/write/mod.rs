//! A store that is being filled: a database server's, or a SQLite file that is made here and then sent to its host.
//!
//! kine must not run on it meanwhile. Until it is finished a table of ours stands beside kine's, so that what a copy left that was cut off is
//! known as such, and nobody else's rows are ever removed.

mod mysql;
mod postgres;
mod sqlite;

use sqlx::mysql::MySqlConnection;
use sqlx::postgres::PgConnection;
use tokio::sync::mpsc;

use super::digest::Digest;
use super::read::{self, Out, ReadError};
use super::{BOOKKEEPING, Change, Row, Span, UNDER_WAY, counted};
use crate::datastore::check::{Refusal, Way};
use crate::datastore::explore::sql::Server;
use crate::datastore::explore::{self, Place};
use crate::failure::{Failure, Kind};
use crate::remote::Host;

pub use sqlite::{File, Finished};

/// The table that says that a copy is not finished.
const UNFINISHED: &str = "etcdless_copy";

/// How far revisions of a store that was moved are above all that it had: whoever watches must be told that the old ones are gone, and no
/// revision may ever mean two things.
pub const BUMP: u64 = 1_000_000;

/// A store that is being filled.
pub struct Sink(Store);

enum Store {
    /// With the way that the connection takes.
    Postgres(PgConnection, #[expect(dead_code, reason = "the connection goes through it")] Way),
    /// MySQL or MariaDB.
    Mysql(MySqlConnection, #[expect(dead_code, reason = "the connection goes through it")] Way),
    /// SQLite.
    File(Box<File>),
}

/// A row as kine's table has it, but for `old_value`, which is only kept for watchers of what was before.
struct Line<'a> {
    id: i64,
    name: &'a str,
    created: i32,
    create_revision: i64,
    prev_revision: i64,
    lease: i32,
    value: &'a [u8],
}

impl<'a> From<&'a Row> for Line<'a> {
    /// Of a row that was never rewritten kine takes the revision of creation from its own.
    fn from(row: &'a Row) -> Self {
        let is_created = row.created == row.revision;
        Line {
            id: row.revision.cast_signed(),
            name: &row.key,
            created: is_created.into(),
            create_revision: if is_created { 0 } else { row.created.cast_signed() },
            prev_revision: 0,
            lease: i32::try_from(row.lease).unwrap_or(i32::MAX),
            value: &row.value,
        }
    }
}

/// kine's own row at the top: the store begins at this revision, and is compacted to it.
fn top(revision: u64) -> Line<'static> {
    let id = revision.cast_signed();
    Line { id, name: BOOKKEEPING[0], created: 1, create_revision: 0, prev_revision: id, lease: 0, value: b"" }
}

/// What is in a store that is to be filled.
enum Content {
    /// No table of kine's.
    Nothing,
    /// As many keys of an API server's, and the newest revision.
    Keys(u64, u64),
    /// What a copy wrote that was not finished.
    Unfinished,
}

impl Sink {
    /// Why a server's store may not be filled: it holds what no unfinished copy left. Nothing is changed.
    pub async fn refusal(host: &Host, place: &Place) -> Result<Option<Failure>, explore::Error> {
        match Self::again(host, place).await? {
            Some(mut sink) => sink.refused(None).await,
            None => Ok(None),
        }
    }

    async fn refused(&mut self, unused: Option<u64>) -> Result<Option<Failure>, explore::Error> {
        let content = match &mut self.0 {
            Store::Postgres(connection, _) => postgres::content(connection).await,
            Store::Mysql(connection, _) => mysql::content(connection).await,
            Store::File(_) => Ok(Content::Nothing),
        };
        let keys = match content.map_err(failed)? {
            Content::Keys(keys @ 1.., newest) if unused != Some(newest) => keys,
            _ => return Ok(None),
        };
        let message = format!("the database is not empty: it holds {keys} keys of an API server's");
        let failure = Failure::new(Kind::Datastore, message)
            .hint("a store is only filled where it is empty; etcdless removes nobody's data")
            .hint("name another database, or drop its table `kine` yourself if nothing needs it");
        Ok(Some(failure))
    }

    /// Goes to a server's store, which must be empty, or hold only what a copy left that was not finished: that is removed. SQLite begins with
    /// a file of its own.
    pub async fn open(host: &Host, place: &Place) -> Result<Self, explore::Error> {
        Self::anew(host, place, None).await
    }

    /// The same, where a copy may have been finished that nobody used: it is removed as long as nothing is in it above the revision that it was
    /// finished at.
    pub async fn anew(host: &Host, place: &Place, unused: Option<u64>) -> Result<Self, explore::Error> {
        let Some(mut sink) = Self::again(host, place).await? else { return Self::file().await };
        if let Some(failure) = sink.refused(unused).await? {
            return Err(explore::Error::Store(failure));
        }
        match &mut sink.0 {
            Store::Postgres(connection, _) => postgres::begin(connection).await,
            Store::Mysql(connection, _) => mysql::begin(connection).await,
            Store::File(_) => Ok(()),
        }
        .map_err(failed)?;
        Ok(sink)
    }

    /// Goes to a server's store that holds what another one went on with, and is to be brought up to it; nothing where no server keeps it.
    pub async fn again(host: &Host, place: &Place) -> Result<Option<Self>, explore::Error> {
        Ok(match place.server(host).await? {
            Some(Server::Postgres(connection, way)) => Some(Self(Store::Postgres(connection, way))),
            Some(Server::Mysql(connection, way)) => Some(Self(Store::Mysql(connection, way))),
            Some(Server::Sqlite(..)) | None => None,
        })
    }

    /// A SQLite file, made in a temporary folder of this machine.
    pub async fn file() -> Result<Self, explore::Error> {
        let file = File::create().await.map_err(failed)?;
        Ok(Self(Store::File(Box::new(file))))
    }

    /// Writes everything that comes into an empty store, and says what that was. `each` is told of every batch that is written.
    pub async fn fill(
        &mut self,
        mut rows: mpsc::Receiver<Vec<Change>>,
        mut each: impl FnMut(&Digest),
    ) -> Result<Digest, explore::Error> {
        let mut digest = Digest::default();
        while let Some(changes) = rows.recv().await {
            let rows: Vec<&Row> = changes.iter().filter_map(Change::row).collect();
            rows.iter().for_each(|row| digest.add(row));
            let lines: Vec<Line<'_>> = rows.into_iter().map(Line::from).collect();
            self.insert(&lines).await?;
            each(&digest);
        }
        Ok(digest)
    }

    /// Writes what changed since: each key in the place of what it was.
    pub async fn apply(&mut self, changes: &[Change]) -> Result<(), explore::Error> {
        let names: Vec<&str> = changes.iter().map(Change::key).collect();
        self.delete(&names).await?;
        let lines: Vec<Line<'_>> = changes.iter().filter_map(Change::row).map(Line::from).collect();
        self.insert(&lines).await
    }

    /// What is in it of some revisions, read back.
    pub async fn digest(&mut self, span: Span) -> Result<Digest, explore::Error> {
        let (out, rows) = mpsc::channel(UNDER_WAY);
        let (read, digest) = tokio::join!(self.read(span, out), counted(rows));
        read.map(|()| digest)
    }

    /// The names of its keys, without those of kine's own bookkeeping.
    pub async fn names(&mut self, mut each: impl FnMut(String)) -> Result<(), explore::Error> {
        let each = |name: String| {
            if !BOOKKEEPING.contains(&name.as_str()) {
                each(name);
            }
        };
        match &mut self.0 {
            Store::Postgres(connection, _) => read::names_of_postgres(connection, each).await,
            Store::Mysql(connection, _) => read::names_of_mysql(connection, each).await,
            Store::File(file) => read::names_of_sqlite(file.connection(), each).await,
        }
        .map_err(failed)
    }

    async fn read(&mut self, span: Span, out: Out) -> Result<(), explore::Error> {
        let read = match &mut self.0 {
            Store::Postgres(connection, _) => read::postgres(connection, span, &read::all(), &out).await,
            Store::Mysql(connection, _) => read::mysql(connection, span, &read::all(), &out).await,
            Store::File(file) => read::sqlite(file.connection(), span, &out).await,
        };
        match read {
            Ok(()) | Err(ReadError::Gone(_)) => Ok(()),
            Err(ReadError::Sql(error)) => Err(failed(error)),
        }
    }

    /// Makes it a store that kine goes on with: at `revision`, which must be above all that it holds, and compacted to that.
    pub async fn finish(&mut self, revision: u64) -> Result<(), explore::Error> {
        self.delete(&BOOKKEEPING).await?;
        self.insert(&[top(revision)]).await?;
        match &mut self.0 {
            Store::Postgres(connection, _) => postgres::end(connection, revision).await,
            Store::Mysql(connection, _) => mysql::end(connection, revision).await,
            Store::File(file) => file.end().await,
        }
        .map_err(failed)
    }

    /// The finished file, where it is one.
    pub fn into_file(self) -> Option<File> {
        match self.0 {
            Store::File(file) => Some(*file),
            Store::Postgres(..) | Store::Mysql(..) => None,
        }
    }

    async fn insert(&mut self, lines: &[Line<'_>]) -> Result<(), explore::Error> {
        match &mut self.0 {
            _ if lines.is_empty() => Ok(()),
            Store::Postgres(connection, _) => postgres::insert(connection, lines).await,
            Store::Mysql(connection, _) => mysql::insert(connection, lines).await,
            Store::File(file) => file.insert(lines).await,
        }
        .map_err(failed)
    }

    async fn delete(&mut self, names: &[&str]) -> Result<(), explore::Error> {
        match &mut self.0 {
            Store::Postgres(connection, _) => postgres::delete(connection, names).await,
            Store::Mysql(connection, _) => mysql::delete(connection, names).await,
            Store::File(file) => file.delete(names).await,
        }
        .map_err(failed)
    }
}

fn failed(error: sqlx::Error) -> explore::Error {
    let why = Refusal::from(error).message;
    let failure = Failure::new(Kind::Datastore, format!("the store cannot be filled: {why}"));
    explore::Error::Store(
        failure.hint("`etcdless datastore check` says how the database is; running again begins anew"),
    )
}

//! SQLite: a file that is made on this machine, since hosts need no program for it.

use std::path::PathBuf;

use sqlx::sqlite::{Sqlite, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Executor, QueryBuilder};
use tempfile::TempDir;

use super::Line;
use crate::datastore::explore;

const SCHEMA: &str = include_str!("schema/sqlite.sql");

/// What it is called in its folder.
const NAME: &str = "store.db";

/// Rows a statement: eight parameters each, and SQLite takes 32766.
const ROWS: usize = 1000;

/// A store's file in a folder that goes with it.
#[derive(Debug)]
pub struct File {
    folder: TempDir,
    connection: SqliteConnection,
}

impl File {
    /// An empty store. Nothing is kept safe until it is finished: what is cut off is made anew.
    pub(super) async fn create() -> Result<Self, sqlx::Error> {
        let folder = tempfile::tempdir()?;
        let options = SqliteConnectOptions::new()
            .filename(folder.path().join(NAME))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Memory)
            .synchronous(SqliteSynchronous::Off);
        let mut connection = options.connect().await?;
        connection.execute(sqlx::raw_sql(SCHEMA)).await?;
        Ok(Self { folder, connection })
    }

    pub(super) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }

    pub(super) async fn insert(&mut self, lines: &[Line<'_>]) -> Result<(), sqlx::Error> {
        let mut transaction = self.connection.begin().await?;
        for lines in lines.chunks(ROWS) {
            let mut insert = QueryBuilder::<Sqlite>::new(
                "INSERT INTO kine (id, name, created, deleted, create_revision, prev_revision, lease, value) ",
            );
            insert.push_values(lines, |mut row, line| {
                row.push_bind(line.id).push_bind(line.name).push_bind(line.created).push_bind(0);
                row.push_bind(line.create_revision).push_bind(line.prev_revision);
                row.push_bind(line.lease).push_bind(line.value);
            });
            insert.build().persistent(false).execute(&mut *transaction).await?;
        }
        transaction.commit().await
    }

    pub(super) async fn delete(&mut self, names: &[&str]) -> Result<(), sqlx::Error> {
        let mut transaction = self.connection.begin().await?;
        for name in names {
            sqlx::query("DELETE FROM kine WHERE name = ?").bind(*name).execute(&mut *transaction).await?;
        }
        transaction.commit().await
    }

    /// Closes it.
    pub async fn close(self) -> Result<Finished, explore::Error> {
        self.connection.close().await.map_err(super::failed)?;
        Ok(Finished { folder: self.folder })
    }

    /// The sequence follows the highest id by itself.
    pub(super) async fn end(&mut self) -> Result<(), sqlx::Error> {
        self.connection.execute("ANALYZE").await.map(drop)
    }
}

/// A finished file, which nobody has open. It goes with its folder.
#[derive(Debug)]
pub struct Finished {
    folder: TempDir,
}

impl Finished {
    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join(NAME)
    }
}

//! A store, an empty one beside it on the same server or in the same folder, and the tools that copy between them.

use std::path::PathBuf;

use clap::ValueEnum;
use etcdless::cluster::kine::probe::Endpoint;
use etcdless::datastore::copy::write::{Finished, Sink};
use etcdless::datastore::explore::{self, Error, Place, Store};
use etcdless::remote::Host;
use serde_json::json;
use tempfile::TempDir;

use crate::servers::{folder, program};
use crate::{mariadb_server, postgres_server, said};

/// The database that is copied into, beside `kine`.
const COPY: &str = "copy";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
    Mariadb,
}

impl Engine {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
            Self::Mariadb => "MariaDB",
        }
    }
}

/// What an engine brings to copy a database with.
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    pub(crate) command: String,
}

pub(crate) struct Pair {
    pub(crate) engine: Engine,
    from: Place,
    into: Place,
    home: Home,
}

enum Home {
    Sqlite { folder: TempDir, origin: Option<Finished> },
    Postgres(postgres_server::Server),
    Mariadb(mariadb_server::Server),
}

impl Pair {
    /// Nothing where there are no programs for it; why is told.
    pub(crate) async fn start(engine: Engine) -> Option<Self> {
        let place = |cluster, credentials| explore::places(&cluster, &[credentials]).remove(0);
        match engine {
            Engine::Sqlite => {
                if program("sqlite3").is_none() {
                    eprintln!("skipped: sqlite3 is not installed");
                    return None;
                }
                let folder = folder();
                let into = file(&folder.path().join("copy.db"));
                // Where it is filled is known once that is done.
                Some(Self { engine, from: file(&PathBuf::new()), into, home: Home::Sqlite { folder, origin: None } })
            }
            Engine::Postgres => {
                let server = postgres_server::Server::start()?;
                // Tests do without it.
                server.set(&[("fsync", "on")]);
                server.sql("postgres", &format!("CREATE DATABASE {COPY} OWNER kine"));
                let from = place(server.cluster(json!({})), postgres_server::credentials());
                let into = place(server.cluster(json!({ "database": COPY })), postgres_server::credentials());
                Some(Self { engine, from, into, home: Home::Postgres(server) })
            }
            Engine::Mariadb => {
                // The defaults, in the place of what tests are started with.
                let settings = ["--innodb-buffer-pool-size=128M", "--innodb-flush-log-at-trx-commit=1"];
                let server = mariadb_server::Server::start(&settings).await?;
                server.sql(&format!("CREATE DATABASE {COPY}; GRANT ALL ON {COPY}.* TO kine@'%'")).await;
                let from = place(server.cluster(json!({})), mariadb_server::credentials());
                let into = place(server.cluster(json!({ "database": COPY })), mariadb_server::credentials());
                Some(Self { engine, from, into, home: Home::Mariadb(server) })
            }
        }
    }

    pub(crate) fn from(&self) -> &Place {
        &self.from
    }

    /// What was copied by a tool.
    pub(crate) async fn copied<'a>(&self, host: &'a Host) -> Result<Store<'a>, String> {
        self.into.open(host, 600).await.map_err(said)
    }

    /// The store that is copied, still empty.
    pub(crate) async fn origin(&self, host: &Host) -> Result<Sink, Error> {
        Sink::open(host, &self.from).await
    }

    /// Keeps it, once it is full.
    pub(crate) async fn keep(&mut self, sink: Sink) -> Result<(), Error> {
        if let (Home::Sqlite { origin, .. }, Some(made)) = (&mut self.home, sink.into_file()) {
            let made = made.close().await?;
            self.from = file(&made.path());
            *origin = Some(made);
        }
        Ok(())
    }

    /// What etcdless copies into. Of SQLite's it makes the file itself.
    pub(crate) async fn sink(&self, host: &Host) -> Result<Sink, Error> {
        Sink::open(host, &self.into).await
    }

    /// Removes what was copied.
    pub(crate) async fn clear(&self) {
        match &self.home {
            Home::Sqlite { folder, .. } => {
                for name in ["copy.db", "copy.db-wal", "copy.db-shm"] {
                    let _none = std::fs::remove_file(folder.path().join(name));
                }
            }
            Home::Postgres(server) => drop(server.sql(COPY, "DROP TABLE IF EXISTS kine; CHECKPOINT")),
            Home::Mariadb(server) => server.sql(&format!("DROP TABLE IF EXISTS {COPY}.kine")).await,
        }
    }

    pub(crate) fn tools(&self) -> Vec<Tool> {
        match &self.home {
            Home::Sqlite { folder, origin } => {
                let from = origin.as_ref().map(|origin| origin.path().display().to_string()).unwrap_or_default();
                let into = folder.path().join("copy.db").display().to_string();
                vec![
                    Tool {
                        name: "`.dump`, `sqlite3`",
                        command: format!("sqlite3 {from} '.dump kine' | sqlite3 {into}"),
                    },
                    Tool { name: "`.backup`", command: format!("sqlite3 {from} '.backup {into}'") },
                ]
            }
            Home::Postgres(server) => {
                let at = format!("-h {} -p {} -U postgres", server.path("").display(), server.port);
                let custom = format!("pg_dump {at} -Fc kine | pg_restore {at} -d {COPY}");
                vec![
                    Tool {
                        name: "`pg_dump`, `psql`",
                        command: format!("pg_dump {at} kine | psql {at} -Xq -v ON_ERROR_STOP=1 {COPY} >/dev/null"),
                    },
                    Tool { name: "`pg_dump -Fc`, `pg_restore`", command: custom },
                ]
            }
            Home::Mariadb(server) => {
                let at = format!("--no-defaults -S {} -u root", server.path("sock").display());
                let dump = format!("mariadb-dump {at} --single-transaction --quick --hex-blob kine");
                vec![Tool { name: "`mariadb-dump`, `mariadb`", command: format!("{dump} | mariadb {at} {COPY}") }]
            }
        }
    }
}

/// A SQLite file on this machine, which no kine serves.
fn file(path: &std::path::Path) -> Place {
    explore::sqlite("main", path.display().to_string(), Endpoint::Unix { socket: "/nowhere".into() })
}

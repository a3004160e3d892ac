//! Phase `datastore`: what the SQL database needs on a host before kine opens it.

use super::{Context, Step};
use crate::config::Datastore;
use crate::datastore::sqlite;
use crate::failure::Failure;
use crate::op::Op;

/// What this phase wants on a host.
pub fn steps(context: &Context<'_>) -> Result<Vec<Step>, Failure> {
    match context.cluster.spec.datastore {
        Datastore::Sqlite(_) => {
            let folder = Op::Directory { path: sqlite::DIRECTORY.into(), mode: 0o700 };
            Ok(vec![Step::new("datastore/folder", "make the folder of the SQLite file", folder)])
        }
        // The server is somebody else's.
        Datastore::Postgres(_) | Datastore::Mysql(_) | Datastore::Mariadb(_) | Datastore::Other(_) => Ok(Vec::new()),
    }
}

//! Phase `datastore`: what the SQL database needs on a host before kine opens it.

use super::{Context, Step};
use crate::config::Datastore;
use crate::datastore::sqlite;
use crate::failure::Failure;
use crate::op::Op;

/// What this phase wants on a host. A server is somebody else's.
pub fn steps(context: &Context<'_>) -> Result<Vec<Step>, Failure> {
    let sqlite = context.cluster.datastores().any(|(_, datastore)| matches!(datastore, Datastore::Sqlite(_)));
    let folder = Op::Directory { path: sqlite::DIRECTORY.into(), mode: 0o700 };
    let step = sqlite.then(|| Step::new("datastore/folder", "make the folder of the SQLite files", folder));
    Ok(step.into_iter().collect())
}

//! `datastore`: one file a verb.

mod check;
mod status;

use super::Ended;
use crate::cli::datastore::Datastore;

pub(super) use check::check;

pub(super) async fn run(args: Datastore) -> Result<(), Ended> {
    match args {
        Datastore::Check(args) => check::run(args).await,
        Datastore::Status(args) => status::run(args).await,
    }
}

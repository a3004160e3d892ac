//! `datastore`: one file a verb.

mod check;
mod compact;
mod count;
mod diff;
mod get;
mod history;
mod ls;
pub(super) mod open;
mod query;
mod status;
mod top;
mod vacuum;

use super::Ended;
use crate::cli::datastore::Datastore;

pub(super) use check::check;

pub(super) async fn run(args: Datastore) -> Result<(), Ended> {
    match args {
        Datastore::Check(args) => check::run(args).await,
        Datastore::Status(args) => status::run(args).await,
        Datastore::Ls(args) => ls::run(args).await,
        Datastore::Count(args) => count::run(args).await,
        Datastore::Get(args) => get::run(args).await,
        Datastore::History(args) => history::run(args).await,
        Datastore::Diff(args) => diff::run(args).await,
        Datastore::Top(args) => top::run(args).await,
        Datastore::Query(args) => query::run(args).await,
        Datastore::Compact(args) => compact::run(args).await,
        Datastore::Vacuum(args) => vacuum::run(args).await,
    }
}

//! Taking away what a store that goes on being used holds for nobody any more.

use futures_util::{StreamExt, TryStreamExt, stream};

use crate::cluster::kine::probe;
use crate::datastore::explore::{Error, Place};
use crate::failure::{Failure, Kind};
use crate::remote::Host;

/// Keys that are deleted over one command on the host, and commands at once. Each key is a commit of the database's.
const KEYS: usize = 200;
const AT_ONCE: usize = 4;

/// Deletes every key that begins with a prefix, through the store's own kine, so that whoever else uses the store sees it as they see all that is
/// deleted. How many keys that were.
pub async fn below(host: &Host, place: &Place, prefixes: &[String], seconds: u64) -> Result<u64, Error> {
    let mut keys = Vec::new();
    let mut store = place.open(host, seconds).await?;
    for prefix in prefixes {
        store.keys(prefix, |page| keys.extend(page.into_iter().map(|entry| entry.key))).await?;
    }
    drop(store);
    let endpoint = place.endpoint();
    let gone = stream::iter(keys.chunks(KEYS)).map(async |keys| {
        probe::delete(host, endpoint, keys, seconds).await.map_err(|error| {
            let failure = Failure::new(Kind::Datastore, format!("keys of {} cannot be deleted: {error}", place.shard));
            Error::Store(failure.hint("running the same command again deletes the rest"))
        })
    });
    gone.buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    Ok(keys.len() as u64)
}

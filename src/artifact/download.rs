//! A file of a release as a stream, for `--delivery push`. Nothing of it is held: bytes go on as they come.

use std::io;

use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::StatusCode;
use tokio_util::io::StreamReader;

use super::http;
use super::store::Opened;
use crate::failure::{Failure, Kind};
use crate::op::Fetch;
use crate::remote::Payload;

/// Opens a file of a release as a stream (`--delivery push`), with its length in bytes (0 where the source does not tell).
///
/// A transfer that ends early is an error of the stream that names file, URL and bytes so far. Trying again is the caller's.
pub async fn open(fetch: &Fetch) -> Result<(Payload, u64), Failure> {
    let Fetch { name, version, url, .. } = fetch;
    let failure = |why: String| {
        Failure::new(Kind::Step, format!("{name} {version} cannot be fetched from {url}: {why}"))
            .hint("run the same command again; `--mirror URL` names another source")
    };
    let response = http::client()?.get(url).send().await.map_err(|error| failure(http::cause(&error)))?;
    if !response.status().is_success() {
        return Err(failure(format!("HTTP {}", response.status())));
    }
    let total = response.content_length().unwrap_or(fetch.size);
    let chunks = response.bytes_stream().map_err(|error| http::cause(&error)).boxed();
    let what = format!("{name} {version} from {url}");
    // HTTP alone does not notice a cut where the server announced no length, so bytes are counted here.
    let counted = stream::try_unfold((chunks, 0_u64), move |(mut chunks, done)| {
        let what = what.clone();
        async move {
            let cut = |why: &str| io::Error::other(format!("{what} ended after {done} of {total} bytes{why}"));
            match chunks.next().await {
                Some(Ok(bytes)) => {
                    let done = done + bytes.len() as u64;
                    Ok(Some((bytes, (chunks, done))))
                }
                Some(Err(why)) => Err(cut(&format!(": {why}"))),
                None if done < total => Err(cut("")),
                None => Ok(None),
            }
        }
    });
    Ok((Box::new(StreamReader::new(counted.boxed())), total))
}

/// Opens a URL from a byte on, or from the start where the server knows no ranges. `what` is for people.
pub(super) async fn range(url: &str, what: &str, from: u64) -> Result<Opened, Failure> {
    let failure = |why: String| {
        Failure::new(Kind::Step, format!("{what} cannot be fetched from {url}: {why}"))
            .hint("run the same command again: what came already is kept")
    };
    let mut request = http::client()?.get(url);
    if from > 0 {
        request = request.header(reqwest::header::RANGE, format!("bytes={from}-"));
    }
    let response = request.send().await.map_err(|error| failure(http::cause(&error)))?;
    let from = match response.status() {
        StatusCode::PARTIAL_CONTENT => from,
        status if status.is_success() => 0,
        status => return Err(failure(format!("HTTP {}", status.as_u16()))),
    };
    let chunks = response.bytes_stream().map_err(|error| io::Error::other(http::cause(&error)));
    Ok(Opened { from, chunks: chunks.boxed() })
}

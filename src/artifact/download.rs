//! stub
use crate::failure::Failure;
use crate::op::Fetch;
use crate::remote::Payload;

/// Opens a file of a release as a stream (`--delivery push`).
pub async fn open(_fetch: &Fetch) -> Result<(Payload, u64), Failure> {
    todo!()
}

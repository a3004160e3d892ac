//! stub
use crate::config::Artifacts;
use crate::failure::Failure;
use crate::remote::Payload;

/// Opens an image as an OCI layout tar stream that `ctr images import` reads (`--delivery push`), with its length in bytes.
pub async fn open(_artifacts: &Artifacts, _reference: &str, _arch: &str) -> Result<(Payload, u64), Failure> {
    todo!()
}

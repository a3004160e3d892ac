//! stub
use super::*;
use crate::facts::{Facts, Probes};
use crate::journal::Record;
use crate::op::Op;

/// A connected host: over SSH, or this machine.
#[derive(Debug)]
pub struct Host {}

impl Query for Host {
    async fn facts(&self, _probes: &Probes) -> Result<Facts, RemoteError> {
        todo!()
    }
    async fn ask(&self, _question: Question) -> Result<Output, RemoteError> {
        todo!()
    }
}
impl Mutate for Host {
    async fn apply(
        &self,
        _op: &Op,
        _record: &Record,
        _payload: Option<Payload>,
        _signals: &Signals,
    ) -> Result<(), RemoteError> {
        todo!()
    }
}

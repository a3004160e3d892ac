//! stub
use super::{Context, Step};
use crate::failure::Failure;

/// What this phase wants on a host.
pub fn steps(_context: &Context<'_>) -> Result<Vec<Step>, Failure> {
    todo!()
}

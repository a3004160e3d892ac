//! `remove`.
use super::Ended;
use crate::cli::Remove;
pub(super) async fn run(_args: Remove) -> Result<(), Ended> { Ok(()) }

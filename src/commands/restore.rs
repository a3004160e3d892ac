//! stub
use super::Ended;
pub(super) async fn run(_args: crate::cli::Restore) -> Result<(), Ended> {
    Ok(())
}

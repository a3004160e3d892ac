//! `mirror`: what clusters need from outside.

mod content;
mod images;
mod list;
mod push;
mod save;
mod serve;
mod verify;

use super::Ended;
use crate::cli::mirror::Mirror;

pub(super) async fn run(args: Mirror) -> Result<(), Ended> {
    match args {
        Mirror::List(args) => list::run(args).await,
        Mirror::Save(args) => save::run(args).await,
        Mirror::Verify(args) => verify::run(args).await,
        Mirror::Serve(args) => serve::run(args).await,
        Mirror::Push(args) => push::run(args).await,
        Mirror::Images(args) => images::run(args).await,
    }
}

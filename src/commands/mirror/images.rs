//! `mirror images`: list, tag, pull, push.

use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::super::Ended;
use super::content::Wanted;
use super::{push, save};
use crate::artifact::registry::{Registry, tag};
use crate::cli::mirror::{ImagesList, ImagesTag, MirrorImages};
use crate::facts::Os;
use crate::failure::Failure;
use crate::ui;

/// How many digests are asked for at a time.
const SIDE_BY_SIDE: usize = 4;

pub(super) async fn run(args: MirrorImages) -> Result<(), Ended> {
    match args {
        MirrorImages::List(args) => Ok(list(&args).await?),
        MirrorImages::Tag(args) => Ok(retag(&args).await?),
        MirrorImages::Pull(args) => save::images(args).await,
        MirrorImages::Push(args) => push::run(args).await,
    }
}

async fn list(args: &ImagesList) -> Result<(), Failure> {
    let wanted = Wanted::of(&args.clusters)?;
    let mut references: Vec<String> = wanted.needs(&Os::expected())?.images.into_iter().collect();
    if args.digests {
        let source = &Registry::of(&wanted.artifacts)?;
        let named = stream::iter(references).map(|reference| async move {
            source.digest(&reference).await.map(|digest| format!("{reference}@{digest}"))
        });
        references = named.buffered(SIDE_BY_SIDE).try_collect().await?;
    }
    ui::result(&references.join("\n"));
    Ok(())
}

async fn retag(args: &ImagesTag) -> Result<(), Failure> {
    let tagged = tag(&args.source, &args.target, args.trust.registry_ca.as_deref()).await?;
    ui::result(&tagged);
    Ok(())
}

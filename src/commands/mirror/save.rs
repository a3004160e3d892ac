//! `mirror save`: everything into the store, and from there into one file. `mirror images pull`: the same with images alone.

use std::collections::BTreeSet;
use std::path::Path;

use super::content::Wanted;
use crate::artifact::bundle::{self, Bundle, Gathered, Manifest, Moved};
use crate::artifact::image::Blob;
use crate::artifact::store::Store;
use crate::cli::mirror::{ImagesPull, Save};
use crate::commands::progress::Progress;
use crate::commands::{Ended, session};
use crate::config::Artifacts;
use crate::failure::{Failure, Kind};
use crate::ui::{self, Format, Ui};

pub(super) async fn run(args: Save) -> Result<(), Ended> {
    let wanted = Wanted::from(&args.clusters, &args.sources)?;
    replaceable(&args.into.out)?;
    let mut bases = Vec::new();
    for path in &args.since {
        bases.push(Bundle::open(path)?);
    }
    let store = Store::open(args.into.cache.as_deref())?;
    session::under_ui(args.show, |ui, _| async move {
        let (gathered, needs) = wanted.ask(&ui, &args.sources.packages).await?;
        if gathered.packages.is_empty() && !needs.packages.is_empty() {
            let names = super::content::listed(&needs.packages);
            ui.note(None, format!("without packages: hosts must have {names} already (--packages-from brings them)"));
        }
        keep(&ui, &gathered, &wanted.artifacts, &store, &bases, &args.into.out).await
    })
    .await
}

/// `mirror images pull`: the images alone.
pub(super) async fn images(args: ImagesPull) -> Result<(), Ended> {
    let wanted = Wanted::through(&args.clusters, &args.arch, None, args.registry.as_ref())?;
    replaceable(&args.into.out)?;
    let store = Store::open(args.into.cache.as_deref())?;
    session::under_ui(args.show, |ui, _| async move {
        let gathered = wanted.ask_images(&ui).await?;
        keep(&ui, &gathered, &wanted.artifacts, &store, &[], &args.into.out).await
    })
    .await
}

/// From what the sources said to a file.
async fn keep(
    ui: &Ui,
    gathered: &Gathered,
    artifacts: &Artifacts,
    store: &Store,
    bases: &[Bundle],
    out: &Path,
) -> Result<(), Failure> {
    let (manifest, moved) = fetch(ui, gathered, artifacts, store, bases).await?;
    let length = write(ui, manifest.clone(), store, out).await?;
    finish(ui, &manifest, moved, length, out, store).await;
    Ok(())
}

async fn fetch(
    ui: &Ui,
    gathered: &Gathered,
    artifacts: &Artifacts,
    store: &Store,
    bases: &[Bundle],
) -> Result<(Manifest, Moved), Failure> {
    let elsewhere: BTreeSet<Blob> = bases.iter().flat_map(|base| base.manifest.blobs.iter().cloned()).collect();
    let title = format!("fetch into {}", store.root().display());
    let progress = Progress::start(ui, "mirror", "mirror/fetch", title);
    let told = progress.bytes();
    let fetched = gathered.fetch(artifacts, store, &elsewhere, told).await;
    let (mut manifest, moved) = progress.end(fetched)?;
    // One whose blobs are all elsewhere or all here needs no more than itself.
    let used = |base: &&Bundle| manifest.needed().iter().any(|blob| base.manifest.blobs.binary_search(blob).is_ok());
    manifest.since = bases.iter().filter(used).map(|base| base.sum.clone()).collect();
    Ok((manifest, moved))
}

async fn write(ui: &Ui, manifest: Manifest, store: &Store, out: &Path) -> Result<u64, Failure> {
    let progress = Progress::start(ui, "mirror", "mirror/write", format!("write {}", out.display()));
    let (told, store, out) = (progress.bytes(), store.clone(), out.to_owned());
    let written = tokio::task::spawn_blocking(move || bundle::write(&manifest, &store, &out, told)).await;
    let written = written.unwrap_or_else(|error| Err(Failure::new(Kind::Internal, error.to_string())));
    progress.end(written)
}

async fn finish(ui: &Ui, manifest: &Manifest, moved: Moved, length: u64, out: &Path, store: &Store) {
    ui.settled().await;
    if ui.format() == Format::Json {
        let line = serde_json::json!({
            "event": "saved",
            "file": out,
            "bytes": length,
            "blobs": manifest.blobs.len(),
            "fetched": { "blobs": moved.fetched, "bytes": moved.bytes },
            "kept": { "blobs": moved.kept, "bytes": moved.kept_bytes },
        });
        return ui::result(&line.to_string());
    }
    let archives: usize = manifest.packages.iter().map(|set| set.files.len()).sum();
    ui::result(&format!(
        "{}: {} files, {} images, {archives} archives of packages; {} in {} blobs\n\
         downloaded {} in {} blobs; {} in {} blobs were in {} already\n",
        out.display(),
        manifest.files.len(),
        manifest.images.len(),
        ui::bytes(length),
        manifest.blobs.len(),
        ui::bytes(moved.bytes),
        moved.fetched,
        ui::bytes(moved.kept_bytes),
        moved.kept,
        store.root().display(),
    ));
}

/// Nothing but an older bundle is replaced.
fn replaceable(out: &Path) -> Result<(), Failure> {
    use std::io::Read;
    let mut start = [0; 13];
    let read = std::fs::File::open(out).and_then(|mut file| file.read_exact(&mut start));
    match read {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Ok(()) if start == *b"bundle.sha256" => Ok(()),
        _ => Err(Failure::new(Kind::Usage, format!("{} is there already, and is no bundle", out.display()))
            .hint("choose another name for the bundle: -o FILE")),
    }
}

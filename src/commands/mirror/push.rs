//! `mirror push`: images from where they are published, or from `artifacts.registry`, into a registry.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio_util::io::ReaderStream;

use super::content::Wanted;
use crate::artifact::bundle::Bundles;
use crate::artifact::image::{Architectures, Blob, Image};
use crate::artifact::registry::{Names, Progress, Push, Registry, Tally};
use crate::cli::mirror::MirrorPush;
use crate::commands::{Ended, session};
use crate::facts::Os;
use crate::failure::{Failure, Kind};
use crate::ui::{self, Event, Format, Ui};

/// How many images are looked at at a time.
const SIDE_BY_SIDE: usize = 4;

pub(super) async fn run(args: MirrorPush) -> Result<(), Ended> {
    let architectures = architectures(&args.arch)?;
    let wanted = Wanted::of(&args.clusters)?;
    let names = if args.flat { Names::Flat } else { Names::Whole };
    let target = Registry::at(&args.registry, names, args.trust.registry_ca.as_deref())?;
    session::under_ui(args.show, |ui, interrupt| async move {
        let started = Instant::now();
        let source = source(&ui, &args.bundle, &wanted).await?;
        let references: Vec<String> = match &source {
            Source::Registry(_) => wanted.needs(&Os::expected())?.images.into_iter().collect(),
            Source::Bundles(bundles) => bundles.images().iter().map(|image| image.reference.clone()).collect(),
        };
        let names = target.names(&references)?;
        // Whoever may not push is told before anything is read.
        if let Some(reference) = references.first() {
            target.admits(reference).await?;
        }
        ui.note(None, format!("reading what {} images consist of", references.len()));
        let images = trees(&source, &references, &architectures).await?;
        let push = Push::new(target.clone(), &images, args.concurrency.into());
        let run = Run { push, host: target.host().to_owned(), source };
        if args.dry_run {
            return run.plan(&ui, &images, &names).await;
        }
        interrupt.applying.store(true, Ordering::Relaxed);
        let total = run.all(&ui, &images, &interrupt.stop).await?;
        let (seconds, changes) = (started.elapsed().as_secs_f64(), total.moved + total.mounted + total.manifests);
        tell(&ui, &run.host, total, seconds).await;
        ui.emit(Event::Finished { changes, seconds });
        Ok(())
    })
    .await
}

/// Where images come from.
#[derive(Clone)]
enum Source {
    Registry(Registry),
    Bundles(Bundles),
}

/// The bundles, every byte of which is read, or the registry that descriptions name.
async fn source(ui: &Ui, bundles: &[PathBuf], wanted: &Wanted) -> Result<Source, Failure> {
    if bundles.is_empty() {
        return Ok(Source::Registry(Registry::of(&wanted.artifacts)?));
    }
    Ok(Source::Bundles(session::verified(ui, bundles).await?))
}

async fn trees(source: &Source, references: &[String], architectures: &Architectures) -> Result<Vec<Image>, Failure> {
    match source {
        Source::Registry(registry) => {
            let images = stream::iter(references).map(|reference| registry.image(reference, architectures));
            images.buffered(SIDE_BY_SIDE).try_collect().await
        }
        Source::Bundles(bundles) => {
            stream::iter(bundles.images()).then(|image| bundles.tree(image)).try_collect().await
        }
    }
}

/// A push from a source into a registry.
struct Run {
    push: Push,
    /// What people call the registry.
    host: String,
    source: Source,
}

impl Run {
    /// What a push would send; each blob counts for the first image that has it.
    async fn plan(&self, ui: &Ui, images: &[Image], names: &[String]) -> Result<(), Failure> {
        let missing = stream::iter(images).map(|image| self.push.missing(image)).buffered(SIDE_BY_SIDE);
        let missing: Vec<Vec<Blob>> = missing.try_collect().await?;
        let mut counted: BTreeMap<String, u64> = BTreeMap::new();
        let mut lines = vec![];
        for ((image, name), blobs) in images.iter().zip(names).zip(missing) {
            let new: Vec<Blob> =
                blobs.into_iter().filter(|blob| counted.insert(blob.digest.clone(), blob.size).is_none()).collect();
            let bytes = ui::bytes(new.iter().map(|blob| blob.size).sum());
            let change = format!("{} of {} blobs, {bytes}", new.len(), image.blobs().len());
            lines.push(format!("{name}: {change}"));
            let (host, step) = (self.host.clone(), format!("push/{}", image.reference));
            ui.emit(Event::Planned { host, step, title: name.clone(), change });
        }
        if ui.format() == Format::Text {
            let bytes = ui::bytes(counted.values().sum());
            lines.push(format!("{} images, {} blobs to move ({bytes})", images.len(), counted.len()));
            ui.settled().await;
            ui::result(&lines.join("\n"));
        }
        Ok(())
    }

    /// Pushes all of them. After a first Ctrl-C those that began are finished.
    async fn all(&self, ui: &Ui, images: &[Image], stop: &std::sync::atomic::AtomicBool) -> Result<Tally, Failure> {
        let pushed = stream::iter(images).map(|image| async move {
            if stop.load(Ordering::Relaxed) { Ok(Tally::default()) } else { self.one(ui, image).await }
        });
        let add = |all: Tally, one: Tally| std::future::ready(Ok(all + one));
        let total = pushed.buffer_unordered(SIDE_BY_SIDE).try_fold(Tally::default(), add).await?;
        if total.images < images.len() {
            let message = format!("interrupted: {} of {} images are in {}", total.images, images.len(), self.host);
            return Err(Failure::new(Kind::Interrupted, message).hint("run the same command again to go on"));
        }
        Ok(total)
    }

    async fn one(&self, ui: &Ui, image: &Image) -> Result<Tally, Failure> {
        let (host, step) = (self.host.clone(), format!("push/{}", image.reference));
        let title = format!("push {}", image.reference);
        ui.emit(Event::StepStarted { host: host.clone(), step: step.clone(), title: title.clone() });
        let started = Instant::now();
        let total = image.blobs().iter().map(|blob| blob.size).sum();
        let source = |blob: &Blob| {
            let (source, reference, blob) = (self.source.clone(), image.reference.clone(), blob.clone());
            async move {
                match source {
                    Source::Registry(registry) => registry.blob(&reference, &blob, 0).await,
                    Source::Bundles(bundles) => Ok(ReaderStream::new(bundles.blob(&blob).await?).boxed()),
                }
            }
        };
        let pushed = self.push.image(image, source, progress(ui, &host, &step, total)).await;
        let seconds = started.elapsed().as_secs_f64();
        ui.emit(match &pushed {
            Ok(_) => Event::StepDone { host, step, title, seconds },
            Err(failure) => Event::StepFailed { host, step, title, message: failure.message.clone() },
        });
        pushed
    }
}

/// Shows how far an image is, each whole percent once.
fn progress(ui: &Ui, host: &str, step: &str, total: u64) -> Progress {
    let (ui, host, step, so_far) = (ui.clone(), host.to_owned(), step.to_owned(), AtomicU64::new(0));
    Arc::new(move |bytes| {
        let before = so_far.fetch_add(bytes, Ordering::Relaxed);
        let done = before + bytes;
        if before * 100 / total.max(1) < done * 100 / total.max(1) {
            ui.emit(Event::StepBytes { host: host.clone(), step: step.clone(), done, total });
        }
    })
}

async fn tell(ui: &Ui, host: &str, total: Tally, seconds: f64) {
    ui.settled().await;
    let Tally { images, moved, bytes, mounted, present, .. } = total;
    match ui.format() {
        Format::Text => ui::result(&format!(
            "{images} images are in {host}: {moved} blobs moved ({} in {}), {mounted} mounted, {present} were there",
            ui::bytes(bytes),
            ui::elapsed(seconds)
        )),
        Format::Json => ui.emit(Event::Pushed { host: host.into(), images, moved, bytes, mounted, present }),
    }
}

/// `--arch`: names, or all.
fn architectures(archs: &[String]) -> Result<Architectures, Failure> {
    let good = |arch: &String| !arch.is_empty() && arch.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    match archs {
        [all] if all == "all" => Ok(Architectures::All),
        archs if archs.iter().all(good) && !archs.iter().any(|arch| arch == "all") => {
            Ok(Architectures::These(archs.to_vec()))
        }
        _ => Err(Failure::new(Kind::Usage, format!("--arch {} is not a list of architectures", archs.join(",")))
            .hint("write amd64, arm64, both with a comma, or `all` alone")),
    }
}

//! `mirror list`: every file, image and package, with where it comes from and how large it is.

use serde::Serialize;

use super::content::{self, Wanted};
use crate::artifact::bundle::Gathered;
use crate::artifact::image::Blob;
use crate::cli::Show;
use crate::cli::mirror::{Kind, List};
use crate::commands::{Ended, session};
use crate::facts::Os;
use crate::failure::{self, Failure};
use crate::phase::needs::Needs;
use crate::ui::{self, Format};

pub(super) async fn run(args: List) -> Result<(), Ended> {
    let wanted = Wanted::from(&args.clusters, &args.sources)?;
    if let Some(kind) = args.plain {
        ui::result(&plain(&wanted.needs(&Os::expected())?, kind));
        return Ok(());
    }
    let format = args.output;
    // Progress is for people even where the result is for programs.
    let show = Show { output: Format::Text, verbose: false };
    session::under_ui(show, |ui, _| async move {
        let (gathered, needs) = wanted.ask(&ui, &args.sources.packages).await?;
        ui.settled().await;
        ui::result(&match format {
            Format::Json => json(&gathered, &needs)?,
            Format::Text => table(&gathered, &needs),
        });
        Ok(())
    })
    .await
}

fn plain(needs: &Needs, kind: Kind) -> String {
    let lines: Vec<&str> = match kind {
        Kind::Files => needs.files.iter().map(|(item, _)| item.url.as_str()).collect(),
        Kind::Images => needs.images.iter().map(String::as_str).collect(),
        Kind::Packages => needs.packages.iter().map(String::as_str).collect(),
    };
    lines.join("\n")
}

/// The JSON document: the same names as in a bundle's manifest.
#[derive(Serialize)]
struct Document<'a> {
    files: &'a [crate::artifact::bundle::File],
    images: Vec<crate::artifact::bundle::Image>,
    /// Names alone, where no machine was asked what they take.
    packages: Vec<&'a str>,
    archives: Vec<Archive<'a>>,
}

#[derive(Serialize)]
struct Archive<'a> {
    file: &'a str,
    url: &'a str,
    blob: &'a Blob,
}

fn json(gathered: &Gathered, needs: &Needs) -> Result<String, Failure> {
    let archives = gathered.packages.iter().flat_map(|(_, _, archives)| archives);
    let archives = archives.map(|archive| Archive { file: &archive.file, url: &archive.url, blob: &archive.blob });
    let document = Document {
        files: &gathered.files,
        images: gathered.images.iter().map(Into::into).collect(),
        packages: needs.packages.iter().map(String::as_str).collect(),
        archives: archives.collect(),
    };
    serde_json::to_string_pretty(&document)
        .map_err(|error| Failure::new(failure::Kind::Internal, format!("cannot write the list: {error}")))
}

fn table(gathered: &Gathered, needs: &Needs) -> String {
    let size = |bytes: u64| if bytes == 0 { "?".to_owned() } else { ui::bytes(bytes) };
    let mut rows: Vec<[String; 4]> = Vec::new();
    for file in &gathered.files {
        let name = format!("{} {} {}", file.name, file.version, file.arch);
        rows.push([name, size(file.blob.size), file.blob.digest.clone(), file.url.clone()]);
    }
    for image in &gathered.images {
        let bytes = image.blobs().iter().map(|blob| blob.size).sum();
        let platforms: Vec<&str> = image.platforms.iter().map(|platform| platform.arch.as_str()).collect();
        rows.push([
            "image ".to_owned() + &platforms.join(","),
            size(bytes),
            image.root.blob.digest.clone(),
            image.reference.clone(),
        ]);
    }
    for (release, _, archives) in &gathered.packages {
        for archive in archives {
            let name = format!("package {} {}", release.distribution, release.version);
            rows.push([name, size(archive.blob.size), archive.blob.digest.clone(), archive.file.clone()]);
        }
    }
    let widths = [0, 1].map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0));
    let mut text = String::new();
    for [name, size, digest, from] in &rows {
        text += &format!("{name:0$}  {size:>1$}  {digest}  {from}\n", widths[0], widths[1]);
    }
    let blobs = gathered.blobs();
    let bytes = blobs.iter().map(|blob| blob.size).sum();
    text += &format!(
        "{} files, {} images, {} archives of packages: {} in {} blobs, shared ones counted once\n",
        gathered.files.len(),
        gathered.images.len(),
        gathered.packages.iter().map(|(_, _, archives)| archives.len()).sum::<usize>(),
        ui::bytes(bytes),
        blobs.len(),
    );
    if gathered.packages.is_empty() && !needs.packages.is_empty() {
        text += &format!("packages: {}; --packages-from tells what they take\n", content::listed(&needs.packages));
    }
    text
}

//! `assets list|show|export|diff`: the embedded files, readable without the source.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use similar::TextDiff;

use crate::assets::Assets;
use crate::cli::Assets as Args;
use crate::failure::{Failure, Kind};
use crate::ui;

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let text = match args {
        Args::List(overlay) => list(&Assets::load(overlay.assets.as_deref())?),
        Args::Show { path, overlay } => show(&Assets::load(overlay.assets.as_deref())?, path)?,
        Args::Export { directory } => export(&Assets::load(None)?, directory)?,
        Args::Diff { directory } => diff(&Assets::load(Some(directory))?)?,
    };
    ui::result(&text);
    Ok(())
}

/// One line a file: path, the start of its SHA-256, and whether an overlay is in force.
fn list(assets: &Assets) -> String {
    let all = assets.list();
    let width = all.iter().map(|asset| asset.path.len()).max().unwrap_or(0);
    all.iter().fold(String::new(), |mut text, asset| {
        let origin = if asset.overridden { "overridden" } else { "embedded" };
        let short: String = asset.sha256.chars().take(12).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{:<width$}  {short}  {origin}", asset.path);
        text
    })
}

/// The text of one file as it is in force.
fn show(assets: &Assets, path: &str) -> Result<String, Failure> {
    assets.text(path)
}

/// Writes every file, as it is in force, below a folder that is new or empty; returns one sentence.
fn export(assets: &Assets, folder: &Path) -> Result<String, Failure> {
    let failed = |path: &Path, error: std::io::Error| {
        Failure::new(Kind::Usage, format!("{} cannot be written: {error}", path.display()))
    };
    fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    if fs::read_dir(folder).map_err(|error| failed(folder, error))?.next().is_some() {
        return Err(Failure::new(Kind::Usage, format!("{} is not empty", folder.display()))
            .hint("name a folder that is new or empty"));
    }
    let all = assets.list();
    for asset in &all {
        let path = folder.join(&asset.path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|error| failed(parent, error))?;
        }
        fs::write(&path, assets.bytes(&asset.path)?).map_err(|error| failed(&path, error))?;
    }
    Ok(format!(
        "{} files in {}; --assets {} uses them, and files that are deleted there are the embedded ones again\n",
        all.len(),
        folder.display(),
        folder.display()
    ))
}

/// What an overlay changes, as a unified diff; empty where it changes nothing.
fn diff(assets: &Assets) -> Result<String, Failure> {
    let embedded = Assets::load(None)?;
    let mut text = String::new();
    for asset in assets.list().iter().filter(|asset| asset.overridden) {
        let (old, new) = (embedded.text(&asset.path)?, assets.text(&asset.path)?);
        let diff = TextDiff::from_lines(&old, &new);
        let header = (format!("embedded/{}", asset.path), format!("overlay/{}", asset.path));
        text += &diff.unified_diff().header(&header.0, &header.1).to_string();
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used)]
    use super::*;

    const SWAP: &str = "playbooks/swap.yaml";

    #[test]
    fn what_is_exported_is_a_whole_overlay() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("new");
        let embedded = Assets::load(None).unwrap();
        export(&embedded, &target).unwrap();
        let overlay = Assets::load(Some(&target)).unwrap();
        assert!(overlay.list().iter().all(|asset| asset.overridden));
        assert_eq!(diff(&overlay).unwrap(), "");
        let again = export(&embedded, &target).unwrap_err();
        assert_eq!(again.message, format!("{} is not empty", target.display()));
    }

    #[test]
    fn an_overlay_is_listed_and_compared() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(SWAP);
        fs::create_dir(folder.path().join("playbooks")).unwrap();
        let embedded = Assets::load(None).unwrap();
        let text = show(&embedded, SWAP).unwrap();
        fs::write(&file, text.replace("name: swap-off", "name: no-swap")).unwrap();
        let overlay = Assets::load(Some(folder.path())).unwrap();
        let line = |text: &str| text.lines().find(|line| line.starts_with(SWAP)).map(str::to_owned).unwrap();
        assert!(line(&list(&embedded)).ends_with("  embedded"));
        assert!(line(&list(&overlay)).ends_with("  overridden"));
        let diff = diff(&overlay).unwrap();
        assert!(diff.starts_with("--- embedded/playbooks/swap.yaml\n+++ overlay/playbooks/swap.yaml\n@@ "), "{diff}");
        assert!(diff.contains("\n-  - name: swap-off\n+  - name: no-swap\n"), "{diff}");
    }

    #[test]
    fn an_unknown_path_names_the_closest() {
        let failure = show(&Assets::load(None).unwrap(), "playbooks/swp.yaml").unwrap_err();
        assert_eq!(failure.hints[0], "the closest name is playbooks/swap.yaml");
    }
}

//! `render`: every file that would be placed on a host, without asking any.

use std::path::Path;

use secrecy::ExposeSecret;

use super::session;
use crate::assets::Assets;
use crate::cli::Render;
use crate::config::credentials::Credentials;
use crate::failure::{Failure, Kind};
use crate::op::{File, Op};
use crate::phase::plan::Selection;
use crate::phase::survey::Desired;
use crate::ui;

pub(super) fn run(args: &Render) -> Result<(), Failure> {
    let cluster = session::describe(&args.target, Some(&args.description))?;
    let assets = Assets::load(args.description.assets.as_deref())?;
    let manifest = session::manifest(&cluster)?;
    // Rendered files are looked at, compared and kept in repositories: no secret belongs there.
    let credentials = Credentials::placeholders(&cluster);
    let scripts = session::scripts(&cluster)?;
    let desired = Desired {
        manifest,
        scripts,
        ..Desired::new(cluster, assets, credentials, Selection::default(), session::run_id())
    };
    let hosts = desired.expected()?;
    empty(&args.directory)?;
    let mut count = 0;
    for (label, steps) in hosts {
        for step in steps {
            if let Op::File(file) = &step.op {
                write(&args.directory.join(&label), file)?;
                count += 1;
            }
        }
    }
    ui::result(&format!("{count} files in {}", args.directory.display()));
    Ok(())
}

/// Refuses a folder that holds something, so that nothing of the user's is mixed up or lost.
fn empty(directory: &Path) -> Result<(), Failure> {
    match std::fs::read_dir(directory).map(|mut entries| entries.next().is_some()) {
        Ok(false) => Ok(()),
        Ok(true) => Err(Failure::new(Kind::Usage, format!("{} is not empty", directory.display()))
            .hint("name a folder that does not exist yet, or empty this one")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Failure::new(Kind::Usage, format!("{} cannot be read: {error}", directory.display()))),
    }
}

fn write(root: &Path, file: &File) -> Result<(), Failure> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let path = root.join(file.path.trim_start_matches('/'));
    let placed = path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| {
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true).mode(file.mode);
        options.open(&path)?.write_all(file.content.expose_secret().as_bytes())
    });
    placed.map_err(|error| Failure::new(Kind::Usage, format!("{} cannot be written: {error}", path.display())))
}

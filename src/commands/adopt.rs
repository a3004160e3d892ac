//! `adopt`: the description of a cluster that kubeadm made without etcdless.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use super::{Ended, session};
use crate::cli::{Adopt, Target};
use crate::cluster::adopt::{self, Operator};
use crate::config::load;
use crate::facts::Probes;
use crate::failure::{Failure, Kind};
use crate::phase::control_plane::RECORD;
use crate::remote::Query;
use crate::ui::{self, Event};

pub(super) async fn run(args: Adopt) -> Result<(), Ended> {
    let Adopt { host, file, login, show } = args;
    let target = Target::new(Some(host), None, login);
    session::under_ui(show, |ui, _| async move {
        let described = session::describe(&target, None)?;
        let (host, config) = session::control_plane(&ui, &target, &described).await?;
        let probes = Probes { files: [RECORD.to_owned()].into(), ..Probes::default() };
        let facts = host.facts(&probes).await.map_err(|error| session::unreachable(&error, &config))?;
        if facts.files.contains_key(RECORD) {
            let failure = Failure::new(Kind::Usage, format!("etcdless built this cluster: {RECORD} describes it"));
            return Err(failure.hint(format!("take that file from {}", config.label())));
        }
        let seen = adopt::look(&host).await.map_err(|error| match error {
            adopt::Error::Remote(error) => session::unreachable(&error, &config),
            adopt::Error::Other(failure) => failure,
        })?;
        let operator = Operator { address: config.address.clone(), user: config.user.clone() };
        let adopted = adopt::describe(&seen, &operator)?;
        load::parse_with("the description", &adopted.text, session::RULES)?;
        for text in &adopted.warnings {
            ui.emit(Event::Warning { host: config.label(), text: text.clone() });
        }
        ui.settled().await;
        match &file {
            Some(path) => {
                write(path, &adopted.text)?;
                ui.note(None, format!("wrote {}: read it before you use it", path.display()));
            }
            None => ui::result(&adopted.text),
        }
        Ok(())
    })
    .await
}

/// Writes a file that is not there yet.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let file = fs::OpenOptions::new().write(true).create_new(true).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| {
        Failure::new(Kind::Usage, format!("cannot write {}: {error}", path.display())).hint("name another file")
    })
}

//! Reads playbook files. Every mistake is reported with file, line and column.

use std::collections::BTreeSet;

use serde_saphyr::{Location, Spanned};

use super::schema::{Change, Playbook, Step};
use crate::assets::Assets;
use crate::config::DnsLabel;
use crate::failure::{Failure, Kind};

/// All playbooks, sorted by name.
pub(super) fn all(assets: &Assets) -> Result<Vec<Playbook>, Failure> {
    let mut playbooks = Vec::new();
    let mut taken = BTreeSet::new();
    for asset in assets.list() {
        let Some(name) = asset.path.strip_prefix("playbooks/").and_then(|file| file.strip_suffix(".yaml")) else {
            continue;
        };
        let source = Source { place: assets.describe(&asset.path), text: assets.text(&asset.path)? };
        let playbook = source.playbook(name)?;
        source.claim(&playbook, &mut taken)?;
        playbooks.push(playbook);
    }
    Ok(playbooks)
}

/// A file as messages call it, and its text.
struct Source {
    place: String,
    text: String,
}

impl Source {
    fn playbook(&self, name: &str) -> Result<Playbook, Failure> {
        let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
        let playbook: Playbook = serde_saphyr::from_str_with_options(&self.text, options).map_err(|error| {
            let at = error.location().unwrap_or(Location::UNKNOWN);
            let text = error.to_string();
            // The location comes in front here; at the end it would be a second time.
            let message = text.split(" at line ").next().unwrap_or(&text);
            self.failure(at, message.strip_prefix("error: ").unwrap_or(message))
        })?;
        if playbook.name.value.as_str() != name {
            let message = format!("the playbook is called `{}`, but its file {name}.yaml", playbook.name.value.as_str());
            return Err(self.failure(playbook.name.referenced, &message));
        }
        self.check(&playbook)?;
        Ok(playbook)
    }

    fn check(&self, playbook: &Playbook) -> Result<(), Failure> {
        // Steps of the common list may come after those of any variant; which variant it will be is not known yet.
        let mut above: BTreeSet<&str> = BTreeSet::new();
        for variant in &playbook.variants {
            if variant.when.is_empty() {
                let message = format!("the variant `{}` has no test, so it would always fit", variant.name.value.as_str());
                return Err(self.failure(variant.name.referenced, &message));
            }
            let mut own = BTreeSet::new();
            self.check_steps(&variant.steps, &mut own)?;
            above.extend(own);
        }
        self.check_steps(&playbook.steps, &mut above)
    }

    fn check_steps<'a>(&self, steps: &'a [Step], above: &mut BTreeSet<&'a str>) -> Result<(), Failure> {
        for step in steps {
            let name = step.name.value.as_str();
            if let Some(other) = step.after.iter().find(|other| !above.contains(other.value.as_str())) {
                let message = format!("`{name}` is after `{}`, which is no step further up", other.value);
                return Err(self.failure(other.referenced, &message));
            }
            if !above.insert(name) {
                return Err(self.failure(step.name.referenced, &format!("there are two steps `{name}`")));
            }
            self.check_change(step)?;
        }
        Ok(())
    }

    fn check_change(&self, step: &Step) -> Result<(), Failure> {
        let name = step.name.value.as_str();
        let change = step.change().map_err(|count| {
            let message = format!("`{name}` must have exactly one operation, but has {count}");
            self.failure(step.name.referenced, &message).hint(
                "the operations are directory, file, install, unpack, package, module, sysctl, swapOff, unit and script",
            )
        })?;
        let mistake = match change {
            Change::File(file) if file.template.is_some() == file.content.is_some() => {
                "needs either `template` or `content`"
            }
            Change::File(file) if file.template.is_none() && !file.with.is_empty() => "has `with` but no `template`",
            Change::Script(script) if script.creates.is_empty() => {
                "is a script without `creates`: nothing would tell whether it is done"
            }
            Change::Script(script) if script.run.contains("{{") || script.run.contains("{%") => {
                "builds its script from values: pass them as `args` and use \"$1\""
            }
            Change::Unpack(unpack) if unpack.creates.is_empty() => {
                "unpacks an archive without `creates`: nothing would tell whether it is done"
            }
            Change::Package([]) => "names no package",
            _ => return Ok(()),
        };
        Err(self.failure(step.name.referenced, &format!("`{name}` {mistake}")))
    }

    /// Step names are unique over all playbooks, since they are the journal's keys. Variants exclude each other and may share names.
    fn claim(&self, playbook: &Playbook, taken: &mut BTreeSet<String>) -> Result<(), Failure> {
        let variants = playbook.variants.iter().flat_map(|variant| &variant.steps);
        let names: Vec<&Spanned<DnsLabel>> = variants.chain(&playbook.steps).map(|step| &step.name).collect();
        if let Some(name) = names.iter().find(|name| taken.contains(name.value.as_str())) {
            let message = format!("another playbook has a step `{}` already", name.value.as_str());
            return Err(self.failure(name.referenced, &message));
        }
        taken.extend(names.into_iter().map(|name| name.value.as_str().to_owned()));
        Ok(())
    }

    fn failure(&self, at: Location, message: &str) -> Failure {
        if at == Location::UNKNOWN {
            return Failure::new(Kind::Config, format!("{}: {message}", self.place));
        }
        let (line, column) = (at.line(), at.column());
        let failure = Failure::new(Kind::Config, format!("{}:{line}:{column}: {message}", self.place));
        let index = usize::try_from(line).unwrap_or(1).saturating_sub(1);
        let indent = usize::try_from(column).unwrap_or(1).saturating_sub(1);
        match self.text.lines().nth(index) {
            Some(text) => failure.detail(format!("{line:>4} | {text}\n     | {:indent$}^", "")),
            None => failure,
        }
    }
}

//! Reads playbook files. Every mistake is reported with file, line and column, as far as one place can be blamed for it.

use std::collections::BTreeSet;

use serde_saphyr::Location;

use super::schema::{self, Change, Playbook, Step};
use crate::assets::Assets;
use crate::failure::{Failure, Kind};

/// All playbooks, sorted by name.
pub(super) fn all(assets: &Assets) -> Result<Vec<Playbook>, Failure> {
    let mut sources = Vec::new();
    let mut playbooks = Vec::new();
    for asset in assets.list() {
        let Some(name) = asset.path.strip_prefix("playbooks/").and_then(|file| file.strip_suffix(".yaml")) else {
            continue;
        };
        let source = Source { assets, place: assets.describe(&asset.path), text: assets.text(&asset.path)? };
        playbooks.push(source.playbook(name)?);
        sources.push(source);
    }
    let mut taken = BTreeSet::new();
    for (source, playbook) in sources.iter().zip(&playbooks) {
        source.check_names(playbook, &mut taken)?;
        source.check_order(playbook, &playbooks)?;
    }
    Ok(playbooks)
}

/// All steps of a playbook, those of every variant first.
pub(super) fn every_step(playbook: &Playbook) -> impl Iterator<Item = &Step> {
    playbook.variants.iter().flat_map(|variant| &variant.steps).chain(&playbook.steps)
}

/// A file as messages call it, and its text.
struct Source<'a> {
    assets: &'a Assets,
    place: String,
    text: String,
}

impl Source<'_> {
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
            let message =
                format!("the playbook is called `{}`, but its file {name}.yaml", playbook.name.value.as_str());
            return Err(self.failure(playbook.name.referenced, &message));
        }
        self.check(&playbook)?;
        Ok(playbook)
    }

    fn check(&self, playbook: &Playbook) -> Result<(), Failure> {
        if let Some(variant) = playbook.variants.iter().find(|variant| variant.when.is_empty()) {
            let message = format!("the variant `{}` has no test, so it would always fit", variant.name.value.as_str());
            return Err(self.failure(variant.name.referenced, &message));
        }
        every_step(playbook).try_for_each(|step| self.check_change(step))
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
            Change::File(schema::File { template: Some(template), .. }) => {
                let missing = self.assets.bytes(&format!("templates/{template}")).err();
                return missing.map_or(Ok(()), |missing| {
                    let failure = self.failure(step.name.referenced, &format!("`{name}`: {missing}"));
                    Err(missing.hints.into_iter().fold(failure, Failure::hint))
                });
            }
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
    fn check_names<'a>(&self, playbook: &'a Playbook, taken: &mut BTreeSet<&'a str>) -> Result<(), Failure> {
        let mut own = BTreeSet::new();
        for variant in &playbook.variants {
            own.extend(self.names(&variant.steps, taken)?);
        }
        taken.extend(own);
        let common = self.names(&playbook.steps, taken)?;
        taken.extend(common);
        Ok(())
    }

    fn names<'a>(&self, steps: &'a [Step], taken: &BTreeSet<&str>) -> Result<BTreeSet<&'a str>, Failure> {
        let mut own = BTreeSet::new();
        for step in steps {
            let name = step.name.value.as_str();
            if taken.contains(name) || !own.insert(name) {
                return Err(self.failure(step.name.referenced, &format!("there is a step `{name}` already")));
            }
        }
        Ok(own)
    }

    /// A step may be after one further up, in any variant that it can meet, or after all of another playbook.
    fn check_order(&self, playbook: &Playbook, all: &[Playbook]) -> Result<(), Failure> {
        let mut above: BTreeSet<&str> = BTreeSet::new();
        for step in every_step(playbook) {
            let known = |other: &str| match other.strip_suffix("/*") {
                Some(name) => all.iter().any(|playbook| playbook.name.value.as_str() == name),
                None => above.contains(other),
            };
            if let Some(other) = step.after.iter().find(|other| !known(&other.value)) {
                let message = format!("`{}` is neither a step further up nor `PLAYBOOK/*`", other.value);
                return Err(self.failure(other.referenced, &message));
            }
            above.insert(step.name.value.as_str());
        }
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

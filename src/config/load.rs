//! Reads cluster.yaml. Every mistake is reported with line, column, snippet and a suggestion; as many at once as can be told apart.
//!
//! Three passes, each of which reports all that it finds: is it YAML, does it fit the schema, do the values fit each other.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::diagnostic::{self, Problem, Source};
use super::path::Path as Field;
use super::validate::{self, Rule, Violation};
use super::yaml::{self, Node};
use super::{Artifacts, Cluster, Network, Spec, check, hooks, schema};
use crate::failure::{Failure, Kind};

/// No cluster.yaml is larger; anything that is was named by mistake.
const MAX_BYTES: u64 = 1 << 20;

/// Reads and checks a cluster.yaml; every mistake is reported, each with line, column, snippet and a suggestion.
/// Relative paths in it are relative to its folder.
pub fn load(path: &Path) -> Result<Cluster, Failure> {
    load_with(path, &[])
}

/// The same, with rules of callers that know more than the file's own types do, such as which versions go together.
pub fn load_with(path: &Path, rules: &[Rule]) -> Result<Cluster, Failure> {
    let name = path.display().to_string();
    let text = read(path, &name)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    parse_in(&name, &text, rules, Some(folder))
}

/// `load` for a text; `name` is what messages call it. Relative paths in it stay as they are, and no file is looked for.
pub fn parse(name: &str, text: &str) -> Result<Cluster, Failure> {
    parse_with(name, text, &[])
}

/// The same, with rules of callers.
pub fn parse_with(name: &str, text: &str, rules: &[Rule]) -> Result<Cluster, Failure> {
    parse_in(name, text, rules, None)
}

fn parse_in(name: &str, text: &str, rules: &[Rule], folder: Option<&Path>) -> Result<Cluster, Failure> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let source = Source { name, text };
    let tree = yaml::parse(text).map_err(|problems| source.failure(problems))?;
    if tree.value == yaml::Value::Null {
        return Err(Failure::new(Kind::Config, format!("{name} is empty"))
            .hint("`etcdless init root@HOST --print-config` prints one to start from"));
    }
    let mut cluster = typed(text, &tree).map_err(|problems| source.failure(problems))?;
    let mut violations = validate::validate(&cluster, rules);
    if let Some(folder) = folder {
        resolve_paths(&mut cluster, folder);
        violations.extend(missing_files(&cluster));
    }
    if violations.is_empty() {
        return Ok(cluster);
    }
    let problems = violations.into_iter().map(|violation| place(violation, Some(&tree))).collect();
    Err(source.failure(problems))
}

/// A tree as a cluster, or every way in which it does not fit the schema. `text` is what the tree was read from.
pub(super) fn typed(text: &str, tree: &Node) -> Result<Cluster, Vec<Problem>> {
    let problems = check::check(schema::value(), text, tree);
    if !problems.is_empty() {
        return Err(problems);
    }
    // What the schema lets through and the types do not has no place; tests keep the two alike.
    serde_json::from_value(tree.to_json())
        .map_err(|error| vec![Problem::new(Field::default(), None, error.to_string())])
}

/// A violation with the place that its path has in the text.
pub(super) fn place(violation: Violation, tree: Option<&Node>) -> Problem {
    let path = Field::parse(&violation.path).unwrap_or_default();
    let related = violation.related.and_then(|related| Field::parse(&related));
    let own = tree.map(|tree| tree.locate(&path));
    let other = related.zip(tree).map(|(related, tree)| tree.locate(&related));
    let (span, related) = match (own, other) {
        // A default that collides with what the file says: point at what the file says.
        (Some((_, false)), Some((written, true))) => (Some(written), None),
        (Some((span, _)), Some((written, true))) => (Some(span), Some((written, "see here".into()))),
        (own, _) => (own.map(|(span, _)| span), None),
    };
    Problem { message: violation.message, help: violation.suggestion, path, span, related }
}

/// Makes the file's relative paths independent of where the command runs.
fn resolve_paths(cluster: &mut Cluster, folder: &Path) {
    let resolve = |path: &mut PathBuf| {
        if !is_home(path) {
            *path = folder.join(&*path);
        }
    };
    if let Network::Manifest(path) = &mut cluster.spec.network {
        resolve(path);
    }
    let Artifacts { bundle, bundle_base, .. } = &mut cluster.spec.artifacts;
    bundle.iter_mut().chain(bundle_base).for_each(resolve);
    cluster.spec.hosts.iter_mut().filter_map(|host| host.ssh.identity.as_mut()).for_each(resolve);
    cluster.spec.hooks.paths_mut().for_each(resolve);
    let Spec { datastore, shards, .. } = &mut cluster.spec;
    let shards = shards.iter_mut().flat_map(|shard| shard.datastore.files_mut());
    for path in datastore.files_mut().into_iter().chain(shards) {
        *path = match (path.strip_prefix("~"), std::env::var_os("HOME")) {
            (Ok(rest), Some(home)) => Path::new(&home).join(rest),
            _ => folder.join(&*path),
        };
    }
}

/// Whether ssh puts a home folder in front of it.
fn is_home(path: &Path) -> bool {
    path.to_string_lossy().starts_with('~')
}

/// Files that the cluster names and that are not there.
pub(super) fn missing_files(cluster: &Cluster) -> Vec<Violation> {
    let advice = "a relative path begins at the folder of cluster.yaml, or with `--set` where the command runs";
    let manifest = match &cluster.spec.network {
        Network::Manifest(path) if !path.is_file() => {
            let message = format!("there is no file `{}`", path.display());
            Some(Violation::new("spec.network.manifest", message).suggest(advice))
        }
        _ => None,
    };
    let identities = cluster.spec.hosts.iter().enumerate().filter_map(|(index, host)| {
        let path = host.ssh.identity.as_ref().filter(|path| !is_home(path) && !path.is_file())?;
        let message = format!("there is no key file `{}`", path.display());
        Some(Violation::new(format!("spec.hosts[{index}].ssh.identity"), message).suggest(advice))
    });
    manifest.into_iter().chain(identities).chain(hooks::missing(cluster)).collect()
}

fn read(path: &Path, name: &str) -> Result<String, Failure> {
    let fail = |message: String| Failure::new(Kind::Config, message);
    let about = fs::metadata(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => fail(format!("there is no file {name}"))
            .hint("`etcdless init root@HOST --print-config` prints one to start from"),
        _ => fail(format!("cannot read {name}: {error}")),
    })?;
    if about.is_dir() {
        return Err(fail(format!("{name} is a folder")).hint("name the file in it, such as cluster.yaml"));
    }
    if about.len() > MAX_BYTES {
        return Err(fail(format!("{name} has {} bytes; no cluster.yaml is larger than {MAX_BYTES}", about.len())));
    }
    let bytes = fs::read(path).map_err(|error| fail(format!("cannot read {name}: {error}")))?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let (line, column) = diagnostic::line_and_column(&String::from_utf8_lossy(&error.as_bytes()[..valid]), valid);
        fail(format!("{name}:{line}:{column}: byte 0x{:02X} is not UTF-8", error.as_bytes()[valid]))
            .hint("save the file as UTF-8")
    })
}

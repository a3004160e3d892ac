//! A file may use the floors below its own, never above. The picture is in `src/lib.rs`.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::path::{Path, PathBuf};

/// From the top down; modules on one line share a floor.
const FLOORS: &[&[&str]] = &[
    &["cli", "commands"],
    &["phase"],
    &["cluster", "datastore"],
    &["artifact", "playbook"],
    &["remote"],
    &["op", "facts", "journal", "pki"],
    &["render", "assets", "kubeconfig"],
    &["config"],
    &["ui", "failure"],
];

/// Uses that go up on purpose.
const EXCEPTIONS: &[(&str, &str)] = &[];

fn floor(module: &str) -> usize {
    FLOORS
        .iter()
        .position(|floor| floor.contains(&module))
        .unwrap_or_else(|| panic!("{module} has no floor in tests/floors.rs"))
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The modules that a file names as `crate::MODULE`, also within `crate::{a, b}`.
fn uses(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for part in text.split("crate::").skip(1) {
        let names = part
            .strip_prefix('{')
            .map_or_else(|| vec![part], |list| list.split('}').next().unwrap_or_default().split(',').collect());
        for name in names {
            let name: String = name.trim().chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            if !name.is_empty() {
                found.push(name);
            }
        }
    }
    found
}

#[test]
fn no_module_uses_a_floor_above_its_own() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    files(&source, &mut all);
    let mut wrong = Vec::new();
    for path in all {
        let relative = path.strip_prefix(&source).unwrap();
        let module = relative.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        if module == "lib" || module == "main" {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for used in uses(&text) {
            if floor(&used) < floor(module) && !EXCEPTIONS.contains(&(module, used.as_str())) {
                wrong.push(format!("{} uses crate::{used}", relative.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "these go up:\n{}", wrong.join("\n"));
}

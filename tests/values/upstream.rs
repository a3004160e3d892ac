//! `k8s.io/api` brings every kind with every field filled, as protobuf and as JSON, of its own version and of those before.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use etcdless::datastore::value::{Value, decode};

/// Kinds of that data which nobody stores: questions, what subresources take, options, lists and statuses.
const NOT_STORED: &[&str] = &[];

/// Go, in the folder of the program that writes the table. None where there is no Go here.
fn go(args: &[&str]) -> Option<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/kinds");
    let output = Command::new("go").args(args).current_dir(folder).stdin(Stdio::null()).output();
    let Ok(output) = output else {
        eprintln!("skipped: go is not installed");
        return None;
    };
    assert!(output.status.success(), "go {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn the_table_is_what_the_types_of_go_say() {
    let Some(written) = go(&["run", "."]) else { return };
    let committed = include_str!("../../src/datastore/value/kinds.txt");
    assert!(
        written == committed,
        "write it anew: cd tests/lab/kinds && go run . >../../../src/datastore/value/kinds.txt"
    );
}

#[test]
fn every_field_of_every_kind_is_shown_as_go_shows_it() {
    let Some(folder) = go(&["list", "-m", "-f", "{{.Dir}}", "k8s.io/api"]) else { return };
    let versions = std::fs::read_dir(PathBuf::from(folder.trim()).join("testdata")).unwrap();
    let (mut shown, mut not_stored, mut wrong) = (0, BTreeSet::new(), Vec::new());
    for version in versions.map(|version| version.unwrap().path()).filter(|path| path.is_dir()) {
        for file in std::fs::read_dir(&version).unwrap().map(|file| file.unwrap().path()) {
            let name = file.file_name().unwrap().to_str().unwrap();
            let Some(name) = name.strip_suffix(".pb").filter(|name| !name.ends_with(".after_roundtrip")) else {
                continue;
            };
            // What has changed since an older version is beside it.
            let json = [format!("{name}.after_roundtrip.json"), format!("{name}.json")];
            let json = json.iter().map(|json| version.join(json)).find(|json| json.exists()).unwrap();
            let expected: serde_json::Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
            match decode(&std::fs::read(&file).unwrap()) {
                Value::Object(object) => {
                    shown += 1;
                    if object != expected {
                        wrong.push(format!("{}\n{object}\n{expected}", file.display()));
                    }
                }
                Value::Unknown { api_version, kind } => drop(not_stored.insert(format!("{api_version} {kind}"))),
                other => wrong.push(format!("{}: {other:?}", file.display())),
            }
        }
    }
    eprintln!("{shown} {not_stored:#?}");
    assert!(wrong.is_empty(), "{} {}", wrong.len(), wrong.concat().chars().take(6000).collect::<String>());
    assert_eq!(not_stored.iter().map(String::as_str).collect::<Vec<_>>(), NOT_STORED);
}

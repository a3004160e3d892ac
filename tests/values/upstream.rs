//! `k8s.io/api` brings every kind with every field filled, as protobuf and as JSON, of its own version and of those before.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use etcdless::datastore::value::{Value as Stored, decode};
use serde_json::Value;

use crate::differences::differences;

/// Kinds of that data which nobody stores: questions, subresources, and what only the API itself tells. The options of requests, too.
const NOT_STORED: &[&str] = &[
    "APIGroup",
    "APIGroupDiscovery",
    "APIVersions",
    "AdmissionReview",
    "Binding",
    "DeploymentRollback",
    "Eviction",
    "ImageReview",
    "LocalSubjectAccessReview",
    "Scale",
    "SelfSubjectAccessReview",
    "SelfSubjectReview",
    "SelfSubjectRulesReview",
    "SerializedReference",
    "Status",
    "SubjectAccessReview",
    "TokenRequest",
    "TokenReview",
];

/// What came with the newest version, is never left out, and is nil where it is missing: that version answers null for an older object, too.
const NEW: &[&str] = &["PodCertificateRequest .spec.stubPKCS10Request"];

/// Go, in the folder of the program that writes the table. None, with the reason printed, where there is no Go here, or no way to its modules.
fn go(args: &[&str]) -> Option<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/kinds");
    let run = |args: &[&str]| Command::new("go").args(args).current_dir(&folder).stdin(Stdio::null()).output();
    match run(&["mod", "download"]) {
        Err(_) => {
            eprintln!("skipped: go is not installed");
            return None;
        }
        Ok(output) if !output.status.success() => {
            eprintln!("skipped: go mod download: {}", String::from_utf8_lossy(&output.stderr));
            return None;
        }
        Ok(_) => {}
    }
    let output = run(args).unwrap();
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
    let (mut shown, mut not_stored) = (0, BTreeSet::new());
    let (mut differ, mut texts) = (BTreeSet::new(), Vec::new());
    for version in versions.map(|version| version.unwrap().path()).filter(|path| path.is_dir()) {
        for file in std::fs::read_dir(&version).unwrap().map(|file| file.unwrap().path()) {
            let name = file.file_name().unwrap().to_str().unwrap();
            // Not what the newest version makes of it, which may lack what was there.
            let Some(name) = name.strip_suffix(".pb").filter(|name| !name.ends_with(".after_roundtrip")) else {
                continue;
            };
            let expected: Value =
                serde_json::from_slice(&std::fs::read(version.join(format!("{name}.json"))).unwrap()).unwrap();
            let kind = expected["kind"].as_str().unwrap_or_default().to_owned();
            match decode(&std::fs::read(&file).unwrap()) {
                Stored::Object(object) => {
                    shown += 1;
                    differences(kind + " ", &object, &expected, &mut |place, text| {
                        texts.push(format!("{}: {place}: {text}", file.display()));
                        differ.insert(place);
                    });
                }
                Stored::Unknown { .. } if kind.is_empty() || kind.ends_with("Options") => {}
                Stored::Unknown { .. } => drop(not_stored.insert(kind)),
                other => panic!("{}: {other:?}", file.display()),
            }
        }
    }
    eprintln!("{shown} objects compared");
    assert_eq!(differ.iter().map(String::as_str).collect::<Vec<_>>(), NEW, "{}", texts.join("\n"));
    assert_eq!(not_stored.iter().map(String::as_str).collect::<Vec<_>>(), NOT_STORED);
    assert!(shown > 400, "{shown}");
}

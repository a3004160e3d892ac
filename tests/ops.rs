//! Every operation against what a host may look like: `tests/ops/OPERATION/CASE.yaml`.
//!
//! A case holds `op`, `facts` (`content` of a file stands for its digest), `journaled` where the journal has the step in this form,
//! `pending` for paths that earlier steps change, and `decide`: `alreadySo`, or the text of the change.
//! Certificates are compared by `pki`, which has its own tests.
#![expect(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::Path;

use etcdless::facts::Facts;
use etcdless::op::{self, Decision, Fetch, File, Image, Op, Pending};
use serde::Deserialize;
use serde_json::Value;

const STEP: &str = "test/step";

/// Every kind that has cases; a new one belongs here.
const KINDS: [&str; 15] = [
    "absent",
    "directory",
    "fetch",
    "file",
    "hosts-entry",
    "image",
    "install",
    "local",
    "module",
    "package",
    "script",
    "swap-off",
    "sysctl",
    "unit",
    "unpack",
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    op: Described,
    #[serde(default)]
    facts: Value,
    #[serde(default)]
    journaled: bool,
    #[serde(default)]
    pending: Pending,
    decide: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "snake_case", deny_unknown_fields)]
enum Described {
    Absent {
        path: String,
    },
    Directory {
        path: String,
        mode: u32,
    },
    File {
        path: String,
        mode: u32,
        content: String,
    },
    Fetch {
        name: String,
        version: String,
        url: String,
        staged: String,
        yields: Vec<String>,
    },
    Install {
        staged: String,
        path: String,
        mode: u32,
        version: String,
    },
    Unpack {
        staged: String,
        into: String,
        creates: Vec<String>,
        version: String,
    },
    Package {
        names: Vec<String>,
    },
    Module {
        name: String,
    },
    Sysctl {
        key: String,
        value: String,
        #[serde(default)]
        at_least: bool,
    },
    SwapOff,
    HostsEntry {
        name: String,
        address: String,
    },
    Unit {
        name: String,
        running: bool,
        watches: Vec<String>,
    },
    Image {
        reference: String,
    },
    Local {
        program: std::path::PathBuf,
    },
    Script {
        text: String,
        #[serde(default)]
        creates: Vec<String>,
        #[serde(default)]
        watches: Vec<String>,
    },
}

impl From<Described> for Op {
    fn from(described: Described) -> Self {
        match described {
            Described::Directory { path, mode } => Self::Directory { path, mode },
            Described::File { path, mode, content } => Self::File(File::new(path, mode, content)),
            Described::Fetch { name, version, url, staged, yields } => Self::Fetch(Fetch {
                name,
                version,
                url,
                sha256: "00".into(),
                size: 0,
                staged,
                yields,
                push: false,
                environment: vec![],
            }),
            Described::Install { staged, path, mode, version } => Self::Install { staged, path, mode, version },
            Described::Unpack { staged, into, creates, version } => Self::Unpack { staged, into, creates, version },
            Described::Package { names } => Self::Package { names, bundled: None, environment: vec![] },
            Described::Absent { path } => Self::Absent { path },
            Described::Module { name } => Self::Module { name },
            Described::Sysctl { key, value, at_least } => Self::Sysctl { key, value, at_least },
            Described::SwapOff => Self::SwapOff,
            Described::HostsEntry { name, address } => Self::HostsEntry { name, address },
            Described::Unit { name, running, watches } => Self::Unit { name, running, watches },
            Described::Image { reference } => Self::Image(Image { reference, push: false, environment: vec![] }),
            Described::Local { program } => Self::Local(op::Local { program, environment: Vec::new(), seconds: 60 }),
            Described::Script { text, creates, watches } => Self::Script(op::Script {
                text: text.into(),
                args: Vec::new(),
                creates,
                watches,
                of: String::new(),
                seconds: 60,
            }),
        }
    }
}

#[test]
fn every_operation_decides_as_its_cases_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ops");
    let kinds: BTreeSet<String> = names(&folder).collect();
    assert_eq!(kinds, KINDS.map(str::to_owned).into());
    let mut wrong = Vec::new();
    for kind in &kinds {
        let mut answers = BTreeSet::new();
        for name in names(&folder.join(kind)) {
            let case = format!("{kind}/{name}");
            let (expected, decision) = decide(&std::fs::read_to_string(folder.join(&case)).unwrap(), &case);
            let decided = match decision {
                Decision::AlreadySo => "alreadySo".to_owned(),
                Decision::Change(what) => what,
            };
            if decided != expected {
                wrong.push(format!("{case}: expected {expected:?}, decided {decided:?}"));
            }
            answers.insert(expected == "alreadySo");
        }
        assert_eq!(answers.len(), 2, "{kind} needs a case that is already so and one that changes");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn decide(text: &str, case: &str) -> (String, Decision) {
    // Through JSON, whose enums are maps.
    let value: Value = serde_yaml::from_str(text).unwrap_or_else(|error| panic!("{case}: {error}"));
    let case: Case = serde_json::from_value(value).unwrap_or_else(|error| panic!("{case}: {error}"));
    let op = Op::from(case.op);
    let mut facts = facts(case.facts);
    if case.journaled {
        facts.journal.steps.insert(STEP.into(), op.digest());
    }
    (case.decide, op.decide(STEP, &facts, &case.pending))
}

fn facts(mut value: Value) -> Facts {
    if value.is_null() {
        return Facts::default();
    }
    for fact in value.get_mut("files").and_then(Value::as_object_mut).into_iter().flat_map(|files| files.values_mut()) {
        if let Some(content) = fact.as_object_mut().unwrap().remove("content") {
            fact["sha256"] = op::sha256(content.as_str().unwrap().as_bytes()).into();
        }
    }
    serde_json::from_value(value).unwrap()
}

fn names(folder: &Path) -> impl Iterator<Item = String> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap())
}

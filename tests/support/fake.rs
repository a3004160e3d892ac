//! A fake host: the operations of a plan done to a model that lives in a file, so that a killed process leaves it as it was.
//! What an operation needs from earlier ones is checked: an unmet need fails the test.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use etcdless::facts::{Facts, FileFact, Probes, UnitFact};
use etcdless::journal::Record;
use etcdless::op::Op;
use etcdless::remote::{Mutate, Output, Payload, Query, Question, RemoteError, Signals};
use secrecy::ExposeSecret;

/// Where in an operation the process is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    Before,
    /// The work is done, the journal does not know it.
    Between,
    After,
}

pub(crate) struct Fake {
    path: PathBuf,
    /// Kill this very process at the given operation.
    kill: Option<(usize, At)>,
    /// Fail at the given operation instead.
    fail: Option<usize>,
    /// Answers nothing.
    gone: bool,
    state: Mutex<State>,
}

#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub(crate) struct State {
    pub(crate) facts: Facts,
    /// Seconds that have passed: every operation takes one.
    clock: i64,
    #[serde(skip)]
    applied: usize,
}

impl Fake {
    /// A fresh machine, saved at `path`.
    pub(crate) fn fresh(path: &Path, facts: Facts) -> Self {
        let state = State { facts, clock: 1_000, applied: 0 };
        std::fs::write(path, serde_json::to_string(&state).unwrap()).unwrap();
        Self::open(path, None)
    }

    /// The machine as an earlier process left it.
    pub(crate) fn open(path: &Path, kill: Option<(usize, At)>) -> Self {
        let state = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        Self { path: path.into(), kill, fail: None, gone: false, state: Mutex::new(state) }
    }

    pub(crate) fn failing(mut self, operation: usize) -> Self {
        self.fail = Some(operation);
        self
    }

    pub(crate) fn gone(mut self) -> Self {
        self.gone = true;
        self
    }

    pub(crate) fn state(&self) -> State {
        self.state.lock().unwrap().clone()
    }

    /// How many operations were begun.
    pub(crate) fn applied(&self) -> usize {
        self.state.lock().unwrap().applied
    }

    fn save(&self, state: &State) {
        let next = self.path.with_extension("next");
        std::fs::write(&next, serde_json::to_string(state).unwrap()).unwrap();
        std::fs::rename(next, &self.path).unwrap();
    }

    fn die(&self, operation: usize, at: At) {
        if self.kill == Some((operation, at)) {
            let _ = std::process::Command::new("kill").args(["-KILL", &std::process::id().to_string()]).status();
            std::thread::park();
        }
    }
}

impl Query for Fake {
    async fn facts(&self, probes: &Probes) -> Result<Facts, RemoteError> {
        if self.gone {
            return Err(RemoteError::Lost { host: "fake".into(), reason: "no answer".into() });
        }
        let mut facts = self.state().facts;
        facts.files.retain(|path, _| probes.files.contains(path));
        facts.texts.retain(|path, _| probes.texts.contains(path));
        facts.sysctls.retain(|key, _| probes.sysctls.contains(key));
        facts.units.retain(|name, _| probes.units.contains(name));
        facts.packages.retain(|name, _| probes.packages.contains(name));
        facts.images.retain(|reference| probes.images.contains(reference));
        Ok(facts)
    }

    /// The questions of a survey: the key of an authority, the one to the proxy, which lets everything through, and the one to the sources, where every file is there.
    async fn ask(&self, question: Question) -> Result<Output, RemoteError> {
        if question.script.starts_with("cat ") {
            let text = self.state().facts.texts.get(&question.args[0]).cloned().unwrap_or_default();
            let stdout = text.into_bytes();
            return Ok(Output { status: 0, stdout, stderr: Vec::new() });
        }
        if question.script.contains("http_connect") {
            return Ok(Output { status: 0, stdout: b"200 200 0.001\n".to_vec(), stderr: Vec::new() });
        }
        assert!(question.script.contains("curl"), "an unexpected question: {}", question.script);
        let lines = String::from_utf8(question.input).unwrap();
        let answer = |number: usize| {
            let digest = "a".repeat(64);
            format!(
                "{number} {digest}\n{number} \n{number} == 200\n{number} HTTP/1.1 200 OK\n{number} Content-Length: 1\n{number} \n{number} == 200\n"
            )
        };
        let stdout: String = (1..=lines.lines().count()).map(answer).collect();
        Ok(Output { status: 0, stdout: stdout.into_bytes(), stderr: Vec::new() })
    }
}

impl Mutate for Fake {
    async fn apply(
        &self,
        op: &Op,
        record: &Record,
        _payload: Option<Payload>,
        _signals: &Signals,
    ) -> Result<(), RemoteError> {
        let operation = {
            let mut state = self.state.lock().unwrap();
            state.applied += 1;
            state.applied - 1
        };
        if self.fail == Some(operation) {
            return Err(RemoteError::Failed { host: "fake".into(), status: 1, lines: vec!["injected".into()] });
        }
        self.die(operation, At::Before);
        // Others of the plan may run between the operations of a step, never within one.
        let mut state = self.state.lock().unwrap();
        state.clock += 1;
        change(&mut state, op, record);
        self.save(&state);
        self.die(operation, At::Between);
        for path in &record.files {
            let fact = &state.facts.files[path];
            let seen = (fact.size, fact.modified);
            state.facts.journal.files.insert(path.clone(), seen);
        }
        state.facts.journal.steps.insert(record.step.clone(), record.digest.clone());
        self.save(&state);
        self.die(operation, At::After);
        Ok(())
    }
}

fn change(state: &mut State, op: &Op, record: &Record) {
    let now = state.clock;
    let facts = &mut state.facts;
    match op {
        Op::Directory { path, mode } => {
            place(facts, now, path, FileFact { mode: *mode, directory: true, ..FileFact::default() })
        }
        Op::File(file) => {
            let text = file.content.expose_secret();
            place(
                facts,
                now,
                &file.path,
                FileFact {
                    mode: file.mode,
                    size: text.len() as u64,
                    sha256: Some(file.sha256()),
                    ..FileFact::default()
                },
            );
            facts.texts.insert(file.path.clone(), text.into());
            if let Some(unit) = file.path.strip_prefix("/etc/systemd/system/") {
                let unit = unit.split(".d/").next().unwrap_or(unit);
                let unit = facts.units.entry(unit.into()).or_default();
                unit.loaded = true;
                unit.stale = true;
            }
        }
        Op::Fetch(fetch) => place(facts, now, &fetch.staged, FileFact { mode: 0o600, size: 1, ..FileFact::default() }),
        Op::Install { staged, path, mode, .. } => {
            place(facts, now, path, FileFact { mode: *mode, size: 1, ..FileFact::default() });
            take(facts, staged, record);
        }
        Op::Unpack { staged, creates, .. } => {
            for path in creates {
                place(facts, now, path, FileFact { mode: 0o755, size: 1, ..FileFact::default() });
            }
            take(facts, staged, record);
        }
        Op::Absent { path } => {
            facts.files.remove(path);
            if let Some(unit) = path.strip_prefix("/etc/systemd/system/").and_then(|path| path.split(".d/").next()) {
                facts.units.entry(unit.into()).or_default().stale = true;
            }
        }
        Op::Package { names, .. } => {
            facts.packages.extend(names.iter().map(|name| (name.clone(), "1".to_owned())));
            for unit in ["containerd", "postgresql", "mariadb", "mysql"] {
                facts.units.entry(format!("{unit}.service")).or_default().loaded = true;
            }
        }
        Op::Module { name } => {
            facts.features.insert(name.clone());
        }
        Op::Sysctl { key, value, .. } => {
            facts.sysctls.insert(key.clone(), value.clone());
        }
        Op::SwapOff => {
            facts.swaps.clear();
            facts.fstab_swaps.clear();
            facts.swap_units.clear();
        }
        Op::HostsEntry { name, address } => {
            facts.texts.insert("/etc/hosts".into(), format!("127.0.0.1 localhost\n{address} {name} # etcdless\n"));
        }
        Op::Unit { name, running, watches } => {
            // A drop-in that is there only with a proxy is watched in any case, as is the folder that it goes from.
            let always = |path: &&String| !path.ends_with(".d") && !path.ends_with("-proxy.conf");
            for path in watches.iter().filter(always) {
                assert!(facts.files.contains_key(path), "{}: {name} watches {path}, which is not there", record.step);
            }
            let unit = facts.units.get_mut(name).unwrap_or_else(|| panic!("{}: there is no unit {name}", record.step));
            *unit = UnitFact { loaded: true, enabled: true, stale: false, active: *running || unit.active, since: now };
        }
        Op::Image(image) => {
            let running = facts.units.get("containerd.service").is_some_and(|unit| unit.active);
            assert!(running, "{}: containerd does not run", record.step);
            facts.images.insert(image.reference.clone());
        }
        Op::Local(_) => {}
        Op::Certificates { .. } | Op::Carry { .. } => panic!("the runner turns it into files"),
        Op::Script(script) => {
            let tools =
                [("/usr/local/bin/kubeadm init", "/usr/local/bin/kubeadm"), ("kubectl --", "/usr/local/bin/kubectl")];
            for (call, tool) in tools {
                let needed = script.text.contains(call);
                assert!(!needed || facts.files.contains_key(tool), "{}: {tool} is not there", record.step);
            }
            for path in &script.watches {
                assert!(facts.files.contains_key(path), "{}: {path} is not there", record.step);
            }
            for path in &script.creates {
                place(facts, now, path, FileFact { mode: 0o600, size: 1, ..FileFact::default() });
            }
        }
    }
}

fn place(facts: &mut Facts, now: i64, path: &str, fact: FileFact) {
    facts.files.insert(path.into(), FileFact { modified: now, ..fact });
}

/// The staged file is used up.
fn take(facts: &mut Facts, staged: &str, record: &Record) {
    assert!(facts.files.remove(staged).is_some(), "{}: {staged} was not fetched", record.step);
}

/// What two hosts must agree in, whatever happened on the way: everything but times and the journal.
pub(crate) fn outcome(state: &State) -> String {
    let mut facts = state.facts.clone();
    for file in facts.files.values_mut() {
        file.modified = 0;
    }
    for unit in facts.units.values_mut() {
        unit.since = 0;
    }
    // What was done but not recorded is found done, and not recorded again.
    facts.journal = Default::default();
    // Keys are random: two runs never make the same.
    let random = |path: &str| {
        ["/pki/", "/datastore/ca.", "/datastore/server.", "/kine/db/"].iter().any(|part| path.contains(part))
    };
    // Pods of kine carry a mark that changes with its certificates.
    let marked = |path: &str| path.contains("/manifests/kine") || path.contains("/patches/kube-apiserver0etcdless");
    facts.texts.retain(|path, _| !random(path) && !marked(path));
    for (path, file) in &mut facts.files {
        if random(path) || marked(path) {
            *file = FileFact { mode: file.mode, ..FileFact::default() };
        }
    }
    serde_json::to_string_pretty(&facts).unwrap()
}

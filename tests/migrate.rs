//! A migration that is cut off anywhere: the scripts of its steps run on folders that stand for control planes, and are killed at every
//! command that changes anything. Whatever is left, at most one store serves at any moment, the timer or a boot brings one back, and running again
//! finishes. What systemd and the kubelet do is played here; docs/migrate.md says what of it ran on hosts.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use etcdless::op::{File, Op};
use etcdless::phase::migrate::{self, Change, FOLDER, Record, State, Which};
use etcdless::phase::plan::Plan;
use secrecy::ExposeSecret;

const API: &str = "/etc/kubernetes/manifests/kube-apiserver.yaml";
const KINE: &str = "/etc/kubernetes/manifests/kine.yaml";
const ETCD: &str = "/etc/kubernetes/manifests/etcd.yaml";

/// Every command of the scripts that changes something, each a chance to be killed; and those that are played.
const CHANGES: &[&str] = &["cp", "mkdir", "mv", "rm", "systemctl"];
const PLAYED: &[&str] = &["curl", "kubectl", "pidof", "sleep", "sync"];

/// Control planes.
const PLANES: usize = 2;

/// More than are ever called.
const ENOUGH: u64 = 1_000_000;

/// A control plane: a folder in place of `/`.
struct Plane {
    root: PathBuf,
    bin: PathBuf,
}

/// Whether a plan was done, or its host killed.
#[derive(PartialEq)]
enum Ended {
    Done,
    Killed,
    Refused,
}

impl Plane {
    fn new(folder: &Path, files: &[File]) -> Self {
        let (root, bin) = (folder.join("root"), folder.join("bin"));
        fs::create_dir_all(&bin).unwrap();
        let plane = Self { root, bin };
        for name in CHANGES.iter().chain(PLAYED) {
            let does = match *name {
                "systemctl" => {
                    "case \"$1 $2\" in \"enable \"*) : >\"$ROOT/enabled\" ;; \"disable \"*) rm -f \"$ROOT/enabled\" ;; \
                     \"start etcdless-thaw.timer\") : >\"$ROOT/timer\" ;; \"stop etcdless-thaw.timer\") rm -f \"$ROOT/timer\" ;; esac"
                        .to_owned()
                }
                "pidof" => "exit 1".into(),
                "curl" | "kubectl" | "sleep" | "sync" => "exit 0".into(),
                real => format!("exec {real} \"$@\""),
            };
            let killed = match CHANGES.contains(name) {
                true => "read -r left <\"$LEFT\"\n[ \"$left\" != 0 ] || kill -9 0\necho $((left - 1)) >\"$LEFT\"\n",
                false => "",
            };
            let path = plane.bin.join(name);
            fs::write(&path, format!("#!/bin/sh\nPATH=/usr/bin:/bin\n{killed}{does}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        for folder in ["/etc/kubernetes/manifests", "/etc/systemd/system", "/run/systemd/system", "/var/lib/etcdless"] {
            fs::create_dir_all(plane.at(folder)).unwrap();
        }
        files.iter().for_each(|file| plane.write(&file.path, file));
        plane
    }

    /// Where a path of the host is.
    fn at(&self, path: &str) -> PathBuf {
        PathBuf::from(self.there(path))
    }

    fn there(&self, text: &str) -> String {
        let root = self.root.to_str().unwrap();
        let text = ["/etc/kubernetes", "/etc/systemd", "/var/lib/kubelet", "/run/systemd", "/var/lib/etcdless"]
            .iter()
            .fold(text.to_owned(), |text, path| text.replace(path, &format!("{root}{path}")));
        let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        text.replace(path, &format!("PATH={}:/usr/bin:/bin", self.bin.to_str().unwrap()))
    }

    fn write(&self, path: &str, file: &File) {
        let place = self.at(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        // Manifests hold no paths, the program that switches does.
        fs::write(&place, self.there(file.content.expose_secret())).unwrap();
        fs::set_permissions(&place, fs::Permissions::from_mode(file.mode)).unwrap();
    }

    /// Does a plan, until `left` commands were called.
    fn does(&self, plan: &Plan, left: &mut u64) -> Ended {
        for planned in &plan.steps {
            match &planned.step.op {
                Op::Directory { path, .. } => fs::create_dir_all(self.at(path)).unwrap(),
                Op::File(file) => self.write(&file.path, file),
                Op::Absent { path } => {
                    let _not_there = fs::remove_file(self.at(path));
                }
                Op::Script(script) => {
                    let args: Vec<String> = script.args.iter().map(|arg| self.there(arg)).collect();
                    let ended = self.runs(&self.there(&script.text), &args, left);
                    if ended != Ended::Done {
                        return ended;
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        Ended::Done
    }

    fn runs(&self, text: &str, args: &[String], left: &mut u64) -> Ended {
        let count = self.root.join("left");
        fs::write(&count, left.to_string()).unwrap();
        let mut command = Command::new("/bin/sh");
        command
            .args(["-ec", text, "sh"])
            .args(args)
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", self.bin.to_str().unwrap()))
            .env("ROOT", &self.root);
        let status = command.env("LEFT", &count).process_group(0).status().unwrap();
        *left = fs::read_to_string(&count).unwrap().trim().parse().unwrap();
        match status.code() {
            Some(0) => Ended::Done,
            Some(_) => Ended::Refused,
            None => Ended::Killed,
        }
    }

    /// The timer's end, or a boot.
    fn resumes(&self, by: &str) {
        if self.root.join(by).exists() {
            let switch = self.at(&format!("{FOLDER}/switch"));
            let ended = self.runs("exec \"$1\" resume", &[switch.to_str().unwrap().to_owned()], &mut { ENOUGH });
            assert!(ended == Ended::Done, "it does not go back by itself: {:?}", self.state());
        }
    }

    fn state(&self) -> State {
        let text = fs::read_to_string(self.at(&format!("{FOLDER}/state"))).unwrap_or_default();
        State::parse(&text).unwrap_or_else(|| panic!("{text:?}"))
    }

    /// The store that its API server uses; none where none runs.
    fn serves(&self) -> Option<Which> {
        let read = |path: &str| fs::read_to_string(self.at(path)).ok();
        let server = read(API)?;
        // An API server of a kine asks whichever kine is there.
        let store = if server == "asks kine" { read(KINE) } else { read(ETCD) };
        Some(match store.as_deref() {
            Some("old") => Which::Old,
            Some("new") => Which::New,
            _ => panic!("an API server runs, and no store"),
        })
    }
}

/// A migration of two control planes, as `commands::migrate` does it.
struct Site {
    planes: Vec<Plane>,
    change: Change,
    is_etcd: bool,
    _folder: tempfile::TempDir,
}

fn label(number: usize) -> String {
    format!("cp{number}")
}

impl Site {
    /// From one kine to another.
    fn kine() -> Self {
        let files = |store: &str| vec![File::new(API, 0o600, "asks kine"), File::new(KINE, 0o600, store)];
        Self::new(&files("old"), Change { files: files("new"), ..Change::default() }, false)
    }

    /// From kine to etcd.
    fn etcd() -> Self {
        let old = [File::new(API, 0o600, "asks kine"), File::new(KINE, 0o600, "old")];
        let files = vec![File::new(API, 0o600, "asks etcd"), File::new(ETCD, 0o600, "new")];
        Self::new(&old, Change { files, absent: [KINE.to_owned()].into() }, true)
    }

    fn new(files: &[File], change: Change, is_etcd: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let planes = (0..PLANES).map(|number| Plane::new(&folder.path().join(label(number)), files)).collect();
        Self { planes, change, is_etcd, _folder: folder }
    }

    /// Every step in its order, with the host that it is for, where each began calmly.
    fn steps(&self) -> Vec<(usize, Plan)> {
        let record = Record { id: "one".into(), old: String::new(), new: String::new(), begins: Vec::new() };
        let all = |plan: &dyn Fn(&str) -> Plan| (0..PLANES).map(|at| (at, plan(&label(at)))).collect::<Vec<_>>();
        let address = "10.0.0.1:6443";
        let mut steps = all(&|host| migrate::stage(host, &self.change, &record).unwrap());
        steps.extend(all(&|host| migrate::freeze(host, Which::Old, 60, "one")));
        if self.is_etcd {
            steps.extend(all(&|host| migrate::exchange(host, Which::New, "one")));
        }
        steps.extend(all(&|host| migrate::hold(host, "one")).into_iter().skip(1));
        steps.push((0, migrate::commit(&label(0), Which::New, address, "one")));
        steps.extend(all(&|host| migrate::follow(host, Which::New, address, "one")).into_iter().skip(1));
        steps
    }

    fn states(&self) -> Vec<State> {
        self.planes.iter().map(Plane::state).collect()
    }

    /// At most one store is used.
    fn agrees(&self, when: &str) -> Option<Which> {
        let serve: Vec<Option<Which>> = self.planes.iter().map(Plane::serves).collect();
        let one = serve.iter().flatten().next().copied();
        assert!(serve.iter().flatten().all(|which| Some(*which) == one), "{when}: {serve:?} {:?}", self.states());
        one
    }

    /// Until so many commands were called: whether it was cut off.
    fn migrates(&self, mut left: u64) -> bool {
        for (at, plan) in self.steps() {
            let ended = self.planes[at].does(&plan, &mut left);
            self.agrees("under way");
            match ended {
                Ended::Done => {}
                Ended::Killed => return true,
                Ended::Refused => panic!("{}: {:?}", plan.host, self.states()),
            }
        }
        false
    }

    /// What every run does with what was cut off.
    fn thaws(&self) -> Which {
        let (serves, is_calm) = migrate::serves(&self.states());
        if !is_calm {
            for (at, plane) in self.planes.iter().enumerate() {
                let ended = plane.does(&migrate::follow(&label(at), serves, "10.0.0.1:6443", "two"), &mut { ENOUGH });
                assert!(ended == Ended::Done, "{:?}", self.states());
                self.agrees("thawing");
            }
        }
        serves
    }
}

/// Cut off at every command, with nothing, the timer or a boot in between: how often that was.
fn cut_off_everywhere(site: fn() -> Site) -> u64 {
    for left in 0.. {
        let site = site();
        if !site.migrates(left) {
            assert!(site.states().iter().all(|state| *state == State::On(Which::New)), "{:?}", site.states());
            assert_eq!(site.agrees("done"), Some(Which::New));
            return left;
        }
        let between = ["", "timer", "enabled"][left as usize % 3];
        if !between.is_empty() {
            for plane in &site.planes {
                plane.resumes(between);
                site.agrees(between);
            }
            let serves = site.planes[0].serves();
            assert!(serves.is_some(), "after {left} commands the {between} brought nothing back: {:?}", site.states());
        }
        let serves = site.thaws();
        for plane in &site.planes {
            assert_eq!(plane.serves(), Some(serves), "after {left} commands: {:?}", site.states());
        }
        if serves == Which::Old && left % 4 == 0 {
            assert!(!site.migrates(ENOUGH), "after {left} commands");
            assert_eq!(site.agrees("run again"), Some(Which::New), "after {left} commands");
        }
    }
    unreachable!()
}

#[test]
fn between_kines_one_store_serves_wherever_it_is_cut_off() {
    let many = cut_off_everywhere(Site::kine);
    assert!(many > 40, "only {many} commands were called");
}

#[test]
fn on_the_way_to_etcd_one_store_serves_wherever_it_is_cut_off() {
    let many = cut_off_everywhere(Site::etcd);
    assert!(many > 60, "only {many} commands were called");
}

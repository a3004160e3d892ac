//! What tests of all engines share: where programs are, processes that end with the test, descriptions, and how a report is read.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use etcdless::config::credentials::Credentials;
use etcdless::config::{self, Cluster};
use etcdless::datastore::check::{self, Report};
use etcdless::datastore::explore::{Place, foreign};
use etcdless::remote::{Connect, Host};
use serde_json::{Value, json};

/// Whom servers run as: they refuse root.
pub(crate) const USER: &str = "nobody";

/// Ends with the test, whatever becomes of it.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn of(child: Child) -> Self {
        Self(child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // On SIGQUIT PostgreSQL waits for nobody and takes its children with it; the others end as well.
        let _gone = Command::new("kill").arg("-QUIT").arg(self.0.id().to_string()).status();
        let deadline = Instant::now() + Duration::from_secs(5);
        while matches!(self.0.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

/// Whether tests may run servers here; else says why not.
pub(crate) fn programs(names: &[(&str, Option<PathBuf>, &str)]) -> bool {
    for (name, path, package) in names {
        if path.is_none() {
            eprintln!("skipped: {name} is not installed (Debian: apt-get install {package})");
            return false;
        }
    }
    let root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    if !root {
        eprintln!("skipped: servers are started as {USER}, which needs root");
    }
    root
}

pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let mut folders = vec![PathBuf::from("/usr/sbin"), "/usr/bin".into()];
    if let Ok(versions) = std::fs::read_dir("/usr/lib/postgresql") {
        folders.extend(versions.flatten().map(|version| version.path().join("bin")));
    }
    folders.into_iter().map(|folder| folder.join(name)).find(|path| path.exists())
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A command as the unprivileged user.
pub(crate) fn as_user(program: &Path) -> Command {
    let mut command = Command::new("runuser");
    command.args(["-u", USER, "--"]).arg(program);
    command
}

/// The program itself as the unprivileged user, so that its process is the one that is ended.
pub(crate) fn start(program: &Path, args: &[String], log: &Path) -> Process {
    let log = std::fs::File::create(log).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", USER, "--clear-groups", "--"]).arg(program).args(args);
    Process(command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap())
}

pub(crate) fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Waits until a server does as it is asked.
pub(crate) fn until(what: &str, log: &Path, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: {}", std::fs::read_to_string(log).unwrap_or_default());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// kine on an endpoint, and its socket.
pub(crate) fn kine(folder: &Path, endpoint: &str) -> Option<(Process, PathBuf)> {
    let Some(binary) = std::env::var_os("ETCDLESS_KINE") else {
        eprintln!("skipped: set ETCDLESS_KINE to the path of a kine binary");
        return None;
    };
    let (socket, log) = (folder.join("kine.sock"), folder.join("log"));
    let kine = Command::new(binary)
        .arg(format!("--listen-address=unix://{}", socket.display()))
        .arg(format!("--endpoint={endpoint}"))
        .args(["--metrics-bind-address=0", "--compact-interval=0"])
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let kine = Process::of(kine);
    until("kine does not start", &log, || socket.exists());
    Some((kine, socket))
}

/// The store behind a socket, as the API server is told of it.
pub(crate) fn behind(socket: &Path) -> Place {
    let manifest = format!("spec: {{ containers: [{{ command: [a, --etcd-servers=unix://{}] }}] }}", socket.display());
    foreign::places(&manifest).unwrap().remove(0)
}

/// A folder that the unprivileged user owns.
pub(crate) fn folder() -> tempfile::TempDir {
    let folder = tempfile::Builder::new().prefix("etcdless-db-").tempdir_in("/tmp").unwrap();
    own(folder.path());
    folder
}

pub(crate) fn own(path: &Path) {
    run(Command::new("chown").arg("-R").arg(USER).arg(path));
}

/// A file that the server may read and nobody else.
pub(crate) fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    run(Command::new("chmod").arg("600").arg(path));
    own(path);
}

pub(crate) fn cluster(datastore: Value) -> Cluster {
    serde_json::from_value(json!({
        "apiVersion": "etcdless.dev/v1alpha1", "kind": "Cluster", "metadata": { "name": "demo" },
        "spec": { "datastore": datastore, "hosts": [{ "name": "cp1", "address": "local" }] },
    }))
    .unwrap()
}

/// This machine as a host.
pub(crate) async fn local() -> Host {
    let host: config::Host = serde_json::from_value(json!({ "name": "cp1", "address": "local" })).unwrap();
    Host::connect(&host, &Connect::default()).await.unwrap()
}

/// A report from this machine about a cluster that is not there yet.
pub(crate) async fn checked(cluster: &Cluster, credentials: &Credentials) -> Report {
    check::check(&local().await, cluster, std::slice::from_ref(credentials), false).await.unwrap()
}

/// Every check that found something, as people read it. Loopback is fast, but machines that run tests are not always.
pub(crate) fn wrong(report: &Report) -> Vec<String> {
    let findings = report.lines.iter().filter(|line| line.name != "DatastoreLatency");
    findings.flat_map(|line| line.findings.iter().map(|finding| format!("{}: {finding}", line.name))).collect()
}

/// The names of all checks that were made.
pub(crate) fn names(report: &Report) -> Vec<&'static str> {
    report.lines.iter().map(|line| line.name).collect()
}

//! A registry process on loopback, what it was asked, and etcdless with a home of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use etcdless::op::sha256;
use tempfile::TempDir;

/// Whether the programs that these tests need are here.
pub(crate) fn installed() -> bool {
    ["docker-registry", "skopeo"].iter().all(|program| {
        let found = Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
        if !found {
            eprintln!("skipped: {program} is not installed (Debian: apt-get install {program})");
        }
        found
    })
}

/// A running registry; it ends with the test.
pub(crate) struct Server {
    /// `127.0.0.1:PORT`.
    pub(crate) address: String,
    pub(crate) folder: TempDir,
    child: Child,
}

impl Server {
    /// An empty registry.
    pub(crate) fn empty() -> Self {
        Self::start(tempfile::tempdir().unwrap(), "", "")
    }

    /// A registry of what is in the folder; `http` and `more` are lines of its configuration.
    pub(crate) fn start(folder: TempDir, http: &str, more: &str) -> Self {
        let storage = folder.path().join("storage");
        let configuration = format!(
            "version: 0.1\nlog: {{ level: info }}\nstorage:\n  filesystem: {{ rootdirectory: {} }}\n\
             http:\n  addr: 127.0.0.1:0\n{http}{more}",
            storage.display()
        );
        let file = folder.path().join("registry.yml");
        fs::write(&file, configuration).unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(file)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut server = Self { address: String::new(), folder, child };
        let start = "listening on ";
        let line = server.until(|log| log.lines().find(|line| line.contains(start)).map(str::to_owned));
        let address = line.split_once(start).unwrap().1;
        server.address = address.split([',', '"']).next().unwrap().to_owned();
        server
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// Waits for something in the log.
    pub(crate) fn until<T>(&self, find: impl Fn(&str) -> Option<T>) -> T {
        let started = Instant::now();
        loop {
            if let Some(found) = find(&self.log()) {
                return found;
            }
            assert!(started.elapsed() < Duration::from_secs(60), "{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// `METHOD PATH` of every request that was answered well, from a point of the log on.
    pub(crate) fn requests(&self, from: usize) -> Vec<String> {
        let log = self.log();
        let request = |line: &str| {
            let (_, rest) = line.split_once("] \"")?;
            let (request, status) = rest.split_once(" HTTP/1.1\" ")?;
            status.starts_with('2').then(|| request.to_owned())
        };
        log[from..].lines().filter_map(request).collect()
    }

    /// Digests of the blobs that were sent here, from a point of the log on.
    pub(crate) fn sent(&self, from: usize) -> Vec<String> {
        let requests = self.requests(from);
        let uploads =
            requests.iter().filter(|request| request.starts_with("PUT ") && request.contains("/blobs/uploads/"));
        uploads.map(|request| request.split("sha256%3A").nth(1).unwrap()[..64].to_owned()).collect()
    }

    /// The digest of what a name stands for, as skopeo reads it, without `sha256:`.
    pub(crate) fn digest(&self, name: &str) -> Option<String> {
        let output = Command::new("skopeo")
            .args(["inspect", "--raw", "--tls-verify=false"])
            .arg(format!("docker://{}/{name}", self.address))
            .output()
            .unwrap();
        output.status.success().then(|| sha256(&output.stdout))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `etcdless ARGUMENTS` with no login but those of `home`.
pub(crate) fn etcdless(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_etcdless"));
    command.args(arguments).env("HOME", home).env("NO_PROXY", "127.0.0.1,localhost").stdin(Stdio::null());
    for variable in ["DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME"] {
        command.env_remove(variable);
    }
    command
}

/// Runs a command to its good end; the most memory that it took, in KiB.
pub(crate) fn peak(mut command: Command) -> u64 {
    let mut child = command.spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        let ended = child.try_wait().unwrap();
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let high = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
        peak = peak.max(high.unwrap_or(0));
        if let Some(ended) = ended {
            assert!(ended.success());
            return peak;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// Runs `etcdless mirror push` from one registry into another.
pub(crate) fn push(source: &Server, target: &str, more: &[&str]) -> Ran {
    let home = tempfile::tempdir().unwrap();
    ran(etcdless(home.path(), &pushing(&source.address, target, more)))
}

/// The arguments of that.
pub(crate) fn pushing<'a>(source: &str, target: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let set: &'static str = format!("artifacts.registry=http://{source}").leak();
    [&["mirror", "push", target, "--set", set], more].concat()
}

/// What a command ended with.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

pub(crate) fn ran(mut command: Command) -> Ran {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: status.code().unwrap(), stdout: text(stdout), stderr: text(stderr) }
}

impl Ran {
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.stdout
    }

    /// Fails unless it ended with this code and said this.
    pub(crate) fn failed(self, code: i32, said: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        for said in said {
            assert!(self.stderr.contains(said), "{said:?} is not in:\n{}", self.stderr);
        }
    }
}

/// A file below a folder, with its folders.
pub(crate) fn write(path: PathBuf, content: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

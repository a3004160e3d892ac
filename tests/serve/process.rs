//! `etcdless mirror serve` as a process, a bundle of files for it, and a client that sends what it is told to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use etcdless::artifact::bundle::{self, File, Manifest};
use etcdless::artifact::store::Store;
use tempfile::TempDir;

use crate::server::etcdless;

/// A process that serves; it ends with the test.
pub(crate) struct Serving {
    /// `127.0.0.1:PORT`.
    pub(crate) address: String,
    /// What it said at its start, but for the address.
    pub(crate) said: String,
    child: Child,
    stdout: BufReader<ChildStdout>,
    _home: TempDir,
}

impl Serving {
    /// Serves these bundles on a free port.
    pub(crate) fn start(bundles: &[&Path]) -> Self {
        Self::with(bundles, &["--listen", "127.0.0.1:0"])
    }

    pub(crate) fn with(bundles: &[&Path], more: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut command = etcdless(home.path(), &["mirror", "serve"]);
        let mut child = command.args(more).args(bundles).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut said = String::new();
        while !said.contains("in cluster.yaml") {
            assert!(stdout.read_line(&mut said).unwrap() > 0, "it ended: {said}");
        }
        let address = said.split_once("://").unwrap().1.split(',').next().unwrap().to_owned();
        Self { address, said, child, stdout, _home: home }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.address).unwrap()
    }

    /// Sends these bytes, and reads the head and the body of the answer.
    pub(crate) fn raw(&self, request: &[u8]) -> (String, Vec<u8>) {
        let mut stream = self.connect();
        // It may answer and close before it has read everything.
        let _ = stream.write_all(request);
        let mut answer = vec![];
        let _ = stream.read_to_end(&mut answer);
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
        (String::from_utf8(answer[..end].to_vec()).unwrap().to_lowercase(), answer[end + 4..].to_vec())
    }

    /// The same for a method, a target and more header lines.
    pub(crate) fn ask(&self, method: &str, target: &str, headers: &str) -> (String, Vec<u8>) {
        self.raw(format!("{method} {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n").as_bytes())
    }

    /// The most memory that it had, in KiB.
    pub(crate) fn peak(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
    }

    /// Ends it as Ctrl-C does; its exit code and its last lines.
    pub(crate) fn interrupt(mut self) -> (Option<i32>, String) {
        let killed = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().unwrap();
        assert!(killed.success());
        let mut last = String::new();
        self.stdout.read_to_string(&mut last).unwrap();
        (self.child.wait().unwrap().code(), last)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A file as a publisher has it.
pub(crate) struct Published<'a> {
    pub(crate) name: &'a str,
    /// Without `https://`.
    pub(crate) path: &'a str,
    pub(crate) checksums: &'a str,
    pub(crate) content: &'a [u8],
}

/// A bundle of these files in a folder, with whatever else `add` puts into it.
pub(crate) fn bundle(
    folder: &Path,
    name: &str,
    files: &[Published<'_>],
    add: impl FnOnce(&Store, &mut Manifest),
) -> PathBuf {
    let store = Store::open(Some(&folder.join("store"))).unwrap();
    let file = |file: &Published<'_>| File {
        name: file.name.into(),
        version: "v1".into(),
        arch: "amd64".into(),
        url: format!("https://{}", file.path),
        checksum_url: format!("https://{}", file.checksums),
        blob: store.put(file.content).unwrap(),
    };
    let mut manifest = Manifest {
        bundle: bundle::FORMAT.into(),
        files: files.iter().map(file).collect(),
        images: vec![],
        packages: vec![],
        blobs: vec![],
        since: vec![],
    };
    add(&store, &mut manifest);
    manifest.blobs = manifest.needed();
    let path = folder.join(name);
    bundle::write(&manifest, &store, &path, |_, _| {}).unwrap();
    path
}

/// Runs a program, which must end well, and gives what it printed.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.env("NO_PROXY", "127.0.0.1").env("no_proxy", "127.0.0.1").output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {text}");
    text
}

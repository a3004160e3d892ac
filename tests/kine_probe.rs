//! The probe of kine against a real kine where `ETCDLESS_KINE` names one, and against endpoints that are none.
#![expect(clippy::unwrap_used, clippy::print_stderr)]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use etcdless::cluster::kine::probe::{self, Endpoint, ProbeError};
use etcdless::facts::{Facts, Probes};
use etcdless::op::Script;
use etcdless::remote::{Output, Query, Question, RemoteError};

/// This machine, by way of `sh`.
struct Here;

impl Query for Here {
    async fn facts(&self, _: &Probes) -> Result<Facts, RemoteError> {
        unimplemented!()
    }

    async fn ask(&self, question: Question) -> Result<Output, RemoteError> {
        Ok(sh(question.script, &question.args, &question.input))
    }
}

fn sh(script: &str, args: &[String], input: &[u8]) -> Output {
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "sh"]).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut shell = shell.spawn().unwrap();
    // One that ends without reading it is no error here.
    drop(shell.stdin.take().unwrap().write_all(input));
    let output = shell.wait_with_output().unwrap();
    Output { status: output.status.code().unwrap(), stdout: output.stdout, stderr: output.stderr }
}

fn run(script: &Script) -> (i32, String, String) {
    let output = sh(&script.text, &script.args, &[]);
    (output.status, String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// A kine on SQLite in a folder of its own; ended when it is dropped.
struct Kine {
    process: Child,
    directory: tempfile::TempDir,
}

impl Drop for Kine {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Kine {
    /// `None`, with the reason printed, where no kine is named.
    fn start(listen: impl Fn(&Path) -> String, flags: impl Fn(&Path) -> Vec<String>) -> Option<Self> {
        let Some(binary) = std::env::var_os("ETCDLESS_KINE") else {
            eprintln!("skipped: set ETCDLESS_KINE to the path of a kine binary");
            return None;
        };
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        let process = Command::new(binary)
            .arg(format!("--listen-address={}", listen(at)))
            .arg(format!(
                "--endpoint=sqlite://{}/kine.db?_journal_mode=WAL&_txlock=immediate&cache=shared",
                at.display()
            ))
            .arg("--metrics-bind-address=0")
            .args(flags(at))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Some(Self { process, directory })
    }

    fn unix() -> Option<Self> {
        Self::start(|at| format!("unix://{}/kine.sock", at.display()), |_| Vec::new())
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }
}

fn socket(path: impl Into<String>) -> Endpoint {
    Endpoint::Unix { socket: path.into() }
}

#[tokio::test]
async fn kine_on_a_unix_socket_is_awaited_proven_and_measured() {
    let Some(kine) = Kine::unix() else { return };
    let endpoint = socket(kine.path("kine.sock"));
    // Started in the same breath as kine, so it has to wait; twice, so the first leaves nothing that disturbs the second.
    for _ in 0..2 {
        let (status, stdout, stderr) = run(&probe::proof(&endpoint, "cp1", 20, "digest"));
        assert_eq!((status, stderr.as_str()), (0, ""));
        assert!(stdout.ends_with(&format!("kine at {} keeps what is written\n", kine.path("kine.sock"))), "{stdout}");
    }
    let latency = probe::check(&Here, &endpoint, "cp1", "n1").await.unwrap();
    assert!(latency.write > Duration::ZERO && latency.read > Duration::ZERO, "{latency:?}");
    // kine's own /registry/health is the one object.
    let (revision, objects) = probe::count(&Here, &endpoint).await.unwrap();
    assert!(revision > 1 && objects == 1, "{revision} {objects}");
}

#[tokio::test]
async fn kine_behind_mutual_tls_is_proven_and_a_foreign_certificate_fails_at_once() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let make = |at: &Path| {
        certificates(at);
        let flag = |name: &str, file: &str| format!("--{name}={}", at.join(file).display());
        vec![
            flag("server-cert-file", "server.crt"),
            flag("server-key-file", "server.key"),
            flag("trusted-ca-file", "ca.crt"),
        ]
    };
    let Some(kine) = Kine::start(|_| format!("https://127.0.0.1:{port}"), make) else { return };
    let endpoint = |client: &str, ca: &str| Endpoint::Tcp {
        url: format!("https://127.0.0.1:{port}"),
        ca: kine.path(&format!("{ca}.crt")),
        cert: kine.path(&format!("{client}.crt")),
        key: kine.path(&format!("{client}.key")),
    };
    let (status, _, stderr) = run(&probe::proof(&endpoint("client", "ca"), "cp1", 20, ""));
    assert_eq!((status, stderr.as_str()), (0, ""));
    probe::check(&Here, &endpoint("client", "ca"), "cp1", "n1").await.unwrap();
    assert_eq!(probe::count(&Here, &endpoint("client", "ca")).await.unwrap().1, 1);

    // A CA that did not sign the server, and a key that is not there: waiting cannot help.
    for foreign in [endpoint("client", "client"), endpoint("none", "ca")] {
        let begun = Instant::now();
        let (status, _, stderr) = run(&probe::proof(&foreign, "cp1", 20, ""));
        assert_eq!(status, 4, "{stderr}");
        assert!(stderr.starts_with(&format!("kine at https://127.0.0.1:{port}: (")), "{stderr}");
        assert!(begun.elapsed() < Duration::from_secs(15), "it waited");
    }
}

#[tokio::test]
async fn an_endpoint_where_nobody_listens_says_what_is_missing() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    let none = at("none.sock");
    let dead = at("dead.sock");
    drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());

    let (status, stdout, stderr) = run(&probe::proof(&socket(none.as_str()), "cp1", 1, ""));
    assert_eq!(status, 3);
    assert_eq!(stdout, format!("waiting for kine at {none}: there is no socket\n"));
    assert_eq!(stderr, format!("kine at {none} does not answer after 1 s: there is no socket\n"));

    let error = probe::count(&Here, &socket(none.as_str())).await.unwrap_err();
    assert_eq!(error.to_string(), format!("kine at {none}: there is no socket"));
    let error = probe::count(&Here, &socket(dead.as_str())).await.unwrap_err();
    assert!(error.to_string().starts_with(&format!("kine at {dead}: (7) ")), "{error}");
    let error = probe::check(&Here, &socket(dead.as_str()), "cp1", "n1").await.unwrap_err();
    assert!(matches!(error, ProbeError::NoAnswer(_)), "{error:?}");
    let text = error.to_string();
    assert!(text.starts_with(&format!("kine at {dead} does not answer after 0 s: (7) ")), "{text}");
}

/// A `curl` that answers everything with one gRPC status and nothing else stands for a kine that cannot be had here.
#[test]
fn what_kine_answers_decides_whether_waiting_helps() {
    let cases = [
        ("0", "", 5, "the value that was written is not the one that is read"),
        ("12", "unknown method", 4, "Range: grpc-status 12: unknown method"),
        ("14", "database is down", 3, "Range: grpc-status 14: database is down"),
    ];
    for (grpc_status, message, status, reason) in cases {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let curl = format!(
            "#!/bin/sh\nwhile [ $# -gt 0 ]; do case $1 in\n-D) printf 'grpc-status: {grpc_status}\\r\\ngrpc-message: {message}\\r\\n' >\"$2\" ;;\n-o) : >\"$2\" ;;\nesac; shift; done\necho 0.001 0.002\n"
        );
        std::fs::write(path("curl"), curl).unwrap();
        std::fs::set_permissions(path("curl"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let listener = std::os::unix::net::UnixListener::bind(path("s")).unwrap();

        let script = probe::proof(&socket(path("s").display().to_string()), "cp1", 1, "");
        let search = format!("{}:{}", directory.path().display(), std::env::var("PATH").unwrap());
        let output = Command::new("sh")
            .env("PATH", search)
            .args(["-c", &script.text, "sh"])
            .args(&script.args)
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(status), "{stderr}");
        assert!(stderr.ends_with(&format!(": {reason}\n")), "{stderr}");
        drop(listener);
    }
}

/// A CA, and a server's and a client's certificate by it.
fn certificates(at: &Path) {
    let openssl = |line: &str| {
        let output = Command::new("openssl").args(line.split(' ')).current_dir(at).output().unwrap();
        assert!(output.status.success(), "openssl {line}: {}", String::from_utf8_lossy(&output.stderr));
    };
    std::fs::write(PathBuf::from(at).join("san"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    openssl(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=ca -keyout ca.key -out ca.crt",
    );
    for name in ["server", "client"] {
        openssl(&format!(
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"
        ));
        openssl(&format!(
            "x509 -req -days 1 -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -extfile san -out {name}.crt"
        ));
    }
}

//! An API server alone, on a kine with SQLite: nothing but it and this test writes.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::{Client, Method, StatusCode};
use serde_json::Value;
use tempfile::TempDir;

const TOKEN: &str = "values";

/// Ends with the test, whatever becomes of it.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Both programs, and the folder where they log and keep what they need.
pub(crate) struct Server {
    client: Client,
    root: String,
    // The API server ends first: without its store it would only write about that.
    _processes: [Process; 2],
    folder: TempDir,
}

/// A value in the store.
pub(crate) struct Row {
    pub(crate) revision: u64,
    pub(crate) key: String,
    pub(crate) value: Vec<u8>,
}

impl Server {
    /// None, with the reason printed, where a program is missing.
    pub(crate) async fn start() -> Option<Self> {
        let named = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.exists());
        let (Some(kine), Some(apiserver)) = (named("ETCDLESS_KINE"), named("ETCDLESS_APISERVER")) else {
            eprintln!(
                "skipped: set ETCDLESS_KINE and ETCDLESS_APISERVER to the paths of a kine and a kube-apiserver binary"
            );
            return None;
        };
        if Command::new("sqlite3").arg("--version").stdin(Stdio::null()).output().is_err() {
            eprintln!("skipped: sqlite3 is not installed (Debian: apt-get install sqlite3)");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let socket = format!("unix://{}", path("kine.sock"));
        let kine = process(
            &kine,
            folder.path(),
            &[
                format!("--listen-address={socket}"),
                format!("--endpoint=sqlite://{}?_journal_mode=WAL&_busy_timeout=30000&cache=shared", path("kine.db")),
                "--metrics-bind-address=0".into(),
            ],
        );
        let key = rcgen::KeyPair::generate().unwrap();
        for (name, text) in [
            ("sa.key", key.serialize_pem()),
            ("sa.pub", key.public_key_pem()),
            ("tokens", format!("{TOKEN},values,values,system:masters\n")),
        ] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let apiserver = process(
            &apiserver,
            folder.path(),
            &[
                format!("--etcd-servers={socket}"),
                format!("--secure-port={port}"),
                format!("--cert-dir={}", path("pki")),
                format!("--token-auth-file={}", path("tokens")),
                format!("--service-account-signing-key-file={}", path("sa.key")),
                format!("--service-account-key-file={}", path("sa.pub")),
                "--service-account-issuer=https://kubernetes.default.svc".into(),
                "--bind-address=127.0.0.1".into(),
                "--advertise-address=192.0.2.1".into(),
                "--service-cluster-ip-range=10.96.0.0/16".into(),
                "--authorization-mode=RBAC".into(),
                "--disable-admission-plugins=ServiceAccount".into(),
                // Every kind there is, those of features that are off, too. With one of them custom resources are stored as CBOR.
                "--runtime-config=api/all=true".into(),
                "--feature-gates=AllAlpha=true,AllBeta=true,CBORServingAndStorage=false".into(),
            ],
        );
        etcdless::artifact::http::install_tls();
        let client = Client::builder().no_proxy().tls_danger_accept_invalid_certs(true).build().unwrap();
        let root = format!("https://127.0.0.1:{port}");
        let server = Self { client, root, _processes: [apiserver, kine], folder };
        let deadline = Instant::now() + Duration::from_secs(120);
        while server.get("/readyz?verbose").await.is_err() {
            assert!(Instant::now() < deadline, "the API server is not ready: {}", server.log("kube-apiserver"));
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Some(server)
    }

    /// The end of a program's log.
    fn log(&self, name: &str) -> String {
        let log = std::fs::read_to_string(self.folder.path().join(format!("{name}.log"))).unwrap();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }

    /// What the API server answers to a GET; its text where that is no JSON.
    pub(crate) async fn get(&self, path: &str) -> Result<Value, String> {
        self.request(Method::GET, path, None).await
    }

    /// Writes an object.
    pub(crate) async fn write(&self, method: Method, path: &str, object: &Value) -> Result<Value, String> {
        self.request(method, path, Some(object.to_string())).await
    }

    async fn request(&self, method: Method, path: &str, body: Option<String>) -> Result<Value, String> {
        let mut request = self.client.request(method, format!("{}{path}", self.root)).bearer_auth(TOKEN);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        let answer = request.send().await.map_err(|error| error.to_string())?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| error.to_string())?;
        match status {
            StatusCode::OK | StatusCode::CREATED => Ok(serde_json::from_str(&text).unwrap_or(Value::String(text))),
            status => Err(format!("{path}: {status}: {text}")),
        }
    }

    /// Every row that holds a value, those of objects that have changed since, too.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let sql = "SELECT id, name, hex(value) FROM kine WHERE deleted = 0 ORDER BY id";
        let output = Command::new("sqlite3").arg(self.folder.path().join("kine.db")).arg(sql).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let row = |line: &str| {
            let mut columns = line.split('|');
            let mut column = || columns.next().unwrap().to_owned();
            Row { revision: column().parse().unwrap(), key: column(), value: bytes(&column()) }
        };
        text.lines().map(row).collect()
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn process(program: &Path, folder: &Path, args: &[String]) -> Process {
    let log = File::create(folder.join(program.file_name().unwrap()).with_extension("log")).unwrap();
    // It ends with this thread, even one that is killed.
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "--"])
        .arg(program)
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    Process(command.spawn().unwrap())
}

//! An API server on one store, side by side on this machine: database, kine and kube-apiserver, or etcd and kube-apiserver.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use etcdless::cluster::kine::{self, Listener};
use etcdless::config::Cluster;
use etcdless::config::credentials::Credentials;
use etcdless::datastore::{Stores, sqlite};
use secrecy::ExposeSecret;
use serde_json::json;
use tempfile::TempDir;

use crate::load::Api;
use crate::servers::{USER, free_port, own, program, run};
use crate::variant::{Change, Engine, Variant};

const PASSWORD: &str = "kine-bench";

/// The programs of upstream's that `tests/lab/lab build` makes.
pub(crate) struct Programs {
    pub(crate) apiserver: PathBuf,
    pub(crate) kine: PathBuf,
    pub(crate) etcd: PathBuf,
}

/// The program that an engine lacks here, and the command that brings it.
pub(crate) fn missing(engine: Engine, programs: &Programs) -> Option<String> {
    let packaged = |names: &[&str], package: &str| {
        let name = names.iter().find(|name| program(name).is_none())?;
        Some(format!("{name} is not installed (Debian: apt-get install {package})"))
    };
    match engine {
        Engine::Etcd if !programs.etcd.exists() => Some("etcd is not built (tests/lab/lab build --etcd)".into()),
        Engine::Etcd | Engine::Sqlite => None,
        Engine::Postgres => packaged(&["initdb", "postgres"], "postgresql"),
        Engine::Mariadb => packaged(&["mariadbd", "mariadb-install-db"], "mariadb-server-core"),
        Engine::Mysql => packaged(&["mysqld"], "mysql-server-core").or_else(|| {
            // Debian's MariaDB goes by this name, too.
            let said = run(Command::new("mysqld").arg("--version"));
            said.contains("MariaDB").then(|| "mysqld is MariaDB here".into())
        }),
    }
}

/// What stands in the report's head.
pub(crate) fn version(engine: Engine, programs: &Programs) -> String {
    let said = |path: &Path| run(Command::new(path).arg("--version")).lines().next().unwrap_or_default().to_owned();
    let server = |name: &str| program(name).map(|path| said(&path)).unwrap_or_default();
    match engine {
        Engine::Etcd => said(&programs.etcd),
        Engine::Sqlite => said(&programs.kine),
        Engine::Postgres => server("postgres"),
        Engine::Mariadb => server("mariadbd"),
        Engine::Mysql => server("mysqld"),
    }
}

/// A running stack. Everything ends, and its folder goes, with it.
pub(crate) struct Stack {
    pub(crate) api: Api,
    processes: Vec<Process>,
    _folder: TempDir,
}

impl Drop for Stack {
    fn drop(&mut self) {
        // One that is paused would not hear that it shall end.
        self.signal("-CONT");
        // The API server first: whatever lost its store would only write about it.
        while self.processes.pop().is_some() {}
    }
}

impl Stack {
    /// `parent` must be on a disk: a store on a tmpfs has nothing to wait for.
    pub(crate) async fn start(
        programs: &Programs,
        parent: &Path,
        variant: &Variant,
        clients: usize,
    ) -> Result<Self, String> {
        let folder = tempfile::Builder::new().prefix("etcdless-bench-").tempdir_in(parent);
        let folder = folder.map_err(|error| format!("{}: {error}", parent.display()))?;
        own(folder.path());
        let mut starting = Starting { folder: folder.path(), variant, processes: Vec::new() };
        let servers = match variant.engine {
            Engine::Etcd => starting.etcd(&programs.etcd).await?,
            _ => starting.kine(&programs.kine).await?,
        };
        let port = starting.apiserver(&programs.apiserver, &servers)?;
        let api = Api::new(port, clients)?;
        starting.until("the API server is not ready", "kube-apiserver", async || api.ready().await).await?;
        Ok(Self { api, processes: starting.processes, _folder: folder })
    }

    /// Lets it run, until [`Self::pause`]. Stacks that wait for their turn would each take a few hundredths of the machine.
    pub(crate) async fn resume(&self) -> Result<(), String> {
        self.signal("-CONT");
        let deadline = Instant::now() + Duration::from_secs(30);
        while !self.api.ready().await {
            if Instant::now() > deadline {
                return Err("the API server is no longer ready".into());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    pub(crate) fn pause(&self) {
        self.signal("-STOP");
    }

    fn signal(&self, signal: &str) {
        let ids = self.processes().into_iter().map(|id| id.to_string());
        let _gone = Command::new("kill").arg(signal).args(ids).stderr(Stdio::null()).status();
    }

    pub(crate) fn processes(&self) -> Vec<u32> {
        self.processes.iter().map(|process| process.0.id()).collect()
    }
}

/// A stack of which some processes run.
struct Starting<'a> {
    folder: &'a Path,
    variant: &'a Variant,
    processes: Vec<Process>,
}

impl Starting<'_> {
    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn has(&self, change: &Change) -> bool {
        self.variant.changes.contains(change)
    }

    /// What the server is told beside its own defaults.
    fn settings(&self) -> Vec<(String, String)> {
        let setting = |change: &Change| match change {
            Change::Setting(name, value) => Some((name.clone(), value.clone())),
            _ => None,
        };
        self.variant.changes.iter().filter_map(setting).collect()
    }

    /// etcd as kubeadm starts it, without its TLS.
    async fn etcd(&mut self, program: &Path) -> Result<String, String> {
        let (client, peer) = (format!("http://127.0.0.1:{}", free_port()), format!("http://127.0.0.1:{}", free_port()));
        let mut args = vec![
            format!("--data-dir={}", self.path("data")),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
            "--snapshot-count=10000".into(),
            "--watch-progress-notify-interval=5s".into(),
        ];
        args.extend(self.settings().iter().map(|(name, value)| format!("--{name}={value}")));
        self.spawn("etcd", program, &args, &[])?;
        Ok(client)
    }

    /// kine with the flags and the endpoint that etcdless gives it; only folders and ports are this run's.
    async fn kine(&mut self, program: &Path) -> Result<String, String> {
        let mut datastore = match self.variant.engine {
            Engine::Postgres => json!({ "postgres": { "external": { "address": self.postgres().await? } } }),
            Engine::Mariadb => json!({ "mariadb": { "external": { "address": self.mariadb().await? } } }),
            Engine::Mysql => json!({ "mysql": { "external": { "address": self.mysql().await? } } }),
            Engine::Etcd | Engine::Sqlite => json!({ "sqlite": {} }),
        };
        let (mut described, mut flags, mut parameters) = (json!({}), Vec::new(), serde_json::Map::new());
        for change in &self.variant.changes {
            match change {
                Change::Pool(pool) => described["pool"] = (*pool).into(),
                Change::Flag(flag) => flags.push(flag.clone()),
                Change::Parameter(name, value) => drop(parameters.insert(name.clone(), value.clone().into())),
                Change::Tcp | Change::Setting(..) => {}
            }
        }
        let external = datastore.as_object_mut().and_then(|engines| engines.values_mut().next()?.get_mut("external"));
        if let Some(external) = external {
            external["database"] = "kine".into();
            external["user"] = "kine".into();
            external["tls"] = json!({ "mode": "off" });
            external["parameters"] = std::mem::take(&mut parameters).into();
        }
        let cluster: Cluster = serde_json::from_value(json!({
            "apiVersion": "etcdless.dev/v1alpha1", "kind": "Cluster", "metadata": { "name": "bench" },
            "spec": { "datastore": datastore, "kine": described, "hosts": [{ "name": "cp1", "address": "local" }] },
        }))
        .map_err(|error| error.to_string())?;
        let password = Credentials { password: Some(PASSWORD.to_owned().into()), ..Credentials::default() };
        let stores = Stores::of(&cluster, &[password]).map_err(|failure| failure.message)?;
        let mut process = kine::processes(&cluster, &stores).remove(0);
        process.listener = Listener::Socket(self.path("kine.sock"));
        process.metrics_port = free_port();
        let mut endpoint = process.store.endpoint.expose_secret().replace(sqlite::DIRECTORY, &self.path(""));
        // SQLite's are not described by a cluster: they take the places of etcdless' own.
        for (name, value) in &parameters {
            let (file, all) = endpoint.split_once('?').unwrap_or((&endpoint, ""));
            let others = all.split('&').filter(|pair| pair.split('=').next() != Some(name));
            let others: Vec<&str> = others.collect();
            endpoint = format!("{file}?{}&{name}={}", others.join("&"), value.as_str().unwrap_or_default());
        }
        let args: Vec<String> = process.flags().into_iter().chain(flags).collect();
        self.spawn("kine", program, &args, &[("KINE_ENDPOINT", &endpoint)])?;
        self.until_listening("kine", "kine.sock").await?;
        Ok(process.listener.url())
    }

    async fn postgres(&mut self) -> Result<String, String> {
        let (data, port) = (self.path("data"), free_port());
        self.once(
            "initdb",
            &[
                "-D",
                &data,
                "-U",
                "postgres",
                "--auth-local=trust",
                "--auth-host=scram-sha-256",
                "--locale=C.UTF-8",
                "-EUTF8",
            ],
        );
        let sql = format!("CREATE ROLE kine LOGIN PASSWORD '{PASSWORD}'\nCREATE DATABASE kine OWNER kine\n");
        std::fs::write(self.path("sql"), sql).map_err(|error| error.to_string())?;
        self.once(
            "sh",
            &[
                "-c",
                "\"$1\" --single -D \"$2\" postgres <\"$3\"",
                "sh",
                &path_of("postgres")?,
                &data,
                &self.path("sql"),
            ],
        );
        let mut settings = vec![
            ("port".to_owned(), port.to_string()),
            ("listen_addresses".to_owned(), "127.0.0.1".to_owned()),
            ("unix_socket_directories".to_owned(), self.path("")),
        ];
        settings.extend(self.settings());
        let settings = settings.iter().flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")]);
        let args: Vec<String> = ["-D".to_owned(), data].into_iter().chain(settings).collect();
        self.spawn("postgres", Path::new(&path_of("postgres")?), &args, &[])?;
        self.until_listening("postgres", &format!(".s.PGSQL.{port}")).await?;
        Ok(if self.has(&Change::Tcp) { format!("127.0.0.1:{port}") } else { self.path(&format!(".s.PGSQL.{port}")) })
    }

    async fn mariadb(&mut self) -> Result<String, String> {
        let (data, temporary) = (format!("--datadir={}", self.path("data")), self.temporary());
        self.once(
            "mariadb-install-db",
            &["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", &data, &temporary],
        );
        self.mysqld("mariadbd").await
    }

    async fn mysql(&mut self) -> Result<String, String> {
        let data = format!("--datadir={}", self.path("data"));
        self.once("mysqld", &["--no-defaults", "--initialize-insecure", &data]);
        self.mysqld("mysqld").await
    }

    /// A server that starts removes temporary tables from its folder, those of another server that shares it, too.
    fn temporary(&self) -> String {
        format!("--tmpdir={}", self.path(""))
    }

    async fn mysqld(&mut self, name: &str) -> Result<String, String> {
        let port = free_port();
        let users = ["localhost", "127.0.0.1"].map(|host| {
            format!("CREATE USER kine@'{host}' IDENTIFIED BY '{PASSWORD}';\nGRANT ALL ON kine.* TO kine@'{host}';\n")
        });
        let sql = format!("CREATE DATABASE kine;\n{}", users.concat());
        std::fs::write(self.path("sql"), sql).map_err(|error| error.to_string())?;
        let mut args = vec![
            "--no-defaults".to_owned(),
            format!("--datadir={}", self.path("data")),
            self.temporary(),
            format!("--socket={}", self.path("sock")),
            format!("--pid-file={}", self.path("pid")),
            format!("--port={port}"),
            format!("--init-file={}", self.path("sql")),
            "--bind-address=127.0.0.1".into(),
            "--skip-name-resolve".into(),
            // Where a MariaDB has it, kine cannot live with it.
            "--loose-innodb-snapshot-isolation=OFF".into(),
        ];
        args.extend(self.settings().iter().map(|(name, value)| format!("--{name}={value}")));
        self.spawn(name, Path::new(&path_of(name)?), &args, &[])?;
        self.until_listening(name, "sock").await?;
        Ok(if self.has(&Change::Tcp) { format!("127.0.0.1:{port}") } else { self.path("sock") })
    }

    /// An API server alone. Nothing of it limits requests, so that the store is what is measured.
    fn apiserver(&mut self, program: &Path, servers: &str) -> Result<u16, String> {
        let port = free_port();
        let key = rcgen::KeyPair::generate().map_err(|error| error.to_string())?;
        let tokens = format!("{},bench,bench,system:masters\n", crate::load::TOKEN);
        for (name, text) in [("sa.key", key.serialize_pem()), ("sa.pub", key.public_key_pem()), ("tokens", tokens)] {
            std::fs::write(self.path(name), text).map_err(|error| error.to_string())?;
        }
        let args = [
            format!("--etcd-servers={servers}"),
            format!("--secure-port={port}"),
            format!("--cert-dir={}", self.path("pki")),
            format!("--token-auth-file={}", self.path("tokens")),
            format!("--service-account-signing-key-file={}", self.path("sa.key")),
            format!("--service-account-key-file={}", self.path("sa.pub")),
            "--service-account-issuer=https://kubernetes.default.svc".into(),
            "--bind-address=127.0.0.1".into(),
            "--advertise-address=192.0.2.1".into(),
            "--endpoint-reconciler-type=none".into(),
            "--service-cluster-ip-range=10.96.0.0/16".into(),
            "--authorization-mode=AlwaysAllow".into(),
            "--disable-admission-plugins=ServiceAccount".into(),
            "--enable-priority-and-fairness=false".into(),
            "--max-requests-inflight=0".into(),
            "--max-mutating-requests-inflight=0".into(),
        ];
        self.spawn("kube-apiserver", program, &args, &[])?;
        Ok(port)
    }

    /// Runs a program of the database's to its end, as the unprivileged user.
    fn once(&self, name: &str, args: &[&str]) {
        let found = program(name).unwrap_or_else(|| name.into());
        let mut command = Command::new("setpriv");
        run(command.args(["--reuid", USER, "--clear-groups", "--"]).arg(found).args(args).current_dir("/"));
    }

    /// Starts a program as the unprivileged user. It ends when this one does, whatever becomes of it.
    fn spawn(&mut self, name: &str, program: &Path, args: &[String], env: &[(&str, &str)]) -> Result<(), String> {
        own(self.folder);
        let started = File::create(self.path(&format!("{name}.log"))).and_then(|log| {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", USER, "--clear-groups", "--pdeathsig", "KILL", "--"]).arg(program).args(args);
            command.envs(env.iter().copied()).current_dir(self.folder).stdin(Stdio::null());
            command.stdout(log.try_clone()?).stderr(log).spawn()
        });
        self.processes.push(Process(started.map_err(|error| format!("{name}: {error}"))?));
        Ok(())
    }

    async fn until_listening(&mut self, name: &str, socket: &str) -> Result<(), String> {
        let path = self.folder.join(socket);
        let is_so = async || tokio::net::UnixStream::connect(&path).await.is_ok();
        self.until(&format!("{name} does not listen"), name, is_so).await
    }

    /// Waits for something under a deadline; where the last process ended or the time is over, its log says why.
    async fn until(&mut self, what: &str, name: &str, is_so: impl AsyncFn() -> bool) -> Result<(), String> {
        let deadline = Instant::now() + Duration::from_secs(120);
        while !is_so().await {
            let ended = self.processes.last_mut().is_none_or(|process| !matches!(process.0.try_wait(), Ok(None)));
            if ended || Instant::now() > deadline {
                let log = std::fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                return Err(format!("{what}: {}", lines[lines.len().saturating_sub(8)..].join("\n")));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }
}

fn path_of(name: &str) -> Result<String, String> {
    program(name).map(|path| path.display().to_string()).ok_or_else(|| format!("{name} is not installed"))
}

/// Ends with its stack.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // On SIGQUIT PostgreSQL takes its children with it; the others end as well.
        let _gone = Command::new("kill").arg("-QUIT").arg(self.0.id().to_string()).stderr(Stdio::null()).status();
        let deadline = Instant::now() + Duration::from_secs(5);
        while matches!(self.0.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

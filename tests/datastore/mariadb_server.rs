//! A MariaDB server of a test's own.

use std::path::PathBuf;

use etcdless::config::Cluster;
use etcdless::config::credentials::Credentials;
use serde_json::{Value, json};
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor, Row};
use tempfile::TempDir;

use crate::servers::{self, Process, as_user, free_port, program, run, start, until, write};

pub(crate) const PASSWORD: &str = "kine's canary %41@:/";

/// kine's own table.
pub(crate) const TABLE: &str = "CREATE TABLE kine.kine (id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, name VARCHAR(630) CHARACTER SET ascii, \
    created INTEGER, deleted INTEGER, create_revision BIGINT UNSIGNED, prev_revision BIGINT UNSIGNED, lease INTEGER, value MEDIUMBLOB, \
    old_value MEDIUMBLOB)";

pub(crate) struct Server {
    folder: TempDir,
    pub(crate) port: u16,
    _process: Process,
}

impl Server {
    /// A server with a database and a user `kine`, started with these settings; nothing where there are no programs for it.
    pub(crate) async fn start(settings: &[&str]) -> Option<Self> {
        Self::start_with(settings, None).await
    }

    /// The same with TLS: certificate and key, and who signs those of clients.
    pub(crate) async fn start_with(settings: &[&str], tls: Option<((String, String), &str)>) -> Option<Self> {
        let found = [
            ("mariadbd", program("mariadbd"), "mariadb-server-core"),
            ("mariadb-install-db", program("mariadb-install-db"), "mariadb-server-core"),
            ("my_print_defaults", program("my_print_defaults"), "mariadb-client"),
        ];
        if !servers::programs(&found) {
            return None;
        }
        let folder = servers::folder();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let data = format!("--datadir={}", path("data"));
        // A server that starts removes temporary tables from its folder, those of another server that shares it, too.
        let temporary = format!("--tmpdir={}", folder.path().display());
        run(as_user(&program("mariadb-install-db").unwrap())
            .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", &data, &temporary])
            .current_dir("/"));
        let port = free_port();
        let log = folder.path().join("log");
        let mut args: Vec<String> = [
            "--no-defaults".to_owned(),
            data,
            temporary,
            format!("--socket={}", path("sock")),
            format!("--pid-file={}", path("pid")),
            format!("--port={port}"),
            "--bind-address=127.0.0.1".into(),
            "--skip-name-resolve".into(),
            "--innodb-buffer-pool-size=16M".into(),
            "--innodb-flush-log-at-trx-commit=0".into(),
            "--innodb-snapshot-isolation=OFF".into(),
        ]
        .into();
        args.extend(settings.iter().map(ToString::to_string));
        if let Some((certificate, clients)) = tls {
            place(folder.path(), certificate);
            write(&folder.path().join("clients.crt"), clients);
            for (flag, name) in [("ssl-cert", "server.crt"), ("ssl-key", "server.key"), ("ssl-ca", "clients.crt")] {
                args.push(format!("--{flag}={}", path(name)));
            }
        }
        let process = start(&program("mariadbd").unwrap(), &args, &log);
        let server = Self { folder, port, _process: process };
        let socket = server.path("sock");
        until("MariaDB does not start", &log, || {
            socket.exists() && std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        let password = PASSWORD.replace('\'', "''");
        server.sql("CREATE DATABASE kine").await;
        server.sql(&format!("CREATE USER kine@'%' IDENTIFIED BY '{password}'")).await;
        server.sql("GRANT ALL ON kine.* TO kine@'%'").await;
        Some(server)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn root(&self) -> MySqlConnection {
        let options = MySqlConnectOptions::new().socket(self.path("sock")).username("root");
        options.ssl_mode(MySqlSslMode::Disabled).connect().await.unwrap()
    }

    /// Runs a statement as root.
    pub(crate) async fn sql(&self, sql: &str) {
        self.root().await.execute(sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))).await.unwrap();
    }

    /// Takes another certificate into use.
    pub(crate) async fn certificate(&self, certificate: (String, String)) {
        place(self.folder.path(), certificate);
        self.sql("FLUSH SSL").await;
    }

    /// The tables of the database: nothing of ours may stay.
    pub(crate) async fn tables(&self) -> usize {
        self.root().await.fetch_all("SHOW TABLES IN kine").await.unwrap().len()
    }

    /// How kine's table is made.
    pub(crate) async fn table(&self) -> String {
        let row = self.root().await.fetch_one("SHOW CREATE TABLE kine.kine").await.unwrap();
        let text: String = row.get(1);
        // Indexes come in any order, and the next number depends on rows.
        let plain = text.split(' ').filter(|word| !word.starts_with("AUTO_INCREMENT=")).collect::<Vec<_>>().join(" ");
        let mut lines: Vec<&str> = plain.lines().map(|line| line.trim_end_matches(',')).collect();
        lines.sort_unstable();
        lines.join("\n")
    }

    /// The description of a cluster on this server.
    pub(crate) fn cluster(&self, changes: Value) -> Cluster {
        let mut external = json!({ "address": format!("localhost:{}", self.port), "database": "kine", "user": "kine",
            "tls": { "mode": "off" } });
        for (name, value) in changes.as_object().unwrap() {
            external[name] = value.clone();
        }
        servers::cluster(json!({ "mariadb": { "external": external } }))
    }
}

pub(crate) fn credentials() -> Credentials {
    Credentials { password: Some(PASSWORD.to_owned().into()), ..Credentials::default() }
}

/// Puts a certificate where a server reads it.
fn place(folder: &std::path::Path, (cert, key): (String, String)) {
    write(&folder.join("server.crt"), &cert);
    write(&folder.join("server.key"), &key);
}

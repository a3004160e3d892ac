//! A PostgreSQL server of a test's own, and PgBouncer in front of it.

use std::path::PathBuf;
use std::process::Command;

use etcdless::config::Cluster;
use etcdless::config::credentials::Credentials;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::servers::{self, Process, as_user, free_port, program, run, start, until, write};

pub(crate) const PASSWORD: &str = "kine's canary %41";

/// kine's own table.
pub(crate) const TABLE: &str = "CREATE TABLE kine (id BIGSERIAL PRIMARY KEY, name text COLLATE \"C\", created INTEGER, deleted INTEGER, \
    create_revision BIGINT, prev_revision BIGINT, lease INTEGER, value bytea, old_value bytea)";

pub(crate) struct Server {
    folder: TempDir,
    pub(crate) port: u16,
    _process: Process,
}

impl Server {
    /// A server with a database and a role `kine`; nothing where there are no programs for it.
    pub(crate) fn start() -> Option<Self> {
        Self::start_with("")
    }

    /// The same with settings that hold from the start.
    pub(crate) fn start_with(settings: &str) -> Option<Self> {
        let server = Self::bare(|data| {
            run(as_user(&program("initdb").unwrap())
                .args(["-D", data, "-U", "postgres", "--auth-host=scram-sha-256"])
                .args(["--auth-local=trust", "--no-sync", "--locale=C.UTF-8", "-E", "UTF8"]));
            write(&std::path::Path::new(data).join("postgresql.auto.conf"), settings);
        })?;
        server.sql("postgres", &format!("CREATE ROLE kine LOGIN PASSWORD '{}'", PASSWORD.replace('\'', "''")));
        server.sql("postgres", "CREATE DATABASE kine OWNER kine");
        server.set(&[("fsync", "off")]);
        Some(server)
    }

    /// A server whose data folder `make` makes.
    pub(crate) fn bare(make: impl FnOnce(&str)) -> Option<Self> {
        let found = ["initdb", "postgres", "psql", "pg_basebackup"].map(|name| (name, program(name), "postgresql"));
        if !servers::programs(&found) {
            return None;
        }
        let folder = servers::folder();
        let data = folder.path().join("data");
        make(data.to_str().unwrap());
        let port = free_port();
        let log = folder.path().join("log");
        let mut args = vec!["-D".to_owned(), data.display().to_string()];
        for setting in [
            format!("port={port}"),
            "listen_addresses=127.0.0.1,::1".into(),
            format!("unix_socket_directories={}", folder.path().display()),
            "wal_level=replica".into(),
        ] {
            args.extend(["-c".to_owned(), setting]);
        }
        let process = start(&program("postgres").unwrap(), &args, &log);
        let server = Self { folder, port, _process: process };
        until("PostgreSQL does not start", &log, || server.psql("postgres", "SELECT 1").status().unwrap().success());
        Some(server)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn psql(&self, database: &str, sql: &str) -> Command {
        let mut command = Command::new(program("psql").unwrap());
        command.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database, "-c", sql]);
        command.arg("-h").arg(self.folder.path()).args(["-p", &self.port.to_string()]);
        command.stderr(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        command
    }

    /// Runs a statement as superuser.
    pub(crate) fn sql(&self, database: &str, sql: &str) -> String {
        run(&mut self.psql(database, sql))
    }

    /// A statement of kine's own role in its own database, by password.
    pub(crate) fn login(&self, sql: &str) -> Command {
        let mut command = Command::new(program("psql").unwrap());
        command.args(["-XAtq", "-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "kine", "-d", "kine", "-c", sql]);
        command.env("PGPASSWORD", PASSWORD).stderr(std::process::Stdio::null()).stdout(std::process::Stdio::null());
        command
    }

    /// Changes settings that need no restart, and waits until they hold.
    pub(crate) fn set(&self, settings: &[(&str, &str)]) {
        for (name, value) in settings {
            self.sql("postgres", &format!("ALTER SYSTEM SET {name} = '{value}'"));
        }
        self.sql("postgres", "SELECT pg_reload_conf()");
        until("a setting does not come to hold", &self.path("log"), || {
            settings.iter().all(|(name, value)| {
                let setting = format!("SELECT setting FROM pg_settings WHERE name = '{name}'");
                self.sql("postgres", &setting).trim() == *value
            })
        });
    }

    /// Takes a certificate into use.
    pub(crate) fn certificate(&self, name: &str, (cert, key): (String, String)) {
        let (cert_file, key_file) = (self.path(&format!("{name}.crt")), self.path(&format!("{name}.key")));
        write(&cert_file, &cert);
        write(&key_file, &key);
        let text = |path: PathBuf| path.display().to_string();
        self.set(&[("ssl_cert_file", &text(cert_file)), ("ssl_key_file", &text(key_file)), ("ssl", "on")]);
    }

    /// A copy that follows this server.
    pub(crate) fn standby(&self) -> Option<Self> {
        Self::bare(|data| {
            run(as_user(&program("pg_basebackup").unwrap())
                .args(["-D", data, "-R", "-U", "postgres", "-c", "fast", "-X", "stream", "-h"])
                .arg(self.folder.path())
                .args(["-p", &self.port.to_string()]));
        })
    }

    /// What the database holds: nothing of ours may stay.
    pub(crate) fn relations(&self) -> String {
        self.sql("kine", "SELECT relname FROM pg_class WHERE relnamespace::regnamespace::text !~ '^(pg_|information_)'")
    }

    /// The description of a cluster on this server.
    pub(crate) fn cluster(&self, changes: Value) -> Cluster {
        let mut external = json!({ "address": format!("localhost:{}", self.port), "database": "kine", "user": "kine",
            "tls": { "mode": "off" } });
        for (name, value) in changes.as_object().unwrap() {
            external[name] = value.clone();
        }
        servers::cluster(json!({ "postgres": { "external": external } }))
    }
}

pub(crate) fn credentials() -> Credentials {
    Credentials { password: Some(PASSWORD.to_owned().into()), ..Credentials::default() }
}

/// PgBouncer in front of a server.
pub(crate) struct Pooler {
    _folder: TempDir,
    pub(crate) port: u16,
    _process: Process,
}

impl Pooler {
    pub(crate) fn start(server: &Server, mode: &str) -> Option<Self> {
        if !servers::programs(&[("pgbouncer", program("pgbouncer"), "pgbouncer")]) {
            return None;
        }
        let folder = servers::folder();
        let (port, path) = (free_port(), folder.path().display().to_string());
        // The pooler logs in by the socket, where the server asks for nothing.
        let config = format!(
            "[databases]\nkine = host={} port={} dbname=kine user=kine\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = plain\nauth_file = {path}/users\npool_mode = {mode}\nlogfile = {path}/log\n",
            server.folder.path().display(),
            server.port
        );
        write(&folder.path().join("users"), &format!("\"kine\" \"{PASSWORD}\"\n"));
        write(&folder.path().join("ini"), &config);
        let log = folder.path().join("out");
        let process = start(&program("pgbouncer").unwrap(), &[format!("{path}/ini")], &log);
        until("PgBouncer does not start", &log, || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        Some(Self { _folder: folder, port, _process: process })
    }
}

//! An sshd on loopback, for tests that need hosts over SSH.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part")]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use etcdless::config;
use etcdless::remote::{Connect, Host, Layout};
use serde_json::json;
use tempfile::TempDir;

/// An sshd with keys, configuration and known_hosts of its own.
pub struct Sshd {
    folder: TempDir,
    pub port: u16,
    process: Child,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _gone = self.process.wait();
    }
}

/// Starts one, or says why not.
pub fn sshd() -> Option<Sshd> {
    let program = ["/usr/sbin/sshd", "/usr/bin/sshd", "/sbin/sshd"].into_iter().find(|path| Path::new(path).exists());
    let Some(program) = program else {
        eprintln!("skipped: sshd is not installed (Debian: apt-get install openssh-server)");
        return None;
    };
    if !output(Command::new("id").arg("-u")).starts_with("0\n") {
        eprintln!("skipped: the hosts of these tests are this machine, and changes need root");
        return None;
    }
    std::fs::create_dir_all("/run/sshd").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    keygen(&path("host"));
    keygen(&path("user"));
    std::fs::copy(path("user.pub"), path("authorized")).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {0}/host\nAuthorizedKeysFile {0}/authorized\nStrictModes no\n\
         PidFile none\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\nMaxStartups 100\n\
         SetEnv HOME={0}\n",
        folder.path().display()
    );
    std::fs::write(path("sshd_config"), config).unwrap();
    let client = format!(
        "Host jump\n  HostName 127.0.0.1\n  Port {port}\n  HostKeyAlias jump\nHost *\n  IdentityFile {0}/user\n  IdentitiesOnly yes\n  \
         UserKnownHostsFile {0}/known_hosts\n  GlobalKnownHostsFile /dev/null\n  User root\n",
        folder.path().display()
    );
    std::fs::write(path("ssh_config"), client).unwrap();
    let process = Command::new(program)
        .args(["-D", "-e", "-f"])
        .arg(path("sshd_config"))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let sshd = Sshd { folder, port, process };
    let deadline = Instant::now() + Duration::from_secs(10);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < deadline, "sshd does not listen");
        std::thread::yield_now();
    }
    Some(sshd)
}

pub fn keygen(path: &Path) {
    output(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path));
}

pub fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

impl Sshd {
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn options(&self) -> Connect {
        Connect {
            accept_new: true,
            known_hosts: Some(self.path("known_hosts")),
            config_file: Some(self.path("ssh_config")),
            layout: Layout {
                journal: self.path("journal").display().to_string(),
                lock: self.path("lock").display().to_string(),
            },
            ..Connect::default()
        }
    }

    pub fn described(&self, ssh: serde_json::Value) -> config::Host {
        let mut host = json!({ "address": "127.0.0.1", "ssh": { "port": self.port } });
        for (key, value) in ssh.as_object().unwrap() {
            host["ssh"][key] = value.clone();
        }
        serde_json::from_value(host).unwrap()
    }

    pub async fn connect(&self) -> Host {
        Host::connect(&self.described(json!({})), &self.options()).await.unwrap()
    }
}

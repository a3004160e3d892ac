//! The scripts of operations on this machine, on paths in a temporary folder; systemd and swap are stood in for.
#![expect(clippy::unwrap_used, clippy::print_stderr)]

use std::io::Cursor;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use etcdless::config;
use etcdless::facts::{Facts, Probes};
use etcdless::journal::Record;
use etcdless::op::{Decision, Fetch, File, Op, Pending, Script, sha256};
use etcdless::remote::{Connect, Host, Layout, Mutate, Payload, Query, RemoteError, Signal, script};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

struct Machine {
    folder: TempDir,
    host: Host,
    heard: Vec<Signal>,
}

/// This machine, or why not.
async fn machine() -> Option<Machine> {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let layout = Layout { journal: path("state/journal"), lock: path("lock") };
    let described: config::Host = serde_json::from_value(json!({ "address": "local" })).unwrap();
    match Host::connect(&described, &Connect { layout, ..Connect::default() }).await {
        Ok(host) => Some(Machine { folder, host, heard: Vec::new() }),
        Err(error) => {
            eprintln!("skipped: {error}");
            None
        }
    }
}

impl Machine {
    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    async fn apply(&mut self, op: &Op, payload: Option<Payload>) -> Result<(), RemoteError> {
        let (signals, mut heard) = tokio::sync::mpsc::unbounded_channel();
        let result = self.host.apply(op, &record(op), payload, &signals).await;
        drop(signals);
        self.heard.clear();
        while let Some(signal) = heard.recv().await {
            self.heard.push(signal);
        }
        result
    }

    async fn look(&self, op: &Op) -> Facts {
        self.host.facts(&op.probes()).await.unwrap()
    }

    async fn decide(&self, op: &Op) -> Decision {
        op.decide("test/step", &self.look(op).await, &Pending::new())
    }

    /// The operation is needed, works, and is not needed any more.
    async fn converges(&mut self, op: &Op) {
        assert_ne!(self.decide(op).await, Decision::AlreadySo, "{op:?}");
        self.apply(op, None).await.unwrap();
        assert_eq!(self.decide(op).await, Decision::AlreadySo, "{op:?}");
    }

    fn names(&self, folder: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.path(folder)) else { return Vec::new() };
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn record(op: &Op) -> Record {
    Record { run: "r1".into(), step: "test/step".into(), digest: op.digest(), files: op.vouched() }
}

fn lines(error: RemoteError) -> Vec<String> {
    match error {
        RemoteError::Failed { lines, .. } => lines,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn directories_and_files_converge() {
    let Some(mut machine) = machine().await else { return };
    machine.converges(&Op::Directory { path: machine.path("a b/c"), mode: 0o750 }).await;
    machine.converges(&Op::Directory { path: machine.path("a b/c"), mode: 0o700 }).await;
    let content = "one $HOME `id` '\"\\\n\ttwo\n\n";
    machine.converges(&Op::File(File::new(machine.path("etc/x/file.conf"), 0o644, content))).await;
    assert_eq!(std::fs::read_to_string(machine.path("etc/x/file.conf")).unwrap(), content);
    machine.converges(&Op::File(File::secret(machine.path("etc/x/file.conf"), 0o600, ""))).await;
    assert_eq!(machine.names("etc/x"), ["file.conf"]);
    let journal = std::fs::metadata(machine.path("state/journal")).unwrap();
    assert_eq!(journal.permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn what_was_not_there_is_noted_before_it_is_made() {
    let Some(mut machine) = machine().await else { return };
    let (new, old) = (machine.path("etc/x/new.conf"), machine.path("old.conf"));
    std::fs::write(&old, "somebody's").unwrap();
    for path in [&new, &old] {
        machine.apply(&Op::File(File::new(path.as_str(), 0o644, "ours")), None).await.unwrap();
    }
    let journal = std::fs::read_to_string(machine.path("state/journal")).unwrap();
    let made: Vec<&str> = journal.lines().filter_map(|line| line.strip_prefix("made\t")).collect();
    for path in [&new, &machine.path("etc/x"), &machine.path("etc")] {
        assert!(made.contains(&path.as_str()), "{path}: {made:?}");
    }
    assert!(!made.contains(&old.as_str()), "{made:?}");
    let place = |text: &str| journal.lines().position(|line| line.starts_with(text)).unwrap();
    assert!(place("made\t") < place("step\t"), "{journal}");
}

#[tokio::test]
async fn a_file_whose_content_was_cut_off_replaces_nothing() {
    let Some(machine) = machine().await else { return };
    let path = machine.path("file");
    std::fs::write(&path, "old").unwrap();
    let op = Op::File(File::new(path.as_str(), 0o644, "new and longer"));
    let layout = Layout { journal: machine.path("state/journal"), lock: machine.path("lock") };
    let call = script::call(&op, &record(&op), &layout).unwrap();
    let mut child = Command::new("sh")
        .args(["-c", call.script, "sh"])
        .args(&call.args)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"new").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8(output.stderr).unwrap().ends_with("the content was cut off on its way\n"));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
    assert_eq!(machine.names(""), ["file", "lock.steps", "state"], "no draft");
    let journal = std::fs::read_to_string(machine.path("state/journal")).unwrap();
    assert!(!journal.contains("step\t"), "{journal}");
}

#[tokio::test]
async fn the_journal_says_nothing_of_a_step_that_failed_and_survives_a_torn_line() {
    let Some(mut machine) = machine().await else { return };
    let creates = machine.path("done");
    let script = |text: &'static str| {
        let args = vec![creates.clone()];
        Op::Script(Script {
            text: text.into(),
            args,
            creates: vec![creates.clone()],
            watches: vec![],
            of: "".into(),
            seconds: 5,
        })
    };
    let failing = script("echo one; echo two >&2; touch \"$1\"; exit 3");
    let error = machine.apply(&failing, None).await.unwrap_err();
    assert!(matches!(&error, RemoteError::Failed { status: 3, .. }), "{error:?}");
    let mut printed = lines(error);
    printed.sort();
    assert_eq!(printed, ["one", "two"]);
    assert_eq!(machine.heard.len(), 2);
    assert_eq!(machine.decide(&failing).await, Decision::Change("not done yet".into()));

    std::fs::create_dir_all(machine.path("state")).unwrap();
    std::fs::write(machine.path("state/journal"), "step\t1\tr0\tto").unwrap();
    machine.converges(&script("touch \"$1\"; exit 0")).await;

    let slow = Op::Script(Script {
        text: "echo begun; exec sleep 60".into(),
        args: vec![],
        creates: vec![],
        watches: vec![],
        of: "".into(),
        seconds: 1,
    });
    match machine.apply(&slow, None).await.unwrap_err() {
        RemoteError::TimedOut { seconds, lines, .. } => assert_eq!((seconds, lines), (1, vec!["begun".to_owned()])),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn only_the_last_lines_are_kept() {
    let Some(mut machine) = machine().await else { return };
    let op = Op::Script(Script {
        text: "i=0; while [ $i -lt 50 ]; do echo $i; i=$((i+1)); done; exit 1".into(),
        args: vec![],
        creates: vec![],
        watches: vec![],
        of: "".into(),
        seconds: 5,
    });
    let kept = lines(machine.apply(&op, None).await.unwrap_err());
    assert_eq!(kept, (30..50).map(|i| i.to_string()).collect::<Vec<_>>());
    assert_eq!(machine.heard.len(), 50);
}

fn fetch(machine: &Machine, url: &str, content: &[u8], push: bool) -> Fetch {
    Fetch {
        name: "kubelet".into(),
        version: "v1".into(),
        url: url.into(),
        sha256: sha256(content),
        size: content.len() as u64,
        staged: machine.path("stage/kubelet"),
        yields: vec![machine.path("bin/kubelet")],
        push,
        environment: vec![],
    }
}

/// An HTTP server for one file: every connection gets the status line, this Content-Length and this body.
async fn serve(status: &'static str, length: usize, body: &'static [u8]) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/kubelet", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _read = client.read(&mut request).await;
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            let _sent = client.write_all(head.as_bytes()).await;
            let _sent = client.write_all(body).await;
        }
    });
    url
}

#[tokio::test]
async fn a_fetched_program_is_installed_and_stays_vouched_for() {
    let Some(mut machine) = machine().await else { return };
    let url = serve("200 OK", 7, b"program").await;
    let fetched = Op::Fetch(fetch(&machine, &url, b"program", false));
    machine.converges(&fetched).await;
    assert_eq!(machine.heard.last(), Some(&Signal::Bytes { done: 7, total: 7 }));
    let install = |version: &str| Op::Install {
        staged: machine.path("stage/kubelet"),
        path: machine.path("bin/kubelet"),
        mode: 0o755,
        version: version.into(),
    };
    let (first, second) = (install("v1"), install("v2"));
    machine.converges(&first).await;
    assert_eq!(std::fs::read(machine.path("bin/kubelet")).unwrap(), b"program");
    assert_eq!(machine.names("stage"), Vec::<String>::new());
    assert_ne!(machine.decide(&second).await, Decision::AlreadySo);
    let said = lines(machine.apply(&second, None).await.unwrap_err()).concat();
    assert!(said.contains("stage/kubelet is not there: phase artifacts brings it"), "{said}");
    std::fs::write(machine.path("bin/kubelet"), "another").unwrap();
    assert_ne!(machine.decide(&first).await, Decision::AlreadySo, "somebody replaced it");
}

#[tokio::test]
async fn a_host_fetches_through_the_proxy_that_it_is_told() {
    let Some(mut machine) = machine().await else { return };
    let proxy = serve("200 OK", 7, b"program").await;
    let proxy = proxy.trim_end_matches("/kubelet");
    let url = "http://nowhere.invalid/kubelet";
    let fetched = Fetch { environment: vec![format!("http_proxy={proxy}")], ..fetch(&machine, url, b"program", false) };
    machine.converges(&Op::Fetch(fetched)).await;
}

#[tokio::test]
async fn a_file_that_is_not_wanted_any_more_goes() {
    let Some(mut machine) = machine().await else { return };
    std::fs::write(machine.path("old.conf"), "old").unwrap();
    machine.converges(&Op::Absent { path: machine.path("old.conf") }).await;
    assert!(!std::path::Path::new(&machine.path("old.conf")).exists());
}

#[tokio::test]
async fn nothing_stays_of_a_file_that_is_not_what_was_announced() {
    let Some(mut machine) = machine().await else { return };
    let url = serve("200 OK", 7, b"changed").await;
    for (url, push) in [(url.as_str(), false), ("https://example/kubelet", true)] {
        let payload: Option<Payload> = if push { Some(Box::new(Cursor::new(b"changed"))) } else { None };
        let op = Op::Fetch(fetch(&machine, url, b"program", push));
        match machine.apply(&op, payload).await.unwrap_err() {
            RemoteError::WrongDigest { name, url: from, expected, actual } => {
                assert_eq!((name.as_str(), from.as_str()), ("kubelet", url));
                assert_eq!((expected, actual), (sha256(b"program"), sha256(b"changed")));
            }
            other => panic!("{other}"),
        }
        assert_eq!(machine.names("stage"), Vec::<String>::new());
        assert!(!machine.heard.iter().any(|signal| matches!(signal, Signal::Line(_))), "{:?}", machine.heard);
    }
}

#[tokio::test]
async fn a_fetch_that_fails_says_which_file_and_why() {
    let Some(mut machine) = machine().await else { return };
    let gone = serve("404 Not Found", 0, b"").await;
    let short = serve("200 OK", 7, b"pro").await;
    for (url, reason) in [
        (gone, "The requested URL returned error: 404"),
        (short, "transfer closed with 4 bytes remaining to read"),
        ("http://127.0.0.1:1/kubelet".into(), "Failed to connect to 127.0.0.1 port 1"),
    ] {
        let op = Op::Fetch(fetch(&machine, &url, b"program", false));
        let lines = lines(machine.apply(&op, None).await.unwrap_err());
        let last = lines.last().unwrap();
        assert!(last.starts_with(&format!("{url}: curl: (")) && last.contains(reason), "{lines:?}");
        assert_eq!(machine.names("stage"), Vec::<String>::new());
    }
    let unknown = Fetch { sha256: String::new(), ..fetch(&machine, "http://127.0.0.1:1/", b"", false) };
    assert!(matches!(machine.apply(&Op::Fetch(unknown), None).await, Err(RemoteError::Garbled { .. })));
}

#[tokio::test]
async fn a_pushed_file_is_verified_and_a_source_that_breaks_is_told() {
    let Some(mut machine) = machine().await else { return };
    let op = Op::Fetch(fetch(&machine, "https://example/kubelet", b"program", true));
    let broken = Cursor::new(b"prog").chain(Broken);
    match machine.apply(&op, Some(Box::new(broken))).await.unwrap_err() {
        RemoteError::Source { reason, .. } => assert_eq!(reason, "the mirror went away"),
        other => panic!("{other}"),
    }
    assert_eq!(machine.names("stage"), Vec::<String>::new());
    machine.apply(&op, Some(Box::new(Cursor::new(b"program")))).await.unwrap();
    assert_eq!(machine.heard, [Signal::Bytes { done: 7, total: 7 }]);
    assert_eq!(machine.decide(&op).await, Decision::AlreadySo);
}

struct Broken;

impl tokio::io::AsyncRead for Broken {
    fn poll_read(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        _: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Err(std::io::Error::other("the mirror went away")))
    }
}

#[tokio::test]
async fn archives_are_unpacked_and_must_hold_what_they_should() {
    let Some(mut machine) = machine().await else { return };
    let pack = |machine: &Machine| {
        std::fs::create_dir_all(machine.path("source/bin")).unwrap();
        std::fs::create_dir_all(machine.path("stage")).unwrap();
        std::fs::write(machine.path("source/bin/runc"), "program").unwrap();
        let archive = machine.path("stage/a.tar.gz");
        let status = Command::new("tar").args(["-czf", &archive, "-C", &machine.path("source"), "bin"]).status();
        assert!(status.unwrap().success());
        archive
    };
    let op = |machine: &Machine, staged: String, name: &str| Op::Unpack {
        staged,
        into: machine.path("into"),
        creates: vec![machine.path(name)],
        version: "v1".into(),
    };
    let good = op(&machine, pack(&machine), "into/bin/runc");
    machine.converges(&good).await;
    assert_eq!(machine.names("stage"), Vec::<String>::new());
    let bad = op(&machine, pack(&machine), "into/bin/other");
    let last = lines(machine.apply(&bad, None).await.unwrap_err()).pop().unwrap();
    assert!(last.ends_with(&format!("a.tar.gz does not hold {}", machine.path("into/bin/other"))), "{last}");
    let broken = op(&machine, machine.path("stage/none.tar.gz"), "into/bin/runc");
    let said = lines(machine.apply(&broken, None).await.unwrap_err()).concat();
    assert!(said.contains("none.tar.gz is not there: phase artifacts brings it"), "{said}");
}

/// Runs an operation's script with a file of ours for the system's, and programs that only write down how they were called.
fn redirected(machine: &Machine, op: &Op, from: &str, to: &str) -> Vec<String> {
    let bin = PathBuf::from(machine.path("stand-ins"));
    std::fs::create_dir_all(&bin).unwrap();
    let log = machine.path("called");
    for name in ["systemctl", "swapoff", "modprobe"] {
        let program = bin.join(name);
        let text = format!(
            "#!/bin/sh\necho \"{name} $*\" >>'{log}'\ncase $* in list-units*) cat '{0}' 2>/dev/null;; esac\nexit 0\n",
            machine.path("swap-units")
        );
        std::fs::write(&program, text).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let layout = Layout { journal: machine.path("state/journal"), lock: machine.path("lock") };
    let call = script::call(op, &record(op), &layout).unwrap();
    let args: Vec<String> = call.args.into_iter().map(|arg| if arg == from { to.to_owned() } else { arg }).collect();
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", bin.display());
    let _none = std::fs::remove_file(&log);
    let output = Command::new("sh").args(["-c", call.script, "sh"]).args(args).env("PATH", path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::read_to_string(&log).unwrap_or_default().lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn names_in_the_hosts_file_come_first_and_other_lines_stay() {
    let Some(machine) = machine().await else { return };
    let hosts = machine.path("hosts");
    let entry = |address: &str| Op::HostsEntry { name: "api.demo.etcdless.internal".into(), address: address.into() };
    let others = "127.0.0.1 localhost\n# a comment\n10.9.9.9 api.demo.etcdless.internal other\n10.0.0.5 a # etcdless";
    std::fs::write(&hosts, others).unwrap();
    std::fs::set_permissions(&hosts, std::fs::Permissions::from_mode(0o640)).unwrap();
    for address in ["10.0.0.1", "10.0.0.2", "10.0.0.2"] {
        redirected(&machine, &entry(address), "/etc/hosts", &hosts);
        let text = std::fs::read_to_string(&hosts).unwrap();
        assert_eq!(text, format!("{address} api.demo.etcdless.internal # etcdless\n{others}\n"));
        let facts = Facts { texts: [("/etc/hosts".to_owned(), text)].into(), ..Facts::default() };
        assert_eq!(entry(address).decide("s", &facts, &Pending::new()), Decision::AlreadySo);
    }
    assert_eq!(std::fs::metadata(&hosts).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(machine.names(""), ["hosts", "lock.steps", "stand-ins", "state"]);
}

#[tokio::test]
async fn swap_goes_and_stays_off() {
    let Some(machine) = machine().await else { return };
    let fstab = machine.path("fstab");
    let before = "# comment swap swap swap\n/dev/vda1 / ext4 defaults 0 1\n/dev/vda5\tnone\tswap\tsw 0 0\n  /swapfile none swap sw\n";
    std::fs::write(&fstab, before).unwrap();
    std::fs::write(
        machine.path("swap-units"),
        "dev-vda5.swap loaded active active x\ndev-vdb.swap masked inactive dead y\n",
    )
    .unwrap();
    let called = redirected(&machine, &Op::SwapOff, "/etc/fstab", &fstab);
    assert_eq!(called[0], "swapoff -a");
    assert!(called.contains(&"systemctl mask --now -- dev-vda5.swap".to_owned()), "{called:?}");
    assert!(!called.iter().any(|line| line.contains("dev-vdb.swap")), "{called:?}");
    let after = "# comment swap swap swap\n/dev/vda1 / ext4 defaults 0 1\n# etcdless: /dev/vda5\tnone\tswap\tsw 0 0\n# etcdless:   /swapfile none swap sw\n";
    assert_eq!(std::fs::read_to_string(&fstab).unwrap(), after);
    assert_eq!(std::fs::read_to_string(format!("{fstab}.etcdless")).unwrap(), before);
    redirected(&machine, &Op::SwapOff, "/etc/fstab", &fstab);
    assert_eq!(std::fs::read_to_string(&fstab).unwrap(), after);
    assert_eq!(std::fs::read_to_string(format!("{fstab}.etcdless")).unwrap(), before, "the first version is kept");
}

#[tokio::test]
async fn sysctls_and_modules_call_what_they_should() {
    let Some(machine) = machine().await else { return };
    let value = machine.path("value");
    let op = Op::Sysctl { key: "net.ipv4.ip_forward".into(), value: "1".into(), at_least: false };
    redirected(&machine, &op, "/proc/sys/net/ipv4/ip_forward", &value);
    assert_eq!(std::fs::read_to_string(&value).unwrap(), "1\n");
    let called = redirected(&machine, &Op::Module { name: "br_netfilter".into() }, "", "");
    assert_eq!(called, ["modprobe -- br_netfilter"]);
}

#[tokio::test]
async fn a_look_answers_what_it_is_asked() {
    let Some(machine) = machine().await else { return };
    std::fs::write(machine.path("my file"), "hello").unwrap();
    std::fs::write(machine.path("large"), vec![0; (1 << 20) + 1]).unwrap();
    let set = |values: &[&str]| values.iter().map(|value| machine.path(value)).collect();
    let probes = Probes {
        files: set(&["my file", "large", "none"]),
        texts: set(&["my file", "none"]),
        sysctls: ["kernel.ostype".to_owned(), "no.such".to_owned()].into(),
        ..Probes::default()
    };
    let facts = machine.host.facts(&probes).await.unwrap();
    assert_eq!(facts.files.len(), 2);
    assert_eq!(facts.files[&machine.path("my file")].sha256.as_deref(), Some(sha256(b"hello").as_str()));
    assert_eq!(facts.files[&machine.path("large")].sha256, None);
    assert_eq!(facts.texts, [(machine.path("my file"), "hello".to_owned())].into());
    assert_eq!(facts.sysctls, [("kernel.ostype".to_owned(), "Linux".to_owned())].into());
    assert!(facts.cpus > 0 && facts.memory_kib > 0 && !facts.kernel.is_empty() && !facts.hostname.is_empty());
    assert!(facts.tools.contains("sha256sum"));
}

#[tokio::test]
async fn locks_work_here_too() {
    let Some(machine) = machine().await else { return };
    let lock = machine.host.lock("jo: init").await.unwrap();
    assert!(matches!(machine.host.lock("me").await, Err(RemoteError::Locked { owner, .. }) if owner == "jo: init"));
    assert_eq!(machine.host.break_lock().await.unwrap().as_deref(), Some("jo: init"));
    lock.release().await;
    machine.host.lock("me").await.unwrap().release().await;
    assert_eq!(machine.host.lock_owner().await.unwrap(), None);
}

#[tokio::test]
async fn a_lock_can_be_waited_for() {
    let Some(machine) = machine().await else { return };
    let lock = machine.host.lock("jo: init").await.unwrap();
    let (told, mut owner) = tokio::sync::mpsc::unbounded_channel();
    let waits =
        machine.host.lock_within("me", Duration::from_secs(60), move |owner| told.send(owner.to_owned()).unwrap());
    let release = async {
        assert_eq!(owner.recv().await.as_deref(), Some("jo: init"));
        lock.release().await;
    };
    let (taken, ()) = tokio::join!(waits, release);
    let again = machine.host.lock_within("third", Duration::from_secs(1), |owner| assert_eq!(owner, "me")).await;
    assert!(matches!(again, Err(RemoteError::Locked { owner, .. }) if owner == "me"));
    taken.unwrap().release().await;
}

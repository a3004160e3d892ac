//! Hosts over a real sshd on loopback: quoting, statuses, payloads, cut connections, keys, jump hosts, the lock.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test")]

#[path = "support/sshd.rs"]
mod sshd;

use std::net::TcpListener;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use etcdless::config;
use etcdless::facts::Probes;
use etcdless::journal::Record;
use etcdless::op::{Fetch, Op};
use etcdless::remote::{Connect, Host, Mutate, Query, Question, RemoteError, Signal};
use serde_json::json;
use sshd::{Sshd, keygen, output, sshd};

/// A connection that must not come up.
async fn refused(sshd: &Sshd, ssh: serde_json::Value, options: &Connect) -> RemoteError {
    Host::connect(&sshd.described(ssh), options).await.unwrap_err()
}

/// Ends the sshd process that serves a connection.
async fn cut(host: &Host) {
    let script = "pid=$$; while :; do read -r name <\"/proc/$pid/comm\"; case $name in sshd*) break;; esac
        while read -r key value; do [ \"$key\" != PPid: ] || parent=$value; done <\"/proc/$pid/status\"; pid=$parent; done; echo $pid";
    let pid = text(host, script, &[]).await;
    output(Command::new("kill").args(["-9", pid.trim()]));
}

fn question(script: &'static str, args: &[&str]) -> Question {
    let args = args.iter().map(|&arg| arg.to_owned()).collect();
    Question { script, args, input: Vec::new(), deadline: Duration::from_secs(30) }
}

async fn text(host: &Host, script: &'static str, args: &[&str]) -> String {
    let output = host.ask(question(script, args)).await.unwrap();
    assert_eq!(output.status, 0, "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn arguments_arrive_as_they_are() {
    let Some(sshd) = sshd() else { return };
    let host = sshd.connect().await;
    for arg in ["a b", "$HOME", "`id`", "'", "\"", "\\", "a\nb\n", "", "*", "!x", "~", "-n", "ä€", "a;b&c|d>e", "\t"]
    {
        let question =
            Question { input: b"in put\n".to_vec(), ..question("printf '[%s]' \"$@\"; cat", &[arg, "last"]) };
        let output = host.ask(question).await.unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("[{arg}][last]in put\n"));
    }
}

#[tokio::test]
async fn statuses_are_told_apart_and_output_is_kept() {
    let Some(sshd) = sshd() else { return };
    let host = sshd.connect().await;
    for (status, script) in [
        (0, "echo out; echo err >&2"),
        (1, "echo out; echo err >&2; exit 1"),
        (127, "echo out; echo err >&2; exit 127"),
        (255, "echo out; echo err >&2; exit 255"),
        (124, "echo out; echo err >&2; exit 124"),
        (143, "echo out; echo err >&2; kill $$"),
    ] {
        let output = host.ask(question(script, &[])).await.unwrap();
        assert_eq!(output.status, status, "{script}");
        assert_eq!((output.stdout, output.stderr.starts_with(b"err\n")), (b"out\n".to_vec(), true), "{script}");
    }
    let output = host.ask(question("no-such-program", &[])).await.unwrap();
    assert_eq!(output.status, 127);
    assert!(String::from_utf8(output.stderr).unwrap().contains("no-such-program"));
    let slow = Question { deadline: Duration::from_secs(1), ..question("echo begun; exec sleep 60", &[]) };
    match host.ask(slow).await.unwrap_err() {
        RemoteError::TimedOut { seconds, lines, .. } => assert_eq!((seconds, lines), (1, vec!["begun".to_owned()])),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_look_over_ssh_knows_the_address() {
    let Some(sshd) = sshd() else { return };
    let host = sshd.connect().await;
    let facts = host.facts(&Probes::default()).await.unwrap();
    assert_eq!(facts.ssh_address, Some("127.0.0.1".parse().unwrap()));
    assert!(facts.listeners.contains_key(&sshd.port), "{:?}", facts.listeners);
    assert!(facts.clock_offset_ms.abs() < 5_000, "{}", facts.clock_offset_ms);
}

#[tokio::test]
async fn a_large_payload_arrives_whole_and_tells_its_progress() {
    let Some(sshd) = sshd() else { return };
    let host = sshd.connect().await;
    let source = sshd.path("source");
    output(Command::new("dd").args(["if=/dev/urandom", "bs=1M", "count=64"]).arg(format!("of={}", source.display())));
    let listed = output(Command::new("sha256sum").arg(&source));
    let staged = sshd.path("stage/big").display().to_string();
    let fetch = Fetch {
        name: "big".into(),
        version: "v1".into(),
        url: "http://example/big".into(),
        sha256: listed.split(' ').next().unwrap().into(),
        size: 64 << 20,
        staged: staged.clone(),
        yields: Vec::new(),
        push: true,
        environment: vec![],
    };
    let op = Op::Fetch(fetch);
    let record = Record { run: "r".into(), step: "artifacts/big".into(), digest: op.digest(), files: op.vouched() };
    let (signals, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let payload = tokio::fs::File::open(&source).await.unwrap();
    host.apply(&op, &record, Some(Box::new(payload)), &signals).await.unwrap();
    let last = std::iter::from_fn(|| heard.try_recv().ok()).last();
    assert_eq!(last, Some(Signal::Bytes { done: 64 << 20, total: 64 << 20 }));
    assert_eq!(std::fs::metadata(&staged).unwrap().len(), 64 << 20);
    let facts = host.facts(&op.probes()).await.unwrap();
    assert!(facts.journal.has("artifacts/big", &op.digest()));
}

#[tokio::test]
async fn answers_are_whole_while_the_connection_is_full() {
    let Some(sshd) = sshd() else { return };
    let host = sshd.connect().await;
    let asked = sshd.path("asked");
    let full = async {
        let upload = Question { input: vec![0; 64 << 20], ..question("wc -c", &[]) };
        tokio::join!(host.ask(upload.clone()), host.ask(upload.clone()), host.ask(upload))
    };
    let questions = async {
        for _ in 0..60 {
            assert_eq!(text(&host, "echo >>\"$1\"; echo whole", &[asked.to_str().unwrap()]).await, "whole\n");
        }
    };
    let ((first, second, third), ()) = tokio::join!(full, questions);
    for upload in [first, second, third] {
        assert_eq!(String::from_utf8(upload.unwrap().stdout).unwrap().trim(), "67108864");
    }
    // A question is asked again where its answer was cut off; none was.
    assert_eq!(std::fs::read(&asked).unwrap().len(), 60);
}

#[tokio::test]
async fn a_cut_connection_is_lost_and_not_a_failure() {
    let Some(sshd) = sshd() else { return };
    let host = sshd.connect().await;
    let long = host.ask(question("exec sleep 20", &[]));
    let cut = async {
        cut(&host).await;
    };
    let (lost, ()) = tokio::join!(long, cut);
    assert!(matches!(lost, Err(RemoteError::Lost { .. })), "{lost:?}");
    let after = host.ask(question("true", &[])).await;
    assert!(matches!(after, Err(RemoteError::Lost { .. })), "{after:?}");
}

#[tokio::test]
async fn a_wrong_key_is_denied_and_names_the_user() {
    let Some(sshd) = sshd() else { return };
    keygen(&sshd.path("other"));
    let config = std::fs::read_to_string(sshd.path("ssh_config")).unwrap();
    std::fs::write(sshd.path("ssh_config"), config.replace("/user\n", "/other\n")).unwrap();
    match refused(&sshd, json!({}), &sshd.options()).await {
        RemoteError::Denied { host, user, reason } => {
            assert_eq!((host.as_str(), user.as_str()), ("127.0.0.1", "root"));
            assert!(reason.contains("Permission denied (publickey)"), "{reason}");
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn what_cannot_be_reached_says_why() {
    let Some(sshd) = sshd() else { return };
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    match refused(&sshd, json!({ "port": closed }), &sshd.options()).await {
        RemoteError::Unreachable { reason, .. } => assert!(reason.contains("Connection refused"), "{reason}"),
        other => panic!("{other}"),
    }
    let host: config::Host = serde_json::from_value(json!({ "address": "no-such-host.invalid" })).unwrap();
    match Host::connect(&host, &sshd.options()).await.unwrap_err() {
        RemoteError::Unreachable { reason, .. } => assert!(reason.contains("Could not resolve"), "{reason}"),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn an_unknown_key_needs_somebody_who_accepts_it() {
    let Some(sshd) = sshd() else { return };
    let known_hosts = sshd.path("known_hosts");
    let listed = output(Command::new("ssh-keygen").arg("-lf").arg(sshd.path("host.pub")));
    let sha256 = listed.split(' ').nth(1).unwrap().to_owned();

    let nobody = Connect { accept_new: false, ..sshd.options() };
    match refused(&sshd, json!({}), &nobody).await {
        RemoteError::HostKeyUnknown { fingerprint, .. } => assert_eq!(fingerprint, format!("ED25519 {sha256}")),
        other => panic!("{other}"),
    }
    assert!(!known_hosts.exists());

    let asked = Arc::new(Mutex::new(Vec::new()));
    let says = |answer: bool| {
        let asked = asked.clone();
        let confirm = move |host: &str, fingerprint: &str| {
            asked.lock().unwrap().push(format!("{host} {fingerprint}"));
            answer
        };
        Connect { accept_new: false, confirm: Some(Arc::new(confirm)), ..sshd.options() }
    };
    assert!(matches!(refused(&sshd, json!({}), &says(false)).await, RemoteError::HostKeyUnknown { .. }));
    std::fs::write(&known_hosts, "# a line without an end").unwrap();
    Host::connect(&sshd.described(json!({})), &says(true)).await.unwrap();
    assert_eq!(*asked.lock().unwrap(), vec![format!("127.0.0.1 ED25519 {sha256}"); 2]);
    let written = std::fs::read_to_string(&known_hosts).unwrap();
    assert!(written.starts_with("# a line without an end\n"), "{written}");

    Host::connect(&sshd.described(json!({})), &nobody).await.unwrap();
    assert_eq!(std::fs::read_to_string(&known_hosts).unwrap(), written, "a known key is not added again");
}

#[tokio::test]
async fn a_changed_key_is_refused_whoever_accepts_new_ones() {
    let Some(sshd) = sshd() else { return };
    keygen(&sshd.path("earlier"));
    let key = std::fs::read_to_string(sshd.path("earlier.pub")).unwrap();
    let line = format!("[127.0.0.1]:{} {key}", sshd.port);
    std::fs::write(sshd.path("known_hosts"), &line).unwrap();
    match refused(&sshd, json!({}), &sshd.options()).await {
        RemoteError::HostKeyChanged { reason, .. } => assert!(reason.contains("known_hosts:1"), "{reason}"),
        other => panic!("{other}"),
    }
    assert_eq!(std::fs::read_to_string(sshd.path("known_hosts")).unwrap(), line);
}

#[tokio::test]
async fn hosts_behind_a_jump_host_are_reached_and_both_keys_are_learned() {
    let Some(sshd) = sshd() else { return };
    let nobody = Connect { accept_new: false, ..sshd.options() };
    match refused(&sshd, json!({ "jump": "jump" }), &nobody).await {
        RemoteError::HostKeyUnknown { host, .. } => assert_eq!(host, "jump"),
        other => panic!("{other}"),
    }
    let host = Host::connect(&sshd.described(json!({ "jump": "jump" })), &sshd.options()).await.unwrap();
    assert_eq!(text(&host, "echo here", &[]).await, "here\n");
    match refused(&sshd, json!({ "jump": "127.0.0.1:1" }), &sshd.options()).await {
        RemoteError::Unreachable { reason, .. } => assert!(reason.contains("Connection refused"), "{reason}"),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn the_second_one_at_the_lock_is_told_who_has_it() {
    let Some(sshd) = sshd() else { return };
    let (first, second) = (sshd.connect().await, sshd.connect().await);
    assert_eq!(second.lock_owner().await.unwrap(), None);
    let lock = first.lock("jo@laptop pid 7 since noon: init").await.unwrap();
    match second.lock("me").await.unwrap_err() {
        RemoteError::Locked { owner, .. } => assert_eq!(owner, "jo@laptop pid 7 since noon: init"),
        other => panic!("{other}"),
    }
    assert_eq!(second.lock_owner().await.unwrap().as_deref(), Some("jo@laptop pid 7 since noon: init"));
    lock.release().await;
    assert_eq!(second.lock_owner().await.unwrap(), None);
    let lock = second.lock("me").await.unwrap();
    assert_eq!(first.break_lock().await.unwrap().as_deref(), Some("me"));
    assert_eq!(first.break_lock().await.unwrap(), None);
    drop(lock);
    first.lock("jo").await.unwrap();
}

#[tokio::test]
async fn a_lock_ends_with_the_connection_of_its_owner() {
    let Some(sshd) = sshd() else { return };
    let (first, second) = (sshd.connect().await, sshd.connect().await);
    let _lock = first.lock("jo").await.unwrap();
    cut(&first).await;
    until_free(&second).await;
    let lock = second.lock("me").await.unwrap();
    drop(lock);
    until_free(&second).await;
}

async fn until_free(host: &Host) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while let Some(owner) = host.lock_owner().await.unwrap() {
        assert!(Instant::now() < deadline, "still locked by {owner}");
    }
}

#[tokio::test]
async fn the_lock_waits_for_a_step_whose_connection_was_cut() {
    let Some(sshd) = sshd() else { return };
    let (first, second) = (sshd.connect().await, sshd.connect().await);
    let gate = sshd.path("gate");
    output(Command::new("mkfifo").arg(&gate));
    let done = sshd.path("done").display().to_string();
    let op = Op::Script(etcdless::op::Script {
        text: "echo begun; read -r line <\"$1\"; echo \"$line\" >\"$2\"".into(),
        args: vec![gate.display().to_string(), done.clone()],
        creates: vec![done.clone()],
        watches: Vec::new(),
        of: String::new(),
        seconds: 60,
    });
    let record = Record { run: "r".into(), step: "x/slow".into(), digest: op.digest(), files: Vec::new() };
    let (signals, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let cut = async {
        assert_eq!(heard.recv().await, Some(Signal::Line("begun".into())));
        cut(&first).await;
    };
    let (lost, ()) = tokio::join!(first.apply(&op, &record, None, &signals), cut);
    assert!(matches!(lost, Err(RemoteError::Lost { .. })), "{lost:?}");
    let open = async {
        // Opens once the step reads, which it does all along.
        tokio::fs::write(&gate, "through\n").await.unwrap();
    };
    let (lock, ()) = tokio::join!(second.lock("me"), open);
    lock.unwrap();
    assert_eq!(std::fs::read_to_string(&done).unwrap(), "through\n");
    assert!(second.facts(&op.probes()).await.unwrap().journal.has("x/slow", &op.digest()));
}

/// Prints, for whoever runs it with `--nocapture`; asserts nothing about time.
#[tokio::test]
async fn round_trips() {
    let Some(sshd) = sshd() else { return };
    let begun = Instant::now();
    let host = sshd.connect().await;
    eprintln!("first contact and connect: {:?}", begun.elapsed());
    let begun = Instant::now();
    drop(sshd.connect().await);
    eprintln!("connect, key known: {:?}", begun.elapsed());
    let begun = Instant::now();
    for _ in 0..20 {
        host.ask(question("true", &[])).await.unwrap();
    }
    eprintln!("ask: {:?}", begun.elapsed() / 20);
    let begun = Instant::now();
    for _ in 0..5 {
        host.facts(&Probes::default()).await.unwrap();
    }
    eprintln!("facts: {:?}", begun.elapsed() / 5);
}

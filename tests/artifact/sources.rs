//! `source::resolve`: from a host (the real script, run here by `sh`) and from this machine.

use std::path::PathBuf;
use std::process::Stdio;

use etcdless::artifact::source::{mirrored, resolve};
use etcdless::artifact::{Item, Resolved};
use etcdless::config::{Artifacts, Cluster, Delivery, ProxyEnvironment};
use etcdless::facts::{Facts, Probes};
use etcdless::failure::{Failure, Kind};
use etcdless::remote::{Output, Query, Question, RemoteError};
use tokio::io::AsyncWriteExt;

use crate::server::{self, Answer, Server};

const KUBELET: &str = "/dl.k8s.io/release/v1.34.4/bin/linux/amd64/kubelet";
const RUNC: &str = "/github.com/opencontainers/runc/releases/download/v1.3.3/runc.amd64";
const RUNC_SUM: &str = "/github.com/opencontainers/runc/releases/download/v1.3.3/runc.sha256sum";

fn items() -> [Item; 2] {
    let item = |name: &str, version: &str, path: &str, sum: &str| Item {
        name: name.into(),
        version: version.into(),
        url: format!("https:/{path}"),
        checksum_url: format!("https:/{sum}"),
    };
    [item("kubelet", "v1.34.4", KUBELET, &format!("{KUBELET}.sha256")), item("runc", "v1.3.3", RUNC, RUNC_SUM)]
}

fn good() -> Vec<(String, Answer)> {
    let list = format!("{}  runc.arm64\n{}  runc.amd64\n", "c".repeat(64), "b".repeat(64));
    vec![
        (KUBELET.into(), server::ok("kubelet!")),
        (format!("{KUBELET}.sha256"), server::ok("a".repeat(64))),
        (RUNC.into(), server::ok("runc")),
        (RUNC_SUM.into(), server::ok(list)),
    ]
}

fn with(path: &str, answer: Answer) -> Vec<(String, Answer)> {
    good().into_iter().chain([(path.to_owned(), answer)]).collect()
}

fn mirror(address: &str) -> Artifacts {
    Artifacts { mirror: Some(format!("http://{address}/")), registry: Some(address.into()), ..Artifacts::default() }
}

/// A host that runs what it is asked on this machine.
#[derive(Default)]
struct Here {
    /// Instead of the real PATH.
    path: Option<PathBuf>,
    /// The host answers this without running anything.
    answer: Option<fn() -> Result<Output, RemoteError>>,
}

impl Query for Here {
    async fn facts(&self, _: &Probes) -> Result<Facts, RemoteError> {
        Err(RemoteError::Garbled { host: "here".into(), reason: "nobody asks this".into() })
    }

    async fn ask(&self, question: Question) -> Result<Output, RemoteError> {
        if let Some(answer) = self.answer {
            return answer();
        }
        let mut command = tokio::process::Command::new("/bin/sh");
        command.args(["-c", question.script, "sh"]).args(question.args);
        command.env("NO_PROXY", "127.0.0.1").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(path) = &self.path {
            command.env("PATH", path);
        }
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // A script that ends at once does not read what it was sent.
        let _ = stdin.write_all(&question.input).await;
        drop(stdin);
        let output = child.wait_with_output().await.unwrap();
        Ok(Output { status: output.status.code().unwrap(), stdout: output.stdout, stderr: output.stderr })
    }
}

fn cluster(artifacts: &Artifacts, delivery: Delivery) -> Cluster {
    let mut cluster = Cluster::of("demo".parse().unwrap(), vec![]);
    cluster.spec.artifacts = Artifacts { delivery, ..artifacts.clone() };
    cluster
}

async fn ask(artifacts: &Artifacts, delivery: Delivery) -> Result<etcdless::artifact::Sources, Failure> {
    resolve(&cluster(artifacts, delivery), None, &items(), &Here::default(), "cp1").await
}

#[test]
fn a_mirror_keeps_host_and_path() {
    let artifacts = |mirror: &str| Artifacts { mirror: Some(mirror.into()), ..Artifacts::default() };
    let cases = [
        (Artifacts::default(), "https://dl.k8s.io/release/x"),
        (artifacts("http://10.0.0.5:8080"), "http://10.0.0.5:8080/dl.k8s.io/release/x"),
        (artifacts("https://files.example/k8s/"), "https://files.example/k8s/dl.k8s.io/release/x"),
        (artifacts("10.0.0.5:8080"), "http://10.0.0.5:8080/dl.k8s.io/release/x"),
    ];
    for (artifacts, expected) in cases {
        assert_eq!(mirrored(&artifacts, "https://dl.k8s.io/release/x"), expected);
    }
}

#[tokio::test]
async fn host_and_this_machine_find_the_same() {
    let server = Server::start(good()).await;
    for (delivery, push) in [(Delivery::Node, false), (Delivery::Push, true), (Delivery::Auto, false)] {
        let sources = ask(&mirror(&server.address), delivery).await.unwrap();
        assert_eq!(sources.push, push, "{delivery:?}");
        assert_eq!(sources.files["kubelet"], Resolved { sha256: "a".repeat(64), size: 8 }, "{delivery:?}");
        assert_eq!(sources.files["runc"], Resolved { sha256: "b".repeat(64), size: 4 }, "{delivery:?}");
    }
    let seen = server.seen();
    assert_eq!(seen.iter().filter(|line| **line == format!("HEAD {KUBELET}")).count(), 3, "{seen:?}");
    assert!(!seen.contains(&format!("GET {KUBELET}")), "nothing but checksums is fetched");
}

#[tokio::test]
async fn redirects_are_followed_and_the_last_size_counts() {
    let to = |path: &str| Answer { headers: vec![("Location", path.into())], ..server::status(302) };
    let mut paths = with(KUBELET, to("/cdn/kubelet"));
    paths.push(("/cdn/kubelet".into(), server::ok("0123456789")));
    let server = Server::start(paths).await;
    for delivery in [Delivery::Node, Delivery::Push] {
        let sources = ask(&mirror(&server.address), delivery).await.unwrap();
        assert_eq!(sources.files["kubelet"].size, 10, "{delivery:?}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_tell_sizes_is_good_enough() {
    let server = Server::start(with(KUBELET, Answer { head: Some(405), unannounced: true, ..server::ok("x") })).await;
    for delivery in [Delivery::Node, Delivery::Push] {
        let sources = ask(&mirror(&server.address), delivery).await.unwrap();
        assert_eq!(sources.files["kubelet"], Resolved { sha256: "a".repeat(64), size: 0 }, "{delivery:?}");
    }
}

#[tokio::test]
async fn what_is_wrong_is_named_alike_from_both_sides() {
    let sum = format!("{KUBELET}.sha256");
    let cases = [
        (
            with(KUBELET, server::status(404)),
            format!("the source does not have kubelet v1.34.4: URL{KUBELET} is not there"),
        ),
        (
            with(&sum, server::status(404)),
            format!("the source has no checksum of kubelet v1.34.4: URL{sum} is not there"),
        ),
        (
            with(&sum, server::status(503)),
            format!("the checksum of kubelet v1.34.4 cannot be read: URL{sum} answers HTTP 503"),
        ),
        (
            with(KUBELET, server::status(500)),
            format!("the source does not give kubelet v1.34.4: URL{KUBELET} answers HTTP 500"),
        ),
        (
            with(&sum, server::ok("<html>\nnot here\n</html>")),
            format!("URL{sum} holds no SHA-256 of kubelet v1.34.4: it starts with `<html>`"),
        ),
        (with(&sum, server::ok("")), format!("URL{sum} holds no SHA-256 of kubelet v1.34.4: it is empty")),
        (
            with(RUNC_SUM, server::ok(format!("{}  runc.arm64\n", "c".repeat(64)))),
            format!(
                "URL{RUNC_SUM} holds no SHA-256 of runc v1.3.3: it starts with `{}`",
                &format!("{}  ", "c".repeat(64))[..60]
            ),
        ),
    ];
    for (paths, expected) in cases {
        let server = Server::start(paths).await;
        let url = format!("http://{}", server.address);
        for delivery in [Delivery::Node, Delivery::Push, Delivery::Auto] {
            let failure = ask(&mirror(&server.address), delivery).await.unwrap_err();
            assert_eq!(failure.message, expected.replace("URL", &url), "{delivery:?}");
            assert_eq!(failure.kind, Kind::Preflight);
            assert!(failure.hints[0].contains("--mirror URL"), "{:?}", failure.hints);
            assert!(!failure.hints.iter().any(|hint| hint.contains("--delivery push")), "push would not help");
        }
    }
}

#[tokio::test]
async fn every_file_that_is_missing_is_listed() {
    let server = Server::start(vec![]).await;
    let failure = ask(&mirror(&server.address), Delivery::Node).await.unwrap_err();
    assert!(failure.message.contains("checksum of kubelet v1.34.4"), "{failure}");
    assert_eq!(failure.details.len(), 1);
    assert!(failure.details[0].contains("checksum of runc v1.3.3"), "{:?}", failure.details);
}

#[tokio::test]
async fn a_source_that_refuses_is_named_with_the_ways_out() {
    let address = server::refused().await;
    let url = format!("http://{address}{KUBELET}.sha256");
    let failure = ask(&mirror(&address), Delivery::Node).await.unwrap_err();
    assert_eq!(failure.kind, Kind::Preflight);
    let start = format!("cp1 cannot reach {url}, needed for kubelet v1.34.4: Failed to connect");
    assert!(failure.message.starts_with(&start), "{failure}");
    assert_eq!(failure.details, [""; 0], "the same cause once");
    let hints = failure.hints.join("\n");
    assert!(
        hints.contains("--delivery push") && hints.contains(&format!("check that http://{address}/ is up")),
        "{hints}"
    );

    let failure = ask(&mirror(&address), Delivery::Push).await.unwrap_err();
    let start = format!("this machine cannot reach {url}, needed for kubelet v1.34.4: Connection refused");
    assert!(failure.message.starts_with(&start), "{failure}");
    assert!(!failure.hints.join("\n").contains("--delivery push"));

    let failure = ask(&mirror(&address), Delivery::Auto).await.unwrap_err();
    assert!(failure.message.starts_with(&start), "{failure}");
    assert!(failure.details[0].starts_with(&format!("cp1 cannot reach {url} either: ")), "{:?}", failure.details);
}

#[tokio::test]
async fn a_host_asks_through_the_proxy_and_this_machine_does_not() {
    let server = Server::start(good()).await;
    let refused = format!("http://{}", server::refused().await);
    let near = |no: &[&str]| ProxyEnvironment {
        http: refused.clone(),
        https: refused.clone(),
        no: no.iter().map(ToString::to_string).collect(),
    };
    let ask = async |proxy: &ProxyEnvironment, delivery| {
        resolve(&cluster(&mirror(&server.address), delivery), Some(proxy), &items(), &Here::default(), "cp1").await
    };
    let failure = ask(&near(&[]), Delivery::Node).await.unwrap_err();
    let start = format!("cp1, which goes through the proxy {refused}, cannot reach http://{}", server.address);
    assert!(failure.message.starts_with(&start), "{failure}");
    ask(&near(&["127.0.0.1"]), Delivery::Node).await.unwrap();
    ask(&near(&[]), Delivery::Push).await.unwrap();
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_told() {
    let artifacts = Artifacts { mirror: Some("http://nowhere.invalid".into()), ..Artifacts::default() };
    for delivery in [Delivery::Node, Delivery::Push] {
        let failure = ask(&artifacts, delivery).await.unwrap_err();
        assert!(failure.message.contains("cannot reach http://nowhere.invalid/dl.k8s.io/"), "{failure}");
        let told = failure.message.contains("resolve") || failure.message.contains("lookup");
        assert!(told, "{failure}");
    }
}

#[tokio::test]
async fn a_checksum_that_breaks_off_is_not_taken_for_one() {
    let sum = format!("{KUBELET}.sha256");
    let cut = Answer { announced: Some(100), ..server::ok("a".repeat(64)) };
    let server = Server::start(with(&sum, cut)).await;
    for delivery in [Delivery::Node, Delivery::Push] {
        let failure = ask(&mirror(&server.address), delivery).await.unwrap_err();
        assert!(failure.message.contains(&format!("cannot reach http://{}{sum}", server.address)), "{failure}");
    }
}

#[tokio::test]
async fn auto_pushes_for_a_host_that_cannot_fetch() {
    let server = Server::start(good()).await;
    let artifacts = mirror(&server.address);
    let empty = tempfile::tempdir().unwrap();
    let without_curl = Here { path: Some(empty.path().into()), ..Here::default() };
    let sources = resolve(&cluster(&artifacts, Delivery::Auto), None, &items(), &without_curl, "cp1").await.unwrap();
    assert!(sources.push);
    assert_eq!(sources.files.len(), 2);

    let failure =
        resolve(&cluster(&artifacts, Delivery::Node), None, &items(), &without_curl, "cp1").await.unwrap_err();
    assert_eq!(
        (failure.kind, failure.message.as_str()),
        (Kind::Preflight, "cp1 has no curl, which it needs to fetch files")
    );
    assert!(failure.hints[0].contains("--delivery push"), "{:?}", failure.hints);
}

#[tokio::test]
async fn auto_pushes_where_the_host_reaches_no_registry() {
    let server = Server::start(good()).await;
    let artifacts = Artifacts { registry: Some(server::refused().await), ..mirror(&server.address) };
    assert!(ask(&artifacts, Delivery::Auto).await.unwrap().push);
    assert!(!ask(&artifacts, Delivery::Node).await.unwrap().push, "whoever asks for node gets it");
}

#[tokio::test]
async fn a_lost_connection_is_not_a_reason_to_push() {
    let server = Server::start(good()).await;
    let lost = || Err(RemoteError::Lost { host: "cp1".into(), reason: "broken pipe".into() });
    let host = Here { answer: Some(lost), ..Here::default() };
    for delivery in [Delivery::Node, Delivery::Auto] {
        let failure =
            resolve(&cluster(&mirror(&server.address), delivery), None, &items(), &host, "cp1").await.unwrap_err();
        assert_eq!(
            (failure.kind, failure.message.as_str()),
            (Kind::Connection, "the connection to cp1 was lost: broken pipe")
        );
    }
}

#[tokio::test]
async fn nothing_missing_asks_nobody() {
    let server = Server::start(good()).await;
    for delivery in [Delivery::Node, Delivery::Push] {
        let sources =
            resolve(&cluster(&mirror(&server.address), delivery), None, &[], &Here::default(), "cp1").await.unwrap();
        assert!(sources.files.is_empty());
    }
    assert_eq!(server.seen(), [""; 0]);
}

#[tokio::test]
async fn a_mirror_that_is_no_address_is_a_config_failure() {
    for mirror in ["ftp://10.0.0.5", "http://10.0.0.5:80 80", "http://", ""] {
        let artifacts = Artifacts { mirror: Some(mirror.into()), ..Artifacts::default() };
        let failure = ask(&artifacts, Delivery::Node).await.unwrap_err();
        assert_eq!(failure.kind, Kind::Config, "{mirror}");
        assert_eq!(failure.message, format!("`{mirror}` is not the address of a mirror"));
    }
}

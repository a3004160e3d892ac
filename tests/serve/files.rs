//! Files: what mirrors are asked for, downloads that go on, and requests that nobody should send.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use etcdless::artifact::Item;
use etcdless::artifact::source::resolve_here;
use etcdless::config::Artifacts;
use etcdless::op::sha256;

use crate::process::{Published, Serving, bundle, run};
use crate::seed::noise;
use crate::server::{etcdless, ran};

const KUBELET: &str = "/dl.k8s.io/release/v1/bin/linux/amd64/kubelet";
const RUNC: &str = "/github.com/opencontainers/runc/releases/download/v1";

fn sample(folder: &Path) -> (PathBuf, Vec<u8>) {
    let kubelet = noise("kubelet", 1_000_000);
    let runc = |arch| format!("{}/runc.{arch}", &RUNC[1..]);
    let sums = format!("{}/runc.sha256sum", &RUNC[1..]);
    let files = [
        Published {
            name: "kubelet",
            path: &KUBELET[1..],
            checksums: &format!("{}.sha256", &KUBELET[1..]),
            content: &kubelet,
        },
        Published { name: "runc", path: &runc("amd64"), checksums: &sums, content: b"amd" },
        Published { name: "runc", path: &runc("arm64"), checksums: &sums, content: b"arm" },
        Published { name: "empty", path: "example.org/empty", checksums: "example.org/empty.sha256", content: b"" },
    ];
    (bundle(folder, "files.tar", &files, |_, _| {}), kubelet)
}

fn curl(arguments: &[&str]) -> String {
    run(Command::new("curl").args(["--fail", "--silent", "--show-error"]).args(arguments))
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_a_mirror_for_etcdless_itself() {
    let folder = tempfile::tempdir().unwrap();
    let (path, kubelet) = sample(folder.path());
    let serving = Serving::start(&[&path]);
    assert!(serving.said.contains("serving 4 files, 0 images, 0 archives of packages"), "{}", serving.said);
    let settings = format!("artifacts: {{ mirror: http://{0}, registry: {0} }}", serving.address);
    assert!(serving.said.contains(&settings), "{}", serving.said);
    let artifacts = Artifacts { mirror: Some(serving.url("")), ..Artifacts::default() };
    let item = |name: &str, url: String, checksum_url: String| Item {
        name: name.into(),
        version: "v1".into(),
        url,
        checksum_url,
    };
    let items = [
        item("kubelet", format!("https:/{KUBELET}"), format!("https:/{KUBELET}.sha256")),
        item("runc", format!("https:/{RUNC}/runc.arm64"), format!("https:/{RUNC}/runc.sha256sum")),
    ];
    let resolved = resolve_here(&artifacts, &items).await.unwrap();
    assert_eq!((resolved[0].sha256.as_str(), resolved[0].size), (sha256(&kubelet).as_str(), 1_000_000));
    assert_eq!((resolved[1].sha256.as_str(), resolved[1].size), (sha256(b"arm").as_str(), 3));
}

#[test]
fn curl_goes_on_and_sha256sum_agrees() {
    let folder = tempfile::tempdir().unwrap();
    let (path, kubelet) = sample(folder.path());
    let serving = Serving::start(&[&path]);
    let file = |name: &str| folder.path().join(name).display().to_string();
    fs::write(file("kubelet"), &kubelet[..333_333]).unwrap();
    let told = curl(&["-C", "-", "-o", &file("kubelet"), "-w", "%{http_code} %{size_download}", &serving.url(KUBELET)]);
    assert_eq!(told, "206 666667");
    assert!(fs::read(file("kubelet")).unwrap() == kubelet);
    for arch in ["amd64", "arm64"] {
        curl(&["-o", &file(&format!("runc.{arch}")), &serving.url(&format!("{RUNC}/runc.{arch}"))]);
    }
    for (name, list) in [("one", format!("{KUBELET}.sha256")), ("two", format!("{RUNC}/runc.sha256sum"))] {
        curl(&["-o", &file(name), &serving.url(&list)]);
        run(Command::new("sha256sum").args(["--strict", "-c", name]).current_dir(folder.path()));
    }
    assert_eq!(fs::read_to_string(file("two")).unwrap().lines().count(), 2, "a line for each file that is here");
    curl(&["-o", &file("empty"), &serving.url("/example.org/empty")]);
    assert_eq!(fs::read(file("empty")).unwrap(), b"");
    let about = curl(&[&serving.url("/")]);
    assert!(about.contains(KUBELET) && about.contains("/runc.sha256sum"), "{about}");
}

#[test]
fn ranges_heads_and_methods() {
    let folder = tempfile::tempdir().unwrap();
    let (path, kubelet) = sample(folder.path());
    let serving = Serving::start(&[&path]);
    let (head, body) = serving.ask("GET", KUBELET, "range: bytes=999990-\r\n");
    assert!(head.starts_with("http/1.1 206") && head.contains("content-range: bytes 999990-999999/1000000"), "{head}");
    assert_eq!(body, kubelet[999_990..]);
    let (head, body) = serving.ask("GET", KUBELET, "range: bytes=300000-600000\r\n");
    assert!(head.contains("content-length: 300001"), "{head}");
    assert!(body == kubelet[300_000..=600_000]);
    let (head, body) = serving.ask("GET", KUBELET, "range: bytes=1000000-\r\n");
    assert!(head.starts_with("http/1.1 416") && head.contains("content-range: bytes */1000000"), "{head}");
    assert_eq!(body, b"");
    let (head, body) = serving.ask("GET", KUBELET, "range: bytes=5-\r\nif-range: \"older\"\r\n");
    assert!(head.starts_with("http/1.1 200") && body == kubelet, "{head}");
    let (head, body) = serving.ask("HEAD", KUBELET, "");
    assert!(head.starts_with("http/1.1 200") && head.contains("content-length: 1000000"), "{head}");
    assert_eq!(body, b"");
    for method in ["PUT", "POST", "DELETE", "PATCH", "OPTIONS"] {
        let (head, _) = serving.ask(method, KUBELET, "content-length: 0\r\n");
        assert!(head.starts_with("http/1.1 405") && head.contains("allow: get, head"), "{head}");
    }
}

#[test]
fn nothing_but_the_bundle_is_reached() {
    let folder = tempfile::tempdir().unwrap();
    let (path, kubelet) = sample(folder.path());
    let serving = Serving::start(&[&path]);
    for target in [
        "/../../../../etc/passwd",
        "/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/dl.k8s.io/..%2f..%2f..%2fetc/passwd",
        "/dl.k8s.io/../../../etc/passwd",
        "//etc/passwd",
        "/etc/passwd%00",
        "/%ff%fe",
        "/packages/../../../etc/passwd",
        "/dl.k8s.io/",
        "/bundle.json",
        "http://127.0.0.1/etc/passwd",
        "file:///etc/passwd",
    ] {
        let (head, body) = serving.ask("GET", target, "");
        assert!(head.starts_with("http/1.1 404") || head.starts_with("http/1.1 400"), "{target}: {head}");
        assert!(!String::from_utf8_lossy(&body).contains("root:"), "{target}");
    }
    // Both forms of a target mean the same path, and so does every spelling of it.
    for target in
        [format!("http://mirror.example{KUBELET}"), KUBELET.replace("dl", "%64%6C"), format!("{KUBELET}?x=/..")]
    {
        let (head, body) = serving.ask("GET", &target, "");
        assert!(head.starts_with("http/1.1 200") && body == kubelet, "{target}: {head}");
    }
    let long = "x".repeat(100_000);
    let (head, _) = serving.ask("GET", "/", &format!("x: {long}\r\n"));
    assert!(head.starts_with("http/1.1 431"), "{head}");
    let (head, _) = serving.ask("GET", &format!("/{long}"), "");
    assert!(head.starts_with("http/1.1 4"), "{head}");
    let (head, _) = serving.raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 is TLS\r\n\r\n");
    assert!(head.starts_with("http/1.1 400"), "{head}");
    assert!(serving.ask("GET", KUBELET, "").0.starts_with("http/1.1 200"), "and it is still there");
}

#[test]
fn of_two_bundles_the_first_one_counts() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name, content| Published { name, path: name, checksums: "x.example/sums", content };
    let new = bundle(folder.path(), "new.tar", &[file("x.example/a", b"new a")], |_, _| {});
    let old = [file("x.example/a", b"old a"), file("x.example/b", b"old b")];
    let old = bundle(folder.path(), "old.tar", &old, |_, _| {});
    let serving = Serving::start(&[&new, &old]);
    assert!(serving.said.contains("serving 2 files"), "{}", serving.said);
    let text = |path: &str| String::from_utf8(serving.ask("GET", path, "").1).unwrap();
    assert_eq!((text("/x.example/a"), text("/x.example/b")), ("new a".into(), "old b".into()));
    let sums = format!("{}  a\n{}  b\n", sha256(b"new a"), sha256(b"old b"));
    assert_eq!(text("/x.example/sums"), sums);
}

#[test]
fn another_bundle_of_that_name_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (path, kubelet) = sample(folder.path());
    let serving = Serving::start(&[&path]);
    // As `mirror save` replaces one.
    fs::write(folder.path().join("new"), "another").unwrap();
    fs::rename(folder.path().join("new"), &path).unwrap();
    assert!(serving.ask("GET", KUBELET, "").1 == kubelet);
}

#[test]
fn ctrl_c_ends_it_well_with_a_transfer_on_its_way() {
    let folder = tempfile::tempdir().unwrap();
    let large = noise("large", 30_000_000);
    let files = [Published { name: "large", path: "x.example/large", checksums: "x.example/sums", content: &large }];
    let serving = Serving::start(&[&bundle(folder.path(), "large.tar", &files, |_, _| {})]);
    assert!(serving.ask("GET", "/x.example/sums", "").0.starts_with("http/1.1 200"));
    let mut stream = serving.connect();
    stream.write_all(b"GET /x.example/large HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut start = [0; 1000];
    stream.read_exact(&mut start).unwrap();
    let (code, last) = serving.interrupt();
    assert_eq!(code, Some(0), "{last}");
    assert!(last.contains("served 2 requests, "), "{last}");
    let mut rest = vec![];
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.len() < large.len(), "it was cut");
}

#[test]
fn what_cannot_be_served_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = sample(folder.path());
    let home = tempfile::tempdir().unwrap();
    let serve = |more: &[&str], path: &Path| {
        let path = path.display().to_string();
        ran(etcdless(home.path(), &[&["mirror", "serve", &path], more].concat()))
    };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap();
    let said = format!("cannot listen on {taken}");
    serve(&["--listen", &taken.to_string()], &path).failed(2, &[&said, "choose another port"]);
    serve(&["--listen", "192.0.2.1:8080"], &path).failed(2, &["cannot listen on 192.0.2.1:8080", "of this machine"]);
    serve(&["--listen", "8080"], &path).failed(2, &["invalid value '8080' for '--listen"]);
    serve(&["--tls-cert", "x"], &path).failed(2, &["--tls-key"]);
    let text = path.display().to_string();
    serve(&["--listen", "127.0.0.1:0", "--tls-cert", &text, "--tls-key", &text], &path)
        .failed(2, &["files.tar cannot be used for HTTPS"]);
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 2000;
    bytes[last] ^= 1;
    let damaged = folder.path().join("damaged.tar");
    fs::write(&damaged, bytes).unwrap();
    serve(&["--listen", "127.0.0.1:0"], &damaged).failed(3, &["damaged.tar is damaged"]);
}

#[test]
fn https_with_a_certificate_of_ones_own() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = sample(folder.path());
    let file = |name: &str| folder.path().join(name).display().to_string();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(file("cert.pem"), made.cert.pem()).unwrap();
    fs::write(file("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let more = ["--listen", "127.0.0.1:0", "--tls-cert", &file("cert.pem"), "--tls-key", &file("key.pem")];
    let serving = Serving::with(&[&path], &more);
    let settings = format!("artifacts: {{ mirror: https://{0}, registry: https://{0} }}", serving.address);
    assert!(serving.said.contains(&settings), "{}", serving.said);
    let port = serving.address.rsplit_once(':').unwrap().1;
    let url = format!("https://localhost:{port}{KUBELET}.sha256");
    let resolve = format!("localhost:{port}:127.0.0.1");
    let told = curl(&["--cacert", &file("cert.pem"), "--resolve", &resolve, &url]);
    assert!(told.ends_with("  kubelet\n"), "{told}");
    // A key of another certificate.
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(file("other.pem"), other.signing_key.serialize_pem()).unwrap();
    let home = tempfile::tempdir().unwrap();
    let arguments = ["mirror", "serve", &file("files.tar"), "--listen", "127.0.0.1:0"];
    let tls = ["--tls-cert", &file("cert.pem"), "--tls-key", &file("other.pem")];
    ran(etcdless(home.path(), &[&arguments[..], &tls[..]].concat()))
        .failed(2, &["other.pem", "belongs to the certificate"]);
}

/// The most memory that serving a file of this size to several clients takes, in KiB.
fn peak(size: usize) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let large = noise("large", size);
    let files = [Published { name: "large", path: "x.example/large", checksums: "x.example/sums", content: &large }];
    let serving = Serving::start(&[&bundle(folder.path(), "large.tar", &files, |_, _| {})]);
    let before = serving.peak();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let (head, body) = serving.ask("GET", "/x.example/large", "");
                assert!(head.starts_with("http/1.1 200") && body == large, "{head}");
            });
        }
    });
    let after = serving.peak();
    eprintln!("{size} bytes to 4 clients: at most {after} KiB, {before} KiB before");
    after
}

#[test]
fn memory_does_not_grow_with_a_file() {
    let (small, large) = (peak(20_000_000), peak(200_000_000));
    assert!(large < small + 8 * 1024, "{small} KiB, then {large} KiB");
}

//! `registry::open`: the archive of an image, read back by tar, and registries that lie.

use std::collections::BTreeMap;
use std::process::Command;

use etcdless::artifact::image::{Architectures, Blob};
use etcdless::artifact::registry::{self, Registry};
use etcdless::config::Artifacts;
use etcdless::failure::{Failure, Kind};
use etcdless::op::sha256;
use futures_util::TryStreamExt;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use crate::server::{self, Answer, Server};

const PAUSE: &str = "registry.k8s.io/pause:3.10.1";
const REPOSITORY: &str = "/v2/registry.k8s.io/pause";
const OCI: [&str; 2] = ["application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json"];
const DOCKER: [&str; 2] = [
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];

/// An image as a registry holds it.
#[derive(Default)]
struct Held {
    paths: BTreeMap<String, Answer>,
}

impl Held {
    fn blob(&mut self, content: impl Into<Vec<u8>>) -> (String, usize) {
        let content = content.into();
        let digest = format!("sha256:{}", sha256(&content));
        let size = content.len();
        self.paths.insert(format!("{REPOSITORY}/blobs/{digest}"), server::ok(content));
        (digest, size)
    }

    /// A manifest under its digest, and under the tag where it has one; gives its digest and length.
    fn manifest(&mut self, document: &Value, tag: Option<&str>) -> (String, usize) {
        // Not what a serializer of ours would write: the very bytes must arrive.
        let text = format!("{document:#}\n");
        let digest = format!("sha256:{}", sha256(text.as_bytes()));
        let answer = Answer {
            headers: vec![
                ("Content-Type", document["mediaType"].as_str().unwrap_or_default().into()),
                ("Docker-Content-Digest", digest.clone()),
            ],
            ..server::ok(text.clone())
        };
        for name in [Some(digest.as_str()), tag].into_iter().flatten() {
            self.paths.insert(format!("{REPOSITORY}/manifests/{name}"), answer.clone());
        }
        (digest, text.len())
    }

    /// A whole image for one architecture, its first layer twice.
    fn image(&mut self, kind: &str, arch: &str, tag: Option<&str>) -> (String, usize) {
        let (config, config_size) = self.blob(json!({ "architecture": arch, "os": "linux" }).to_string());
        let layers: Vec<Value> = [layer(arch, 300_000), layer(arch, 512), layer(arch, 300_000), vec![]]
            .into_iter()
            .map(|content| {
                let (digest, size) = self.blob(content);
                json!({ "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": size })
            })
            .collect();
        let config =
            json!({ "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": config_size });
        self.manifest(&json!({ "schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers }), tag)
    }

    fn index(&mut self, [image, index]: [&str; 2], tag: &str) -> BTreeMap<&'static str, String> {
        let mut digests = BTreeMap::new();
        let mut entries = vec![json!({
            "mediaType": image, "digest": format!("sha256:{}", "e".repeat(64)), "size": 7,
            "platform": { "architecture": "unknown", "os": "unknown" },
        })];
        for arch in ["arm64", "amd64"] {
            let (digest, size) = self.image(image, arch, None);
            entries.push(json!({
                "mediaType": image, "digest": digest, "size": size, "platform": { "architecture": arch, "os": "linux" },
            }));
            digests.insert(arch, digest);
        }
        self.manifest(&json!({ "schemaVersion": 2, "mediaType": index, "manifests": entries }), Some(tag));
        digests
    }

    async fn serve(self) -> Server {
        let paths = self.paths.into_iter().chain([("/v2/".to_owned(), server::ok("{}"))]);
        Server::start(paths).await
    }
}

fn layer(arch: &str, size: usize) -> Vec<u8> {
    arch.bytes().cycle().take(size).collect()
}

fn artifacts(address: &str) -> Artifacts {
    Artifacts { registry: Some(address.into()), ..Artifacts::default() }
}

/// Reads the archive to its end or to its error, with the length that was announced.
async fn read(address: &str, reference: &str, arch: &str) -> Result<(u64, std::io::Result<Vec<u8>>), Failure> {
    let (mut payload, length) = registry::open(&artifacts(address), reference, arch).await?;
    let mut archive = vec![];
    let result = payload.read_to_end(&mut archive).await;
    Ok((length, result.map(|_| archive)))
}

/// What GNU tar finds in an archive: path to content.
fn unpack(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.tar");
    std::fs::write(&path, archive).unwrap();
    let run = |args: &[&str]| {
        let output = Command::new("tar").arg("-C").arg(folder.path()).args(args).arg("-f").arg(&path).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    run(&["-x"]);
    run(&["-t"]).lines().map(|name| (name.to_owned(), std::fs::read(folder.path().join(name)).unwrap())).collect()
}

fn json_of(files: &BTreeMap<String, Vec<u8>>, name: &str) -> Value {
    serde_json::from_slice(&files[name]).unwrap()
}

#[tokio::test]
async fn an_index_gives_the_image_of_the_architecture() {
    for kinds in [OCI, DOCKER] {
        let mut held = Held::default();
        let digests = held.index(kinds, "3.10.1");
        let server = held.serve().await;
        for arch in ["amd64", "arm64"] {
            let (length, archive) = read(&server.address, PAUSE, arch).await.unwrap();
            let archive = archive.unwrap();
            assert_eq!(archive.len() as u64, length, "the length that was announced");
            let files = unpack(&archive);
            assert_eq!(files["oci-layout"], br#"{"imageLayoutVersion":"1.0.0"}"#);

            let index = json_of(&files, "index.json");
            let manifest = &index["manifests"][0];
            assert_eq!(manifest["digest"], digests[arch].as_str());
            assert_eq!(manifest["mediaType"], kinds[0]);
            assert_eq!(manifest["annotations"]["io.containerd.image.name"], PAUSE);
            assert_eq!(manifest["annotations"]["org.opencontainers.image.ref.name"], PAUSE);
            assert_eq!(manifest["platform"], json!({ "architecture": arch, "os": "linux" }));

            let blobs: Vec<&String> = files.keys().filter(|name| name.starts_with("blobs/")).collect();
            assert_eq!(blobs.len(), 5, "manifest, config and three layers, each once: {blobs:?}");
            for name in blobs {
                assert_eq!(name.strip_prefix("blobs/sha256/"), Some(sha256(&files[name]).as_str()));
            }
            let path = |digest: &Value| format!("blobs/{}", digest.as_str().unwrap().replace(':', "/"));
            let image = json_of(&files, &path(&manifest["digest"]));
            assert_eq!(manifest["size"], files[&path(&manifest["digest"])].len());
            assert_eq!(json_of(&files, &path(&image["config"]["digest"]))["architecture"], arch);
            assert!(files[&path(&image["layers"][0]["digest"])] == layer(arch, 300_000));
        }
    }
}

#[tokio::test]
async fn the_host_of_the_repository_itself_is_asked_for_what_it_has() {
    let mut held = Held::default();
    held.image(OCI[0], "amd64", Some("3.10.1"));
    let flat = |(path, answer): (String, Answer)| (path.replace(REPOSITORY, "/v2/system/pause"), answer);
    let server = Held { paths: held.paths.into_iter().map(flat).collect() }.serve().await;
    let reference = format!("{}/system/pause:3.10.1", server.address);
    let (_, archive) = read(&server.address, &reference, "amd64").await.unwrap();
    let index = json_of(&unpack(&archive.unwrap()), "index.json");
    assert!(index.to_string().contains(&reference), "{index}");
}

#[tokio::test]
async fn a_single_manifest_is_taken_as_it_is_if_it_fits() {
    let mut held = Held::default();
    let (digest, _) = held.image(DOCKER[0], "amd64", Some("3.10.1"));
    let server = held.serve().await;
    let (_, archive) = read(&format!("http://{}/", server.address), PAUSE, "amd64").await.unwrap();
    assert_eq!(json_of(&unpack(&archive.unwrap()), "index.json")["manifests"][0]["digest"], digest.as_str());

    let failure = read(&server.address, PAUSE, "arm64").await.unwrap_err();
    assert_eq!(
        failure.message,
        format!("image {PAUSE} cannot be fetched from {}: it is for amd64, and arm64 is needed", server.address)
    );
}

#[tokio::test]
async fn the_same_image_is_the_same_archive() {
    let mut held = Held::default();
    held.index(OCI, "3.10.1");
    let server = held.serve().await;
    let first = read(&server.address, PAUSE, "amd64").await.unwrap().1.unwrap();
    assert!(first == read(&server.address, PAUSE, "amd64").await.unwrap().1.unwrap());
}

#[tokio::test]
async fn blobs_are_asked_for_only_when_the_reader_gets_there() {
    let mut held = Held::default();
    held.index(OCI, "3.10.1");
    let server = held.serve().await;
    let (mut payload, _) = registry::open(&artifacts(&server.address), PAUSE, "amd64").await.unwrap();
    payload.read_exact(&mut [0; 512]).await.unwrap();
    let seen = server.seen();
    assert!(!seen.iter().any(|line| line.contains("/blobs/")), "{seen:?}");
}

/// The largest layer of the amd64 image, as its path in the registry and its digest.
fn big_layer() -> (String, String) {
    let digest = format!("sha256:{}", sha256(&layer("amd64", 300_000)));
    (format!("{REPOSITORY}/blobs/{digest}"), digest)
}

/// Serves an image whose big layer is answered like this, and reads it; gives the stream's error.
async fn read_with(answer: Answer) -> (String, String) {
    let (path, digest) = big_layer();
    let mut held = Held::default();
    held.index(OCI, "3.10.1");
    held.paths.insert(path, answer);
    let server = held.serve().await;
    let error = read(&server.address, PAUSE, "amd64").await.unwrap().1.unwrap_err();
    (error.to_string(), digest)
}

#[tokio::test]
async fn a_wrong_blob_names_itself_and_both_digests() {
    let mut wrong = layer("amd64", 300_000);
    wrong[150_000] ^= 1;
    let actual = sha256(&wrong);
    let (message, digest) = read_with(server::ok(wrong)).await;
    assert_eq!(message, format!("blob {digest} of {PAUSE} has digest sha256:{actual}, expected {digest}"));
}

#[tokio::test]
async fn blobs_that_are_cut_short_long_or_missing_are_errors() {
    let whole = layer("amd64", 300_000);
    let (message, digest) = read_with(Answer { announced: Some(300_000), ..server::ok(&whole[..1000]) }).await;
    assert!(message.starts_with(&format!("blob {digest} of {PAUSE} ended after 1000 of 300000 bytes: ")), "{message}");

    let (message, digest) = read_with(server::ok([&whole[..], b"more"].concat())).await;
    assert_eq!(message, format!("blob {digest} of {PAUSE} is longer than the 300000 bytes that its manifest says"));

    let (message, digest) = read_with(server::status(404)).await;
    assert!(message.starts_with(&format!("blob {digest} of {PAUSE}: http://")), "{message}");
    assert!(message.ends_with("is not there"), "{message}");
}

#[tokio::test]
async fn nothing_follows_an_error() {
    let (path, _) = big_layer();
    let mut held = Held::default();
    held.index(OCI, "3.10.1");
    held.paths.insert(path, server::status(500));
    let server = held.serve().await;
    let (mut payload, length) = registry::open(&artifacts(&server.address), PAUSE, "amd64").await.unwrap();
    let mut archive = vec![];
    assert!(payload.read_to_end(&mut archive).await.is_err());
    assert_eq!(payload.read_to_end(&mut archive).await.unwrap(), 0);
    assert!((archive.len() as u64) < length);
}

#[tokio::test]
async fn what_the_registry_does_not_hold_is_told() {
    let unknown = json!({ "errors": [{ "code": "MANIFEST_UNKNOWN", "message": "manifest unknown" }] }).to_string();
    let mut held = Held::default();
    held.index(OCI, "3.10.1");
    held.paths.insert(format!("{REPOSITORY}/manifests/3.99"), Answer { status: 404, ..server::ok(unknown) });
    held.paths.insert(format!("{REPOSITORY}/manifests/bad"), server::ok("<html>"));
    let server = held.serve().await;
    let address = &server.address;
    let cases = [
        ("pause:3.99", "amd64", format!("http://{address}{REPOSITORY}/manifests/3.99 is not there")),
        ("pause:4", "amd64", format!("http://{address}{REPOSITORY}/manifests/4 is not there")),
        ("pause:bad", "amd64", "its manifest cannot be read: ".to_owned()),
        ("pause:3.10.1", "riscv64", "it has no image for linux/riscv64".to_owned()),
    ];
    for (name, arch, expected) in cases {
        let reference = format!("registry.k8s.io/{name}");
        let failure = read(address, &reference, arch).await.unwrap_err();
        assert_eq!(failure.kind, Kind::Step);
        let expected = format!("image {reference} cannot be fetched from {address}: {expected}");
        assert!(failure.message.starts_with(&expected), "{failure}\n{expected}");
        assert!(failure.hints[0].contains("--registry"), "{:?}", failure.hints);
    }

    let failure = read(&server::refused().await, PAUSE, "amd64").await.unwrap_err();
    assert!(failure.message.contains("Connection refused"), "{failure}");
    let failure = read(address, "NOT A NAME", "amd64").await.unwrap_err();
    assert_eq!(failure.kind, Kind::Config);
}

#[tokio::test]
async fn a_manifest_may_not_name_paths() {
    let mut held = Held::default();
    let (config, size) = held.blob("{}");
    let document = json!({
        "schemaVersion": 2, "mediaType": OCI[0],
        "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": size },
        "layers": [{ "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": "sha256:../../etc/passwd", "size": 1 }],
    });
    held.manifest(&document, Some("3.10.1"));
    let server = held.serve().await;
    let failure = read(&server.address, PAUSE, "amd64").await.unwrap_err();
    assert!(failure.message.contains("its manifest names `sha256:../../etc/passwd`"), "{failure}");
}

fn these(archs: &[&str]) -> Architectures {
    Architectures::These(archs.iter().map(ToString::to_string).collect())
}

#[tokio::test]
async fn the_tree_of_an_image_has_what_was_wanted() {
    let mut held = Held::default();
    let digests = held.index(OCI, "3.10.1");
    let server = held.serve().await;
    let registry = Registry::of(&artifacts(&server.address)).unwrap();

    let one = registry.image(PAUSE, &these(&["arm64"])).await.unwrap();
    assert_eq!((one.reference.as_str(), one.root.blob.digest.as_str()), (PAUSE, digests["arm64"].as_str()));
    assert_eq!(one.platforms[0].blobs.len(), 4, "config and three layers, each once");

    let both = registry.image(PAUSE, &these(&["amd64", "arm64"])).await.unwrap();
    assert_eq!(both, registry.image(PAUSE, &these(&["arm64", "amd64"])).await.unwrap());
    let found: Vec<(&str, &str)> = both
        .platforms
        .iter()
        .map(|platform| (platform.arch.as_str(), platform.manifest.blob.digest.as_str()))
        .collect();
    assert_eq!(found, ["arm64", "amd64"].map(|arch| (arch, digests[arch].as_str())));
    let index: Value = serde_json::from_slice(&both.root.text).unwrap();
    assert_eq!(index["manifests"].as_array().unwrap().len(), 2, "without the attestation: {index}");
    assert_eq!(both.root.media_type, OCI[1]);

    let failure = registry.image(PAUSE, &these(&["amd64", "s390x"])).await.unwrap_err();
    assert!(failure.message.ends_with("it has no image for linux/s390x"), "{failure}");
    assert_eq!(failure.details, ["it has images for linux/arm64, linux/amd64"]);
}

#[tokio::test]
async fn a_blob_goes_on_where_it_was_cut_even_if_the_server_begins_anew() {
    let mut held = Held::default();
    held.index(OCI, "3.10.1");
    let server = held.serve().await;
    let registry = Registry::of(&artifacts(&server.address)).unwrap();
    let (whole, blob) = (layer("amd64", 300_000), Blob::new(&big_layer().1, 300_000).unwrap());
    for from in [0, 1, 200_001, 299_999, 300_000] {
        let chunks = registry.blob(PAUSE, &blob, from).await.unwrap();
        let read: Vec<_> = chunks.try_collect().await.unwrap();
        assert!(read.concat() == whole[from as usize..], "from {from}");
    }
}

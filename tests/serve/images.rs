//! Images: skopeo and containerd's way of asking, and one file of them that other tools read.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use etcdless::op::sha256;
use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Serving, run};
use crate::seed::{KINE, REFERENCES, Seed, upstream};
use crate::server::{etcdless, installed, ran};

/// All images as one file, made by `mirror images pull` from a registry.
fn pulled(arch: &str) -> (TempDir, PathBuf, Seed) {
    let folder = tempfile::tempdir().unwrap();
    let (source, seed) = upstream();
    let path = folder.path().join("images.tar");
    let (file, cache) = (path.display().to_string(), folder.path().join("cache").display().to_string());
    let registry = format!("http://{}", source.address);
    let arguments =
        ["mirror", "images", "pull", "-o", &file, "--arch", arch, "--registry", &registry, "--cache", &cache];
    let told = ran(etcdless(folder.path(), &arguments)).ok();
    assert!(told.contains("0 files, 9 images, 0 archives of packages"), "{told}");
    (folder, path, seed)
}

fn skopeo(arguments: &[&str]) -> String {
    run(Command::new("skopeo").arg("--insecure-policy").args(arguments))
}

#[test]
fn skopeo_pulls_every_image_with_its_digest() {
    if !installed() {
        return;
    }
    let (folder, path, seed) = pulled("amd64,arm64");
    let serving = Serving::start(&[&path]);
    assert!(serving.said.contains("serving 0 files, 9 images"), "{}", serving.said);
    for reference in REFERENCES {
        let (name, tag) = reference.rsplit_once(':').unwrap();
        for arch in ["amd64", "arm64"] {
            let source = format!("docker://{}/{reference}", serving.address);
            let into = folder.path().join(arch).join(sha256(name.as_bytes()));
            let target = format!("dir:{}", into.display());
            fs::create_dir_all(&into).unwrap();
            skopeo(&[
                "--override-arch",
                arch,
                "copy",
                "-q",
                "--preserve-digests",
                "--src-tls-verify=false",
                &source,
                &target,
            ]);
            let manifest = sha256(&fs::read(into.join("manifest.json")).unwrap());
            assert_eq!(manifest, seed.manifests[&(reference, arch)], "{reference} {arch}");
        }
        let tags = skopeo(&["list-tags", "--tls-verify=false", &format!("docker://{}/{name}", serving.address)]);
        assert_eq!(serde_json::from_str::<Value>(&tags).unwrap()["Tags"], serde_json::json!([tag]));
    }
    let catalog: Value = serde_json::from_slice(&serving.ask("GET", "/v2/_catalog", "").1).unwrap();
    assert_eq!(catalog["repositories"].as_array().unwrap().len(), 9);
    let about = String::from_utf8(serving.ask("GET", "/", "").1).unwrap();
    assert!(about.contains(&format!("image {KINE}\n")), "{about}");
}

#[test]
fn containerd_may_say_the_registry_beside_the_name() {
    if !installed() {
        return;
    }
    let (_folder, path, seed) = pulled("amd64");
    let serving = Serving::start(&[&path]);
    let digest = &seed.manifests[&(KINE, "amd64")];
    for target in [
        "/v2/docker.io/rancher/kine/manifests/v0.16.4",
        "/v2/docker.io/rancher/kine/manifests/v0.16.4?ns=docker.io",
        "/v2/rancher/kine/manifests/v0.16.4?ns=docker.io",
        "/v2/rancher/kine/manifests/v0.16.4?x=y&ns=docker%2Eio",
        &format!("/v2/rancher/kine/manifests/sha256:{digest}?ns=docker.io"),
    ] {
        let (head, body) = serving.ask("GET", target, "");
        assert!(head.starts_with("http/1.1 200"), "{target}: {head}");
        assert!(head.contains("content-type: application/vnd.oci.image.manifest.v1+json"), "{head}");
        assert!(head.contains(&format!("docker-content-digest: sha256:{digest}")), "{head}");
        assert!(head.contains("docker-distribution-api-version: registry/2.0"), "{head}");
        assert_eq!(sha256(&body), *digest, "{target}");
        let (again, body) = serving.ask("HEAD", target, "");
        assert_eq!(
            (again.lines().filter(|line| !line.starts_with("date")).count(), body.len()),
            (head.lines().filter(|line| !line.starts_with("date")).count(), 0)
        );
    }
    let (head, body) = serving.ask("GET", "/v2/", "");
    assert!(head.starts_with("http/1.1 200") && body == b"{}", "{head}");
}

#[test]
fn a_layer_goes_on_from_any_byte() {
    if !installed() {
        return;
    }
    let (_folder, path, seed) = pulled("amd64");
    let serving = Serving::start(&[&path]);
    let target = format!("/v2/docker.io/rancher/kine/blobs/sha256:{}", seed.base);
    let (head, whole) = serving.ask("GET", &target, "");
    assert!(head.starts_with("http/1.1 200") && sha256(&whole) == seed.base, "{head}");
    for from in [1, 262_143, 262_144, 262_145, 399_999] {
        let (head, rest) = serving.ask("GET", &target, &format!("range: bytes={from}-\r\n"));
        assert!(
            head.starts_with("http/1.1 206") && head.contains(&format!("docker-content-digest: sha256:{}", seed.base)),
            "{head}"
        );
        assert!(rest == whole[from..], "from {from}");
    }
}

#[test]
fn what_is_not_here_is_told_as_registries_tell_it() {
    if !installed() {
        return;
    }
    let (_folder, path, seed) = pulled("amd64");
    let serving = Serving::start(&[&path]);
    let base = &seed.base;
    let zeros = "0".repeat(64);
    for (method, target, status, code) in [
        ("GET", "/v2/registry.k8s.io/nothing/manifests/v1".to_owned(), 404, "MANIFEST_UNKNOWN"),
        ("GET", "/v2/docker.io/rancher/kine/manifests/v9".into(), 404, "MANIFEST_UNKNOWN"),
        ("GET", "/v2/rancher/kine/manifests/v0.16.4".into(), 404, "MANIFEST_UNKNOWN"),
        ("GET", "/v2/rancher/kine/manifests/v0.16.4?ns=quay.io".into(), 404, "MANIFEST_UNKNOWN"),
        ("GET", format!("/v2/docker.io/rancher/kine/manifests/sha256:{zeros}"), 404, "MANIFEST_UNKNOWN"),
        ("GET", format!("/v2/docker.io/rancher/kine/blobs/sha256:{zeros}"), 404, "BLOB_UNKNOWN"),
        ("GET", format!("/v2/docker.io/rancher/other/blobs/sha256:{base}"), 404, "BLOB_UNKNOWN"),
        ("GET", "/v2/docker.io/rancher/kine/blobs/../../../../etc/passwd".into(), 404, "BLOB_UNKNOWN"),
        ("GET", "/v2/nothing/tags/list".into(), 404, "NAME_UNKNOWN"),
        ("POST", "/v2/docker.io/rancher/kine/blobs/uploads/".into(), 405, "UNSUPPORTED"),
        ("PUT", "/v2/docker.io/rancher/kine/manifests/v0.16.4".into(), 405, "UNSUPPORTED"),
        ("DELETE", format!("/v2/docker.io/rancher/kine/blobs/sha256:{base}"), 405, "UNSUPPORTED"),
    ] {
        let (head, body) = serving.ask(method, &target, "");
        assert!(head.starts_with(&format!("http/1.1 {status}")), "{target}: {head}");
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["errors"][0]["code"], code, "{target}");
    }
}

#[test]
fn the_file_is_an_archive_that_skopeo_reads() {
    if !installed() {
        return;
    }
    let (folder, path, seed) = pulled("amd64");
    let into = folder.path().join("image");
    let (source, target) = (format!("oci-archive:{}:{KINE}", path.display()), format!("dir:{}", into.display()));
    skopeo(&["copy", "-q", "--preserve-digests", &source, &target]);
    let manifest = sha256(&fs::read(into.join("manifest.json")).unwrap());
    assert_eq!(manifest, seed.manifests[&(KINE, "amd64")]);
    let home = tempfile::tempdir().unwrap();
    ran(etcdless(home.path(), &["mirror", "verify", &path.display().to_string()])).ok();
}

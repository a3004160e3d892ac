//! What arrives, by which name and digest, and what is sent for it.

use std::fs;
use std::process::Command;

use etcdless::artifact::image::{Architectures, Blob};
use etcdless::artifact::registry::Registry;
use etcdless::config::Artifacts;
use futures_util::TryStreamExt;

use crate::images::{KINE, REFERENCES, noise, seeded, upstream};
use crate::server::{Server, etcdless, installed, peak as peak_of, push, pushing, ran};

#[test]
fn digests_stay_and_a_second_push_moves_nothing() {
    if !installed() {
        return;
    }
    let (source, seed) = upstream();
    let target = Server::empty();
    let url = format!("http://{}", target.address);

    let plan = push(&source, &url, &["--dry-run"]).ok();
    assert!(plan.contains(&format!("{}/{KINE}: 4 of 4 blobs, ", target.address)), "{plan}");
    // A config and two layers each, and the layer that they share.
    assert!(plan.contains("9 images, 28 blobs to move ("), "{plan}");
    assert_eq!(
        target.requests(0).iter().find(|request| !request.starts_with("HEAD") && !request.starts_with("GET")),
        None
    );

    let told = push(&source, &url, &[]).ok();
    assert!(told.contains(": 28 blobs moved (") && told.contains("), 8 mounted, 0 were there"), "{told}");
    for reference in REFERENCES {
        assert_eq!(target.digest(reference).as_ref(), Some(&seed.manifests[&(reference, "amd64")]), "{reference}");
    }
    let sent = target.sent(0);
    assert_eq!(sent.len(), 28);
    assert_eq!(sent.iter().filter(|digest| **digest == seed.base).count(), 1, "what all of them have goes once");

    let before = target.log().len();
    let told = push(&source, &url, &[]).ok();
    assert!(told.contains(": 0 blobs moved (0 B in ") && told.contains("36 were there"), "{told}");
    let changing = |request: &&String| ["PUT", "POST", "PATCH"].iter().any(|method| request.starts_with(method));
    assert_eq!(target.requests(before).iter().find(changing), None);
    assert!(!source.requests(0).iter().any(|request| request.contains(&seed.indexes[KINE])), "by its tag alone");
}

#[test]
fn architectures_are_as_asked_for() {
    if !installed() {
        return;
    }
    let (source, seed) = upstream();
    let target = Server::empty();
    let url = |path: &str| format!("http://{}/{path}", target.address);

    push(&source, &url("all"), &["--arch", "all"]).ok();
    push(&source, &url("two"), &["--arch", "amd64,arm64"]).ok();
    push(&source, &url("owt"), &["--arch", "arm64,amd64"]).ok();
    for reference in REFERENCES {
        assert_eq!(target.digest(&format!("all/{reference}")).as_ref(), Some(&seed.indexes[reference]), "{reference}");
        let two = target.digest(&format!("two/{reference}")).unwrap();
        assert_eq!(target.digest(&format!("owt/{reference}")).as_ref(), Some(&two), "the order makes no difference");
        let name = reference.rsplit_once(':').unwrap().0;
        for arch in ["amd64", "arm64"] {
            let manifest = &seed.manifests[&(reference, arch)];
            assert_eq!(target.digest(&format!("two/{name}@sha256:{manifest}")).as_ref(), Some(manifest));
        }
    }
    // skopeo reads every blob of every platform and checks its digest.
    let folder = tempfile::tempdir().unwrap();
    for path in ["all", "two"] {
        let copied = Command::new("skopeo")
            .args(["--insecure-policy", "copy", "-q", "--all", "--preserve-digests", "--src-tls-verify=false"])
            .arg(format!("docker://{}/{path}/{KINE}", target.address))
            .arg(format!("dir:{}", folder.path().join(path).display()))
            .output()
            .unwrap();
        assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
    }

    let before = target.log().len();
    push(&source, &url("x"), &["--arch", "amd64,s390x"])
        .failed(6, &["it has no image for linux/s390x", "it has images for linux/arm64, linux/amd64"]);
    push(&source, &url("x"), &["--arch", "amd64,all"]).failed(2, &["--arch amd64,all is not a list"]);
    assert!(!target.requests(before).iter().any(|request| request.starts_with("POST")), "nothing was sent");
}

#[test]
fn flat_names_are_those_of_kubeadm() {
    if !installed() {
        return;
    }
    let (source, seed) = upstream();
    let target = Server::empty();
    push(&source, &format!("http://{}/k8s/system", target.address), &["--flat"]).ok();
    for reference in REFERENCES {
        let name = reference.rsplit('/').next().unwrap();
        let digest = target.digest(&format!("k8s/system/{name}"));
        assert_eq!(digest.as_ref(), Some(&seed.manifests[&(reference, "amd64")]), "{reference}");
    }
}

#[test]
fn a_blob_that_is_not_what_it_should_be_gets_no_tag() {
    if !installed() {
        return;
    }
    let (folder, seed) = seeded(50_000);
    let wrong = etcdless::op::sha256(&noise(&format!("{KINE} amd64"), 50_000));
    let path = format!("storage/docker/registry/v2/blobs/sha256/{}/{wrong}/data", &wrong[..2]);
    fs::write(folder.path().join(path), noise("something else", 50_000)).unwrap();
    let (source, target) = (Server::start(folder, "", ""), Server::empty());
    let actual = etcdless::op::sha256(&noise("something else", 50_000));
    let said = format!("blob sha256:{wrong} of {KINE} has digest sha256:{actual}, expected sha256:{wrong}");
    push(&source, &format!("http://{}", target.address), &[]).failed(6, &[&said, "run the same command again"]);
    assert_eq!(target.digest(KINE), None);
    assert!(!target.sent(0).contains(&wrong));
    assert!(!target.sent(0).contains(&seed.manifests[&(KINE, "amd64")]));
}

#[test]
fn images_are_listed_and_tagged() {
    if !installed() {
        return;
    }
    let (source, seed) = upstream();
    let home = tempfile::tempdir().unwrap();
    let listed = |more: &[&str]| {
        let set = format!("artifacts.registry={}", source.address);
        ran(etcdless(home.path(), &[&["mirror", "images", "list", "--set", &set], more].concat())).ok()
    };
    let mut references = REFERENCES;
    references.sort_unstable();
    assert_eq!(listed(&[]).lines().collect::<Vec<_>>(), references);
    let pinned: Vec<String> =
        references.iter().map(|reference| format!("{reference}@sha256:{}", seed.indexes[reference])).collect();
    assert_eq!(listed(&["--digests"]).lines().collect::<Vec<_>>(), pinned);

    let tag = |from: &str, to: &str| {
        let from = format!("http://{}/{from}", source.address);
        ran(etcdless(home.path(), &["mirror", "images", "tag", &from, to]))
    };
    for name in ["docker.io/rancher/kine:stable", "k8s/kine:v0.16.4"] {
        let to = format!("{}/{name}", source.address);
        assert_eq!(tag(KINE, &to).ok().trim(), format!("{to}@sha256:{}", seed.indexes[KINE]));
        assert_eq!(source.digest(name).as_ref(), Some(&seed.indexes[KINE]));
    }
    assert_eq!(source.sent(0), [""; 0], "no blob was sent");
    tag(KINE, "r.example/x:1").failed(2, &["are two registries", "mirror push"]);
    tag("nothing/here:1", &format!("{}/x:1", source.address)).failed(6, &["/v2/nothing/here/manifests/1 is not there"]);
}

#[tokio::test]
async fn a_blob_goes_on_from_any_byte() {
    if !installed() {
        return;
    }
    let (source, _) = upstream();
    let registry = Registry::of(&Artifacts { registry: Some(source.address.clone()), ..Artifacts::default() }).unwrap();
    let image = registry.image(KINE, &Architectures::All).await.unwrap();
    assert_eq!(
        image.platforms.iter().map(|platform| platform.arch.as_str()).collect::<Vec<_>>(),
        ["arm64", "amd64", "unknown"]
    );
    let whole = noise(&format!("{KINE} amd64"), 50_000);
    let blob = Blob::new(&format!("sha256:{}", etcdless::op::sha256(&whole)), 50_000).unwrap();
    assert!(image.blobs().contains(&&blob));
    for from in [0, 1, 33_333, 49_999, 50_000] {
        let chunks = registry.blob(KINE, &blob, from).await.unwrap();
        let read: Vec<_> = chunks.try_collect().await.unwrap();
        assert!(read.concat() == whole[from as usize..], "from {from}");
    }
}

/// The most memory that a push of one large layer took, in KiB.
fn peak(large: usize) -> u64 {
    let (folder, _) = seeded(large);
    let (source, target) = (Server::start(folder, "", ""), Server::empty());
    let home = tempfile::tempdir().unwrap();
    let url = format!("http://{}", target.address);
    let peak = peak_of(etcdless(home.path(), &pushing(&source.address, &url, &[])));
    assert_eq!(target.sent(0).len(), 28);
    peak
}

#[test]
fn memory_does_not_grow_with_a_layer() {
    if !installed() {
        return;
    }
    let (small, large) = (peak(20 << 20), peak(200 << 20));
    eprintln!("peak memory: {} MiB with a layer of 20 MiB, {} MiB with one of 200 MiB", small >> 10, large >> 10);
    assert!(large < small + (12 << 10), "{small} KiB, {large} KiB");
    assert!(large < 100 << 10, "{large} KiB");
}

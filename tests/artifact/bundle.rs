//! A bundle on disk: the same content is the same bytes, and no bit of it can be another one without being told.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use etcdless::artifact::bundle::{self, Bundle, Bundles, Document, File, Image, Manifest, Package, Packages, Platform};
use etcdless::artifact::image::Blob;
use etcdless::artifact::store::Store;
use etcdless::failure::Failure;
use etcdless::op::Release;
use tokio::io::AsyncReadExt;

/// A store with one file, one image and one package in it, and the manifest of them.
fn sample(folder: &Path) -> (Store, Manifest) {
    let store = Store::open(Some(folder)).unwrap();
    let put = |text: &str| store.put(text.as_bytes()).unwrap();
    let manifest_of_image =
        Document { media_type: "application/vnd.oci.image.manifest.v1+json".into(), blob: put("{}") };
    let mut manifest = Manifest {
        bundle: bundle::FORMAT.into(),
        files: vec![File {
            name: "kubelet".into(),
            version: "v1.34.4".into(),
            arch: "amd64".into(),
            url: "https://dl.k8s.io/release/v1.34.4/bin/linux/amd64/kubelet".into(),
            checksum_url: "https://dl.k8s.io/release/v1.34.4/bin/linux/amd64/kubelet.sha256".into(),
            blob: put("kubelet"),
        }],
        images: vec![Image {
            reference: "registry.k8s.io/pause:3.10.1".into(),
            root: manifest_of_image.clone(),
            platforms: vec![Platform {
                arch: "amd64".into(),
                manifest: manifest_of_image,
                blobs: vec![put("config"), put(&"layer".repeat(200))],
            }],
        }],
        packages: vec![Packages {
            distribution: "debian".into(),
            version: "12".into(),
            arch: "amd64".into(),
            names: vec!["haproxy".into()],
            index: put("Package: haproxy\n"),
            files: vec![Package {
                file: "haproxy_2_amd64.deb".into(),
                url: "http://deb.example.org/haproxy.deb".into(),
                blob: put("deb"),
            }],
        }],
        blobs: vec![],
        since: vec![],
    };
    manifest.blobs = manifest.needed();
    (store, manifest)
}

fn written(folder: &Path, name: &str, store: &Store, manifest: &Manifest) -> PathBuf {
    let path = folder.join(name);
    bundle::write(manifest, store, &path, |_, _| {}).unwrap();
    path
}

/// What `mirror verify` and `init --bundle` do.
fn read(paths: &[PathBuf]) -> Result<Bundles, Failure> {
    let bundles = Bundles::open(paths)?;
    bundles.verify(|_, _| ControlFlow::Continue(()))?;
    Ok(bundles)
}

fn told(failure: &Failure) -> String {
    std::iter::once(&failure.message).chain(&failure.details).map(String::as_str).collect::<Vec<_>>().join("\n")
}

/// Ctrl-C must not wait until gigabytes are read.
#[test]
fn a_read_that_is_ended_reads_no_further() {
    let folder = tempfile::tempdir().unwrap();
    let (store, manifest) = sample(folder.path());
    let bundles = Bundles::open(&[written(folder.path(), "one.tar", &store, &manifest)]).unwrap();
    let asked = std::cell::Cell::new(0);
    let ended = bundles.verify(|_, _| {
        asked.set(asked.get() + 1);
        ControlFlow::Break(())
    });
    assert!(ended.is_err());
    assert_eq!(asked.get(), 1);
}

#[test]
fn the_same_content_is_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let (store, manifest) = sample(folder.path());
    let one = written(folder.path(), "one.tar", &store, &manifest);
    let two = written(folder.path(), "two.tar", &store, &manifest);
    assert!(fs::read(&one).unwrap() == fs::read(&two).unwrap());
    read(&[one]).unwrap();
}

#[test]
fn no_byte_can_be_another_one() {
    let folder = tempfile::tempdir().unwrap();
    let (store, manifest) = sample(folder.path());
    let path = written(folder.path(), "demo.tar", &store, &manifest);
    let good = fs::read(&path).unwrap();
    let names: Vec<String> = ["bundle.sha256", "bundle.json", "oci-layout", "index.json", "the archive's end"]
        .map(str::to_owned)
        .into_iter()
        .chain(manifest.blobs.iter().map(Blob::path))
        .collect();
    let mut seen = std::collections::BTreeSet::new();
    for at in 0..good.len() {
        let mut wrong = good.clone();
        wrong[at] ^= 1;
        fs::write(&path, &wrong).unwrap();
        let Err(failure) = read(std::slice::from_ref(&path)) else { panic!("byte {at} may be anything") };
        let text = told(&failure);
        let named = names.iter().find(|name| text.contains(name.as_str()));
        seen.insert(named.unwrap_or_else(|| panic!("byte {at}: no entry is named: {text}")));
        assert_eq!(failure.kind as u8, 3, "byte {at}");
    }
    assert_eq!(seen.len(), names.len(), "every entry was named once: {seen:?}");
}

#[test]
fn what_is_short_or_long_or_something_else_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let (store, manifest) = sample(folder.path());
    let path = written(folder.path(), "demo.tar", &store, &manifest);
    let good = fs::read(&path).unwrap();
    let with = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        told(&read(std::slice::from_ref(&path)).unwrap_err())
    };
    for length in [600, 1600, good.len() - 1] {
        let text = with(&good[..length]);
        assert!(text.contains("is truncated"), "{length}: {text}");
    }
    assert!(with(&[&good[..], b"x"].concat()).contains("goes on for 1 bytes after its end"));
    for other in [&b""[..], b"PK\x03\x04", &[0; 4096]] {
        assert!(with(other).contains("is not a bundle of etcdless"), "{other:?}");
    }
    let newer = Manifest { bundle: "etcdless.dev/bundle/v9".into(), ..manifest };
    let newer = written(folder.path(), "newer.tar", &store, &newer);
    assert!(told(&read(&[newer]).unwrap_err()).contains("another version of etcdless"));
}

#[test]
fn what_a_bundle_lacks_is_told_with_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let (store, manifest) = sample(folder.path());
    let path = written(folder.path(), "demo.tar", &store, &manifest);
    let bundles = read(&[path]).unwrap();
    let item = |version: &str| etcdless::artifact::Item {
        name: "kubelet".into(),
        version: version.into(),
        url: String::new(),
        checksum_url: String::new(),
    };
    assert_eq!(bundles.resolve(&item("v1.34.4"), "amd64").unwrap().size, 7);
    let arm = bundles.resolve(&item("v1.34.4"), "arm64").unwrap_err().message;
    assert!(arm.ends_with("has no kubelet v1.34.4 for arm64; it has v1.34.4 for amd64"), "{arm}");
    let image = bundles.image("registry.k8s.io/pause:3.10.1", "arm64").unwrap_err().message;
    assert!(image.ends_with("has no image registry.k8s.io/pause:3.10.1 for arm64; it has it for amd64"), "{image}");
    let release =
        |version: &str| Release { distribution: "debian".into(), version: version.into(), arch: "amd64".into() };
    let names = |name: &str| [name.to_owned()];
    assert!(bundles.packages_of(&release("12"), &names("haproxy")).is_ok());
    let other = bundles.packages_of(&release("13"), &names("haproxy")).unwrap_err().message;
    assert!(other.contains("packages for debian 13 amd64"), "{other}");
    assert!(other.ends_with("it has those for debian 12 amd64"), "{other}");
    let package = bundles.packages_of(&release("12"), &names("socat")).unwrap_err().message;
    assert!(package.ends_with("has no package socat for debian 12 amd64"), "{package}");
}

#[tokio::test]
async fn what_is_new_needs_the_bundle_that_it_is_based_on() {
    let folder = tempfile::tempdir().unwrap();
    let (store, manifest) = sample(folder.path());
    let old = written(folder.path(), "old.tar", &store, &manifest);
    let base = Bundle::open(&old).unwrap();
    let mut newer = manifest.clone();
    newer.files[0].blob = store.put(b"another kubelet").unwrap();
    newer.blobs = newer.needed();
    newer.blobs.retain(|blob| !manifest.blobs.contains(blob));
    newer.since = vec![base.sum.clone()];
    let new = written(folder.path(), "new.tar", &store, &newer);
    let alone = told(&read(std::slice::from_ref(&new)).unwrap_err());
    assert!(alone.contains("new.tar holds only what is new") && alone.contains(&base.sum), "{alone}");
    let both = read(&[new, old]).unwrap();
    let mut text = String::new();
    both.open_file("kubelet", "v1.34.4", "amd64").await.unwrap().read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "another kubelet", "the newer one comes first");
}

#[tokio::test]
async fn an_image_goes_without_what_the_host_has() {
    let folder = tempfile::tempdir().unwrap();
    let (store, manifest) = sample(folder.path());
    let path = written(folder.path(), "demo.tar", &store, &manifest);
    let bundles = read(&[path]).unwrap();
    let platform = &manifest.images[0].platforms[0];
    let mut entries = vec![];
    for has in [None, Some(&platform.blobs[1])] {
        let mut archive =
            bundles.open_image("registry.k8s.io/pause:3.10.1", "amd64", |blob| Some(blob) == has).unwrap();
        let mut bytes = vec![];
        archive.read_to_end(&mut bytes).await.unwrap();
        let names: Vec<String> = bytes
            .chunks(512)
            .filter(|block| block[257..262] == *b"ustar")
            .map(|block| String::from_utf8_lossy(&block[..100]).trim_end_matches('\0').to_owned())
            .collect();
        entries.push(names);
    }
    let all = [
        "oci-layout".to_owned(),
        "index.json".into(),
        platform.manifest.blob.path(),
        platform.blobs[0].path(),
        platform.blobs[1].path(),
    ];
    assert_eq!(entries[0], all);
    assert_eq!(entries[1], all[..4]);
}

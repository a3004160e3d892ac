//! `mirror save` and what is done with its file, against a real registry and a file server: what is downloaded, and what is refused.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test")]

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use etcdless::artifact::catalogue::catalogue;
use etcdless::config::{Address, Cluster, Host, Role};
use etcdless::op::sha256;

#[expect(dead_code, reason = "other tests want more of it")]
#[path = "artifact/server.rs"]
mod files;
#[expect(dead_code, reason = "other tests want more of it")]
#[path = "registry/images.rs"]
mod seed;
#[expect(dead_code, reason = "other tests want more of it")]
#[path = "registry/server.rs"]
mod server;

use files::{Answer, Server as Files, ok};
use seed::{seeded, upstream};
use server::{Ran, Server, etcdless, installed, ran};

const VERSION: &str = "v1.34.4";
const PATCH: &str = "v1.34.5";
/// The images whose tag is Kubernetes' own version.
const OF_KUBERNETES: [&str; 4] = ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"];

/// What publishers have for a version: each file with its checksum file. Files of Kubernetes differ by version.
fn published(version: &str) -> Vec<(String, Answer)> {
    let address: Address = "local".parse().unwrap();
    let mut cluster = Cluster::of("mirror".parse().unwrap(), vec![Host::at(address, None)]);
    cluster.spec.kubernetes.version = version.parse().unwrap();
    let path = |url: &str| format!("/{}", url.split_once("://").unwrap().1);
    let answers = catalogue(&cluster, "amd64", Role::ControlPlane).files.into_iter().flat_map(|item| {
        let content = format!("{} {}", item.name, item.version).repeat(100);
        let name = item.url.rsplit('/').next().unwrap();
        let checksum = format!("{}  {name}\n", sha256(content.as_bytes()));
        [(path(&item.url), ok(content)), (path(&item.checksum_url), ok(checksum))]
    });
    answers.collect()
}

/// Saves into a cache below `home`.
fn save(home: &Path, files: &Files, registry: &Server, more: &[&str]) -> Ran {
    let mirror = format!("http://{}", files.address);
    let arguments = ["mirror", "save", "--mirror", &mirror, "--registry", &registry.address];
    ran(etcdless(home, &[&arguments, more].concat()))
}

/// Gives the images of Kubernetes the tag of the next patch release, too.
fn tag_patch(registry: &Server) {
    for name in OF_KUBERNETES {
        let tags = format!("storage/docker/registry/v2/repositories/registry.k8s.io/{name}/_manifests/tags");
        let tags = registry.folder.path().join(tags);
        let link = fs::read(tags.join(VERSION).join("current/link")).unwrap();
        fs::create_dir_all(tags.join(PATCH).join("current")).unwrap();
        fs::write(tags.join(PATCH).join("current/link"), link).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_is_not_downloaded_again() {
    if !installed() {
        return;
    }
    let files = Files::start([published(VERSION), published(PATCH)].concat()).await;
    let (registry, _) = upstream();
    tag_patch(&registry);
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name).display().to_string();
    let [one, two, patch, update] = ["one.tar", "two.tar", "patch.tar", "update.tar"].map(at);
    let this = ["--kubernetes-version", VERSION];
    let next = ["--kubernetes-version", PATCH];

    let first = save(home.path(), &files, &registry, &[&this[..], &["-o", &one]].concat()).ok();
    assert!(first.contains("0 B in 0 blobs were in"), "{first}");
    let second = save(home.path(), &files, &registry, &[&this[..], &["-o", &two]].concat()).ok();
    assert!(second.contains("downloaded 0 B in 0 blobs"), "{second}");
    assert!(fs::read(&one).unwrap() == fs::read(&two).unwrap(), "two runs write different files");

    // Of the next patch release, kubeadm, kubelet and kubectl are new here, and so many bytes are moved.
    let bytes: usize = ["kubeadm", "kubelet", "kubectl"].iter().map(|name| (name.len() + 1 + PATCH.len()) * 100).sum();
    let bumped = save(home.path(), &files, &registry, &[&next[..], &["-o", &patch]].concat()).ok();
    let expected = format!("downloaded {} in 3 blobs", etcdless::ui::bytes(bytes as u64));
    assert!(bumped.contains(&expected), "{expected:?} is not in {bumped}");
    save(home.path(), &files, &registry, &[&next[..], &["-o", &update, "--since", &one]].concat()).ok();
    let [whole, since] = [&patch, &update].map(|path| fs::metadata(path).unwrap().len());
    assert!(since < whole / 10, "{since} bytes are new of {whole}");
    let verify = |bundles: &[&str]| ran(etcdless(home.path(), &[&["mirror", "verify"], bundles].concat()));
    verify(&[&update, &one]).ok();
    verify(&[&update]).failed(3, &["holds only what is new since an older bundle"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_goes_into_a_registry_unless_a_byte_of_it_is_wrong() {
    if !installed() {
        return;
    }
    let files = Files::start(published(VERSION)).await;
    let (registry, seed) = upstream();
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("demo.tar").display().to_string();
    save(home.path(), &files, &registry, &["-o", &path]).ok();
    let target = Server::empty();
    let url = format!("http://{}", target.address);
    let push = || ran(etcdless(home.path(), &["mirror", "push", "--bundle", &path, &url]));

    let file = fs::File::options().read(true).write(true).open(&path).unwrap();
    let middle = file.metadata().unwrap().len() / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, middle).unwrap();
    file.write_all_at(&[byte[0] ^ 1], middle).unwrap();
    push().failed(3, &["demo.tar is damaged", "blobs/sha256/"]);
    assert_eq!(target.requests(0), Vec::<String>::new(), "the registry was asked before the bundle was read");

    file.write_all_at(&byte, middle).unwrap();
    push().ok();
    for ((reference, arch), digest) in &seed.manifests {
        if *arch == "amd64" {
            assert_eq!(
                target.digest(reference).as_ref(),
                Some(digest),
                "{reference} has another digest than upstream's"
            );
        }
    }
    let again = push().ok();
    assert!(again.contains("0 blobs moved"), "{again}");
}

/// The most memory that saving one large layer took, in KiB.
fn peak(files: &Files, large: usize) -> u64 {
    let (folder, _) = seeded(large);
    let registry = Server::start(folder, "", "");
    let home = tempfile::tempdir().unwrap();
    let (mirror, out) = (format!("http://{}", files.address), home.path().join("demo.tar").display().to_string());
    let arguments = ["mirror", "save", "--mirror", &mirror, "--registry", &registry.address, "-o", &out];
    server::peak(etcdless(home.path(), &arguments))
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_does_not_grow_with_a_layer() {
    if !installed() {
        return;
    }
    let files = Files::start(published(VERSION)).await;
    let (small, large) = (peak(&files, 20 << 20), peak(&files, 200 << 20));
    eprintln!("peak memory: {} MiB with a layer of 20 MiB, {} MiB with one of 200 MiB", small >> 10, large >> 10);
    assert!(large < small + (12 << 10), "{small} KiB, {large} KiB");
    assert!(large < 100 << 10, "{large} KiB");
}

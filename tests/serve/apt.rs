//! Packages, as apt itself takes them.

use std::fs;
use std::path::Path;
use std::process::Command;

use etcdless::artifact::bundle::{Package, Packages};
use etcdless::op::sha256;

use crate::process::{Serving, bundle, run};

/// A package that is nothing but its name.
fn package(folder: &Path) -> Vec<u8> {
    let control = "Package: etcdless-test\nVersion: 1:2\nArchitecture: all\nMaintainer: nobody <nobody@x.example>\nDescription: nothing\n";
    fs::create_dir_all(folder.join("tree/DEBIAN")).unwrap();
    fs::write(folder.join("tree/DEBIAN/control"), control).unwrap();
    let archive = folder.join("built.deb");
    run(Command::new("dpkg-deb").args(["--root-owner-group", "--build"]).arg(folder.join("tree")).arg(&archive));
    fs::read(archive).unwrap()
}

#[test]
fn apt_takes_a_set_for_a_repository() {
    if Command::new("apt-get").arg("--version").output().is_err()
        || Command::new("dpkg-deb").arg("--version").output().is_err()
    {
        eprintln!("skipped: apt-get and dpkg-deb are not installed, which only Debian and its like have");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let content = package(folder.path());
    let hex = sha256(&content);
    let index = format!(
        "Package: etcdless-test\nVersion: 1:2\nArchitecture: all\nMaintainer: nobody <nobody@x.example>\n\
         Filename: ./{hex}.deb\nSize: {}\nSHA256: {hex}\nDescription: nothing\n\n",
        content.len()
    );
    let path = bundle(folder.path(), "packages.tar", &[], |store, manifest| {
        manifest.packages.push(Packages {
            distribution: "debian".into(),
            version: "12".into(),
            arch: "amd64".into(),
            names: vec!["etcdless-test".into()],
            index: store.put(index.as_bytes()).unwrap(),
            files: vec![Package {
                file: "etcdless-test_1:2_all.deb".into(),
                url: "http://deb.example.org/x.deb".into(),
                blob: store.put(&content).unwrap(),
            }],
        });
    });
    let serving = Serving::start(&[&path]);
    assert!(serving.said.contains("1 archives of packages"), "{}", serving.said);
    let about = String::from_utf8(serving.ask("GET", "/", "").1).unwrap();
    let line = about.lines().find_map(|line| line.split_once("(apt: ")?.1.strip_suffix(')')).unwrap();
    let apt = folder.path().join("apt");
    for part in ["lists/partial", "archives/partial", "etc"] {
        fs::create_dir_all(apt.join(part)).unwrap();
    }
    fs::write(apt.join("sources.list"), format!("{}\n", line.replace("ADDRESS:PORT", &serving.address))).unwrap();
    fs::write(apt.join("status"), "").unwrap();
    let at = |name: &str| apt.join(name).display().to_string();
    let configuration = format!(
        "Dir::Etc \"{}\";\nDir::Etc::SourceList \"{}\";\nDir::Etc::SourceParts \"-\";\nDir::State::Lists \"{}\";\n\
         Dir::State::Status \"{}\";\nDir::Cache \"{}\";\nDir::Cache::Archives \"{}\";\nAcquire::http::Proxy \"DIRECT\";\n\
         APT::Sandbox::User \"root\";\n",
        at("etc"),
        at("sources.list"),
        at("lists"),
        at("status"),
        at(""),
        at("archives"),
    );
    fs::write(apt.join("apt.conf"), configuration).unwrap();
    let apt_get = |arguments: &[&str]| {
        run(Command::new("apt-get").env("APT_CONFIG", at("apt.conf")).args(arguments).current_dir(folder.path()))
    };
    apt_get(&["update"]);
    let uris = apt_get(&["--print-uris", "-y", "install", "etcdless-test"]);
    assert!(uris.contains(&serving.url("/packages/debian/12/amd64/./")) && uris.contains(&hex), "{uris}");
    apt_get(&["download", "etcdless-test"]);
    let downloaded = folder.path().join("etcdless-test_1%3a2_all.deb");
    assert!(fs::read(downloaded).unwrap() == content);
}

//! The labs of vagrant/: their cluster files load, and Vagrant takes its own file for each. `tests/lab/journeys/74-vagrant` builds the clusters.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by a panic, and says what it skips")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use etcdless::config::Cluster;
use etcdless::config::load::load;

fn labs() -> Vec<PathBuf> {
    let mut labs: Vec<_> = std::fs::read_dir("vagrant/labs").unwrap().map(|entry| entry.unwrap().path()).collect();
    labs.sort();
    assert!(labs.len() >= 5, "{labs:?}");
    labs
}

fn name(lab: &Path) -> &str {
    lab.file_name().unwrap().to_str().unwrap()
}

fn cluster(lab: &Path) -> Cluster {
    let file = lab.join("cluster.yaml");
    load(&file).unwrap_or_else(|failure| panic!("{}: {} {:?}", file.display(), failure.message, failure.details))
}

/// Vagrant in a home of its own; `None` where it is not installed.
fn vagrant(lab: &str, home: &Path, words: &[&str], environment: &[(&str, &str)]) -> Option<Output> {
    let mut command = Command::new("vagrant");
    command.args(words).current_dir("vagrant").env("LAB", lab).env("VAGRANT_HOME", home);
    command.env("VAGRANT_DOTFILE_PATH", home.join("dot")).env("VAGRANT_CHECKPOINT_DISABLE", "1");
    match command.envs(environment.iter().copied()).output() {
        Ok(output) => Some(output),
        Err(error) => {
            eprintln!("skipped: vagrant: {error}");
            None
        }
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn cluster_files_load_and_each_lab_has_a_network_and_a_page_of_its_own() {
    let mut networks = BTreeSet::new();
    for lab in labs() {
        assert!(lab.join("README.md").is_file(), "{} has no README.md", lab.display());
        let cluster = cluster(&lab);
        assert_eq!(cluster.metadata.name.as_str(), name(&lab));
        let addresses = cluster.spec.hosts.iter().map(|host| host.address.to_string());
        let of_lab: BTreeSet<String> =
            addresses.map(|address| address.rsplit_once('.').unwrap().0.to_owned()).collect();
        assert_eq!(of_lab.len(), 1, "{} is on {of_lab:?}", lab.display());
        // What VirtualBox lets host-only networks have.
        let third: u8 = of_lab.first().unwrap().strip_prefix("192.168.").unwrap().parse().unwrap();
        assert!((56..=63).contains(&third), "{} is on {of_lab:?}", lab.display());
        assert!(networks.insert(third), "{} shares its network with another lab", lab.display());
    }
}

#[test]
fn vagrant_makes_a_machine_for_every_host_and_jump_host() {
    let home = tempfile::tempdir().unwrap();
    for lab in labs() {
        let Some(output) = vagrant(name(&lab), home.path(), &["validate", "--ignore-provider"], &[]) else { return };
        assert!(output.status.success(), "{}: {}", lab.display(), said(&output));
        let cluster = cluster(&lab);
        let hosts = cluster.spec.hosts.iter();
        let names = hosts.flat_map(|host| [host.name.as_ref().map(ToString::to_string), host.ssh.jump.clone()]);
        let expected: BTreeSet<String> = names.flatten().map(|host| format!("{}-{host}", name(&lab))).collect();
        let text = said(&output);
        let machines = text
            .lines()
            .filter_map(|line| line.strip_prefix("==> ")?.strip_suffix(": Ignoring provider config for validation..."));
        assert_eq!(machines.map(str::to_owned).collect::<BTreeSet<_>>(), expected);
    }
}

#[test]
fn what_is_said_to_the_providers_is_valid() {
    let home = tempfile::tempdir().unwrap();
    let Some(plugins) = vagrant("single", home.path(), &["plugin", "list"], &[]) else { return };
    if !said(&plugins).contains("vagrant-libvirt") {
        eprintln!("skipped: the plugin vagrant-libvirt is not installed");
        return;
    }
    for lab in labs() {
        let output =
            vagrant(name(&lab), home.path(), &["validate"], &[("VAGRANT_DEFAULT_PROVIDER", "libvirt")]).unwrap();
        assert!(output.status.success(), "{}: {}", lab.display(), said(&output));
    }
}

#[test]
fn mistakes_are_told_before_anything_is_made() {
    let home = tempfile::tempdir().unwrap();
    for (lab, environment, expected) in [
        ("no", ("BOX", "b"), "LAB=no: there is no such lab; there are airgapped, available, bastion, mariadb, single"),
        ("single", ("CONTROL_PLANE_MEMORY", "2G"), "CONTROL_PLANE_MEMORY=2G: must be a whole number"),
    ] {
        let Some(output) = vagrant(lab, home.path(), &["validate", "--ignore-provider"], &[environment]) else {
            return;
        };
        assert_eq!((output.status.code(), said(&output).trim()), (Some(1), expected));
    }
}

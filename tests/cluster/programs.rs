//! What only the programs themselves can tell: kubeadm, systemd and a shell read what was rendered. Each says when it is not there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use etcdless::cluster::kine::{self, sidecar, static_pod, systemd};
use etcdless::cluster::kubeadm;
use etcdless::config::Version;
use secrecy::ExposeSecret;
use serde_json::Value;

use super::{LISTENERS, assets, cluster, init_cases, kine_case, node, process};

#[expect(clippy::print_stderr, reason = "a test that cannot run says why")]
pub(super) fn skipped(what: &str, why: &str) {
    eprintln!("SKIPPED {what}: {why}");
}

/// The kubeadm that ETCDLESS_KUBEADM names, or every one that the lab has built.
pub(super) fn kubeadms() -> Vec<(PathBuf, Version)> {
    let lab = std::env::var("LAB").unwrap_or_else(|_| "/var/tmp/etcdless-lab".into());
    let found: Vec<PathBuf> = match std::env::var("ETCDLESS_KUBEADM") {
        Ok(path) => vec![path.into()],
        Err(_) => fs::read_dir(Path::new(&lab).join("bin")).map_or_else(
            |_| Vec::new(),
            |entries| {
                entries.map(|entry| entry.unwrap().path().join("kubeadm")).filter(|path| path.is_file()).collect()
            },
        ),
    };
    found.into_iter().map(|path| (path.clone(), version(&path))).collect()
}

fn version(kubeadm: &Path) -> Version {
    let output = Command::new(kubeadm).args(["version", "--output", "short"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

pub(super) fn assert_ran(output: &Output, what: &str) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{what}: {}{}", text(&output.stdout), text(&output.stderr));
}

#[test]
fn kubeadm_accepts_every_document() {
    let kubeadms = kubeadms();
    if kubeadms.is_empty() {
        skipped("kubeadm config validate", "ETCDLESS_KUBEADM names no kubeadm and the lab has built none");
    }
    let folder = tempfile::tempdir().unwrap();
    for (program, version) in kubeadms {
        for (name, mut cluster, node) in init_cases() {
            // kubeadm takes its own minor and the one before; the overlays are written in the form of v1beta4.
            cluster.spec.kubernetes.version = version.clone();
            if name == "init-overlays" && version.minor() < 31 {
                continue;
            }
            let path = folder.path().join(name);
            fs::write(&path, kubeadm::init_document(&cluster, &node, &assets()).unwrap()).unwrap();
            let output = Command::new(&program).args(["config", "validate", "--config"]).arg(&path).output().unwrap();
            assert_ran(&output, &format!("{name} with kubeadm {version}"));
        }
    }
}

/// kubeadm itself makes the API server's Pod from our document and our patch.
#[test]
fn kubeadm_adds_the_sidecar() {
    let kubeadms = kubeadms();
    if kubeadms.is_empty() {
        skipped("the sidecar's patch", "ETCDLESS_KUBEADM names no kubeadm and the lab has built none");
    }
    for ((program, version), listen) in kubeadms.iter().flat_map(|kubeadm| LISTENERS.map(|listen| (kubeadm, listen))) {
        let folder = tempfile::tempdir().unwrap();
        let mut cluster = kine_case("sidecar", listen);
        cluster.spec.kubernetes.version = version.clone();
        let process = process(&cluster);
        let patches = folder.path().join("patches");
        fs::create_dir(&patches).unwrap();
        let name = sidecar::patch_path();
        let name = Path::new(&name).file_name().unwrap();
        fs::write(patches.join(name), sidecar::patch(std::slice::from_ref(&process), &assets()).unwrap()).unwrap();
        let config = folder.path().join("init.yaml");
        let document = kubeadm::init_document(&cluster, &node(), &assets()).unwrap();
        assert!(document.contains(kubeadm::PATCHES));
        fs::write(&config, document.replace(kubeadm::PATCHES, patches.to_str().unwrap())).unwrap();
        let output = Command::new(program)
            .args(["init", "phase", "control-plane", "apiserver", "--dry-run", "--config"])
            .arg(&config)
            .env("KUBEADM_INIT_DRYRUN_DIR", folder.path())
            .output()
            .unwrap();
        assert_ran(&output, &format!("{listen} with kubeadm {version}"));
        let text = fs::read_to_string(find(folder.path(), "kube-apiserver.yaml").unwrap()).unwrap();
        let pod: Value = serde_yaml::from_str(&text).unwrap();
        assert_eq!(pod["spec"]["containers"][0]["name"], "kube-apiserver");
        assert_eq!(pod["spec"]["initContainers"][0]["name"], "kine");
        assert_eq!(pod["spec"]["initContainers"][0]["restartPolicy"], "Always");
        assert!(text.contains(&format!("--etcd-servers={}", process.listener.url())), "{text}");
        // Every folder that a container mounts is a volume of the Pod, and no name is taken twice.
        let mut volumes = BTreeMap::new();
        for volume in pod["spec"]["volumes"].as_array().unwrap() {
            assert!(volumes.insert(volume["name"].as_str().unwrap(), volume).is_none(), "{volume}");
        }
        for container in [&pod["spec"]["containers"][0], &pod["spec"]["initContainers"][0]] {
            for mount in container["volumeMounts"].as_array().unwrap() {
                assert!(volumes.contains_key(mount["name"].as_str().unwrap()), "{mount}");
            }
        }
    }
}

/// Older kubeadms put what a dry run makes into a folder of a random name.
pub(super) fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    let paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    let here = paths.iter().find(|path| path.file_name().is_some_and(|file| file == name)).cloned();
    here.or_else(|| paths.iter().filter(|path| path.is_dir()).find_map(|path| find(path, name)))
}

#[test]
fn systemd_understands_the_unit() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        return skipped("systemd-analyze verify", "there is no systemd-analyze");
    }
    for listen in LISTENERS {
        let folder = tempfile::tempdir().unwrap();
        let process = process(&kine_case("systemd", listen));
        let unit = folder.path().join(process.unit());
        // It also looks for the program.
        fs::write(&unit, systemd::unit(&process, &assets()).unwrap().replace(systemd::PROGRAM, "/bin/sh")).unwrap();
        let output = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit).output().unwrap();
        assert_ran(&output, listen);
        let complaints = String::from_utf8(output.stderr).unwrap();
        assert!(!complaints.contains(&process.unit()), "{complaints}");
    }
}

/// What a container of kine does at its start, with `env` in kine's place.
fn start(endpoint_file: &Path, args: &[&str]) -> Output {
    let process = process(&cluster(serde_json::json!({})));
    let pod: Value = serde_yaml::from_str(&static_pod::manifest(&process, &assets()).unwrap()).unwrap();
    let command: Vec<&str> =
        pod["spec"]["containers"][0]["command"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    let [shell, dash_c, script, name, _file] = command[..] else { panic!("{command:?}") };
    assert!(!script.contains("$("), "the kubelet would expand it: {script}");
    assert!(script.contains("exec /bin/kine "));
    let script = script.replace("/bin/kine", "/usr/bin/env printenv KINE_ENDPOINT");
    Command::new(shell).args([dash_c, &script, name]).arg(endpoint_file).args(args).env_clear().output().unwrap()
}

#[test]
fn a_container_takes_its_endpoint_from_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("main.endpoint");
    let endpoint = r#"postgres://kine:p%40s"s'w$HOME`id`\n$(id)@db/kine?a=1&b= 2 "#;
    for end in ["\n", ""] {
        fs::write(&file, format!("{endpoint}{end}")).unwrap();
        let output = start(&file, &[]);
        assert_ran(&output, "start");
        assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{endpoint}\n"));
    }
    // Further arguments reach kine as they are.
    assert_eq!(String::from_utf8(start(&file, &["PWD"]).stdout).unwrap().lines().next(), Some(endpoint));
}

#[test]
fn without_an_endpoint_kine_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("main.endpoint");
    assert_eq!(start(&file, &[]).status.code(), Some(1));
    fs::write(&file, "\n").unwrap();
    let output = start(&file, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), format!("{} holds no endpoint\n", file.display()));
}

/// A kine that ends with the test.
struct Running(std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The real kine takes our flags and certificates, serves who has the client certificate, and nobody else.
#[test]
fn kine_over_tcp_wants_our_client_certificate() {
    let cluster = kine_case("systemd", "tcp");
    let mut process = process(&cluster);
    let lab = std::env::var("LAB").unwrap_or_else(|_| "/var/tmp/etcdless-lab".into());
    let program = std::env::var("ETCDLESS_KINE")
        .map_or_else(|_| Path::new(&lab).join(format!("bin/kine-{}/kine", cluster.spec.kine.version)), PathBuf::from);
    if !program.is_file() || Command::new("curl").arg("--version").output().is_err() {
        return skipped("kine over TCP", "ETCDLESS_KINE names no kine and the lab has built none, or there is no curl");
    }
    let folder = tempfile::tempdir().unwrap();
    let pki = folder.path().to_str().unwrap();
    for file in etcdless::pki::make(pki).unwrap() {
        fs::write(file.path, file.content.expose_secret()).unwrap();
    }
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    process.listener = kine::Listener::Tcp(free());
    process.metrics_port = free();
    let flags = process.flags().into_iter().map(|flag| flag.replace(kine::PKI, pki));
    let log = fs::File::create(folder.path().join("log")).unwrap();
    let _kine = Running(
        Command::new(program)
            .args(flags)
            .env("KINE_ENDPOINT", format!("sqlite://{pki}/main.db?_journal_mode=WAL"))
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap(),
    );
    let curl = |args: &[&str], url: &str| {
        let output = Command::new("curl")
            .args(["--silent", "--output", "/dev/null", "--max-time", "5", "--http2", "--cacert"])
            .arg(folder.path().join("ca.crt"))
            .args(args)
            .arg(url)
            .output();
        output.unwrap().status.success()
    };
    let metrics = format!("http://127.0.0.1:{}/metrics", process.metrics_port);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let (certificate, key) = (format!("{pki}/client.crt"), format!("{pki}/client.key"));
    let with_certificate = ["--cert", certificate.as_str(), "--key", key.as_str()];
    while !curl(&[], &metrics) || !curl(&with_certificate, &process.listener.url()) {
        let log = fs::read_to_string(folder.path().join("log")).unwrap();
        assert!(std::time::Instant::now() < deadline, "kine did not answer: {log}");
    }
    assert!(!curl(&[], &process.listener.url()), "kine served a client without a certificate");
}

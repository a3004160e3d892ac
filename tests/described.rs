//! From one description to every step of every host, as `render` shows them: settings that reach many files.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;

use etcdless::assets::Assets;
use etcdless::config::Cluster;
use etcdless::config::credentials::Credentials;
use etcdless::op::{Fetch, Image, Op};
use etcdless::phase::Step;
use etcdless::phase::plan::Selection;
use etcdless::phase::preflight::Ignore;
use etcdless::phase::survey::Desired;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

/// A control plane and a worker with these fields of `spec` besides.
fn desired(spec: Value) -> Desired {
    let mut document = json!({
        "apiVersion": "etcdless.dev/v1alpha1", "kind": "Cluster", "metadata": { "name": "demo" },
        "spec": { "hosts": [{ "name": "cp", "address": "10.0.0.11" }, { "name": "w", "address": "10.0.0.21", "role": "worker" }] },
    });
    document["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let cluster: Cluster = serde_json::from_value(document).unwrap();
    Desired {
        credentials: Credentials::placeholders(&cluster),
        cluster,
        assets: Assets::load(None).unwrap(),
        manifest: None,
        scripts: BTreeMap::new(),
        selection: Selection::default(),
        supply: etcdless::artifact::supply::Supply::Sources(etcdless::config::Artifacts::default()),
        ignore: Ignore::default(),
        restored: Vec::new(),
        run: "test".into(),
    }
}

fn steps(spec: Value) -> BTreeMap<String, Vec<Step>> {
    desired(spec).expected().unwrap().into_iter().collect()
}

/// The text of every file of a host, by path.
fn files(steps: &[Step]) -> BTreeMap<String, String> {
    let file = |step: &Step| match &step.op {
        Op::File(file) => Some((file.path.clone(), file.content.expose_secret().to_owned())),
        _ => None,
    };
    steps.iter().filter_map(file).collect()
}

#[test]
fn a_flat_repository_is_in_every_file_and_no_other_is() {
    for placement in ["staticPod", "sidecar"] {
        let hosts = steps(json!({
            "kubernetes": { "imageRepository": "img.example.com/system" }, "kine": { "placement": placement },
        }));
        let mut found = String::new();
        for (path, text) in hosts.values().flat_map(|steps| files(steps)) {
            for publisher in ["registry.k8s.io", "docker.io", "ghcr.io"] {
                assert!(!text.contains(publisher), "{path}: {text}");
            }
            found.push_str(&text);
        }
        for image in ["kine:", "pause:", "flannel:", "flannel-cni-plugin:"] {
            assert!(found.contains(&format!("img.example.com/system/{image}")), "{image}");
        }
        assert!(found.contains("imageRepository: \"img.example.com/system\""));
        let pulled = |step: &&Step| matches!(&step.op, Op::Image(image) if !image.reference.starts_with("img.example.com/system/"));
        assert_eq!(hosts["cp"].iter().filter(pulled).count(), 0);
    }
}

#[test]
fn containerd_is_told_how_the_repository_is_reached_where_a_registry_is_named() {
    let hosts_toml = |repository: &str, registry: Option<&str>| {
        let hosts = steps(json!({
            "kubernetes": { "imageRepository": repository }, "artifacts": { "registry": registry },
        }));
        let own: Vec<_> = files(&hosts["w"]).into_iter().filter(|(path, _)| path.ends_with("/hosts.toml")).collect();
        let publishers = ["registry.k8s.io", "docker.io", "ghcr.io"];
        own.into_iter().find(|(path, _)| !publishers.iter().any(|host| path.contains(&format!("/{host}/"))))
    };
    assert_eq!(hosts_toml("img.example.com/system", None), None, "HTTPS needs no file");
    let (path, text) = hosts_toml("10.0.0.5:5000/system", Some("10.0.0.5:5000")).unwrap();
    assert_eq!(path, "/etc/containerd/certs.d/10.0.0.5:5000/hosts.toml");
    assert!(text.contains("\nserver = \"http://10.0.0.5:5000\"\n"), "{text}");
    let (path, text) = hosts_toml("img.example.com/system", Some("https://cache.example.com")).unwrap();
    assert_eq!(path, "/etc/containerd/certs.d/img.example.com/hosts.toml");
    assert!(text.contains("[host.\"https://cache.example.com/v2/img.example.com\"]"), "{text}");
    assert_eq!(hosts_toml("docker.io/me", Some("10.0.0.5:5000")), None, "a playbook has written it already");
}

#[test]
fn a_proxy_reaches_what_downloads_and_nothing_else() {
    let hosts = steps(json!({
        "proxy": { "http": "http://proxy:3128", "no": ["corp.example"] },
        "datastore": { "postgres": { "managed": { "host": "db" } } },
        "hosts": [
            { "name": "cp", "address": "10.0.0.11" },
            { "name": "w", "address": "10.0.0.21", "role": "worker" },
            { "name": "db", "address": "10.0.0.31", "role": "datastore" },
        ],
    }));
    let no = "localhost,127.0.0.1,127.0.0.0/8,::1,10.244.0.0/16,10.96.0.0/12,.svc,.cluster.local,.etcdless.internal,\
              10.0.0.11,10.0.0.31,corp.example,.corp.example";
    for host in ["cp", "w"] {
        for unit in ["containerd", "kubelet"] {
            let drop_in = format!("/etc/systemd/system/{unit}.service.d/20-etcdless-proxy.conf");
            let text = &files(&hosts[host])[&drop_in];
            let expected = format!(
                "[Service]\nEnvironment=\"HTTP_PROXY=http://proxy:3128\"\nEnvironment=\"HTTPS_PROXY=http://proxy:3128\"\nEnvironment=\"NO_PROXY={no}\"\n"
            );
            assert!(text.ends_with(&expected), "{text}");
            let watched = |step: &Step| matches!(&step.op, Op::Unit { watches, .. } if watches.contains(&drop_in));
            let unit = hosts[host].iter().find(|step| watched(step)).unwrap();
            assert!(unit.after.iter().any(|id| id.ends_with("-proxy")), "{:?}", unit.after);
        }
    }
    assert!(!files(&hosts["db"]).keys().any(|path| path.contains("proxy")));
    let mut downloads = 0;
    for step in hosts.values().flatten() {
        match &step.op {
            Op::Fetch(Fetch { environment, .. })
            | Op::Image(Image { environment, .. })
            | Op::Package { environment, .. } => {
                downloads += 1;
                assert!(environment.contains(&format!("no_proxy={no}")), "{}: {environment:?}", step.id);
                assert!(
                    environment.contains(&"HTTPS_PROXY=http://proxy:3128".to_owned()),
                    "{}: {environment:?}",
                    step.id
                );
            }
            Op::Script(script) => assert!(!script.args.iter().any(|arg| arg.contains("proxy:3128")), "{}", step.id),
            _ => {}
        }
        if let Op::Script(script) = &step.op
            && script.text.contains("bin/kubeadm ")
        {
            assert!(script.text.contains("unset http_proxy"), "{}", step.id);
        }
    }
    assert!(downloads > 20, "{downloads}");
}

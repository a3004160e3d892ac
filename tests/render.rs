//! Templates: what they ask for, what they make, and that no value breaks out of its place.
#![expect(clippy::unwrap_used, reason = "a test ends at the first thing that is not as it should be")]

use etcdless::assets::Assets;
use etcdless::config::{Install, Swap};
use etcdless::facts::{Facts, Os};
use etcdless::op::Op;
use etcdless::playbook::{self, Inputs, Versions};
use etcdless::render;
use secrecy::ExposeSecret;
use toml::Table;

fn inputs() -> Inputs {
    Inputs {
        versions: Versions {
            kubernetes: "v1.34.4".into(),
            containerd: "v2.2.0".into(),
            runc: "v1.3.3".into(),
            cni_plugins: "v1.8.0".into(),
        },
        pause_image: "registry.k8s.io/pause:3.10.1".into(),
        registry: Some("http://10.0.0.5:5000".into()),
        install: Install::Release,
        proxy_mode: None,
        swap: Swap::Refuse,
        ipv6: false,
        restrict_oom_score: false,
        server: None,
    }
}

/// The content of one file on a Debian host.
fn file(inputs: &Inputs, path: &str) -> String {
    let facts = Facts {
        os: Os { id: "debian".into(), version: "12".into(), name: "Debian 12".into(), ..Os::default() },
        machine: "x86_64".into(),
        ..Facts::default()
    };
    let tasks = playbook::tasks(&Assets::load(None).unwrap(), inputs, &facts).unwrap();
    let found = tasks.iter().find_map(|task| match &task.op {
        Op::File(file) if file.path == path => Some(file.content.expose_secret().to_owned()),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("no step writes {path}"))
}

fn config(inputs: &Inputs) -> Table {
    file(inputs, "/etc/containerd/config.toml").parse().unwrap()
}

/// The value at a path of keys.
fn at<'a>(table: &'a Table, keys: &[&str]) -> Option<&'a toml::Value> {
    let (first, rest) = keys.split_first()?;
    let value = table.get(*first)?;
    if rest.is_empty() { Some(value) } else { at(value.as_table()?, rest) }
}

#[test]
fn containerd_2_gets_what_kubernetes_needs() {
    let config = config(&inputs());
    assert_eq!(config["version"].as_integer(), Some(3));
    assert_eq!(config["imports"][0].as_str(), Some("/etc/containerd/conf.d/*.toml"));
    let images = ["plugins", "io.containerd.cri.v1.images"];
    let runtime = ["plugins", "io.containerd.cri.v1.runtime"];
    let get = |plugin: [&'static str; 2], keys: &[&'static str]| at(&config, &[&plugin, keys].concat()).cloned();
    assert_eq!(get(images, &["pinned_images", "sandbox"]), Some("registry.k8s.io/pause:3.10.1".into()));
    assert_eq!(get(images, &["registry", "config_path"]), Some("/etc/containerd/certs.d".into()));
    let runc = ["containerd", "runtimes", "runc"];
    assert_eq!(get(runtime, &[&runc[..], &["options", "SystemdCgroup"]].concat()), Some(true.into()));
    assert_eq!(get(runtime, &[&runc[..], &["runtime_type"]].concat()), Some("io.containerd.runc.v2".into()));
    assert_eq!(get(runtime, &["restrict_oom_score_adj"]), None);
}

#[test]
fn containerd_1_gets_the_same_under_its_own_names() {
    let config = config(&Inputs { install: Install::Packages, ..inputs() });
    assert_eq!(config["version"].as_integer(), Some(2));
    assert_eq!(config["imports"][0].as_str(), Some("/etc/containerd/conf.d/*.toml"));
    let get = |keys: &[&str]| at(&config, &[&["plugins", "io.containerd.grpc.v1.cri"], keys].concat()).cloned();
    assert_eq!(get(&["sandbox_image"]), Some("registry.k8s.io/pause:3.10.1".into()));
    assert_eq!(get(&["registry", "config_path"]), Some("/etc/containerd/certs.d".into()));
    assert_eq!(get(&["cni", "bin_dir"]), Some("/opt/cni/bin".into()));
    assert_eq!(get(&["containerd", "runtimes", "runc", "options", "SystemdCgroup"]), Some(true.into()));
    assert_eq!(get(&["restrict_oom_score_adj"]), None);
}

#[test]
fn oom_scores_are_restricted_only_where_they_must_be() {
    for (install, plugin) in
        [(Install::Release, "io.containerd.cri.v1.runtime"), (Install::Packages, "io.containerd.grpc.v1.cri")]
    {
        let config = config(&Inputs { install, restrict_oom_score: true, ..inputs() });
        let value = at(&config, &["plugins", plugin, "restrict_oom_score_adj"]);
        assert_eq!(value, Some(&true.into()), "{plugin}");
        assert!(at(&config, &["plugins", plugin, "containerd", "runtimes", "runc", "options"]).is_some());
    }
}

#[test]
fn every_image_host_is_asked_at_the_registry() {
    for registry in ["http://10.0.0.5:5000", "https://r.example"] {
        for host in ["registry.k8s.io", "docker.io", "ghcr.io"] {
            let inputs = Inputs { registry: Some(registry.into()), ..inputs() };
            let table: Table = file(&inputs, &format!("/etc/containerd/certs.d/{host}/hosts.toml")).parse().unwrap();
            let mirror = at(&table, &["host", &format!("{registry}/v2/{host}")]).unwrap();
            assert_eq!(mirror["override_path"].as_bool(), Some(true));
            assert_eq!(mirror["capabilities"].as_array().unwrap().len(), 2);
        }
    }
}

#[test]
fn no_value_breaks_out() {
    let evil = "x\"\n[plugins.evil]\na = \"b\\";
    for install in [Install::Release, Install::Packages] {
        let config = config(&Inputs { install, pause_image: evil.into(), ..inputs() });
        assert!(at(&config, &["plugins", "evil"]).is_none());
        let image = at(&config, &["plugins", "io.containerd.grpc.v1.cri", "sandbox_image"])
            .or_else(|| at(&config, &["plugins", "io.containerd.cri.v1.images", "pinned_images", "sandbox"]));
        assert_eq!(image.unwrap().as_str(), Some(evil));
    }
    let inputs = Inputs { registry: Some(evil.into()), ..inputs() };
    let table: Table = file(&inputs, "/etc/containerd/certs.d/docker.io/hosts.toml").parse().unwrap();
    assert_eq!(table.keys().collect::<Vec<_>>(), ["host"]);
    assert_eq!(table["host"].as_table().unwrap().len(), 1);
}

#[test]
fn templates_ask_for_exactly_these_variables() {
    let assets = Assets::load(None).unwrap();
    for (template, expected) in [
        ("containerd/config-v2.toml.j2", &["pause_image", "restrict_oom_score"][..]),
        ("containerd/config-v3.toml.j2", &["pause_image", "restrict_oom_score"]),
        ("containerd/hosts.toml.j2", &["registry", "vars.host"]),
        ("systemd/containerd.service.j2", &[]),
        ("kubelet/kubelet.service.j2", &[]),
        ("kubelet/10-kubeadm.conf.j2", &[]),
    ] {
        assert_eq!(render::variables(&assets, template).unwrap(), expected, "{template}");
    }
}

/// In data templates a value is a whole scalar: `{{ host }}:{{ port }}` would make `"host":6443`.
#[test]
fn values_stand_alone_in_data_templates() {
    let assets = Assets::load(None).unwrap();
    for asset in assets.list() {
        if ![".yaml.j2", ".toml.j2", ".json.j2"].iter().any(|end| asset.path.ends_with(end)) {
            continue;
        }
        for (index, line) in assets.text(&asset.path).unwrap().lines().enumerate() {
            for (start, _) in line.match_indices("{{") {
                let end = start + line[start..].find("}}").unwrap() + 2;
                let (before, after) = (&line[..start], &line[end..]);
                let alone = before.is_empty() || before.ends_with([' ', '[', '.']) || before.ends_with("%}");
                let ends = after.is_empty() || after.starts_with([' ', ',', ']', '}']);
                let goes_on = after.starts_with(": ") || after == ":" || after.starts_with("{%");
                assert!(alone && (ends || goes_on), "{}:{}: {line}", asset.path, index + 1);
            }
        }
    }
}

#[test]
fn units_start_what_is_installed() {
    let containerd = file(&inputs(), "/etc/systemd/system/containerd.service");
    assert!(containerd.contains("\nExecStart=/usr/local/bin/containerd\n"));
    let drop_in = file(&inputs(), "/etc/systemd/system/kubelet.service.d/10-kubeadm.conf");
    assert!(drop_in.contains("\nExecStart=\nExecStart=/usr/local/bin/kubelet $KUBELET_KUBECONFIG_ARGS"));
    let kubelet = file(&inputs(), "/etc/systemd/system/kubelet.service");
    assert!(kubelet.contains("\nExecStart=/usr/local/bin/kubelet\n") && kubelet.ends_with('\n'));
}

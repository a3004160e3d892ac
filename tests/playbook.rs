//! Playbooks: what each distribution gets, and how a malformed file is reported.
#![expect(clippy::unwrap_used, reason = "a test ends at the first thing that is not as it should be")]

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;

use etcdless::assets::Assets;
use etcdless::config::{Install, ProxyMode, ServerEngine, Swap};
use etcdless::facts::{Facts, Os};
use etcdless::failure::Kind;
use etcdless::op::Op;
use etcdless::playbook::{self, Inputs, Server, Task, Versions};
use secrecy::ExposeSecret;

fn inputs(install: Install) -> Inputs {
    Inputs {
        versions: Versions {
            kubernetes: "v1.34.4".into(),
            containerd: "v2.2.0".into(),
            runc: "v1.3.3".into(),
            cni_plugins: "v1.8.0".into(),
        },
        pause_image: "registry.k8s.io/pause:3.10.1".into(),
        registry: Some("http://10.0.0.5:5000".into()),
        install,
        proxy_mode: None,
        swap: Swap::Refuse,
        ipv6: false,
        restrict_oom_score: false,
        server: None,
    }
}

/// A host of a database server, for two stores of one control plane.
fn server(engine: ServerEngine) -> Inputs {
    let server = Server {
        engine,
        address: "10.0.0.31".parse().unwrap(),
        databases: vec!["demo_main".into(), "demo_events".into()],
        user: "kine".into(),
        clients: vec!["10.0.0.11/32".parse().unwrap()],
        max_connections: 29,
        buffers: 592,
        cache: 2048,
        maintenance: 256,
        log: 1184,
    };
    Inputs { server: Some(server), ..inputs(Install::Release) }
}

const ENGINES: [ServerEngine; 3] = [ServerEngine::Postgres, ServerEngine::Mysql, ServerEngine::Mariadb];

fn host(id: &str, like: &str, version: &str) -> Facts {
    Facts {
        os: Os {
            id: id.into(),
            like: like.split_whitespace().map(Into::into).collect(),
            version: version.into(),
            name: format!("{id} {version}"),
        },
        machine: "x86_64".into(),
        loadable_modules: true,
        tools: ["iptables", "conntrack"].map(String::from).into(),
        ..Facts::default()
    }
}

const DISTRIBUTIONS: [(&str, &str, &str); 5] = [
    ("debian", "", "12"),
    ("debian", "", "13"),
    ("ubuntu", "debian", "24.04"),
    ("fedora", "", "42"),
    ("rocky", "rhel centos fedora", "9.6"),
];

/// One line a task: name, operation, and what it waits for.
fn summary(tasks: &[Task]) -> String {
    let mut text = String::new();
    for task in tasks {
        let op = match &task.op {
            Op::Directory { path, mode } => format!("directory {path} {mode:04o}"),
            Op::File(file) => {
                format!("file {} {:04o} {} bytes", file.path, file.mode, file.content.expose_secret().len())
            }
            Op::Install { staged, path, mode, version } => format!("install {staged} {version} -> {path} {mode:04o}"),
            Op::Unpack { staged, into, version, .. } => format!("unpack {staged} {version} -> {into}"),
            Op::Package { names, .. } => format!("package {}", names.join(" ")),
            Op::Module { name } => format!("module {name}"),
            Op::Sysctl { key, value, at_least } => {
                format!("sysctl {key} {}{value}", if *at_least { ">= " } else { "" })
            }
            Op::SwapOff => "swap off".into(),
            Op::Unit { name, running, .. } => format!("unit {name} {}", if *running { "running" } else { "enabled" }),
            other => format!("{other:?}"),
        };
        let after = if task.after.is_empty() { String::new() } else { format!("  < {}", task.after.join(" ")) };
        writeln!(text, "{:<22}{op}{after}", task.name).unwrap();
    }
    text
}

fn content<'a>(tasks: &'a [Task], path: &str) -> Option<&'a str> {
    tasks.iter().find_map(|task| match &task.op {
        Op::File(file) if file.path == path => Some(file.content.expose_secret()),
        _ => None,
    })
}

fn names(tasks: &[Task]) -> BTreeSet<&str> {
    tasks.iter().map(|task| task.name.as_str()).collect()
}

/// Everything that is done once this task may start.
fn before<'a>(tasks: &'a [Task], name: &str) -> BTreeSet<&'a str> {
    let direct = tasks.iter().filter(|task| task.name == name).flat_map(|task| &task.after);
    direct.flat_map(|other| before(tasks, other).into_iter().chain([other.as_str()])).collect()
}

#[test]
fn the_plan_of_each_distribution() {
    let assets = Assets::load(None).unwrap();
    for (id, like, version) in DISTRIBUTIONS {
        for install in [Install::Release, Install::Packages] {
            let facts = host(id, like, version);
            let text = match playbook::tasks(&assets, &inputs(install), &facts) {
                Ok(tasks) => summary(&tasks),
                Err(failure) => format!("{:?}: {failure}\n{}\n", failure.kind, failure.hints.join("\n")),
            };
            insta::with_settings!({ snapshot_path => "playbook", prepend_module_to_snapshot => false, omit_expression => true }, {
                insta::assert_snapshot!(format!("{id}-{version}-{install:?}").to_lowercase(), text);
            });
        }
    }
}

#[test]
fn the_plan_and_the_settings_of_each_database_server() {
    let assets = Assets::load(None).unwrap();
    for engine in ENGINES {
        for (id, like, version) in [("debian", "", "12"), ("rocky", "rhel centos fedora", "9.6")] {
            let tasks = playbook::tasks(&assets, &server(engine), &host(id, like, version)).unwrap();
            let files = tasks.iter().filter_map(|task| match &task.op {
                Op::File(file) => Some(format!("--- {}\n{}", file.path, file.content.expose_secret())),
                _ => None,
            });
            let text = summary(&tasks) + &files.collect::<String>();
            insta::with_settings!({ snapshot_path => "playbook", prepend_module_to_snapshot => false, omit_expression => true }, {
                insta::assert_snapshot!(format!("{}-{id}", engine.name()), text);
            });
        }
    }
}

#[test]
fn a_task_comes_after_what_it_waits_for_and_units_after_what_they_watch() {
    let assets = Assets::load(None).unwrap();
    let everything =
        Inputs { proxy_mode: Some(ProxyMode::Ipvs), swap: Swap::Off, ipv6: true, ..inputs(Install::Release) };
    let facts = Facts { tools: BTreeSet::new(), ..host("debian", "", "12") };
    for inputs in [everything, inputs(Install::Packages)] {
        let tasks = playbook::tasks(&assets, &inputs, &facts).unwrap();
        assert_eq!(tasks.last().unwrap().name, "kubelet");
        assert_eq!(
            before(&tasks, "kubelet").len() + 1,
            tasks.len(),
            "who waits for the kubelet finds the host prepared"
        );
        assert_eq!(names(&tasks).len(), tasks.len(), "names are unique");
        for (index, task) in tasks.iter().enumerate() {
            let before: BTreeSet<&str> = names(&tasks[..index]);
            for other in &task.after {
                assert!(before.contains(other.as_str()), "{} < {other}", task.name);
            }
            let Op::Unit { watches, .. } = &task.op else { continue };
            for other in &tasks[..index] {
                if other.op.changes().iter().any(|path| watches.contains(path)) {
                    assert!(task.after.contains(&other.name), "{} watches what {} changes", task.name, other.name);
                }
            }
        }
    }
}

#[test]
fn what_is_asked_for_chooses_steps() {
    let assets = Assets::load(None).unwrap();
    let facts = host("debian", "", "12");
    let plain = inputs(Install::Release);
    let with = |inputs: &Inputs, facts: &Facts| playbook::tasks(&assets, inputs, facts).unwrap();
    let plain_tasks = with(&plain, &facts);
    for (name, inputs) in [
        ("ip-vs", Inputs { proxy_mode: Some(ProxyMode::Ipvs), ..plain.clone() }),
        ("modules-load-ipvs", Inputs { proxy_mode: Some(ProxyMode::Ipvs), ..plain.clone() }),
        ("swap-off", Inputs { swap: Swap::Off, ..plain.clone() }),
        ("ipv6-forward", Inputs { ipv6: true, ..plain.clone() }),
    ] {
        assert!(names(&with(&inputs, &facts)).contains(name), "{name}");
        assert!(!names(&plain_tasks).contains(name), "{name}");
    }
    let bare = Facts { tools: BTreeSet::new(), ..facts.clone() };
    assert!(names(&with(&plain, &bare)).contains("kubelet-packages"));
    assert!(!names(&plain_tasks).contains("kubelet-packages"));
    let direct = Inputs { registry: None, ..plain };
    assert!(!names(&with(&direct, &facts)).iter().any(|name| name.starts_with("registry-")));
}

#[test]
fn a_larger_inotify_limit_is_kept_at_boot_too() {
    let assets = Assets::load(None).unwrap();
    let mut facts = host("debian", "", "12");
    facts.sysctls.insert("fs.inotify.max_user_watches".into(), "1048576".into());
    facts.sysctls.insert("fs.inotify.max_user_instances".into(), "128".into());
    let tasks = playbook::tasks(&assets, &inputs(Install::Release), &facts).unwrap();
    insta::assert_snapshot!(content(&tasks, "/etc/sysctl.d/99-etcdless.conf").unwrap(), @r"
    # Written by etcdless.
    net.ipv4.ip_forward = 1
    net.bridge.bridge-nf-call-iptables = 1
    net.bridge.bridge-nf-call-ip6tables = 1
    fs.inotify.max_user_instances = 8192
    fs.inotify.max_user_watches = 1048576
    ");
}

#[test]
fn containerd_gets_the_configuration_of_its_version() {
    let assets = Assets::load(None).unwrap();
    let version = |install: Install, facts: &Facts| {
        let tasks = playbook::tasks(&assets, &inputs(install), facts).unwrap();
        let config: toml::Table = content(&tasks, "/etc/containerd/config.toml").unwrap().parse().unwrap();
        config["version"].as_integer().unwrap()
    };
    for (id, like, release, expected) in
        [("debian", "", "12", 2), ("debian", "", "13", 2), ("ubuntu", "debian", "24.04", 2), ("fedora", "", "42", 3)]
    {
        assert_eq!(version(Install::Release, &host(id, like, release)), 3, "{id} {release}");
        assert_eq!(version(Install::Packages, &host(id, like, release)), expected, "{id} {release}");
    }
    let mut upgraded = host("debian", "", "12");
    upgraded.packages.insert("containerd".into(), "2.1.4~ds2-5".into());
    assert_eq!(version(Install::Packages, &upgraded), 3);
}

#[test]
fn probes_cover_every_step_of_every_host() {
    let assets = Assets::load(None).unwrap();
    let probes = playbook::probes(&assets).unwrap();
    for (id, like, version) in DISTRIBUTIONS {
        let asked =
            Inputs { proxy_mode: Some(ProxyMode::Ipvs), swap: Swap::Off, ipv6: true, ..inputs(Install::Release) };
        let facts = Facts { tools: BTreeSet::new(), ..host(id, like, version) };
        let kinds = ENGINES.map(server).into_iter().chain([asked]);
        for task in kinds.flat_map(|asked| playbook::tasks(&assets, &asked, &facts).unwrap()) {
            let mut both = probes.clone();
            both.extend(task.op.probes());
            assert_eq!(both, probes, "{} on {id}", task.name);
        }
    }
    assert!(probes.packages.contains("containerd"));
    let features = playbook::features(&assets).unwrap();
    let expected = ["br_netfilter", "ip_vs", "ip_vs_rr", "ip_vs_sh", "ip_vs_wrr", "nf_conntrack", "overlay"];
    assert_eq!(features.iter().collect::<Vec<_>>(), expected);
}

/// The failure that a playbook `swap.yaml` of this text leads to, without the folder's name.
fn refused(text: &str) -> (Kind, String, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("playbooks")).unwrap();
    let file = folder.path().join("playbooks/swap.yaml");
    fs::write(&file, text).unwrap();
    let assets = Assets::load(Some(folder.path())).unwrap();
    let inputs = Inputs { swap: Swap::Off, ..inputs(Install::Release) };
    let failure = playbook::tasks(&assets, &inputs, &host("debian", "", "12")).unwrap_err();
    let place = format!("playbooks/swap.yaml (overridden by {})", file.display());
    assert!(failure.message.contains(&place), "{failure}");
    (failure.kind, failure.message.replace(&place, "swap.yaml"), failure.details)
}

#[test]
fn malformed_playbooks_name_file_and_line() {
    const HEAD: &str = "name: swap\nabout: x\nsteps:\n";
    let mut text = String::new();
    for case in [
        "  - name: a\n    swapOf: {}\n",
        "  - name: a\n",
        "  - name: a\n    swapOff: {}\n    module: overlay\n",
        "  - name: A B\n    swapOff: {}\n",
        "  - name: overlay\n    swapOff: {}\n",
        "  - name: a\n    swapOff: {}\n  - name: a\n    swapOff: {}\n",
        "  - name: a\n    after: [none]\n    swapOff: {}\n",
        "  - name: a\n    after: [none/*]\n    swapOff: {}\n",
        "  - name: a\n    when: { distro: debian }\n    swapOff: {}\n",
        "  - name: a\n    when: { family: [suse] }\n    swapOff: {}\n",
        "  - name: a\n    script: { run: 'touch /x', seconds: 5 }\n",
        "  - name: a\n    script: { run: 'touch {{ vars.x }}', seconds: 5, creates: [/x] }\n",
        "  - name: a\n    file: { path: /x, mode: \"0644\" }\n",
        "  - name: a\n    file: { path: x, mode: \"0644\", content: y }\n",
        "  - name: a\n    file: { path: /x, mode: 644, content: y }\n",
        "  - name: a\n    file: { path: /x, mode: \"0644\", content: \"{{ nothing }}\" }\n",
        "  - name: a\n    file: { path: /x, mode: \"0644\", template: none.j2 }\n",
        "  - name: a\n    unpack: { artifact: etcd, into: /x, creates: [/x/y] }\n",
        "  - name: a\n    package: []\n",
        "  - name: a\n   swapOff: {}\n",
    ] {
        let (kind, message, _) = refused(&format!("{HEAD}{case}"));
        assert_eq!(kind, Kind::Config, "{case}");
        writeln!(text, "{case}=> {message}\n").unwrap();
    }
    insta::with_settings!({ snapshot_path => "playbook", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("malformed", text);
    });
}

#[test]
fn steps_that_wait_for_each_other_are_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("playbooks")).unwrap();
    let text = "name: kernel\nabout: x\nsteps:\n  - { name: a, module: x }\n  - { name: b, after: [containerd/*], module: y }\n";
    fs::write(folder.path().join("playbooks/kernel.yaml"), text).unwrap();
    let assets = Assets::load(Some(folder.path())).unwrap();
    let failure = playbook::tasks(&assets, &inputs(Install::Release), &host("debian", "", "12")).unwrap_err();
    assert_eq!(failure.message, "steps of the playbooks wait for each other: containerd, b, kubelet");
}

#[test]
fn the_line_is_shown_with_a_mark() {
    let (_, message, details) = refused("name: swap\nabout: x\nsteps:\n  - name: a\n    package: []\n");
    assert_eq!(message, "swap.yaml:4:11: `a` names no package");
    assert_eq!(details, ["   4 |   - name: a\n     |           ^"]);
    assert_eq!(
        refused("name: other\nabout: x\n").1,
        "swap.yaml:1:7: the playbook is called `other`, but its file swap.yaml"
    );
}

#[test]
fn variants_must_be_told_apart() {
    let variant = |name: &str, when: &str| format!("  - name: {name}\n    when: {when}\n    steps: []\n");
    let open = format!("name: swap\nabout: x\nvariants:\n{}", variant("a", "{}"));
    assert_eq!(refused(&open).1, "swap.yaml:4:11: the variant `a` has no test, so it would always fit");
    let both = variant("a", "{ family: [debian] }") + &variant("b", "{ os: [debian] }");
    let both = format!("name: swap\nabout: x\nvariants:\n{both}");
    assert_eq!(refused(&both).1, "swap.yaml: the variants a and b both fit debian 12");
}

#[test]
fn a_distribution_without_a_variant_is_refused_with_the_way_out() {
    let assets = Assets::load(None).unwrap();
    let facts = host("rocky", "rhel centos fedora", "9.6");
    let failure = playbook::tasks(&assets, &inputs(Install::Packages), &facts).unwrap_err();
    assert_eq!(failure.kind, Kind::Preflight);
    assert_eq!(failure.message, "the playbook containerd has no variant for rocky 9.6");
    assert!(failure.details[0].ends_with("; its variants are release, debian, fedora"), "{:?}", failure.details);
    let strange = playbook::tasks(&assets, &inputs(Install::Release), &host("slackware", "", "15")).unwrap_err();
    assert_eq!(strange.message, "the playbook kubelet has no variant for slackware 15");
}

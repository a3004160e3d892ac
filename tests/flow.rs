//! `init` against the fake host: killed with SIGKILL at every point, and failing at every operation, the next run must finish the job.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

#[path = "support/fake.rs"]
mod fake;

use std::path::{Path, PathBuf};
use std::process::Command;

use etcdless::artifact::supply::Supply;
use etcdless::assets::Assets;
use etcdless::config::credentials::Credentials;
use etcdless::config::{Cluster, Host, Listen, Placement, Proxy};
use etcdless::facts::Facts;
use etcdless::failure::Failure;
use etcdless::phase::outcome::{self, HostOutcome, Outcome};
use etcdless::phase::plan::Selection;
use etcdless::phase::preflight::Ignore;
use etcdless::phase::runner::{self, Run, Target};
use etcdless::phase::survey::{self, Desired, Place};
use etcdless::ui::{Format, Ui};
use fake::{At, Fake, outcome};

/// The placements that differ most in their steps.
const SHAPES: &[(Placement, Listen)] =
    &[(Placement::StaticPod, Listen::Unix), (Placement::Systemd, Listen::Tcp), (Placement::Sidecar, Listen::Unix)];

const NOTHING: [&str; 0] = [];

fn desired(placement: Placement, listen: Listen) -> Desired {
    let mut cluster = Cluster::of("demo".parse().unwrap(), vec![Host::at("192.0.2.11".parse().unwrap(), None)]);
    cluster.spec.kine.placement = placement;
    cluster.spec.kine.listen = listen;
    let assets = Assets::load(None).unwrap();
    let credentials = Credentials::of_all(&cluster).unwrap();
    let (selection, ignore) = (Selection::default(), Ignore::default());
    Desired {
        cluster,
        assets,
        credentials,
        manifest: None,
        scripts: Default::default(),
        selection,
        ignore,
        supply: Supply::Sources(etcdless::config::Artifacts::default()),
        restored: Vec::new(),
        run: "test".into(),
    }
}

/// The same with its state on a server of its own, on a second host.
fn with_server(engine: &str, placement: Placement) -> Desired {
    let mut desired = desired(placement, Listen::Unix);
    let server = serde_json::json!({ "name": "db", "address": "192.0.2.31", "role": "datastore" });
    desired.cluster.spec.hosts.push(serde_json::from_value(server).unwrap());
    let managed = serde_json::json!({ engine: { "managed": { "host": "db" } } });
    desired.cluster.spec.datastore = serde_json::from_value(managed).unwrap();
    desired
}

/// One control plane on SQLite and two workers.
fn with_workers() -> Desired {
    let mut desired = desired(Placement::StaticPod, Listen::Unix);
    desired.cluster.spec.hosts[0].name = Some("cp".parse().unwrap());
    for (name, address) in [("w1", "192.0.2.21"), ("w2", "192.0.2.22")] {
        let worker = serde_json::json!({ "name": name, "address": address, "role": "worker" });
        desired.cluster.spec.hosts.push(serde_json::from_value(worker).unwrap());
    }
    desired
}

fn fresh() -> Facts {
    fresh_at("192.0.2.11")
}

fn fresh_at(address: &str) -> Facts {
    let mut facts = Facts::expected(&address.parse().unwrap());
    facts.cpus = 2;
    facts.memory_kib = 4 << 20;
    facts.free_bytes = [("/".to_owned(), 100 << 30)].into();
    let tools = "curl tar gzip sha256sum systemctl modprobe iptables nft ip ss mount conntrack socat ethtool flock timeout base64";
    facts.tools = tools.split(' ').map(str::to_owned).collect();
    facts.available_modules = ["overlay", "br_netfilter"].map(str::to_owned).into();
    facts
}

/// One whole `init`, verification left out. Returns the steps that were needed.
async fn init(host: &Fake, desired: &Desired) -> Result<Vec<String>, Failure> {
    init_all(&[host], desired).await
}

/// The same on all hosts of the description.
async fn init_all(hosts: &[&Fake], desired: &Desired) -> Result<Vec<String>, Failure> {
    let (steps, outcomes) = run_all(hosts, desired, 10).await?;
    outcome::fatal(&outcomes).or_else(|| outcome::partial(&outcomes)).map_or(Ok(steps), Err)
}

/// The same with what became of each host.
async fn run_all(
    hosts: &[&Fake],
    desired: &Desired,
    concurrency: usize,
) -> Result<(Vec<String>, Vec<HostOutcome>), Failure> {
    let configs = &desired.cluster.spec.hosts;
    let places: Vec<Place<'_, Fake>> =
        hosts.iter().zip(configs).map(|(&host, config)| Place { host, config }).collect();
    let surveyed = desired.survey(&places).await?;
    let (ui, monitor) = Ui::start(Format::Text, false);
    let supply = desired.supply.clone();
    let run = Run { id: "test".into(), supply, stop: Default::default(), concurrency, ui };
    let place = |label: &str| places.iter().find(|place| place.config.label() == label).unwrap();
    let targets: Vec<Target<'_, Fake>> = surveyed
        .hosts
        .iter()
        .map(|seen| Target { host: place(&seen.plan.host).host, arch: seen.node.arch, plan: &seen.plan })
        .collect();
    let ran = runner::run(&run, &targets).await;
    drop(run);
    monitor.finish().await;
    let changes = surveyed.hosts.iter().flat_map(|seen| seen.plan.changes().map(|(step, _)| step.id.clone()));
    let left = surveyed.left.into_iter().map(|(host, failure)| (host, Outcome::left_out(failure)));
    let done = targets.iter().map(|target| target.plan.host.clone()).zip(ran.outcomes).chain(left);
    let outcomes =
        done.map(|(host, outcome)| HostOutcome { needed: survey::is_needed(place(&host).config), host, outcome });
    Ok((changes.collect(), outcomes.collect()))
}

#[tokio::test]
async fn a_second_run_has_nothing_to_do() {
    for (placement, listen) in SHAPES {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let desired = desired(*placement, *listen);
        let host = Fake::fresh(&path, fresh());
        assert!(init(&host, &desired).await.unwrap().len() > 30);
        assert_eq!(init(&host, &desired).await.unwrap(), NOTHING, "{placement:?}");
    }
}

/// A control plane and the host of a server, fresh.
fn pair(folder: &Path) -> (Fake, Fake) {
    let fresh = |name: &str, address| Fake::fresh(&folder.join(name), fresh_at(address));
    (fresh("cp", "192.0.2.11"), fresh("db", "192.0.2.31"))
}

#[tokio::test]
async fn a_server_of_our_own_is_made_once() {
    for (engine, placement) in
        [("postgres", Placement::StaticPod), ("mariadb", Placement::Systemd), ("mysql", Placement::Sidecar)]
    {
        let folder = tempfile::tempdir().unwrap();
        let desired = with_server(engine, placement);
        let (cp, db) = pair(folder.path());
        init_all(&[&cp, &db], &desired).await.unwrap();
        assert_eq!(init_all(&[&cp, &db], &desired).await.unwrap(), NOTHING, "{engine}");
    }
}

#[tokio::test]
async fn another_proxy_restarts_what_goes_through_it_once_and_none_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut desired = with_server("postgres", Placement::StaticPod);
    let (cp, db) = pair(folder.path());
    let told = ["node/containerd-proxy", "node/kubelet-proxy", "node/containerd", "node/kubelet"];
    let proxied = |http: Option<&str>| http.map(|http| Proxy { http: http.into(), https: None, no: vec![] });
    desired.cluster.spec.proxy = proxied(Some("http://proxy:3128"));
    init_all(&[&cp, &db], &desired).await.unwrap();
    for proxy in [Some("http://other:3128"), None, Some("http://proxy:3128")] {
        desired.cluster.spec.proxy = proxied(proxy);
        let steps = init_all(&[&cp, &db], &desired).await.unwrap();
        let of_node: Vec<&str> = steps.iter().map(String::as_str).filter(|step| step.starts_with("node/")).collect();
        assert_eq!(of_node, told, "{proxy:?}");
        assert!(!steps.iter().any(|step| step.starts_with("kubelet/") || step.starts_with("artifacts/")), "{steps:?}");
        assert_eq!(init_all(&[&cp, &db], &desired).await.unwrap(), NOTHING, "{proxy:?}");
    }
    let drop_in = |host: &Fake| host.state().facts.files.keys().any(|path| path.contains("proxy"));
    assert!(drop_in(&cp) && !drop_in(&db), "a server has no containerd");
}

/// A control plane and two workers, fresh.
fn three(folder: &Path) -> [Fake; 3] {
    [("cp", "192.0.2.11"), ("w1", "192.0.2.21"), ("w2", "192.0.2.22")]
        .map(|(name, address)| Fake::fresh(&folder.join(name), fresh_at(address)))
}

fn has_done(host: &Fake, step: &str) -> bool {
    host.state().facts.journal.steps.contains_key(step)
}

fn states(outcomes: &[HostOutcome]) -> Vec<(&str, &str)> {
    outcomes.iter().map(|host| (host.host.as_str(), host.outcome.state())).collect()
}

#[tokio::test]
async fn workers_join_once_and_one_that_failed_joins_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut desired = with_workers();
    let [cp, w1, w2] = three(folder.path());
    let failure = init_all(&[&cp, &w1, &w2.failing(7)], &desired).await.unwrap_err();
    assert_eq!(failure.kind as u8, 10, "{}", failure.message);
    let w2 = Fake::open(&folder.path().join("w2"), None);
    desired.run = "another".into();
    let again = init_all(&[&cp, &w1, &w2], &desired).await.unwrap();
    let joins: Vec<&str> = again.iter().map(String::as_str).filter(|step| step.starts_with("join/")).collect();
    assert_eq!(
        joins,
        ["join/ticket", "join/ticket-revoked", "join/config", "join/patches", "join/ticket", "join/joined"]
    );
    assert_eq!(init_all(&[&cp, &w1, &w2], &desired).await.unwrap(), NOTHING);
}

#[tokio::test]
async fn a_worker_that_fails_anywhere_keeps_nothing_from_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let desired = with_workers();
    let hosts = three(folder.path());
    init_all(&hosts.each_ref(), &desired).await.unwrap();
    for operation in 0..hosts[2].applied() {
        let [cp, w1, w2] = three(folder.path());
        let (_, outcomes) = run_all(&[&cp, &w1, &w2.failing(operation)], &desired, 10).await.unwrap();
        assert_eq!(states(&outcomes), [("cp", "done"), ("w1", "done"), ("w2", "failed")], "operation {operation}");
        assert!(outcome::fatal(&outcomes).is_none());
        let failure = outcome::partial(&outcomes).unwrap();
        assert_eq!((failure.kind as u8, failure.message.as_str()), (10, "1 of 3 hosts are not done: w2"));
        assert!(failure.details[0].ends_with("| injected"), "{failure:?}");
        assert!(has_done(&w1, "join/joined"), "operation {operation}");
        assert!(has_done(&cp, "join/ticket-revoked"), "the token stays after a failure at operation {operation}");
    }
}

#[tokio::test]
async fn a_worker_that_does_not_answer_is_left_out_and_joins_later() {
    let folder = tempfile::tempdir().unwrap();
    let mut desired = with_workers();
    let [cp, w1, w2] = three(folder.path());
    let (_, outcomes) = run_all(&[&cp, &w1, &w2.gone()], &desired, 10).await.unwrap();
    assert_eq!(states(&outcomes), [("cp", "done"), ("w1", "done"), ("w2", "unreachable")]);
    let w2 = Fake::open(&folder.path().join("w2"), None);
    desired.run = "another".into();
    let (_, outcomes) = run_all(&[&cp, &w1, &w2], &desired, 10).await.unwrap();
    assert_eq!(states(&outcomes), [("cp", "done"), ("w1", "no changes"), ("w2", "done")]);
}

#[tokio::test]
async fn a_worker_that_is_not_fit_is_left_out_and_a_control_plane_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let desired = with_workers();
    let full = |name: &str, address| {
        let facts = Facts { free_bytes: [("/".to_owned(), 1 << 20)].into(), ..fresh_at(address) };
        Fake::fresh(&folder.path().join(name), facts)
    };
    let [cp, w1, w2] = three(folder.path());
    let (_, outcomes) = run_all(&[&cp, &full("w1", "192.0.2.21"), &w2], &desired, 10).await.unwrap();
    assert_eq!(states(&outcomes), [("cp", "done"), ("w2", "done"), ("w1", "refused")]);
    let failure = run_all(&[&full("cp", "192.0.2.11"), &w1, &w2], &desired, 10).await.unwrap_err();
    assert_eq!(failure.kind as u8, 5);
    assert_eq!(w1.applied(), 0);
}

#[tokio::test]
async fn without_its_control_plane_a_worker_is_prepared_and_waits() {
    let folder = tempfile::tempdir().unwrap();
    let desired = with_workers();
    let [cp, w1, w2] = three(folder.path());
    let last = 30;
    let (_, outcomes) = run_all(&[&cp.failing(last), &w1, &w2], &desired, 10).await.unwrap();
    assert_eq!(states(&outcomes), [("cp", "failed"), ("w1", "skipped"), ("w2", "skipped")]);
    assert_eq!(outcomes[1].outcome.detail(), "waits for cp");
    assert_eq!(outcome::fatal(&outcomes).unwrap().kind as u8, 6);
}

#[tokio::test]
async fn hooks_run_where_their_phase_changes_something_and_until_they_succeed() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = 0;
    let mut with = |program: &str| {
        run += 1;
        let mut desired = with_workers();
        desired.run = run.to_string();
        let hook = serde_json::json!([{ "local": "/bin/true" }, { "local": program, "hosts": ["w1"] }]);
        let hooks = serde_json::json!({ "before": { "artifacts": hook, "node": hook }, "after": { "artifacts": hook, "join": hook } });
        desired.cluster.spec.hooks = serde_json::from_value(hooks).unwrap();
        desired
    };
    let hosts = three(folder.path());
    let (steps, outcomes) = run_all(&hosts.each_ref(), &with("/bin/false"), 10).await.unwrap();
    assert_eq!(states(&outcomes), [("cp", "done"), ("w1", "failed"), ("w2", "done")]);
    assert_eq!(
        outcomes[1].outcome.failure().unwrap().message.split(" failed").next(),
        Some("run false on this machine before artifacts")
    );
    assert_eq!(hosts[1].applied(), 1, "only the first hook was run");
    assert_eq!(steps.iter().filter(|step| step.contains("/before-1") || step.contains("/after-1")).count(), 12);
    let (_, outcomes) = run_all(&hosts.each_ref(), &with("/bin/true"), 10).await.unwrap();
    assert_eq!(states(&outcomes), [("cp", "done"), ("w1", "done"), ("w2", "no changes")]);
    assert_eq!(init_all(&hosts.each_ref(), &with("/bin/true")).await.unwrap(), NOTHING);
}

#[tokio::test]
async fn one_host_at_a_time_gets_there_too() {
    let folder = tempfile::tempdir().unwrap();
    let desired = with_workers();
    let hosts = three(folder.path());
    // Workers wait for the control plane, and it for them.
    let (_, outcomes) = run_all(&hosts.each_ref(), &desired, 1).await.unwrap();
    assert_eq!(states(&outcomes), [("cp", "done"), ("w1", "done"), ("w2", "done")]);
}

#[tokio::test]
async fn a_failure_on_either_of_two_hosts_is_made_good() {
    let folder = tempfile::tempdir().unwrap();
    let desired = with_server("postgres", Placement::StaticPod);
    let (cp, db) = pair(folder.path());
    init_all(&[&cp, &db], &desired).await.unwrap();
    let expected = [outcome(&cp.state()), outcome(&db.state())];
    let on_cp = (0..cp.applied()).map(|operation| (operation, false));
    for (operation, on_server) in on_cp.chain((0..db.applied()).map(|operation| (operation, true))) {
        let (mut cp, mut db) = pair(folder.path());
        if on_server {
            db = db.failing(operation)
        } else {
            cp = cp.failing(operation)
        }
        let failure = init_all(&[&cp, &db], &desired).await.unwrap_err();
        assert_eq!((failure.kind as u8, failure.output), (6, vec!["injected".to_owned()]), "{}", failure.message);
        let (cp, db) = (Fake::open(&folder.path().join("cp"), None), Fake::open(&folder.path().join("db"), None));
        init_all(&[&cp, &db], &desired).await.unwrap();
        let same = [outcome(&cp.state()), outcome(&db.state())] == expected;
        assert!(same, "after a failure at operation {operation}, on the server: {on_server}");
        assert_eq!(
            init_all(&[&cp, &db], &desired).await.unwrap(),
            NOTHING,
            "operation {operation}, on the server: {on_server}"
        );
    }
}

#[tokio::test]
async fn a_failure_at_any_operation_stops_and_the_next_run_finishes() {
    let folder = tempfile::tempdir().unwrap();
    let desired = desired(Placement::StaticPod, Listen::Tcp);
    let whole = Fake::fresh(&folder.path().join("whole"), fresh());
    init(&whole, &desired).await.unwrap();
    for operation in 0..whole.applied() {
        let path = folder.path().join("failing");
        let failure = init(&Fake::fresh(&path, fresh()).failing(operation), &desired).await.unwrap_err();
        assert_eq!(failure.kind as u8, 6, "{}", failure.message);
        assert_eq!(failure.output, ["injected"]);
        let again = Fake::open(&path, None);
        init(&again, &desired).await.unwrap();
        assert_eq!(outcome(&again.state()), outcome(&whole.state()), "after a failure at operation {operation}");
    }
}

/// This very test binary is started again as the process to kill; it does nothing without the variable.
#[test]
fn child() {
    let Ok(order) = std::env::var("FLOW_CHILD") else { return };
    let mut words = order.split(' ');
    let (path, shape) = (PathBuf::from(words.next().unwrap()), words.next().unwrap().parse::<usize>().unwrap());
    let operation = words.next().unwrap().parse().unwrap();
    let at = [At::Before, At::Between, At::After][words.next().unwrap().parse::<usize>().unwrap()];
    let host = Fake::open(&path, Some((operation, at)));
    let (placement, listen) = SHAPES[shape];
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(init(&host, &desired(placement, listen))).unwrap();
}

/// Runs `init` in a process of its own that kills itself at a point; tells whether it got there.
fn killed(path: &Path, shape: usize, operation: usize, at: usize) -> bool {
    use std::os::unix::process::ExitStatusExt;
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--quiet"])
        .env("FLOW_CHILD", format!("{} {shape} {operation} {at}", path.display()))
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap();
    status.signal() == Some(9)
}

#[tokio::test]
async fn killed_anywhere_the_next_run_ends_with_the_same_host() {
    for (shape, (placement, listen)) in SHAPES.iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        let desired = desired(*placement, *listen);
        let whole = Fake::fresh(&folder.path().join("whole"), fresh());
        init(&whole, &desired).await.unwrap();
        let expected = outcome(&whole.state());
        for operation in 0..whole.applied() {
            for at in 0..3 {
                let path = folder.path().join("killed");
                Fake::fresh(&path, fresh());
                assert!(killed(&path, shape, operation, at), "{placement:?}: operation {operation} was not reached");
                let again = Fake::open(&path, None);
                init(&again, &desired).await.unwrap();
                assert_eq!(
                    outcome(&again.state()),
                    expected,
                    "{placement:?}: killed at operation {operation}, point {at}"
                );
            }
        }
    }
}

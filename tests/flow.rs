//! `init` against the fake host: killed with SIGKILL at every point, and failing at every operation, the next run must finish the job.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

#[path = "support/fake.rs"]
mod fake;

use std::path::{Path, PathBuf};
use std::process::Command;

use etcdless::assets::Assets;
use etcdless::config::credentials::Credentials;
use etcdless::config::{Cluster, Host, Listen, Placement};
use etcdless::datastore::Stores;
use etcdless::facts::Facts;
use etcdless::failure::Failure;
use etcdless::phase::plan::Selection;
use etcdless::phase::preflight::Ignore;
use etcdless::phase::runner::{self, Run};
use etcdless::phase::survey::Desired;
use etcdless::ui::{Format, Ui};
use fake::{At, Fake, outcome};

/// The placements that differ most in their steps.
const SHAPES: &[(Placement, Listen)] =
    &[(Placement::StaticPod, Listen::Unix), (Placement::Systemd, Listen::Tcp), (Placement::Sidecar, Listen::Unix)];

fn desired(placement: Placement, listen: Listen) -> Desired {
    let mut cluster = Cluster::of("demo".parse().unwrap(), vec![Host::at("192.0.2.11".parse().unwrap(), None)]);
    cluster.spec.kine.placement = placement;
    cluster.spec.kine.listen = listen;
    let assets = Assets::load(None).unwrap();
    let stores = Stores::of(&cluster, &Credentials::of_all(&cluster).unwrap()).unwrap();
    Desired { cluster, assets, stores, manifest: None, selection: Selection::default(), ignore: Ignore::default() }
}

fn fresh() -> Facts {
    let mut facts = Facts::expected(&"192.0.2.11".parse().unwrap());
    facts.cpus = 2;
    facts.memory_kib = 4 << 20;
    facts.free_bytes = [("/".to_owned(), 100 << 30)].into();
    let tools = "curl tar gzip sha256sum systemctl modprobe iptables nft ip ss mount conntrack socat ethtool flock timeout base64";
    facts.tools = tools.split(' ').map(str::to_owned).collect();
    facts.available_modules = ["overlay", "br_netfilter"].map(str::to_owned).into();
    facts
}

/// One whole `init`, verification left out. Returns how many steps were needed.
async fn init(host: &Fake, desired: &Desired) -> Result<usize, Failure> {
    let config = desired.cluster.first_control_plane().unwrap();
    let seen = desired.survey(host, config).await?;
    let (ui, monitor) = Ui::start(Format::Text, false);
    let run =
        Run { id: "test".into(), artifacts: desired.cluster.spec.artifacts.clone(), stop: Default::default(), ui };
    let done = runner::run(&run, host, seen.node.arch, &seen.plan).await;
    drop(run);
    monitor.finish().await;
    done.map(|_| seen.plan.changes().count())
}

#[tokio::test]
async fn a_second_run_has_nothing_to_do() {
    for (placement, listen) in SHAPES {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let desired = desired(*placement, *listen);
        let host = Fake::fresh(&path, fresh());
        assert!(init(&host, &desired).await.unwrap() > 30);
        assert_eq!(init(&host, &desired).await.unwrap(), 0, "{placement:?}");
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

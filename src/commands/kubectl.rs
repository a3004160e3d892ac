//! `kubectl`: the user's own kubectl, through an SSH tunnel to a control plane's API server.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{ExitCode, ExitStatus};

use secrecy::ExposeSecret;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

use super::{Ended, kubeconfig, session};
use crate::cli::{Kubectl, Show};
use crate::config::Cluster;
use crate::failure::{Failure, Kind};
use crate::kubeconfig as document;
use crate::remote::Host;
use crate::remote::forward::{Door, Forward, Place};
use crate::ui::{Format, Ui};

/// The API server on its own host, as kubeadm has it listen.
const API_PORT: u16 = 6443;

/// What kubectl needs for as long as it runs. Dropped, it leaves nothing behind.
struct Tunnel {
    _forward: Forward,
    _host: Host,
    folder: TempDir,
}

pub(super) async fn run(args: Kubectl) -> Result<ExitCode, Ended> {
    let described = session::describe(&args.target, None)?;
    let program = program(&described)?;
    let mut tunnel = None;
    let show = Show { output: Format::Text, verbose: false };
    let (opened, asked) = (&mut tunnel, &args);
    session::under_ui(show, |ui, _| async move {
        *opened = Some(open(&ui, asked, described).await?);
        Ok(())
    })
    .await?;
    let Some(tunnel) = tunnel else { return Ok(ExitCode::FAILURE) };
    Ok(through(&tunnel, program, &args).await?)
}

/// kubectl, as the shell would find it.
fn program(described: &Cluster) -> Result<PathBuf, Failure> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let is_program = |path: &PathBuf| {
        path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    };
    let found = std::env::split_paths(&folders).map(|folder| folder.join("kubectl")).find(is_program);
    found.ok_or_else(|| {
        let version = &described.spec.kubernetes.version;
        let (system, arch) = (std::env::consts::OS, std::env::consts::ARCH);
        let system = if system == "macos" { "darwin" } else { system };
        let arch = if arch == "aarch64" { "arm64" } else { "amd64" };
        let url = format!("https://dl.k8s.io/release/{version}/bin/{system}/{arch}/kubectl");
        Failure::new(Kind::Preflight, "there is no kubectl in your PATH")
            .hint(format!("install it: curl -LO {url} && install -m 0755 kubectl ~/.local/bin/"))
            .hint("or run the one on a control plane: kubectl --kubeconfig /etc/kubernetes/admin.conf")
    })
}

/// A way to the API server, and a kubeconfig that leads through it, which only this user may read.
async fn open(ui: &Ui, args: &Kubectl, described: Cluster) -> Result<Tunnel, Failure> {
    let found = session::find(ui, &args.target, described).await?;
    let lost = |error| session::unreachable(&error, &found.config);
    let admin = kubeconfig::admin_conf(&found.host).await?;
    let there = Place::Tcp { host: "127.0.0.1".into(), port: API_PORT };
    let forward = found.host.forward_port(&there).await.map_err(lost)?;
    let Door::Tcp(address, port) = forward.door() else {
        return Err(Failure::new(Kind::Internal, "the way to the API server is no port"));
    };
    let (name, server) = (found.cluster.metadata.name.as_str(), format!("https://{address}:{port}"));
    let text = document::tunnelled(&admin, name, &server, &found.cluster.api_name())?;
    let folder = private_folder()?;
    document::write(&folder.path().join("config"), text.expose_secret())?;
    Ok(Tunnel { _forward: forward, _host: found.host, folder })
}

/// A folder that nobody else may look into; in memory where the system has such a place.
fn private_folder() -> Result<TempDir, Failure> {
    let runtime =
        std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute() && path.is_dir());
    let parent = runtime.unwrap_or_else(std::env::temp_dir);
    let made = tempfile::Builder::new().prefix("etcdless-kubectl-").tempdir_in(&parent);
    made.map_err(|error| {
        Failure::new(Kind::Internal, format!("no folder for a kubeconfig can be made in {}: {error}", parent.display()))
            .hint("set TMPDIR to a folder that you may write to")
    })
}

/// Runs kubectl to its end. Ctrl-C is kubectl's own affair; it gets it from the terminal as we do. Whoever ends us ends kubectl.
async fn through(tunnel: &Tunnel, program: PathBuf, args: &Kubectl) -> Result<ExitCode, Failure> {
    let failed = |error: std::io::Error| Failure::new(Kind::Internal, format!("kubectl cannot be run: {error}"));
    let mut interrupts = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut quits = signal(SignalKind::quit()).map_err(failed)?;
    let mut ends = signal(SignalKind::terminate()).map_err(failed)?;
    let mut hangups = signal(SignalKind::hangup()).map_err(failed)?;
    let mut command = Command::new(program);
    command.args(&args.arguments).env("KUBECONFIG", tunnel.folder.path().join("config")).kill_on_drop(true);
    // kubectl keeps what it learns of an API server by its address, and this one never comes again.
    command.env("KUBECACHEDIR", tunnel.folder.path().join("cache"));
    let mut kubectl = command.spawn().map_err(failed)?;
    let status = loop {
        tokio::select! {
            status = kubectl.wait() => break status.map_err(failed)?,
            _ = interrupts.recv() => {}
            _ = quits.recv() => {}
            _ = ends.recv() => return Err(ended(&mut kubectl).await),
            _ = hangups.recv() => return Err(ended(&mut kubectl).await),
        }
    };
    Ok(code(status))
}

async fn ended(kubectl: &mut tokio::process::Child) -> Failure {
    // It may have ended by itself.
    let _ended = kubectl.kill().await;
    Failure::new(Kind::Interrupted, "interrupted: kubectl was ended")
}

/// kubectl's own exit code, as a shell tells it.
fn code(status: ExitStatus) -> ExitCode {
    use std::os::unix::process::ExitStatusExt;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

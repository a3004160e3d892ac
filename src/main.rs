//! Parse, run, exit code.

use std::process::ExitCode;

use clap::Parser;
use etcdless::cli::Cli;
use etcdless::{commands, ui};

fn main() -> ExitCode {
    // One TLS stack for everything: rustls on ring. It fails only if a provider is installed already, which nothing else does.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            let failure = etcdless::failure::Failure::new(
                etcdless::failure::Kind::Internal,
                format!("cannot start the runtime: {error}"),
            );
            ui::failure(&failure, None);
            return failure.kind.into();
        }
    };
    match runtime.block_on(commands::run(cli)) {
        Ok(code) => code,
        Err(ended) => {
            ui::failure(&ended.failure, ended.log.as_deref());
            ended.failure.kind.into()
        }
    }
}

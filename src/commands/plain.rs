//! Subcommands that only print: schema, completions, man, version.

use std::path::Path;

use clap::CommandFactory;

use crate::cli::Cli;
use crate::config::{Kine, Kubernetes, schema as config_schema};
use crate::failure::{Failure, Kind};
use crate::ui::{self, Format};

pub(super) fn schema() {
    ui::result(&config_schema::schema());
}

pub(super) fn completions(shell: clap_complete::Shell) {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "etcdless", &mut script);
    ui::result(&String::from_utf8_lossy(&script));
}

/// Writes a page for every subcommand into a folder, or prints the main one.
pub(super) fn man(directory: Option<&Path>) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::new(Kind::Usage, format!("cannot write manual pages: {error}"));
    match directory {
        Some(directory) => {
            std::fs::create_dir_all(directory).map_err(failed)?;
            clap_mangen::generate_to(Cli::command(), directory).map_err(failed)
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut page).map_err(failed)?;
            ui::result(&String::from_utf8_lossy(&page));
            Ok(())
        }
    }
}

pub(super) fn version(output: Format) {
    let (etcdless, kubernetes, kine) =
        (env!("CARGO_PKG_VERSION"), Kubernetes::default().version, Kine::default().version);
    ui::result(&match output {
        Format::Text => format!("etcdless {etcdless}\nKubernetes {kubernetes} and kine {kine} by default"),
        Format::Json => serde_json::json!({
            "etcdless": etcdless, "kubernetes": kubernetes.to_string(), "kine": kine.to_string()
        })
        .to_string(),
    });
}

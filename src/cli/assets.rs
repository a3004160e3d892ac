//! `etcdless assets`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `assets`.
#[derive(Debug, Subcommand)]
pub enum Assets {
    /// List every template and playbook with its digest.
    List(Overlay),
    /// Print one.
    Show {
        /// As `list` names it, for example playbooks/kernel.yaml.
        path: String,
        #[expect(missing_docs, reason = "a group of flags")]
        #[command(flatten)]
        overlay: Overlay,
    },
    /// Write all of them into an empty folder, to change and to give back with --assets.
    Export {
        /// The folder.
        directory: PathBuf,
    },
    /// Show how a folder differs from what is built in.
    Diff {
        /// The folder.
        directory: PathBuf,
    },
}

/// A folder laid over the built-in files.
#[derive(Debug, Args)]
pub struct Overlay {
    /// A folder with templates/ and playbooks/ that replace the built-in files of the same name.
    #[arg(long, value_name = "DIR")]
    pub assets: Option<PathBuf>,
}

//! etcdless builds upstream kubeadm clusters whose state lives in SQL through kine.
//!
//! Floors, top down; a module may use those below it, never above (`tests/floors.rs` enforces it):
//!
//! ```text
//! cli, commands          parse; one file a subcommand: load, choose phases, run, print
//! phase                  (Cluster, Facts) -> steps; the runner, the lock
//! cluster, datastore     what Kubernetes wants; what each SQL engine wants
//! artifact, playbook     files and images by version; node preparation as data
//! remote                 a host over ssh or local: Query reads, Mutate changes
//! op, facts, journal     the closed set of changes; what a host looks like; what was done (pki: certificates)
//! render, assets         templates; embedded files with overlays
//! kubeconfig             the user's kubeconfig with a cluster's entries in it
//! config                 cluster.yaml, typed
//! ui, failure            events to people and machines; errors with exit codes
//! ```

pub mod artifact;
pub mod assets;
pub mod cli;
pub mod cluster;
pub mod commands;
pub mod config;
pub mod datastore;
pub mod facts;
pub mod failure;
pub mod journal;
pub mod kubeconfig;
pub mod op;
pub mod phase;
pub mod pki;
pub mod playbook;
pub mod remote;
pub mod render;
pub mod ui;

//! `etcdless datastore`: the stores of a cluster.

use clap::{Args, Subcommand};

use super::{Show, Target};

/// `datastore`.
#[derive(Debug, Subcommand)]
pub enum Datastore {
    /// Check the database servers: reachable, encrypted, writable, and set as kine needs it.
    Check(Check),
    /// See what is in the stores, how much room is left, and whether one needs a hand.
    Status(Status),
}

/// `datastore check`.
#[derive(Debug, Args)]
#[command(after_help = "\
It looks from every control plane in turn, changes nothing there, and leaves nothing on the server.
`init` does the same before it changes anything. docs/datastores.md lists what each check asks for.

Examples:
  etcdless datastore check -c cluster.yaml
  etcdless datastore check -c cluster.yaml --output json
  etcdless datastore check root@10.0.0.11      a cluster that is up

Exit code 7 when something is wrong; the failing line names the statement or setting that mends it.")]
pub struct Check {
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub target: Target,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub show: Show,
}

/// `datastore status`.
#[derive(Debug, Args)]
#[command(after_help = "\
It looks from the first control plane, reads only, and counts for 8 s at most.
docs/datastores.md lists what each engine tells.

Examples:
  etcdless datastore status root@10.0.0.11
  etcdless datastore status -c cluster.yaml
  etcdless datastore status -c cluster.yaml --output json

Exit code 8 when a store needs a hand; the failing line says why, and what to do.")]
pub struct Status {
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub target: Target,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub show: Show,
}

//! `etcdless datastore`: the stores of a cluster.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::target::{Login, Show, Target, seconds};
use crate::datastore::upkeep::compact::KEPT;

/// `datastore`.
#[derive(Debug, Subcommand)]
pub enum Datastore {
    /// Check the database servers: reachable, encrypted, writable, and set as kine needs it.
    Check(Check),
    /// See what is in the stores, how much room is left, and whether one needs a hand.
    Status(Status),
    /// List keys.
    Ls(Ls),
    /// Count objects, revisions and bytes of each resource.
    Count(Count),
    /// Show what a key holds, or held at a revision.
    Get(Get),
    /// Show what happened to a key, when, and who did it.
    History(History),
    /// Show how two revisions of a key differ.
    Diff(Diff),
    /// Show the largest values, and what is written most often.
    Top(Top),
    /// Ask the database in SQL, in a transaction that can only read.
    Query(Query),
    /// Have kine or etcd remove what is superseded, as the API server does every five minutes.
    Compact(Compact),
    /// Give room that is free within a store back.
    Vacuum(Vacuum),
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

/// Which cluster's stores are looked into.
#[derive(Debug, Args)]
pub struct Look {
    /// The machine (an address, a name of your ssh_config, or `local`) where no --config names the cluster, then what the command is about.
    #[arg(value_name = "WORD")]
    pub words: Vec<String>,
    /// A cluster.yaml.
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub login: Login,
    /// How long one question to a store may take, for example 90s or 5m.
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = seconds)]
    pub timeout: u64,
}

/// How a value is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Form {
    /// As kubectl shows objects.
    #[default]
    Yaml,
    /// The same in JSON.
    Json,
    /// The stored bytes as hexadecimal digits.
    Hex,
    /// The stored bytes.
    Raw,
}

/// `datastore ls`.
#[derive(Debug, Args)]
#[command(
    override_usage = "\
etcdless datastore ls [OPTIONS] [USER@]HOST [PREFIX]
       etcdless datastore ls [OPTIONS] -c FILE [PREFIX]",
    after_help = "\
Keys are one a line, in the order of the store; of a cluster with shards, the store's name follows after a tab.
A key is one of the store's (/registry/pods/default/web), or what kubectl would say (pods/default/web, secrets).

Examples:
  etcdless datastore ls root@10.0.0.11
  etcdless datastore ls root@10.0.0.11 secrets
  etcdless datastore ls -c cluster.yaml /registry/events/ | wc -l"
)]
pub struct Ls {
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub look: Look,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub show: Show,
}

/// `datastore count`.
#[derive(Debug, Args)]
#[command(
    override_usage = "\
etcdless datastore count [OPTIONS] [USER@]HOST
       etcdless datastore count [OPTIONS] -c FILE",
    after_help = "\
BYTES are those of the objects' newest values; REVISIONS counts what is kept of them, deletions as well, where the store tells.

Examples:
  etcdless datastore count root@10.0.0.11
  etcdless datastore count -c cluster.yaml --output json"
)]
pub struct Count {
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub look: Look,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub show: Show,
}

/// `datastore get`.
#[derive(Debug, Args)]
#[command(
    override_usage = "\
etcdless datastore get [OPTIONS] [USER@]HOST KEY
       etcdless datastore get [OPTIONS] -c FILE KEY",
    after_help = "\
A key is one of the store's (/registry/pods/default/web), or what kubectl would say (pods/default/web, secrets).
What is encrypted is named so, never shown. Of Secrets sizes are shown; --show-secrets shows them whole, and is needed for hex and raw.
Exit code 2 when the key is not there; the hint names the nearest one.

Examples:
  etcdless datastore get root@10.0.0.11 pods/default/web
  etcdless datastore get root@10.0.0.11 /registry/minions/cp1 --revision 1200
  etcdless datastore get -c cluster.yaml leases/kube-node-lease/cp1 -o raw | xxd | head"
)]
pub struct Get {
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub look: Look,
    /// As it was at this revision.
    #[arg(long, value_name = "N")]
    pub revision: Option<u64>,
    /// How to show it.
    #[arg(short, long, value_enum, default_value_t, value_name = "yaml|json|hex|raw")]
    pub output: Form,
    /// Show what Secrets hold.
    #[arg(long)]
    pub show_secrets: bool,
    /// Show the account of who wrote which field, as kubectl does with the same flag.
    #[arg(long)]
    pub show_managed_fields: bool,
}

/// `datastore history`.
#[derive(Debug, Args)]
#[command(
    override_usage = "\
etcdless datastore history [OPTIONS] [USER@]HOST KEY
       etcdless datastore history [OPTIONS] -c FILE KEY",
    after_help = "\
WHO and WHEN are what the object itself says in its managedFields. The last line says where the history begins: older revisions
were compacted away.

Examples:
  etcdless datastore history root@10.0.0.11 deployments/default/web
  etcdless datastore history -c cluster.yaml nodes/cp1 --output json"
)]
pub struct History {
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub look: Look,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub show: Show,
}

/// `datastore diff`.
#[derive(Debug, Args)]
#[command(
    override_usage = "\
etcdless datastore diff [OPTIONS] [USER@]HOST KEY REVISION REVISION
       etcdless datastore diff [OPTIONS] -c FILE KEY REVISION REVISION",
    after_help = "\
A revision may be any number between those that `history` lists: the key as it was then. Of Secrets it shows which entries differ.

Examples:
  etcdless datastore diff root@10.0.0.11 deployments/default/web 1200 1350"
)]
pub struct Diff {
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub look: Look,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub show: Show,
}

/// `datastore top`.
#[derive(Debug, Args)]
#[command(
    override_usage = "\
etcdless datastore top [OPTIONS] [USER@]HOST
       etcdless datastore top [OPTIONS] -c FILE",
    after_help = "\
By SQL, revisions are those that are kept since the last compaction; of etcd, the writes since the key was created.

Examples:
  etcdless datastore top root@10.0.0.11
  etcdless datastore top -c cluster.yaml --limit 50"
)]
pub struct Top {
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub look: Look,
    /// How many of each.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    pub limit: u16,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub show: Show,
}

/// `datastore query`.
#[derive(Debug, Args)]
#[command(
    override_usage = "\
etcdless datastore query [OPTIONS] [USER@]HOST [SQL]
       etcdless datastore query [OPTIONS] -c FILE [SQL]",
    after_help = "\
PostgreSQL, MySQL and MariaDB are asked from here; a SQLite file where its host has sqlite3 or python3. Every statement runs alone, in a
transaction that can only read, and ends after --timeout. Without SQL, statements come from the terminal or from standard input, one a
line. What it shows is not decoded, and Secrets are not hidden.

Examples:
  etcdless datastore query root@10.0.0.11 'SELECT count(*) FROM kine'
  etcdless datastore query -c cluster.yaml --store events
  echo 'SELECT max(id) FROM kine' | etcdless datastore query -c cluster.yaml --output json"
)]
pub struct Query {
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub look: Look,
    /// Which store is asked: `main`, or a shard's name.
    #[arg(long, value_name = "NAME", default_value = crate::config::MAIN)]
    pub store: String,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub show: Show,
}

/// `datastore compact`.
#[derive(Debug, Args)]
#[command(
    override_usage = "\
etcdless datastore compact [OPTIONS] [USER@]HOST
       etcdless datastore compact [OPTIONS] -c FILE",
    after_help = "\
It says before what it costs: watches that began before that revision list again, and `history` begins there. The newest 1000 revisions are
always kept; kine gives up no more. kine or etcd does it, asked as the API server asks it every five minutes, so it is safe at any time.
Room on disk comes back with `datastore vacuum`.

Examples:
  etcdless datastore compact root@10.0.0.11 --dry-run
  etcdless datastore compact -c cluster.yaml --yes
  etcdless datastore compact -c cluster.yaml --store events --keep 50000"
)]
pub struct Compact {
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub look: Look,
    /// Only this store: `main`, or a shard's name.
    #[arg(long, value_name = "NAME")]
    pub store: Option<String>,
    /// How many revisions are kept, from the newest.
    #[arg(long, value_name = "N", default_value_t = KEPT, value_parser = clap::value_parser!(u64).range(KEPT..))]
    pub keep: u64,
    /// Say what would go, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub show: Show,
}

/// `datastore vacuum`.
#[derive(Debug, Args)]
#[command(
    override_usage = "\
etcdless datastore vacuum [OPTIONS] [USER@]HOST
       etcdless datastore vacuum [OPTIONS] -c FILE",
    after_help = "\
It says before what there is to gain and what it costs: who waits how long, and how much room is needed meanwhile.
PostgreSQL: VACUUM, for which nobody waits; with --full VACUUM FULL, for which the API server waits. MySQL and MariaDB: OPTIMIZE TABLE.
SQLite: VACUUM by the host's sqlite3 or python3, while kine goes on. etcd has `etcdctl defrag` for it.

Examples:
  etcdless datastore vacuum root@10.0.0.11 --dry-run
  etcdless datastore vacuum -c cluster.yaml --yes
  etcdless datastore vacuum -c cluster.yaml --store main --full"
)]
pub struct Vacuum {
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub look: Look,
    /// Only this store: `main`, or a shard's name.
    #[arg(long, value_name = "NAME")]
    pub store: Option<String>,
    /// PostgreSQL: write the table anew and give its room back to the disk, while the API server waits.
    #[arg(long)]
    pub full: bool,
    /// Say what it would do, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub show: Show,
}

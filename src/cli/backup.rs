//! `etcdless backup`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand};

use super::target::{Show, Target, seconds};
use crate::config::SecretRef;
use crate::ui::Format;

/// `backup`.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "\
Each store is read as of one instant, which the file records; no instant spans two databases. With the stores come the cluster's keys and
certificates, etcdless's own files and what the API server encrypts by. The file fits any engine. Nothing is written to the cluster.

Without --recipient or --passphrase whoever can read the file has the cluster.

Examples:
  etcdless backup root@10.0.0.11 -o demo.backup
  etcdless backup -c cluster.yaml -o demo.backup.age --recipient age1...     age-keygen makes a pair; the age tool opens it, too
  etcdless backup -c cluster.yaml --to /var/backups/demo --keep 14          a file named by cluster and time; the 14 newest stay
  etcdless backup root@10.0.0.11 -o - | ssh backup@10.0.0.9 'cat > demo.backup'
  etcdless backup ls demo.backup
  etcdless backup timer -c cluster.yaml --to /var/backups/demo --keep 14    the systemd units that do it every night"
)]
pub struct Backup {
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(subcommand)]
    pub verb: Option<Verb>,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub target: Target,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub show: Show,
    /// The file to write; `-` is standard output. Of what is there already, only a backup is replaced.
    #[arg(short, long, value_name = "FILE", required_unless_present = "to", conflicts_with = "to")]
    pub out: Option<PathBuf>,
    /// A folder for a file that is named by cluster and time.
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
    /// How many of the cluster's backups stay in that folder, the new one included; all where it is left out.
    #[arg(long, value_name = "N", requires = "to", value_parser = clap::value_parser!(u16).range(1..))]
    pub keep: Option<u16>,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub encryption: Encryption,
    /// The longest that reading a store may take, for example 10m.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = seconds)]
    pub timeout: u64,
}

/// What else there is to do with backups.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Read every byte of a backup and show what it holds.
    Ls(Ls),
    /// Print the systemd units that make a backup regularly, or write them.
    #[command(after_help = TIMER)]
    Timer(Box<Timer>),
}

const TIMER: &str = "\
The units run this program where it is now, as you, with the flags that you give here: on your own machine, or with `local` on a control plane.
A secret is taken from file: or command:, since units have no environment of yours.

Examples:
  etcdless backup timer -c cluster.yaml --to /var/backups/demo --keep 14
  etcdless backup timer local --to /var/backups --keep 7 --calendar 'Mon..Fri 03:00' --units /etc/systemd/system
  systemctl daemon-reload && systemctl enable --now etcdless-backup.timer";

/// `backup ls`.
#[derive(Debug, Args)]
pub struct Ls {
    /// The backup.
    pub file: PathBuf,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub key: Decryption,
    /// How to print it.
    #[arg(long, value_enum, default_value_t)]
    pub output: Format,
}

/// `backup timer`.
#[derive(Debug, Args)]
pub struct Timer {
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub target: Target,
    /// The folder for the backups.
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
    /// How many of them stay.
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..))]
    pub keep: u16,
    #[expect(missing_docs, reason = "a group of flags")]
    #[command(flatten)]
    pub encryption: Encryption,
    /// When, as systemd's OnCalendar takes it.
    #[arg(long, value_name = "WHEN", default_value = "daily")]
    pub calendar: String,
    /// Write the units into this folder instead of printing them.
    #[arg(long, value_name = "DIR")]
    pub units: Option<PathBuf>,
}

/// Who can read a backup.
#[derive(Debug, Clone, Default, Args)]
pub struct Encryption {
    /// A public key of age: whoever has its private one can read the backup; may be repeated.
    #[arg(long, value_name = "age1...")]
    pub recipient: Vec<String>,
    /// Encrypt by a passphrase: env:NAME, file:PATH, command:COMMAND, or `ask`.
    #[arg(long, value_name = "WHERE", conflicts_with = "recipient")]
    pub passphrase: Option<Passphrase>,
}

/// What opens an encrypted backup.
#[derive(Debug, Clone, Default, Args)]
pub struct Decryption {
    /// A file with private keys of age.
    #[arg(long, value_name = "FILE")]
    pub age_identity: Option<PathBuf>,
    /// The passphrase: env:NAME, file:PATH, command:COMMAND, or `ask`.
    #[arg(long, value_name = "WHERE", conflicts_with = "age_identity")]
    pub passphrase: Option<Passphrase>,
}

/// Where a passphrase is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Passphrase {
    /// Asked for on the terminal.
    Ask,
    /// Where other secrets are.
    At(SecretRef),
}

impl FromStr for Passphrase {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            _ if text == "ask" => Ok(Self::Ask),
            Some(("env", name)) => Ok(Self::At(SecretRef::Env(name.into()))),
            Some(("file", path)) => Ok(Self::At(SecretRef::File(path.into()))),
            Some(("command", command)) => Ok(Self::At(SecretRef::Command(command.into()))),
            // What was typed may be the secret itself.
            _ => Err("it is env:NAME, file:PATH, command:COMMAND or `ask`, never the passphrase itself".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passphrase_is_named_and_never_given() {
        let at = |text: &str| text.parse::<Passphrase>();
        assert_eq!(at("ask"), Ok(Passphrase::Ask));
        assert_eq!(at("env:A"), Ok(Passphrase::At(SecretRef::Env("A".into()))));
        assert_eq!(at("file:/a:b"), Ok(Passphrase::At(SecretRef::File("/a:b".into()))));
        assert_eq!(at("command:pass show a"), Ok(Passphrase::At(SecretRef::Command("pass show a".into()))));
        for text in ["", "hunter2", "env"] {
            assert!(at(text).is_err_and(|why| !why.contains("hunter2")), "{text}");
        }
    }
}

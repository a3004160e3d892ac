//! `datastore check`, `datastore status` and the verbs that look into stores, against real servers from Debian's packages on loopback: every check fails in the condition that it is for, says so,
//! and passes once that is mended. Nothing stays on the servers.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test")]

#[path = "datastore/certificates.rs"]
mod certificates;
#[path = "datastore/commands.rs"]
mod commands;
#[path = "datastore/copy.rs"]
mod copy;
#[path = "datastore/explore.rs"]
mod explore;
#[path = "datastore/mariadb.rs"]
mod mariadb;
#[path = "datastore/mariadb_server.rs"]
mod mariadb_server;
#[path = "datastore/partitions.rs"]
mod partitions;
#[path = "datastore/postgres.rs"]
mod postgres;
#[path = "datastore/postgres_server.rs"]
mod postgres_server;
#[path = "datastore/servers.rs"]
mod servers;
#[path = "support/sshd.rs"]
mod sshd;
#[path = "datastore/status.rs"]
mod status;

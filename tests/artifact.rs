//! Sources, downloads and images against servers on loopback that serve, refuse, lie and hang up.
#![expect(clippy::unwrap_used)]

#[path = "artifact/bundle.rs"]
mod bundle;
#[path = "artifact/downloads.rs"]
mod downloads;
#[path = "artifact/images.rs"]
mod images;
#[path = "artifact/server.rs"]
mod server;
#[path = "artifact/sources.rs"]
mod sources;

//! `mirror serve` as its clients see it: skopeo, containerd's way of asking, curl, sha256sum, apt, and those that ask for what they should not.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test")]

#[path = "serve/apt.rs"]
mod apt;
#[path = "serve/files.rs"]
mod files;
#[path = "serve/images.rs"]
mod images;
#[path = "serve/process.rs"]
mod process;
#[path = "registry/images.rs"]
mod seed;
#[expect(dead_code, reason = "other tests want more of it")]
#[path = "registry/server.rs"]
mod server;

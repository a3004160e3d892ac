//! `mirror push` and `mirror images` against docker's own registry on loopback, read back by skopeo.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test")]

#[expect(dead_code, reason = "other tests want more of it")]
#[path = "artifact/server.rs"]
mod http;
#[path = "registry/images.rs"]
mod images;
#[path = "registry/interrupted.rs"]
mod interrupted;
#[path = "registry/logins.rs"]
mod logins;
#[path = "registry/push.rs"]
mod push;
#[path = "registry/server.rs"]
mod server;

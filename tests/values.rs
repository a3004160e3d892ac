//! Stored values are shown as the API server shows them: what Kubernetes' own compatibility data hold, and what a real API server stores.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test")]

#[path = "values/differences.rs"]
mod differences;
#[path = "values/golden.rs"]
mod golden;
#[path = "values/server.rs"]
mod server;
#[path = "values/stored.rs"]
mod stored;
#[path = "values/upstream.rs"]
mod upstream;

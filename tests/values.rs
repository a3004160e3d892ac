//! Stored values are shown as the API server shows them: what Kubernetes' own compatibility data hold, and what a real API server stores.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test")]

#[path = "values/upstream.rs"]
mod upstream;

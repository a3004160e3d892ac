//! stub

pub mod probe;

//! One file an engine. Each says where the data is, what kine is told, and what a host must have for it.

pub mod sqlite;

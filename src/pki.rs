//! stub
use crate::facts::Facts;
use crate::op::{Decision, File};

/// Whether the certificates of a folder are there, belong together and last for another 30 days.
pub fn decide(_directory: &str, _facts: &Facts) -> Decision {
    todo!()
}

/// Makes one set: CA, server (127.0.0.1, ::1, localhost) and client certificate. The CA's key is dropped.
pub fn make(_directory: &str) -> Result<Vec<File>, rcgen::Error> {
    todo!()
}

//! stub
use crate::failure::Failure;
use std::path::Path;

/// templates/ and playbooks/: embedded, with an optional folder laid over them.
#[derive(Debug, Clone)]
pub struct Assets {}

impl Assets {
    /// The embedded files, with those of `overlay` (a folder with templates/ and playbooks/) in front.
    pub fn load(_overlay: Option<&Path>) -> Result<Self, Failure> {
        todo!()
    }

    /// The text of one file, for example `templates/containerd/config-v3.toml.j2`.
    pub fn text(&self, _path: &str) -> Result<String, Failure> {
        todo!()
    }
}

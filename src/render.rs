//! stub
use crate::assets::Assets;
use crate::failure::Failure;
use serde::Serialize;

/// Renders `templates/NAME` with a typed context; strict, values JSON-escaped.
pub fn render(_assets: &Assets, _name: &str, _context: &impl Serialize) -> Result<String, Failure> {
    todo!()
}

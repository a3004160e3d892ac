//! Where everything that a run needs comes from: the sources that the description names, or bundles.

use super::bundle::Bundles;
use crate::config::Artifacts;

/// Where files, images and packages come from.
#[derive(Debug, Clone)]
pub enum Supply {
    /// Publishers, or the mirror and the registry that stand for them; packages from each host's own sources.
    Sources(Artifacts),
    /// Bundles, and nothing else.
    Bundles(Bundles),
}

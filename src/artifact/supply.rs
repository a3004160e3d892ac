//! Where everything that a run needs comes from: the sources that the description names, or bundles.

use std::path::PathBuf;

use super::bundle::Bundles;
use crate::config::Artifacts;
use crate::failure::Failure;

/// Where files, images and packages come from.
#[derive(Debug, Clone)]
pub enum Supply {
    /// Publishers, or the mirror and the registry that stand for them; packages from each host's own sources.
    Sources(Artifacts),
    /// Bundles, and nothing else.
    Bundles(Bundles),
}

impl Supply {
    /// Opens the bundles that the description names, and reads every byte of them. `progress` is told the bytes so far and in all.
    pub async fn open(artifacts: &Artifacts, progress: impl Fn(u64, u64) + Send + 'static) -> Result<Self, Failure> {
        let paths: Vec<PathBuf> = artifacts.bundle.iter().chain(&artifacts.bundle_base).cloned().collect();
        if paths.is_empty() {
            return Ok(Self::Sources(artifacts.clone()));
        }
        let read = tokio::task::spawn_blocking(move || {
            let bundles = Bundles::open(&paths)?;
            bundles.verify(progress)?;
            Ok(Self::Bundles(bundles))
        });
        read.await.unwrap_or_else(|error| Err(Failure::new(crate::failure::Kind::Internal, error.to_string())))
    }
}

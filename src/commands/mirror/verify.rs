//! `mirror verify`: is a bundle what it says it is, byte for byte.

use crate::artifact::bundle::Bundles;
use crate::cli::mirror::Verify;
use crate::commands::progress::Progress;
use crate::commands::{Ended, session};
use crate::failure::{Failure, Kind};
use crate::ui::{self, Format};

pub(super) async fn run(args: Verify) -> Result<(), Ended> {
    session::under_ui(args.show, |ui, _| async move {
        let progress = Progress::start(&ui, "mirror", "mirror/verify", "read every byte");
        let (told, paths) = (progress.bytes(), args.bundles.clone());
        let read = tokio::task::spawn_blocking(move || {
            let bundles = Bundles::open(&paths)?;
            bundles.verify(told).map(|()| bundles)
        });
        let read = read.await.unwrap_or_else(|error| Err(Failure::new(Kind::Internal, error.to_string())));
        let bundles = progress.end(read)?;
        ui.settled().await;
        for bundle in bundles.all() {
            let (bytes, entries) = (bundle.length(), bundle.entry_count());
            ui::result(&match ui.format() {
                Format::Text => {
                    format!(
                        "{}: every byte is as it should be ({}, {entries} entries)",
                        bundle.path.display(),
                        ui::bytes(bytes)
                    )
                }
                Format::Json => serde_json::json!({
                    "event": "verified", "file": bundle.path, "bytes": bytes, "entries": entries, "sha256": bundle.sum,
                })
                .to_string(),
            });
        }
        Ok(())
    })
    .await
}

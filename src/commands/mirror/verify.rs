//! `mirror verify`: is a bundle what it says it is, byte for byte.

use crate::cli::mirror::Verify;
use crate::commands::{Ended, session};
use crate::ui::{self, Format};

pub(super) async fn run(args: Verify) -> Result<(), Ended> {
    session::under_ui(args.show, |ui, _| async move {
        let bundles = session::verified(&ui, &args.bundles).await?;
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

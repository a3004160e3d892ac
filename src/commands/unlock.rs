//! `unlock`: who holds a host's lock; `--force` ends that run.

use super::Ended;
use super::session;
use crate::cli::Unlock;
use crate::failure::{Failure, Kind};
use crate::ui;

pub(super) async fn run(args: Unlock) -> Result<(), Ended> {
    let cluster = session::describe(&args.target, None)?;
    let args = &args;
    session::under_ui(args.show, |ui, _| async move {
        for config in &cluster.spec.hosts {
            let host = session::connect(&ui, &args.target, config).await?;
            let label = config.label();
            let failed = |error| session::unreachable(&error, config);
            match host.lock_owner().await.map_err(failed)? {
                None => ui::result(&format!("{label}: not locked")),
                Some(owner) if args.force => {
                    host.break_lock().await.map_err(failed)?;
                    ui::result(&format!("{label}: ended {owner}"));
                }
                Some(owner) => {
                    return Err(Failure::new(Kind::Locked, format!("{label} is locked by {owner}"))
                        .hint("if that run is dead or stuck, end it with `unlock --force`"));
                }
            }
        }
        Ok(())
    })
    .await
}

//! Something that takes a while on this machine, shown as a step is.

use std::time::Instant;

use crate::failure::Failure;
use crate::ui::{Event, Ui};

/// What runs at the moment.
#[derive(Debug, Clone)]
pub(super) struct Progress {
    ui: Ui,
    host: String,
    step: String,
    title: String,
    began: Instant,
}

impl Progress {
    /// Tells that something began. `host` is what stands in front of the line.
    pub(super) fn start(ui: &Ui, host: &str, step: impl Into<String>, title: impl Into<String>) -> Self {
        let (step, title) = (step.into(), title.into());
        let progress = Self { ui: ui.clone(), host: host.into(), step, title, began: Instant::now() };
        let Self { host, step, title, .. } = progress.clone();
        ui.emit(Event::StepStarted { host, step, title });
        progress
    }

    /// Tells how far it is: bytes so far and in all. Not more often than a display can show.
    pub(super) fn bytes(&self) -> impl Fn(u64, u64) + Send + Sync + use<> {
        let (ui, host, step) = (self.ui.clone(), self.host.clone(), self.step.clone());
        let told = std::sync::atomic::AtomicU64::new(0);
        move |done, total| {
            let before = told.load(std::sync::atomic::Ordering::Relaxed);
            if done == total || done.saturating_sub(before) >= (1 << 20) {
                told.store(done, std::sync::atomic::Ordering::Relaxed);
                ui.emit(Event::StepBytes { host: host.clone(), step: step.clone(), done, total });
            }
        }
    }

    /// Tells how it ended.
    pub(super) fn end<T>(self, outcome: Result<T, Failure>) -> Result<T, Failure> {
        let Self { ui, host, step, title, began } = self;
        let seconds = began.elapsed().as_secs_f64();
        ui.emit(match &outcome {
            Ok(_) => Event::StepDone { host, step, title, seconds },
            Err(failure) => Event::StepFailed { host, step, title, message: failure.message.clone() },
        });
        outcome
    }
}

//! Events on a terminal: one line for each running step with its time and last remote line, finished steps above them.

use std::collections::HashMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Event, Screen, plain};

pub(super) struct Bars {
    verbose: bool,
    all: MultiProgress,
    running: HashMap<(String, String), ProgressBar>,
}

impl Bars {
    pub(super) fn new(verbose: bool) -> Self {
        Self { verbose, all: MultiProgress::with_draw_target(ProgressDrawTarget::stderr()), running: HashMap::new() }
    }

    fn bar(&self, host: &str, step: &str) -> Option<&ProgressBar> {
        self.running.get(&(host.to_owned(), step.to_owned()))
    }
}

impl Screen for Bars {
    fn show(&mut self, event: &Event) {
        match event {
            Event::StepStarted { host, step, title } => {
                let bar = self.all.add(ProgressBar::new_spinner().with_style(spinner()));
                bar.set_prefix(format!("{host}: {title}"));
                bar.enable_steady_tick(Duration::from_millis(120));
                self.running.insert((host.clone(), step.clone()), bar);
            }
            Event::StepLine { host, step, line } => {
                if let Some(bar) = self.bar(host, step) {
                    bar.set_message(line.clone());
                }
            }
            Event::StepBytes { host, step, done, total } if *total > 0 => {
                if let Some(bar) = self.bar(host, step) {
                    if bar.length() != Some(*total) {
                        bar.set_style(transfer());
                        bar.set_length(*total);
                    }
                    bar.set_position(*done);
                }
            }
            Event::StepBytes { host, step, done, .. } => {
                if let Some(bar) = self.bar(host, step) {
                    bar.set_message(plain::bytes(*done));
                }
            }
            Event::StepDone { host, step, .. } | Event::StepFailed { host, step, .. } => {
                if let Some(bar) = self.running.remove(&(host.clone(), step.clone())) {
                    bar.finish_and_clear();
                }
            }
            _ => {}
        }
        if let Some(line) = plain::line(event, self.verbose) {
            // Printing above the bars fails only when the terminal is gone.
            let _ = self.all.println(line);
        }
    }

    fn close(&mut self) {
        let _ = self.all.clear();
    }
}

fn spinner() -> ProgressStyle {
    style("{spinner} {prefix} {elapsed:.dim} {wide_msg:.dim}")
}

fn transfer() -> ProgressStyle {
    style("{spinner} {prefix} {elapsed:.dim} [{bar:24}] {bytes}/{total_bytes}")
}

/// A template with a typing mistake falls back to indicatif's own look; the test below keeps ours right.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_well_formed() {
        for template in [
            "{spinner} {prefix} {elapsed:.dim} {wide_msg:.dim}",
            "{spinner} {prefix} {elapsed:.dim} [{bar:24}] {bytes}/{total_bytes}",
        ] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}

//! Events as plain lines on stderr, for pipes and CI.

use std::io::Write;

use super::{Event, Screen};

pub(super) struct Plain {
    verbose: bool,
}

impl Plain {
    pub(super) fn new(verbose: bool) -> Self {
        Self { verbose }
    }
}

impl Screen for Plain {
    fn show(&mut self, event: &Event) {
        if let Some(line) = line(event, self.verbose) {
            let _ = writeln!(std::io::stderr(), "{line}");
        }
    }
}

/// The line that an event deserves; `None` where it deserves none.
pub(super) fn line(event: &Event, verbose: bool) -> Option<String> {
    let good = console::style("ok").green().for_stderr();
    let bad = console::style("failed").red().for_stderr();
    match event {
        Event::Note { host: Some(host), text } => Some(format!("{host}: {text}")),
        Event::Note { host: None, text } => Some(text.clone()),
        Event::Warning { host, text } => {
            Some(format!("{host}: {} {text}", console::style("warning:").yellow().for_stderr()))
        }
        Event::StepStarted { host, step, title } if verbose => Some(format!("{host}: start {step}: {title}")),
        Event::StepLine { host, step, line } if verbose => Some(format!("{host}: {step} | {line}")),
        Event::StepDone { host, title, seconds, .. } => Some(format!("{host}: {good} {title} ({})", elapsed(*seconds))),
        Event::StepFailed { host, title, message, .. } => Some(format!("{host}: {bad} {title}: {message}")),
        // What is not well is told once, by the failure that follows.
        Event::Check { host, name, ok: true, detail } if verbose => Some(format!("{host}: {good} {name}: {detail}")),
        Event::Request { client, method, path, status, bytes: sent } if verbose => {
            Some(format!("{client} {method} {path} {status} {}", bytes(*sent)))
        }
        Event::Phase { phase, seconds } if verbose => Some(format!("phase {phase}: {}", elapsed(*seconds))),
        _ => None,
    }
}

/// `0.4 s`, `12 s`, `3 min 5 s`.
pub fn elapsed(seconds: f64) -> String {
    match seconds {
        s if s < 9.95 => format!("{s:.1} s"),
        s if s < 99.5 => format!("{s:.0} s"),
        s => format!("{} min {} s", (s as u64) / 60, (s as u64) % 60),
    }
}

/// `512 B`, `1.5 KiB`, `80.0 MiB`.
pub fn bytes(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_read_well() {
        assert_eq!([0.04, 9.96, 185.0].map(elapsed), ["0.0 s", "10 s", "3 min 5 s"]);
        assert_eq!([512, 1536, 83_886_080, 3 << 40].map(bytes), ["512 B", "1.5 KiB", "80.0 MiB", "3.0 TiB"]);
    }

    #[test]
    fn requests_show_only_when_asked_for() {
        let (client, method, path) = ("10.0.0.11:40000".into(), "GET".into(), "/v2/".into());
        let event = Event::Request { client, method, path, status: 206, bytes: 2048 };
        assert_eq!(line(&event, false), None);
        assert_eq!(line(&event, true).as_deref(), Some("10.0.0.11:40000 GET /v2/ 206 2.0 KiB"));
    }

    #[test]
    fn remote_lines_show_only_when_asked_for() {
        let event = Event::StepLine { host: "cp1".into(), step: "a/b".into(), line: "x".into() };
        assert_eq!(line(&event, false), None);
        assert_eq!(line(&event, true).as_deref(), Some("cp1: a/b | x"));
    }
}

//! Events for machines: one JSON object a line on stdout.

use super::{Event, Screen, result};

pub(super) struct Json;

impl Screen for Json {
    fn show(&mut self, event: &Event) {
        if let Ok(line) = serde_json::to_string(event) {
            result(&line);
        }
    }
}

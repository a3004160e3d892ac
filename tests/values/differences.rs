//! Two objects, compared field by field.

use std::collections::BTreeSet;

use serde_json::Value::{self, Array, Object};

/// Every place in which two objects differ, and how.
pub(crate) fn differences(place: String, ours: &Value, theirs: &Value, tell: &mut impl FnMut(String, String)) {
    match (ours, theirs) {
        (Object(one), Object(other)) => {
            for name in one.keys().chain(other.keys()).collect::<BTreeSet<_>>() {
                let place = format!("{place}.{name}");
                match (one.get(name), other.get(name)) {
                    (Some(one), Some(other)) => differences(place, one, other, tell),
                    (one, other) => tell(place, format!("{one:?} is {other:?}")),
                }
            }
        }
        (Array(one), Array(other)) if one.len() == other.len() => {
            for (at, (one, other)) in one.iter().zip(other).enumerate() {
                differences(format!("{place}[{at}]"), one, other, tell);
            }
        }
        _ if ours == theirs => {}
        _ => tell(place, format!("{ours} is {theirs}")),
    }
}

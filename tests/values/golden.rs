//! Values as an API server of v1.34.4 stored them, and what it answered. `UPDATE_GOLDEN=1 cargo test --test values` writes them anew, with
//! what `stored.rs` needs.

use std::path::PathBuf;

use etcdless::datastore::value::{Value as Stored, decode};
use serde_json::Value;

/// The objects of `objects.yaml` that are kept.
const KEPT: &[&str] = &[
    "Pod",
    "Secret",
    "Lease",
    "ResourceSlice",
    "ControllerRevision",
    "NetworkPolicy",
    "HorizontalPodAutoscaler",
    "CertificateSigningRequest",
    "Thing",
];

fn path(kind: &str, ending: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/values/golden").join(format!("{kind}.{ending}"))
}

/// Keeps a stored value with the API server's answer, if it is among those, and if that is asked for.
pub(crate) fn keep(value: &[u8], answer: &Value) {
    let kind = answer["kind"].as_str().unwrap();
    let ours = ["", "values"].contains(&answer["metadata"]["namespace"].as_str().unwrap_or_default());
    if std::env::var_os("UPDATE_GOLDEN").is_some() && ours && KEPT.contains(&kind) {
        std::fs::write(path(kind, "stored"), value).unwrap();
        std::fs::write(path(kind, "json"), serde_json::to_string_pretty(answer).unwrap() + "\n").unwrap();
    }
}

/// Each kind with its bytes and what the API server answered.
fn kept() -> impl Iterator<Item = (&'static str, Vec<u8>, Value)> {
    KEPT.iter().map(|kind| {
        let json = std::fs::read(path(kind, "json")).unwrap();
        (*kind, std::fs::read(path(kind, "stored")).unwrap(), serde_json::from_slice(&json).unwrap())
    })
}

#[test]
fn stored_values_are_what_the_api_server_answered() {
    for (kind, bytes, answer) in kept() {
        let Stored::Object(mut object) = decode(&bytes) else { panic!("{kind}: {:?}", decode(&bytes)) };
        object["metadata"]["resourceVersion"] = answer["metadata"]["resourceVersion"].clone();
        assert_eq!(object, answer, "{kind}");
    }
}

#[test]
fn a_value_that_is_cut_off_is_no_object() {
    for (kind, bytes, _) in kept() {
        // Its last fields, encoding and type, are empty, and a line break ends JSON: without them it is whole.
        let whole = bytes.strip_suffix(b"\x1a\0\x22\0").or(bytes.strip_suffix(b"\n")).unwrap();
        for end in 0..whole.len() {
            let cut = decode(&bytes[..end]);
            assert!(matches!(cut, Stored::Bytes), "{kind} up to {end}: {cut:?}");
        }
    }
}

#[test]
fn a_byte_that_is_wrong_harms_nobody() {
    let (mut objects, mut others) = (0, 0);
    for (_, mut bytes, _) in kept() {
        for at in 0..bytes.len() {
            for wrong in [0x01, 0x80, 0xff] {
                bytes[at] ^= wrong;
                match decode(&bytes) {
                    Stored::Object(object) => objects += usize::from(object.is_object()),
                    _ => others += 1,
                }
                bytes[at] ^= wrong;
            }
        }
    }
    // Within texts and numbers it is not noticed.
    assert!(objects > 1000 && others > 1000, "{objects} {others}");
}

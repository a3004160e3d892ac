//! What the bytes of a key are.

use serde_json::Value as Json;

/// What a key holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// An object, as the API shows it.
    Object(Json),
    /// Something that the API server encrypted.
    Encrypted {
        /// How, for example `aescbc`.
        provider: String,
        /// The name of its key.
        key: Option<String>,
    },
    /// An object in protobuf whose fields are not known here.
    Unknown {
        /// For example `apps/v1`.
        api_version: String,
        /// For example `Deployment`.
        kind: String,
    },
    /// Anything else.
    Bytes,
}

/// Reads what a key holds.
pub fn decode(bytes: &[u8]) -> Value {
    if let Some(rest) = bytes.strip_prefix(b"k8s:enc:") {
        let head = String::from_utf8_lossy(&rest[..rest.len().min(256)]).into_owned();
        let mut words = head.split(':');
        let provider = words.next().unwrap_or_default().to_owned();
        // A version, then the name of the key.
        let key = words.nth(1).filter(|key| !key.is_empty() && !key.contains('\u{fffd}')).map(str::to_owned);
        return Value::Encrypted { provider, key };
    }
    match serde_json::from_slice(bytes) {
        Ok(Json::Object(object)) => Value::Object(Json::Object(object)),
        _ => Value::Bytes,
    }
}

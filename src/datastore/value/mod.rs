//! What the API server stores, as `kubectl get --raw` would show it.
//!
//! Built-in kinds are stored as protobuf, whose fields have numbers and no names. `kinds.txt` has the names, and how Go writes each field as
//! JSON, `older.txt` what older versions of Kubernetes had beside that; `tests/lab/kinds` makes both from Go's own types. Nothing is guessed: an
//! object with a field that neither has, as a newer Kubernetes writes it, is [`Value::Unknown`] as a whole, since part of an object would pass
//! for all of it.
//!
//! An object is shown as the version that wrote it would show it. What the API server adds when it is asked is not there:
//! `metadata.resourceVersion`, which is the revision of the row, and defaults that are not stored; `tests/values/stored.rs` lists them. Before
//! 1.34 `creationTimestamp` was null in templates, where it is left out here as by later versions.

mod object;
mod special;
mod table;

use crate::cluster::kine::probe::frame::{Field, fields};
use table::Table;

/// What objects that are stored as protobuf begin with.
const PROTOBUF: &[u8] = b"k8s\0";

/// What objects that are encrypted at rest begin with.
const ENCRYPTED: &[u8] = b"k8s:enc:";

/// A stored value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// An object as the API shows it, without `metadata.resourceVersion`.
    Object(serde_json::Value),
    /// Encrypted at rest by the API server; only it has the key.
    Encrypted {
        /// `aescbc`, `aesgcm`, `secretbox` or `kms`.
        provider: String,
        /// The name of the key, or of the KMS plugin.
        key: Option<String>,
    },
    /// Protobuf of a kind that the table does not have, or with something in it that it does not tell.
    Unknown {
        /// As the object itself says.
        api_version: String,
        /// As the object itself says.
        kind: String,
    },
    /// Neither JSON nor the API server's protobuf; CBOR, which custom resources may be stored as in a feature that is alpha, is among these.
    Bytes,
}

/// Why protobuf is not shown as an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unclear {
    /// It does not follow protobuf's form.
    Form,
    /// A message has a field of this number, of which the table tells nothing.
    Field(u64),
    /// A field is of another type than the table says, or is there twice.
    Type,
    /// A text, time, number or embedded JSON is none.
    Content,
}

/// What the bytes of a row are.
pub fn decode(bytes: &[u8]) -> Value {
    if let Some(message) = bytes.strip_prefix(PROTOBUF) {
        return protobuf(message).unwrap_or(Value::Bytes);
    }
    if let Some(rest) = bytes.strip_prefix(ENCRYPTED) {
        return encrypted(rest).unwrap_or(Value::Bytes);
    }
    match serde_json::from_slice(bytes) {
        Ok(object @ serde_json::Value::Object(_)) => Value::Object(object),
        _ => Value::Bytes,
    }
}

/// `PROVIDER:VERSION:KEY:` and what only the API server can read.
fn encrypted(rest: &[u8]) -> Option<Value> {
    let mut parts = rest.splitn(4, |byte| *byte == b':').map(|part| std::str::from_utf8(part).ok());
    let provider = parts.next().flatten().filter(|provider| !provider.is_empty())?.to_owned();
    let _version = parts.next()??;
    let key = parts.next().flatten().filter(|_| parts.next().is_some()).map(str::to_owned);
    Some(Value::Encrypted { provider, key })
}

/// A `runtime.Unknown`: the kind's name, and the object as bytes. None where it is no such message.
fn protobuf(message: &[u8]) -> Option<Value> {
    let (mut kind, mut raw) = (Kind::default(), None);
    for field in fields(message).ok()? {
        match field {
            (1, Field::Bytes(bytes)) => kind = Kind::of(bytes)?,
            (2, Field::Bytes(bytes)) => raw = Some(bytes),
            // Of encoding and type the API server writes only what is not protobuf in the clear.
            (3 | 4, Field::Bytes([])) => {}
            _ => return None,
        }
    }
    let raw = raw?;
    let shown = Table::get().kind(kind.api_version, kind.kind).map(|message| object::object(message, raw));
    Some(match shown {
        Some(Ok(mut object)) => {
            object.insert("apiVersion".into(), kind.api_version.into());
            object.insert("kind".into(), kind.kind.into());
            Value::Object(object.into())
        }
        None | Some(Err(_)) => Value::Unknown { api_version: kind.api_version.to_owned(), kind: kind.kind.to_owned() },
    })
}

/// `runtime.TypeMeta`.
#[derive(Default)]
struct Kind<'a> {
    api_version: &'a str,
    kind: &'a str,
}

impl<'a> Kind<'a> {
    fn of(message: &'a [u8]) -> Option<Self> {
        let mut kind = Self::default();
        for field in fields(message).ok()? {
            match field {
                (1, Field::Bytes(text)) => kind.api_version = std::str::from_utf8(text).ok()?,
                (2, Field::Bytes(text)) => kind.kind = std::str::from_utf8(text).ok()?,
                _ => return None,
            }
        }
        Some(kind)
    }
}

#[cfg(test)]
mod tests;

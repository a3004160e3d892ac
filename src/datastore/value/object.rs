//! A message as the JSON that Go writes of it.
//!
//! The API server's protobuf has every field that is no pointer, list or map, empty ones too. Where such a field is missing, the version that
//! wrote the object did not have it, and would not show it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::Unclear;
use super::special;
use super::table::{Member, Message, Table, Type};
use crate::cluster::kine::probe::frame::{Field, fields};

/// A field's value, and whether Go's `omitempty` and `omitzero` leave it out.
pub(super) struct Shown {
    pub(super) json: Value,
    pub(super) empty: bool,
    pub(super) zero: bool,
}

impl Shown {
    /// A nil pointer, list or map.
    pub(super) fn nil() -> Self {
        Self { json: Value::Null, empty: true, zero: true }
    }

    /// What is empty where it is zero.
    fn plain(json: Value, zero: bool) -> Self {
        Self { json, empty: zero, zero }
    }

    /// What is never empty, as all that is a struct in Go.
    pub(super) fn structure(json: Value, zero: bool) -> Self {
        Self { json, empty: false, zero }
    }
}

/// The object of a kind.
pub(super) fn object(message: &Message, bytes: &[u8]) -> Result<Map<String, Value>, Unclear> {
    members(message, bytes).map(|(object, _)| object)
}

/// The fields of a message, and whether all of them are zero.
fn members(message: &Message, bytes: &[u8]) -> Result<(Map<String, Value>, bool), Unclear> {
    let mut found: Vec<Vec<Field<'_>>> = message.fields.iter().map(|_| Vec::new()).collect();
    for (number, field) in fields(bytes).map_err(|_| Unclear::Form)? {
        let at = message.fields.iter().position(|member| member.number == number).ok_or(Unclear::Field(number))?;
        found[at].push(field);
    }
    let (mut object, mut zero) = (Map::new(), true);
    for (Member { name, omit_empty, omit_zero, of, .. }, found) in message.fields.iter().zip(&found) {
        let Some(shown) = value(of, found)? else { continue };
        zero &= shown.zero;
        match (name, shown.json) {
            (None, Value::Object(inline)) => object.extend(inline),
            (None, _) => return Err(Unclear::Type),
            (Some(_), _) if (*omit_empty && shown.empty) || (*omit_zero && shown.zero) => {}
            (Some(name), json) => drop(object.insert((*name).to_owned(), json)),
        }
    }
    Ok((object, zero))
}

/// A field of which all occurrences are given; none where it would be there, and is not.
fn value(of: &Type, found: &[Field<'_>]) -> Result<Option<Shown>, Unclear> {
    let shown = match (of, found) {
        (Type::Pointer(_) | Type::List(_) | Type::Map(_) | Type::Bytes | Type::Texts, []) => Shown::nil(),
        (Type::List(of), _) => list(of, found)?,
        (Type::Map(of), _) => map(of, found)?,
        (Type::Pointer(of), [field]) => Shown { empty: false, zero: false, ..single(of, field)? },
        (_, [field]) => single(of, field)?,
        (_, []) => return Ok(None),
        _ => return Err(Unclear::Type),
    };
    Ok(Some(shown))
}

fn list(of: &Type, found: &[Field<'_>]) -> Result<Shown, Unclear> {
    let items = found.iter().map(|field| single(of, field).map(|shown| shown.json));
    Ok(Shown { json: items.collect::<Result<_, _>>()?, empty: false, zero: false })
}

/// Each entry is a message: 1 is the key, 2 the value.
fn map(of: &Type, found: &[Field<'_>]) -> Result<Shown, Unclear> {
    let mut entries = Map::new();
    for entry in found {
        let Field::Bytes(entry) = entry else { return Err(Unclear::Type) };
        // Go leaves a nil value out, and reads that as an empty one: a Secret's `key: null` becomes `key: ""`.
        let (mut key, mut held) = (String::new(), Field::Bytes(&[]));
        for field in fields(entry).map_err(|_| Unclear::Form)? {
            match field {
                (1, Field::Bytes(bytes)) => key = text(bytes)?.to_owned(),
                (2, field) => held = field,
                (number, _) => return Err(Unclear::Field(number)),
            }
        }
        if entries.insert(key, single(of, &held)?.json).is_some() {
            return Err(Unclear::Type);
        }
    }
    Ok(Shown { json: entries.into(), empty: false, zero: false })
}

/// One occurrence of a field.
fn single(of: &Type, field: &Field<'_>) -> Result<Shown, Unclear> {
    let number = || match field {
        Field::Number(number) => Ok(*number),
        Field::Bytes(_) => Err(Unclear::Type),
    };
    let bytes = || match field {
        Field::Number(_) => Err(Unclear::Type),
        Field::Bytes(bytes) => Ok(*bytes),
    };
    Ok(match of {
        Type::Text => {
            let text = text(bytes()?)?;
            Shown::plain(text.into(), text.is_empty())
        }
        Type::Bool => match number()? {
            held @ (0 | 1) => Shown::plain((held == 1).into(), held == 0),
            _ => return Err(Unclear::Content),
        },
        Type::Int32 => {
            let held = int32(number()?)?;
            Shown::plain(held.into(), held == 0)
        }
        Type::Int64 => {
            let held = number()?.cast_signed();
            Shown::plain(held.into(), held == 0)
        }
        Type::Bytes => {
            let held = bytes()?;
            Shown { json: STANDARD.encode(held).into(), empty: held.is_empty(), zero: false }
        }
        Type::Texts => {
            let mut items = Vec::new();
            for field in fields(bytes()?).map_err(|_| Unclear::Form)? {
                match field {
                    (1, Field::Bytes(bytes)) => items.push(text(bytes)?),
                    (number, _) => return Err(Unclear::Field(number)),
                }
            }
            Shown { json: json!(items), empty: items.is_empty(), zero: false }
        }
        Type::Special(kind) => special::shown(*kind, bytes()?)?,
        Type::Message(at) => {
            let message = Table::get().message(*at).ok_or(Unclear::Type)?;
            let (object, zero) = members(message, bytes()?)?;
            Shown::structure(object.into(), zero)
        }
        Type::Pointer(_) | Type::List(_) | Type::Map(_) => return Err(Unclear::Type),
    })
}

/// Text, as Go takes it from the wire and JSON can hold it.
pub(super) fn text(bytes: &[u8]) -> Result<&str, Unclear> {
    std::str::from_utf8(bytes).map_err(|_| Unclear::Content)
}

/// Negative numbers have 64 bits on the wire.
pub(super) fn int32(number: u64) -> Result<i32, Unclear> {
    i32::try_from(number.cast_signed()).map_err(|_| Unclear::Content)
}

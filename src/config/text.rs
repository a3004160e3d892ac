//! Types that are one text in cluster.yaml: read by `FromStr`, written by `Display`.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{self, Visitor};

/// Makes a type with `FromStr` and `Display` a text for serde and the JSON Schema: what is expected where something else stands, and the
/// schema's `format` and, where there is one, `pattern`.
macro_rules! text {
    ($type:ident, $expected:literal, $($key:literal: $value:literal),+) => {
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str($crate::config::text::Parsed::expecting($expected))
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", $($key: $value),+ })
            }
        }
    };
}
pub(super) use text;

/// Reads a string through `FromStr` inside the visitor, so that a YAML error keeps the value's line and column.
pub(super) struct Parsed<T>(PhantomData<T>, &'static str);

impl<T> Parsed<T> {
    /// `what` is said where there is no string.
    pub(super) fn expecting(what: &'static str) -> Self {
        Self(PhantomData, what)
    }
}

impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for Parsed<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.1)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

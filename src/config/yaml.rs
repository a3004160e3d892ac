//! The one place that knows serde-saphyr: YAML that people write as a tree with places, and values as YAML that Go reads unchanged.

use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::Serialize;
use serde_saphyr::{DuplicateKeyPolicy, MergeKeyPolicy};
use serde_saphyr::{Error, Location, Options, Spanned};

use super::diagnostic::{self, Problem};
use super::path::{Path, Step};

/// A value and where it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Bytes in the text; empty for blocks, which have no first character of their own, and for values that do not come from a text.
    pub span: Range<usize>,
}

/// A YAML value; scalars follow YAML 1.2, so `yes` and `off` are text.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(serde_json::Number),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order of the text.
    Map(Vec<(Key, Node)>),
}

/// The key of a mapping and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The key.
    pub text: String,
    /// Bytes in the text.
    pub span: Range<usize>,
}

/// Reads one document. The error is every repeated key, or the first thing that is not YAML.
pub fn parse(text: &str) -> Result<Node, Vec<Problem>> {
    let node: Node =
        serde_saphyr::from_str_with_options(text, strict()).map_err(|error| vec![problem(text, &error)])?;
    let mut repeated = Vec::new();
    find_repeated(&node, &Path::default(), &mut repeated);
    if repeated.is_empty() { Ok(node) } else { Err(repeated) }
}

/// Reads a document of Kubernetes' own, such as a kubeconfig, as Go's YAML does: `yes` is a boolean, `010` is 8.
/// The error has a line and column but no text, since such documents hold keys.
pub fn from_go<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let options = serde_saphyr::options! { with_snippet: false, legacy_octal_numbers: true };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| error.to_string())
}

/// Writes YAML that Go reads with the same types: texts such as `yes` or `1_000` are quoted.
pub fn to_string(value: &impl Serialize) -> Result<String, String> {
    let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
    serde_saphyr::to_string_with_options(value, options).map_err(|error| error.to_string())
}

fn strict() -> Options {
    serde_saphyr::options! {
        strict_booleans: true,
        with_snippet: false,
        // Repeated keys are reported here, all at once.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        // Merged keys have no place of their own, and not every reader of YAML 1.2 knows them.
        merge_keys: MergeKeyPolicy::Error,
        budget: serde_saphyr::budget! {
            max_events: 50_000,
            max_aliases: 100,
            max_anchors: 100,
            max_depth: 32,
            max_documents: 2,
        },
    }
}

impl Node {
    /// The value of a field, if this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<(&Key, &Self)> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|(candidate, _)| candidate.text == key).map(|(k, v)| (k, v)),
            _ => None,
        }
    }

    /// Where to point for a path: the value, or the nearest field around it that the text has; and whether it is the value.
    pub fn locate(&self, path: &Path) -> (Range<usize>, bool) {
        let (mut node, mut near) = (self, self.point_at(None));
        for step in path.steps() {
            let next = match (step, &node.value) {
                (Step::Index(index), Value::List(items)) => items.get(*index).map(|item| (None, item)),
                (Step::Key(key), _) => node.get(key).map(|(key, value)| (Some(key), value)),
                (Step::Index(_), _) => None,
            };
            let Some((key, value)) = next else { return (near, false) };
            near = value.point_at(key);
            node = value;
        }
        (near, true)
    }

    /// Where to point for this value: itself where it is a scalar, else its key or first field.
    pub fn point_at(&self, key: Option<&Key>) -> Range<usize> {
        match (&self.value, key) {
            (Value::List(_) | Value::Map(_), Some(key)) => key.span.clone(),
            (Value::Map(entries), None) => entries.first().map_or(self.span.clone(), |(first, _)| first.span.clone()),
            (_, Some(key)) if self.span.is_empty() => key.span.clone(),
            _ => self.span.clone(),
        }
    }

    /// The value without places.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Number(number) => number.clone().into(),
            Value::Text(text) => text.as_str().into(),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(entries) => entries.iter().map(|(key, value)| (key.text.clone(), value.to_json())).collect(),
        }
    }
}

impl From<&serde_json::Value> for Node {
    fn from(value: &serde_json::Value) -> Self {
        let nowhere = 0..0;
        let value = match value {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(value) => Value::Bool(*value),
            serde_json::Value::Number(number) => Value::Number(number.clone()),
            serde_json::Value::String(text) => Value::Text(text.clone()),
            serde_json::Value::Array(items) => Value::List(items.iter().map(Self::from).collect()),
            serde_json::Value::Object(fields) => Value::Map(
                fields
                    .iter()
                    .map(|(key, value)| (Key { text: key.clone(), span: nowhere.clone() }, Self::from(value)))
                    .collect(),
            ),
        };
        Self { value, span: nowhere }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self { value: spanned.value, span: bytes(spanned.referenced) })
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<String>::deserialize(deserializer)?;
        Ok(Self { text: spanned.value, span: bytes(spanned.referenced) })
    }
}

/// The bytes of a location; the parser knows them for every node of a text.
fn bytes(location: Location) -> Range<usize> {
    let byte = |value: Option<u64>| value.and_then(|value| usize::try_from(value).ok()).unwrap_or_default();
    let start = byte(location.span().byte_offset());
    start..start + byte(location.span().byte_len())
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        serde_json::Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = fields.next_entry()? {
            map.push(entry);
        }
        Ok(Value::Map(map))
    }
}

fn find_repeated(node: &Node, path: &Path, found: &mut Vec<Problem>) {
    match &node.value {
        Value::List(items) => {
            items.iter().enumerate().for_each(|(index, item)| find_repeated(item, &path.index(index), found));
        }
        Value::Map(entries) => {
            for (position, (key, value)) in entries.iter().enumerate() {
                let path = path.key(&key.text);
                if let Some((first, _)) = entries[..position].iter().find(|(first, _)| first.text == key.text) {
                    let mut problem =
                        Problem::new(path.clone(), Some(key.span.clone()), format!("`{path}` is given twice"))
                            .help("keep one of the two");
                    problem.related = Some((first.span.clone(), "first here".into()));
                    found.push(problem);
                }
                find_repeated(value, &path, found);
            }
        }
        _ => {}
    }
}

/// The parser's own error in our words, where ours are clearer.
fn problem(text: &str, error: &Error) -> Problem {
    let (message, help) = match error {
        Error::MultipleDocuments { .. } => {
            ("a second document begins here".into(), Some("one file describes one cluster: put the other into its own"))
        }
        Error::MergeKeyNotAllowed { .. } => {
            ("`<<` is not supported".into(), Some("write the fields out where they belong"))
        }
        Error::Budget { .. } => {
            ("the document is too large, or nested too deep".into(), Some("a cluster.yaml is a few hundred lines"))
        }
        Error::Unexpected { expected: "string scalar", .. } | Error::NullIntoString { .. } => {
            ("a key must be text".into(), Some("a value that starts with `{` or `[` needs quotes to be text"))
        }
        _ => explain(&error.without_snippet().to_string()),
    };
    let span = error.location().map(|location| {
        let known = bytes(location);
        let at = |value: u64| usize::try_from(value).unwrap_or_default();
        let start = diagnostic::offset(text, at(location.line()), at(location.column()));
        if known.is_empty() { start..start } else { known }
    });
    Problem { help: help.map(Into::into), ..Problem::new(Path::default(), span, message) }
}

/// A scanner's message without its position, and what usually causes it.
fn explain(message: &str) -> (String, Option<&'static str>) {
    let plain = message.rsplit_once(" at line ").map_or(message, |(plain, _)| plain);
    let help = match plain {
        _ if plain.starts_with("tabs disallowed") => {
            return ("a tab cannot indent YAML".into(), Some("use spaces"));
        }
        _ if plain.starts_with("mapping values are not allowed") => Some("a text with `: ` in it needs quotes"),
        _ if plain.starts_with("while parsing a block mapping") => {
            Some("fields of one mapping start in the same column")
        }
        _ if plain.starts_with("alias") => Some("a text that starts with `*` needs quotes"),
        _ if plain.starts_with("unclosed") => Some("every bracket and quote needs its partner"),
        _ if plain.starts_with("unexpected character") => Some("a text that starts with such a character needs quotes"),
        _ => Some("look at this line and the one above it"),
    };
    (format!("not YAML: {plain}"), help)
}

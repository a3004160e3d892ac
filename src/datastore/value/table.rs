//! `kinds.txt` and `older.txt` in memory: which fields a kind has. Read once, at the first object.

use std::collections::HashMap;
use std::sync::OnceLock;

/// What the newest Kubernetes stores, and what older ones have stored beside that. The first one's head says how they are written.
pub(super) const TEXTS: [&str; 2] = [include_str!("kinds.txt"), include_str!("older.txt")];

/// All kinds and the types within them.
#[derive(Debug, Default)]
pub(super) struct Table {
    kinds: HashMap<(&'static str, &'static str), usize>,
    messages: Vec<Message>,
}

/// What a message consists of.
#[derive(Debug, Default)]
pub(super) struct Message {
    pub(super) fields: Vec<Member>,
}

/// A field of a message, and how Go writes it as JSON.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) number: u64,
    /// None where its own fields are written into the object around it.
    pub(super) name: Option<&'static str>,
    /// Left out where it is false, 0, absent or without entries.
    pub(super) omit_empty: bool,
    /// Left out where all within it is so.
    pub(super) omit_zero: bool,
    pub(super) of: Type,
}

/// The type of a field.
#[derive(Debug, Clone)]
pub(super) enum Type {
    Text,
    Bool,
    Int32,
    Int64,
    Bytes,
    /// A list of texts that is a message by itself, so that it can be a value of a map.
    Texts,
    Special(Special),
    /// The message at this place in the table.
    Message(usize),
    /// Absent or there.
    Pointer(Box<Self>),
    List(Box<Self>),
    Map(Box<Self>),
}

/// Messages whose JSON is not an object of their fields.
#[derive(Debug, Clone, Copy)]
pub(super) enum Special {
    Time,
    MicroTime,
    Duration,
    Quantity,
    IntOrString,
    /// A message whose only field is JSON: `RawExtension`, `FieldsV1`.
    Json,
}

impl Table {
    /// The table.
    pub(super) fn get() -> &'static Self {
        static TABLE: OnceLock<Table> = OnceLock::new();
        // A unit test reads it, too: there is no binary whose table cannot be read.
        TABLE.get_or_init(|| Self::read(&TEXTS).unwrap_or_default())
    }

    /// The message of a kind that is stored.
    pub(super) fn kind(&self, api_version: &str, kind: &str) -> Option<&Message> {
        self.messages.get(*self.kinds.get(&(api_version, kind))?)
    }

    /// The message that a type names.
    pub(super) fn message(&self, at: usize) -> Option<&Message> {
        self.messages.get(at)
    }

    /// None where a line does not follow the grammar, or names a type that is not there.
    pub(super) fn read(texts: &[&'static str]) -> Option<Self> {
        let mut table = Self::default();
        let lines =
            || texts.iter().flat_map(|text| text.lines()).filter(|line| !line.is_empty() && !line.starts_with('#'));
        // By package and name, since a type may stand before those that it consists of, and again with more fields.
        let (mut places, mut package, mut api_version) = (HashMap::new(), "", "");
        for line in lines() {
            if let Some((name, of)) = section(line) {
                (package, api_version) = (name, of);
            } else if let Some((word, name)) = named(line) {
                let next = places.len();
                let place = *places.entry((package, name)).or_insert(next);
                if word == "kind" {
                    table.kinds.insert((api_version, name), place);
                }
            }
        }
        table.messages.resize_with(places.len(), Message::default);
        let mut place = None;
        for line in lines() {
            if let Some((name, _)) = section(line) {
                package = name;
            } else if let Some((_, name)) = named(line) {
                place = places.get(&(package, name)).copied();
            } else {
                let member = Member::read(line.strip_prefix(' ')?, |name| {
                    places.get(&name.split_once('.').unwrap_or((package, name))).copied()
                })?;
                table.messages.get_mut(place?)?.fields.push(member);
            }
        }
        Some(table)
    }
}

/// `[PACKAGE]`, and the apiVersion of its kinds.
fn section(line: &'static str) -> Option<(&'static str, &'static str)> {
    let (name, api_version) = line.strip_prefix('[')?.split_once(']')?;
    Some((name, api_version.trim_start()))
}

/// `kind NAME` or `type NAME`.
fn named(line: &'static str) -> Option<(&'static str, &'static str)> {
    line.split_once(' ').filter(|(word, _)| matches!(*word, "kind" | "type"))
}

impl Member {
    /// `NUMBER NAME[?][!] TYPE`.
    fn read(line: &'static str, place: impl Fn(&'static str) -> Option<usize>) -> Option<Self> {
        let (number, rest) = line.split_once(' ')?;
        let (name, of) = rest.split_once(' ')?;
        let bare = name.trim_end_matches(['?', '!']);
        let marks = name.get(bare.len()..)?;
        Some(Self {
            number: number.parse().ok()?,
            name: Some(bare).filter(|name| *name != "."),
            omit_empty: marks.contains('?'),
            omit_zero: marks.contains('!'),
            of: Type::read(of, &place)?,
        })
    }
}

impl Type {
    fn read(text: &'static str, place: &impl Fn(&'static str) -> Option<usize>) -> Option<Self> {
        let of = |text| Self::read(text, place).map(Box::new);
        if let Some(text) = text.strip_prefix('*') {
            return of(text).map(Self::Pointer);
        }
        if let Some(text) = text.strip_prefix("[]") {
            return of(text).map(Self::List);
        }
        if let Some(text) = text.strip_prefix("map[") {
            return of(text.strip_suffix(']')?).map(Self::Map);
        }
        Some(match text {
            "string" => Self::Text,
            "bool" => Self::Bool,
            "int32" => Self::Int32,
            "int64" => Self::Int64,
            "bytes" => Self::Bytes,
            "strings" => Self::Texts,
            "time" => Self::Special(Special::Time),
            "microtime" => Self::Special(Special::MicroTime),
            "duration" => Self::Special(Special::Duration),
            "quantity" => Self::Special(Special::Quantity),
            "intorstring" => Self::Special(Special::IntOrString),
            "raw" | "fields" => Self::Special(Special::Json),
            name => Self::Message(place(name)?),
        })
    }
}

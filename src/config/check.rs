//! Holds a tree against a JSON Schema and reports every unknown, missing and wrong field with its place and what to write instead.
//!
//! It knows the keywords that schemars emits for our types; a test fails when a type brings a new one.

use serde_json::Value as Json;

use super::diagnostic::Problem;
use super::formats::FORMATS;
use super::path::Path;
use super::suggest::{any_of, closest};
use super::yaml::{Key, Node, Value};

/// Every way in which `node` does not fit `schema`. `text` is what the node was read from; empty for values without a text.
pub(super) fn check(schema: &Json, text: &str, node: &Node) -> Vec<Problem> {
    let mut checker = Checker { root: schema, text, problems: Vec::new() };
    checker.value(schema, At { node, key: None, path: Path::default() });
    checker.problems
}

/// Follows `$ref`, and takes the one alternative of an optional field that is not `null`.
pub(super) fn resolve<'a>(root: &'a Json, schema: &'a Json) -> &'a Json {
    let target = schema["$ref"].as_str().and_then(|reference| root.pointer(reference.strip_prefix('#')?));
    let optional = schema["anyOf"].as_array().and_then(|alternatives| {
        let mut real = alternatives.iter().filter(|alternative| alternative["type"] != "null");
        real.next().filter(|_| real.next().is_none())
    });
    match target.or(optional) {
        Some(next) => resolve(root, next),
        None => schema,
    }
}

/// The choices of an enum whose variants are `{ NAME: SETTINGS }`: name and schema of the settings.
pub(super) fn tagged(schema: &Json) -> Option<Vec<(&str, &Json)>> {
    let variant = |alternative: &'_ Json| alternative["type"] == "object";
    let alternatives = schema["oneOf"].as_array().filter(|alternatives| alternatives.iter().all(variant))?;
    let fields = alternatives.iter().filter_map(|alternative| alternative["properties"].as_object());
    Some(fields.flatten().map(|(name, schema)| (name.as_str(), schema)).collect())
}

fn words(schema: &Json) -> Option<Vec<&str>> {
    schema["oneOf"].as_array()?.iter().map(|alternative| alternative["const"].as_str()).collect()
}

fn allows(schema: &Json, kind: &str) -> bool {
    match &schema["type"] {
        Json::Array(kinds) => kinds.iter().any(|candidate| candidate == kind),
        only => only == kind,
    }
}

struct Checker<'a> {
    root: &'a Json,
    text: &'a str,
    problems: Vec<Problem>,
}

/// The value that is being looked at.
struct At<'a> {
    node: &'a Node,
    key: Option<&'a Key>,
    path: Path,
}

impl At<'_> {
    fn problem(&self, message: String) -> Problem {
        Problem::new(self.path.clone(), Some(self.node.point_at(self.key)), message)
    }

    /// `` `spec.hosts` ``, or the document.
    fn subject(&self) -> String {
        if self.path.is_root() { "the document".into() } else { format!("`{}`", self.path) }
    }
}

impl<'a> Checker<'a> {
    fn value(&mut self, schema: &'a Json, at: At<'_>) {
        let nullable = allows(schema, "null")
            || schema["anyOf"].as_array().is_some_and(|options| options.iter().any(|option| allows(option, "null")));
        if nullable && at.node.value == Value::Null {
            return;
        }
        let schema = resolve(self.root, schema);
        if let Some(choices) = tagged(schema) {
            self.choice(&choices, &at);
        } else if let Some(words) = words(schema) {
            self.word(&words, &at);
        } else if allows(schema, "object") {
            self.object(schema, &at);
        } else if allows(schema, "array") {
            self.list(schema, &at);
        } else if allows(schema, "string") {
            self.string(schema, &at);
        } else if allows(schema, "boolean") {
            self.boolean(&at);
        } else if allows(schema, "integer") {
            self.integer(schema, &at);
        }
    }

    fn object(&mut self, schema: &'a Json, at: &At<'_>) {
        let Value::Map(entries) = &at.node.value else {
            let help = match at.node.value {
                _ if at.path.is_root() => "begin with `apiVersion: etcdless.dev/v1alpha1`",
                Value::Null => "remove it, or indent its fields below it",
                _ => "write `FIELD: VALUE` lines, indented below it",
            };
            return self.wrong(at, "a mapping", Some(help.into()));
        };
        let known = schema["properties"].as_object();
        let mut meant = Vec::new();
        for (key, node) in entries {
            let field = known.and_then(|known| known.get(&key.text));
            let other = Some(&schema["additionalProperties"]).filter(|other| **other != false);
            match field.or(other) {
                Some(schema) => self.value(schema, At { node, key: Some(key), path: at.path.key(&key.text) }),
                None => meant.extend(self.unknown_field(schema, at, key)),
            }
        }
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str) {
            if at.node.get(name).is_none() && !meant.contains(&name) {
                self.missing(schema, at, name);
            }
        }
    }

    /// Reports a field that does not exist, and says which one was meant if that is clear.
    fn unknown_field(&mut self, schema: &'a Json, at: &At<'_>, key: &Key) -> Option<&'a str> {
        let known: Vec<&str> =
            schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        let place = if at.path.is_root() { "at the top".into() } else { format!("in `{}`", at.path) };
        let near = closest(&key.text, known.iter().copied());
        let elsewhere = || self.find_field(self.root, &Path::default(), &key.text);
        let help = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => match elsewhere() {
                Some(path) => format!("`{path}` is the place for it"),
                None if known.is_empty() => "it takes no fields: write `{}`".into(),
                None => format!("known here: {}", any_of(known)),
            },
        };
        let message = format!("unknown field `{}` {place}", key.text);
        let problem = Problem::new(at.path.key(&key.text), Some(key.span.clone()), message);
        self.problems.push(problem.help(help));
        near
    }

    /// The path of a field of this name anywhere in the schema, lists left out.
    fn find_field(&self, schema: &Json, path: &Path, name: &str) -> Option<Path> {
        let fields = resolve(self.root, schema)["properties"].as_object()?;
        let here = fields.keys().find(|field| *field == name).map(|field| path.key(field));
        here.or_else(|| fields.iter().find_map(|(field, schema)| self.find_field(schema, &path.key(field), name)))
    }

    fn missing(&mut self, schema: &'a Json, at: &At<'_>, name: &str) {
        let field = resolve(self.root, &schema["properties"][name]);
        let help = match words(field).as_deref() {
            Some([only]) => format!("add `{name}: {only}`"),
            _ => match schema["properties"][name]["description"].as_str() {
                Some(description) => format!("add `{name}`: {description}"),
                None => format!("add `{name}`"),
            },
        };
        let place = if at.path.is_root() { String::new() } else { format!(" in `{}`", at.path) };
        self.problems.push(at.problem(format!("field `{name}` is missing{place}")).help(help));
    }

    /// An enum written as `{ NAME: SETTINGS }`.
    fn choice(&mut self, choices: &[(&'a str, &'a Json)], at: &At<'_>) {
        let names = || choices.iter().map(|(name, _)| *name);
        match &at.node.value {
            Value::Map(entries) if entries.len() == 1 => {
                let (key, node) = &entries[0];
                match choices.iter().find(|(name, _)| *name == key.text) {
                    Some((name, schema)) => self.value(schema, At { node, key: Some(key), path: at.path.key(name) }),
                    None => {
                        let help = match closest(&key.text, names()) {
                            Some(near) => format!("did you mean `{near}`?"),
                            None => format!("this version knows {}", any_of(names())),
                        };
                        let message = format!("unknown choice `{}` for {}", key.text, at.subject());
                        let problem = Problem::new(at.path.key(&key.text), Some(key.span.clone()), message);
                        self.problems.push(problem.help(help));
                    }
                }
            }
            Value::Map(entries) => {
                let message = format!("{} takes one choice, found {}", at.subject(), entries.len());
                self.problems.push(at.problem(message).help(format!("write one of {}", any_of(names()))));
            }
            Value::Text(text) if choices.iter().any(|(name, _)| name == text) => {
                let settings = choices.iter().find(|(name, _)| name == text).map(|(_, schema)| *schema);
                let example = settings.is_some_and(|schema| allows(resolve(self.root, schema), "string"));
                let message = format!("{} takes a mapping, found the text `{text}`", at.subject());
                let help = format!("write `{{ {text}: {} }}`", if example { "PATH" } else { "{}" });
                self.problems.push(at.problem(message).help(help));
            }
            _ => self.wrong(at, "a mapping with one choice", Some(format!("this version knows {}", any_of(names())))),
        }
    }

    fn word(&mut self, words: &[&str], at: &At<'_>) {
        let known = || words.iter().copied();
        match &at.node.value {
            Value::Text(text) if words.contains(&text.as_str()) => {}
            Value::Text(text) => {
                let help = match closest(text, known()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("write {}", any_of(known())),
                };
                self.problems.push(at.problem(format!("{} cannot be `{text}`", at.subject())).help(help));
            }
            _ => self.wrong(at, &any_of(known()), None),
        }
    }

    fn list(&mut self, schema: &'a Json, at: &At<'_>) {
        let Value::List(items) = &at.node.value else {
            return self.wrong(at, "a list", Some("start each item with `- `".into()));
        };
        for (index, node) in items.iter().enumerate() {
            self.value(&schema["items"], At { node, key: None, path: at.path.index(index) });
        }
    }

    fn string(&mut self, schema: &Json, at: &At<'_>) {
        let format = FORMATS.iter().find(|format| schema["format"] == format.name);
        let accepts = |text: &str| format.is_none_or(|format| (format.accepts)(text));
        let advice = |text: &str| format.map(|format| (format.advice)(text));
        let help = match &at.node.value {
            Value::Text(text) if accepts(text) => return,
            Value::Text(text) => advice(text),
            Value::Number(_) | Value::Bool(_) => {
                let quoted = self.written(at.node);
                if accepts(&quoted) { Some(format!("quote it: \"{quoted}\"")) } else { advice(&quoted) }
            }
            Value::List(_) | Value::Map(_) => Some("quote it, or write it as a block of text after `|`".into()),
            Value::Null => None,
        };
        self.wrong(at, format.map_or("text", |format| format.noun), help);
    }

    fn boolean(&mut self, at: &At<'_>) {
        let help = match &at.node.value {
            Value::Bool(_) => return,
            Value::Text(text) => match text.to_lowercase().as_str() {
                "yes" | "y" | "on" | "true" => Some("write `true`".into()),
                "no" | "n" | "off" | "false" => Some("write `false`".into()),
                _ => None,
            },
            _ => None,
        };
        self.wrong(at, "`true` or `false`", help);
    }

    fn integer(&mut self, schema: &Json, at: &At<'_>) {
        let (low, high) = (schema["minimum"].as_i64(), schema["maximum"].as_i64());
        let range = match (low, high) {
            (Some(low), Some(high)) => format!("a whole number from {low} to {high}"),
            _ => "a whole number".into(),
        };
        let fits = |number: i64| low.is_none_or(|low| number >= low) && high.is_none_or(|high| number <= high);
        match &at.node.value {
            Value::Number(number) if number.as_i64().is_some_and(fits) => {}
            Value::Text(text) if text.parse().is_ok_and(fits) => {
                self.wrong(at, &range, Some(format!("write {text} without quotes")));
            }
            _ => self.wrong(at, &range, None),
        }
    }

    fn wrong(&mut self, at: &At<'_>, expected: &str, help: Option<String>) {
        let found = match &at.node.value {
            Value::Null => "nothing".into(),
            Value::Bool(_) => format!("the boolean `{}`", self.written(at.node)),
            Value::Number(_) => format!("the number `{}`", self.written(at.node)),
            Value::Text(text) => format!("the text `{}`", text.lines().next().unwrap_or_default()),
            Value::List(_) => "a list".into(),
            Value::Map(_) => "a mapping".into(),
        };
        let help = help.unwrap_or_else(|| match at.node.value {
            Value::Null => "remove it, or give it a value".into(),
            _ => format!("write {expected}"),
        });
        self.problems.push(at.problem(format!("{} takes {expected}, found {found}", at.subject())).help(help));
    }

    /// A scalar as it was written: `017`, not the number that it stands for.
    fn written(&self, node: &Node) -> String {
        match self.text.get(node.span.clone()) {
            Some(text) if !text.is_empty() => text.to_owned(),
            _ => node.to_json().to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema;

    /// Keywords that `Checker` acts on, and those that only describe.
    const KEYWORDS: &[&str] = &[
        "$ref",
        "additionalProperties",
        "anyOf",
        "const",
        "format",
        "items",
        "maximum",
        "minimum",
        "oneOf",
        "properties",
        "required",
        "type",
        "$defs",
        "$id",
        "$schema",
        "default",
        "description",
        "title",
        // Stands beside a `format` that checks more.
        "pattern",
    ];

    fn walk(schema: &Json, visit: &mut impl FnMut(&str, &Json)) {
        for (keyword, value) in schema.as_object().into_iter().flatten() {
            visit(keyword, value);
            match keyword.as_str() {
                "properties" | "$defs" => value.as_object().into_iter().flatten().for_each(|(_, s)| walk(s, visit)),
                "oneOf" | "anyOf" => value.as_array().into_iter().flatten().for_each(|s| walk(s, visit)),
                "items" | "additionalProperties" => walk(value, visit),
                _ => {}
            }
        }
    }

    #[test]
    fn every_keyword_and_format_of_the_schema_is_known() {
        walk(schema::value(), &mut |keyword, value| {
            assert!(KEYWORDS.contains(&keyword), "{keyword} is not checked");
            if keyword == "format" && value != "uint16" {
                assert!(FORMATS.iter().any(|format| value == format.name), "format {value} is not checked");
            }
        });
    }

    #[test]
    fn every_default_of_the_schema_fits_it() {
        let root = schema::value();
        let mut seen = 0;
        walk(root, &mut |keyword, value| {
            if keyword == "properties" {
                for (name, field) in value.as_object().into_iter().flatten().filter(|(_, f)| !f["default"].is_null()) {
                    let mut checker = Checker { root, text: "", problems: Vec::new() };
                    let node = Node::from(&field["default"]);
                    checker.value(field, At { node: &node, key: None, path: Path::default().key(name) });
                    assert_eq!(checker.problems, [], "{name}");
                    seen += 1;
                }
            }
        });
        assert!(seen > 10, "{seen} defaults were checked");
    }
}

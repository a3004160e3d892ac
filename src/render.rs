//! Templates with typed values. No value can break out of its place: where a template makes YAML, TOML or JSON every value is written
//! as a JSON scalar or list; anywhere else a value must be plain text without quotes, control characters or anything systemd expands.

use minijinja::value::{Serde, Value, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior, escape_formatter};
use serde::Serialize;

use crate::assets::Assets;
use crate::failure::{Failure, Kind};

/// Renders `templates/NAME` with a typed context. A variable that the context lacks is an error that names file and line.
///
/// In `*.yaml.j2`, `*.toml.j2` and `*.json.j2` a value is a whole scalar: write `{{ host ~ ":" ~ port }}`, not `{{ host }}:{{ port }}`.
pub fn render(assets: &Assets, name: &str, context: &impl Serialize) -> Result<String, Failure> {
    let path = format!("templates/{name}");
    let source = assets.text(&path)?;
    let rendered = environment()?.render_named_str(&path, &source, Serde(context));
    rendered.map_err(|error| failure(&assets.describe(&path), &source, &error))
}

/// Renders a string of a playbook, whose values must be plain text. `place` is what messages call it.
pub fn render_plain(place: &str, source: &str, context: &impl Serialize) -> Result<String, Failure> {
    let rendered = environment()?.render_named_str("plain", source, Serde(context));
    rendered.map_err(|error| failure(place, source, &error))
}

/// The variables that a template asks its context for, sorted; those of nested maps as `node.name`.
pub fn variables(assets: &Assets, name: &str) -> Result<Vec<String>, Failure> {
    let path = format!("templates/{name}");
    let source = assets.text(&path)?;
    let environment = environment()?;
    let template = environment.template_from_named_str(&path, &source);
    let template = template.map_err(|error| failure(&assets.describe(&path), &source, &error))?;
    let mut names: Vec<String> = template.undeclared_variables(true).into_iter().collect();
    names.sort();
    Ok(names)
}

fn environment<'source>() -> Result<Environment<'source>, Failure> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // In debug mode an error carries the values of the template's variables, which may be secrets.
    environment.set_debug(false);
    environment.set_auto_escape_callback(|name| if is_data(name) { AutoEscape::Json } else { AutoEscape::None });
    environment.set_formatter(write_value);
    environment.remove_filter("safe");
    let syntax = minijinja::syntax::SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .keep_trailing_newline(true)
        .build()
        .map_err(|error| Failure::new(Kind::Internal, format!("the template syntax was refused: {error}")))?;
    environment.set_syntax(syntax);
    Ok(environment)
}

/// Whether a template makes a document in which a JSON scalar is a scalar.
fn is_data(name: &str) -> bool {
    [".yaml.j2", ".yml.j2", ".toml.j2", ".json.j2"].iter().any(|end| name.ends_with(end))
}

fn write_value(output: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    match state.auto_escape() {
        AutoEscape::Json if state.name().ends_with(".toml.j2") && !is_toml(value) => {
            Err(refused(format!("TOML cannot hold {} here", value.kind())))
        }
        AutoEscape::Json => escape_formatter(output, state, value),
        _ => write_plain(output, value),
    }
}

/// TOML reads JSON's scalars and lists, but has no null and writes maps otherwise.
fn is_toml(value: &Value) -> bool {
    !matches!(value.kind(), ValueKind::None | ValueKind::Map)
}

fn write_plain(output: &mut Output<'_>, value: &Value) -> Result<(), Error> {
    let text = match value.kind() {
        ValueKind::String => value.as_str().unwrap_or_default().to_owned(),
        // Python's `True` means nothing to the programs that read these files.
        ValueKind::Bool => value.is_true().to_string(),
        ValueKind::Number => value.to_string(),
        kind => return Err(refused(format!("a value of kind {kind} is no plain text"))),
    };
    match text.chars().find(|letter| !is_plain(*letter)) {
        // The value itself is not shown: it may be a secret.
        Some(letter) => {
            Err(refused(format!("a value holds the character {letter:?}, which could change what surrounds it")))
        }
        None => output.write_str(&text).map_err(Error::from),
    }
}

/// Quotes, backslashes, `$` and `%` mean something to systemd and to most configuration files; so do line breaks of any script.
fn is_plain(letter: char) -> bool {
    !letter.is_control() && !matches!(letter, '"' | '\'' | '`' | '\\' | '$' | '%' | '\u{2028}' | '\u{2029}')
}

fn refused(detail: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, detail)
}

fn failure(place: &str, source: &str, error: &Error) -> Failure {
    let cause = match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    };
    let Some(number) = error.line() else {
        return Failure::new(Kind::Config, format!("{place}: {cause}"));
    };
    let failure = Failure::new(Kind::Config, format!("{place}, line {number}: {cause}"));
    match source.lines().nth(number - 1) {
        Some(line) => failure.detail(format!("{number:>4} | {line}")),
        None => failure,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use super::*;

    fn rendered(name: &str, source: &str, context: &impl Serialize) -> Result<String, String> {
        let rendered = environment().unwrap().render_named_str(name, source, Serde(context));
        rendered.map_err(|error| failure(name, source, &error).message)
    }

    fn with(value: impl Into<serde_json::Value>) -> BTreeMap<&'static str, serde_json::Value> {
        BTreeMap::from([("x", value.into())])
    }

    #[test]
    fn data_templates_write_json() {
        for (value, expected) in [
            (serde_json::json!("a\"b\n- c: {{ d }}"), r#"k: "a\"b\n- c: {{ d }}""#),
            (serde_json::json!("yes"), r#"k: "yes""#),
            (serde_json::json!(true), "k: true"),
            (serde_json::json!(null), "k: null"),
            (serde_json::json!(["a", 1]), r#"k: ["a",1]"#),
            (serde_json::json!("<&>"), r#"k: "<&>""#),
        ] {
            assert_eq!(rendered("t.yaml.j2", "k: {{ x }}", &with(value)).unwrap(), expected);
        }
    }

    #[test]
    fn toml_refuses_what_it_cannot_hold() {
        assert_eq!(rendered("t.toml.j2", "k = {{ x }}\n", &with(true)).unwrap(), "k = true\n");
        let null = rendered("t.toml.j2", "k = {{ x }}\n", &with(serde_json::Value::Null)).unwrap_err();
        assert_eq!(null, "t.toml.j2, line 1: invalid operation: TOML cannot hold none here");
        assert!(rendered("t.toml.j2", "k = {{ x }}\n", &with(serde_json::json!({"a": 1}))).is_err());
    }

    #[test]
    fn plain_templates_take_plain_text_only() {
        let source = "[Service]\nExecStart=/bin/true {{ x }}\n";
        assert_eq!(
            rendered("t.service.j2", source, &with("--a=b c")).unwrap(),
            "[Service]\nExecStart=/bin/true --a=b c\n"
        );
        assert_eq!(rendered("t.conf.j2", "{{ x }}", &with(true)).unwrap(), "true");
        for bad in ["a\nExecStart=/evil", "a\"b", "a'b", "a\\b", "$HOME", "%n", "a\u{7}", "a\u{2028}b", "a`b"] {
            let error = rendered("t.service.j2", source, &with(bad)).unwrap_err();
            assert!(
                error.starts_with("t.service.j2, line 2: invalid operation: a value holds the character"),
                "{error}"
            );
            assert!(!error.contains(bad), "{error}");
        }
        assert!(rendered("t.conf.j2", "{{ x }}", &with(serde_json::json!(["a"]))).is_err());
        assert!(rendered("t.conf.j2", "{{ x }}", &with(serde_json::Value::Null)).is_err());
    }

    #[test]
    fn what_is_missing_is_an_error_with_its_line() {
        for source in ["a\n{{ y }}\n", "a\n{% if y %}b{% endif %}\n", "a\n{{ x.y }}\n"] {
            let error = rendered("t.yaml.j2", source, &with(serde_json::json!({}))).unwrap_err();
            assert!(error.starts_with("t.yaml.j2, line 2: undefined value"), "{source}: {error}");
        }
        let error = rendered("t.yaml.j2", "a\n{% if %}\n", &with(1)).unwrap_err();
        assert!(error.starts_with("t.yaml.j2, line 2: syntax error"), "{error}");
    }

    #[test]
    fn blocks_leave_no_blank_lines() {
        let source = "a:\n  {% if x %}\n  b: {{ x }}\n  {% endif %}\nc: 1\n";
        assert_eq!(rendered("t.yaml.j2", source, &with(2)).unwrap(), "a:\n  b: 2\nc: 1\n");
    }

    #[test]
    fn a_template_that_does_not_exist_is_named() {
        let assets = Assets::load(None).unwrap();
        let error = render(&assets, "none.yaml.j2", &with(1)).unwrap_err();
        assert_eq!(error.message, "there is no file templates/none.yaml.j2 in templates/ or playbooks/");
    }

    #[test]
    fn an_overridden_template_is_named_with_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("templates/containerd/hosts.toml.j2");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, "a = 1\nb = {{ nothing }}\n").unwrap();
        let assets = Assets::load(Some(folder.path())).unwrap();
        let error = render(&assets, "containerd/hosts.toml.j2", &with(1)).unwrap_err();
        let place = format!("templates/containerd/hosts.toml.j2 (overridden by {}), line 2", file.display());
        assert_eq!(error.message, format!("{place}: undefined value"));
        assert_eq!(error.details, ["   2 | b = {{ nothing }}"]);
    }
}

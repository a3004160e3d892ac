//! Taints and labels of nodes, as Kubernetes takes them.

use std::fmt;
use std::str::FromStr;

use super::text::text;

/// A taint as `kubectl taint` writes it: KEY=VALUE:EFFECT, or KEY:EFFECT.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Taint {
    /// A qualified name.
    pub key: String,
    /// A label's value; may be empty.
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
}

/// Why a text is not a [`Taint`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a taint: use KEY=VALUE:EFFECT or KEY:EFFECT, where EFFECT is NoSchedule, PreferNoSchedule or NoExecute"
)]
pub struct TaintError(String);

impl FromStr for Taint {
    type Err = TaintError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (pair, effect) = text.rsplit_once(':')?;
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let known = ["NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&effect);
            (known && is_key(key) && is_value(value)).then(|| Self {
                key: key.into(),
                value: value.into(),
                effect: effect.into(),
            })
        };
        parse().ok_or_else(|| TaintError(text.into()))
    }
}

/// A qualified name: 63 characters, with a DNS name and `/` in front or not.
pub(super) fn is_key(text: &str) -> bool {
    let (prefix, name) = text.rsplit_once('/').map_or((None, text), |(prefix, name)| (Some(prefix), name));
    let label = |label: &str| label.parse::<super::DnsLabel>().is_ok();
    !name.is_empty()
        && is_value(name)
        && prefix.is_none_or(|prefix| prefix.len() <= 253 && prefix.split('.').all(label))
}

/// The value of a label: empty, or 63 characters that start and end with a letter or digit.
pub(super) fn is_value(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let end = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    text.len() <= 63 && text.chars().all(inner) && end(text.chars().next()) && end(text.chars().next_back())
}

impl fmt::Display for Taint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, value, effect } = self;
        if value.is_empty() { write!(f, "{key}:{effect}") } else { write!(f, "{key}={value}:{effect}") }
    }
}

text!(Taint, "a taint", "format": "taint");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taints_are_those_that_kubectl_takes() {
        for (text, good) in [
            ("gpu:NoSchedule", true),
            ("gpu=yes:NoExecute", true),
            ("example.com/gpu=a.b-c:PreferNoSchedule", true),
            ("gpu", false),
            ("gpu:Never", false),
            ("=x:NoSchedule", false),
            ("a b:NoSchedule", false),
            ("-a:NoSchedule", false),
            ("Example_/a:NoSchedule", false),
        ] {
            let parsed = text.parse::<Taint>();
            assert_eq!(parsed.is_ok(), good, "{text}");
            assert!(parsed.is_ok_and(|taint| taint.to_string() == text) || !good, "{text}");
        }
    }
}

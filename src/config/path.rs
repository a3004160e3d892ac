//! Where a value is in a document: `spec.hosts[1].address`.

use std::fmt;

/// One step into a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A field of a mapping.
    Key(String),
    /// An item of a list, from 0.
    Index(usize),
}

/// Steps from the document's root; empty is the root itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Path(Vec<Step>);

impl Path {
    /// Reads what `Display` writes; a bare number between dots (`hosts.1.address`) is an item too.
    /// `None` where brackets or quotes do not close or a step is empty.
    pub fn parse(text: &str) -> Option<Self> {
        let mut path = Self::default();
        let mut rest = text;
        while !rest.is_empty() {
            rest = match rest.strip_prefix('[') {
                Some(inner) => path.bracket(inner)?,
                None => path.field(rest)?,
            };
            rest = match rest.strip_prefix('.') {
                Some("") => return None,
                Some(more) => more,
                None if rest.is_empty() || rest.starts_with('[') => rest,
                None => return None,
            };
        }
        Some(path)
    }

    fn field<'a>(&mut self, text: &'a str) -> Option<&'a str> {
        let (name, rest) = text.split_at(text.find(['.', '[']).unwrap_or(text.len()));
        if name.is_empty() {
            return None;
        }
        self.0.push(name.parse().map_or_else(|_| Step::Key(name.into()), Step::Index));
        Some(rest)
    }

    fn bracket<'a>(&mut self, text: &'a str) -> Option<&'a str> {
        if let Some(quoted) = text.strip_prefix('"') {
            let (key, rest) = quoted.split_once("\"]")?;
            self.0.push(Step::Key(key.into()));
            return Some(rest);
        }
        let (index, rest) = text.split_once(']')?;
        self.0.push(Step::Index(index.parse().ok()?));
        Some(rest)
    }

    /// The path one field deeper.
    pub fn key(&self, key: &str) -> Self {
        self.step(Step::Key(key.into()))
    }

    /// The path one item deeper.
    pub fn index(&self, index: usize) -> Self {
        self.step(Step::Index(index))
    }

    fn step(&self, step: Step) -> Self {
        Self(self.0.iter().cloned().chain([step]).collect())
    }

    /// The steps, outermost first.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// Whether it is the document itself.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) if is_plain(key) => write!(f, "{}{key}", if position == 0 { "" } else { "." })?,
                Step::Key(key) => write!(f, "[\"{key}\"]")?,
            }
        }
        Ok(())
    }
}

/// Whether a key can stand between dots without being read as something else.
fn is_plain(key: &str) -> bool {
    !key.is_empty()
        && !key.chars().all(|c| c.is_ascii_digit())
        && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn display_and_parse_agree() {
        for text in ["", "spec", "spec.hosts[1].address", r#"spec.kubeadm.patches["kube-apiserver0+json.yaml"]"#] {
            assert_eq!(Path::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Path::parse("hosts.0.ssh.port").unwrap().to_string(), "hosts[0].ssh.port");
    }

    #[test]
    fn broken_paths_are_refused() {
        for text in [".", "a.", "a..b", "a[", "a[x]", "a[\"x]", "a[0]b"] {
            assert_eq!(Path::parse(text), None, "{text}");
        }
    }
}

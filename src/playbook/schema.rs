//! The form of a playbook file. What serde reads here is checked further by `load`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;

use super::when::When;
use crate::config::{DnsLabel, ServerEngine};

/// One file below playbooks/.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Playbook {
    /// The file's name without its suffix.
    pub(super) name: Spanned<DnsLabel>,
    /// One sentence for people.
    pub(super) about: String,
    /// The database server that it prepares a host for; a node where it is left out.
    pub(super) server: Option<ServerEngine>,
    /// Whether the playbook applies to a host at all.
    #[serde(default)]
    pub(super) when: When,
    /// Values for templates and strings, as `vars.NAME`; a file step's own come in front.
    #[serde(default)]
    pub(super) vars: BTreeMap<String, Scalar>,
    /// Where there are some, exactly one must fit a host. Its steps come before the common ones.
    #[serde(default)]
    pub(super) variants: Vec<Variant>,
    /// Steps of every host.
    #[serde(default)]
    pub(super) steps: Vec<Step>,
}

/// What differs by distribution.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Variant {
    pub(super) name: Spanned<DnsLabel>,
    pub(super) when: When,
    pub(super) steps: Vec<Step>,
}

/// A step: exactly one of the operations, with its place in the order.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Step {
    pub(super) name: Spanned<DnsLabel>,
    /// For people; follows from the operation where it is left out.
    pub(super) title: Option<String>,
    #[serde(default)]
    pub(super) when: When,
    /// What must be done before: steps further up, or `PLAYBOOK/*` for all of another playbook.
    #[serde(default)]
    pub(super) after: Vec<Spanned<String>>,
    pub(super) directory: Option<Directory>,
    pub(super) file: Option<File>,
    pub(super) install: Option<Install>,
    pub(super) unpack: Option<Unpack>,
    pub(super) package: Option<Vec<Word>>,
    pub(super) module: Option<Word>,
    pub(super) sysctl: Option<Sysctl>,
    pub(super) swap_off: Option<Nothing>,
    pub(super) unit: Option<Unit>,
    pub(super) script: Option<Script>,
}

/// The one operation of a step.
#[derive(Debug, Clone, Copy)]
pub(super) enum Change<'a> {
    Directory(&'a Directory),
    File(&'a File),
    Install(&'a Install),
    Unpack(&'a Unpack),
    Package(&'a [Word]),
    Module(&'a Word),
    Sysctl(&'a Sysctl),
    SwapOff,
    Unit(&'a Unit),
    Script(&'a Script),
}

/// `{}`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Directory {
    pub(super) path: Path,
    pub(super) mode: Mode,
}

/// A file from a template, or with its content in place.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) path: Path,
    pub(super) mode: Mode,
    /// A file below templates/.
    pub(super) template: Option<String>,
    /// The content itself.
    pub(super) content: Option<String>,
    /// The template's own `vars`.
    #[serde(default)]
    pub(super) with: BTreeMap<String, Scalar>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Install {
    pub(super) artifact: Artifact,
    pub(super) path: Path,
    pub(super) mode: Mode,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Unpack {
    pub(super) artifact: Artifact,
    pub(super) into: Path,
    pub(super) creates: Vec<Path>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Sysctl {
    pub(super) key: Word,
    pub(super) value: u64,
    /// A floor: a host that has more keeps it.
    #[serde(default)]
    pub(super) at_least: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Unit {
    pub(super) name: Word,
    pub(super) running: bool,
    #[serde(default)]
    pub(super) watches: Vec<Path>,
}

/// Static POSIX shell; `creates` is what makes it safe to run again, so it may not be empty.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Script {
    pub(super) run: String,
    #[serde(default)]
    pub(super) args: Vec<String>,
    #[serde(default)]
    pub(super) creates: Vec<Path>,
    #[serde(default)]
    pub(super) watches: Vec<Path>,
    /// The longest that it may take.
    pub(super) seconds: u64,
}

/// The files of the catalogue that playbooks put in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Artifact {
    Kubelet,
    Kubeadm,
    Kubectl,
    Containerd,
    Runc,
    CniPlugins,
}

/// A value of `vars` and `with`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged)]
pub(super) enum Scalar {
    Bool(bool),
    Number(i64),
    Text(String),
}

/// An absolute path as it is: facts are asked for it before anything could be filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path(pub(super) String);

/// The name of a package, module, sysctl or unit as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word(pub(super) String);

/// Permission bits, written as four octal digits in quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mode(pub(super) u32);

impl Step {
    /// What the step does, or how many operations it names where that is not one.
    pub(super) fn change(&self) -> Result<Change<'_>, usize> {
        let named: Vec<Change<'_>> = [
            self.directory.as_ref().map(Change::Directory),
            self.file.as_ref().map(Change::File),
            self.install.as_ref().map(Change::Install),
            self.unpack.as_ref().map(Change::Unpack),
            self.package.as_deref().map(Change::Package),
            self.module.as_ref().map(Change::Module),
            self.sysctl.as_ref().map(Change::Sysctl),
            self.swap_off.map(|Nothing {}| Change::SwapOff),
            self.unit.as_ref().map(Change::Unit),
            self.script.as_ref().map(Change::Script),
        ]
        .into_iter()
        .flatten()
        .collect();
        match named[..] {
            [change] => Ok(change),
            _ => Err(named.len()),
        }
    }
}

impl Artifact {
    /// The catalogue's name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Kubelet => "kubelet",
            Self::Kubeadm => "kubeadm",
            Self::Kubectl => "kubectl",
            Self::Containerd => "containerd",
            Self::Runc => "runc",
            Self::CniPlugins => "cni-plugins",
        }
    }
}

impl FromStr for Path {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let odd = |c: char| c.is_control() || matches!(c, '{' | '}' | '*' | '?');
        if text.starts_with('/') && !text.contains("/../") && !text.contains(odd) {
            Ok(Self(text.into()))
        } else {
            Err(format!("`{text}` is not an absolute path without patterns and variables"))
        }
    }
}

impl FromStr for Word {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+' | '@' | ':');
        if !text.is_empty() && !text.starts_with('-') && text.chars().all(plain) {
            Ok(Self(text.into()))
        } else {
            Err(format!("`{text}` is not a name: use letters, digits and any of .-_+@:"))
        }
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match u32::from_str_radix(text, 8) {
            Ok(mode) if text.len() == 4 && mode <= 0o7777 => Ok(Self(mode)),
            _ => Err(format!("`{text}` is not a mode: write four octal digits in quotes, such as \"0644\"")),
        }
    }
}

/// Reads a string through `FromStr` inside the visitor, so that an error keeps the value's line and column.
struct Parsed<T>(std::marker::PhantomData<T>);

impl<T: FromStr<Err = String>> Visitor<'_> for Parsed<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

impl<'de> Deserialize<'de> for Path {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Parsed(std::marker::PhantomData))
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Parsed(std::marker::PhantomData))
    }
}

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Parsed(std::marker::PhantomData))
    }
}

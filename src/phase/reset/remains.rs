//! What is on a host of etcdless, Kubernetes and Pods: the list that a host prints, read and shown.

use serde::Serialize;

/// A kind of thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Part {
    /// A process of a Pod, or one that holds a Pod.
    Process,
    /// A systemd unit that is enabled or runs.
    Unit,
    /// A mount.
    Mount,
    /// A network link.
    Link,
    /// A chain, table, set or service of packet filters.
    Rule,
    /// A setting that is not as it was before.
    Setting,
    /// A package that came with etcdless.
    Package,
    /// A file or folder.
    File,
    /// A file of an SQLite store.
    Store,
    /// What etcdless keeps for itself.
    Record,
}

impl Part {
    const ALL: [Self; 10] = [
        Self::Process,
        Self::Unit,
        Self::Mount,
        Self::Link,
        Self::Rule,
        Self::Setting,
        Self::Package,
        Self::File,
        Self::Store,
        Self::Record,
    ];

    /// For people: one of it, and several. The first is also how a host writes it.
    pub fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Process => ("process", "processes"),
            Self::Unit => ("unit", "units"),
            Self::Mount => ("mount", "mounts"),
            Self::Link => ("link", "links"),
            Self::Rule => ("rule", "rules"),
            Self::Setting => ("setting", "settings"),
            Self::Package => ("package", "packages"),
            Self::File => ("file", "files"),
            Self::Store => ("store", "store files"),
            Self::Record => ("record", "records"),
        }
    }
}

/// One thing that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Item {
    /// Its kind.
    pub part: Part,
    /// Its name: a path, a unit, a process with its number.
    pub name: String,
}

/// Everything that is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remains {
    /// In the host's order.
    pub items: Vec<Item>,
    /// What stays, and why: a line each.
    pub remarks: Vec<String>,
}

impl Remains {
    /// Reads what a host printed; `None` where the end is missing.
    pub fn parse(text: &str) -> Option<Self> {
        let mut remains = Self::default();
        let mut ended = false;
        for line in text.lines() {
            ended = line == "end";
            let Some((kind, name)) = line.split_once('\t') else { continue };
            if kind == "remark" {
                remains.remarks.push(name.to_owned());
            }
            if let Some(part) = Part::ALL.into_iter().find(|part| part.names().0 == kind) {
                remains.items.push(Item { part, name: name.to_owned() });
            }
        }
        ended.then_some(remains)
    }

    /// The things of a kind.
    pub fn of(&self, part: Part) -> impl Iterator<Item = &str> {
        self.items.iter().filter(move |item| item.part == part).map(|item| item.name.as_str())
    }

    /// The same without some kinds.
    #[must_use]
    pub fn without(mut self, parts: &[Part]) -> Self {
        self.items.retain(|item| !parts.contains(&item.part));
        self
    }

    /// For people: a line a thing, its kind in front. What is in a folder that goes as a whole is not told.
    pub fn text(&self) -> String {
        let folders: Vec<String> = self.of(Part::File).map(|path| format!("{path}/")).collect();
        let within = |name: &str| folders.iter().any(|folder| name.starts_with(folder));
        let told = self.items.iter().filter(|item| item.part != Part::File || !within(&item.name));
        told.map(|item| format!("  - {:<8} {}\n", item.part.names().0, item.name)).collect()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test")]
    use super::*;

    #[test]
    fn a_list_without_its_end_is_none() {
        for text in ["", "file\t/a\n", "end\nfile\t/a\n"] {
            assert_eq!(Remains::parse(text), None, "{text:?}");
        }
        assert_eq!(Remains::parse("end\n"), Some(Remains::default()));
    }

    #[test]
    fn folders_stand_for_what_is_in_them() {
        let remains =
            Remains::parse("unit\tkubelet.service\nfile\t/etc/cni/net.d\nfile\t/etc/cni\nfile\t/etc/cnix\nend\n")
                .unwrap();
        assert_eq!(remains.text(), "  - unit     kubelet.service\n  - file     /etc/cni\n  - file     /etc/cnix\n");
        assert_eq!(remains.without(&[Part::File]).items.len(), 1);
    }
}

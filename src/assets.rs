//! templates/ and playbooks/: embedded in the program, with an optional folder laid over them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rust_embed::{Embed, EmbeddedFile};
use sha2::{Digest, Sha256};

use crate::failure::{Failure, Kind};

#[derive(Embed)]
#[folder = "templates"]
#[prefix = "templates/"]
struct Templates;

#[derive(Embed)]
#[folder = "playbooks"]
#[prefix = "playbooks/"]
struct Playbooks;

/// The folders that an overlay may hold.
const FOLDERS: [&str; 2] = ["templates", "playbooks"];

/// The embedded files, some of them replaced by an overlay's.
#[derive(Debug, Clone)]
pub struct Assets {
    files: BTreeMap<String, File>,
}

#[derive(Debug, Clone)]
struct File {
    bytes: Cow<'static, [u8]>,
    replaced_by: Option<PathBuf>,
}

/// One file as `assets list` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asset {
    /// For example `playbooks/kernel.yaml`.
    pub path: String,
    /// Of the content that is in force; lower-case hex.
    pub sha256: String,
    /// Whether an overlay replaces the embedded file.
    pub overridden: bool,
}

impl Assets {
    /// The embedded files, with those of `overlay` (a folder with templates/ and playbooks/) in front.
    ///
    /// Hidden files of an overlay are passed over; any other file that replaces nothing is an error, since it would have no effect.
    pub fn load(overlay: Option<&Path>) -> Result<Self, Failure> {
        let mut assets = Self { files: embedded() };
        if let Some(folder) = overlay {
            for name in names_in(folder)? {
                assets.replace(folder, name)?;
            }
        }
        Ok(assets)
    }

    /// The content of one file.
    pub fn bytes(&self, path: &str) -> Result<&[u8], Failure> {
        Ok(&self.file(path)?.bytes)
    }

    /// The text of one file, for example `templates/containerd/config-v3.toml.j2`.
    pub fn text(&self, path: &str) -> Result<String, Failure> {
        let bytes = self.bytes(path)?.to_vec();
        String::from_utf8(bytes)
            .map_err(|_| Failure::new(Kind::Config, format!("{} is not UTF-8 text", self.describe(path))))
    }

    /// All files, sorted by path.
    pub fn list(&self) -> Vec<Asset> {
        let asset = |(path, file): (&String, &File)| Asset {
            path: path.clone(),
            sha256: sha256(&file.bytes),
            overridden: file.replaced_by.is_some(),
        };
        self.files.iter().map(asset).collect()
    }

    /// What messages call a file: its path, and the overlay's file where that one is in force.
    pub fn describe(&self, path: &str) -> String {
        match self.files.get(path).and_then(|file| file.replaced_by.as_ref()) {
            Some(other) => format!("{path} (overridden by {})", other.display()),
            None => path.to_owned(),
        }
    }

    fn file(&self, path: &str) -> Result<&File, Failure> {
        self.files.get(path).ok_or_else(|| {
            let failure = Failure::new(Kind::Config, format!("there is no file {path} in templates/ or playbooks/"));
            self.suggest(failure, path)
        })
    }

    fn replace(&mut self, folder: &Path, name: String) -> Result<(), Failure> {
        let from = folder.join(&name);
        if !self.files.contains_key(&name) {
            let message = format!("{} replaces nothing: there is no embedded file {name}", from.display());
            return Err(self.suggest(Failure::new(Kind::Config, message), &name));
        }
        let bytes = fs::read(&from).map_err(|error| unreadable(&from, &error))?;
        self.files.insert(name, File { bytes: Cow::Owned(bytes), replaced_by: Some(from) });
        Ok(())
    }

    fn suggest(&self, failure: Failure, path: &str) -> Failure {
        let closest = self.files.keys().min_by_key(|name| distance(name, path));
        let failure = match closest {
            Some(name) => failure.hint(format!("the closest name is {name}")),
            None => failure,
        };
        failure.hint("etcdless assets list shows every name")
    }
}

fn embedded() -> BTreeMap<String, File> {
    let file = |(path, file): (Cow<'static, str>, Option<EmbeddedFile>)| {
        Some((path.into_owned(), File { bytes: file?.data, replaced_by: None }))
    };
    let templates = Templates::iter().map(|path| (path.clone(), Templates::get(&path)));
    let playbooks = Playbooks::iter().map(|path| (path.clone(), Playbooks::get(&path)));
    templates.chain(playbooks).filter_map(file).collect()
}

/// The overlay's files relative to it, with `/` between folders; what is neither below templates/ nor playbooks/ is an error.
fn names_in(folder: &Path) -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    collect(folder, "", &mut names)?;
    match names.iter().find(|name| !FOLDERS.iter().any(|top| name.starts_with(&format!("{top}/")))) {
        Some(stray) => Err(Failure::new(
            Kind::Config,
            format!("{} is not below templates/ or playbooks/", folder.join(stray).display()),
        )
        .hint("etcdless assets export DIR writes a folder with the right layout")),
        None => Ok(names),
    }
}

fn collect(folder: &Path, prefix: &str, names: &mut Vec<String>) -> Result<(), Failure> {
    for entry in fs::read_dir(folder).map_err(|error| unreadable(folder, &error))? {
        let path = entry.map_err(|error| unreadable(folder, &error))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            return Err(Failure::new(Kind::Config, format!("the name of {} is not UTF-8", path.display())));
        };
        if name.starts_with('.') {
            continue;
        }
        if path.is_dir() {
            collect(&path, &format!("{prefix}{name}/"), names)?;
        } else {
            names.push(format!("{prefix}{name}"));
        }
    }
    Ok(())
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Kind::Config, format!("{} cannot be read: {error}", path.display()))
}

/// How many characters must be changed, added or left out to turn one name into the other (Levenshtein).
pub(crate) fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, letter) in from.chars().enumerate() {
        let mut next = vec![line + 1];
        for (column, other) in to.iter().enumerate() {
            let replaced = row[column] + usize::from(letter != *other);
            next.push(replaced.min(row[column + 1] + 1).min(next[column] + 1));
        }
        row = next;
    }
    row[to.len()]
}

/// Lower-case hex.
fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used)]
    use super::*;

    /// An overlay in a temporary folder.
    fn overlay(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    #[test]
    fn both_folders_are_embedded() {
        let assets = Assets::load(None).unwrap();
        let list = assets.list();
        for folder in FOLDERS {
            assert!(list.iter().any(|asset| asset.path.starts_with(folder)), "{list:?}");
        }
        assert!(list.iter().all(|asset| !asset.overridden && asset.sha256.len() == 64), "{list:?}");
    }

    #[test]
    fn a_file_of_the_overlay_wins_and_says_so() {
        let folder = overlay(&[("playbooks/kernel.yaml", "mine\n"), (".git/config", "x"), ("templates/.keep", "")]);
        let assets = Assets::load(Some(folder.path())).unwrap();
        assert_eq!(assets.text("playbooks/kernel.yaml").unwrap(), "mine\n");
        let overridden: Vec<String> =
            assets.list().into_iter().filter(|asset| asset.overridden).map(|asset| asset.path).collect();
        assert_eq!(overridden, ["playbooks/kernel.yaml"]);
        let file = folder.path().join("playbooks/kernel.yaml");
        assert_eq!(
            assets.describe("playbooks/kernel.yaml"),
            format!("playbooks/kernel.yaml (overridden by {})", file.display())
        );
    }

    #[test]
    fn a_file_that_replaces_nothing_names_the_closest() {
        let folder = overlay(&[("playbooks/kernal.yaml", "")]);
        let failure = Assets::load(Some(folder.path())).unwrap_err();
        assert_eq!(failure.kind, Kind::Config);
        assert!(failure.message.ends_with("replaces nothing: there is no embedded file playbooks/kernal.yaml"));
        assert_eq!(failure.hints[0], "the closest name is playbooks/kernel.yaml");
    }

    #[test]
    fn an_overlay_that_cannot_be_used_names_the_path() {
        let folder = overlay(&[("containerd.yaml", "")]);
        let stray = Assets::load(Some(folder.path())).unwrap_err();
        assert!(stray.message.ends_with("containerd.yaml is not below templates/ or playbooks/"), "{stray}");
        let missing = Assets::load(Some(&folder.path().join("none"))).unwrap_err();
        assert!(missing.message.contains("/none cannot be read"), "{missing}");
        fs::remove_file(folder.path().join("containerd.yaml")).unwrap();
        fs::create_dir(folder.path().join("playbooks")).unwrap();
        fs::write(folder.path().join("playbooks/kernel.yaml"), [0xff, 0xfe]).unwrap();
        let binary = Assets::load(Some(folder.path())).unwrap().text("playbooks/kernel.yaml").unwrap_err();
        assert!(binary.message.ends_with("is not UTF-8 text"), "{binary}");
    }

    #[test]
    fn distances() {
        for (from, to, expected) in
            [("", "", 0), ("abc", "abc", 0), ("abc", "ab", 1), ("kernel", "kernal", 1), ("", "ab", 2)]
        {
            assert_eq!(distance(from, to), expected, "{from} {to}");
        }
    }
}

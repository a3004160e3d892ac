//! Packages of Debian and its like for a bundle: apt on a host of that release says which, from lists that it verified, and its sources say
//! where they are.

use std::collections::BTreeMap;
use std::time::Duration;

use super::image::Blob;
use crate::failure::{Failure, Kind};
use crate::remote::{Query, Question};

/// The longest that apt may take to fetch its lists and to answer.
const DEADLINE: Duration = Duration::from_secs(300);

/// An archive as apt names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Archive {
    /// `NAME_VERSION_ARCHITECTURE.deb`.
    pub file: String,
    /// Where it is.
    pub url: String,
    /// Its content.
    pub blob: Blob,
    /// Its entry in the package list, with the name that it has in a bundle's repository.
    entry: String,
}

/// What a repository with these archives has as its `Packages` file.
pub fn index(archives: &[Archive]) -> String {
    archives.iter().map(|archive| format!("{}\n", archive.entry)).collect()
}

/// What a package's archive is called in the repository's folder: names of packages may be longer than an entry's name in tar.
pub fn archive_name(blob: &Blob) -> String {
    format!("{}.deb", blob.hex())
}

/// Asks apt on a host for everything that these packages take on an empty machine, in the order of names. Changes nothing on the host.
pub async fn ask(host: &impl Query, label: &str, names: &[String]) -> Result<Vec<Archive>, Failure> {
    let failure = |kind, why: &str| {
        Failure::new(kind, format!("{label} does not tell which packages are needed for {}: {why}", names.join(", ")))
    };
    let question = Question {
        script: include_str!("scripts/packages.sh"),
        args: names.to_vec(),
        input: Vec::new(),
        deadline: DEADLINE,
    };
    let output = host.ask(question).await.map_err(|error| failure(Kind::Connection, &error.to_string()))?;
    if output.status != 0 {
        let lines = String::from_utf8_lossy(&output.stderr).lines().map(str::to_owned).collect();
        return Err(failure(Kind::Step, &format!("its apt ended with status {}", output.status))
            .output(lines)
            .hint("the host needs apt-get, and sources that it reaches"));
    }
    read(&String::from_utf8_lossy(&output.stdout)).map_err(|why| failure(Kind::Step, &why))
}

/// Reads what `scripts/packages.sh` prints.
fn read(output: &str) -> Result<Vec<Archive>, String> {
    let (uris, entries) = output.split_once("\n==\n").ok_or("its answer has no end")?;
    let entries: BTreeMap<&str, &str> =
        entries.split("\n\n").filter_map(|entry| Some((field(entry, "Filename")?, entry.trim_matches('\n')))).collect();
    let mut archives: Vec<Archive> = uris.lines().map(|line| archive(line, &entries)).collect::<Result<_, _>>()?;
    archives.sort();
    Ok(archives)
}

/// `'http://HOST/debian/pool/h/haproxy/haproxy_2.6_amd64.deb' haproxy_2.6_amd64.deb 2043536 HASH`. Which hash that is depends on apt and its
/// sources; the list's entry, whose `Filename` ends the address, has them all.
fn archive(line: &str, entries: &BTreeMap<&str, &str>) -> Result<Archive, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [url, file, ..] = words[..] else { return Err(format!("`{line}` names no archive")) };
    let url = url.trim_matches('\'');
    if !url.starts_with("http://") && !url.starts_with("https://") {
        return Err(format!("{url} cannot be fetched from here: only http and https can"));
    }
    let path = percent_encoding::percent_decode_str(url).decode_utf8_lossy();
    let listed = path.match_indices('/').find_map(|(slash, _)| entries.get(&path[slash + 1..]));
    let entry = listed.ok_or_else(|| format!("its package list has no entry for {file}"))?;
    let hex = field(entry, "SHA256").ok_or_else(|| format!("its package list has no SHA-256 of {file}"))?;
    let size = field(entry, "Size").and_then(|size| size.parse().ok());
    let blob = size.and_then(|size| Blob::new(&format!("sha256:{hex}"), size));
    let blob = blob.ok_or_else(|| format!("its package list has no usable SHA-256 and size of {file}"))?;
    let name = format!("Filename: ./{}", archive_name(&blob));
    let renamed = entry.lines().map(|line| if line.starts_with("Filename:") { name.as_str() } else { line });
    let entry = renamed.fold(String::new(), |text, line| text + line + "\n");
    Ok(Archive { file: file.replace("%3a", ":"), url: url.into(), blob, entry })
}

fn field<'a>(entry: &'a str, name: &str) -> Option<&'a str> {
    entry.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used)]

    use super::*;

    fn output() -> String {
        let (a, b) = ("a".repeat(64), "b".repeat(64));
        format!(
            "'http://deb.example.org/debian/pool/z%2b_2_amd64.deb' z_1%3a2_amd64.deb 20 MD5Sum:00\n\
             'http://deb.example.org/debian/pool/b_1_all.deb' b_1_all.deb 10 SHA256:{a}\n==\n\
             Package: z\nVersion: 1:2\nFilename: pool/z+_2_amd64.deb\nSize: 20\nSHA256: {b}\nDescription: z\n it is\n\n\
             Package: b\nFilename: pool/b_1_all.deb\nSize: 10\nSHA256: {a}\n\n",
        )
    }

    #[test]
    fn archives_are_named_by_their_digest_in_the_order_of_names() {
        let archives = read(&output()).unwrap();
        let files: Vec<&str> = archives.iter().map(|archive| archive.file.as_str()).collect();
        assert_eq!(files, ["b_1_all.deb", "z_1:2_amd64.deb"]);
        let (a, b) = ("a".repeat(64), "b".repeat(64));
        let expected = format!(
            "Package: b\nFilename: ./{a}.deb\nSize: 10\nSHA256: {a}\n\n\
             Package: z\nVersion: 1:2\nFilename: ./{b}.deb\nSize: 20\nSHA256: {b}\nDescription: z\n it is\n\n"
        );
        assert_eq!(index(&archives), expected);
    }

    #[test]
    fn what_cannot_be_verified_is_refused() {
        let unlisted = output().replacen("pool/z%2b", "pool/y", 1);
        assert_eq!(read(&unlisted).unwrap_err(), "its package list has no entry for z_1%3a2_amd64.deb");
        let weak = output().replace(&format!("SHA256: {}", "b".repeat(64)), "MD5sum: 00");
        assert_eq!(read(&weak).unwrap_err(), "its package list has no SHA-256 of z_1%3a2_amd64.deb");
        let local = output().replacen("http://deb.example.org", "file://", 1);
        assert!(read(&local).unwrap_err().ends_with("only http and https can"));
        assert_eq!(read("nothing").unwrap_err(), "its answer has no end");
    }
}

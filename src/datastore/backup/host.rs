//! What of a control plane's files goes into a backup.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::{FileInfo, file_entry};
use crate::datastore::explore::foreign::MANIFEST;
use crate::op;
use crate::remote::{Query, Question, RemoteError};

const SCRIPT: &str = include_str!("scripts/files.sh");

/// The cluster's keys and certificates, and etcdless's own files.
const FOLDERS: [&str; 2] = ["/etc/kubernetes/pki", "/etc/etcdless"];

/// How long that may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// The files of a control plane.
#[derive(Debug, Default)]
pub struct Files {
    /// What they are.
    pub infos: Vec<FileInfo>,
    /// What they hold, in the same order.
    pub contents: Vec<Vec<u8>>,
    /// Paths that are too long for the archive.
    pub left: Vec<String>,
    /// The file that the API server encrypts by, where it was told one.
    pub encryption: Option<String>,
}

impl Files {
    /// What a text file holds.
    pub fn text(&self, path: &str) -> Option<&str> {
        let at = self.infos.iter().position(|info| info.path == path)?;
        std::str::from_utf8(&self.contents[at]).ok()
    }
}

/// Reads them.
pub async fn files(host: &impl Query) -> Result<Files, RemoteError> {
    let args = [MANIFEST].into_iter().chain(FOLDERS).map(str::to_owned).collect();
    let answer = host.ask(Question { script: SCRIPT, args, input: Vec::new(), deadline: DEADLINE }).await?;
    Ok(parse(&String::from_utf8_lossy(&answer.stdout)))
}

fn parse(answer: &str) -> Files {
    let mut files = Files::default();
    for line in answer.lines() {
        match line.split('\t').collect::<Vec<_>>()[..] {
            ["encryption", path] => files.encryption = Some(path.to_owned()),
            ["file", mode, path, content] => {
                let Ok(content) = BASE64_STANDARD.decode(content) else { continue };
                if file_entry(path).is_none() {
                    files.left.push(path.to_owned());
                    continue;
                }
                files.infos.push(FileInfo {
                    path: path.to_owned(),
                    mode: format!("{mode:0>4}"),
                    size: content.len() as u64,
                    sha256: op::sha256(&content),
                });
                files.contents.push(content);
            }
            _ => {}
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read() {
        let long = format!("/etc/kubernetes/pki/{}", "a".repeat(80));
        let answer =
            format!("encryption\t/etc/enc.yaml\nfile\t600\t/etc/a\tAAo=\nfile\t644\t{long}\t\nfile\t644\t/etc/b\t\n");
        let files = parse(&answer);
        assert_eq!(files.encryption.as_deref(), Some("/etc/enc.yaml"));
        let named: Vec<(&str, &str, u64)> =
            files.infos.iter().map(|info| (info.path.as_str(), info.mode.as_str(), info.size)).collect();
        assert_eq!(named, [("/etc/a", "0600", 2), ("/etc/b", "0644", 0)]);
        assert_eq!(files.contents, [vec![0, 10], Vec::new()]);
        assert_eq!(files.left, [long]);
    }
}

//! kine as a systemd unit: it is up before the kubelet and needs no image.

use serde::Serialize;

use super::{Listener, Process, SOCKETS};
use crate::assets::Assets;
use crate::datastore::sqlite;
use crate::failure::Failure;
use crate::op::File;
use crate::render::render;

/// The program that the unit starts.
pub const PROGRAM: &str = "/usr/local/bin/kine";

#[derive(Serialize)]
struct Unit {
    shard: String,
    program: &'static str,
    flags: Vec<String>,
    environment_file: String,
    writable: Vec<String>,
}

/// Where the unit of a process belongs.
pub fn unit_path(process: &Process) -> String {
    format!("/etc/systemd/system/{}", process.unit())
}

/// The unit.
pub fn unit(process: &Process, assets: &Assets) -> Result<String, Failure> {
    let sockets = matches!(process.listener, Listener::Socket(_)).then_some(SOCKETS);
    let unit = Unit {
        shard: process.shard.clone(),
        program: PROGRAM,
        flags: process.flags(),
        environment_file: process.environment_file(),
        writable: sockets.into_iter().chain([sqlite::DIRECTORY]).map(str::to_owned).collect(),
    };
    render(assets, "kine/kine.service.j2", &unit)
}

pub(super) fn files(process: &Process, assets: &Assets) -> Result<Vec<File>, Failure> {
    let environment = format!("KINE_ENDPOINT={}\n", quoted(process.endpoint_line()?));
    Ok(vec![
        File::secret(process.environment_file(), 0o600, environment),
        File::new(unit_path(process), 0o644, unit(process, assets)?),
    ])
}

/// A value as systemd's EnvironmentFile= reads it: in double quotes, where a backslash takes the meaning from `"`, `\`, `` ` `` and `$`
/// (systemd, src/basic/env-file.c). `%` has no meaning there.
fn quoted(value: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in value.chars() {
        if matches!(letter, '"' | '\\' | '`' | '$') {
            quoted.push('\\');
        }
        quoted.push(letter);
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_for_environment_files() {
        for (value, expected) in [
            ("sqlite:///a.db?x=1&y=%20", r#""sqlite:///a.db?x=1&y=%20""#),
            (r#"a"b"#, r#""a\"b""#),
            (r"a\b", r#""a\\b""#),
            ("p$HOME`id`", r#""p\$HOME\`id\`""#),
            ("it's # ; x", r#""it's # ; x""#),
        ] {
            assert_eq!(quoted(value), expected);
        }
    }
}

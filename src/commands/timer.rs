//! `backup timer`: the systemd units that run `backup` regularly.

use std::path::Path;

use super::session;
use crate::cli::backup::{Passphrase, Timer};
use crate::config::SecretRef;
use crate::failure::{Failure, Kind};
use crate::ui;

pub(super) fn run(args: &Timer) -> Result<(), Failure> {
    let cluster = session::describe(&args.target, None)?;
    let unit = match args.target.config {
        Some(_) => format!("etcdless-backup-{}", cluster.metadata.name),
        None => "etcdless-backup".to_owned(),
    };
    let program = std::env::current_exe()
        .map_err(|error| Failure::new(Kind::Internal, format!("where this program is cannot be told: {error}")))?;
    let words = std::iter::once(program.display().to_string()).chain(words(args)?);
    let command = words.map(|word| quoted(&word)).collect::<Vec<_>>().join(" ");
    // Without a user of its own, a service has no home, and so none of the operator's SSH keys.
    let user = std::env::var("USER").unwrap_or_else(|_| "root".into());
    let service = format!(
        "[Unit]\nDescription=Back the cluster {} up\nWants=network-online.target\nAfter=network-online.target\n\n\
         [Service]\nType=oneshot\nUser={user}\nUMask=0077\nExecStart={command}\n",
        cluster.metadata.name
    );
    let timer = format!(
        "[Unit]\nDescription=Back the cluster {} up regularly\n\n\
         [Timer]\nOnCalendar={}\nPersistent=true\n\n[Install]\nWantedBy=timers.target\n",
        cluster.metadata.name, args.calendar
    );
    let units = [(format!("{unit}.service"), service), (format!("{unit}.timer"), timer)];
    match &args.units {
        None => {
            ui::result(&units.map(|(name, text)| format!("# /etc/systemd/system/{name}\n{text}")).join("\n"));
        }
        Some(folder) => {
            for (name, text) in &units {
                write(&folder.join(name), text)?;
            }
            ui::result(&format!("systemctl daemon-reload && systemctl enable --now {unit}.timer"));
        }
    }
    Ok(())
}

/// What the unit runs, after the program's name. Paths are whole: a unit starts in /.
fn words(args: &Timer) -> Result<Vec<String>, Failure> {
    let whole = |path: &Path| {
        let whole = std::path::absolute(path).map(|path| path.display().to_string());
        whole.map_err(|error| Failure::new(Kind::Usage, format!("{}: {error}", path.display())))
    };
    let mut words = vec!["backup".to_owned()];
    words.extend(args.target.host.clone());
    let login = &args.target.login;
    for (flag, path) in [
        ("--config", &args.target.config),
        ("--identity", &login.identity),
        ("--ssh-config", &login.ssh_config),
        ("--to", &Some(args.to.clone())),
    ] {
        if let Some(path) = path {
            words.extend([flag.to_owned(), whole(path)?]);
        }
    }
    words.extend(["--keep".to_owned(), args.keep.to_string()]);
    words.extend(args.encryption.recipient.iter().flat_map(|key| ["--recipient".to_owned(), key.clone()]));
    if let Some(passphrase) = &args.encryption.passphrase {
        let place = match passphrase {
            Passphrase::At(SecretRef::File(path)) => format!("file:{}", whole(path)?),
            Passphrase::At(SecretRef::Command(command)) => format!("command:{command}"),
            Passphrase::Ask | Passphrase::At(SecretRef::Env(_)) => {
                return Err(Failure::new(Kind::Usage, "a unit has nobody to ask, and no environment of yours")
                    .hint("--passphrase file:PATH or command:COMMAND, or --recipient age1..."));
            }
        };
        words.extend(["--passphrase".to_owned(), place]);
    }
    Ok(words)
}

/// A word as systemd reads it back.
fn quoted(word: &str) -> String {
    let escaped = word.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$");
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:@=,+".contains(letter);
    if !word.is_empty() && word.chars().all(plain) { escaped } else { format!("\"{escaped}\"") }
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text)
        .map_err(|error| Failure::new(Kind::Step, format!("{} cannot be written: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_what_systemd_reads_back() {
        for (word, expected) in [
            ("/usr/bin/etcdless", "/usr/bin/etcdless"),
            ("a b", "\"a b\""),
            ("50%", "\"50%%\""),
            ("command:echo \"$A\"", "\"command:echo \\\"$$A\\\"\""),
            ("", "\"\""),
        ] {
            assert_eq!(quoted(word), expected);
        }
    }
}

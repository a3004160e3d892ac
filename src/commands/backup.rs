//! `backup`: a control plane's files and every store, each as of one instant, into one file. `backup ls` reads one.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use tokio::sync::{mpsc, oneshot};

use super::datastore::open::{self, Opened};
use super::progress::Progress;
use super::{Ended, session, timer};
use crate::cli;
use crate::cli::backup::{Decryption, Encryption, Ls, Passphrase, Verb};
use crate::config::{Cluster, credentials, load};
use crate::datastore::backup::{self, Backup, FORMAT, Head, Key, Lock, Manifest, Shard, Writer, host};
use crate::datastore::copy::{Change, Row};
use crate::failure::{Failure, Kind};
use crate::phase::control_plane::RECORD;
use crate::ui::{self, Event, Format, Ui};

/// Batches under way between who reads a store and who writes the file.
const UNDER_WAY: usize = 4;

pub(super) async fn run(args: cli::Backup) -> Result<(), Ended> {
    match args.verb {
        Some(Verb::Ls(args)) => ls(args).await,
        Some(Verb::Timer(args)) => Ok(timer::run(&args)?),
        None => session::under_ui(args.show, |ui, _| async move { make(&ui, &args).await }).await,
    }
}

async fn make(ui: &Ui, args: &cli::Backup) -> Result<(), Failure> {
    let is_stdout = args.out.as_deref() == Some(Path::new("-"));
    if is_stdout && (io::stdout().is_terminal() || ui.format() == Format::Json) {
        return Err(Failure::new(Kind::Usage, "a backup on standard output goes into a file or a pipe, and alone"));
    }
    let lock = lock(ui, &args.encryption).await?;
    let opened = open::open(ui, &args.target, args.timeout).await?;
    let files = host::files(&opened.host).await.map_err(|error| session::unreachable(&error, &opened.config))?;
    for path in &files.left {
        let text = format!("{path} is left out: its path is too long for the archive");
        ui.emit(Event::Warning { host: opened.host.name().to_owned(), text });
    }
    let head = head(args, &opened, &files)?;
    let target = Target::of(args, &head, &lock)?;
    let title = format!("back {} up", head.cluster);
    let progress = Progress::start(ui, opened.host.name(), "backup/write", title);
    let tell = progress.bytes();
    let out = Counted { out: target.writer()?, done: 0, tell: Box::new(move |done| tell(done, 0)) };
    let is_open = lock.is_open();
    let written = write(&opened, head.clone(), files.contents, lock, out).await;
    let manifest = progress.end(written.map_err(|failure| target.explain(failure)))?;
    let length = target.keep(args.keep.map(usize::from), &head.cluster)?;
    ui.settled().await;
    let named = target.shown();
    match (is_stdout, ui.format()) {
        (true, _) => ui.note(None, text(&named, length, &head, &manifest).trim_end()),
        (false, Format::Text) => ui::result(&text(&named, length, &head, &manifest)),
        (false, Format::Json) => ui::result(&json(&named, length, &head, &manifest).to_string()),
    }
    if is_open {
        let secret = "it is not encrypted, and holds the cluster's keys and every Secret: keep it as you keep those, or see --recipient";
        ui.note(None, secret);
    }
    Ok(())
}

/// What is known before a store is read.
fn head(args: &cli::Backup, opened: &Opened, files: &host::Files) -> Result<Head, Failure> {
    let cluster = match (&args.target.config, files.text(RECORD)) {
        (Some(_), _) => Some(session::describe(&args.target, None)?),
        (None, Some(record)) => Some(load::parse(RECORD, record)?),
        (None, None) => None,
    };
    let name = |cluster: &Cluster| cluster.metadata.name.to_string();
    Ok(Head {
        backup: FORMAT.into(),
        cluster: cluster.as_ref().map(name).or(args.target.name.clone()).unwrap_or_else(|| "kubernetes".into()),
        etcdless: env!("CARGO_PKG_VERSION").into(),
        kubernetes: cluster.as_ref().map(|cluster| cluster.spec.kubernetes.version.to_string()),
        host: opened.host.name().to_owned(),
        begun: backup::now(),
        encryption: files.encryption.clone(),
        files: files.infos.clone(),
        stores: opened.places.iter().map(|place| place.shard.clone()).collect(),
    })
}

/// A store on its way into the file: its rows, and at the end the word that these were all.
struct Job {
    shard: Shard,
    rows: mpsc::Receiver<Vec<Change>>,
    whole: oneshot::Receiver<()>,
}

/// Reads one store after the other, while a thread writes what comes. Without the last word of a store the file gets no end.
async fn write(
    opened: &Opened,
    head: Head,
    files: Vec<Vec<u8>>,
    lock: Lock,
    out: impl Write + Send + 'static,
) -> Result<Manifest, Failure> {
    let (jobs, todo) = mpsc::channel(1);
    let writer = tokio::task::spawn_blocking(move || written(&lock, out, &head, &files, todo));
    let read = read(opened, jobs).await;
    let written = writer.await.map_err(|error| Failure::new(Kind::Internal, error.to_string()))?;
    match (written, read) {
        (Err(error), _) => Err(Failure::new(Kind::Step, format!("the backup cannot be written: {error}"))),
        (Ok(_), Err(failure)) => Err(failure),
        (Ok(Some(manifest)), Ok(())) => Ok(manifest),
        (Ok(None), Ok(())) => Err(Failure::new(Kind::Internal, "a store was not read to its end")),
    }
}

async fn read(opened: &Opened, jobs: mpsc::Sender<Job>) -> Result<(), Failure> {
    for place in &opened.places {
        let mut store = opened.settled(place).await?;
        let instant = backup::now();
        let (out, rows) = mpsc::channel(UNDER_WAY);
        let (end, whole) = oneshot::channel();
        let shard = Shard {
            name: store.shard.clone(),
            engine: store.engine.to_owned(),
            revision: store.snapshot.revision,
            compacted: store.snapshot.compacted,
            instant,
            keys: 0,
            bytes: 0,
            digest: String::new(),
            chunks: 0,
        };
        // A writer that ended tells why by itself.
        if jobs.send(Job { shard, rows, whole }).await.is_err() {
            return Ok(());
        }
        store.changes(0, &out).await.map_err(|error| opened.failed(error))?;
        drop(out);
        let _writer_ended = end.send(());
    }
    Ok(())
}

/// None where a store was not read to its end.
fn written(
    lock: &Lock,
    out: impl Write,
    head: &Head,
    files: &[Vec<u8>],
    mut jobs: mpsc::Receiver<Job>,
) -> io::Result<Option<Manifest>> {
    let mut writer = Writer::begin(lock.wrap(BufWriter::with_capacity(1 << 20, out))?, head, files)?;
    let mut stores = 0;
    while let Some(Job { shard, mut rows, whole }) = jobs.blocking_recv() {
        let batches = std::iter::from_fn(|| rows.blocking_recv());
        writer.store(shard, batches.map(|changes| changes.into_iter().filter_map(put).collect()))?;
        if whole.blocking_recv().is_err() {
            return Ok(None);
        }
        stores += 1;
    }
    if stores < head.stores.len() {
        return Ok(None);
    }
    let (out, manifest) = writer.finish()?;
    out.close()?.flush()?;
    Ok(Some(manifest))
}

fn put(change: Change) -> Option<Row> {
    match change {
        Change::Put(row) => Some(row),
        Change::Deleted { .. } => None,
    }
}

/// Where a backup goes. A file is written beside its place, so that a run that ends early leaves what was there.
enum Target {
    Stdout,
    File { part: tempfile::NamedTempFile, path: PathBuf, folder: Option<PathBuf> },
}

impl Target {
    fn of(args: &cli::Backup, head: &Head, lock: &Lock) -> Result<Self, Failure> {
        let path = match (&args.out, &args.to) {
            (Some(out), _) if out == Path::new("-") => return Ok(Self::Stdout),
            (Some(out), _) => out.clone(),
            (None, folder) => {
                let time: String = head.begun.chars().filter(|letter| !matches!(letter, '-' | ':')).collect();
                let ending = if lock.is_open() { "" } else { ".age" };
                let name = format!("{}-{time}.backup{ending}", head.cluster);
                folder.clone().unwrap_or_default().join(name)
            }
        };
        replaceable(&path)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let part = tempfile::Builder::new().prefix(".backup-").tempfile_in(folder);
        let part = part.map_err(|error| unwritable(&path, &error))?;
        Ok(Self::File { part, path, folder: args.to.clone() })
    }

    fn writer(&self) -> Result<Box<dyn Write + Send>, Failure> {
        match self {
            Self::Stdout => Ok(Box::new(io::stdout())),
            Self::File { part, path, .. } => {
                Ok(Box::new(part.as_file().try_clone().map_err(|error| unwritable(path, &error))?))
            }
        }
    }

    fn explain(&self, failure: Failure) -> Failure {
        match self {
            Self::File { path, .. } if failure.kind == Kind::Step => {
                failure.hint(format!("see that there is room for it beside {}", path.display()))
            }
            _ => failure,
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Stdout => "standard output".into(),
            Self::File { path, .. } => path.display().to_string(),
        }
    }

    /// Puts the file in its place, removes those that are one too many, and tells its length.
    fn keep(&self, keep: Option<usize>, cluster: &str) -> Result<u64, Failure> {
        let Self::File { part, path, folder } = self else { return Ok(0) };
        let failed = |error: io::Error| unwritable(path, &error);
        part.as_file().sync_all().map_err(failed)?;
        let length = part.as_file().metadata().map_err(failed)?.len();
        std::fs::rename(part.path(), path).map_err(failed)?;
        if let (Some(folder), Some(keep)) = (folder, keep) {
            for old in superfluous(folder, cluster, keep).map_err(failed)? {
                std::fs::remove_file(&old).map_err(|error| unwritable(&old, &error))?;
            }
        }
        Ok(length)
    }
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Kind::Step, format!("{} cannot be written: {error}", path.display()))
        .hint("choose a folder that you may write to, with room for the whole backup")
}

/// A cluster's backups in a folder but for the newest, by their names: the time is in them.
fn superfluous(folder: &Path, cluster: &str, keep: usize) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(|name| is_of(name, cluster)) {
            found.push(entry.path());
        }
    }
    found.sort();
    found.truncate(found.len().saturating_sub(keep));
    Ok(found)
}

/// Whether a file's name is one that `--to` gives: `CLUSTER-20261122T083000Z.backup`.
fn is_of(name: &str, cluster: &str) -> bool {
    let rest = name.strip_prefix(cluster).and_then(|rest| rest.strip_prefix('-'));
    let rest = rest.and_then(|rest| rest.strip_suffix(".age").unwrap_or(rest).strip_suffix("Z.backup"));
    rest.is_some_and(|time| {
        time.len() == 15
            && time.bytes().enumerate().all(|(at, byte)| if at == 8 { byte == b'T' } else { byte.is_ascii_digit() })
    })
}

/// Nothing but an older backup is replaced.
fn replaceable(path: &Path) -> Result<(), Failure> {
    let mut start = [0; 13];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut start));
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(()) if start == *b"backup.sha256" || start == *b"age-encryptio" => Ok(()),
        _ => Err(Failure::new(Kind::Usage, format!("{} is there already, and is no backup", path.display()))
            .hint("choose another name for the backup: -o FILE")),
    }
}

/// Tells how many bytes went through it.
struct Counted<W> {
    out: W,
    done: u64,
    tell: Box<dyn Fn(u64) + Send>,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.done += count as u64;
        (self.tell)(self.done);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// What a backup is to be encrypted by.
async fn lock(ui: &Ui, args: &Encryption) -> Result<Lock, Failure> {
    match &args.passphrase {
        None if args.recipient.is_empty() => Ok(Lock::Open),
        None => Lock::recipients(&args.recipient),
        Some(Passphrase::At(reference)) => credentials::secret(reference, "the passphrase").map(Lock::Passphrase),
        Some(Passphrase::Ask) => {
            use secrecy::ExposeSecret;
            let (first, second) = (ask(ui, "The backup's passphrase:").await?, ask(ui, "Once more:").await?);
            match first.expose_secret() == second.expose_secret() && !first.expose_secret().is_empty() {
                true => Ok(Lock::Passphrase(first)),
                false => Err(Failure::new(Kind::Usage, "the two are not the same, or empty")),
            }
        }
    }
}

async fn ask(ui: &Ui, question: &str) -> Result<secrecy::SecretString, Failure> {
    let nobody = || {
        Failure::new(Kind::Usage, "there is no terminal to ask for the passphrase on")
            .hint("say where it is: --passphrase env:NAME, file:PATH or command:COMMAND")
    };
    ui.ask_secret(question).await.ok_or_else(nobody)
}

/// Opens a backup and reads every byte of it. A passphrase is asked for where the file needs one and none was named.
pub(super) async fn opened(ui: &Ui, path: &Path, args: &Decryption) -> Result<Backup, Failure> {
    let key = match (&args.age_identity, &args.passphrase) {
        (Some(file), _) => Some(Key::file(file)?),
        (None, Some(Passphrase::At(reference))) => {
            Some(Key::passphrase(&credentials::secret(reference, "the passphrase")?))
        }
        (None, Some(Passphrase::Ask)) => Some(Key::passphrase(&ask(ui, "The backup's passphrase:").await?)),
        (None, None) if backup::is_encrypted(path)? => {
            ui.ask_secret("The backup's passphrase:").await.map(|passphrase| Key::passphrase(&passphrase))
        }
        (None, None) => None,
    };
    let progress = Progress::start(ui, "backup", "backup/read", format!("read {}", path.display()));
    let (told, path) = (progress.bytes(), path.to_owned());
    let read = tokio::task::spawn_blocking(move || Backup::open(&path, key, told)).await;
    progress.end(read.unwrap_or_else(|error| Err(Failure::new(Kind::Internal, error.to_string()))))
}

async fn ls(args: Ls) -> Result<(), Ended> {
    let show = cli::Show { output: args.output, verbose: false };
    session::under_ui(show, |ui, _| async move {
        let backup = opened(&ui, &args.file, &args.key).await?;
        let named = args.file.display().to_string();
        ui.settled().await;
        match ui.format() {
            Format::Text => {
                let mut text = text(&named, backup.length, &backup.head, &backup.manifest);
                text.push('\n');
                text.extend(
                    backup.head.files.iter().map(|file| format!("{}  {:>7}  {}\n", file.mode, file.size, file.path)),
                );
                ui::result(&text);
            }
            Format::Json => ui::result(&json(&named, backup.length, &backup.head, &backup.manifest).to_string()),
        }
        Ok(())
    })
    .await
}

fn json(path: &str, length: u64, head: &Head, manifest: &Manifest) -> serde_json::Value {
    serde_json::json!({
        "event": "backup",
        "file": path,
        "bytes": length,
        "cluster": head.cluster,
        "etcdless": head.etcdless,
        "kubernetes": head.kubernetes,
        "host": head.host,
        "begun": head.begun,
        "finished": manifest.finished,
        "encryption": head.encryption,
        "stores": manifest.stores,
        "files": head.files,
    })
}

/// What a backup holds, in a few lines.
pub(super) fn text(path: &str, length: u64, head: &Head, manifest: &Manifest) -> String {
    let kubernetes = head.kubernetes.as_ref().map(|version| format!(", Kubernetes {version}")).unwrap_or_default();
    let size = if length == 0 { String::new() } else { format!(", {}", ui::bytes(length)) };
    let mut text =
        format!("{path}: {}{kubernetes}, made on {} by etcdless {}{size}\n", head.cluster, head.host, head.etcdless);
    let shards = manifest.stores.iter().map(|shard| {
        vec![
            shard.name.clone(),
            shard.engine.clone(),
            shard.instant.clone(),
            shard.revision.to_string(),
            shard.keys.to_string(),
            ui::bytes(shard.bytes),
        ]
    });
    let shards: Vec<Vec<String>> = shards.collect();
    text.push_str(&open::table(&["STORE", "ENGINE", "INSTANT", "REVISION ", "KEYS ", "SIZE "], &shards));
    text.push('\n');
    let what = match &head.encryption {
        Some(path) => format!("; Secrets are encrypted by {path}, which is among them"),
        None => String::new(),
    };
    text.push_str(&format!("{} files of {}{what}\n", head.files.len(), head.host));
    text
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test")]
    use super::*;

    #[test]
    fn the_newest_of_a_clusters_backups_stay() {
        let folder = tempfile::tempdir().unwrap();
        let ours = ["demo-20261121T030000Z.backup", "demo-20261122T030000Z.backup.age", "demo-20261123T030000Z.backup"];
        let others =
            ["demo-2-20261101T030000Z.backup", "demo-latest.backup", "other-20261101T030000Z.backup", "demo.yaml"];
        for name in ours.iter().chain(&others) {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let old = |keep| superfluous(folder.path(), "demo", keep).unwrap();
        assert_eq!(old(2), [folder.path().join(ours[0])]);
        assert_eq!(old(1), ours[..2].iter().map(|name| folder.path().join(name)).collect::<Vec<_>>());
        assert_eq!(old(3), Vec::<PathBuf>::new());
        assert_eq!(superfluous(folder.path(), "demo-2", 0).unwrap().len(), 1);
    }
}

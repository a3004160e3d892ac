//! Backups that only somebody who knows a passphrase, or has a key, can read: files of age (age-encryption.org/v1).

use std::fmt;
use std::io::{self, BufRead, Write};
use std::path::Path;
use std::sync::Arc;

use age::stream::StreamWriter;
use age::{DecryptError, Decryptor, Encryptor, IdentityFile};
use secrecy::SecretString;

use crate::failure::{Failure, Kind};

/// How a file of age begins.
pub(super) const MAGIC: &[u8] = b"age-encryption.org/v1\n";

/// What a backup is encrypted by.
pub enum Lock {
    /// It is not.
    Open,
    /// A passphrase.
    Passphrase(SecretString),
    /// Public keys: whoever has one of the private ones can read it.
    Recipients(Vec<age::x25519::Recipient>),
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "Open",
            Self::Passphrase(_) => "Passphrase",
            Self::Recipients(_) => "Recipients",
        })
    }
}

impl Lock {
    /// Public keys, as `age-keygen` prints them.
    pub fn recipients(keys: &[String]) -> Result<Self, Failure> {
        let read = |key: &String| {
            key.parse().map_err(|why: &str| {
                Failure::new(Kind::Usage, format!("`{key}` is no public key of age: {why}"))
                    .hint("one begins with age1; age-keygen makes a pair")
            })
        };
        keys.iter().map(read).collect::<Result<_, _>>().map(Self::Recipients)
    }

    /// Whether what it is put on is encrypted.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Open)
    }

    /// Puts it on.
    pub fn wrap<W: Write>(&self, out: W) -> io::Result<Locked<W>> {
        let encryptor = match self {
            Self::Open => return Ok(Locked::Open(out)),
            Self::Passphrase(passphrase) => Encryptor::with_user_passphrase(passphrase.clone()),
            Self::Recipients(keys) => Encryptor::with_recipients(keys.iter().map(|key| key as &dyn age::Recipient))
                .map_err(io::Error::other)?,
        };
        encryptor.wrap_output(out).map(Locked::Encrypted)
    }
}

/// What is written into it ends up in the file, encrypted or not.
pub enum Locked<W: Write> {
    /// Not.
    Open(W),
    /// Encrypted.
    Encrypted(StreamWriter<W>),
}

impl<W: Write> Locked<W> {
    /// Writes what is left: without it the file is a truncated one.
    pub fn close(self) -> io::Result<W> {
        match self {
            Self::Open(out) => Ok(out),
            Self::Encrypted(out) => out.finish(),
        }
    }
}

impl<W: Write> Write for Locked<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Open(out) => out.write(bytes),
            Self::Encrypted(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Open(out) => out.flush(),
            Self::Encrypted(out) => out.flush(),
        }
    }
}

/// What opens an encrypted backup.
#[derive(Clone)]
pub struct Key {
    identities: Vec<Arc<dyn age::Identity + Send + Sync>>,
    /// What is said of one that does not fit.
    what: String,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("what", &self.what).finish_non_exhaustive()
    }
}

impl Key {
    /// A passphrase.
    pub fn passphrase(passphrase: &SecretString) -> Self {
        let identity = age::scrypt::Identity::new(passphrase.clone());
        Self { identities: vec![Arc::new(identity)], what: "the passphrase".into() }
    }

    /// A file of private keys, as `age-keygen` writes it.
    pub fn file(path: &Path) -> Result<Self, Failure> {
        let what = format!("the keys in {}", path.display());
        let failure = |why: String| Failure::new(Kind::Config, format!("{what} cannot be read: {why}"));
        let file = IdentityFile::from_file(path.display().to_string()).map_err(|error| failure(error.to_string()))?;
        let identities = file.into_identities().map_err(|error| failure(error.to_string()))?;
        Ok(Self { identities: identities.into_iter().map(Arc::from).collect(), what })
    }

    /// Opens a file of age. The reason where it does not open is for people.
    pub(super) fn open<R: BufRead>(&self, input: R) -> Result<impl io::Read + use<R>, String> {
        let told = |error: DecryptError| match error {
            DecryptError::NoMatchingKeys | DecryptError::DecryptionFailed | DecryptError::KeyDecryptionFailed => {
                format!("{} does not open it", self.what)
            }
            DecryptError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => "it is truncated".into(),
            other => format!("the head of its encryption is damaged: {other}"),
        };
        let decryptor = Decryptor::new_buffered(input).map_err(told)?;
        decryptor.decrypt(self.identities.iter().map(|key| key.as_ref() as &dyn age::Identity)).map_err(told)
    }
}

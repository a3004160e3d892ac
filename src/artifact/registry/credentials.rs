//! Logins: those that `docker login`, `podman login` and `skopeo login` left on this machine. Nothing of a secret is ever shown.

use std::fmt;
use std::path::{Path, PathBuf};

use docker_credential::{CredentialRetrievalError, DockerCredential};
use oci_client::secrets::RegistryAuth;
use secrecy::{ExposeSecret, SecretString};

/// Docker's own registry, as files and helpers call it.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";
/// What a helper says that knows no login for a host.
const NOT_FOUND: &str = "credentials not found";

/// What this machine knows of a login at a registry.
#[derive(Clone)]
pub(super) enum Login {
    /// Nothing: it is asked without one.
    None,
    /// A user, from a file.
    User { name: String, secret: SecretString, file: PathBuf },
    /// There may be one that cannot be used: asking goes without, and only who is refused is told why.
    Unusable { file: PathBuf, why: String },
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::User { name, file, .. } => write!(f, "User({name} from {})", file.display()),
            Self::Unusable { file, why } => write!(f, "Unusable({}: {why})", file.display()),
        }
    }
}

impl Login {
    /// Looks for the login at a host, or at a path of it, in the files of this user.
    pub(super) async fn find(host: &str, path: &str) -> Self {
        let (files, keys) = (files(|name| std::env::var_os(name).map(PathBuf::from)), keys(host, path));
        // A helper is a program, which may take its time.
        tokio::task::spawn_blocking(move || look(&files, &keys)).await.unwrap_or(Self::None)
    }

    /// As the client takes it.
    pub(super) fn auth(&self) -> RegistryAuth {
        match self {
            Self::User { name, secret, .. } => RegistryAuth::Basic(name.clone(), secret.expose_secret().into()),
            Self::None | Self::Unusable { .. } => RegistryAuth::Anonymous,
        }
    }
}

/// The files that may hold logins: those that the environment names, then docker's, then containers'.
fn files(variable: impl Fn(&str) -> Option<PathBuf>) -> Vec<PathBuf> {
    let home = variable("HOME");
    let below_home = |path: &str| home.as_ref().map(|home| home.join(path));
    let docker = variable("DOCKER_CONFIG").or_else(|| below_home(".docker"));
    let config = variable("XDG_CONFIG_HOME").or_else(|| below_home(".config"));
    let files = [
        variable("REGISTRY_AUTH_FILE"),
        docker.map(|folder| folder.join("config.json")),
        variable("XDG_RUNTIME_DIR").map(|folder| folder.join("containers/auth.json")),
        config.map(|folder| folder.join("containers/auth.json")),
    ];
    files.into_iter().flatten().collect()
}

/// What a login may be filed under, the most particular first: containers' files know logins for a path.
fn keys(host: &str, path: &str) -> Vec<String> {
    if host == "docker.io" {
        return vec![DOCKER_HUB.into()];
    }
    let mut key = if path.is_empty() { host.to_owned() } else { format!("{host}/{path}") };
    let mut keys = vec![key.clone()];
    while let Some((shorter, _)) = key.rsplit_once('/') {
        key = shorter.to_owned();
        keys.push(key.clone());
    }
    keys
}

/// The first file with a login.
fn look(files: &[PathBuf], keys: &[String]) -> Login {
    let mut unusable = Login::None;
    for file in files {
        match look_in(file, keys) {
            Login::None => {}
            login @ Login::User { .. } => return login,
            found @ Login::Unusable { .. } if matches!(unusable, Login::None) => unusable = found,
            Login::Unusable { .. } => {}
        }
    }
    unusable
}

fn look_in(file: &Path, keys: &[String]) -> Login {
    let unusable = |why: String| Login::Unusable { file: file.into(), why };
    let text = match std::fs::read(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Login::None,
        Err(error) => return unusable(error.to_string()),
    };
    for key in keys {
        match docker_credential::get_credential_from_reader(text.as_slice(), key) {
            Ok(DockerCredential::UsernamePassword(name, secret)) => {
                return Login::User { name, secret: secret.into(), file: file.into() };
            }
            Ok(DockerCredential::IdentityToken(_)) => {
                return unusable(
                    "it keeps an identity token, and etcdless logs in with a password or an access token".into(),
                );
            }
            Err(CredentialRetrievalError::NoCredentialConfigured) => {}
            Err(CredentialRetrievalError::HelperFailure { stdout, stderr, .. })
                if stdout.contains(NOT_FOUND) || stderr.contains(NOT_FOUND) => {}
            // Its output stays here: nobody knows what it printed before it failed.
            Err(CredentialRetrievalError::HelperFailure { helper, .. }) => {
                return unusable(format!("its helper {helper} failed: try `echo {key} | {helper} get`"));
            }
            Err(CredentialRetrievalError::HelperCommunicationError) => {
                return unusable("the credential helper that it names cannot be started".into());
            }
            Err(error) => return unusable(error.to_string()),
        }
    }
    Login::None
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used)]
    use std::fs;

    use super::*;

    #[test]
    fn files_in_the_order_in_which_they_count() {
        let found = |variables: &[(&str, &str)]| {
            let get = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
            files(get).iter().map(|file| file.display().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(found(&[("HOME", "/h")]), ["/h/.docker/config.json", "/h/.config/containers/auth.json"]);
        let all = [
            ("HOME", "/h"),
            ("DOCKER_CONFIG", "/d"),
            ("REGISTRY_AUTH_FILE", "/a.json"),
            ("XDG_RUNTIME_DIR", "/run/1"),
            ("XDG_CONFIG_HOME", "/c"),
        ];
        assert_eq!(
            found(&all),
            ["/a.json", "/d/config.json", "/run/1/containers/auth.json", "/c/containers/auth.json"]
        );
        assert_eq!(found(&[]), [""; 0]);
    }

    #[test]
    fn keys_from_the_particular_to_the_host() {
        assert_eq!(keys("r.example:5000", "a/b"), ["r.example:5000/a/b", "r.example:5000/a", "r.example:5000"]);
        assert_eq!(keys("docker.io", ""), [DOCKER_HUB]);
    }

    /// What is found at r.example/a with these files, in words.
    fn found(texts: &[&str], path: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let file = |(number, text): (usize, &&str)| {
            let file = folder.path().join(format!("{number}.json"));
            fs::write(&file, text).unwrap();
            file
        };
        let mut files: Vec<PathBuf> = vec![folder.path().join("is-not-there.json")];
        files.extend(texts.iter().enumerate().map(file));
        let login = look(&files, &keys("r.example", path));
        let secret = match login.auth() {
            RegistryAuth::Basic(_, secret) => secret,
            _ => String::new(),
        };
        let shown = format!("{login:?}");
        assert!(secret.is_empty() || !shown.contains(&secret), "{shown}");
        format!("{shown} {secret}").replace(&format!("{}/", folder.path().display()), "")
    }

    #[test]
    fn logins_are_found_where_they_are_kept() {
        // me:secret
        let here = r#"{ "auths": { "r.example": { "auth": "bWU6c2VjcmV0" } } }"#;
        let other = r#"{ "auths": { "other.example": { "auth": "bWU6c2VjcmV0" } } }"#;
        let path = r#"{ "auths": { "r.example": { "auth": "bWU6c2VjcmV0" }, "r.example/a": { "username": "robot", "password": "hunter2" } } }"#;
        for (texts, path, expected) in [
            (&[][..], "", "None "),
            (&[other], "", "None "),
            (&[here], "", "User(me from 0.json) secret"),
            (&[other, here], "a", "User(me from 1.json) secret"),
            (&[path], "a", "User(robot from 0.json) hunter2"),
            (&[path], "", "User(me from 0.json) secret"),
            (&["{"], "", "Unusable(0.json: Unable to read config) "),
            (&["{", here], "", "User(me from 1.json) secret"),
            (
                &[r#"{ "auths": { "r.example": { "auth": "!" } } }"#],
                "",
                "Unusable(0.json: Unable to decode credential) ",
            ),
            (
                &[r#"{ "auths": { "r.example": {} }, "credsStore": "of-nobody" }"#],
                "",
                "Unusable(0.json: the credential helper that it names cannot be started) ",
            ),
        ] {
            assert_eq!(found(texts, path), expected, "{texts:?} {path}");
        }
        let token = r#"{ "auths": { "r.example": { "identitytoken": "t0ken" } } }"#;
        assert!(found(&[token], "").starts_with("Unusable(0.json: it keeps an identity token"));
    }
}

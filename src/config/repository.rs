//! Where images come from: the flat repository that kubeadm calls `imageRepository`, and the registry that hosts pull through.

use std::fmt;
use std::str::FromStr;

use super::Artifacts;
use super::text::text;

/// A flat repository that holds every image as `REPOSITORY/NAME:TAG`, such as `img.example.com/system`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageRepository(String);

/// Why a text is not an [`ImageRepository`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an image repository: {}", advice(text))]
pub struct ImageRepositoryError {
    text: String,
}

impl ImageRepository {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The registry that has it: HOST or HOST:PORT.
    pub fn host(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }
}

impl FromStr for ImageRepository {
    type Err = ImageRepositoryError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split('/');
        let host = parts.next().is_some_and(is_registry);
        let usable = host && parts.all(is_component) && text != PUBLISHER;
        if usable { Ok(Self(text.into())) } else { Err(ImageRepositoryError { text: text.into() }) }
    }
}

/// Where Kubernetes' own images are anyhow; kine's and flannel's never are.
const PUBLISHER: &str = "registry.k8s.io";

/// What to write instead of a text that is not a repository.
pub(super) fn advice(text: &str) -> String {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let tidy = rest.trim_end_matches('/');
    // A colon after the last slash begins a tag; before it, a port.
    let name = tidy
        .rfind('/')
        .map_or(tidy.len(), |slash| slash + tidy[slash..].find([':', '@']).unwrap_or(tidy.len() - slash));
    match &tidy[..name] {
        PUBLISHER => {
            "leave it out: that is where Kubernetes' own images come from, and it has no kine and no flannel".into()
        }
        short if short != text && short.parse::<ImageRepository>().is_ok() => format!("write `{short}`"),
        bare if format!("docker.io/{bare}").parse::<ImageRepository>().is_ok() => {
            format!("name its registry, too: `HOST/{bare}`")
        }
        _ => "write HOST/PATH or HOST:PORT/PATH, without scheme and tag; the path is of a-z, 0-9 and any of ._-".into(),
    }
}

/// What image references take for a registry and not for the first part of a name: with a dot or a port, or `localhost`.
fn is_registry(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let ipv6 = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
    let label = |label: &str| {
        let inner = |c: char| c.is_ascii_alphanumeric() || c == '-';
        !label.is_empty() && label.chars().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    let named = match ipv6 {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.split('.').all(label),
    };
    let distinct = ipv6.is_some() || host.contains('.') || port.is_some() || host == "localhost";
    named && distinct && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

/// A part of a repository's path, as registries take it.
fn is_component(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-');
    let end = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    text.chars().all(inner) && end(text.chars().next()) && end(text.chars().next_back())
}

impl Artifacts {
    /// The registry with its scheme, which is plain HTTP where none is written.
    pub fn registry_url(&self) -> Option<String> {
        let registry = self.registry.as_deref()?.trim_end_matches('/');
        Some(if registry.contains("://") { registry.to_owned() } else { format!("http://{registry}") })
    }

    /// Whether the registry is this very host, which then holds images under their own names and not as HOST/NAME:TAG.
    pub fn registry_is(&self, host: &str) -> bool {
        self.registry_url().is_some_and(|url| url.split_once("://").is_some_and(|(_, registry)| registry == host))
    }
}

impl fmt::Display for ImageRepository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

text!(ImageRepository, "an image repository", "format": "image-repository");

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test")]
    use super::*;

    #[test]
    fn repositories_and_their_hosts() {
        for (text, host) in [
            ("img.example.com/system", "img.example.com"),
            ("10.0.0.5:5000", "10.0.0.5:5000"),
            ("10.0.0.5:5000/a/b_c", "10.0.0.5:5000"),
            ("[fd00::1]:5000/k8s", "[fd00::1]:5000"),
            ("localhost/k8s", "localhost"),
            ("registry:5000/k8s", "registry:5000"),
            ("registry.k8s.io/mine", "registry.k8s.io"),
        ] {
            assert_eq!(text.parse::<ImageRepository>().unwrap().host(), host, "{text}");
        }
    }

    #[test]
    fn what_is_no_repository_is_told_with_what_to_write() {
        for (text, advised) in [
            ("https://img.example.com/system", "write `img.example.com/system`"),
            ("img.example.com/system:v1", "write `img.example.com/system`"),
            ("img.example.com/system@sha256:0", "write `img.example.com/system`"),
            ("img.example.com/system/", "write `img.example.com/system`"),
            ("10.0.0.5:5000/", "write `10.0.0.5:5000`"),
            ("system", "name its registry, too: `HOST/system`"),
            ("me/system", "name its registry, too: `HOST/me/system`"),
            ("https://registry.k8s.io/", "leave it out"),
            ("registry.k8s.io", "leave it out"),
            ("img.example.com/System", "write HOST/PATH"),
            ("user:pass@img.example.com", "write HOST/PATH"),
            ("img.example.com:99999/a", "write HOST/PATH"),
            ("", "write HOST/PATH"),
        ] {
            let error = text.parse::<ImageRepository>().unwrap_err().to_string();
            assert!(error.contains(advised), "{error}");
        }
    }

    #[test]
    fn a_registry_without_a_scheme_is_http() {
        let artifacts = |registry: &str| Artifacts { registry: Some(registry.into()), ..Artifacts::default() };
        assert_eq!(artifacts("10.0.0.5:5000").registry_url().as_deref(), Some("http://10.0.0.5:5000"));
        assert_eq!(artifacts("https://r.example/").registry_url().as_deref(), Some("https://r.example"));
        assert!(artifacts("https://r.example/").registry_is("r.example"));
        assert!(!Artifacts::default().registry_is(""));
    }
}

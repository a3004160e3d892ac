//! Image registries: which one is asked for an image, by which protocol, and who logs in.

mod archive;
mod credentials;
mod error;
mod pull;
mod push;
mod tag;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use futures_util::stream::BoxStream;
use oci_client::client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol};
use oci_client::{Client, Reference};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::sync::Mutex;
use tokio_util::bytes::Bytes;

use super::http;
use crate::config::Artifacts;
use crate::failure::{Failure, Kind};
pub use archive::open;
use credentials::Login;
pub use push::{Progress, Push, Tally};
pub use tag::tag;

/// The bytes of a blob as they come.
pub type Chunks = BoxStream<'static, std::io::Result<Bytes>>;

/// Where images are: in the registries that their names say, or in one that holds them all. Cheap to clone.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    /// The one that holds them all.
    holder: Option<Holder>,
    client: Client,
    /// A client that may take as long as it wants for an upload, made at the first one.
    uploads: OnceLock<Client>,
    ca: Vec<Certificate>,
    /// By host; a helper may ask a cloud, so each is looked up once.
    logins: Mutex<HashMap<String, Login>>,
}

/// A registry that holds images of others.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Holder {
    /// Over HTTPS.
    secure: bool,
    /// `HOST[:PORT]`.
    host: String,
    /// In front of every name; may be empty.
    path: String,
    names: Names,
}

/// How a registry that holds images of others calls them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Names {
    /// `REGISTRY/HOST/NAME:TAG`, with the host that the image comes from.
    #[default]
    Whole,
    /// `REGISTRY/NAME:TAG` with the last part of the name, as kubeadm's `imageRepository` wants it.
    Flat,
    /// As they are called anyway: they come from here.
    Own,
}

/// One image in one registry.
#[derive(Debug, Clone)]
struct Place {
    /// The image as Kubernetes knows it.
    named: Reference,
    /// The image as the registry is asked for it.
    asked: Reference,
}

impl Registry {
    /// Where a description says that images come from; without a scheme, its registry speaks plain HTTP.
    pub fn of(artifacts: &Artifacts) -> Result<Self, Failure> {
        let holder = artifacts.registry.as_deref().map(|registry| Holder::parse(registry, false, Names::Whole));
        let holder = holder.transpose().map_err(|message| Failure::new(Kind::Config, message))?;
        Self::new(holder, None)
    }

    /// The registry of `[http[s]://]HOST[:PORT][/PATH]`, over HTTPS unless it says otherwise. `ca` is a file of CA certificates to trust, too.
    pub fn at(address: &str, names: Names, ca: Option<&Path>) -> Result<Self, Failure> {
        let holder = Holder::parse(address, true, names).map_err(|message| Failure::new(Kind::Usage, message))?;
        Self::new(Some(holder), ca)
    }

    fn new(holder: Option<Holder>, ca: Option<&Path>) -> Result<Self, Failure> {
        let ca = ca.map(certificates).transpose()?.unwrap_or_default();
        let secure = holder.as_ref().is_none_or(|holder| holder.secure);
        let client = if ca.is_empty() { client(secure)?.clone() } else { new_client(config(secure, &ca))? };
        Ok(Self(Arc::new(Inner { holder, client, uploads: OnceLock::new(), ca, logins: Mutex::default() })))
    }

    /// What each of these images is called here. Two with one name are refused.
    pub fn names(&self, references: &[String]) -> Result<Vec<String>, Failure> {
        let mut names: Vec<String> = vec![];
        for reference in references {
            let name = self.place(reference)?.asked.to_string();
            if let Some(other) = names.iter().position(|known| *known == name) {
                let other = &references[other];
                let message = format!("{other} and {reference} would both be {name}");
                return Err(
                    Failure::new(Kind::Usage, message).hint("leave --flat out: then every name keeps its whole path")
                );
            }
            names.push(name);
        }
        Ok(names)
    }

    /// `HOST[:PORT]` of the registry that holds all images, for people.
    pub fn host(&self) -> &str {
        self.0.holder.as_ref().map_or("upstream", |holder| &holder.host)
    }

    fn is_secure(&self) -> bool {
        self.0.holder.as_ref().is_none_or(|holder| holder.secure)
    }

    /// The client for uploads: the other one takes a long upload for a silence, since no answer comes before its end.
    fn uploads(&self) -> Result<&Client, Failure> {
        if let Some(client) = self.0.uploads.get() {
            return Ok(client);
        }
        let config = config(self.is_secure(), &self.0.ca);
        let mut client = new_client(ClientConfig { read_timeout: None, use_monolithic_push: true, ..config })?;
        client.tokens = self.0.client.tokens.clone();
        Ok(self.0.uploads.get_or_init(|| client))
    }

    /// Where an image is here.
    fn place(&self, reference: &str) -> Result<Place, Failure> {
        let named: Reference = reference
            .parse()
            .map_err(|error| Failure::new(Kind::Config, format!("`{reference}` is not an image reference: {error}")))?;
        let asked = self.0.holder.as_ref().map_or_else(|| named.clone(), |holder| holder.holds(&named));
        Ok(Place { named, asked })
    }

    /// Who logs in where an image is. The client is told, too.
    async fn login(&self, place: &Place) -> Login {
        let host = place.asked.registry();
        let mut logins = self.0.logins.lock().await;
        if let Some(login) = logins.get(host) {
            return login.clone();
        }
        let path = self.0.holder.as_ref().map_or("", |holder| &holder.path);
        let login = Login::find(host, path).await;
        self.0.client.store_auth_if_needed(place.asked.resolve_registry(), &login.auth()).await;
        logins.insert(host.into(), login.clone());
        login
    }
}

impl Holder {
    fn parse(text: &str, secure: bool, names: Names) -> Result<Self, String> {
        let (secure, rest) = match text.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            Some((scheme, _)) => return Err(format!("a registry is reached over http or https, not {scheme}")),
            None => (secure, text),
        };
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let path = path.trim_matches('/');
        if host.contains('@') {
            return Err("a password does not belong into a registry's address: `docker login` keeps it".into());
        }
        let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-:[]".contains(c);
        let host_is_good = host.chars().all(letter) && (host.contains(['.', ':']) || host == "localhost");
        // The client's own reading of a name decides which paths there can be.
        let name = join(&[path, "x"]);
        let read: Option<Reference> = format!("x.example/{name}").parse().ok();
        let path_is_good = read.is_some_and(|read| read.repository() == name);
        if !host_is_good || !path_is_good {
            return Err(format!("`{text}` is not a registry: write HOST[:PORT] or HOST[:PORT]/PATH, in lower case"));
        }
        Ok(Self { secure, host: host.into(), path: path.into(), names })
    }

    /// What this registry calls an image.
    fn holds(&self, named: &Reference) -> Reference {
        let repository = named.repository();
        let name = match self.names {
            // The host of `kubernetes.imageRepository` itself.
            Names::Whole if self.host == named.registry() => repository.to_owned(),
            Names::Whole => join(&[&self.path, named.registry(), repository]),
            Names::Own => join(&[&self.path, repository]),
            Names::Flat => join(&[&self.path, repository.rsplit('/').next().unwrap_or(repository)]),
        };
        let host = self.host.clone();
        match (named.tag(), named.digest()) {
            (_, Some(digest)) => Reference::with_digest(host, name, digest.into()),
            (tag, None) => Reference::with_tag(host, name, tag.unwrap_or("latest").into()),
        }
    }
}

fn join(parts: &[&str]) -> String {
    let parts: Vec<&str> = parts.iter().copied().filter(|part| !part.is_empty()).collect();
    parts.join("/")
}

impl Place {
    fn failure(&self, reason: String) -> Failure {
        let from = if self.asked == self.named { String::new() } else { format!(" from {}", self.asked.registry()) };
        Failure::new(Kind::Step, format!("image {} cannot be fetched{from}: {reason}", self.named))
    }

    /// What lets us in where we were refused.
    fn login_hint(&self) -> String {
        format!("`docker login {}` logs in", self.asked.registry())
    }
}

/// The client for registries over HTTPS or over plain HTTP, made at its first use. It keeps the tokens that it is given.
fn client(secure: bool) -> Result<&'static Client, Failure> {
    static HTTPS: OnceLock<Client> = OnceLock::new();
    static HTTP: OnceLock<Client> = OnceLock::new();
    let cell = if secure { &HTTPS } else { &HTTP };
    if let Some(client) = cell.get() {
        return Ok(client);
    }
    let client = new_client(config(secure, &[]))?;
    Ok(cell.get_or_init(|| client))
}

fn config(secure: bool, ca: &[Certificate]) -> ClientConfig {
    ClientConfig {
        protocol: if secure { ClientProtocol::Https } else { ClientProtocol::Http },
        extra_root_certificates: ca.to_vec(),
        user_agent: http::USER_AGENT,
        connect_timeout: Some(http::CONNECT_TIMEOUT),
        read_timeout: Some(http::READ_TIMEOUT),
        ..ClientConfig::default()
    }
}

fn new_client(config: ClientConfig) -> Result<Client, Failure> {
    http::install_tls();
    Client::try_from(config).map_err(|error| http::unusable(&error))
}

/// The certificates of a PEM file.
fn certificates(file: &Path) -> Result<Vec<Certificate>, Failure> {
    let unusable = |why: String| Failure::new(Kind::Usage, format!("{} {why}", file.display()));
    let text = std::fs::read(file).map_err(|error| unusable(format!("cannot be read: {error}")))?;
    let mut found = vec![];
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|error| unusable(format!("is not PEM: {error}")))?;
        found.push(Certificate { encoding: CertificateEncoding::Der, data: certificate.to_vec() });
    }
    if found.is_empty() {
        return Err(unusable("holds no certificate".into())
            .hint("a CA certificate in PEM starts with -----BEGIN CERTIFICATE-----"));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn addresses_of_registries() {
        let holder = |secure, host: &str, path: &str| {
            Ok(Holder { secure, host: host.into(), path: path.into(), names: Names::Whole })
        };
        for (text, expected) in [
            ("img.example.com", holder(true, "img.example.com", "")),
            ("img.example.com/", holder(true, "img.example.com", "")),
            ("img.example.com:5000/k8s/system/", holder(true, "img.example.com:5000", "k8s/system")),
            ("http://10.0.0.5:5000", holder(false, "10.0.0.5:5000", "")),
            ("https://localhost/x", holder(true, "localhost", "x")),
            ("http://[::1]:5000", holder(false, "[::1]:5000", "")),
        ] {
            assert_eq!(Holder::parse(text, true, Names::Whole), expected, "{text}");
        }
        assert!(!Holder::parse("10.0.0.5:5000", false, Names::Whole).unwrap().secure);
        for text in
            ["", "http://", "ftp://x.example", "x.example/UPPER", "registry", "a b.example", "x.example/a:tag", "/x"]
        {
            assert!(Holder::parse(text, true, Names::Whole).is_err(), "{text}");
        }
        assert!(Holder::parse("me:secret@x.example", true, Names::Whole).unwrap_err().contains("docker login"));
    }

    #[test]
    fn names_within_a_registry() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let name = |path: &str, names, reference: &str| {
            let holder = Holder { secure: true, host: "r.example".into(), path: path.into(), names };
            holder.holds(&reference.parse().unwrap()).to_string()
        };
        for (path, names, reference, expected) in [
            ("", Names::Whole, "registry.k8s.io/pause:3.10", "r.example/registry.k8s.io/pause:3.10"),
            ("k8s", Names::Whole, "docker.io/rancher/kine:v1", "r.example/k8s/docker.io/rancher/kine:v1"),
            ("", Names::Whole, "busybox", "r.example/docker.io/library/busybox:latest"),
            ("system", Names::Flat, "registry.k8s.io/coredns/coredns:v1.12.1", "r.example/system/coredns:v1.12.1"),
            ("", Names::Flat, "registry.k8s.io/kube-proxy:v1.34.4", "r.example/kube-proxy:v1.34.4"),
        ] {
            assert_eq!(name(path, names, reference), expected);
        }
        assert_eq!(
            name("", Names::Flat, &format!("registry.k8s.io/pause@{digest}")),
            format!("r.example/pause@{digest}")
        );
    }

    #[test]
    fn two_images_of_one_name_are_refused() {
        let names = |names, references: &[&str]| {
            let registry = Registry::at("r.example/system", names, None).unwrap();
            registry.names(&references.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        let both = ["docker.io/rancher/kine:v1", "quay.io/other/kine:v1"];
        assert_eq!(names(Names::Whole, &both).unwrap()[1], "r.example/system/quay.io/other/kine:v1");
        let failure = names(Names::Flat, &both).unwrap_err();
        assert_eq!(failure.message, format!("{} and {} would both be r.example/system/kine:v1", both[0], both[1]));
        assert!(names(Names::Flat, &["docker.io/rancher/kine:v1", "docker.io/rancher/kine:v2"]).is_ok());
    }
}

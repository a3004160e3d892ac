//! The certificates of a server of ours and of its clients: what the hosts hold and what is still good is kept, the rest is made.
//!
//! They are made while planning, so that steps are plain files. The authority's key stays on the server's host: whoever is root there
//! has the data anyway. It is read only when something is to be signed.

use std::collections::BTreeMap;

use secrecy::SecretString;

use super::{Server, USER};
use crate::config::credentials::Credentials;
use crate::datastore;
use crate::facts::{Facts, Probes};
use crate::failure::{Failure, Kind};
use crate::op::File;
use crate::pki::authority::{Authority, Leaf, authority_problem, problem};

/// The folder of a server's certificates and settings, on its host.
pub const FOLDER: &str = "/etc/etcdless/datastore";

/// The authority's certificate, on the server's host.
pub const AUTHORITY: &str = "/etc/etcdless/datastore/ca.crt";

/// The authority's key, on the server's host.
pub const KEY: &str = "/etc/etcdless/datastore/ca.key";

/// The authority's subject. Each server has an authority of its own; clients and server know it by its key.
const NAME: &str = "etcdless-datastore";

/// What stands for a certificate that does not exist yet, or a key that is not looked at.
const STANDS: &str = "(made when it is placed)\n";

/// What the hosts hold, by their labels.
pub type Held<'a> = BTreeMap<&'a str, &'a Facts>;

/// The certificates of one server.
#[derive(Debug, Clone)]
pub struct Set {
    /// For the server's host, in the order in which they are to be written; keys that are good are left out.
    pub server: Vec<File>,
    /// For each control plane and each store.
    pub clients: Vec<Client>,
}

/// The certificate that a control plane shows for one store.
#[derive(Debug, Clone)]
pub struct Client {
    /// The control plane's label.
    pub host: String,
    /// The store.
    pub shard: String,
    /// What kine is told of.
    pub credentials: Credentials,
    /// The key, where it is new. It is to be written before the certificate.
    pub key: Option<File>,
}

/// What facts must answer about a host of this server or one of its clients.
pub fn probes(server: &Server) -> Probes {
    let mut probes = Probes::default();
    let folders = server.databases.iter().map(|database| datastore::folder(&database.shard));
    let pairs = folders.map(|folder| (folder, "client")).chain([(FOLDER.to_owned(), "server")]);
    for (folder, name) in pairs {
        probes.texts.extend([format!("{folder}/ca.crt"), format!("{folder}/{name}.crt")]);
        probes.files.extend([format!("{folder}/{name}.key"), KEY.to_owned()]);
    }
    probes
}

impl Set {
    /// Whether the authority's key is needed, and the host has it.
    pub fn wants_key(server: &Server, held: &Held<'_>) -> bool {
        let Some(ca) = authority(server, held) else { return false };
        let good = |(folder, name, leaf): (String, &str, Leaf), host: &str| {
            kept(held, host, &folder, name, &leaf, ca).is_some()
        };
        !good(own(server), &server.host) || !clients(server).all(|(host, shard)| good(client(shard), host))
    }

    /// What is good, and new ones for the rest. `key` is the authority's, where [`Set::wants_key`] asked for it.
    pub fn of(server: &Server, held: &Held<'_>, key: Option<&SecretString>) -> Result<Self, Failure> {
        let failure =
            |error| Failure::new(Kind::Internal, format!("cannot make the certificates of {}: {error}", server.host));
        let known = authority(server, held);
        let signer = match (known, key) {
            (Some(ca), Some(key)) => Some(Authority::kept(NAME, ca, key).map_err(failure)?),
            (Some(_), None) => None,
            (None, _) => Some(Authority::new(NAME).map_err(failure)?),
        };
        let ca =
            signer.as_ref().map_or_else(|| known.unwrap_or_default().to_owned(), |signer| signer.certificate.clone());
        // A pair that is good is kept, unless its authority is new.
        let pair = |host: &str,
                    (folder, name, leaf): (String, &str, Leaf)|
         -> Result<(String, Option<SecretString>), Failure> {
            if let Some(certificate) = known.and_then(|ca| kept(held, host, &folder, name, &leaf, ca)) {
                return Ok((certificate, None));
            }
            let signer = signer.as_ref().ok_or_else(|| Failure::new(Kind::Internal, format!("{KEY} was not read")))?;
            let signed = signer.sign(&leaf).map_err(failure)?;
            Ok((signed.certificate, Some(signed.key)))
        };
        let mut files = Vec::new();
        if let (None, Some(signer)) = (known, &signer) {
            files.push(secret(KEY, signer.key()));
        }
        files.push(File::new(AUTHORITY, 0o644, ca.clone()));
        let (certificate, new) = pair(&server.host, own(server))?;
        files.extend(new.map(|key| secret(&format!("{FOLDER}/server.key"), &key)));
        files.push(File::new(format!("{FOLDER}/server.crt"), 0o644, certificate));
        let clients = clients(server).map(|(host, shard)| {
            let (certificate, new) = pair(host, client(shard))?;
            let path = format!("{}/client.key", datastore::folder(shard));
            Ok(Client::new(host, shard, ca.clone(), certificate, new.map(|key| secret(&path, &key))))
        });
        Ok(Self { clients: clients.collect::<Result<_, Failure>>()?, server: files })
    }

    /// Credentials of the moment, for looking into the server from here by way of a control plane.
    pub fn visitor(authority: &str, key: &SecretString) -> Result<Credentials, Failure> {
        let signed =
            Authority::kept(NAME, authority, key).and_then(|signer| signer.sign(&Leaf::Client { name: USER.into() }));
        let signed = signed.map_err(|error| {
            Failure::new(Kind::Datastore, format!("the authority in {FOLDER} cannot sign: {error}"))
        })?;
        let (ca, cert, key) = (Some(authority.to_owned()), Some(signed.certificate), Some(signed.key));
        Ok(Credentials { ca, cert, key, ..Credentials::default() })
    }

    /// The same files with a stand-in in each, to look for them, and for texts that people look at.
    pub fn placeholder(server: &Server) -> Self {
        let stands = SecretString::from(STANDS);
        let file = |name: &str| File::new(format!("{FOLDER}/{name}"), 0o644, STANDS);
        let own = vec![
            secret(KEY, &stands),
            file("ca.crt"),
            secret(&format!("{FOLDER}/server.key"), &stands),
            file("server.crt"),
        ];
        let clients = clients(server).map(|(host, shard)| {
            let key = secret(&format!("{}/client.key", datastore::folder(shard)), &stands);
            Client::new(host, shard, STANDS.into(), STANDS.into(), Some(key))
        });
        Self { clients: clients.collect(), server: own }
    }
}

impl Client {
    fn new(host: &str, shard: &str, ca: String, certificate: String, key: Option<File>) -> Self {
        let (ca, cert, stands) = (Some(ca), Some(certificate), Some(STANDS.into()));
        let credentials = Credentials { ca, cert, key: stands, key_apart: true, ..Credentials::default() };
        Self { host: host.into(), shard: shard.into(), credentials, key }
    }
}

fn secret(path: &str, content: &SecretString) -> File {
    File { path: path.into(), mode: 0o600, content: content.clone(), secret: true }
}

/// The authority that the server's host has, where it can still be used and still be signed with.
fn authority<'a>(server: &Server, held: &Held<'a>) -> Option<&'a str> {
    let facts = *held.get(server.host.as_str())?;
    let certificate = facts.texts.get(AUTHORITY)?;
    (facts.files.contains_key(KEY) && authority_problem(certificate).is_none()).then_some(certificate)
}

/// The certificate that a host has in this place, where it is good and the files beside it are there.
fn kept(held: &Held<'_>, host: &str, folder: &str, name: &str, leaf: &Leaf, ca: &str) -> Option<String> {
    let facts = held.get(host)?;
    let trusted = facts.texts.get(&format!("{folder}/ca.crt")).is_some_and(|text| text == ca);
    let key = facts.files.contains_key(&format!("{folder}/{name}.key"));
    let certificate = facts.texts.get(&format!("{folder}/{name}.crt"))?;
    (trusted && key && problem(leaf, ca, certificate).is_none()).then(|| certificate.clone())
}

fn own(server: &Server) -> (String, &'static str, Leaf) {
    (FOLDER.into(), "server", Leaf::Server { name: server.host.clone(), addresses: vec![server.address] })
}

fn client(shard: &str) -> (String, &'static str, Leaf) {
    (datastore::folder(shard), "client", Leaf::Client { name: USER.into() })
}

/// Every control plane with every store of the server.
fn clients(server: &Server) -> impl Iterator<Item = (&str, &str)> {
    server
        .clients
        .iter()
        .flat_map(|member| server.databases.iter().map(|database| (member.label.as_str(), database.shard.as_str())))
}

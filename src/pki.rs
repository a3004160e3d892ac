//! Certificates that etcdless makes.
//!
//! Here are those of `kine.listen: tcp`: one set of CA, server and client certificate a host, made together and replaced together.
//! `authority` has the others, whose signer is kept.
//!
//! They are good for loopback alone and outlive kubeadm's year, because nothing renews them but the next run of etcdless. The CA's
//! key is dropped once both leaves are signed, so nobody can ever sign another one.

pub mod authority;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::{Pem, parse_x509_pem};

use crate::facts::Facts;
use crate::op::{Decision, File, certificates};

const DAY: u64 = 24 * 60 * 60;

/// How long a set is good for, in seconds: three years.
const LIFETIME: u64 = 3 * 365 * DAY;

/// What must be left of a certificate, in seconds; with less, the set is made anew.
const REMAINING: u64 = 30 * DAY;

/// How far back a set becomes valid, in seconds, for hosts whose clock is behind this machine's.
const BACKDATE: u64 = DAY;

/// The private keys of a folder.
pub fn keys(directory: &str) -> [String; 2] {
    ["server.key", "client.key"].map(|name| format!("{directory}/{name}"))
}

/// Whether the certificates of a folder are there, belong together and last for another 30 days.
pub fn decide(directory: &str, facts: &Facts) -> Decision {
    match problem(directory, facts, now()) {
        Some(problem) => Decision::Change(problem),
        None => Decision::AlreadySo,
    }
}

/// When a certificate in PEM ends, in seconds since 1970: the first of a chain, the last that ends of a bundle of authorities.
pub fn end(text: &str, is_bundle: bool) -> Option<i64> {
    let ends = Pem::iter_from_buffer(text.as_bytes()).filter_map(Result::ok);
    let mut ends = ends.filter_map(|pem| Some(pem.parse_x509().ok()?.validity().not_after.timestamp()));
    if is_bundle { ends.max() } else { ends.next() }
}

/// Makes one set: CA, server (127.0.0.1, ::1, localhost) and client certificate. The CA's key is dropped.
///
/// The files are in the order in which they must be written: the CA first and a leaf last, so that a set that was cut off half-way
/// does not hold together and is seen as such.
pub fn make(directory: &str) -> Result<Vec<File>, rcgen::Error> {
    make_at(directory, now())
}

fn make_at(directory: &str, now: u64) -> Result<Vec<File>, rcgen::Error> {
    let ca = authority(now)?;
    let (server_certificate, server_key) = leaf(&ca.issuer, now, "etcdless-kine", ExtendedKeyUsagePurpose::ServerAuth)?;
    let (client_certificate, client_key) =
        leaf(&ca.issuer, now, "etcdless-apiserver", ExtendedKeyUsagePurpose::ClientAuth)?;
    let [ca_path, server_path, client_path] = certificates(directory);
    let [server_key_path, client_key_path] = keys(directory);
    Ok(vec![
        File::new(ca_path, 0o644, ca.pem),
        File::secret(server_key_path, 0o600, server_key),
        File::secret(client_key_path, 0o600, client_key),
        File::new(server_path, 0o644, server_certificate),
        File::new(client_path, 0o644, client_certificate),
    ])
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

fn authority(now: u64) -> Result<Authority, rcgen::Error> {
    let mut params = params(now, LIFETIME, "etcdless-kine-ca", Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let key = KeyPair::generate()?;
    let pem = params.self_signed(&key)?.pem();
    Ok(Authority { issuer: Issuer::new(params, key), pem })
}

/// A certificate and its key, both PEM. Only a server has names: kine looks at no name of a client.
fn leaf(
    issuer: &Issuer<'_, KeyPair>,
    now: u64,
    name: &str,
    usage: ExtendedKeyUsagePurpose,
) -> Result<(String, String), rcgen::Error> {
    let names = match usage {
        ExtendedKeyUsagePurpose::ServerAuth => {
            let addresses = loopback().map(|address| address.to_string());
            addresses.into_iter().chain(["localhost".to_owned()]).collect()
        }
        _ => Vec::new(),
    };
    let mut params = params(now, LIFETIME, name, names)?;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    let key = KeyPair::generate()?;
    Ok((params.signed_by(&key, issuer)?.pem(), key.serialize_pem()))
}

fn params(now: u64, lifetime: u64, name: &str, names: Vec<String>) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(now.saturating_sub(BACKDATE));
    params.not_after = epoch + Duration::from_secs(now.saturating_add(lifetime));
    Ok(params)
}

/// Why a folder's set cannot be used; `now` is in seconds since 1970.
fn problem(directory: &str, facts: &Facts, now: u64) -> Option<String> {
    let missing = |path: &&String| !facts.files.contains_key(*path);
    if let Some(key) = keys(directory).iter().find(missing) {
        return Some(format!("{key} is missing"));
    }
    let paths = certificates(directory);
    let mut pems = Vec::new();
    for path in &paths {
        match facts.texts.get(path).map(|text| parse_x509_pem(text.as_bytes())) {
            None => return Some(format!("{path} is missing")),
            Some(Err(_)) => return Some(format!("{path} is not a certificate")),
            Some(Ok((_, pem))) => pems.push(pem),
        }
    }
    let parsed: Result<Vec<_>, _> = pems.iter().map(Pem::parse_x509).collect();
    let Ok([ca, server, client]) = parsed.map_err(drop).and_then(|list| <[_; 3]>::try_from(list).map_err(drop)) else {
        return Some(format!("{directory} holds a file that is not a certificate"));
    };
    let [ca_path, server_path, client_path] = &paths;
    for (path, certificate) in [(ca_path, &ca), (server_path, &server), (client_path, &client)] {
        if let Some(problem) = untimely(certificate, now) {
            return Some(format!("{path} {problem}"));
        }
    }
    for (path, certificate) in [(server_path, &server), (client_path, &client)] {
        if certificate.issuer() != ca.subject() || certificate.verify_signature(Some(ca.public_key())).is_err() {
            return Some(format!("{path} is not signed by {ca_path}"));
        }
    }
    nameless(&server).map(|name| format!("{server_path} does not cover {name}"))
}

fn untimely(certificate: &X509Certificate<'_>, now: u64) -> Option<&'static str> {
    let seconds = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let validity = certificate.validity();
    if validity.not_before.timestamp() > seconds(now) {
        Some("is not valid yet")
    } else if validity.not_after.timestamp() <= seconds(now) {
        Some("has expired")
    } else if validity.not_after.timestamp() <= seconds(now + REMAINING) {
        Some("expires within 30 days")
    } else {
        None
    }
}

/// The first of the names that clients connect by which the certificate does not have.
fn nameless(server: &X509Certificate<'_>) -> Option<String> {
    let names = names_of(server);
    let has_name = |wanted: &str| names.iter().any(|name| matches!(name, GeneralName::DNSName(dns) if *dns == wanted));
    let address = loopback().into_iter().find(|address| !covers(&names, address)).map(|address| address.to_string());
    address.or_else(|| (!has_name("localhost")).then(|| "localhost".to_owned()))
}

/// The names that a certificate is for.
fn names_of<'a>(certificate: &X509Certificate<'a>) -> Vec<GeneralName<'a>> {
    let extension = certificate.subject_alternative_name().ok().flatten();
    extension.map(|extension| extension.value.general_names.clone()).unwrap_or_default()
}

/// Whether an address is among the names of a certificate.
fn covers(names: &[GeneralName<'_>], address: &IpAddr) -> bool {
    let bytes = match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    names.iter().any(|name| matches!(name, GeneralName::IPAddress(ip) if *ip == bytes))
}

fn loopback() -> [IpAddr; 2] {
    [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used)]
    use secrecy::ExposeSecret;

    use super::*;
    use crate::facts::FileFact;

    const DIRECTORY: &str = "/etc/etcdless/kine/pki";
    const NOW: u64 = 1_800_000_000;

    /// A host that holds these files.
    fn host(files: &[File]) -> Facts {
        let mut facts = Facts::default();
        for file in files {
            facts.files.insert(file.path.clone(), FileFact { mode: file.mode, ..FileFact::default() });
            if !file.secret {
                facts.texts.insert(file.path.clone(), file.content.expose_secret().to_owned());
            }
        }
        facts
    }

    fn set() -> Vec<File> {
        make_at(DIRECTORY, NOW).unwrap()
    }

    fn path(name: &str) -> String {
        format!("{DIRECTORY}/{name}")
    }

    #[test]
    fn a_set_that_was_just_made_is_already_so() {
        assert_eq!(decide(DIRECTORY, &host(&make(DIRECTORY).unwrap())), Decision::AlreadySo);
    }

    #[test]
    fn keys_are_secret_and_the_authority_has_none() {
        let files = set();
        let modes: Vec<(&str, u32, bool)> =
            files.iter().map(|file| (file.path.rsplit('/').next().unwrap(), file.mode, file.secret)).collect();
        assert_eq!(
            modes,
            [
                ("ca.crt", 0o644, false),
                ("server.key", 0o600, true),
                ("client.key", 0o600, true),
                ("server.crt", 0o644, false),
                ("client.crt", 0o644, false),
            ]
        );
        for file in &files {
            assert_eq!(file.content.expose_secret().contains("PRIVATE KEY"), file.secret, "{}", file.path);
        }
    }

    #[test]
    fn what_is_missing_or_unreadable_is_named() {
        assert_eq!(problem(DIRECTORY, &Facts::default(), NOW).unwrap(), path("server.key is missing"));
        let mut facts = host(&set());
        facts.texts.remove(&path("client.crt"));
        assert_eq!(problem(DIRECTORY, &facts, NOW).unwrap(), path("client.crt is missing"));
        facts.texts.insert(path("client.crt"), "hello".into());
        assert_eq!(problem(DIRECTORY, &facts, NOW).unwrap(), path("client.crt is not a certificate"));
        facts
            .texts
            .insert(path("client.crt"), "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n".into());
        assert_eq!(
            problem(DIRECTORY, &facts, NOW).unwrap(),
            format!("{DIRECTORY} holds a file that is not a certificate")
        );
    }

    #[test]
    fn a_set_is_replaced_before_it_ends() {
        let facts = host(&set());
        for (at, expected) in [
            (NOW - BACKDATE, None),
            (NOW - BACKDATE - 1, Some("ca.crt is not valid yet")),
            (NOW + LIFETIME - REMAINING - 1, None),
            (NOW + LIFETIME - REMAINING, Some("ca.crt expires within 30 days")),
            (NOW + LIFETIME, Some("ca.crt has expired")),
        ] {
            assert_eq!(problem(DIRECTORY, &facts, at), expected.map(path), "at {at}");
        }
    }

    /// Whatever number of files of a new set replaced those of an old one, the mixture is not taken for a set.
    #[test]
    fn a_set_that_was_cut_off_half_way_is_noticed() {
        let (old, new) = (set(), set());
        for count in 1..new.len() {
            let mixed: Vec<File> = new[..count].iter().chain(&old[count..]).cloned().collect();
            let problem = problem(DIRECTORY, &host(&mixed), NOW).unwrap();
            assert!(problem.ends_with(&format!("is not signed by {}", path("ca.crt"))), "{count}: {problem}");
        }
    }

    #[test]
    fn a_server_without_a_loopback_name_is_replaced() {
        let ca = authority(NOW).unwrap();
        let (certificate, _) = leaf(&ca.issuer, NOW, "client only", ExtendedKeyUsagePurpose::ClientAuth).unwrap();
        let mut facts = host(&set());
        facts.texts.insert(path("ca.crt"), ca.pem);
        facts.texts.insert(path("server.crt"), certificate.clone());
        facts.texts.insert(path("client.crt"), certificate);
        assert_eq!(problem(DIRECTORY, &facts, NOW).unwrap(), path("server.crt does not cover 127.0.0.1"));
    }
}

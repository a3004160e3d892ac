//! Authorities that outlive a run: the key stays on one host, and signs for that host and its clients for as long as the cluster is there.

use std::net::IpAddr;

use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use secrecy::{ExposeSecret, SecretString};
use x509_parser::pem::parse_x509_pem;

use super::{DAY, LIFETIME, covers, names_of, now, params, untimely};

/// How long an authority is good for, in seconds: ten years.
const AUTHORITY_LIFETIME: u64 = 10 * 365 * DAY;

/// An authority with its key.
pub struct Authority {
    /// Its certificate, in PEM.
    pub certificate: String,
    issuer: Issuer<'static, KeyPair>,
    key: SecretString,
}

/// What a certificate is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leaf {
    /// A server, by the addresses that clients connect to.
    Server {
        /// For people: nobody looks at it.
        name: String,
        /// All of them are in the certificate.
        addresses: Vec<IpAddr>,
    },
    /// A client, by the name that it logs in with.
    Client {
        /// The common name, and all of the subject.
        name: String,
    },
}

/// A certificate and its key, both PEM.
#[derive(Debug, Clone)]
pub struct Signed {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: SecretString,
}

impl Authority {
    /// A new one. The name is all of its subject.
    pub fn new(name: &str) -> Result<Self, rcgen::Error> {
        let key = KeyPair::generate()?;
        let params = subject(name)?;
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self { certificate, key: key.serialize_pem().into(), issuer: Issuer::new(params, key) })
    }

    /// One that a host has kept; `name` as when it was made.
    pub fn kept(name: &str, certificate: &str, key: &SecretString) -> Result<Self, rcgen::Error> {
        let pair = KeyPair::from_pem(key.expose_secret())?;
        let issuer = Issuer::new(subject(name)?, pair);
        Ok(Self { certificate: certificate.to_owned(), issuer, key: key.clone() })
    }

    /// Its key, in PEM.
    pub fn key(&self) -> &SecretString {
        &self.key
    }

    /// A new certificate and key, good for three years.
    pub fn sign(&self, leaf: &Leaf) -> Result<Signed, rcgen::Error> {
        let (name, addresses, usage) = match leaf {
            Leaf::Server { name, addresses } => (name, addresses.as_slice(), ExtendedKeyUsagePurpose::ServerAuth),
            Leaf::Client { name } => (name, &[][..], ExtendedKeyUsagePurpose::ClientAuth),
        };
        let mut params = params(now(), LIFETIME, name, addresses.iter().map(IpAddr::to_string).collect())?;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate()?;
        Ok(Signed { certificate: params.signed_by(&key, &self.issuer)?.pem(), key: key.serialize_pem().into() })
    }
}

fn subject(name: &str) -> Result<rcgen::CertificateParams, rcgen::Error> {
    let mut params = params(now(), AUTHORITY_LIFETIME, name, Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    Ok(params)
}

/// Why an authority's certificate cannot be used any longer.
pub fn authority_problem(certificate: &str) -> Option<&'static str> {
    let Ok((_, pem)) = parse_x509_pem(certificate.as_bytes()) else { return Some("is not a certificate") };
    let Ok(parsed) = pem.parse_x509() else { return Some("is not a certificate") };
    untimely(&parsed, now())
}

/// Why a certificate is not the one that is wanted, or not for much longer.
pub fn problem(leaf: &Leaf, authority: &str, certificate: &str) -> Option<String> {
    problem_at(leaf, authority, certificate, now())
}

fn problem_at(leaf: &Leaf, authority: &str, certificate: &str, now: u64) -> Option<String> {
    let unreadable = || Some("is not a certificate".to_owned());
    let (Ok((_, ca)), Ok((_, own))) = (parse_x509_pem(authority.as_bytes()), parse_x509_pem(certificate.as_bytes()))
    else {
        return unreadable();
    };
    let (Ok(ca), Ok(own)) = (ca.parse_x509(), own.parse_x509()) else { return unreadable() };
    if let Some(problem) = untimely(&own, now) {
        return Some(problem.to_owned());
    }
    if own.issuer() != ca.subject() || own.verify_signature(Some(ca.public_key())).is_err() {
        return Some("is not signed by the authority".into());
    }
    let subject = own.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
    match leaf {
        Leaf::Server { addresses, .. } => {
            let names = names_of(&own);
            let missing = addresses.iter().find(|address| !covers(&names, address));
            missing.map(|address| format!("does not cover {address}"))
        }
        Leaf::Client { name } => (subject != Some(name)).then(|| format!("is not for {name}")),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used)]
    use super::*;

    fn server(address: &str) -> Leaf {
        Leaf::Server { name: "server".into(), addresses: vec![address.parse().unwrap()] }
    }

    fn client(name: &str) -> Leaf {
        Leaf::Client { name: name.into() }
    }

    #[test]
    fn an_authority_that_a_host_kept_signs_as_it_did_before() {
        let first = Authority::new("demo").unwrap();
        let kept = Authority::kept("demo", &first.certificate, first.key()).unwrap();
        assert_eq!(authority_problem(&kept.certificate), None);
        for leaf in [server("10.0.0.31"), server("fd00::31"), client("kine")] {
            let signed = kept.sign(&leaf).unwrap();
            assert_eq!(problem(&leaf, &first.certificate, &signed.certificate), None, "{leaf:?}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_certificate_is_named() {
        let (authority, other) = (Authority::new("demo").unwrap(), Authority::new("demo").unwrap());
        let (leaf, now) = (server("10.0.0.31"), now());
        let signed = authority.sign(&leaf).unwrap().certificate;
        let said =
            |leaf: &Leaf, authority: &Authority, text: &str, at| problem_at(leaf, &authority.certificate, text, at);
        for (problem, expected) in [
            (said(&leaf, &authority, &signed, now + LIFETIME - 30 * DAY + 60), "expires within 30 days"),
            (said(&leaf, &authority, &signed, now + LIFETIME + 60), "has expired"),
            (said(&leaf, &authority, &signed, now - 2 * DAY), "is not valid yet"),
            (said(&leaf, &other, &signed, now), "is not signed by the authority"),
            (said(&leaf, &authority, "hello", now), "is not a certificate"),
            (said(&server("10.0.0.32"), &authority, &signed, now), "does not cover 10.0.0.32"),
            (said(&client("kine"), &authority, &signed, now), "is not for kine"),
        ] {
            assert_eq!(problem.as_deref(), Some(expected));
        }
    }
}

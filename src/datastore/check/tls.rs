//! The server's certificate, looked at before anybody logs in: sqlx would only say that a handshake failed.
//!
//! Both drivers verify `host` over a unix socket too (sqlx 0.9, connection/tls.rs of each), but trust this machine's authorities beside
//! those that they are given. Here the ones that kine trusts count alone.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme};
use secrecy::ExposeSecret;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::target::{Security, Target};
use super::{DEADLINE, Line, Server};
use crate::config::ServerEngine as Engine;
use crate::failure::Finding;
use crate::remote::forward::{Door, Place};

const NAME: &str = "DatastoreTLS";

/// Capabilities of MySQL's protocol.
const LONG_PASSWORD: u16 = 1;
const PROTOCOL_41: u16 = 1 << 9;
const SSL: u16 = 1 << 11;
const SECURE_CONNECTION: u16 = 1 << 15;

/// A connection, of whatever kind.
trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// What was seen of a server before its certificate was judged.
#[derive(Debug)]
struct Seen {
    chain: Vec<CertificateDer<'static>>,
    verdict: Result<(), rustls::Error>,
    version: String,
}

/// Why there was nothing to judge.
#[derive(Debug)]
enum Absent {
    /// The server refused before TLS began.
    Busy,
    /// The server speaks no TLS.
    Plain,
    /// What we were told to show or to trust cannot be used.
    Ours(String),
    /// The handshake ended early.
    Handshake(String),
}

/// The check as a whole; nothing where the server had something else to say first, which the login will tell.
pub(super) async fn check(server: &Server<'_>) -> Option<Line> {
    let (target, door, trust) = (server.target.clone(), server.door.clone(), server.trust.to_owned());
    let name = match server.place {
        Place::Tcp { host, .. } => host.clone(),
        Place::Socket(path) => path.clone(),
    };
    let asked = name.clone();
    let looked = tokio::task::spawn_blocking(move || look(&door, &target, &trust, &asked)).await;
    let seen = looked.unwrap_or_else(|error| Err(Absent::Handshake(error.to_string())));
    Some(match seen {
        Err(Absent::Busy) => return None,
        Err(absent) => Line::of(NAME, missing(&absent, server)),
        Ok(seen) if server.target.security == Security::Encrypt => {
            Line::ok(NAME, format!("{}, not verified", seen.version))
        }
        Ok(seen) => match judged(&seen, &name, server.target.ca.is_some()) {
            Some(finding) => Line::of(NAME, finding),
            None => {
                let until =
                    Leaf::of(&seen.chain).map(|leaf| format!(", good until {}", leaf.until)).unwrap_or_default();
                Line::ok(NAME, format!("{}, the certificate names {name}{until}", seen.version))
            }
        },
    })
}

fn missing(absent: &Absent, server: &Server<'_>) -> Finding {
    let place = server.place;
    match absent {
        Absent::Busy | Absent::Plain => Finding::error(
            format!("{place} speaks no TLS"),
            "the connection is to be encrypted",
            match server.target.engine {
                Engine::Postgres => {
                    "`ALTER SYSTEM SET ssl = on` with ssl_cert_file and ssl_key_file set, then reload; or tls.mode: off"
                }
                _ => "ssl_cert and ssl_key in the server's [mysqld] section, then restart it; or tls.mode: off",
            },
        ),
        Absent::Ours(why) => Finding::error(
            format!("the certificates of `tls` cannot be used: {why}"),
            "kine would not start with them",
            "see that ca, cert and key are PEM, and that cert and key belong together",
        ),
        Absent::Handshake(why) => Finding::error(
            format!("{place} ended the TLS handshake: {why}"),
            "kine would not get further",
            "TLS 1.2 or newer on the server; where it asks for a client certificate, tls.cert and tls.key",
        ),
    }
}

/// What is wrong with the certificate, told apart; nothing where kine would accept it.
fn judged(seen: &Seen, name: &str, own_ca: bool) -> Option<Finding> {
    let Err(error) = &seen.verdict else { return None };
    let why = "kine verifies the server's certificate and would refuse it";
    let Some(leaf) = Leaf::of(&seen.chain) else {
        return Some(Finding::error(
            format!("the certificate of {name} cannot be read"),
            why,
            "give the server another one",
        ));
    };
    let renew = format!("give the server a certificate that is valid now and names {name}");
    let rustls::Error::InvalidCertificate(error) = error else {
        return Some(Finding::error(format!("the certificate of {name} is not accepted: {error}"), why, renew));
    };
    Some(match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            Finding::error(format!("the certificate of {name} has expired on {}", leaf.until), why, renew)
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Finding::error(
            format!("the certificate of {name} is only valid from {}", leaf.from),
            why,
            "set the clocks of this machine and the server, or wait",
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Finding::error(
            format!("the certificate of {name} names {}", leaf.names()),
            "kine verifies that it names the address",
            format!("use one of these names as the address, or give the server a certificate that names {name}"),
        ),
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            let trusted = if own_ca { "which is not in tls.ca" } else { "which the host does not trust" };
            Finding::error(
                format!("the certificate of {name} was signed by `{}`, {trusted}", leaf.issuer),
                why,
                "tls.ca: the PEM file of that authority",
            )
        }
        CertificateError::Other(_) if leaf.is_ca => Finding::error(
            format!("the certificate of {name} is an authority's own (basicConstraints CA:TRUE)"),
            "this program does not take it for a server's, even where kine's driver would",
            "make a certificate with `-addext basicConstraints=critical,CA:FALSE`, or one that an authority signed",
        ),
        other => Finding::error(format!("the certificate of {name} is not accepted: {other:?}"), why, renew),
    })
}

/// What people want to know of a certificate.
struct Leaf {
    names: Vec<String>,
    subject: String,
    issuer: String,
    from: String,
    until: String,
    is_ca: bool,
}

impl Leaf {
    fn of(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(chain.first()?).ok()?;
        let extension = certificate.subject_alternative_name().ok().flatten();
        let names = extension.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
        let name = |name: &GeneralName<'_>| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            GeneralName::IPAddress(bytes) => address(bytes),
            _ => None,
        };
        Some(Self {
            names: names.iter().filter_map(name).collect(),
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            from: certificate.validity().not_before.to_string(),
            until: certificate.validity().not_after.to_string(),
            is_ca: certificate.is_ca(),
        })
    }

    fn names(&self) -> String {
        match self.names.is_empty() {
            true => format!("nothing: it has no subjectAltName, and `{}` does not count", self.subject),
            false => self.names.join(", "),
        }
    }
}

fn address(bytes: &[u8]) -> Option<String> {
    let v4 = <[u8; 4]>::try_from(bytes).map(|bytes| std::net::Ipv4Addr::from(bytes).to_string());
    let v6 = <[u8; 16]>::try_from(bytes).map(|bytes| std::net::Ipv6Addr::from(bytes).to_string());
    v4.or(v6).ok()
}

fn look(door: &Door, target: &Target, trust: &str, name: &str) -> Result<Seen, Absent> {
    let ours = |error: &dyn std::fmt::Display| Absent::Ours(error.to_string());
    let cut = |error: io::Error| Absent::Handshake(reason(&error));
    let watch = Arc::new(Watch::new(trust).map_err(Absent::Ours)?);
    let builder = ClientConfig::builder_with_provider(watch.provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| ours(&error))?
        .dangerous()
        .with_custom_certificate_verifier(watch.clone());
    let config = match (&target.cert, &target.key) {
        (Some(cert), Some(key)) => {
            let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(cert.as_bytes()).collect();
            let key = PrivateKeyDer::from_pem_slice(key.expose_secret().as_bytes()).map_err(|error| ours(&error))?;
            builder.with_client_auth_cert(chain.map_err(|error| ours(&error))?, key).map_err(|error| ours(&error))?
        }
        _ => builder.with_no_client_auth(),
    };
    let server_name = ServerName::try_from(name.to_owned()).map_err(|error| ours(&error))?;
    let mut connection = ClientConnection::new(Arc::new(config), server_name).map_err(|error| ours(&error))?;
    let mut stream = open(door).map_err(cut)?;
    match offers_tls(&mut stream, target.engine).map_err(cut)? {
        Some(true) => {}
        Some(false) => return Err(Absent::Plain),
        None => return Err(Absent::Busy),
    }
    let shaken = loop {
        match connection.complete_io(&mut stream) {
            Ok(_) if connection.is_handshaking() => {}
            other => break other,
        }
    };
    let (chain, verdict) = watch.take();
    match shaken {
        // What came before the server hung up still says what is wrong.
        Err(error) if verdict.is_ok() => Err(cut(error)),
        _ => {
            let version = connection.protocol_version().and_then(|version| version.as_str().map(str::to_owned));
            Ok(Seen { chain, verdict, version: version.unwrap_or_else(|| "TLS".into()).replace("TLSv1_", "TLS 1.") })
        }
    }
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "it closed the connection".into(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => format!("no answer within {} s", DEADLINE.as_secs()),
        _ => error.to_string(),
    }
}

fn open(door: &Door) -> io::Result<Box<dyn Stream>> {
    let limit: Option<Duration> = Some(DEADLINE);
    Ok(match door {
        Door::Tcp(host, port) => {
            let stream = TcpStream::connect((host.as_str(), *port))?;
            stream.set_read_timeout(limit)?;
            stream.set_write_timeout(limit)?;
            Box::new(stream)
        }
        Door::Socket(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(limit)?;
            stream.set_write_timeout(limit)?;
            Box::new(stream)
        }
    })
}

/// Says what each engine wants to hear before TLS begins; whether it agrees, and nothing where it refuses us altogether.
fn offers_tls(stream: &mut impl Stream, engine: Engine) -> io::Result<Option<bool>> {
    match engine {
        Engine::Postgres => {
            // SSLRequest: its length, and a number that no version of the protocol has.
            stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47])?;
            let mut answer = [0];
            stream.read_exact(&mut answer)?;
            Ok((answer != *b"E").then_some(answer == *b"S"))
        }
        Engine::Mysql | Engine::Mariadb => {
            let mut header = [0; 4];
            stream.read_exact(&mut header)?;
            let mut greeting = vec![0; usize::from(u16::from_le_bytes([header[0], header[1]]))];
            stream.read_exact(&mut greeting)?;
            // 10, the version and a NUL, 4 bytes of a number, 8 of a nonce, a NUL, then capabilities; or 255 and an error.
            let version = greeting.iter().position(|byte| *byte == 0).unwrap_or_default();
            let (Some(10), Some([low, high])) = (greeting.first(), greeting.get(version + 14..version + 16)) else {
                return Ok(None);
            };
            if u16::from_le_bytes([*low, *high]) & SSL == 0 {
                return Ok(Some(false));
            }
            // SSLRequest, the second packet of the exchange: capabilities, the longest packet, utf8mb4, 23 zeros.
            let mut request = vec![32, 0, 0, 1];
            request.extend(u32::from(SSL | PROTOCOL_41 | SECURE_CONNECTION | LONG_PASSWORD).to_le_bytes());
            request.extend(0x0100_0000_u32.to_le_bytes());
            request.push(45);
            request.extend([0; 23]);
            stream.write_all(&request)?;
            Ok(Some(true))
        }
    }
}

/// Accepts every certificate and remembers what a strict verifier says of it.
#[derive(Debug)]
struct Watch {
    strict: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
    seen: Mutex<(Vec<CertificateDer<'static>>, Option<rustls::Error>)>,
}

impl Watch {
    fn new(trust: &str) -> Result<Self, String> {
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(trust.as_bytes()).flatten() {
            // A bundle may hold some that rustls does not know how to use; the others count.
            let _unusable = roots.add(certificate);
        }
        let strict = match roots.is_empty() {
            true => None,
            false => {
                let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
                Some(verifier.map_err(|error| error.to_string())?)
            }
        };
        Ok(Self { strict, provider, seen: Mutex::default() })
    }

    fn take(&self) -> (Vec<CertificateDer<'static>>, Result<(), rustls::Error>) {
        let (chain, error) = std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner));
        (chain, error.map_or(Ok(()), Err))
    }
}

impl ServerCertVerifier for Watch {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verdict = match &self.strict {
            Some(strict) => strict.verify_server_cert(leaf, others, name, ocsp, now).map(|_| ()),
            None => Err(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)),
        };
        let chain = std::iter::once(leaf).chain(others).map(|certificate| certificate.clone().into_owned()).collect();
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = (chain, verdict.err());
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

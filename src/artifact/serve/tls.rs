//! HTTPS with a certificate of the operator's own.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::artifact::http;
use crate::failure::{Failure, Kind};

/// The longest that a client may take for its handshake.
pub(super) const DEADLINE: Duration = Duration::from_secs(30);

/// What accepts connections with a chain of certificates and its key, both PEM.
pub(super) fn acceptor(certificate: &Path, key: &Path) -> Result<TlsAcceptor, Failure> {
    let unusable = |path: &Path, why: &dyn std::fmt::Display| {
        Failure::new(Kind::Usage, format!("{} cannot be used for HTTPS: {why}", path.display()))
    };
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|error| unusable(certificate, &error))?;
    if chain.is_empty() {
        return Err(unusable(certificate, &"it holds no certificate in PEM"));
    }
    let key_der = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key, &error))?;
    http::install_tls();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key_der);
    let mut config =
        config.map_err(|error| unusable(key, &error).hint("name the key that belongs to the certificate"))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

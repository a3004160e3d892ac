//! What a registry's errors mean, in a few words.

use std::error::Error;
use std::io;

use oci_client::errors::{DigestError, OciDistributionError, OciEnvelope, OciErrorCode};

use super::credentials::Login;
use super::http;

/// Whether a registry does not let us in.
pub(super) fn is_refusal(error: &OciDistributionError) -> bool {
    matches!(status(error), Some(401 | 403))
}

/// Whether a registry does not have what it was asked for.
pub(super) fn is_absent(error: &OciDistributionError) -> bool {
    match error {
        OciDistributionError::RegistryError { envelope, .. } => has(envelope, &ABSENT),
        error => status(error) == Some(404),
    }
}

/// Whether the registry did not understand what it was asked.
pub(super) fn is_bad_request(error: &OciDistributionError) -> bool {
    status(error) == Some(400)
}

const ABSENT: [OciErrorCode; 4] =
    [OciErrorCode::ManifestUnknown, OciErrorCode::NameUnknown, OciErrorCode::BlobUnknown, OciErrorCode::NotFound];

/// The HTTP status of an answer, as far as the client kept it.
fn status(error: &OciDistributionError) -> Option<u16> {
    match error {
        OciDistributionError::UnauthorizedError { .. } | OciDistributionError::AuthenticationFailure(_) => Some(401),
        OciDistributionError::ServerError { code, .. } => Some(*code),
        OciDistributionError::RegistryError { envelope, .. } if has(envelope, &[OciErrorCode::Unauthorized]) => {
            Some(401)
        }
        OciDistributionError::RegistryError { envelope, .. } if has(envelope, &[OciErrorCode::Denied]) => Some(403),
        OciDistributionError::RequestError(error) => error.status().map(|status| status.as_u16()),
        _ => None,
    }
}

fn has(envelope: &OciEnvelope, codes: &[OciErrorCode]) -> bool {
    envelope.errors.iter().any(|error| codes.contains(&error.code))
}

/// A registry's error in a few words.
pub(super) fn why(error: &OciDistributionError, login: &Login) -> String {
    let url = match error {
        OciDistributionError::RegistryError { url, .. }
        | OciDistributionError::ServerError { url, .. }
        | OciDistributionError::UnauthorizedError { url } => url.clone(),
        OciDistributionError::RequestError(error) => error.url().map_or_else(|| "it".into(), ToString::to_string),
        _ => "it".into(),
    };
    // What follows is the registry's own business, and long.
    let url = url.split('?').next().unwrap_or_default();
    match (status(error), error) {
        (Some(401), _) => refused(url, login),
        (Some(403), _) => match login {
            Login::User { name, file, .. } => {
                format!("{url} does not let {name} do this (HTTP 403; the login is from {})", file.display())
            }
            _ => format!("{url} does not let anybody do this without a login (HTTP 403)"),
        },
        _ if is_absent(error) => format!("{url} is not there"),
        (_, OciDistributionError::RegistryError { envelope, .. }) => {
            format!("{url}: {}", messages(envelope))
        }
        (Some(code), OciDistributionError::ServerError { message, .. }) => {
            match serde_json::from_str::<OciEnvelope>(message) {
                Ok(envelope) => format!("{url} answers HTTP {code}: {}", messages(&envelope)),
                Err(_) => format!("{url} answers HTTP {code}"),
            }
        }
        (Some(code), _) => format!("{url} answers HTTP {code}"),
        (None, error) => http::cause(error),
    }
}

fn messages(envelope: &OciEnvelope) -> String {
    let messages: Vec<&str> = envelope.errors.iter().map(|error| error.message.as_str()).collect();
    messages.join(", ")
}

fn refused(url: &str, login: &Login) -> String {
    match login {
        Login::None => format!("{url} asks for a login"),
        Login::User { name, file, .. } => {
            format!("{url} refuses the login of {name} from {} (HTTP 401)", file.display())
        }
        Login::Unusable { file, why } => {
            format!("{url} asks for a login, and the one in {} cannot be used: {why}", file.display())
        }
    }
}

/// Why a blob's stream broke: a wrong digest, or the connection.
pub(super) fn broken(error: &io::Error, done: u64, size: u64) -> String {
    let inner = error.get_ref();
    match inner.and_then(|inner| inner.downcast_ref::<DigestError>()) {
        Some(DigestError::VerificationError { expected, actual }) => {
            format!("has digest {actual}, expected {expected}")
        }
        _ => {
            let cause = inner.map_or_else(|| error.to_string(), |inner| http::cause(inner as &dyn Error));
            format!("ended after {done} of {size} bytes: {cause}")
        }
    }
}

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

/// What to do about a registry to which there is no connection, by what was said of it.
pub(super) fn unreached(why: &str, host: &str) -> String {
    if why.contains("UnknownIssuer") || why.contains("CaUsedAsEndEntity") {
        return format!("`--registry-ca FILE` trusts the CA that signed the certificate of {host}");
    }
    if why.contains("certificate") {
        return format!("the certificate of {host} has to be valid now, and for this very name");
    }
    // What rustls says of an answer that is no TLS.
    if why.contains("InvalidContentType") {
        return format!("it seems to speak plain HTTP: name it http://{host}");
    }
    format!("check that {host} is up; plain HTTP needs http:// in front")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_registries_answer_is_told_with_the_login() {
        let envelope = |code: &str| {
            let text = format!(r#"{{ "errors": [{{ "code": "{code}", "message": "the {code}" }}] }}"#);
            (text.clone(), serde_json::from_str(&text).unwrap_or(OciEnvelope { errors: vec![] }))
        };
        let url = || "https://r.example/v2/x/blobs/uploads/1?_state=long".to_owned();
        let server = |code: u16, message: String| OciDistributionError::ServerError { url: url(), code, message };
        let registry = |code: &str| OciDistributionError::RegistryError { url: url(), envelope: envelope(code).1 };
        let user =
            Login::User { name: "me".into(), secret: "hunter2".to_owned().into(), file: "/h/config.json".into() };
        let start = "https://r.example/v2/x/blobs/uploads/1";
        for (error, login, expected) in [
            (OciDistributionError::UnauthorizedError { url: url() }, &Login::None, "asks for a login"),
            (server(401, String::new()), &user, "refuses the login of me from /h/config.json (HTTP 401)"),
            (registry("UNAUTHORIZED"), &user, "refuses the login of me from /h/config.json (HTTP 401)"),
            (registry("DENIED"), &user, "does not let me do this (HTTP 403; the login is from /h/config.json)"),
            (server(403, String::new()), &Login::None, "does not let anybody do this without a login (HTTP 403)"),
            (registry("NAME_UNKNOWN"), &user, "is not there"),
            (server(404, String::new()), &user, "is not there"),
            (server(507, "<html>".into()), &user, "answers HTTP 507"),
            (server(400, envelope("DIGEST_INVALID").0), &user, "answers HTTP 400: the DIGEST_INVALID"),
        ] {
            assert_eq!(why(&error, login), format!("{start} {expected}"));
        }
        assert_eq!(why(&registry("TOOMANYREQUESTS"), &user), format!("{start}: the TOOMANYREQUESTS"));
        assert!(is_refusal(&registry("DENIED")) && !is_refusal(&registry("NAME_UNKNOWN")));
        assert!(is_absent(&registry("NAME_UNKNOWN")) && is_absent(&server(404, String::new())));
    }

    #[test]
    fn what_to_do_about_no_connection() {
        for (why, expected) in [
            ("invalid peer certificate: UnknownIssuer", "--registry-ca"),
            ("invalid peer certificate: certificate not valid for name \"r.example\"", "this very name"),
            ("received corrupt message of type InvalidContentType", "http://r.example"),
            ("Connection refused (os error 111)", "is up"),
        ] {
            assert!(unreached(why, "r.example").contains(expected), "{why}");
        }
    }
}

//! One request, one answer: methods, paths, ranges, and errors in the form that registries have.

use std::convert::Infallible;
use std::io;
use std::ops::Range;

use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use http_body_util::StreamBody;
use hyper::body::{Bytes, Frame};
use hyper::header::{
    ACCEPT_RANGES, ALLOW, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue,
    IF_RANGE, RANGE,
};
use hyper::{Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;

use super::range::{Asked, asked};
use super::site::{Content, Resource, Site};
use crate::artifact::bundle::Bundles;

const API_VERSION: (HeaderName, HeaderValue) =
    (HeaderName::from_static("docker-distribution-api-version"), HeaderValue::from_static("registry/2.0"));
const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
/// Every path of the registry starts so.
const REGISTRY: &str = "/v2/";

/// The bytes of an answer as they come.
pub(super) type Chunks = BoxStream<'static, io::Result<Bytes>>;
/// The body of an answer.
pub(super) type Body = StreamBody<BoxStream<'static, io::Result<Frame<Bytes>>>>;

/// An answer whose body nobody has begun to read.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    headers: HeaderMap,
    chunks: Chunks,
}

impl Answer {
    /// What this request gets. What it sends beside its head is not read.
    pub(super) fn to<T>(request: &Request<T>, site: &Site, bundles: &Bundles) -> Self {
        let (method, uri) = (request.method(), request.uri());
        // apt asks for FOLDER/./Packages.
        let path = percent_decode_str(uri.path()).decode_utf8().unwrap_or_default().replace("/./", "/");
        let mut answer = match site.find(&path, namespace(uri.query()).as_deref()) {
            _ if method != Method::GET && method != Method::HEAD => {
                let mut refused =
                    Self::refused(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "this only reads", &path);
                refused.headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
                refused
            }
            None => Self::missing(&path),
            Some(resource) => Self::with(resource, request, bundles)
                .unwrap_or_else(|why| Self::refused(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", &why, &path)),
        };
        if path.starts_with(REGISTRY) || path == "/v2" {
            answer.headers.insert(API_VERSION.0, API_VERSION.1);
        }
        if method == Method::HEAD {
            answer.chunks = stream::empty().boxed();
        }
        answer
    }

    /// As hyper sends it. `sending` sees every chunk when it goes, and is dropped when the last one went or the client did.
    pub(super) fn response(
        self,
        mut sending: impl FnMut(&Bytes) + Send + 'static,
    ) -> Result<Response<Body>, Infallible> {
        let frames = self.chunks.inspect_ok(move |chunk| sending(chunk)).map_ok(Frame::data).boxed();
        let mut response = Response::new(StreamBody::new(frames));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        Ok(response)
    }

    fn with<T>(resource: &Resource, request: &Request<T>, bundles: &Bundles) -> Result<Self, String> {
        let header = |name| request.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let size = resource.content.size();
        let tag = resource.content.tag();
        // A range is of what GET brings.
        let range = header(RANGE).filter(|_| request.method() == Method::GET);
        let range = asked(range, header(IF_RANGE), size, &tag);
        let mut answer = match range {
            Asked::Whole => Self::of(StatusCode::OK, size, resource.content.bytes(0..size, bundles)?),
            Asked::Part(part) => {
                let length = part.end - part.start;
                let place = format!("bytes {}-{}/{size}", part.start, part.end - 1);
                let chunks = resource.content.bytes(part, bundles)?;
                Self::of(StatusCode::PARTIAL_CONTENT, length, chunks).and(CONTENT_RANGE, &place)
            }
            Asked::Beyond => Self::of(StatusCode::RANGE_NOT_SATISFIABLE, 0, stream::empty().boxed())
                .and(CONTENT_RANGE, &format!("bytes */{size}")),
        };
        answer.headers.insert(CONTENT_TYPE, resource.media_type.clone());
        answer.headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        let answer = answer.and(ETAG, &tag);
        Ok(match &resource.content {
            Content::Blob(blob) if request.uri().path().starts_with(REGISTRY) => answer.and(DIGEST, &blob.digest),
            _ => answer,
        })
    }

    /// What the client does not find here; a registry tells which kind of thing.
    fn missing(path: &str) -> Self {
        let (code, what) = match path {
            _ if path.contains("/manifests/") => ("MANIFEST_UNKNOWN", "no bundle has this image"),
            _ if path.contains("/blobs/") => ("BLOB_UNKNOWN", "no image of this name has this blob"),
            _ => ("NAME_UNKNOWN", "no bundle has this; / tells what is here"),
        };
        Self::refused(StatusCode::NOT_FOUND, code, what, path)
    }

    /// An error for people, or in the form of registries.
    fn refused(status: StatusCode, code: &str, message: &str, path: &str) -> Self {
        let (media_type, text) = if path.starts_with(REGISTRY) {
            let error = serde_json::json!({ "code": code, "message": message, "detail": path });
            ("application/json", serde_json::json!({ "errors": [error] }).to_string())
        } else {
            ("text/plain; charset=utf-8", format!("{message}\n"))
        };
        Self::of(status, text.len() as u64, once(text.into())).and(CONTENT_TYPE, media_type)
    }

    fn of(status: StatusCode, length: u64, chunks: Chunks) -> Self {
        let headers = HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from(length))]);
        Self { status, headers, chunks }
    }

    /// With one more header; a text that no header may have is left out.
    fn and(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }
}

impl Content {
    fn size(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::Blob(blob) => blob.size,
        }
    }

    /// `ETag`: what never changes without its digest.
    fn tag(&self) -> String {
        match self {
            Self::Text(text) => format!("\"sha256:{}\"", crate::op::sha256(text.as_bytes())),
            Self::Blob(blob) => format!("\"{}\"", blob.digest),
        }
    }

    /// Bytes that are there.
    fn bytes(&self, range: Range<u64>, bundles: &Bundles) -> Result<Chunks, String> {
        match self {
            Self::Text(text) => {
                Ok(once(Bytes::copy_from_slice(&text.as_bytes()[range.start as usize..range.end as usize])))
            }
            Self::Blob(blob) => bundles.range(blob, range).map_err(|failure| failure.message),
        }
    }
}

fn once(bytes: Bytes) -> Chunks {
    stream::once(std::future::ready(Ok(bytes))).boxed()
}

/// `ns` of a query: `ns=registry.k8s.io`.
fn namespace(query: Option<&str>) -> Option<String> {
    let value = query?.split('&').find_map(|pair| pair.strip_prefix("ns="))?;
    percent_decode_str(value).decode_utf8().ok().map(Into::into)
}

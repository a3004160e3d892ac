//! A bundle over HTTP: a file mirror, a read-only registry and an apt repository in one process, for a site that has none of them.
//!
//! What is served is a table that is made once (`site`); `answer` looks a request up there and streams bytes out of the bundle, so that
//! memory is the same however large a blob is.

mod answer;
mod range;
mod site;
mod tls;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::select_all;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::bundle::Bundles;
use crate::failure::{Failure, Kind};
use answer::Answer;
pub use site::Holds;
use site::Site;

/// The most connections that are served at once; others wait.
const MOST: usize = 512;
/// How many connections may wait.
const WAITING: u32 = 1024;
/// The largest head of a request, in bytes.
const LARGEST_HEAD: usize = 32 << 10;
/// Bytes that wait to be sent on a connection.
const BUFFER: usize = 64 << 10;

/// Addresses of this machine that nobody else has.
pub struct Bound {
    sockets: Vec<(SocketAddr, TcpSocket)>,
    tls: Option<TlsAcceptor>,
}

/// Bundles on addresses of this machine.
pub struct Server {
    listeners: Vec<TcpListener>,
    tls: Option<TlsAcceptor>,
    served: Arc<Served>,
}

/// What all connections share.
struct Served {
    site: Site,
    bundles: Bundles,
    requests: AtomicU64,
    bytes: AtomicU64,
    tell: Box<dyn Fn(Request) + Send + Sync>,
}

/// A request that was answered, or whose client went away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Who asked.
    pub client: SocketAddr,
    /// `GET`.
    pub method: String,
    /// As it was asked for, without a query.
    pub path: String,
    /// The answer's HTTP status.
    pub status: u16,
    /// Bytes of content that were sent.
    pub bytes: u64,
}

/// What was served in all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Total {
    /// Requests.
    pub requests: u64,
    /// Bytes of content.
    pub bytes: u64,
}

impl Bound {
    /// Takes these addresses; with a certificate and its key, for HTTPS. Whoever comes is refused until it is served.
    pub fn new(addresses: &[SocketAddr], tls: Option<(&Path, &Path)>) -> Result<Self, Failure> {
        let tls = tls.map(|(certificate, key)| tls::acceptor(certificate, key)).transpose()?;
        let bind = |address: &SocketAddr| {
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            // A program that ended a moment ago does not hold its port.
            socket.set_reuseaddr(true)?;
            socket.bind(*address).map(|()| (*address, socket))
        };
        let sockets = addresses.iter().map(|address| bind(address).map_err(|error| refused(*address, &error)));
        Ok(Self { sockets: sockets.collect::<Result<_, _>>()?, tls })
    }

    /// Lets clients in. `tell` hears of every request at its end.
    pub fn serve(self, bundles: Bundles, tell: impl Fn(Request) + Send + Sync + 'static) -> Result<Server, Failure> {
        let listen =
            |(address, socket): (_, TcpSocket)| socket.listen(WAITING).map_err(|error| refused(address, &error));
        let listeners = self.sockets.into_iter().map(listen).collect::<Result<_, _>>()?;
        let (requests, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
        let served = Served { site: Site::of(bundles.all()), bundles, requests, bytes, tell: Box::new(tell) };
        Ok(Server { listeners, tls: self.tls, served: Arc::new(served) })
    }
}

impl Server {
    /// Where it listens: a port that was 0 is known now.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// How much there is.
    pub fn holds(&self) -> Holds {
        self.served.site.holds
    }

    /// Serves until `stop`, which cuts what is on its way.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<Total, Failure> {
        let mut stop = std::pin::pin!(stop);
        let mut connections = JoinSet::new();
        let mut most = MOST;
        loop {
            let accept = select_all(self.listeners.iter().map(|listener| Box::pin(listener.accept())));
            tokio::select! {
                () = &mut stop => break,
                Some(_) = connections.join_next() => {}
                (accepted, ..) = accept, if connections.len() < most => match accepted {
                    Ok((stream, client)) => {
                        connections.spawn(connection(stream, client, self.tls.clone(), self.served.clone()));
                    }
                    Err(error) if is_of_one_client(&error) => {}
                    // The system's own limit: no more at once than there are now.
                    Err(_) if !connections.is_empty() => most = connections.len(),
                    Err(error) => {
                        return Err(Failure::new(Kind::Step, format!("no connection can be accepted: {error}")));
                    }
                },
            }
        }
        connections.shutdown().await;
        let Served { requests, bytes, .. } = &*self.served;
        Ok(Total { requests: requests.load(Ordering::Relaxed), bytes: bytes.load(Ordering::Relaxed) })
    }
}

fn refused(address: SocketAddr, error: &io::Error) -> Failure {
    let failure = Failure::new(Kind::Usage, format!("cannot listen on {address}: {error}"));
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            failure.hint(format!("another program does; choose another port: --listen {}:PORT", address.ip()))
        }
        io::ErrorKind::AddrNotAvailable => {
            failure.hint("name an address of this machine: `ip -brief address` lists them")
        }
        io::ErrorKind::PermissionDenied => failure.hint("ports below 1024 are root's"),
        _ => failure,
    }
}

/// Whether it is no matter of those who come after.
fn is_of_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

async fn connection(stream: TcpStream, client: SocketAddr, tls: Option<TlsAcceptor>, served: Arc<Served>) {
    // What a client does wrong or leaves undone is its own affair: its connection ends.
    let _ = stream.set_nodelay(true);
    match tls {
        None => converse(stream, client, served).await,
        Some(tls) => {
            if let Ok(Ok(stream)) = tokio::time::timeout(tls::DEADLINE, tls.accept(stream)).await {
                converse(stream, client, served).await;
            }
        }
    }
}

async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin + Send, client: SocketAddr, served: Arc<Served>) {
    let service = service_fn(|request| {
        let answer = Answer::to(&request, &served.site, &served.bundles);
        let mut sending = Sending {
            request: Request {
                client,
                method: request.method().to_string(),
                path: request.uri().path().to_owned(),
                status: answer.status.as_u16(),
                bytes: 0,
            },
            served: served.clone(),
        };
        std::future::ready(answer.response(move |chunk| sending.add(chunk.len())))
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).max_header_size(LARGEST_HEAD).max_buf_size(BUFFER);
    let _ = http.serve_connection(TokioIo::new(stream), service).await;
}

/// Counts what is sent, and tells of it when all was sent or the client went away.
struct Sending {
    request: Request,
    served: Arc<Served>,
}

impl Sending {
    fn add(&mut self, bytes: usize) {
        self.request.bytes += bytes as u64;
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.served.requests.fetch_add(1, Ordering::Relaxed);
        self.served.bytes.fetch_add(self.request.bytes, Ordering::Relaxed);
        (self.served.tell)(self.request.clone());
    }
}

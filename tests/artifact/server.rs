//! A small HTTP server on loopback, one answer a connection.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What the server says to one path.
#[derive(Clone, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    /// Announced instead of the body's own length; the connection is closed after the body.
    pub(crate) announced: Option<usize>,
    /// No length is announced at all: the end of the connection is the end of the body.
    pub(crate) unannounced: bool,
    /// The answer to HEAD, where it is another one.
    pub(crate) head: Option<u16>,
}

pub(crate) fn ok(body: impl Into<Vec<u8>>) -> Answer {
    Answer { status: 200, body: body.into(), ..Answer::default() }
}

pub(crate) fn status(status: u16) -> Answer {
    Answer { status, body: b"sorry".to_vec(), ..Answer::default() }
}

/// A running server; it ends with the test's runtime.
pub(crate) struct Server {
    /// `127.0.0.1:PORT`.
    pub(crate) address: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Serves these paths; all others are 404.
    pub(crate) async fn start(paths: impl IntoIterator<Item = (String, Answer)>) -> Self {
        let paths: Arc<BTreeMap<String, Answer>> = Arc::new(paths.into_iter().collect());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen = Arc::new(Mutex::new(vec![]));
        let log = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                // A client may go away in the middle: that is its affair.
                tokio::spawn(serve(connection, Arc::clone(&paths), Arc::clone(&log)));
            }
        });
        Self { address, seen }
    }

    /// `METHOD PATH` of every request so far.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

/// An address that nothing listens on.
pub(crate) async fn refused() -> String {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string()
}

async fn serve(
    connection: TcpStream,
    paths: Arc<BTreeMap<String, Answer>>,
    seen: Arc<Mutex<Vec<String>>>,
) -> std::io::Result<()> {
    let mut connection = BufReader::new(connection);
    let mut request = String::new();
    connection.read_line(&mut request).await?;
    let mut line = String::new();
    while connection.read_line(&mut line).await? > 2 {
        line.clear();
    }
    let mut words = request.split_whitespace();
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    seen.lock().unwrap().push(format!("{method} {path}"));
    let answer = paths.get(path).cloned().unwrap_or_else(|| status(404));
    let code = if method == "HEAD" { answer.head.unwrap_or(answer.status) } else { answer.status };
    let mut head = format!("HTTP/1.1 {code} Whatever\r\nConnection: close\r\n");
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !answer.unannounced {
        head.push_str(&format!("Content-Length: {}\r\n", answer.announced.unwrap_or(answer.body.len())));
    }
    connection.write_all(format!("{head}\r\n").as_bytes()).await?;
    if method != "HEAD" {
        connection.write_all(&answer.body).await?;
    }
    connection.shutdown().await
}

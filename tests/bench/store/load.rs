//! The load: ConfigMaps of 1 KiB through the API server's own HTTP API, each client with one request in the air at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use reqwest::{Client, Method, Response, StatusCode};
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, timeout_at};

pub(crate) const TOKEN: &str = "bench";
/// Clients that share a connection. An HTTP/2 connection is one goroutine of the API server's, and takes so many streams.
const CLIENTS_A_CONNECTION: usize = 25;
/// How many objects a list returns.
pub(crate) const LISTED: usize = 100;
/// How many watch events a second are asked for, all watchers together; one API server has room for them beside the writes.
const EVENTS: usize = 10_000;
/// What the writer of a watch cell writes last.
const END: usize = 99_999_999;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Operation {
    Create,
    Update,
    Get,
    List,
    Watch,
}

/// What one operation did with one number of clients.
#[derive(Default)]
pub(crate) struct Cell {
    /// Requests, or events, a second in each slice; to the end of the last one, since those of many clients end together.
    rates: Vec<f64>,
    /// Seconds of the processors'.
    pub(crate) cpu: f64,
    /// How long each request, or event, took, in microseconds.
    pub(crate) samples: Vec<u32>,
    pub(crate) errors: usize,
    pub(crate) first_error: Option<String>,
}

impl Cell {
    pub(crate) fn add(&mut self, other: Self) {
        self.rates.extend(other.rates);
        self.cpu += other.cpu;
        self.samples.extend(other.samples);
        self.errors += other.errors;
        self.first_error = self.first_error.take().or(other.first_error);
    }

    /// The median of the slices.
    pub(crate) fn rate(&self) -> f64 {
        let mut rates = self.rates.clone();
        rates.sort_by(f64::total_cmp);
        let middle = |at: usize| rates.get(at).copied().unwrap_or(f64::NAN);
        (middle(rates.len().saturating_sub(1) / 2) + middle(rates.len() / 2)) / 2.0
    }

    fn failed(&mut self, error: String) {
        self.errors += 1;
        self.first_error.get_or_insert(error);
    }
}

/// The API server of one stack.
#[derive(Clone)]
pub(crate) struct Api {
    connections: Arc<[Client]>,
    root: Arc<str>,
    created: Arc<AtomicUsize>,
    /// Objects that updates and gets go round.
    objects: usize,
}

impl Api {
    pub(crate) fn new(port: u16, clients: usize) -> Result<Self, String> {
        let connection = || {
            // Its certificate is made at its start, for this loopback address alone.
            let builder = Client::builder().no_proxy().tls_danger_accept_invalid_certs(true).http2_prior_knowledge();
            let builder =
                builder.http2_initial_stream_window_size(1 << 20).http2_initial_connection_window_size(1 << 24);
            builder.build().map_err(|error| error.to_string())
        };
        etcdless::artifact::http::install_tls();
        let connections =
            (0..clients.div_ceil(CLIENTS_A_CONNECTION)).map(|_| connection()).collect::<Result<_, _>>()?;
        let root = format!("https://127.0.0.1:{port}").into();
        Ok(Self { connections, root, created: Arc::default(), objects: (2 * clients).max(100) })
    }

    pub(crate) async fn ready(&self) -> bool {
        self.request(0, Method::GET, "/readyz".into(), None).await.is_ok()
    }

    async fn request(
        &self,
        client: usize,
        method: Method,
        path: String,
        body: Option<String>,
    ) -> Result<Response, String> {
        let connection = &self.connections[client % self.connections.len()];
        let mut request = connection.request(method, format!("{}{path}", self.root)).bearer_auth(TOKEN);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        let response = request.send().await.map_err(|error| etcdless::artifact::http::cause(&error))?;
        match response.status() {
            StatusCode::OK | StatusCode::CREATED => Ok(response),
            status => Err(format!("{status}: {}", response.text().await.unwrap_or_default())),
        }
    }

    /// A request of which the answer is read to its end and not looked at; the end of time is an error, too.
    async fn done(&self, client: usize, method: Method, path: String, body: Option<String>) -> Result<(), String> {
        let all = async {
            let mut response = self.request(client, method, path, body).await?;
            while response.chunk().await.map_err(|error| error.to_string())?.is_some() {}
            Ok(())
        };
        tokio::time::timeout(Duration::from_secs(60), all).await.unwrap_or_else(|_| Err("no answer within 60 s".into()))
    }

    async fn create(&self, client: usize, namespace: &str, name: &str) -> Result<(), String> {
        self.done(client, Method::POST, path(namespace, ""), Some(config_map(name, 0))).await
    }

    async fn update(&self, client: usize, namespace: &str, name: &str, text: usize) -> Result<(), String> {
        self.done(client, Method::PUT, path(namespace, name), Some(config_map(name, text))).await
    }

    /// Namespaces, what updates and gets go round, and what is listed. Every connection is open afterwards.
    pub(crate) async fn prepare(&self) -> Result<(), String> {
        for name in ["created", "kept", "listed", "watched"] {
            let body = format!(r#"{{"apiVersion":"v1","kind":"Namespace","metadata":{{"name":"{name}"}}}}"#);
            self.done(0, Method::POST, "/api/v1/namespaces".into(), Some(body)).await?;
        }
        let workers = 2 * self.connections.len();
        let keep = (0..workers).map(|worker| async move {
            for object in (worker..self.objects).step_by(workers) {
                self.create(worker, "kept", &kept(object)).await?;
            }
            Ok::<_, String>(())
        });
        try_join_all(keep).await?;
        try_join_all((0..LISTED).map(|object| async move { self.create(object, "listed", &kept(object)).await }))
            .await
            .map(drop)
    }

    pub(crate) async fn cell(&self, operation: Operation, clients: usize, time: Duration) -> Result<Cell, String> {
        if operation == Operation::Watch {
            return self.watch(clients, time).await;
        }
        let started = Instant::now();
        let end = started + time;
        let mut tasks = JoinSet::new();
        for client in 0..clients {
            let api = self.clone();
            tasks.spawn(async move { api.client(operation, client, clients, end).await });
        }
        let mut cell = Cell::default();
        for part in tasks.join_all().await {
            cell.add(part);
        }
        cell.rates.push(cell.samples.len() as f64 / started.elapsed().as_secs_f64());
        Ok(cell)
    }

    /// One client: the next request when the last one was answered.
    async fn client(&self, operation: Operation, client: usize, clients: usize, end: Instant) -> Cell {
        let mut cell = Cell::default();
        // Each client has objects of its own, so that no two write the same one.
        let own = self.objects / clients;
        for turn in 0.. {
            let began = Instant::now();
            if began >= end {
                break;
            }
            let object = client + clients * (turn % own);
            let result = match operation {
                Operation::Create => {
                    let number = self.created.fetch_add(1, Ordering::Relaxed);
                    self.create(client, "created", &format!("c-{number:08}")).await
                }
                // Times differ from cell to cell, and with them the text: what is equal would not be written.
                Operation::Update => self.update(client, "kept", &kept(object), text_of(began)).await,
                Operation::Get => self.done(client, Method::GET, path("kept", &kept(object)), None).await,
                Operation::List | Operation::Watch => self.done(client, Method::GET, path("listed", ""), None).await,
            };
            match result {
                Ok(()) => {
                    cell.samples.push(began.elapsed().as_micros() as u32);
                }
                Err(error) => {
                    cell.failed(error);
                    // Where everything fails at once, failures need not take the whole machine.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        }
        cell
    }

    /// Watchers of one object and one writer at a steady pace. A sample is the time from the writer's answer to the event.
    async fn watch(&self, watchers: usize, time: Duration) -> Result<Cell, String> {
        let name = format!("w-{:08}", self.created.fetch_add(1, Ordering::Relaxed));
        self.create(0, "watched", &name).await?;
        let began = Instant::now();
        let last = tokio::time::Instant::now() + time + Duration::from_secs(30);
        let ready = Arc::new(Barrier::new(watchers + 1));
        let mut tasks = JoinSet::new();
        for watcher in 0..watchers {
            let (api, ready) = (self.clone(), ready.clone());
            let path = format!("{}?watch=1&fieldSelector=metadata.name%3D{name}", path("watched", ""));
            tasks.spawn(async move {
                let response = api.request(watcher, Method::GET, path, None).await;
                let _leader = ready.wait().await;
                let mut seen = Vec::new();
                // What it saw until then counts; what it missed is an error.
                let _late = timeout_at(last, follow(response?, &mut seen)).await;
                Ok::<_, String>(seen)
            });
        }
        let _leader = ready.wait().await;
        let pace = (EVENTS / watchers).clamp(10, 200) as f64;
        let mut tick = tokio::time::interval(Duration::from_secs_f64(1.0 / pace));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut cell, mut written) = (Cell::default(), Vec::new());
        let started = Instant::now();
        while started.elapsed() < time {
            tick.tick().await;
            let text = 1 + began.elapsed().as_millis() as usize;
            match self.update(0, "watched", &name, text).await {
                Ok(()) => written.push((text, Instant::now())),
                Err(error) => cell.failed(error),
            }
        }
        let seconds = started.elapsed().as_secs_f64();
        self.update(0, "watched", &name, END).await?;
        for seen in tasks.join_all().await {
            let seen = seen.unwrap_or_else(|error| {
                cell.failed(error);
                Vec::new()
            });
            // Both are in the order of the writes; an event may overtake the answer.
            let mut seen = seen.into_iter().peekable();
            for (text, answered) in &written {
                while seen.next_if(|(event, _)| event < text).is_some() {}
                match seen.next_if(|(event, _)| event == text) {
                    Some((_, at)) => {
                        cell.samples.push(at.saturating_duration_since(*answered).as_micros() as u32);
                    }
                    None => cell.failed(format!("an event of {} did not come", written.len())),
                }
            }
        }
        cell.rates.push(cell.samples.len() as f64 / seconds);
        Ok(cell)
    }
}

/// Notes when which text of an event came, up to [`END`].
async fn follow(mut response: Response, seen: &mut Vec<(usize, Instant)>) {
    let mut line = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            line.extend_from_slice(piece);
            if line.ends_with(b"\n") {
                match text(&line) {
                    Some(END) => return,
                    Some(text) => seen.push((text, Instant::now())),
                    None => {}
                }
                line.clear();
            }
        }
    }
}

const TEXT: &[u8] = br#""text":""#;

/// The number that an event's text begins with.
fn text(event: &[u8]) -> Option<usize> {
    let start = event.windows(TEXT.len()).position(|window| window == TEXT)? + TEXT.len();
    std::str::from_utf8(event.get(start..start + 8)?).ok()?.parse().ok()
}

fn text_of(time: Instant) -> usize {
    static FIRST: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    time.saturating_duration_since(*FIRST.get_or_init(|| time)).as_micros() as usize % END
}

fn kept(object: usize) -> String {
    format!("k-{object:08}")
}

fn path(namespace: &str, name: &str) -> String {
    let slash = if name.is_empty() { "" } else { "/" };
    format!("/api/v1/namespaces/{namespace}/configmaps{slash}{name}")
}

/// 1 KiB of data, beginning with a number.
fn config_map(name: &str, text: usize) -> String {
    format!(
        r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}"}},"data":{{"text":"{text:08}{:1016}"}}}}"#,
        ""
    )
}

//! How fast a store goes into an empty one of the same engine: by etcdless, and by the engine's own tools. `tests/bench/copy` runs it.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for developers")]
#![expect(clippy::unwrap_used, reason = "as in the tests that it shares files with")]

#[path = "../../datastore/mariadb_server.rs"]
#[allow(dead_code, reason = "tests use the rest")]
mod mariadb_server;
mod pair;
#[path = "../../datastore/postgres_server.rs"]
#[allow(dead_code, reason = "tests use the rest")]
mod postgres_server;
#[path = "../../datastore/servers.rs"]
#[allow(dead_code, reason = "tests use the rest")]
mod servers;

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use etcdless::datastore::copy::digest::Digest;
use etcdless::datastore::copy::{self, Change, Row, Span};
use etcdless::remote::Host;
use pair::{Engine, Pair};
use tokio::sync::mpsc;

/// Copies a store into an empty one of the same engine, by etcdless and by the engine's own tools, and prints a Markdown table.
#[derive(Parser)]
#[command(name = "tests/bench/copy")]
struct Args {
    /// Keys in the store, a row each.
    #[arg(long, env = "OBJECTS", default_value_t = 200_000)]
    objects: u64,
    /// Bytes of each value; random, as encrypted ones are.
    #[arg(long, default_value_t = 1500)]
    bytes: usize,
    /// How often each copies it; the median counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    #[arg(long, value_delimiter = ',', default_value = "sqlite,postgres,mariadb")]
    engines: Vec<Engine>,
}

/// Who copied, and the seconds of each round.
struct Line {
    by: &'static str,
    seconds: Vec<f64>,
}

/// What etcdless is measured with.
const OURS: [&str; 2] = ["etcdless", "etcdless, without reading back"];

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let host = servers::local().await;
    println!("{} rows of {} random bytes, median of {}\n", args.objects, args.bytes, args.rounds);
    println!("| engine | by | seconds | rows a second | MiB a second | ratio; without reading back |");
    println!("|---|---|---:|---:|---:|---:|");
    for engine in &args.engines {
        let Some(pair) = Pair::start(*engine).await else { continue };
        if let Err(error) = compare(&args, &host, pair).await {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// All that copy an engine's store, in turn: what else goes on here disturbs all of them alike.
async fn compare(args: &Args, host: &Host, mut pair: Pair) -> Result<(), String> {
    let begun = fill(args, host, &mut pair).await?;
    let tools = pair.tools();
    let names = OURS.into_iter().chain(tools.iter().map(|tool| tool.name));
    let mut lines: Vec<Line> = names.map(|by| Line { by, seconds: Vec::new() }).collect();
    for round in 1..=args.rounds {
        let (whole, without) = ours(host, &mut pair, &begun).await?;
        lines[0].seconds.push(whole);
        lines[1].seconds.push(without);
        for (tool, line) in tools.iter().zip(&mut lines[OURS.len()..]) {
            pair.clear().await;
            let now = Instant::now();
            servers::run(std::process::Command::new("bash").args(["-e", "-o", "pipefail", "-c", &tool.command]));
            line.seconds.push(now.elapsed().as_secs_f64());
            let mut copied = pair.copied(host).await?;
            let found = copy::changed(&mut copied, 0).await.map_err(said)?;
            if found != begun {
                return Err(format!("{}: {} of {} rows came over, or others", tool.name, found.keys, begun.keys));
            }
        }
        let last: Vec<String> = lines.iter().map(|line| format!("{:.1}", line.seconds[round - 1])).collect();
        eprintln!("{}, round {round}: {} s", pair.engine.title(), last.join(", "));
    }
    print(pair.engine, &begun, &mut lines);
    Ok(())
}

/// Makes the store that is copied.
async fn fill(args: &Args, host: &Host, pair: &mut Pair) -> Result<Digest, String> {
    const BATCH: u64 = 500;
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut value = move || {
        let mut next = || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed.to_le_bytes()
        };
        let mut value: Vec<u8> = (0..args.bytes.div_ceil(8)).flat_map(|_| next()).collect();
        value.truncate(args.bytes);
        value
    };
    let mut sink = pair.origin(host).await.map_err(said)?;
    let (out, rows) = mpsc::channel(2);
    let send = async move {
        for from in (1..=args.objects).step_by(BATCH as usize) {
            let row = |n: u64| Row {
                key: format!("/registry/secrets/ns-{}/secret-{n}", n % 100),
                created: n + 1,
                revision: n + 1,
                lease: 0,
                value: value(),
            };
            let batch = (from..(from + BATCH).min(args.objects + 1)).map(row).map(Change::Put).collect();
            // Whoever writes tells why it ended.
            let _ended = out.send(batch).await;
        }
    };
    let (written, ()) = tokio::join!(sink.fill(rows, |_| ()), send);
    let digest = written.map_err(said)?;
    sink.finish(args.objects + 2).await.map_err(said)?;
    pair.keep(sink).await.map_err(said)?;
    Ok(digest)
}

/// Copies as `restore` and `migrate` do: what was written is read back. The seconds of all of it, and of the rest without that.
async fn ours(host: &Host, pair: &mut Pair, begun: &Digest) -> Result<(f64, f64), String> {
    pair.clear().await;
    let now = Instant::now();
    let mut sink = pair.sink(host).await.map_err(said)?;
    let mut store = pair.from().open(host, 600).await.map_err(said)?;
    let written = copy::copy(&mut store, &mut sink, |_| ()).await.map_err(said)?;
    let reading = Instant::now();
    let back = sink.digest(Span::ALL).await.map_err(said)?;
    let read = reading.elapsed();
    sink.finish(store.snapshot.revision + 1).await.map_err(said)?;
    let whole = now.elapsed();
    match (written, back) == (*begun, *begun) {
        true => Ok((whole.as_secs_f64(), (whole - read).as_secs_f64())),
        false => Err(format!("{} of {} rows came over, or others", back.keys, begun.keys)),
    }
}

/// The ratios are of etcdless' time, with reading back and without, to that of a tool: below 1 etcdless is faster.
fn print(engine: Engine, begun: &Digest, lines: &mut [Line]) {
    let (checked, plain) = (lines[0].median(), lines[1].median());
    for (at, line) in lines.iter_mut().enumerate() {
        let seconds = line.median();
        let (rows, bytes) = (begun.keys as f64 / seconds, begun.bytes as f64 / seconds / f64::from(1 << 20));
        let ratio =
            if at < OURS.len() { String::new() } else { format!("{:.2}; {:.2}", checked / seconds, plain / seconds) };
        println!("| {} | {} | {seconds:.1} | {rows:.0} | {bytes:.0} | {ratio} |", engine.title(), line.by);
    }
}

impl Line {
    fn median(&mut self) -> f64 {
        self.seconds.sort_by(f64::total_cmp);
        self.seconds[self.seconds.len() / 2]
    }
}

fn said(error: etcdless::datastore::explore::Error) -> String {
    match error {
        etcdless::datastore::explore::Error::Store(failure) => failure.message,
        etcdless::datastore::explore::Error::Remote(error) => error.to_string(),
    }
}

//! What a store is worth behind a real API server: etcd and every engine of kine's, side by side on this machine. `tests/bench/datastore` runs it.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for developers")]
#![expect(clippy::unwrap_used, reason = "as in the tests that it shares a file with")]

mod cpu;
mod load;
#[path = "../../datastore/servers.rs"]
#[allow(dead_code, reason = "tests use the rest")]
mod servers;
mod stack;
mod variant;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use cpu::Cpu;
use load::{Cell, LISTED, Operation};
use stack::{Programs, Stack};
use tokio::signal::unix::{SignalKind, signal};
use variant::{Change, Engine, Variant};

/// Times creates, updates, gets, lists and watches of 1 KiB ConfigMaps through kube-apiserver, and prints a Markdown table.
#[derive(Parser)]
#[command(name = "tests/bench/datastore")]
struct Args {
    /// ENGINE[+CHANGE...] of etcd, sqlite, postgres, mariadb, mysql. Changes: pool=N, tcp, dsn.NAME=VALUE and
    /// --FLAG=VALUE of kine's, NAME=VALUE of the server's. The first one is what the others are compared with.
    #[arg(long, value_delimiter = ',', default_value = "etcd,sqlite,postgres,mariadb,mysql")]
    engines: Vec<Variant>,
    #[arg(long, value_delimiter = ',', default_value = "10,100,1000")]
    clients: Vec<usize>,
    #[arg(long, value_delimiter = ',', default_value = "create,update,get,list,watch")]
    operations: Vec<Operation>,
    /// For each engine, operation and number of clients; in slices, all engines in turn.
    #[arg(long, default_value_t = 6.0)]
    seconds: f64,
    /// Connections from kine to each server, where etcdless' own number is not meant.
    #[arg(long)]
    pool: Option<u16>,
    /// Only proves that all of it works: 10 clients, half a second each, and any error ends it with 1.
    #[arg(long, conflicts_with_all = ["clients", "seconds"])]
    short: bool,
    /// Where stores have their folders; on a disk, not a tmpfs.
    #[arg(long, default_value = "/var/tmp")]
    folder: PathBuf,
    #[arg(long)]
    kube_apiserver: PathBuf,
    #[arg(long)]
    kine: PathBuf,
    #[arg(long)]
    etcd: PathBuf,
}

/// The longest time, in seconds, that one store is measured while the others wait.
const SLICE: f64 = 2.0;

/// What all variants did with one operation and one number of clients, in the order of the variants.
struct Comparison {
    operation: Operation,
    clients: usize,
    cells: Vec<Cell>,
}

// Servers end with the thread that started them; this one lasts.
#[tokio::main]
async fn main() -> ExitCode {
    let mut args = Args::parse();
    if args.short {
        (args.clients, args.seconds) = (vec![10], 0.5);
    }
    let (mut terminated, mut interrupted) =
        (signal(SignalKind::terminate()).unwrap(), signal(SignalKind::interrupt()).unwrap());
    let finished = tokio::select! {
        finished = compare(args) => finished,
        _ = terminated.recv() => Err("terminated".into()),
        _ = interrupted.recv() => Err("interrupted".into()),
    };
    match finished {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn compare(mut args: Args) -> Result<ExitCode, String> {
    let programs = Programs { apiserver: args.kube_apiserver, kine: args.kine, etcd: args.etcd };
    args.engines.retain(|variant| match stack::missing(variant.engine, &programs) {
        Some(reason) => {
            eprintln!("skipped: {variant}: {reason}");
            false
        }
        None => true,
    });
    if let Some(pool) = args.pool {
        args.engines.iter_mut().for_each(|variant| variant.changes.insert(0, Change::Pool(pool)));
        println!("kine's pool: {pool}, where the table does not say otherwise\n");
    }
    let most = args.clients.iter().copied().max().unwrap_or(1);
    let mut stacks = Vec::new();
    for variant in &args.engines {
        let stack = Stack::start(&programs, &args.folder, variant, most).await;
        let stack = stack.map_err(|error| format!("{variant}: {error}"))?;
        stack.api.prepare().await.map_err(|error| format!("{variant}: {error}"))?;
        stack.pause();
        stacks.push((variant, stack));
    }
    let mut comparisons = Vec::new();
    for operation in &args.operations {
        for clients in &args.clients {
            comparisons.push(compare_one(&stacks, *operation, *clients, args.seconds).await?);
        }
    }
    if args.short {
        let cells: Vec<&Cell> = comparisons.iter().flat_map(|comparison| &comparison.cells).collect();
        let works = cells.iter().all(|cell| cell.errors == 0 && !cell.samples.is_empty());
        println!("{} stores, {} cells, {}", stacks.len(), cells.len(), if works { "no errors" } else { "errors" });
        return Ok(if works { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    head(&args.engines, &programs);
    table(&args.engines, &mut comparisons);
    Ok(ExitCode::SUCCESS)
}

/// All variants in turn, slice by slice: what else goes on here disturbs all of them alike.
async fn compare_one(
    stacks: &[(&Variant, Stack)],
    operation: Operation,
    clients: usize,
    seconds: f64,
) -> Result<Comparison, String> {
    let mut cells: Vec<Cell> = stacks.iter().map(|_| Cell::default()).collect();
    let slices = (seconds / SLICE).ceil();
    for _ in 0..slices as usize {
        for ((variant, stack), cell) in stacks.iter().zip(&mut cells) {
            stack.resume().await.map_err(|error| format!("{variant}: {error}"))?;
            let processes = stack.processes();
            let cpu = Cpu::now(&processes);
            let slice = stack.api.cell(operation, clients, Duration::from_secs_f64(seconds / slices)).await;
            let mut slice = slice.map_err(|error| format!("{variant}: {error}"))?;
            let (ours, others) = cpu.since();
            slice.cpu = ours;
            stack.pause();
            let (name, rate, others) = (name(operation), slice.rate(), others * 100.0);
            eprintln!("{variant}: {name} {clients}: {rate:.0} a second; others had {others:.0} % of the processors");
            if let Some(error) = &slice.first_error {
                eprintln!("{variant}: {} errors: {error}", slice.errors);
            }
            cell.add(slice);
        }
    }
    Ok(Comparison { operation, clients, cells })
}

fn head(variants: &[Variant], programs: &Programs) {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("{cores} cores, shared by load, API server, kine and database; all on loopback.");
    println!("The API server's own limits are off (no priority and fairness, no max-requests-inflight).");
    println!(
        "create, update, get: 1 KiB ConfigMaps. list: {LISTED} of them, consistent. watch: events, timed from the writer's answer.\n"
    );
    let mut engines: Vec<Engine> = Vec::new();
    for engine in variants.iter().map(|variant| variant.engine) {
        if !engines.contains(&engine) {
            engines.push(engine);
            println!("- {}", stack::version(engine, programs));
        }
    }
}

fn table(variants: &[Variant], comparisons: &mut [Comparison]) {
    let first = variants.first().map(ToString::to_string).unwrap_or_default();
    println!("\n| operation | clients | store | a second | of {first} | p50 ms | p99 ms | CPU ms | errors |");
    println!("|---|---:|---|---:|---:|---:|---:|---:|---:|");
    for Comparison { operation, clients, cells } in comparisons {
        let compared = cells.first().map_or(f64::NAN, Cell::rate);
        for (variant, cell) in variants.iter().zip(cells) {
            cell.samples.sort_unstable();
            let count = cell.samples.len();
            let quantile = |part: f64| {
                let at = ((count as f64 * part) as usize).min(count.saturating_sub(1));
                cell.samples.get(at).map_or(f64::NAN, |micros| f64::from(*micros) / 1e3)
            };
            println!(
                "| {} | {clients} | {variant} | {:.0} | {:.2} | {:.1} | {:.1} | {:.2} | {} |",
                name(*operation),
                cell.rate(),
                cell.rate() / compared,
                quantile(0.5),
                quantile(0.99),
                cell.cpu * 1e3 / count as f64,
                cell.errors
            );
        }
    }
}

fn name(operation: Operation) -> String {
    operation.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

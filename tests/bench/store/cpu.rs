//! Who had the processors: what a request costs, and how much somebody else was busy.

use std::collections::HashMap;
use std::time::Instant;

/// Linux counts processors' time in hundredths of a second, whatever its own clock.
const TICKS: f64 = 100.0;

pub(crate) struct Cpu<'a> {
    at: Instant,
    /// The processes of the stack that is measured.
    stack: &'a [u32],
    /// Of the stack and of this program, which is its load.
    used: u64,
    /// Of neither this program nor any stack of its.
    others: u64,
}

impl<'a> Cpu<'a> {
    pub(crate) fn now(stack: &'a [u32]) -> Self {
        let (own, processes) = (std::process::id(), processes());
        let of = |roots: &[u32]| -> u64 {
            processes.keys().filter(|id| descends(&processes, **id, roots)).map(|id| processes[id].1).sum()
        };
        let load = processes.get(&own).map_or(0, |(_, ticks)| *ticks);
        Self { at: Instant::now(), stack, used: of(stack) + load, others: busy().saturating_sub(of(&[own])) }
    }

    /// Seconds that were used since then, and the part of the machine that others had.
    pub(crate) fn since(&self) -> (f64, f64) {
        let now = Self::now(self.stack);
        let seconds = |now: u64, then: u64| now.saturating_sub(then) as f64 / TICKS;
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let all = cores * (now.at - self.at).as_secs_f64();
        (seconds(now.used, self.used), seconds(now.others, self.others) / all)
    }
}

/// Of the whole machine: user, nice, system, irq, softirq and steal of proc(5).
fn busy() -> u64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = stat.lines().next().unwrap_or_default();
    let fields: Vec<u64> = line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    [0, 1, 2, 5, 6, 7].iter().filter_map(|at| fields.get(*at)).sum()
}

/// Every process with its parent and its time; that of children which ended included.
fn processes() -> HashMap<u32, (u32, u64)> {
    let mut found = HashMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // A program's name may hold anything, so fields count from behind it: state, parent, ..., utime, stime, cutime, cstime.
        let Some((_, fields)) = stat.rsplit_once(')') else { continue };
        let fields: Vec<u64> = fields.split_whitespace().map(|field| field.parse().unwrap_or_default()).collect();
        found.insert(id, (fields[1] as u32, fields[11..15].iter().sum()));
    }
    found
}

/// PostgreSQL has a process for each connection.
fn descends(processes: &HashMap<u32, (u32, u64)>, mut id: u32, roots: &[u32]) -> bool {
    while !roots.contains(&id) {
        match processes.get(&id) {
            Some((parent, _)) if *parent != 0 => id = *parent,
            _ => return false,
        }
    }
    true
}

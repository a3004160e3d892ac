//! What a SQLite file tells, on a host that may have nothing to open it with.

use std::time::Duration;

use super::seen::{Seen, Size, Told};
use super::table::{self, COUNTING, Dialect, Rowset, too_long};
use crate::remote::{Output, Query, Question, RemoteError};

const SIZE: &str = include_str!("scripts/size.sh");
const ASK: &str = include_str!("scripts/sqlite.sh");

const DIALECT: Dialect = Dialect { text: str::to_owned, hex: |expression| format!("HEX({expression})") };

/// `timeout`'s own status, and the script's where there is no program.
const CUT_OFF: i32 = 124;
const NO_PROGRAM: i32 = 3;

/// Asks for the file's size, and about the table where the host has sqlite3 or python3.
pub async fn look(host: &impl Query, file: &str) -> Result<Seen, RemoteError> {
    let output = host.ask(question(SIZE, vec![file.to_owned()])).await?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut sizes = text.lines().filter_map(|line| line.parse().ok());
    let size = match sizes.next() {
        Some(bytes) => Told::Told(Size { bytes, log_bytes: sizes.next() }),
        None => Told::no(last_line(&output)),
    };
    let mut lost = None;
    let (revisions, rows) = table::look(DIALECT, async |sql| {
        let args = vec![file.to_owned(), sql, COUNTING.to_string()];
        match host.ask(question(ASK, args)).await {
            Ok(output) => answer(&output),
            Err(error) => {
                let why = error.to_string();
                lost = Some(error);
                Err(why)
            }
        }
    })
    .await;
    lost.map_or(Ok(Seen { size, revisions, rows, ..Seen::nothing("") }), Err)
}

fn question(script: &'static str, args: Vec<String>) -> Question {
    Question { script, args, input: Vec::new(), deadline: Duration::from_secs(COUNTING + 10) }
}

fn answer(output: &Output) -> Rowset {
    let text = String::from_utf8_lossy(&output.stdout);
    match output.status {
        0 => Ok(text.lines().map(|line| line.split('|').map(str::to_owned).collect()).collect()),
        CUT_OFF => Err(too_long()),
        NO_PROGRAM => Err("the host has neither sqlite3 nor python3".into()),
        _ => Err(last_line(output)),
    }
}

fn last_line(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or("no answer").to_owned()
}

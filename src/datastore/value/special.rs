//! Messages that Go writes as something else than an object of their fields.

use serde_json::Value;
use x509_parser::time::ASN1Time;

use super::Unclear;
use super::object::{Shown, int32, text};
use super::table::Special;
use crate::cluster::kine::probe::frame::{Field, fields};

/// Seconds from 1970 back to Go's zero time, the beginning of year 1.
const YEAR_ONE: i64 = -62_135_596_800;

/// A special message as JSON. Empty bytes are one that is missing.
pub(super) fn shown(kind: Special, bytes: &[u8]) -> Result<Shown, Unclear> {
    match kind {
        Special::Time => time(bytes, |_| String::new()),
        Special::MicroTime => time(bytes, |nanoseconds| format!(".{:06}", nanoseconds / 1000)),
        Special::Duration => duration(bytes),
        Special::Quantity => quantity(bytes),
        Special::IntOrString => int_or_string(bytes),
        Special::Json => json(bytes),
    }
}

/// Seconds and nanoseconds, in RFC 3339.
fn time(bytes: &[u8], fraction: impl Fn(i32) -> String) -> Result<Shown, Unclear> {
    let [seconds, nanoseconds] = numbers(bytes)?;
    let (seconds, nanoseconds) = (seconds.cast_signed(), int32(nanoseconds)?);
    if bytes.is_empty() || seconds == YEAR_ONE {
        return Ok(Shown::structure(Value::Null, true));
    }
    if !(0..1_000_000_000).contains(&nanoseconds) {
        return Err(Unclear::Content);
    }
    let time = ASN1Time::from_timestamp(seconds).map_err(|_| Unclear::Content)?.to_datetime();
    if !(0..=9999).contains(&time.year()) {
        return Err(Unclear::Content);
    }
    let (year, month, day) = (time.year(), u8::from(time.month()), time.day());
    let (hour, minute, second) = (time.hour(), time.minute(), time.second());
    let fraction = fraction(nanoseconds);
    let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z");
    Ok(Shown::structure(text.into(), false))
}

/// Nanoseconds, as Go's `time.Duration` tells them.
fn duration(bytes: &[u8]) -> Result<Shown, Unclear> {
    let [nanoseconds, 0] = numbers(bytes)? else { return Err(Unclear::Field(2)) };
    let nanoseconds = nanoseconds.cast_signed();
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let whole = nanoseconds.unsigned_abs();
    let text = match whole {
        0 => "0s".into(),
        1..1_000 => format!("{whole}ns"),
        1_000..1_000_000 => format!("{}µs", decimal(whole, 1_000)),
        1_000_000..1_000_000_000 => format!("{}ms", decimal(whole, 1_000_000)),
        _ => {
            let (minutes, rest) = (whole / 60_000_000_000, whole % 60_000_000_000);
            let seconds = decimal(rest, 1_000_000_000);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{seconds}s"),
                (0, minutes) => format!("{minutes}m{seconds}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    };
    Ok(Shown::structure(format!("{sign}{text}").into(), nanoseconds == 0))
}

/// A fraction without zeros at its end; `unit` is a power of ten.
fn decimal(number: u64, unit: u64) -> String {
    let digits = unit.ilog10() as usize;
    let text = format!("{}.{:0digits$}", number / unit, number % unit);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The canonical text is what is stored.
fn quantity(bytes: &[u8]) -> Result<Shown, Unclear> {
    let text = match fields(bytes).map_err(|_| Unclear::Form)?.as_slice() {
        [] => "0",
        [(1, Field::Bytes(bytes))] => text(bytes)?,
        _ => return Err(Unclear::Type),
    };
    Ok(Shown::structure(text.into(), text == "0"))
}

/// Which of the two, the number, the text.
fn int_or_string(bytes: &[u8]) -> Result<Shown, Unclear> {
    let (mut which, mut number, mut name) = (0, 0, "");
    for field in fields(bytes).map_err(|_| Unclear::Form)? {
        match field {
            (1, Field::Number(held)) => which = held,
            (2, Field::Number(held)) => number = int32(held)?,
            (3, Field::Bytes(bytes)) => name = text(bytes)?,
            (other, _) => return Err(Unclear::Field(other)),
        }
    }
    let json = match which {
        0 => number.into(),
        1 => name.into(),
        _ => return Err(Unclear::Content),
    };
    Ok(Shown::structure(json, which == 0 && number == 0 && name.is_empty()))
}

/// JSON in field 1.
fn json(bytes: &[u8]) -> Result<Shown, Unclear> {
    match fields(bytes).map_err(|_| Unclear::Form)?.as_slice() {
        [] => Ok(Shown::structure(Value::Null, true)),
        [(1, Field::Bytes(text))] => {
            let json = serde_json::from_slice(text).map_err(|_| Unclear::Content)?;
            Ok(Shown::structure(json, false))
        }
        _ => Err(Unclear::Type),
    }
}

/// Fields 1 and 2, which are numbers.
fn numbers(bytes: &[u8]) -> Result<[u64; 2], Unclear> {
    let mut held = [0; 2];
    for field in fields(bytes).map_err(|_| Unclear::Form)? {
        match field {
            (1, Field::Number(number)) => held[0] = number,
            (2, Field::Number(number)) => held[1] = number,
            (other, _) => return Err(Unclear::Field(other)),
        }
    }
    Ok(held)
}

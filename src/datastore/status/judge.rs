//! What a store's numbers mean. Pure.

use super::report::Line;
use super::seen::{Connections, Limit, Replication, Revisions, Rows, Seen, Size, Statement, Status, Told};
use crate::failure::Finding;
use crate::ui::{bytes, elapsed};

/// The API server compacts every 5 minutes, up to what was the newest revision 5 minutes before, and kine keeps the newest 1000. So the history
/// spans 10 minutes, or 1000 changes where these are more; three times as long means that compactions fail.
const LONG: u64 = 30 * 60;

/// A history that is smaller than this hurts nobody, however old it is: 10 of what kine always keeps.
const SMALL: u64 = 10_000;

/// Where no Lease tells how long a history is. Kubernetes' largest clusters (5000 nodes, a Lease each every 10 s) write 300 000 changes in
/// 10 minutes, beside 100 000 objects and more. So many rows for so few objects, or so many changes at all, are not those of 10 minutes.
const MANY: u64 = 100_000;
const MANY_TIMES: u64 = 10;
const HUGE: u64 = 1_000_000;

/// Seconds that a standby may be behind. What it lacks is lost when it takes over, and the kubelets go on from what it has not heard of.
const BEHIND: f64 = 60.0;

/// The longest that a statement is shown.
const WIDTH: usize = 100;

/// A line for everything that is told, or is not.
pub(super) fn lines(status: &Status) -> Vec<Line> {
    let Some(seen) = &status.seen else {
        let detail = format!("{} at {}", status.engine, status.at);
        return vec![Line { name: "store", detail, is_told: false, findings: status.wrong.clone() }];
    };
    let mut lines = vec![
        Line { name: "store", detail: store(status, seen), is_told: true, findings: status.wrong.clone() },
        Line::of("size", &seen.size, size, |_| Vec::new()),
        Line::of("rows", &seen.rows, rows, |_| Vec::new()),
        Line::of("revisions", &seen.revisions, revisions, |ends| compaction(*ends, seen.rows.told().copied())),
    ];
    let of_server = [
        seen.connections.as_ref().map(|told| Line::of("connections", told, connections, used_up)),
        seen.statements.as_ref().map(|told| Line::of("statements", told, |slow| statements(slow), |_| Vec::new())),
        seen.replication.as_ref().map(|told| Line::of("replication", told, replication, behind)),
    ];
    lines.extend(of_server.into_iter().flatten());
    lines
}

fn store(status: &Status, seen: &Seen) -> String {
    let engine = [Some(status.engine), seen.version.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(" ");
    let served = seen.served.map(|served| {
        let objects = plural(served.objects, "object");
        format!("; kine serves {objects} at revision {}", served.revision)
    });
    format!("{engine} at {}{}", status.at, served.unwrap_or_default())
}

fn plural(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn size(size: &Size) -> String {
    let log = size.log_bytes.map(|log| format!(", and {} of write-ahead log", bytes(log)));
    format!("{}{}", bytes(size.bytes), log.unwrap_or_default())
}

fn rows(rows: &Rows) -> String {
    format!("{} live, {} superseded", rows.live, rows.superseded)
}

fn revisions(ends: &Revisions) -> String {
    let long = match ends.seconds {
        Some(seconds) => format!(", written within {}", span(seconds)),
        None => ", and no Lease tells since when".to_owned(),
    };
    let long = if ends.apart() == 0 { String::new() } else { long };
    format!("{} is the newest, {} the compacted one: {} apart{long}", ends.current, ends.compacted, ends.apart())
}

/// Days and hours beside what [`elapsed`] tells.
fn span(seconds: u64) -> String {
    match seconds {
        0..7200 => elapsed(seconds as f64),
        7200..172_800 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

fn compaction(ends: Revisions, rows: Option<Rows>) -> Vec<Finding> {
    let (live, superseded) = rows.map_or((0, 0), |rows| (rows.live, rows.superseded));
    let (is_behind, since) = match ends.seconds {
        Some(seconds) => (seconds > LONG && ends.apart().max(superseded) >= SMALL, format!("for {}", span(seconds))),
        None => {
            let many = rows.is_some() && superseded >= MANY && superseded >= live.saturating_mul(MANY_TIMES);
            (many || ends.apart() >= HUGE, "for long".to_owned())
        }
    };
    let what = match rows {
        Some(_) => format!("compaction is behind: {superseded} superseded rows beside {live} live ones"),
        None => format!("compaction is behind: {} changes since the compacted revision", ends.apart()),
    };
    is_behind
        .then(|| {
            Finding::error(
                what,
                format!("nothing was removed {since}, the API server compacts every 5 minutes, and lists get slower with every row"),
                "`etcdless datastore check` knows settings of the server that stop it; else see what `kubectl -n kube-system logs -l \
                 component=kube-apiserver` and kine's log say of compaction",
            )
        })
        .into_iter()
        .collect()
}

fn connections(connections: &Connections) -> String {
    let limit = |limit: &Limit| format!("{} of {} of {}", limit.used, limit.allowed, limit.of);
    let limits: Vec<String> = connections.limits.iter().map(limit).collect();
    format!("{}; {} of kine's user to its database", limits.join(", "), connections.ours)
}

fn used_up(connections: &Connections) -> Vec<Finding> {
    // kine opens no more than its pool: a limit that it fills by itself is enough.
    let is_full = |limit: &&Limit| limit.used * 10 >= limit.allowed * 9 && limit.used > connections.ours;
    let finding = |limit: &Limit| {
        Finding::error(
            format!("{} of {} connections of {} are in use", limit.used, limit.allowed, limit.of),
            "once there are none, kine cannot open those of its pool, and the API server's requests fail",
            limit.fix.clone(),
        )
    };
    connections.limits.iter().filter(is_full).map(finding).collect()
}

fn statements(slow: &[Statement]) -> String {
    if slow.is_empty() {
        return "none of kine's ran 10 times since the server's account began".into();
    }
    let line = |statement: &Statement| {
        let mut text: String = statement.text.chars().take(WIDTH).collect();
        if text.len() < statement.text.len() {
            text.push_str("...");
        }
        format!("{:.1} ms on average of {}: {text}", statement.milliseconds, plural(statement.calls, "call"))
    };
    slow.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn replication(replication: &Replication) -> String {
    let lag = |seconds: &Told<f64>| match seconds {
        Told::Told(seconds) => format!("{} behind", elapsed(*seconds)),
        Told::NotTold { not_told } => format!("how far behind is not told: {not_told}"),
    };
    match (&replication.behind, replication.standbys.is_empty()) {
        (Some(behind), _) => format!("the server follows another one, {}", lag(behind)),
        (None, true) => "no standby".into(),
        (None, false) => {
            let standby = |standby: &super::seen::Standby| format!("{}: {}", standby.name, lag(&standby.seconds));
            replication.standbys.iter().map(standby).collect::<Vec<_>>().join("\n")
        }
    }
}

fn behind(replication: &Replication) -> Vec<Finding> {
    let own = replication.behind.iter().map(|seconds| ("the server", seconds));
    let standbys = replication.standbys.iter().map(|standby| (standby.name.as_str(), &standby.seconds));
    own.chain(standbys)
        .filter_map(|(name, seconds)| Some((name, *seconds.told()?)).filter(|(_, seconds)| *seconds > BEHIND))
        .map(|(name, seconds)| {
            Finding::error(
                format!("{name} is {} behind", elapsed(seconds)),
                "what it lacks is lost when it takes over",
                "see its log, its disk, and the network between the servers",
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(apart: u64, seconds: Option<u64>) -> Revisions {
        Revisions { current: 5_000 + apart, compacted: 5_000, seconds }
    }

    #[test]
    fn compaction_is_behind_where_history_is_long_and_large() {
        let rows = |live, superseded| Some(Rows { live, superseded });
        for (ends, rows, expected) in [
            // In order: 10 minutes of a large cluster, days of an idle one, one that just began.
            (ends(400_000, Some(600)), rows(200_000, 390_000), false),
            (ends(1_200, Some(90_000)), rows(300, 1_100), false),
            (ends(9_999, Some(1_801)), rows(300, 9_000), false),
            (ends(0, None), rows(0, 0), false),
            // Not in order.
            (ends(10_000, Some(1_801)), rows(300, 9_000), true),
            (ends(9_000, Some(1_801)), rows(300, 12_000), true),
            (ends(10_000, Some(1_801)), None, true),
            // No Lease tells since when.
            (ends(90_000, None), rows(100, 99_999), false),
            (ends(150_000, None), rows(20_000, 140_000), false),
            (ends(150_000, None), rows(14_000, 140_000), true),
            (ends(999_999, None), None, false),
            (ends(1_000_000, None), None, true),
        ] {
            let findings = compaction(ends, rows);
            assert_eq!(!findings.is_empty(), expected, "{ends:?} {rows:?} {findings:?}");
        }
        let text = compaction(ends(20_000, Some(93_600)), rows(300, 19_000))[0].to_string();
        assert!(
            text.starts_with(
                "compaction is behind: 19000 superseded rows beside 300 live ones: nothing was removed for 26 h 0 min, the API server"
            ),
            "{text}"
        );
    }

    #[test]
    fn connections_are_used_up_at_nine_tenths_unless_all_are_ours() {
        let limit = |used, allowed| Limit { of: "the server".into(), used, allowed, fix: "more".into() };
        for (ours, used, allowed, expected) in
            [(8, 89, 100, false), (8, 90, 100, true), (8, 8, 8, false), (8, 9, 9, true), (0, 0, 97, false)]
        {
            let found = used_up(&Connections { ours, limits: vec![limit(used, allowed)] });
            assert_eq!(!found.is_empty(), expected, "{found:?}");
        }
        let found = used_up(&Connections { ours: 8, limits: vec![limit(90, 97)] });
        assert!(found[0].to_string().starts_with("90 of 97 connections of the server are in use: "), "{found:?}");
    }

    #[test]
    fn copies_may_be_a_minute_behind() {
        let standby = |name: &str, seconds| super::super::seen::Standby { name: name.into(), seconds };
        let seen = Replication {
            behind: None,
            standbys: vec![
                standby("a", Told::Told(60.0)),
                standby("b", Told::Told(61.0)),
                standby("c", Told::no("why")),
            ],
        };
        assert_eq!(replication(&seen), "a: 60 s behind\nb: 61 s behind\nc: how far behind is not told: why");
        let found = behind(&seen);
        assert_eq!(found.len(), 1);
        assert!(found[0].to_string().starts_with("b is 61 s behind: what it lacks "));
        let copy = Replication { behind: Some(Told::Told(3.0)), standbys: Vec::new() };
        assert_eq!(replication(&copy), "the server follows another one, 3.0 s behind");
        assert!(behind(&copy).is_empty());
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!([90, 7_260, 200_000].map(span), ["90 s", "2 h 1 min", "2 d 7 h"]);
        let text = revisions(&ends(800, Some(425)));
        assert_eq!(text, "5800 is the newest, 5000 the compacted one: 800 apart, written within 7 min 5 s");
        assert_eq!(size(&Size { bytes: 2048, log_bytes: Some(512) }), "2.0 KiB, and 512 B of write-ahead log");
        let slow = [Statement { text: "SELECT ä ".repeat(20), calls: 1, milliseconds: 12.34 }];
        let text = statements(&slow);
        assert!(
            text.starts_with("12.3 ms on average of 1 call: SELECT ä ") && text.ends_with(" SELECT ä S..."),
            "{text}"
        );
    }
}

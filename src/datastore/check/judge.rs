//! What is said of every engine alike. Pure.

use super::Demand;
use super::target::Security;
use crate::config::ServerEngine as Engine;
use crate::failure::Finding;
use crate::remote::forward::Place;

/// How many objects are counted; more of them are "more than".
pub(super) const COUNTED: u64 = 10_000;

/// What takes longer than this is worth a warning, in milliseconds.
const SLOW: f64 = 10.0;

/// How old a version may be.
#[derive(Debug)]
pub(super) struct Versions {
    /// Older ones are refused.
    pub(super) floor: (u32, u32),
    /// What upstream or this project ran kine on; `None` for every minor.
    pub(super) tested: &'static [(u32, Option<u32>)],
    /// The same for people.
    pub(super) list: &'static str,
}

/// The version against the list.
pub(super) fn version(engine: &str, version: (u32, u32), versions: &Versions) -> Vec<Finding> {
    let (major, minor) = version;
    let what = match engine {
        "PostgreSQL" => format!("the server is {engine} {major}"),
        _ => format!("the server is {engine} {major}.{minor}"),
    };
    let (floor, tested) = (versions.floor, versions.list);
    if version < floor {
        let why = "nobody runs kine on it any more, and the engine's makers do not mend it";
        return vec![Finding::error(what, why, format!("upgrade the server; kine is tested with {tested}"))];
    }
    if versions.tested.iter().any(|(m, n)| *m == major && n.is_none_or(|n| n == minor)) {
        return Vec::new();
    }
    vec![Finding::warning(what, "nobody is known to have tested kine with it", format!("use one of {tested}"))]
}

pub(super) fn unresolved(host: &str, name: &str) -> Finding {
    Finding::error(
        format!("{name} has no address on {host}"),
        "kine asks the host's own resolver",
        format!("add the name to DNS or to /etc/hosts, or use an address; `getent ahosts {name}` on {host} asks again"),
    )
}

pub(super) fn refused(host: &str, place: &Place, why: &str, engine: Engine) -> Finding {
    let listen = match engine {
        Engine::Postgres => "`listen_addresses` in postgresql.conf (restart after it)",
        Engine::Mysql | Engine::Mariadb => "`bind-address` in the server's [mysqld] section (restart after it)",
    };
    Finding::error(
        format!("{place} does not answer {host}"),
        why,
        format!("start the server, let it listen there with {listen}, and open the firewall for {host}"),
    )
}

pub(super) fn no_socket(host: &str, path: &str, engine: Engine) -> Finding {
    let setting = match engine {
        Engine::Postgres => "unix_socket_directories",
        Engine::Mysql | Engine::Mariadb => "socket",
    };
    Finding::error(
        format!("{path} is no socket on {host}"),
        "kine opens it there",
        format!(
            "start the server on {host}, or use the path that `SHOW {}` tells",
            if engine == Engine::Postgres { setting.to_owned() } else { format!("VARIABLES LIKE '{setting}'") }
        ),
    )
}

/// sshd connects to sockets as whoever logged in, and a server may tell users apart by that.
pub(super) fn other_user(user: &str, path: &str) -> Finding {
    Finding::warning(
        format!("what is behind {path} is not checked"),
        format!("sshd would connect as `{user}`, and kine does as root"),
        "log in as root for the check, or run etcdless on the host itself (address: local)",
    )
}

/// Encryption as it is configured.
pub(super) fn encryption(security: Security, network: bool, place: &Place) -> super::Line {
    const NAME: &str = "DatastoreEncryption";
    if !network {
        return super::Line::ok(NAME, "nothing goes over the network");
    }
    let fix = "remove `tls.mode` (it is `verify` then), and name the authority's file as tls.ca";
    match security {
        Security::Verify => super::Line::ok(NAME, "encrypted, and the server is verified"),
        Security::Encrypt => super::Line::of(
            NAME,
            Finding::warning(
                format!("whoever answers as {place} is taken for the server"),
                "somebody in between could read and change the cluster's state, Secrets too",
                fix,
            ),
        ),
        Security::Off | Security::Prefer => super::Line::of(
            NAME,
            Finding::warning(
                format!("what goes to {place} may go unencrypted"),
                "everybody on the way can read the cluster's state, Secrets too",
                fix,
            ),
        ),
    }
}

/// What a database holds already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// No table, or none of anybody's objects in it.
    Empty,
    /// A table with other columns than kine's, in the server's words.
    Strange(String),
    /// Objects of a cluster.
    Objects {
        /// How many, up to one more than [`COUNTED`].
        count: u64,
        /// The kube-system namespace as it is stored.
        kube_system: Option<Vec<u8>>,
    },
}

/// The table against whose it should be.
pub(super) fn table(content: &Content, ours: bool, database: &str) -> super::Line {
    const NAME: &str = "DatastoreTable";
    let fix = "give this cluster a database of its own";
    match content {
        Content::Empty => super::Line::ok(NAME, format!("{database} holds no cluster")),
        Content::Objects { .. } if ours => super::Line::ok(NAME, format!("{database} holds this cluster")),
        Content::Strange(said) => super::Line::of(
            NAME,
            Finding::error(format!("{database} has a table `kine` that is not kine's"), said.clone(), fix),
        ),
        Content::Objects { count, kube_system } => {
            let count = match *count {
                1 => "1 object".to_owned(),
                count if count > COUNTED => format!("more than {COUNTED} objects"),
                count => format!("{count} objects"),
            };
            let whose = kube_system.as_deref().and_then(identity);
            let whose = whose.map(|whose| format!(" of {whose}")).unwrap_or_default();
            super::Line::of(
                NAME,
                Finding::error(
                    format!("{database} holds {count} of another cluster"),
                    format!(
                        "this host runs no cluster of ours, so they are not this cluster's{}",
                        match whose.as_str() {
                            "" => String::new(),
                            whose => format!("; they are those{whose}"),
                        }
                    ),
                    format!("{fix}; if nothing of that cluster is needed: `DROP TABLE kine;`"),
                ),
            )
        }
    }
}

/// The cluster's own mark, the UID of kube-system, and since when there is one; from protobuf or JSON.
fn identity(value: &[u8]) -> Option<String> {
    let at = value.windows(36).position(is_uuid)?;
    let uid = String::from_utf8_lossy(&value[at..at + 36]).into_owned();
    // creationTimestamp, the eighth field of ObjectMeta: a message whose first field is seconds as a varint of five bytes.
    let rest = &value[at + 36..];
    let since = rest.windows(8).find(|window| window[0] == 0x42 && window[2] == 0x08 && window[1] >= 6).map(|window| {
        window[3..8].iter().enumerate().fold(0_u64, |sum, (place, byte)| sum | u64::from(byte & 0x7f) << (7 * place))
    });
    let since =
        since.and_then(|seconds| x509_parser::time::ASN1Time::from_timestamp(i64::try_from(seconds).ok()?).ok());
    let since = since.map(|time| format!(", made {time}")).unwrap_or_default();
    Some(format!("the cluster whose kube-system is {uid}{since}"))
}

fn is_uuid(window: &[u8]) -> bool {
    window.iter().enumerate().all(|(place, byte)| match place {
        8 | 13 | 18 | 23 => *byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    })
}

/// How many more connections there may be, and by what that is limited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Room {
    /// What limits them, for people.
    pub(super) what: String,
    /// How many more.
    pub(super) free: i64,
    /// How many more there will be.
    pub(super) needed: i64,
    /// The statement that allows as many as are needed.
    pub(super) fix: String,
}

/// Connections that kine will open against what is allowed.
pub(super) fn connections(rooms: &[Room], demand: Demand<'_>) -> super::Line {
    const NAME: &str = "DatastoreConnections";
    let control_planes = match demand.control_planes {
        1 => "1 control plane".to_owned(),
        more => format!("{more} control planes"),
    };
    let pools = |needed: i64| match needed > i64::from(demand.needed()) {
        false => format!("{needed} ({} for each of {control_planes})", demand.pool),
        true => format!("{needed} ({} for each of {control_planes} and {} stores)", demand.pool, demand.stores.len()),
    };
    let findings: Vec<Finding> = rooms
        .iter()
        .filter(|room| room.free < room.needed)
        .map(|room| {
            let each = room.free * i64::from(demand.pool) / room.needed.max(1);
            let smaller = if each > 0 { format!("; or --set kine.pool={each}") } else { String::new() };
            Finding::error(
                format!("{}, so {} are left", room.what, room.free.max(0)),
                format!("kine opens up to {}", pools(room.needed)),
                format!("{}{smaller}", room.fix),
            )
        })
        .collect();
    let tightest = rooms.iter().min_by_key(|room| room.free - room.needed);
    let detail = tightest.map(|room| format!("kine opens up to {}, and {} are left", pools(room.needed), room.free));
    super::Line::judged(NAME, detail.unwrap_or_default(), findings)
}

/// Round trips and commits in milliseconds.
pub(super) fn latency(round_trips: Vec<f64>, commits: Option<Vec<f64>>) -> super::Line {
    const NAME: &str = "DatastoreLatency";
    let (trip, commit) = (Spread::of(round_trips), commits.and_then(Spread::of));
    let Some(trip) = trip else { return super::Line::ok(NAME, "not measured") };
    let seen = match &commit {
        Some(commit) => format!("round trip {trip}, commit {commit}"),
        None => format!("round trip {trip}, commits were not timed"),
    };
    let mut findings = Vec::new();
    if trip.median > SLOW {
        findings.push(Finding::warning(
            format!("a round trip to the server takes {trip}"),
            "every request of the API server makes several",
            "put the server nearer to the control planes",
        ));
    } else if let Some(commit) = commit.filter(|commit| commit.median > SLOW) {
        findings.push(Finding::warning(
            format!("a commit takes {commit}"),
            "the API server writes one object a commit",
            "give the server's log a faster disk, and see what synchronous replicas cost",
        ));
    }
    super::Line::judged(NAME, seen, findings)
}

struct Spread {
    median: f64,
    high: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let at = |part: usize| values.get((values.len() * part).div_ceil(100).saturating_sub(1)).copied();
        Some(Self { median: at(50)?, high: at(99)? })
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.1} ms (p99 {:.1} ms)", self.median, self.high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSIONS: Versions =
        Versions { floor: (8, 0), tested: &[(8, Some(0)), (8, Some(4)), (9, None)], list: "LIST" };

    #[test]
    fn versions_are_tested_unknown_or_too_old() {
        for (found, expected) in [
            ((8, 0), None),
            ((8, 4), None),
            ((9, 3), None),
            (
                (8, 2),
                Some("the server is MySQL 8.2: nobody is known to have tested kine with it; fix: use one of LIST"),
            ),
            (
                (5, 7),
                Some(
                    "the server is MySQL 5.7: nobody runs kine on it any more, and the engine's makers do not mend it; fix: upgrade the server; kine is tested with LIST",
                ),
            ),
        ] {
            let findings = version("MySQL", found, &VERSIONS);
            assert_eq!(findings.first().map(ToString::to_string).as_deref(), expected);
        }
    }

    #[test]
    fn a_cluster_is_known_by_kube_system() {
        let uid = b"0f3e4b6a-1111-4222-8333-abcdefabcdef";
        let mut value =
            b"k8s\0\n\x0f\n\x02v1\x12\tNamespace\x12\xf0\x01\n\xd5\x01\n\x0bkube-system\x12\0\x1a\0\"\0*$".to_vec();
        value.extend(uid);
        // resourceVersion, generation, then 1763748101 seconds.
        value.extend([0x32, 0, 0x38, 0, 0x42, 0x08, 0x08, 0x85, 0xd2, 0x82, 0xc9, 0x06, 0x10, 0]);
        assert_eq!(
            identity(&value).as_deref(),
            Some(
                "the cluster whose kube-system is 0f3e4b6a-1111-4222-8333-abcdefabcdef, made Nov 21 18:01:41 2025 +00:00"
            )
        );
        assert_eq!(identity(b"k8s:enc:aescbc:v1:key1:..."), None);
        let line = table(&Content::Objects { count: 10_001, kube_system: None }, false, "kine");
        assert_eq!(
            line.text(),
            "kine holds more than 10000 objects of another cluster: this host runs no cluster of ours, so they are not this cluster's; \
             fix: give this cluster a database of its own; if nothing of that cluster is needed: `DROP TABLE kine;`"
        );
        let line = table(&Content::Objects { count: 3, kube_system: None }, true, "kine");
        assert_eq!(line.text(), "kine holds this cluster");
    }

    #[test]
    fn slow_stores_are_told() {
        let line = latency(vec![0.5; 20], Some(vec![20.0; 20]));
        assert_eq!(
            line.text(),
            "a commit takes 20.0 ms (p99 20.0 ms): the API server writes one object a commit; \
             fix: give the server's log a faster disk, and see what synchronous replicas cost"
        );
        assert!(!line.is_error());
        let mut uneven = vec![1.0; 19];
        uneven.push(50.0);
        assert_eq!(latency(uneven, None).text(), "round trip 1.0 ms (p99 50.0 ms), commits were not timed");
        assert_eq!(
            latency(vec![30.0], None).text(),
            "a round trip to the server takes 30.0 ms (p99 30.0 ms): every request of the API server makes several; \
             fix: put the server nearer to the control planes"
        );
    }

    #[test]
    fn the_network_is_encrypted_or_warned_of() {
        let place = Place::Tcp { host: "db".into(), port: 5432 };
        let text = |security, network| encryption(security, network, &place).text();
        assert_eq!(text(Security::Off, false), "nothing goes over the network");
        assert_eq!(text(Security::Verify, true), "encrypted, and the server is verified");
        assert!(text(Security::Encrypt, true).starts_with("whoever answers as db:5432 is taken for the server: "));
        assert!(text(Security::Off, true).starts_with("what goes to db:5432 may go unencrypted: "));
    }
}

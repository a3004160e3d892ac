//! The `format`s of texts in the schema, each by the type that reads it.

use std::net::IpAddr;

use ipnet::IpNet;

use super::names::{Address, DnsLabel, ServerAddress, Version};
use super::repository::advice as repository_advice;
use super::{ApiAddress, ImageRepository, Taint};

/// A `format` of a text: its name, what people call it, what it accepts, and what to write instead of something else.
pub(super) struct Format {
    pub(super) name: &'static str,
    pub(super) noun: &'static str,
    pub(super) accepts: fn(&str) -> bool,
    pub(super) advice: fn(&str) -> String,
}

pub(super) const FORMATS: &[Format] = &[
    Format {
        name: "version",
        noun: "a version such as v1.34.4",
        accepts: parses::<Version>,
        advice: |_| "write all three numbers: vMAJOR.MINOR.PATCH".into(),
    },
    Format {
        name: "dns-label",
        noun: "a DNS label",
        accepts: parses::<DnsLabel>,
        advice: |_| "use 1 to 63 of a-z, 0-9 and `-`, with a letter or digit at both ends".into(),
    },
    Format { name: "host-address", noun: "a host", accepts: parses::<Address>, advice: host_advice },
    Format {
        name: "server-address",
        noun: "a database server",
        accepts: parses::<ServerAddress>,
        advice: |_| "use HOST, HOST:PORT, [IPV6]:PORT, or the absolute path of a unix socket".into(),
    },
    Format {
        name: "api-address",
        noun: "an endpoint",
        accepts: parses::<ApiAddress>,
        advice: |_| "use HOST, HOST:PORT or [IPV6]:PORT".into(),
    },
    Format {
        name: "image-repository",
        noun: "an image repository",
        accepts: parses::<ImageRepository>,
        advice: repository_advice,
    },
    Format {
        name: "taint",
        noun: "a taint",
        accepts: parses::<Taint>,
        advice: |_| {
            "use KEY=VALUE:EFFECT or KEY:EFFECT, where EFFECT is NoSchedule, PreferNoSchedule or NoExecute".into()
        },
    },
    Format {
        name: "ip",
        noun: "an IP address",
        accepts: parses::<IpAddr>,
        advice: |_| "write it like 10.0.0.11 or \"fd00::11\"".into(),
    },
    Format { name: "cidr", noun: "an address range", accepts: parses::<IpNet>, advice: range_advice },
];

fn parses<T: std::str::FromStr>(text: &str) -> bool {
    text.parse::<T>().is_ok()
}

fn host_advice(text: &str) -> String {
    match text.split_once('@') {
        Some((user, host)) if parses::<Address>(host) => format!("write `address: {host}` and `user: {user}`"),
        _ => "use an IP address, a DNS name, an alias of your ssh_config, or `local`".into(),
    }
}

fn range_advice(text: &str) -> String {
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => format!("add a prefix length: {text}/16"),
        Ok(IpAddr::V6(_)) => format!("add a prefix length: \"{text}/56\""),
        Err(_) => "write ADDRESS/PREFIX, such as 10.244.0.0/16".into(),
    }
}

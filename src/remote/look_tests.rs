#![expect(clippy::unwrap_used)]

use super::*;

/// What the script printed on a Debian 12 host, with a few lines of other hosts' mixed in: swap, a module that modprobe does not find,
/// a unit that was never there.
const TRANSCRIPT: &str = include_str!("../../tests/look/debian-12.txt");

fn set(values: &[&str]) -> BTreeSet<String> {
    values.iter().map(|&value| value.to_owned()).collect()
}

fn probes() -> Probes {
    Probes {
        files: set(&["/etc/hosts", "/etc", "/etc/my file", "/nope"]),
        texts: set(&["/etc/hosts", "/nope"]),
        sysctls: set(&["net.ipv4.ip_forward", "net.ipv4.ip_local_port_range", "no.such.key"]),
        units: set(&["containerd.service", "kubelet.service", "nope.service", "sshd.service"]),
        packages: set(&["dash", "socat", "nope"]),
        images: set(&["registry.k8s.io/pause:3.10.1", "registry.k8s.io/nope:1"]),
        features: set(&["ext4", "wireguard"]),
    }
}

#[test]
fn a_transcript_becomes_facts() {
    let facts = parse(TRANSCRIPT, &probes(), 1_795_262_859_000).unwrap();
    insta::assert_debug_snapshot!("debian-12", facts);
}

#[test]
fn an_answer_that_was_cut_off_is_no_answer() {
    let cut = TRANSCRIPT.split_once("== addresses").unwrap().0;
    assert_eq!(parse(cut, &probes(), 0).unwrap_err(), "its answer was cut off");
    assert_eq!(parse("motd\n== clock\n1\n== end\n", &probes(), 0).unwrap_err(), "its answer begins with \"motd\"");
    assert_eq!(parse("== clock\n\n== end\n", &probes(), 0).unwrap_err(), "it does not tell the time");
}

#[test]
fn questions_are_lines_and_end_with_a_mark() {
    let mut probes = Probes { sysctls: set(&["net.ipv4.ip_forward"]), files: set(&["/a b"]), ..Probes::default() };
    let text = String::from_utf8(questions(&probes).unwrap()).unwrap();
    assert!(text.starts_with("file\t/a b\nsysctl\t/proc/sys/net/ipv4/ip_forward\nfeature\tbr_netfilter\n"), "{text}");
    assert!(text.ends_with("\nend\n"));
    probes.files = set(&["/a\nb"]);
    assert_eq!(questions(&probes).unwrap_err(), "file \"/a\\nb\" cannot be asked for");
}

#[test]
fn a_conntrack_limit_that_does_not_exist_counts_as_writable() {
    let minimal = |files: &str| format!("== clock\n0\n== files\n{files}\n== end\n");
    for (files, expected) in [
        ("", true),
        ("81a4\t0\t2026-11-21 12:07:39 +0000\t/proc/sys/net/netfilter/nf_conntrack_max", true),
        ("8124\t0\t2026-11-21 12:07:39 +0000\t/proc/sys/net/netfilter/nf_conntrack_max", false),
    ] {
        let facts = parse(&minimal(files), &Probes::default(), 0).unwrap();
        assert_eq!(facts.conntrack_writable, expected, "{files}");
        assert!(facts.files.is_empty(), "nobody asked for it");
    }
}

#[test]
fn small_readers() {
    for (list, expected) in [("0", 1), ("0-3", 4), ("0-1,4,6-7", 5), ("", 0)] {
        assert_eq!(count(list), expected, "{list}");
    }
    for (text, expected) in
        [("", Some("")), ("YQ==", Some("a")), ("YWI=", Some("ab")), ("YWJj", Some("abc")), ("?", None)]
    {
        assert_eq!(base64(text).map(|bytes| String::from_utf8(bytes).unwrap()).as_deref(), expected, "{text}");
    }
    assert_eq!(listener("LISTEN 0 128 [::]:22 [::]:*"), Some((22, "a process that ss does not name".into())));
}

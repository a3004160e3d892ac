#![expect(clippy::unwrap_used)]

use serde_json::json;

use super::*;
use crate::artifact::releases::MINORS;
use table::TEXTS;

/// A field that holds bytes, a text or a message; shorter than 128 bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

/// A field that holds a number below 128.
fn number(number: u8, value: u8) -> Vec<u8> {
    vec![number << 3, value]
}

/// An object as the API server stores it.
fn stored(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let kind = [field(1, api_version.as_bytes()), field(2, kind.as_bytes())].concat();
    [b"k8s\0".to_vec(), field(1, &kind), field(2, raw), field(3, b""), field(4, b"")].concat()
}

/// A Lease whose `renewTime` is this message.
fn lease(time: &[u8]) -> Value {
    decode(&stored("coordination.k8s.io/v1", "Lease", &field(2, &field(4, time))))
}

fn object(json: serde_json::Value) -> Value {
    Value::Object(json)
}

fn unknown(api_version: &str, kind: &str) -> Value {
    Value::Unknown { api_version: api_version.into(), kind: kind.into() }
}

#[test]
fn both_tables_can_be_read() {
    let table = Table::read(&TEXTS).unwrap();
    assert!(table.kind("v1", "Pod").is_some_and(|pod| pod.fields.len() == 3));
    for (text, wrong) in [
        ("type A\n 1 a", "no type"),
        ("type A\n 1 a B", "a type that is not there"),
        ("type A\n x a string", "no number"),
        ("type A\n 1 a map[string", "an open bracket"),
        (" 1 a string", "a field of nothing"),
    ] {
        assert!(Table::read(&[text]).is_none(), "{wrong}");
    }
}

#[test]
fn the_tables_are_of_every_kubernetes_that_is_supported() {
    let minors = TEXTS.iter().flat_map(|text| text.lines()).filter_map(|line| line.strip_prefix("# k8s.io/api v0."));
    let minors = minors.filter_map(|version| version.split('.').next()?.parse::<u64>().ok());
    assert_eq!(minors.collect::<Vec<_>>(), MINORS.rev().collect::<Vec<_>>(), "tests/lab/kinds writes them");
}

#[test]
fn an_object_is_shown_with_its_kind() {
    let secret = [
        field(1, &[field(1, b"s"), field(3, b"default")].concat()),
        field(2, &[field(1, b"key"), field(2, b"\xff\xfe")].concat()),
        field(2, &field(1, b"nil")),
        field(3, b"Opaque"),
    ];
    let shown = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s", "namespace": "default" },
        "data": { "key": "//4=", "nil": "" }, "type": "Opaque",
    });
    assert_eq!(decode(&stored("v1", "Secret", &secret.concat())), object(shown));
    assert_eq!(decode(br#"{"kind":"Thing","size":2.5}"#), object(json!({ "kind": "Thing", "size": 2.5 })));
}

#[test]
fn empty_is_left_out_where_go_leaves_it_out() {
    // rules has no omitempty; name has.
    let role = stored("rbac.authorization.k8s.io/v1", "Role", &field(1, &field(1, b"")));
    let version = "rbac.authorization.k8s.io/v1";
    assert_eq!(decode(&role), object(json!({ "apiVersion": version, "kind": "Role", "metadata": {}, "rules": null })));
}

#[test]
fn what_the_table_does_not_tell_makes_all_of_it_unknown() {
    let cases: [(&str, Vec<u8>); 7] = [
        ("a field that is new", number(15, 1)),
        ("a field of another type", number(2, 1)),
        ("a field that is there twice", [field(1, b""), field(1, b"")].concat()),
        ("a text that is none", field(2, &field(1, b"\xff"))),
        ("a number that is too large", field(2, &[number(2, 0x80), vec![0x80, 0x80, 0x80, 0x80, 1]].concat())),
        ("a wire type that is not used", vec![1 << 3 | 5, 0, 0, 0, 0]),
        ("an end in the middle", vec![1 << 3 | 2, 9]),
    ];
    for (what, raw) in cases {
        let lease = stored("coordination.k8s.io/v1", "Lease", &raw);
        assert_eq!(decode(&lease), unknown("coordination.k8s.io/v1", "Lease"), "{what}");
    }
    assert_eq!(decode(&stored("v9", "Pod", b"")), unknown("v9", "Pod"));
}

#[test]
fn times_are_those_of_go() {
    let renewed = |time: &[u8]| match lease(time) {
        Value::Object(lease) => lease["spec"]["renewTime"].clone(),
        other => panic!("{other:?}"),
    };
    // A microsecond before 1970 is -1 s and 999999 us.
    let minus_one = [&[1 << 3][..], &[0xff; 9], &[1]].concat();
    let nanoseconds = [2 << 3, 0x98, 0x8c, 0xeb, 0xdc, 0x03];
    assert_eq!(renewed(&[&minus_one[..], &nanoseconds].concat()), "1969-12-31T23:59:59.999999Z");
    assert_eq!(renewed(&number(1, 0)), "1970-01-01T00:00:00.000000Z");
    assert_eq!(renewed(&[number(1, 1), vec![2 << 3, 0xcf, 0x0f]].concat()), "1970-01-01T00:00:01.000001Z");
    assert_eq!(renewed(b""), json!(null), "a pointer to Go's zero time");
    let year_10000 = [&[1 << 3][..], &[0x80, 0x83, 0xd1, 0xff, 0xaf, 0x07]].concat();
    let lease_unknown = unknown("coordination.k8s.io/v1", "Lease");
    assert_eq!(lease(&[&year_10000[..], &number(2, 0)].concat()), lease_unknown, "RFC 3339 ends with year 9999");
    assert_eq!(lease(&[vec![2 << 3], minus_one[1..].to_vec()].concat()), lease_unknown, "nanoseconds below zero");
}

#[test]
fn durations_are_those_of_go() {
    // As `time.Duration.String` of Go 1.26 prints them.
    for (nanoseconds, text) in [
        (0_i64, "0s"),
        (1, "1ns"),
        (1_100, "1.1µs"),
        (2_200_000, "2.2ms"),
        (3_300_000_000, "3.3s"),
        (60_000_000_000, "1m0s"),
        (245_001_000_000, "4m5.001s"),
        (18_367_001_000_000, "5h6m7.001s"),
        (-1_500_000_000, "-1.5s"),
        (i64::MIN, "-2562047h47m16.854775808s"),
        (i64::MAX, "2562047h47m16.854775807s"),
    ] {
        let (mut message, mut rest) = (vec![1 << 3], nanoseconds.cast_unsigned());
        while rest >= 0x80 {
            message.push((rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        message.push(rest as u8);
        let shown = special::shown(table::Special::Duration, &message).unwrap();
        assert_eq!(shown.json, text, "{nanoseconds}");
        assert_eq!(shown.zero, nanoseconds == 0);
    }
}

#[test]
fn numbers_and_names_are_told_apart() {
    let shown = |message: &[u8]| special::shown(table::Special::IntOrString, message).map(|shown| shown.json);
    let both = |which| [number(1, which), number(2, 80), field(3, b"http")].concat();
    assert_eq!(shown(&both(0)), Ok(json!(80)));
    assert_eq!(shown(&both(1)), Ok(json!("http")));
    assert_eq!(shown(&both(2)), Err(Unclear::Content));
}

#[test]
fn what_is_encrypted_tells_by_what() {
    let encrypted =
        |provider: &str, key: Option<&str>| Value::Encrypted { provider: provider.into(), key: key.map(str::to_owned) };
    let cases: [(&[u8], Value); 7] = [
        (b"k8s:enc:aescbc:v1:key1:\xff\0:", encrypted("aescbc", Some("key1"))),
        (b"k8s:enc:secretbox:v1:k:", encrypted("secretbox", Some("k"))),
        (b"k8s:enc:kms:v1:plugin:\x01", encrypted("kms", Some("plugin"))),
        (b"k8s:enc:kms:v2:plugin:\x01", encrypted("kms", Some("plugin"))),
        (b"k8s:enc:aesgcm:v1:cut off", encrypted("aesgcm", None)),
        (b"k8s:enc:aesgcm", Value::Bytes),
        (b"k8s:enc:", Value::Bytes),
    ];
    for (bytes, expected) in cases {
        assert_eq!(decode(bytes), expected, "{}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn anything_else_is_bytes() {
    let encoded = [stored("v1", "Secret", b""), field(3, b"gzip")].concat();
    let without_object = b"k8s\0\x0a\x0b\x0a\x02v1\x12\x05Event";
    let cases: [&[u8]; 9] =
        [b"", b"k8s", b"k8s\0", b"k8s\0\x0a", b"\xd9\xd9\xf7\xa0", b"[1]", b"{\"a\":", without_object, &encoded];
    for bytes in cases {
        assert_eq!(decode(bytes), Value::Bytes, "{}", bytes.escape_ascii());
    }
}

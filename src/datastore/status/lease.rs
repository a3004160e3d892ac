//! When a Lease was renewed. kine's table says when no row was written; every node writes a Lease with the time in it every 10 s, and the
//! controllers one every 2 s, so that the nearest one tells a revision's time.

use crate::cluster::kine::probe::frame::{Field, fields};

/// What objects that are stored as protobuf begin with.
const MAGIC: &[u8] = b"k8s\0";

/// Seconds since 1970 at which a stored Lease was renewed; none where it is not one in the clear.
///
/// The fields are `raw` of `runtime.Unknown`, `spec` of `Lease`, `renewTime` of `LeaseSpec`, `seconds` of `MicroTime`
/// (Kubernetes v1.36, generated.proto of each).
pub(super) fn renewed(value: &[u8]) -> Option<u64> {
    let raw = bytes(value.strip_prefix(MAGIC)?, 2)?;
    let renewed = bytes(bytes(raw, 2)?, 4)?;
    fields(renewed).ok()?.into_iter().find_map(|field| match field {
        (1, Field::Number(seconds)) => Some(seconds),
        _ => None,
    })
}

fn bytes(message: &[u8], number: u64) -> Option<&[u8]> {
    fields(message).ok()?.into_iter().find_map(|field| match field {
        (found, Field::Bytes(bytes)) if found == number => Some(bytes),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_tells_when_it_was_renewed() {
        let time = b"\x08\x85\xd2\x82\xc9\x06\x10\xc0\xc4\x07";
        let spec = [b"\x0a\x02n1\x10\x28\x22\x0a" as &[u8], time].concat();
        let lease = [b"\x0a\x04\x0a\x02n1\x12\x14" as &[u8], &spec].concat();
        let kind = b"\x0a\x20\x0a\x16coordination.k8s.io/v1\x12\x06Lease ";
        let value = [b"k8s\0" as &[u8], kind, b"\x12\x1c", &lease, b"\x1a\0\x22\0"].concat();
        assert_eq!(renewed(&value), Some(1_763_748_101));
        for cut in 0..value.len() - 4 {
            assert_eq!(renewed(&value[..cut]), None, "{cut}");
        }
        for other in [&b"k8s:enc:aescbc:v1:key1:..."[..], b"{\"kind\":\"Lease\"}", b"k8s\0\x12\x02\x12\0", b""] {
            assert_eq!(renewed(other), None);
        }
    }
}

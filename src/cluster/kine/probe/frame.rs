//! The few etcd v3 messages of a probe, as protocol buffers in gRPC frames. Field numbers are those of etcd's `rpc.proto` and `kv.proto`.

/// A key with its value, as a Range answers it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct KeyValue {
    /// The key.
    pub(super) key: Vec<u8>,
    /// What it holds.
    pub(super) value: Vec<u8>,
    /// The revision of its last change.
    pub(super) mod_revision: u64,
}

/// Why an answer of kine could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Shorter than its own length says, or no frame at all.
    #[error("the answer is cut off")]
    Short,
    /// Compressed, although nobody asked for that.
    #[error("the answer is compressed")]
    Compressed,
    /// A field of a type that these messages do not have.
    #[error("the answer has a field of wire type {0}")]
    WireType(u64),
}

/// `RangeRequest` for one key.
pub(super) fn range(key: &[u8]) -> Vec<u8> {
    frame(&field(1, key))
}

/// `RangeRequest` that counts the keys below a prefix.
pub(super) fn count(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    frame(&[field(1, prefix), field(2, &end), number(9, 1)].concat())
}

/// `TxnRequest` that creates a key, in the shape that the API server uses: only if its mod_revision is 0, put.
///
/// Not `Put`: over a key that exists, kine 0.16 answers OK and keeps the old value, and older releases do not have it.
pub(super) fn create(key: &[u8], value: &[u8]) -> Vec<u8> {
    const TARGET_MOD: u64 = 2;
    let compare = [number(2, TARGET_MOD), field(3, key), number(6, 0)].concat();
    let put = [field(1, key), field(2, value)].concat();
    frame(&[field(1, &compare), field(2, &field(2, &put))].concat())
}

/// `TxnRequest` that deletes a key whatever its revision: no comparison, a Range and a DeleteRange. kine takes deletes in no simpler form.
pub(super) fn delete(key: &[u8]) -> Vec<u8> {
    let key = field(1, key);
    frame(&[field(2, &field(1, &key)), field(2, &field(3, &key))].concat())
}

/// The first key of a framed `RangeResponse`; `None` where it holds no key.
pub(super) fn first_key(answer: &[u8]) -> Result<Option<KeyValue>, FrameError> {
    for (number, found) in fields(unframe(answer)?)? {
        if let (2, Field::Bytes(bytes)) = (number, found) {
            return key_value(bytes).map(Some);
        }
    }
    Ok(None)
}

/// Revision and count of a framed `RangeResponse`.
pub(super) fn counted(answer: &[u8]) -> Result<(u64, u64), FrameError> {
    let (mut revision, mut count) = (0, 0);
    for (number, found) in fields(unframe(answer)?)? {
        match (number, found) {
            (1, Field::Bytes(header)) => {
                for (number, found) in fields(header)? {
                    if let (3, Field::Number(found)) = (number, found) {
                        revision = found;
                    }
                }
            }
            (4, Field::Number(found)) => count = found,
            _ => {}
        }
    }
    Ok((revision, count))
}

fn key_value(message: &[u8]) -> Result<KeyValue, FrameError> {
    let mut pair = KeyValue::default();
    for (number, found) in fields(message)? {
        match (number, found) {
            (1, Field::Bytes(key)) => pair.key = key.to_vec(),
            (3, Field::Number(revision)) => pair.mod_revision = revision,
            (5, Field::Bytes(value)) => pair.value = value.to_vec(),
            _ => {}
        }
    }
    Ok(pair)
}

/// A gRPC frame: not compressed, four bytes of length, the message.
fn frame(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    [&[0][..], &length.to_be_bytes(), message].concat()
}

fn unframe(answer: &[u8]) -> Result<&[u8], FrameError> {
    let (head, message) = answer.split_first_chunk::<5>().ok_or(FrameError::Short)?;
    let [compressed, a, b, c, d] = *head;
    if compressed != 0 {
        return Err(FrameError::Compressed);
    }
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    message.get(..length).ok_or(FrameError::Short)
}

/// A field that holds bytes, a text or a message.
fn field(number: u64, bytes: &[u8]) -> Vec<u8> {
    [&varint(number << 3 | 2)[..], &varint(bytes.len() as u64), bytes].concat()
}

/// A field that holds a number.
fn number(number: u64, value: u64) -> Vec<u8> {
    [varint(number << 3), varint(value)].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A field of a message.
pub(crate) enum Field<'a> {
    /// A number.
    Number(u64),
    /// Bytes, a text or a message.
    Bytes(&'a [u8]),
}

/// The fields of a message by their numbers.
pub(crate) fn fields(mut message: &[u8]) -> Result<Vec<(u64, Field<'_>)>, FrameError> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let tag = read_varint(&mut message)?;
        let field = match tag & 7 {
            0 => Field::Number(read_varint(&mut message)?),
            2 => {
                let length = usize::try_from(read_varint(&mut message)?).map_err(|_| FrameError::Short)?;
                let (bytes, rest) = message.split_at_checked(length).ok_or(FrameError::Short)?;
                message = rest;
                Field::Bytes(bytes)
            }
            other => return Err(FrameError::WireType(other)),
        };
        fields.push((tag >> 3, field));
    }
    Ok(fields)
}

fn read_varint(message: &mut &[u8]) -> Result<u64, FrameError> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first().ok_or(FrameError::Short)?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(FrameError::Short)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_what_protoc_would_write() {
        // Written by hand from rpc.proto: tag, length, content.
        let cases: [(&str, Vec<u8>, &[u8]); 4] = [
            ("range", range(b"k"), b"\0\0\0\0\x03\x0a\x01k"),
            ("count", count(b"k/"), b"\0\0\0\0\x0a\x0a\x02k/\x12\x02k0\x48\x01"),
            (
                "create",
                create(b"k", b"v"),
                b"\0\0\0\0\x13\x0a\x07\x10\x02\x1a\x01k\x30\x00\x12\x08\x12\x06\x0a\x01k\x12\x01v",
            ),
            ("delete", delete(b"k"), b"\0\0\0\0\x0e\x12\x05\x0a\x03\x0a\x01k\x12\x05\x1a\x03\x0a\x01k"),
        ];
        for (name, made, expected) in cases {
            assert_eq!(made, expected, "{name}");
        }
    }

    #[test]
    fn numbers_have_seven_bits_a_byte() {
        for (value, bytes) in [
            (0, &[0][..]),
            (127, &[127]),
            (128, &[0x80, 1]),
            (300, &[0xac, 2]),
            (u64::MAX, &[255, 255, 255, 255, 255, 255, 255, 255, 255, 1]),
        ] {
            assert_eq!(varint(value), bytes);
            assert_eq!(read_varint(&mut &bytes[..]), Ok(value));
        }
    }

    #[test]
    fn the_first_key_of_an_answer_is_read() {
        let pair = [field(1, b"k"), number(2, 7), number(3, 300), number(4, 1), field(5, b"value")].concat();
        let header = field(1, &number(3, 301));
        let answer = frame(&[header.clone(), field(2, &pair), number(4, 1)].concat());
        let expected = KeyValue { key: b"k".to_vec(), value: b"value".to_vec(), mod_revision: 300 };
        assert_eq!(first_key(&answer), Ok(Some(expected)));
        assert_eq!(first_key(&frame(&header)), Ok(None));
        assert_eq!(counted(&frame(&[header, number(4, 7)].concat())), Ok((301, 7)));
    }

    #[test]
    fn what_is_not_an_answer_is_refused() {
        let cases: [(&[u8], FrameError); 5] = [
            (b"", FrameError::Short),
            (b"\0\0\0\0\x09\x12", FrameError::Short),
            (b"\x01\0\0\0\0", FrameError::Compressed),
            (b"\0\0\0\0\x02\x12\x05", FrameError::Short),
            (b"\0\0\0\0\x01\x0d", FrameError::WireType(5)),
        ];
        for (answer, expected) in cases {
            assert_eq!(first_key(answer), Err(expected), "{answer:?}");
        }
    }
}

//! The few etcd v3 messages that are asked and read here, as protocol buffers in gRPC frames. Field numbers are those of etcd's `rpc.proto` and `kv.proto`.

/// A key with its value, as a Range answers it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct KeyValue {
    /// The key.
    pub(crate) key: Vec<u8>,
    /// What it holds.
    pub(crate) value: Vec<u8>,
    /// The revision that it was created at.
    pub(crate) create_revision: u64,
    /// The revision of its last change.
    pub(crate) mod_revision: u64,
    /// How often it was written since it was created; 0 from kine, which does not count.
    pub(crate) version: u64,
    /// The lease that it goes with, 0 for none. kine gives leases no names: there it is the seconds that the key was given to live.
    pub(crate) lease: u64,
}

/// What a `RangeRequest` asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Range<'a> {
    /// The first key.
    pub(crate) from: &'a [u8],
    /// The first key that is not asked for; empty for `from` alone.
    pub(crate) end: &'a [u8],
    /// How many; 0 for all.
    pub(crate) limit: u64,
    /// As of which revision; 0 for the current one.
    pub(crate) revision: u64,
    /// Without values.
    pub(crate) keys_only: bool,
}

/// A `RangeResponse`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Page {
    /// The store's revision.
    pub(crate) revision: u64,
    /// What was found, in the order of keys.
    pub(crate) pairs: Vec<KeyValue>,
    /// Whether there are more keys than the limit.
    pub(crate) more: bool,
}

/// What happened to a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    /// Whether it was deleted, rather than written.
    pub(crate) deleted: bool,
    /// As it was then.
    pub(crate) pair: KeyValue,
}

/// All answers to a watch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Watched {
    /// Oldest first.
    pub(crate) changes: Vec<Change>,
    /// Where the watch cannot begin as early as it was to: before this revision only the newest value of each key is kept.
    pub(crate) compacted: Option<u64>,
    /// Why the store ended it otherwise.
    pub(crate) refused: Option<String>,
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

/// `RangeRequest` for a page of keys.
pub(crate) fn page(range: &Range<'_>) -> Vec<u8> {
    let mut message = field(1, range.from);
    if !range.end.is_empty() {
        message.extend(field(2, range.end));
    }
    for (at, value) in [(3, range.limit), (4, range.revision), (8, range.keys_only.into())] {
        if value > 0 {
            message.extend(number(at, value));
        }
    }
    frame(&message)
}

/// `WatchRequest` for one key, or for all up to `end`, from a revision on. With notices of progress, so that kine knows whether we are up to date.
pub(crate) fn watch(key: &[u8], end: &[u8], revision: u64) -> Vec<u8> {
    let end = if end.is_empty() { Vec::new() } else { field(2, end) };
    frame(&field(1, &[field(1, key), end, number(3, revision), number(4, 1)].concat()))
}

/// `WatchRequest` that asks to be told once everything up to now was sent.
pub(crate) fn progress() -> Vec<u8> {
    frame(&field(3, &[]))
}

/// How the last answer to a watch looks in hex, as an extended regular expression: the one to [`progress`], which is about the watch -1, or a
/// cancelation that ends with the revision that the store is compacted to, after which etcd tells of no progress.
pub(crate) fn last_word() -> String {
    let progress: String = number(2, u64::MAX).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{progress}|200128([89a-f][0-9a-f])*[0-7][0-9a-f]$")
}

/// `LeaseTimeToLiveRequest`.
pub(crate) fn time_to_live(lease: u64) -> Vec<u8> {
    frame(&number(1, lease))
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

/// A framed `RangeResponse`.
pub(crate) fn read_page(answer: &[u8]) -> Result<Page, FrameError> {
    let mut page = Page::default();
    for (number, found) in fields(unframe(answer)?)? {
        match (number, found) {
            (1, Field::Bytes(bytes)) => page.revision = header(bytes)?,
            (2, Field::Bytes(bytes)) => page.pairs.push(key_value(bytes)?),
            (3, Field::Number(more)) => page.more = more > 0,
            _ => {}
        }
    }
    Ok(page)
}

/// Messages that were framed one after the other.
fn messages(mut answers: &[u8]) -> Result<Vec<&[u8]>, FrameError> {
    let mut messages = Vec::new();
    while !answers.is_empty() {
        let message = unframe(answers)?;
        answers = &answers[message.len() + HEAD..];
        messages.push(message);
    }
    Ok(messages)
}

/// The seconds that each of the framed `LeaseTimeToLiveResponse`s tells are left; 0 for a lease that has ended.
pub(super) fn read_times_to_live(answers: &[u8]) -> Result<Vec<u64>, FrameError> {
    let seconds = |message: &[u8]| {
        let left = fields(message)?.into_iter().find_map(|field| match field {
            (3, Field::Number(seconds)) => Some(seconds),
            _ => None,
        });
        // A lease that has ended has -1 seconds.
        Ok(left.filter(|seconds| *seconds <= i64::MAX as u64).unwrap_or_default())
    };
    messages(answers)?.into_iter().map(seconds).collect()
}

/// All framed `WatchResponse`s of a stream.
pub(crate) fn read_watch(answers: &[u8]) -> Result<Watched, FrameError> {
    let mut watched = Watched::default();
    for message in messages(answers)? {
        let mut is_canceled = false;
        let mut reason = String::new();
        for (number, found) in fields(message)? {
            match (number, found) {
                (4, Field::Number(canceled)) => is_canceled = canceled > 0,
                (5, Field::Number(compacted)) if compacted > 0 => watched.compacted = Some(compacted),
                (6, Field::Bytes(why)) => reason = String::from_utf8_lossy(why).into_owned(),
                (11, Field::Bytes(event)) => watched.changes.push(change(event)?),
                _ => {}
            }
        }
        if is_canceled && watched.compacted.is_none() {
            watched.refused = Some(reason);
        }
    }
    Ok(watched)
}

fn change(event: &[u8]) -> Result<Change, FrameError> {
    let mut change = Change { deleted: false, pair: KeyValue::default() };
    for (number, found) in fields(event)? {
        match (number, found) {
            (1, Field::Number(kind)) => change.deleted = kind == 1,
            (2, Field::Bytes(pair)) => change.pair = key_value(pair)?,
            _ => {}
        }
    }
    Ok(change)
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
            (1, Field::Bytes(bytes)) => revision = header(bytes)?,
            (4, Field::Number(found)) => count = found,
            _ => {}
        }
    }
    Ok((revision, count))
}

/// The revision of a `ResponseHeader`.
fn header(message: &[u8]) -> Result<u64, FrameError> {
    let revision = fields(message)?.into_iter().find_map(|field| match field {
        (3, Field::Number(revision)) => Some(revision),
        _ => None,
    });
    Ok(revision.unwrap_or_default())
}

fn key_value(message: &[u8]) -> Result<KeyValue, FrameError> {
    let mut pair = KeyValue::default();
    for (number, found) in fields(message)? {
        match (number, found) {
            (1, Field::Bytes(key)) => pair.key = key.to_vec(),
            (2, Field::Number(revision)) => pair.create_revision = revision,
            (3, Field::Number(revision)) => pair.mod_revision = revision,
            (4, Field::Number(version)) => pair.version = version,
            (5, Field::Bytes(value)) => pair.value = value.to_vec(),
            (6, Field::Number(lease)) => pair.lease = lease,
            _ => {}
        }
    }
    Ok(pair)
}

/// What a frame has before its message.
const HEAD: usize = 5;

/// A gRPC frame: not compressed, four bytes of length, the message.
fn frame(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    [&[0][..], &length.to_be_bytes(), message].concat()
}

fn unframe(answer: &[u8]) -> Result<&[u8], FrameError> {
    let (head, message) = answer.split_first_chunk::<HEAD>().ok_or(FrameError::Short)?;
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
        let page = page(&Range { from: b"k", end: b"l", limit: 9, revision: 300, keys_only: true });
        let cases: [(&str, Vec<u8>, &[u8]); 9] = [
            ("page", page, b"\0\0\0\0\x0d\x0a\x01k\x12\x01l\x18\x09\x20\xac\x02\x40\x01"),
            ("watch", watch(b"k", b"", 7), b"\0\0\0\0\x09\x0a\x07\x0a\x01k\x18\x07\x20\x01"),
            ("watch of more", watch(b"k", b"l", 7), b"\0\0\0\0\x0c\x0a\x0a\x0a\x01k\x12\x01l\x18\x07\x20\x01"),
            ("time to live", time_to_live(300), b"\0\0\0\0\x03\x08\xac\x02"),
            ("progress", progress(), b"\0\0\0\0\x02\x1a\0"),
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
        let numbers = [number(2, 7), number(3, 300), number(4, 1)].concat();
        let pair = [field(1, b"k"), numbers, field(5, b"value"), number(6, 3600)].concat();
        let header = field(1, &number(3, 301));
        let answer = frame(&[header.clone(), field(2, &pair), number(4, 1)].concat());
        let expected = KeyValue {
            key: b"k".to_vec(),
            value: b"value".to_vec(),
            create_revision: 7,
            mod_revision: 300,
            version: 1,
            lease: 3600,
        };
        assert_eq!(first_key(&answer), Ok(Some(expected)));
        assert_eq!(first_key(&frame(&header)), Ok(None));
        assert_eq!(counted(&frame(&[header, number(4, 7)].concat())), Ok((301, 7)));
    }

    #[test]
    fn answers_to_a_watch_are_read_one_after_the_other() {
        let pair = [field(1, b"k"), number(3, 7), field(5, b"value")].concat();
        let created = frame(&[field(1, &number(3, 9)), number(3, 1)].concat());
        let events =
            frame(&[field(11, &field(2, &pair)), field(11, &[number(1, 1), field(2, &pair)].concat())].concat());
        let watched = read_watch(&[created.clone(), events].concat()).unwrap_or_default();
        let seen: Vec<_> = watched.changes.iter().map(|change| (change.deleted, change.pair.mod_revision)).collect();
        assert_eq!((seen, watched.compacted, watched.refused), (vec![(false, 7), (true, 7)], None, None));

        let too_early = frame(&[number(4, 1), number(5, 42), field(6, b"compacted")].concat());
        let watched = read_watch(&[created.clone(), too_early].concat()).unwrap_or_default();
        assert_eq!((watched.compacted, watched.refused), (Some(42), None));
        let refused = read_watch(&frame(&[number(4, 1), field(6, b"no leader")].concat())).unwrap_or_default();
        assert_eq!(refused.refused.as_deref(), Some("no leader"));
        assert_eq!(read_watch(&created[..created.len() - 1]), Err(FrameError::Short));
    }

    #[test]
    fn a_lease_tells_what_is_left_of_it() {
        let left = frame(&[field(1, &number(3, 9)), number(2, 300), number(3, 42), number(4, 60)].concat());
        let ended = frame(&[number(2, 301), number(3, u64::MAX)].concat());
        assert_eq!(read_times_to_live(&[left.clone(), ended].concat()), Ok(vec![42, 0]));
        assert_eq!(read_times_to_live(&left[..left.len() - 1]), Err(FrameError::Short));
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

//! `Range` and `If-Range` of a request (RFC 9110, section 14), as far as downloads that go on need them. Pure.

use std::ops::Range;

/// Which bytes of a content are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    /// All of them: nothing else is asked for, or in a form that need not be understood, as several ranges at once are.
    Whole,
    /// These, which are there.
    Part(Range<u64>),
    /// Bytes beyond its end.
    Beyond,
}

/// What a request's headers ask for, of a content with this size and tag.
pub(super) fn asked(range: Option<&str>, if_range: Option<&str>, size: u64, tag: &str) -> Asked {
    let same = if_range.is_none_or(|known| known == tag);
    match range.filter(|_| same).and_then(|range| parse(range, size)) {
        None => Asked::Whole,
        Some(range) if range.is_empty() => Asked::Beyond,
        Some(range) => Asked::Part(range),
    }
}

/// `bytes=FIRST-LAST`, `bytes=FIRST-` or `bytes=-COUNT`; an empty range where the content has none of these bytes.
fn parse(text: &str, size: u64) -> Option<Range<u64>> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok())?;
    if first.is_empty() {
        return Some(size.saturating_sub(number(last)?)..size);
    }
    let first = number(first)?;
    let last = if last.is_empty() { u64::MAX } else { number(last)? };
    (first <= last).then(|| first..last.saturating_add(1).min(size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_ten_bytes() {
        for (text, expected) in [
            ("bytes=0-", Asked::Part(0..10)),
            ("bytes=3-", Asked::Part(3..10)),
            ("bytes=3-3", Asked::Part(3..4)),
            ("bytes=3-99", Asked::Part(3..10)),
            ("bytes=3-18446744073709551615", Asked::Part(3..10)),
            ("bytes=-4", Asked::Part(6..10)),
            ("bytes=-99", Asked::Part(0..10)),
            ("bytes=10-", Asked::Beyond),
            ("bytes=99-100", Asked::Beyond),
            ("bytes=-0", Asked::Beyond),
            ("bytes=5-3", Asked::Whole),
            ("bytes=0-1,4-5", Asked::Whole),
            ("bytes=+1-2", Asked::Whole),
            ("bytes=99999999999999999999-", Asked::Whole),
            ("bytes=-", Asked::Whole),
            ("bytes=a-b", Asked::Whole),
            ("lines=1-2", Asked::Whole),
            ("", Asked::Whole),
        ] {
            assert_eq!(asked(Some(text), None, 10, "x"), expected, "{text}");
        }
        assert_eq!(asked(None, None, 10, "x"), Asked::Whole);
        assert_eq!(asked(Some("bytes=0-"), None, 0, "x"), Asked::Beyond, "nothing has no first byte");
    }

    #[test]
    fn what_has_changed_comes_whole() {
        assert_eq!(asked(Some("bytes=3-"), Some("\"a\""), 10, "\"a\""), Asked::Part(3..10));
        assert_eq!(asked(Some("bytes=3-"), Some("\"b\""), 10, "\"a\""), Asked::Whole);
    }
}

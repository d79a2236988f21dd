//! Character classes and small scanners that every header shares.

use memchr::memchr;

/// RFC 3261 §25.1: `LWS = [*WSP CRLF] 1*WSP`.
///
/// Inside the value of a header field every CR and LF belongs to a fold, because the reader of the head has
/// cut the field at the first line end without white space behind it. So the four bytes are one class there.
#[inline]
pub(crate) fn is_lws(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// `value` without the white space at both ends.
#[inline]
pub(crate) fn trim(value: &[u8]) -> &[u8] {
    trim_end(trim_start(value))
}

/// `value` without the white space in front.
#[inline]
pub(crate) fn trim_start(mut value: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = value {
        if !is_lws(*first) {
            break;
        }
        value = rest;
    }
    value
}

/// `value` without the white space at its end.
#[inline]
pub(crate) fn trim_end(mut value: &[u8]) -> &[u8] {
    while let [rest @ .., last] = value {
        if !is_lws(*last) {
            break;
        }
        value = rest;
    }
    value
}

/// RFC 3261 §25.1:
///
/// ```text
/// token = 1*(alphanum / "-" / "." / "!" / "%" / "*" / "_" / "+" / "`" / "'" / "~" )
/// ```
static TOKEN: [bool; 256] = class(b"-.!%*_+`'~");

/// Letters and digits plus `others`, as a table.
pub(crate) const fn class(others: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut index = 0;
    while index < others.len() {
        table[others[index] as usize] = true;
        index += 1;
    }
    table
}

/// Whether `bytes` is a token; an empty one is not.
#[inline]
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| TOKEN[usize::from(*byte)])
}

/// The length of the token at the start of `bytes`.
#[inline]
pub(crate) fn token_length(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .position(|byte| !TOKEN[usize::from(*byte)])
        .unwrap_or(bytes.len())
}

/// `1*DIGIT` as a number; `None` for anything else. What is too large for 64 bits becomes the largest number.
#[inline]
pub(crate) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |sum, byte| {
        byte.is_ascii_digit().then(|| {
            sum.saturating_mul(10)
                .saturating_add(u64::from(byte - b'0'))
        })
    })
}

/// Where the quoted string at the start of `bytes` ends: the index behind its closing quote.
///
/// RFC 3261 §25.1:
///
/// ```text
/// quoted-string = SWS DQUOTE *(qdtext / quoted-pair ) DQUOTE
/// quoted-pair   = "\" (%x00-09 / %x0B-0C / %x0E-7F)
/// ```
///
/// `None` when the quote is never closed. The content is opaque: NUL and broken UTF-8 pass.
pub(crate) fn quoted_string_end(bytes: &[u8]) -> Option<usize> {
    debug_assert_eq!(bytes.first(), Some(&b'"'));
    let mut index = 1;
    loop {
        index += memchr::memchr2(b'"', b'\\', bytes.get(index..)?)?;
        if bytes[index] == b'"' {
            return Some(index + 1);
        }
        index += 2;
    }
}

/// `bytes` cut at the first `separator`: what is before it, and what is behind it when there is one.
#[inline]
pub(crate) fn cut(bytes: &[u8], separator: u8) -> (&[u8], Option<&[u8]>) {
    match memchr(separator, bytes) {
        Some(index) => (&bytes[..index], Some(&bytes[index + 1..])),
        None => (bytes, None),
    }
}

/// Most items that one value is cut into.
pub const MAX_LIST_ITEMS: usize = 256;

/// The items of a comma-separated header value (RFC 3261 §7.3.1), each trimmed.
///
/// Commas in quoted strings and between `<` and `>` do not separate. An empty value has no items; an empty
/// item between two commas is given out as it is, so that the reader of the item can refuse it. Nothing is
/// left out of a list that is too long: its last item is all of the rest, which no reader takes for one.
#[inline]
pub fn split_list(value: &[u8]) -> ListItems<'_> {
    let value = trim(value);
    ListItems {
        rest: (!value.is_empty()).then_some(value),
        left: MAX_LIST_ITEMS,
    }
}

/// See [`split_list`].
#[derive(Clone, Debug)]
pub struct ListItems<'a> {
    rest: Option<&'a [u8]>,
    /// How many items may still be given out, the one that takes all of the rest included.
    left: usize,
}

impl<'a> Iterator for ListItems<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        self.left -= 1;
        let end = match self.left {
            0 => rest.len(),
            _ => list_item_end(rest),
        };
        self.rest = rest.get(end + 1..);
        Some(trim(&rest[..end]))
    }
}

/// The index of the comma that ends the first item, or the length when it is the last one.
#[inline]
fn list_item_end(bytes: &[u8]) -> usize {
    let mut index = 0;
    while let Some(offset) = memchr::memchr3(b',', b'"', b'<', &bytes[index..]) {
        index += offset;
        let skipped = match bytes[index] {
            b',' => return index,
            b'"' => quoted_string_end(&bytes[index..]),
            _ => memchr(b'>', &bytes[index..]).map(|offset| offset + 1),
        };
        match skipped {
            Some(length) => index += length,
            // An open quote or bracket swallows what follows; the reader of the item refuses it.
            None => break,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(value: &[u8]) -> Vec<&[u8]> {
        split_list(value).collect()
    }

    #[test]
    fn rfc3261_7_3_1_a_list_is_cut_at_its_commas() {
        assert_eq!(items(b"a, b\r\n ,\tc"), [b"a", b"b", b"c"]);
        assert_eq!(items(b"single"), [b"single"]);
    }

    #[test]
    fn rfc3261_7_3_1_commas_in_quotes_and_brackets_do_not_separate() {
        let value = br#""Bell, \", A" <sip:a,b@example.com>;x="1,2", <sip:c@example.com>"#;
        assert_eq!(
            items(value),
            [&value[..value.len() - 21], &b"<sip:c@example.com>"[..]]
        );
    }

    #[test]
    fn an_empty_list_has_no_items_and_empty_items_are_given_out() {
        assert!(items(b"").is_empty());
        assert!(items(b" \r\n ").is_empty());
        assert_eq!(items(b"a,,b,"), [&b"a"[..], b"", b"b", b""]);
    }

    #[test]
    fn a_list_has_at_most_256_items_and_loses_nothing() {
        let value = "a,".repeat(MAX_LIST_ITEMS - 1) + "b,c";
        let found = items(value.as_bytes());
        assert_eq!(found.len(), MAX_LIST_ITEMS);
        assert_eq!(found[MAX_LIST_ITEMS - 2], b"a");
        assert_eq!(found[MAX_LIST_ITEMS - 1], b"b,c");
    }

    #[test]
    fn an_open_quote_or_bracket_swallows_the_rest() {
        assert_eq!(items(br#""a, b"#), [br#""a, b"#]);
        assert_eq!(items(b"<sip:a, b"), [b"<sip:a, b"]);
        assert_eq!(items(br#""a\"#), [br#""a\"#]);
    }

    #[test]
    fn decimal_takes_digits_only_and_saturates() {
        assert_eq!(decimal(b"0068"), Some(68));
        assert_eq!(decimal(b""), None);
        assert_eq!(decimal(b"-1"), None);
        assert_eq!(decimal(b"1 "), None);
        assert_eq!(decimal(b"99999999999999999999999"), Some(u64::MAX));
    }

    #[test]
    fn rfc3261_25_1_token_characters() {
        assert!(is_token(b"!interesting-Method0123456789_*+`.%indeed'~"));
        assert!(!is_token(b""));
        assert!(!is_token(b"a b"));
        assert!(!is_token(b"a:b"));
        assert_eq!(token_length(b"branch = x"), 6);
    }

    #[test]
    fn rfc3261_25_1_a_quoted_pair_does_not_close_a_quoted_string() {
        assert_eq!(quoted_string_end(br#""a\"b" c"#), Some(6));
        assert_eq!(quoted_string_end(br#""a\\" c"#), Some(5));
        assert_eq!(quoted_string_end(br#""a\""#), None);
    }
}

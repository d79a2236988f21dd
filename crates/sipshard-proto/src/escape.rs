//! Percent escapes (RFC 3261 §19.1.2, RFC 2396 §2.4).

/// RFC 3261 §25.1: `reserved = ";" / "/" / "?" / ":" / "@" / "&" / "=" / "+" / "$" / ","`.
fn is_reserved(byte: u8) -> bool {
    matches!(
        byte,
        b';' | b'/' | b'?' | b':' | b'@' | b'&' | b'=' | b'+' | b'$' | b','
    )
}

/// The bytes that `escaped` stands for. Unescaped once: `%2541` gives `%41`. A `%` without two hexadecimal
/// digits behind it stands for itself.
pub fn unescaped(escaped: &[u8]) -> impl Iterator<Item = u8> + '_ {
    units(escaped).map(|(byte, _)| byte)
}

/// Whether both are the same URI component: a character and its escape are the same unless it is a reserved
/// one (RFC 3261 §19.1.4). `fold` maps each byte before the comparison.
pub(crate) fn same_escaped(one: &[u8], two: &[u8], fold: impl Fn(u8) -> u8) -> bool {
    let meaning = |(byte, was_escaped): (u8, bool)| (fold(byte), was_escaped && is_reserved(byte));
    units(one).map(&meaning).eq(units(two).map(&meaning))
}

/// Each byte, and whether it was escaped.
fn units(mut rest: &[u8]) -> impl Iterator<Item = (u8, bool)> + '_ {
    std::iter::from_fn(move || {
        if let [b'%', high, low, behind @ ..] = rest {
            if let (Some(high), Some(low)) = (hexadecimal(*high), hexadecimal(*low)) {
                rest = behind;
                return Some((high << 4 | low, true));
            }
        }
        let (first, behind) = rest.split_first()?;
        rest = behind;
        Some((*first, false))
    })
}

fn hexadecimal(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(escaped: &[u8]) -> Vec<u8> {
        unescaped(escaped).collect()
    }

    #[test]
    fn rfc4475_3_1_1_3_escapes_are_taken_off_once() {
        assert_eq!(text(b"sips%3Auser%40example.com"), b"sips:user@example.com");
        assert_eq!(text(b"v%61lue%25%34%31"), b"value%41");
    }

    #[test]
    fn rfc4475_3_1_1_4_an_escaped_nul_is_a_byte_like_others() {
        assert_eq!(text(b"null-%00-null"), b"null-\0-null");
    }

    #[test]
    fn a_broken_escape_stands_for_itself() {
        assert_eq!(text(b"%Z%45%4"), b"%ZE%4");
    }

    #[test]
    fn rfc3261_19_1_4_an_escaped_reserved_character_is_another_one() {
        let same = |one, two| same_escaped(one, two, |byte| byte);
        assert!(same(b"%61lice", b"alice"));
        assert!(same(b"a%20b", b"a%20b"));
        assert!(!same(b"a%3Bb", b"a;b"));
        assert!(same(b"a%3bb", b"a%3Bb"));
        assert!(!same(b"alice", b"Alice"));
        assert!(!same(b"alice", b"alic"));
    }
}

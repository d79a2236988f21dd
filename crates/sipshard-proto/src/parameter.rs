//! Parameters of header fields and URIs.

use memchr::memchr2;

use crate::fault::Fault;
use crate::scan::{cut, quoted_string_end, trim, trim_end, trim_start};

/// One parameter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parameter<'a> {
    /// Its name as written; names compare without regard to case (RFC 3261 §7.3.1).
    pub name: &'a [u8],
    /// Its value as written, with the quotes of a quoted string; `None` without an equals sign.
    pub value: Option<&'a [u8]>,
}

/// The parameters of `raw`, which starts behind the first semicolon.
///
/// RFC 3261 §25.1:
///
/// ```text
/// SEMI          =  SWS ";" SWS
/// generic-param =  token [ EQUAL gen-value ]
/// gen-value     =  token / host / quoted-string
/// ```
///
/// A URI's parameters are a subset of it (no white space, no quotes; [`crate::Uri::parse`] has refused them).
/// Practice puts more than tokens into values (`tag=a@b`, `received=2001:db8::1`), so a value without quotes
/// is whatever has no white space, control character, quote, comma or angle bracket in it.
#[inline]
pub fn parameters(raw: &[u8]) -> Parameters<'_> {
    Parameters {
        rest: (!raw.is_empty()).then_some(raw),
    }
}

/// See [`parameters`]. Ends after the first fault.
#[derive(Clone, Debug)]
pub struct Parameters<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Iterator for Parameters<'a> {
    type Item = Result<Parameter<'a>, Fault>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.take()?;
        if let Some((parameter, end)) = read_simple(rest) {
            self.rest = rest.get(end + 1..);
            return Some(Ok(parameter));
        }
        let Some(end) = parameter_end(rest) else {
            return Some(Err(Fault::BadParameter));
        };
        let parameter = parse_one(&rest[..end]);
        if parameter.is_ok() {
            self.rest = rest.get(end + 1..);
        }
        Some(parameter)
    }
}

/// The first parameter and where it ends, when it has neither white space nor quotes: nearly all of them.
#[inline]
fn read_simple(bytes: &[u8]) -> Option<(Parameter<'_>, usize)> {
    let name_end = plain_length(bytes, 0, b'=');
    let name = &bytes[..name_end];
    let (value, end) = match bytes.get(name_end) {
        None | Some(b';') => (None, name_end),
        Some(b'=') => {
            let end = plain_length(bytes, name_end + 1, b';');
            if !matches!(bytes.get(end), None | Some(b';')) || end == name_end + 1 {
                return None;
            }
            (Some(&bytes[name_end + 1..end]), end)
        }
        Some(_) => return None,
    };
    (!name.is_empty()).then_some((Parameter { name, value }, end))
}

/// The index of the first byte from `start` on that is `stop`, a semicolon, or not plain.
#[inline]
fn plain_length(bytes: &[u8], start: usize, stop: u8) -> usize {
    bytes[start..]
        .iter()
        .position(|byte| !PLAIN[usize::from(*byte)] || *byte == stop || *byte == b';')
        .map_or(bytes.len(), |length| start + length)
}

static PLAIN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = is_plain(byte as u8);
        byte += 1;
    }
    table
};

/// The index of the semicolon that ends the first parameter; `None` for a quote that is never closed.
fn parameter_end(bytes: &[u8]) -> Option<usize> {
    let Some(index) = bytes.iter().position(|byte| matches!(byte, b';' | b'"')) else {
        return Some(bytes.len());
    };
    if bytes[index] == b';' {
        return Some(index);
    }
    let closed = index + quoted_string_end(&bytes[index..])?;
    let rest = &bytes[closed..];
    Some(closed + memchr2(b';', b'"', rest).unwrap_or(rest.len()))
}

fn parse_one(bytes: &[u8]) -> Result<Parameter<'_>, Fault> {
    let (name, value) = cut(bytes, b'=');
    let name = trim(name);
    let value = value.map(trim);
    if name.is_empty() || !name.iter().all(|byte| is_plain(*byte)) {
        return Err(Fault::BadParameter);
    }
    match value {
        Some([]) => Err(Fault::BadParameter),
        Some(value) if !is_value(value) => Err(Fault::BadParameter),
        _ => Ok(Parameter { name, value }),
    }
}

fn is_value(value: &[u8]) -> bool {
    if value[0] == b'"' {
        return quoted_string_end(value) == Some(value.len());
    }
    value.iter().all(|byte| is_plain(*byte))
}

/// What a name or an unquoted value may consist of here.
#[inline]
const fn is_plain(byte: u8) -> bool {
    byte > b' ' && byte != 0x7f && !matches!(byte, b'"' | b',' | b'<' | b'>')
}

/// The value of the first parameter called `name` (any case) in `raw`: `None` when there is none,
/// `Some(None)` when it has no value. Parameters behind a broken one are not seen.
pub fn find<'a>(raw: &'a [u8], name: &str) -> Option<Option<&'a [u8]>> {
    parameters(raw)
        .map_while(Result::ok)
        .find(|parameter| parameter.name.eq_ignore_ascii_case(name.as_bytes()))
        .map(|parameter| parameter.value)
}

/// The content of a value: a quoted string without its quotes (escapes inside are kept), others unchanged.
pub fn unquoted(value: &[u8]) -> &[u8] {
    match value {
        [b'"', content @ .., b'"'] => content,
        _ => value,
    }
}

/// The rest of a header value behind its first part: nothing, or a semicolon and the parameters behind it.
#[inline]
pub(crate) fn after_semicolon(rest: &[u8]) -> Result<&[u8], Fault> {
    match trim_start(rest) {
        [] => Ok(&rest[rest.len()..]),
        [b';', raw @ ..] if !trim_end(raw).is_empty() => Ok(trim(raw)),
        _ => Err(Fault::BadParameter),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names and values, or the first fault.
    type Pairs<'a> = Vec<(&'a [u8], Option<&'a [u8]>)>;

    fn all(raw: &[u8]) -> Result<Pairs<'_>, Fault> {
        parameters(raw)
            .map(|one| one.map(|parameter| (parameter.name, parameter.value)))
            .collect()
    }

    #[test]
    fn rfc3261_25_1_names_and_values_with_white_space_around() {
        assert_eq!(
            all(b"  tag    = 1918181833n ;lr;\r\n branch=\r\n x"),
            Ok(vec![
                (&b"tag"[..], Some(&b"1918181833n"[..])),
                (b"lr", None),
                (b"branch", Some(b"x")),
            ])
        );
    }

    #[test]
    fn rfc3261_25_1_a_quoted_value_hides_separators() {
        assert_eq!(
            all(br#"a="x;y=\"z,"; b=2"#),
            Ok(vec![
                (&b"a"[..], Some(&br#""x;y=\"z,""#[..])),
                (b"b", Some(b"2")),
            ])
        );
    }

    #[test]
    fn rfc4475_3_1_2_1_empty_parameters_are_faults() {
        for raw in [&b";"[..], b"a;", b";a", b"a;;b", b"=x", b"a=", b" "] {
            assert_eq!(all(raw), Err(Fault::BadParameter), "{raw:?}");
        }
    }

    #[test]
    fn a_broken_value_is_a_fault() {
        for raw in [
            &b"a=\"open"[..],
            b"a=\"b\"c",
            b"a=b\"c\"",
            b"a=b c",
            b"a=b,c",
            b"a b=c",
            b"a=<b>",
        ] {
            assert_eq!(all(raw), Err(Fault::BadParameter), "{raw:?}");
        }
    }

    #[test]
    fn rfc5118_4_5_an_address_is_a_value_with_and_without_brackets() {
        assert_eq!(
            find(b"received=2001:db8::9:255;x", "received"),
            Some(Some(&b"2001:db8::9:255"[..]))
        );
        assert_eq!(
            find(b"x;received=[2001:db8::1]", "received"),
            Some(Some(&b"[2001:db8::1]"[..]))
        );
    }

    #[test]
    fn rfc3261_7_3_1_names_are_found_in_any_case() {
        assert_eq!(find(b"a;TaG=x", "tag"), Some(Some(&b"x"[..])));
        assert_eq!(find(b"LR", "lr"), Some(None));
        assert_eq!(find(b"lrx", "lr"), None);
        assert_eq!(find(b"", "lr"), None);
    }

    #[test]
    fn unquoted_takes_the_quotes_off() {
        assert_eq!(unquoted(br#""<urn:x>""#), b"<urn:x>");
        assert_eq!(unquoted(b"plain"), b"plain");
        assert_eq!(unquoted(b"\""), b"\"");
    }
}

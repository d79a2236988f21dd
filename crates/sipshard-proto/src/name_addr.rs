//! Addresses of From, To, Contact, Route and their like.

use memchr::memchr2;

use crate::fault::Fault;
use crate::parameter::{after_semicolon, find};
use crate::scan::{is_lws, quoted_string_end, trim};
use crate::span::Span;
use crate::uri::is_plausible;

/// A `name-addr` or an `addr-spec`, with the header parameters behind it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NameAddr<'a> {
    /// The display name as written, with the quotes of a quoted string; empty without one.
    pub display: &'a [u8],
    /// The URI, without angle brackets.
    pub uri: &'a [u8],
    /// What follows the first semicolon behind the URI.
    pub parameters: &'a [u8],
    /// Whether the URI stood in angle brackets. Without them every semicolon starts a header parameter.
    pub in_brackets: bool,
}

impl<'a> NameAddr<'a> {
    /// Parses one address.
    ///
    /// RFC 3261 §25.1 (`from-spec`; `to-spec`, `contact-param` and `route-param` are the same):
    ///
    /// ```text
    /// from-spec      =  ( name-addr / addr-spec ) *( SEMI from-param )
    /// name-addr      =  [ display-name ] LAQUOT addr-spec RAQUOT
    /// display-name   =  *(token LWS)/ quoted-string
    /// ```
    ///
    /// and §20: a URI with a comma, question mark or semicolon in it must stand in brackets. White space before
    /// the bracket may be missing (RFC 4475 §3.1.1.6). A display name without quotes may hold more than tokens
    /// (phones send names in UTF-8 as they are), but no separator that would change the meaning of the rest.
    ///
    /// # Errors
    /// [`Fault::BadNameAddr`]; the parameters are checked by whoever reads them.
    #[inline]
    pub fn parse(one: &'a [u8]) -> Result<NameAddr<'a>, Fault> {
        let value = trim(one);
        let bracket = match value.first() {
            Some(b'"') => {
                let closed = quoted_string_end(value).ok_or(Fault::BadNameAddr)?;
                closed + blank_length(&value[closed..])
            }
            _ => memchr2(b'<', b';', value).unwrap_or(value.len()),
        };
        let name_addr = match value.get(bracket) {
            Some(b'<') => in_brackets(value, bracket),
            _ => bare(value, bracket),
        };
        name_addr.ok_or(Fault::BadNameAddr)
    }

    /// The value of a header parameter (any case): `None` when it is absent, `Some(None)` without a value.
    #[inline]
    pub fn parameter(&self, name: &str) -> Option<Option<&'a [u8]>> {
        find(self.parameters, name)
    }

    /// The `tag` (RFC 3261 §19.3).
    #[inline]
    pub fn tag(&self) -> Option<&'a [u8]> {
        self.parameter("tag").flatten()
    }
}

fn blank_length(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| is_lws(**byte)).count()
}

#[inline]
fn in_brackets(value: &[u8], bracket: usize) -> Option<NameAddr<'_>> {
    let display = trim(&value[..bracket]);
    let length = memchr::memchr(b'>', &value[bracket..])?;
    let uri = &value[bracket + 1..bracket + length];
    let is_sound = is_display_name(display) && is_plausible(uri);
    is_sound.then_some(NameAddr {
        display,
        uri,
        parameters: after_semicolon(&value[bracket + length + 1..]).ok()?,
        in_brackets: true,
    })
}

/// An address without brackets; `end` is where its first semicolon is, or the end.
#[inline]
fn bare(value: &[u8], end: usize) -> Option<NameAddr<'_>> {
    let uri = trim(&value[..end]);
    let is_sound = is_plausible(uri) && memchr2(b'?', b',', uri).is_none();
    is_sound.then_some(NameAddr {
        display: &value[..0],
        uri,
        parameters: after_semicolon(&value[end..]).ok()?,
        in_brackets: false,
    })
}

#[inline]
fn is_display_name(display: &[u8]) -> bool {
    // A quoted string has been measured already; what is behind it is white space, trimmed away.
    matches!(display.first(), None | Some(b'"'))
        || display.iter().all(|byte| {
            is_lws(*byte) || (*byte >= b' ' && *byte != 0x7f && !matches!(byte, b'"' | b',' | b'>'))
        })
}

/// A [`NameAddr`] and its tag as offsets, so that it can be kept beside the bytes it points into.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NameAddrSpans {
    display: Span,
    uri: Span,
    parameters: Span,
    in_brackets: bool,
    pub(crate) tag: Option<Span>,
}

impl NameAddrSpans {
    #[inline]
    pub(crate) fn of(name_addr: &NameAddr<'_>, tag: Option<&[u8]>, bytes: &[u8]) -> NameAddrSpans {
        let locate = |part| Span::locate(bytes, part);
        NameAddrSpans {
            display: locate(name_addr.display),
            uri: locate(name_addr.uri),
            parameters: locate(name_addr.parameters),
            in_brackets: name_addr.in_brackets,
            tag: tag.map(locate),
        }
    }

    #[inline]
    pub(crate) fn view<'a>(&self, bytes: &'a [u8]) -> NameAddr<'a> {
        NameAddr {
            display: self.display.of(bytes),
            uri: self.uri.of(bytes),
            parameters: self.parameters.of(bytes),
            in_brackets: self.in_brackets,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name_addr(text: &str) -> NameAddr<'_> {
        NameAddr::parse(text.as_bytes()).unwrap_or_else(|fault| panic!("{text}: {fault:?}"))
    }

    #[test]
    fn rfc3261_20_20_the_three_forms() {
        let quoted = name_addr(r#""A. G. Bell \"<\"" <sip:agb@bell-telephone.com> ;tag=a48s"#);
        assert_eq!(quoted.display, br#""A. G. Bell \"<\"""#);
        assert_eq!(quoted.uri, b"sip:agb@bell-telephone.com");
        assert_eq!(quoted.tag(), Some(&b"a48s"[..]));
        let bare = name_addr("sip:+12125551212@server.phone2net.com;tag=887s");
        assert_eq!((bare.display, bare.in_brackets), (&b""[..], false));
        assert_eq!(bare.uri, b"sip:+12125551212@server.phone2net.com");
        assert_eq!(bare.tag(), Some(&b"887s"[..]));
        let tokens = name_addr("Anonymous Caller <sip:c8oqz84zk7z@privacy.org>;tag=hyh8");
        assert_eq!(tokens.display, b"Anonymous Caller");
        assert!(tokens.in_brackets);
    }

    #[test]
    fn rfc3261_20_10_only_brackets_keep_parameters_in_the_uri() {
        let inside = name_addr("<sip:a@b;transport=tcp>;q=1");
        assert_eq!(
            (inside.uri, inside.parameters),
            (&b"sip:a@b;transport=tcp"[..], &b"q=1"[..])
        );
        let outside = name_addr("sip:a@b;transport=tcp");
        assert_eq!(
            (outside.uri, outside.parameters),
            (&b"sip:a@b"[..], &b"transport=tcp"[..])
        );
        assert_eq!(outside.parameter("Transport"), Some(Some(&b"tcp"[..])));
    }

    #[test]
    fn rfc3261_20_a_bare_uri_has_no_question_mark_and_no_comma() {
        assert_eq!(NameAddr::parse(b"sip:a@b?x=y"), Err(Fault::BadNameAddr));
        assert_eq!(NameAddr::parse(b"sip:a@b,sip:c@d"), Err(Fault::BadNameAddr));
    }

    #[test]
    fn a_display_name_in_raw_utf8_is_taken() {
        assert_eq!(
            name_addr("Jürgen Groß <sip:j@example.com>").display,
            "Jürgen Groß".as_bytes()
        );
    }

    #[test]
    fn what_is_no_address() {
        for bad in [
            "",
            "alan@example.com",
            "<>",
            "<sip:a@b",
            "sip:a@b>",
            "< sip:a@b >",
            "<sip:a b@c>",
            "\"open <sip:a@b>",
            "\"name\" sip:a@b",
            "Bell, Alexander <sip:a@b>",
            "say \"hi\" <sip:a@b>",
            "<sip:a@b>tag=x",
            "<sip:a@b>;",
            "<sip:a@b> ; ",
            "<sip:a@b><sip:c@d>",
        ] {
            assert_eq!(
                NameAddr::parse(bad.as_bytes()),
                Err(Fault::BadNameAddr),
                "{bad}"
            );
        }
    }
}

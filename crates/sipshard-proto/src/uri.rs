//! URIs: `sip:`, `sips:`, `tel:`, and all others as opaque bytes.

use memchr::memchr;

use crate::escape::{same_escaped, unescaped};
use crate::fault::Fault;
pub use crate::host::Host;
use crate::host::{split_host, split_port};
use crate::parameter::{find, parameters, Parameter};
use crate::scan::cut;

/// The scheme of a URI.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scheme {
    /// RFC 3261 §19.1.
    Sip,
    /// RFC 3261 §19.1.
    Sips,
    /// RFC 3966.
    Tel,
    /// Any other; its content is not looked at.
    Other,
}

/// A URI and its parts, as they were written.
#[derive(Clone, Copy, Debug)]
pub struct Uri<'a> {
    /// Its scheme.
    pub scheme: Scheme,
    /// The user part, escapes kept, without the password; the number of a `tel:` URI.
    pub user: Option<&'a [u8]>,
    /// The password, escapes kept. May be empty.
    pub password: Option<&'a [u8]>,
    /// The host; an empty name for `tel:` and other schemes.
    pub host: Host<'a>,
    /// The host as written, with the brackets of an IPv6 address.
    pub host_raw: &'a [u8],
    /// The port, when it was written.
    pub port: Option<u16>,
    /// What follows the first semicolon behind the host, to the question mark.
    pub parameters: &'a [u8],
    /// What follows the question mark.
    pub headers: &'a [u8],
    /// All of it.
    pub raw: &'a [u8],
}

impl<'a> Uri<'a> {
    /// Parses one URI that has nothing around it.
    ///
    /// RFC 3261 §25.1:
    ///
    /// ```text
    /// SIP-URI          =  "sip:" [ userinfo ] hostport uri-parameters [ headers ]
    /// SIPS-URI         =  "sips:" [ userinfo ] hostport uri-parameters [ headers ]
    /// userinfo         =  ( user / telephone-subscriber ) [ ":" password ] "@"
    /// user             =  1*( unreserved / escaped / user-unreserved )
    /// hostport         =  host [ ":" port ]
    /// uri-parameters   =  *( ";" uri-parameter)
    /// headers          =  "?" header *( "&" header )
    /// ```
    ///
    /// Phones dial `*21#`, so characters that should be escaped are taken when they mean nothing here; white
    /// space, control characters, quotes and angle brackets never are.
    ///
    /// # Errors
    /// [`Fault::BadUri`].
    pub fn parse(raw: &'a [u8]) -> Result<Uri<'a>, Fault> {
        let (scheme, rest) = split_scheme(raw).ok_or(Fault::BadUri)?;
        if rest.is_empty() || !are_uri_bytes(rest) {
            return Err(Fault::BadUri);
        }
        match scheme {
            Scheme::Sip | Scheme::Sips => parse_sip(scheme, raw, rest).ok_or(Fault::BadUri),
            Scheme::Tel => Ok(parse_tel(raw, rest)),
            Scheme::Other => Ok(opaque(raw)),
        }
    }

    /// The value of a URI parameter (any case): `None` when it is absent, `Some(None)` when it has no value.
    pub fn parameter(&self, name: &str) -> Option<Option<&'a [u8]>> {
        find(self.parameters, name)
    }

    /// Whether it has the `lr` parameter (RFC 3261 §19.1.1). `lr=true` and `lr=on` of old stacks count.
    pub fn is_loose_router(&self) -> bool {
        self.parameter("lr").is_some()
    }

    /// The value of the `transport` parameter (RFC 3261 §19.1.1).
    pub fn transport(&self) -> Option<&'a [u8]> {
        self.parameter("transport").flatten()
    }

    /// Whether both name the same resource by the rules of RFC 3261 §19.1.4.
    ///
    /// Not transitive, as the RFC says itself. URIs of other schemes, and those with more than 32 parameters
    /// or headers, are the same when their bytes are.
    pub fn equivalent(&self, other: &Uri<'_>) -> bool {
        if self.scheme != other.scheme {
            return false;
        }
        let is_hierarchical = matches!(self.scheme, Scheme::Sip | Scheme::Sips);
        if !is_hierarchical || is_overgrown(self) || is_overgrown(other) {
            return self.raw == other.raw;
        }
        same_optional(self.user, other.user)
            && same_optional(self.password, other.password)
            && self.host == other.host
            && self.port == other.port
            && same_parameters(self, other)
            && same_parameters(other, self)
            && same_headers(self.headers, other.headers)
    }

    /// The address of record in the form that indexes bindings (RFC 3261 §10.3 step 5): `user@host`, the user
    /// unescaped once, the host in lower case; no scheme, port, parameters or password. `host` alone without
    /// a user; the whole URI for schemes that have no host.
    pub fn aor(&self) -> Vec<u8> {
        if !matches!(self.scheme, Scheme::Sip | Scheme::Sips) {
            return self.raw.to_vec();
        }
        let mut aor = Vec::with_capacity(self.raw.len());
        if let Some(user) = self.user {
            aor.extend(unescaped(user));
            aor.push(b'@');
        }
        match self.host {
            Host::V6(address) => aor.extend_from_slice(format!("[{address}]").as_bytes()),
            _ => aor.extend(self.host_raw.iter().map(u8::to_ascii_lowercase)),
        }
        aor
    }
}

/// RFC 3261 §25.1: `scheme = ALPHA *( ALPHA / DIGIT / "+" / "-" / "." )`, without regard to case.
#[inline]
fn split_scheme(raw: &[u8]) -> Option<(Scheme, &[u8])> {
    if let [a, b, c, b':', rest @ ..] = raw {
        match [a | 0x20, b | 0x20, c | 0x20] {
            [b's', b'i', b'p'] => return Some((Scheme::Sip, rest)),
            [b't', b'e', b'l'] => return Some((Scheme::Tel, rest)),
            _ => {}
        }
    }
    let (scheme, rest) = cut(raw, b':');
    if scheme.eq_ignore_ascii_case(b"sips") {
        return Some((Scheme::Sips, rest?));
    }
    let is_scheme = scheme.first()?.is_ascii_alphabetic()
        && scheme
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    is_scheme.then_some((Scheme::Other, rest?))
}

/// Whether every byte may stand in a URI at all. Looks at all of them, so that it can take sixteen at once.
#[inline]
fn are_uri_bytes(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |sound, byte| {
        sound
            & (*byte > b' ')
            & (*byte != 0x7f)
            & (*byte != b'"')
            & (*byte != b'<')
            & (*byte != b'>')
    })
}

#[inline]
fn parse_sip<'a>(scheme: Scheme, raw: &'a [u8], rest: &'a [u8]) -> Option<Uri<'a>> {
    // Neither parameters nor headers may hold an unescaped "@", so the first one ends the user part, even
    // behind a semicolon or a question mark (RFC 4475 §3.1.1.9).
    let (user, password, rest) = match memchr(b'@', rest) {
        Some(index) => {
            let (user, password) = cut(&rest[..index], b':');
            (Some(user), password, &rest[index + 1..])
        }
        None => (None, None, rest),
    };
    if user.is_some_and(|user| user.is_empty() || !escapes_are_whole(user)) {
        return None;
    }
    let (host, host_raw, rest) = split_host(rest)?;
    let (port, rest) = match rest {
        [b':', rest @ ..] => split_port(rest).map(|(port, rest)| (Some(port), rest))?,
        _ => (None, rest),
    };
    let (rest, headers) = cut(rest, b'?');
    let parameters = match rest {
        [] => rest,
        [b';', rest @ ..] => rest,
        _ => return None,
    };
    Some(Uri {
        scheme,
        user,
        password,
        host,
        host_raw,
        port,
        parameters,
        headers: headers.unwrap_or_default(),
        raw,
    })
}

/// Whether every `%` has two hexadecimal digits behind it.
#[inline]
fn escapes_are_whole(bytes: &[u8]) -> bool {
    memchr::memchr_iter(b'%', bytes).all(|index| {
        matches!(bytes.get(index + 1..index + 3), Some([high, low])
            if high.is_ascii_hexdigit() && low.is_ascii_hexdigit())
    })
}

/// RFC 3966 §3: `telephone-uri = "tel:" telephone-subscriber`, parameters behind semicolons.
fn parse_tel<'a>(raw: &'a [u8], rest: &'a [u8]) -> Uri<'a> {
    let (number, parameters) = cut(rest, b';');
    Uri {
        scheme: Scheme::Tel,
        user: Some(number),
        parameters: parameters.unwrap_or_default(),
        ..opaque(raw)
    }
}

fn opaque(raw: &[u8]) -> Uri<'_> {
    Uri {
        scheme: Scheme::Other,
        user: None,
        password: None,
        host: Host::Name(b""),
        host_raw: b"",
        port: None,
        parameters: b"",
        headers: b"",
        raw,
    }
}

fn same_optional(one: Option<&[u8]>, two: Option<&[u8]>) -> bool {
    match (one, two) {
        (Some(one), Some(two)) => same_escaped(one, two, |byte| byte),
        (one, two) => one.is_none() && two.is_none(),
    }
}

/// Most parameters, and most headers, of URIs that are compared one by one: the work grows with their square.
const MAX_COMPARED: usize = 32;

/// Whether a URI is so long that only the same bytes make another one equivalent to it.
fn is_overgrown(uri: &Uri<'_>) -> bool {
    let count = |bytes: &[u8], separator| memchr::memchr_iter(separator, bytes).count() + 1;
    count(uri.parameters, b';') > MAX_COMPARED || count(uri.headers, b'&') > MAX_COMPARED
}

/// Whether every parameter of `one` that counts is in `two`.
///
/// RFC 3261 §19.1.4: one that is in both must match; `user`, `ttl`, `method` and `maddr` must be in both or
/// in neither. `transport` is not in that sentence but in the examples below it.
fn same_parameters(one: &Uri<'_>, two: &Uri<'_>) -> bool {
    const NEVER_IGNORED: [&[u8]; 5] = [b"user", b"ttl", b"method", b"maddr", b"transport"];
    let sound = |raw| parameters(raw).map_while(Result::ok);
    sound(one.parameters).all(|parameter| {
        let mut twins = sound(two.parameters)
            .filter(|other| same_ignoring_case(parameter.name, other.name))
            .peekable();
        match twins.peek() {
            Some(_) => twins.any(|twin| same_value(parameter, twin)),
            None => !NEVER_IGNORED
                .iter()
                .any(|name| same_ignoring_case(parameter.name, name)),
        }
    })
}

fn same_value(one: Parameter<'_>, two: Parameter<'_>) -> bool {
    match (one.value, two.value) {
        (Some(one), Some(two)) => same_ignoring_case(one, two),
        (one, two) => one.is_none() && two.is_none(),
    }
}

fn same_ignoring_case(one: &[u8], two: &[u8]) -> bool {
    same_escaped(one, two, |byte| byte.to_ascii_lowercase())
}

/// RFC 3261 §19.1.4: header components are never ignored, and their order does not count.
fn same_headers(one: &[u8], two: &[u8]) -> bool {
    let count = |headers: &[u8]| headers.split(|byte| *byte == b'&').count();
    count(one) == count(two)
        && one.split(|byte| *byte == b'&').all(|header| {
            two.split(|byte| *byte == b'&')
                .any(|other| same_header(header, other))
        })
}

fn same_header(one: &[u8], two: &[u8]) -> bool {
    let (one_name, one_value) = cut(one, b'=');
    let (two_name, two_value) = cut(two, b'=');
    same_ignoring_case(one_name, two_name) && same_optional(one_value, two_value)
}

/// Whether `bytes` looks like a URI: a scheme, a colon, and something behind it without white space. The
/// check for From and To, whose URIs nobody routes by.
#[inline]
pub(crate) fn is_plausible(bytes: &[u8]) -> bool {
    split_scheme(bytes).is_some_and(|(_, rest)| !rest.is_empty()) && are_uri_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Uri<'_> {
        Uri::parse(text.as_bytes()).unwrap_or_else(|fault| panic!("{text}: {fault:?}"))
    }

    fn assert_equivalent(expected: bool, pairs: &[(&str, &str)]) {
        for (one, two) in pairs {
            assert_eq!(uri(one).equivalent(&uri(two)), expected, "{one} and {two}");
            assert_eq!(uri(two).equivalent(&uri(one)), expected, "{two} and {one}");
        }
    }

    #[test]
    fn rfc3261_19_1_1_all_parts() {
        let uri = uri("SIPS:alice:secret@Example.com:5061;transport=tcp;lr?subject=project%20x");
        assert_eq!(uri.scheme, Scheme::Sips);
        assert_eq!(uri.user, Some(&b"alice"[..]));
        assert_eq!(uri.password, Some(&b"secret"[..]));
        assert_eq!(uri.host, Host::Name(b"example.com"));
        assert_eq!(uri.host_raw, b"Example.com");
        assert_eq!(uri.port, Some(5061));
        assert_eq!(uri.parameters, b"transport=tcp;lr");
        assert_eq!(uri.headers, b"subject=project%20x");
        assert_eq!(uri.transport(), Some(&b"tcp"[..]));
        assert!(uri.is_loose_router());
    }

    #[test]
    fn rfc3261_19_1_1_only_a_host_is_needed() {
        let uri = uri("sip:192.0.2.1");
        assert_eq!((uri.user, uri.password, uri.port), (None, None, None));
        assert_eq!((uri.parameters, uri.headers), (&b""[..], &b""[..]));
        assert!(!uri.is_loose_router());
    }

    #[test]
    fn rfc3966_a_telephone_number() {
        let uri = uri("tel:+4930123456;phone-context=example.com");
        assert_eq!(uri.scheme, Scheme::Tel);
        assert_eq!(uri.user, Some(&b"+4930123456"[..]));
        assert_eq!(
            uri.parameter("phone-context"),
            Some(Some(&b"example.com"[..]))
        );
    }

    #[test]
    fn rfc3261_25_1_other_schemes_are_opaque() {
        assert_eq!(uri("soap.beep://192.0.2.103:3002").scheme, Scheme::Other);
        assert_eq!(uri("name:John_Smith").scheme, Scheme::Other);
    }

    #[test]
    fn what_is_no_uri() {
        for bad in [
            "",
            "sip:",
            "sip",
            "alan@example.com",
            "1sip:a@b",
            "<sip:user@example.com>",
            "sip:@example.com",
            "sip:user@",
            "sip:user@example.com; lr",
            " sip:user@example.com",
            "sip:user@example.com:",
            "sip:user@example.com:65536",
            "sip:user@example.com:5060x",
            "sip:2001:db8::10",
            "sip:user@[2001:db8::10",
            "sip:us%4er%zz@example.com",
            "sip:us%4@example.com",
            "sip:a@b@c",
            "sip:user@example.com\r\nX: y",
            "sip:\"user\"@example.com",
        ] {
            assert_eq!(
                Uri::parse(bad.as_bytes()).err(),
                Some(Fault::BadUri),
                "{bad}"
            );
        }
    }

    #[test]
    fn rfc3261_19_1_4_equivalent_uris() {
        assert_equivalent(
            true,
            &[
                (
                    "sip:%61lice@atlanta.com;transport=TCP",
                    "sip:alice@AtLanTa.CoM;Transport=tcp",
                ),
                ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
                ("sip:carol@chicago.com", "sip:carol@chicago.com;security=on"),
                (
                    "sip:carol@chicago.com;newparam=5",
                    "sip:carol@chicago.com;security=on",
                ),
                (
                    "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
                    "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
                ),
                (
                    "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
                    "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
                ),
                ("sip:a@[2001:db8::1]", "sip:a@[2001:DB8:0::1]"),
            ],
        );
    }

    #[test]
    fn rfc3261_19_1_4_uris_that_are_not_equivalent() {
        assert_equivalent(
            false,
            &[
                (
                    "SIP:ALICE@AtLanTa.CoM;Transport=udp",
                    "sip:alice@AtLanTa.CoM;Transport=UDP",
                ),
                ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
                ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
                (
                    "sip:bob@biloxi.com",
                    "sip:bob@biloxi.com:6000;transport=tcp",
                ),
                (
                    "sip:carol@chicago.com",
                    "sip:carol@chicago.com?Subject=next%20meeting",
                ),
                ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
                (
                    "sip:carol@chicago.com;security=on",
                    "sip:carol@chicago.com;security=off",
                ),
                ("sip:a@b", "sips:a@b"),
                ("sip:a@b", "sip:a:password@b"),
                ("sip:b", "sip:a@b"),
                ("sip:a@b;user=phone", "sip:a@b"),
                ("sip:a@b;maddr=192.0.2.1", "sip:a@b"),
                ("sip:a%3Bb@c", "sip:a;b@c"),
            ],
        );
    }

    #[test]
    fn overgrown_uris_are_compared_by_their_bytes() {
        let ascending: String = (0..33).map(|number| format!(";p{number}=x")).collect();
        let descending: String = (0..33)
            .rev()
            .map(|number| format!(";p{number}=x"))
            .collect();
        let (one, two) = (
            format!("sip:a@b{ascending}"),
            format!("sip:a@b{descending}"),
        );
        assert_equivalent(true, &[(&one, &one)]);
        assert_equivalent(false, &[(&one, &two)]);
    }

    #[test]
    fn rfc3261_10_3_step_5_the_address_of_record() {
        let aors: [(&str, &[u8]); 6] = [
            (
                "sips:Al%69ce:pw@Example.COM:5061;transport=tcp?x=y",
                b"Alice@example.com",
            ),
            ("sip:Example.com", b"example.com"),
            ("sip:%00@example.com", b"\0@example.com"),
            ("sip:a%2541@example.com", b"a%41@example.com"),
            ("sip:a@[2001:DB8:0::1]:5060", b"a@[2001:db8::1]"),
            ("tel:+4930123456", b"tel:+4930123456"),
        ];
        for (text, aor) in aors {
            assert_eq!(uri(text).aor(), aor, "{text}");
        }
    }
}

//! Hosts and ports, as they stand in URIs and in Via.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::scan::class;

/// A host.
#[derive(Clone, Copy, Debug)]
pub enum Host<'a> {
    /// A dotted quad.
    V4(Ipv4Addr),
    /// An IPv6 address, written in brackets.
    V6(Ipv6Addr),
    /// A name, as it was written.
    Name(&'a [u8]),
}

impl<'a> Host<'a> {
    /// Parses a host that has nothing behind it.
    ///
    /// RFC 3261 §25.1:
    ///
    /// ```text
    /// host             =  hostname / IPv4address / IPv6reference
    /// hostname         =  *( domainlabel "." ) toplabel [ "." ]
    /// IPv6reference    =  "[" IPv6address "]"
    /// ```
    ///
    /// Practice has labels with underscores and last labels that start with a digit (names of containers),
    /// so any run of letters, digits, `-`, `_` and `.` counts as a name.
    pub fn parse(bytes: &'a [u8]) -> Option<Host<'a>> {
        match split_host(bytes)? {
            (host, _, []) => Some(host),
            _ => None,
        }
    }

    /// The address, when the host is one.
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Host::V4(address) => Some(IpAddr::V4(*address)),
            Host::V6(address) => Some(IpAddr::V6(*address)),
            Host::Name(_) => None,
        }
    }
}

/// Names compare without regard to case (RFC 3261 §19.1.4), addresses by value.
impl PartialEq for Host<'_> {
    fn eq(&self, other: &Host<'_>) -> bool {
        match (self, other) {
            (Host::V4(one), Host::V4(two)) => one == two,
            (Host::V6(one), Host::V6(two)) => one == two,
            (Host::Name(one), Host::Name(two)) => one.eq_ignore_ascii_case(two),
            _ => false,
        }
    }
}

impl Eq for Host<'_> {}

static NAME: [bool; 256] = class(b"-._");

/// Four decimal numbers below 256. Leading zeros are refused as the standard library does: to some readers
/// they mean octal.
#[inline]
fn parse_ipv4(bytes: &[u8]) -> Option<Ipv4Addr> {
    let mut octets = [0_u8; 4];
    let mut parts = bytes.split(|byte| *byte == b'.');
    for octet in &mut octets {
        *octet = parse_octet(parts.next()?)?;
    }
    parts.next().is_none().then(|| Ipv4Addr::from(octets))
}

#[inline]
fn parse_octet(digits: &[u8]) -> Option<u8> {
    if matches!(digits, [] | [b'0', _, ..]) || digits.len() > 3 {
        return None;
    }
    let mut value = 0_u16;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value * 10 + u16::from(digit - b'0');
    }
    u8::try_from(value).ok()
}

/// RFC 4291 §2.2, and the three colons that the ABNF of RFC 3261 allowed by mistake (RFC 5118 §4.10).
pub(crate) fn parse_ipv6(bytes: &[u8]) -> Option<Ipv6Addr> {
    let text = std::str::from_utf8(bytes).ok()?;
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    if text.len() > 64 || !text.contains(":::") {
        return None;
    }
    text.replacen(":::", "::", 1).parse().ok()
}

/// The host at the start of `bytes`, the same as written, and the rest behind it.
///
/// It ends at the first byte that cannot be in one; what follows is for the caller to judge.
#[inline]
pub(crate) fn split_host(bytes: &[u8]) -> Option<(Host<'_>, &[u8], &[u8])> {
    if bytes.first() == Some(&b'[') {
        let (raw, rest) = bytes.split_at(memchr::memchr(b']', bytes)? + 1);
        return Some((Host::V6(parse_ipv6(&raw[1..raw.len() - 1])?), raw, rest));
    }
    let length = bytes
        .iter()
        .position(|byte| !NAME[usize::from(*byte)])
        .unwrap_or(bytes.len());
    let (raw, rest) = bytes.split_at(length);
    let host = match raw.first()? {
        b'0'..=b'9' => parse_ipv4(raw).map_or(Host::Name(raw), Host::V4),
        _ => Host::Name(raw),
    };
    Some((host, raw, rest))
}

/// `port = 1*DIGIT`, at most 65535: its value, and the rest behind it.
#[inline]
pub(crate) fn split_port(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let length = bytes
        .iter()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(bytes.len());
    let (digits, rest) = bytes.split_at(length);
    let port = crate::scan::decimal(digits)?;
    Some((u16::try_from(port).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3261_25_1_the_three_kinds_of_host() {
        assert_eq!(
            Host::parse(b"192.0.2.1"),
            Some(Host::V4(Ipv4Addr::new(192, 0, 2, 1)))
        );
        assert_eq!(
            Host::parse(b"[2001:db8::10]"),
            Some(Host::V6("2001:db8::10".parse().unwrap()))
        );
        assert_eq!(
            Host::parse(b"Example.COM."),
            Some(Host::Name(b"example.com."))
        );
        assert_eq!(
            Host::parse(b"sip_proxy.3f2a"),
            Some(Host::Name(b"sip_proxy.3f2a"))
        );
    }

    #[test]
    fn what_is_no_host() {
        for bad in [
            &b""[..],
            b"2001:db8::10",
            b"[2001:db8::10",
            b"[]",
            b"[x]",
            b"a b",
            b"a\0",
            b"<a>",
            b"a,b",
        ] {
            assert_eq!(Host::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn rfc5118_4_10_three_colons_are_tolerated() {
        let address = "2001:db8::192.0.2.1".parse().unwrap();
        assert_eq!(
            Host::parse(b"[2001:db8:::192.0.2.1]"),
            Some(Host::V6(address))
        );
        assert_eq!(Host::parse(b"[2001:db8::::192.0.2.1]"), None);
    }

    #[test]
    fn rfc5118_4_9_an_ipv4_mapped_address_stays_ipv6() {
        assert_eq!(
            Host::parse(b"[::ffff:192.0.2.10]"),
            Some(Host::V6("::ffff:192.0.2.10".parse().unwrap()))
        );
    }

    #[test]
    fn numbers_that_are_no_address_stay_names() {
        for name in [
            &b"192.0.2.256"[..],
            b"192.0.2",
            b"192.0.2.01",
            b"1.2.3.4.5",
            b"0000.1.2.3",
        ] {
            assert!(matches!(Host::parse(name), Some(Host::Name(_))), "{name:?}");
        }
    }

    #[test]
    fn a_port_is_a_number_below_65536() {
        assert_eq!(split_port(b"5060;x"), Some((5060, &b";x"[..])));
        assert_eq!(split_port(b"65535"), Some((65535, &b""[..])));
        assert_eq!(split_port(b"65536"), None);
        assert_eq!(split_port(b"99999999999999999999999"), None);
        assert_eq!(split_port(b""), None);
    }
}

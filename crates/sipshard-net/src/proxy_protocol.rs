//! The PROXY protocol, version 2: a load balancer says in front of the connection whose it is.
//!
//! From the specification (haproxy.org, doc/proxy-protocol.txt, §2.2):
//!
//! ```text
//! signature  12 bytes  0D 0A 0D 0A 00 0D 0A 51 55 49 54 0A
//! version     4 bits   2
//! command     4 bits   0 LOCAL: the balancer itself speaks, 1 PROXY: it speaks for another
//! family      4 bits   0 unspecified, 1 IPv4, 2 IPv6, 3 UNIX
//! transport   4 bits   0 unspecified, 1 stream, 2 datagram
//! length     16 bits   of what follows
//! addresses            source, destination, source port, destination port
//! and more             type, length, value: not read
//! ```

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version, command, family, transport and length.
const FIXED_BYTES: usize = 16;

/// What is kept of a header: the addresses of IPv6 are the longest that are read.
const KEPT_BYTES: usize = FIXED_BYTES + 36;

/// That a connection did not begin with a header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BadHeader;

/// A header that has been read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    /// Whose connection it is; `None` when it is that of the balancer itself.
    pub(crate) source: Option<SocketAddr>,
}

/// Reads a header that comes in pieces. What is not understood of it is passed over and not kept,
/// so that its length needs no bound.
#[derive(Debug)]
pub(crate) struct HeaderReader {
    kept: [u8; KEPT_BYTES],
    read_bytes: usize,
}

impl HeaderReader {
    pub(crate) fn new() -> HeaderReader {
        HeaderReader {
            kept: [0; KEPT_BYTES],
            read_bytes: 0,
        }
    }

    /// Takes the next bytes. Returns how many of them belong to the header, and the header when it
    /// is complete.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Result<(usize, Option<Header>), BadHeader> {
        let fixed = FIXED_BYTES.saturating_sub(self.read_bytes).min(bytes.len());
        self.keep(&bytes[..fixed]);
        self.check_begin()?;
        if self.read_bytes < FIXED_BYTES {
            return Ok((fixed, None));
        }
        let length = u16::from_be_bytes([self.kept[14], self.kept[15]]);
        let total = FIXED_BYTES + usize::from(length);
        let rest = &bytes[fixed..];
        let taken = (total - self.read_bytes).min(rest.len());
        self.keep(&rest[..taken]);
        let header = match self.read_bytes == total {
            true => Some(self.header(usize::from(length))?),
            false => None,
        };
        Ok((fixed + taken, header))
    }

    fn keep(&mut self, bytes: &[u8]) {
        let start = self.read_bytes.min(KEPT_BYTES);
        let kept = bytes.len().min(KEPT_BYTES - start);
        self.kept[start..start + kept].copy_from_slice(&bytes[..kept]);
        self.read_bytes += bytes.len();
    }

    /// Refuses what cannot become a header as soon as that is seen.
    fn check_begin(&self) -> Result<(), BadHeader> {
        let signature = self.read_bytes.min(SIGNATURE.len());
        let is_command = self.read_bytes <= 12 || matches!(self.kept[12], 0x20 | 0x21);
        match self.kept[..signature] == SIGNATURE[..signature] && is_command {
            true => Ok(()),
            false => Err(BadHeader),
        }
    }

    /// The meaning of a complete header with `length` bytes behind its fixed part.
    fn header(&self, length: usize) -> Result<Header, BadHeader> {
        let (command, family_and_transport) = (self.kept[12] & 0x0F, self.kept[13]);
        let addresses = &self.kept[FIXED_BYTES..];
        let source = match (command, family_and_transport) {
            // "the receiver must use the real connection endpoints", whatever the family says.
            (0, _) => None,
            // The sender does not know; "it is recommended to use the real endpoints".
            (_, 0x00) => None,
            (_, 0x11) if length >= 12 => {
                let ip: [u8; 4] = [addresses[0], addresses[1], addresses[2], addresses[3]];
                let port = u16::from_be_bytes([addresses[8], addresses[9]]);
                Some(SocketAddr::from((Ipv4Addr::from(ip), port)))
            }
            (_, 0x21) if length >= 36 => {
                let mut ip = [0; 16];
                ip.copy_from_slice(&addresses[..16]);
                let port = u16::from_be_bytes([addresses[32], addresses[33]]);
                Some(SocketAddr::from((Ipv6Addr::from(ip), port)))
            }
            _ => return Err(BadHeader),
        };
        Ok(Header { source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let length = (addresses.len() as u16).to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, addresses].concat()
    }

    fn tcp4() -> Vec<u8> {
        header(
            0x21,
            0x11,
            &[192, 0, 2, 1, 198, 51, 100, 1, 0x13, 0xC4, 0x13, 0xC5],
        )
    }

    fn tcp6() -> Vec<u8> {
        let mut addresses = [0; 36];
        addresses[..16].copy_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
        addresses[32..].copy_from_slice(&[0x13, 0xC4, 0x13, 0xC5]);
        header(0x21, 0x21, &addresses)
    }

    fn read(bytes: &[u8]) -> Result<(usize, Option<Header>), BadHeader> {
        HeaderReader::new().read(bytes)
    }

    fn source(text: Option<&str>) -> Option<Header> {
        let source = text.map(|text| text.parse().unwrap());
        Some(Header { source })
    }

    #[test]
    fn the_source_is_what_the_balancer_says() {
        assert_eq!(read(&tcp4()), Ok((28, source(Some("192.0.2.1:5060")))));
        assert_eq!(read(&tcp6()), Ok((52, source(Some("[2001:db8::7]:5060")))));
    }

    #[test]
    fn local_and_unspecified_mean_the_real_end() {
        assert_eq!(read(&header(0x20, 0x11, &[7; 3])), Ok((19, source(None))));
        assert_eq!(read(&header(0x21, 0x00, &[])), Ok((16, source(None))));
    }

    #[test]
    fn what_follows_is_left_alone_and_further_fields_are_passed_over() {
        let mut bytes = tcp4();
        bytes.extend_from_slice(b"REGISTER");
        assert_eq!(read(&bytes), Ok((28, source(Some("192.0.2.1:5060")))));

        let addresses: Vec<u8> = tcp4()[16..].iter().copied().chain([9; 65_000]).collect();
        let long = header(0x21, 0x11, &addresses);
        assert_eq!(
            read(&long),
            Ok((long.len(), source(Some("192.0.2.1:5060"))))
        );
    }

    #[test]
    fn a_header_may_be_cut_anywhere() {
        for (bytes, from) in [(tcp4(), "192.0.2.1:5060"), (tcp6(), "[2001:db8::7]:5060")] {
            for cut in 0..bytes.len() {
                let mut reader = HeaderReader::new();
                assert_eq!(reader.read(&bytes[..cut]), Ok((cut, None)));
                let rest = bytes.len() - cut;
                assert_eq!(reader.read(&bytes[cut..]), Ok((rest, source(Some(from)))));
            }
        }
    }

    #[test]
    fn what_is_no_header_is_refused_at_its_first_wrong_byte() {
        let good = tcp4();
        for index in 0..13 {
            let mut bad = good.clone();
            bad[index] ^= 0x80;
            assert_eq!(read(&bad[..index + 1]), Err(BadHeader), "byte {index}");
        }
        assert_eq!(read(b"PROXY TCP4 192.0.2.1"), Err(BadHeader), "version 1");
        for (family, length) in [(0x11, 11), (0x21, 35), (0x12, 12), (0x31, 216), (0x41, 36)] {
            let addresses = vec![0; length];
            let bad = header(0x21, family, &addresses);
            assert_eq!(read(&bad), Err(BadHeader), "{family:x} {length}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(
            begins_well in any::<bool>(),
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            cut in 1usize..40,
        ) {
            let mut input = if begins_well { SIGNATURE.to_vec() } else { Vec::new() };
            input.extend_from_slice(&bytes);
            let mut reader = HeaderReader::new();
            for piece in input.chunks(cut) {
                match reader.read(piece) {
                    Ok((taken, None)) => prop_assert_eq!(taken, piece.len()),
                    Ok((taken, Some(_))) => { prop_assert!(taken <= piece.len()); break; }
                    Err(BadHeader) => break,
                }
            }
        }
    }
}

//! The upgrade from HTTP (RFC 6455 §4.2), for the subprotocol `sip` (RFC 7118 §4).

use tungstenite::handshake::machine::TryParse;
use tungstenite::handshake::server::{create_response, write_response, Request};
use tungstenite::http::header::{HOST, ORIGIN, SEC_WEBSOCKET_PROTOCOL};
use tungstenite::http::HeaderValue;

/// The longest request, from its first line to its empty line. Browsers send less than 1 kB, and
/// cookies are the only reason for much more.
const MAX_HEAD_BYTES: usize = 8192;

/// How every request begins that can be an upgrade.
const METHOD: &[u8] = b"GET ";

/// What the bytes of a request have led to.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum UpgradeStep {
    /// The request goes on.
    Incomplete,
    /// The connection is a WebSocket once `response` is sent. `taken` of the last bytes belong to
    /// the request; the frames begin behind them.
    Accepted {
        taken: usize,
        response: Vec<u8>,
        origin: Option<Box<str>>,
    },
    /// It is none, and `response` says so.
    Refused { response: Vec<u8> },
}

/// A request that is being read.
#[derive(Debug, Default)]
pub(crate) struct Upgrade {
    head: Vec<u8>,
}

impl Upgrade {
    /// Takes the next bytes.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> UpgradeStep {
        let before = self.head.len();
        let room = MAX_HEAD_BYTES - before;
        self.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
        let begin = self.head.len().min(METHOD.len());
        if self.head[..begin] != METHOD[..begin] {
            return refuse("400 Bad Request");
        }
        // Only where an empty line may have ended the head is it parsed: once, however small the
        // pieces are that it comes in.
        let fresh = &self.head[before.saturating_sub(2)..];
        if fresh.windows(3).any(|end| end == b"\n\r\n") || fresh.windows(2).any(|e| e == b"\n\n") {
            return self.answer(before);
        }
        match self.head.len() < MAX_HEAD_BYTES {
            true => UpgradeStep::Incomplete,
            false => refuse("431 Request Header Fields Too Large"),
        }
    }

    /// Answers a head that is complete, of which the first `before` bytes came earlier.
    fn answer(&self, before: usize) -> UpgradeStep {
        let Ok(parsed) = Request::try_parse(&self.head) else {
            return refuse("400 Bad Request");
        };
        let Some((length, request)) = parsed else {
            return UpgradeStep::Incomplete;
        };
        let Some(response) = accept(&request) else {
            return refuse("400 Bad Request");
        };
        let origin = request.headers().get(ORIGIN);
        UpgradeStep::Accepted {
            taken: length.saturating_sub(before),
            response,
            origin: origin.and_then(|origin| origin.to_str().ok().map(Box::from)),
        }
    }
}

/// The response to a good request, or `None`.
fn accept(request: &Request) -> Option<Vec<u8>> {
    let headers = request.headers();
    // RFC 9112 §3.2: exactly one Host.
    if headers.get_all(HOST).iter().count() != 1 {
        return None;
    }
    // RFC 7118 §4.1: the client must offer `sip`, and the server must name it in its response.
    let offers_sip = |value: &HeaderValue| {
        let mut protocols = value.as_bytes().split(|&byte| byte == b',');
        protocols.any(|protocol| protocol.trim_ascii() == b"sip")
    };
    if !headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .any(offers_sip)
    {
        return None;
    }
    let mut response = create_response(request).ok()?;
    let subprotocol = HeaderValue::from_static("sip");
    let headers = response.headers_mut();
    headers.insert(SEC_WEBSOCKET_PROTOCOL, subprotocol);
    let mut bytes = Vec::new();
    write_response(&mut bytes, &response).ok()?;
    Some(bytes)
}

/// RFC 6455 §4.4: the response names the version that is spoken, which may be what was wrong.
fn refuse(status: &str) -> UpgradeStep {
    let rest = "Sec-WebSocket-Version: 13\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    UpgradeStep::Refused {
        response: format!("HTTP/1.1 {status}\r\n{rest}").into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The example of RFC 7118 §8.1, with the key of RFC 6455 §1.3.
    const REQUEST: &str = "GET / HTTP/1.1\r\nHost: sip-ws.example.com\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Origin: http://www.example.com\r\nSec-WebSocket-Protocol: sip\r\n\
        Sec-WebSocket-Version: 13\r\n\r\n";

    fn is_accepted(request: &str) -> bool {
        let step = Upgrade::default().read(request.as_bytes());
        assert_ne!(step, UpgradeStep::Incomplete, "{request}");
        matches!(step, UpgradeStep::Accepted { .. })
    }

    #[test]
    fn the_request_of_the_rfc_is_accepted_wherever_it_is_cut() {
        for cut in 0..REQUEST.len() {
            let mut upgrade = Upgrade::default();
            assert_eq!(
                upgrade.read(&REQUEST.as_bytes()[..cut]),
                UpgradeStep::Incomplete
            );
            let rest = [&REQUEST.as_bytes()[cut..], b"frame"].concat();
            let UpgradeStep::Accepted {
                taken,
                response,
                origin,
            } = upgrade.read(&rest)
            else {
                panic!("cut at {cut}");
            };
            assert_eq!(taken, REQUEST.len() - cut);
            assert_eq!(origin.as_deref(), Some("http://www.example.com"));
            let response = String::from_utf8(response).unwrap().to_ascii_lowercase();
            assert!(response.starts_with("http/1.1 101 "));
            assert!(response.contains("\r\nsec-websocket-protocol: sip\r\n"));
            let key = "\r\nsec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n";
            assert!(response.contains(key));
        }
    }

    #[test]
    fn sip_may_be_one_of_several_subprotocols() {
        for offer in ["xmpp, sip", "xmpp\r\nSec-WebSocket-Protocol: sip"] {
            let protocol = format!("Protocol: {offer}\r\n");
            assert!(is_accepted(
                &REQUEST.replace("Protocol: sip\r\n", &protocol)
            ));
        }
        let with_path = REQUEST.replace("GET / ", "GET /any/path?query ");
        assert!(is_accepted(&with_path));
    }

    #[test]
    fn what_the_rfcs_require_is_required() {
        for (wanted, instead) in [
            ("GET / HTTP/1.1", "GET / HTTP/1.0"),
            ("GET / HTTP/1.1", "POST / HTTP/1.1"),
            ("Host: sip-ws.example.com\r\n", ""),
            ("Host: ", "Host: a\r\nHost: "),
            ("Upgrade: websocket\r\n", ""),
            ("Upgrade: websocket\r\n", "Upgrade: h2c\r\n"),
            ("Connection: Upgrade\r\n", ""),
            ("dGhlIHNhbXBsZSBub25jZQ==", "short"),
            ("Protocol: sip", "Protocol: xmpp"),
            ("Protocol: sip", "Protocol: sips"),
            ("Sec-WebSocket-Protocol: sip\r\n", ""),
            ("Version: 13", "Version: 8"),
        ] {
            let bad = REQUEST.replacen(wanted, instead, 1);
            assert_ne!(bad, REQUEST);
            assert!(!is_accepted(&bad), "{instead:?} for {wanted:?}");
        }
        let UpgradeStep::Refused { response } = Upgrade::default().read(b"GET / HTTP/1.1\r\n\r\n")
        else {
            panic!();
        };
        assert!(response.starts_with(b"HTTP/1.1 400 Bad Request\r\n"));
    }

    #[test]
    fn an_endless_head_is_refused_at_its_bound() {
        let mut upgrade = Upgrade::default();
        let mut step = upgrade.read(b"GET / HTTP/1.1\r\nCookie: ");
        for _ in 0..MAX_HEAD_BYTES {
            if step != UpgradeStep::Incomplete {
                break;
            }
            step = upgrade.read(b"0123456789");
        }
        let UpgradeStep::Refused { response } = step else {
            panic!("never refused");
        };
        assert!(response.starts_with(b"HTTP/1.1 431 "));
        assert_eq!(upgrade.head.len(), MAX_HEAD_BYTES);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused_within_the_bound(
            begin in 0..REQUEST.len(),
            bytes in proptest::collection::vec(any::<u8>(), 0..20_000),
            cut in 1usize..9000,
        ) {
            let input = [&REQUEST.as_bytes()[..begin], &bytes, b"\r\n\r\n"].concat();
            let mut upgrade = Upgrade::default();
            for piece in input.chunks(cut) {
                if upgrade.read(piece) != UpgradeStep::Incomplete {
                    break;
                }
                prop_assert!(upgrade.head.len() < MAX_HEAD_BYTES);
            }
            prop_assert!(upgrade.head.capacity() <= 2 * MAX_HEAD_BYTES);
        }
    }
}

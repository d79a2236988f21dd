//! Connection reuse in the backward direction (RFC 5923): a peer that has proven its names by a certificate may ask us to
//! send our requests through the connection that it opened.

use super::peer::Peer;
use sipshard_proto::Message;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// So many names of one certificate count.
const MAX_NAMES: usize = 8;

/// The port at which the sender of a request would otherwise be connected to, if its Via asks for reuse: RFC 5923 §5, "the
/// client inserts the `alias` parameter in its topmost Via". The default is that of TLS.
pub fn alias_port(message: &[u8]) -> Option<u16> {
    let message = Message::parse(message).ok()?;
    let via = message.via();
    let is_alias = message.is_request()
        && via
            .parameters
            .split(|&byte| byte == b';')
            .any(|each| each.trim_ascii().eq_ignore_ascii_case(b"alias"));
    is_alias.then(|| via.port.unwrap_or(5061))
}

/// Under which the connection is found from now on: at that port of the peer's, for each name that it has proven. A request
/// for another name must not take it (§8.2).
pub fn aliases(listener: u16, source: IpAddr, port: u16, names: &[String]) -> Vec<Peer> {
    let address = SocketAddr::new(source, port);
    let is_name = |name: &&String| !name.contains(':');
    names
        .iter()
        .filter(is_name)
        .take(MAX_NAMES)
        .map(|name| Peer::secure(listener, address, Arc::from(name.to_ascii_lowercase())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(via: &str) -> Vec<u8> {
        format!(
            "OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/TLS {via};branch=z9hG4bK1\r\nFrom: <sip:a>;tag=1\r\n\
             To: <sip:b>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n"
        )
        .into_bytes()
    }

    #[test]
    fn rfc5923_5_the_parameter_asks_and_the_sent_by_names_the_port() {
        assert_eq!(
            alias_port(&request("pbx.example.com:5091;alias")),
            Some(5091)
        );
        assert_eq!(alias_port(&request("pbx.example.com;Alias")), Some(5061));
        assert_eq!(alias_port(&request("pbx.example.com;x=alias")), None);
        assert_eq!(alias_port(b"SIP/2.0 200 OK\r\n"), None);
    }

    #[test]
    fn rfc5923_8_2_only_what_was_proven_is_an_alias() {
        let source = IpAddr::from([192, 0, 2, 1]);
        let names = ["PBX.example.com".to_owned(), "sip:example.com".to_owned()];
        let found = aliases(3, source, 5061, &names);
        let address = SocketAddr::new(source, 5061);
        assert_eq!(
            found,
            [Peer::secure(3, address, Arc::from("pbx.example.com"))]
        );
    }
}

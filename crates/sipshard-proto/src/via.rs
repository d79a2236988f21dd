//! Via: where a message has been, and where its responses go.

use crate::fault::Fault;
use crate::host::{split_host, split_port, Host};
use crate::parameter::{after_semicolon, parameters, Parameter};
use crate::scan::{is_token, token_length, trim, trim_start};
use crate::span::Span;

/// The `rport` parameter (RFC 3581 §3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rport {
    /// The parameter is not there.
    Absent,
    /// It is there without a value: the client asks for one.
    Requested,
    /// The port that the server before us has filled in.
    Value(u16),
}

/// One via-parm: one hop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Via<'a> {
    /// All of it, without the comma behind it and without white space at its ends.
    pub raw: &'a [u8],
    /// `UDP`, `TCP` and so on, as written; compares without regard to case.
    pub transport: &'a [u8],
    /// Host and port as written, white space between them kept.
    pub sent_by: &'a [u8],
    /// The host of the sent-by.
    pub host: Host<'a>,
    /// The port of the sent-by.
    pub port: Option<u16>,
    /// What follows the first semicolon.
    pub parameters: &'a [u8],
    /// The transaction's identifier (RFC 3261 §8.1.1.7).
    pub branch: Option<&'a [u8]>,
    /// The source address as the server before us saw it, as written (RFC 3261 §18.2.1).
    pub received: Option<&'a [u8]>,
    /// Where to send responses instead (RFC 3261 §18.2.2).
    pub maddr: Option<&'a [u8]>,
    /// The port that responses go back to (RFC 3581).
    pub rport: Rport,
    /// Where the whole `received` parameter lies in `raw`, from its name to its value; empty without one.
    pub received_span: Span,
    /// The index in `raw` behind the name `rport`; 0 without one.
    pub rport_name_end: usize,
    /// The index in `raw` behind `rport` and its value, when it has one; 0 without one.
    pub rport_end: usize,
}

impl<'a> Via<'a> {
    /// Parses one via-parm.
    ///
    /// RFC 3261 §25.1:
    ///
    /// ```text
    /// via-parm          =  sent-protocol LWS sent-by *( SEMI via-params )
    /// via-params        =  via-ttl / via-maddr / via-received / via-branch / via-extension
    /// sent-protocol     =  protocol-name SLASH protocol-version SLASH transport
    /// sent-by           =  host [ COLON port ]
    /// SLASH             =  SWS "/" SWS
    /// COLON             =  SWS ":" SWS
    /// ```
    ///
    /// RFC 3581 §3: `response-port = "rport" [EQUAL 1*DIGIT]`.
    ///
    /// # Errors
    /// [`Fault::BadVia`].
    #[inline]
    pub fn parse(one: &'a [u8]) -> Result<Via<'a>, Fault> {
        let raw = trim(one);
        let (mut via, rest) = parse_hop(raw).ok_or(Fault::BadVia)?;
        via.parameters = after_semicolon(rest).map_err(|_| Fault::BadVia)?;
        for parameter in parameters(via.parameters) {
            let parameter = parameter.map_err(|_| Fault::BadVia)?;
            via.take(parameter).ok_or(Fault::BadVia)?;
        }
        Ok(via)
    }

    /// Puts one parameter where it belongs; of doubled ones the first counts. `None` for a value that the
    /// parameter cannot have.
    #[inline]
    fn take(&mut self, parameter: Parameter<'a>) -> Option<()> {
        let Parameter { name, value } = parameter;
        match name.len() {
            6 if name.eq_ignore_ascii_case(b"branch") && self.branch.is_none() => {
                self.branch = Some(value?);
            }
            5 if name.eq_ignore_ascii_case(b"rport") && self.rport_end == 0 => {
                self.rport = match value {
                    None => Rport::Requested,
                    Some(value) => match split_port(value)? {
                        (port, []) => Rport::Value(port),
                        _ => return None,
                    },
                };
                self.rport_name_end = Span::locate(self.raw, name).end as usize;
                self.rport_end = Span::locate(self.raw, value.unwrap_or(name)).end as usize;
            }
            8 if name.eq_ignore_ascii_case(b"received") && self.received.is_none() => {
                self.received = Some(value?);
                self.received_span = Span {
                    start: Span::locate(self.raw, name).start,
                    end: Span::locate(self.raw, value?).end,
                };
            }
            5 if name.eq_ignore_ascii_case(b"maddr") && self.maddr.is_none() => {
                self.maddr = Some(value?);
            }
            _ => {}
        }
        Some(())
    }
}

/// The longest part of a via-parm, from its start, that parses: for an answer to a request whose Via is
/// sound enough to send it somewhere. `None` when not even the sent-by can be read.
pub(crate) fn sound_part(one: &[u8]) -> Option<&[u8]> {
    let raw = trim(one);
    let (mut via, rest) = parse_hop(raw)?;
    let mut end = raw.len() - rest.len();
    if let [b';', rest @ ..] = trim_start(rest) {
        for parameter in parameters(rest).map_while(Result::ok) {
            if via.take(parameter).is_none() {
                break;
            }
            end = Span::locate(raw, parameter.value.unwrap_or(parameter.name)).end as usize;
        }
    }
    Some(&raw[..end])
}

/// Sent-protocol and sent-by, and the rest behind them.
#[inline]
fn parse_hop(raw: &[u8]) -> Option<(Via<'_>, &[u8])> {
    let rest = match raw.strip_prefix(b"SIP/2.0/") {
        Some(rest) => rest,
        None => skip_protocol(raw)?,
    };
    let (transport, rest) = rest.split_at(token_length(rest));
    let sent_by = trim_start(rest);
    if transport.is_empty() || sent_by.len() == rest.len() {
        return None;
    }
    let (host, _, rest) = split_host(sent_by)?;
    let (port, rest) = match trim_start(rest) {
        [b':', rest @ ..] => split_port(trim_start(rest)).map(|(port, rest)| (Some(port), rest))?,
        _ => (None, rest),
    };
    let via = Via {
        raw,
        transport,
        sent_by: &sent_by[..sent_by.len() - rest.len()],
        host,
        port,
        parameters: &raw[raw.len()..],
        branch: None,
        received: None,
        maddr: None,
        rport: Rport::Absent,
        received_span: Span::default(),
        rport_name_end: 0,
        rport_end: 0,
    };
    Some((via, rest))
}

/// What is behind the protocol's name and version when they are not simply `SIP/2.0/`.
///
/// Any tokens: a later version in a Via is no reason to lose the way back (RFC 4475 §3.1.2.16).
///
/// ```text
/// protocol-name     =  "SIP" / token
/// protocol-version  =  token
/// ```
#[cold]
fn skip_protocol(raw: &[u8]) -> Option<&[u8]> {
    let mut parts = raw.splitn(3, |byte| *byte == b'/');
    let is_sound = is_token(trim(parts.next()?)) && is_token(trim(parts.next()?));
    let rest = parts.next()?;
    is_sound.then_some(trim_start(rest))
}

/// A [`Via`] as offsets, so that it can be kept beside the bytes it points into.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ViaSpans {
    raw: Span,
    transport: Span,
    sent_by: Span,
    host: HostSpan,
    port: Option<u16>,
    parameters: Span,
    branch: Option<Span>,
    received: Option<Span>,
    maddr: Option<Span>,
    rport: Rport,
    received_span: Span,
    rport_name_end: u32,
    rport_end: u32,
}

#[derive(Clone, Copy, Debug)]
enum HostSpan {
    V4(std::net::Ipv4Addr),
    V6(std::net::Ipv6Addr),
    Name(Span),
}

impl ViaSpans {
    #[inline]
    pub(crate) fn of(via: &Via<'_>, bytes: &[u8]) -> ViaSpans {
        let locate = |part| Span::locate(bytes, part);
        ViaSpans {
            raw: locate(via.raw),
            transport: locate(via.transport),
            sent_by: locate(via.sent_by),
            host: match via.host {
                Host::V4(address) => HostSpan::V4(address),
                Host::V6(address) => HostSpan::V6(address),
                Host::Name(name) => HostSpan::Name(locate(name)),
            },
            port: via.port,
            parameters: locate(via.parameters),
            branch: via.branch.map(locate),
            received: via.received.map(locate),
            maddr: via.maddr.map(locate),
            rport: via.rport,
            received_span: via.received_span,
            rport_name_end: via.rport_name_end as u32,
            rport_end: via.rport_end as u32,
        }
    }

    #[inline]
    pub(crate) fn view<'a>(&self, bytes: &'a [u8]) -> Via<'a> {
        let text = |span: Span| span.of(bytes);
        Via {
            raw: text(self.raw),
            transport: text(self.transport),
            sent_by: text(self.sent_by),
            host: match self.host {
                HostSpan::V4(address) => Host::V4(address),
                HostSpan::V6(address) => Host::V6(address),
                HostSpan::Name(name) => Host::Name(text(name)),
            },
            port: self.port,
            parameters: text(self.parameters),
            branch: self.branch.map(text),
            received: self.received.map(text),
            maddr: self.maddr.map(text),
            rport: self.rport,
            received_span: self.received_span,
            rport_name_end: self.rport_name_end as usize,
            rport_end: self.rport_end as usize,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn via(text: &str) -> Via<'_> {
        Via::parse(text.as_bytes()).unwrap_or_else(|fault| panic!("{text}: {fault:?}"))
    }

    #[test]
    fn rfc3261_20_42_all_parts() {
        let via = via("SIP/2.0/UDP erlang.bell-telephone.com:5060;branch=z9hG4bK87asdks7;maddr=192.0.2.9;ttl=1");
        assert_eq!(via.transport, b"UDP");
        assert_eq!(via.sent_by, b"erlang.bell-telephone.com:5060");
        assert_eq!(via.host, Host::Name(b"erlang.bell-telephone.com"));
        assert_eq!(via.port, Some(5060));
        assert_eq!(via.branch, Some(&b"z9hG4bK87asdks7"[..]));
        assert_eq!(via.maddr, Some(&b"192.0.2.9"[..]));
        assert_eq!(via.rport, Rport::Absent);
        assert_eq!(
            via.parameters,
            b"branch=z9hG4bK87asdks7;maddr=192.0.2.9;ttl=1"
        );
    }

    #[test]
    fn rfc3261_20_42_white_space_around_the_separators() {
        let via = via("SIP / 2.0 / UDP first.example.com: 4000;ttl=16 ;maddr=224.2.0.1 ;branch=z9hG4bKa7c6a8dlze.1");
        assert_eq!(
            (via.host, via.port),
            (Host::Name(b"first.example.com"), Some(4000))
        );
        assert_eq!(via.branch, Some(&b"z9hG4bKa7c6a8dlze.1"[..]));
    }

    #[test]
    fn rfc3581_3_rport_can_be_filled_in_and_replaced() {
        let asked = via("SIP/2.0/UDP 10.1.1.1:4540;rport;branch=z9hG4bKkjshdyff");
        assert_eq!(asked.rport, Rport::Requested);
        assert_eq!(
            &asked.raw[..asked.rport_end],
            b"SIP/2.0/UDP 10.1.1.1:4540;rport"
        );
        assert_eq!(asked.rport_name_end, asked.rport_end);
        let filled = via("SIP/2.0/UDP 10.1.1.1:4540;branch=z9hG4bKkjshdyff;rport = 9988 ;x");
        assert_eq!(filled.rport, Rport::Value(9988));
        assert!(filled.raw[..filled.rport_name_end].ends_with(b";rport"));
        assert!(filled.raw[..filled.rport_end].ends_with(b";rport = 9988"));
    }

    #[test]
    fn rfc3261_18_2_1_received_can_be_replaced() {
        let via = via("SIP/2.0/UDP a.example.com ;received=192.0.2.4;branch=z9hG4bKx");
        assert_eq!(via.received, Some(&b"192.0.2.4"[..]));
        assert_eq!(via.received_span.of(via.raw), b"received=192.0.2.4");
    }

    #[test]
    fn rfc3261_8_1_1_7_of_doubled_parameters_the_first_counts() {
        let via = via(
            "SIP/2.0/UDP a;branch=one;branch=two;rport=1;rport=2;received=1.1.1.1;received=2.2.2.2",
        );
        assert_eq!(via.branch, Some(&b"one"[..]));
        assert_eq!(via.rport, Rport::Value(1));
        assert_eq!(via.received, Some(&b"1.1.1.1"[..]));
    }

    #[test]
    fn rfc4475_3_1_2_16_another_version_in_a_via_is_a_token() {
        assert_eq!(
            via("SIP/7.0/UDP c.example.com;branch=z9hG4bKkdjuw").transport,
            b"UDP"
        );
    }

    #[test]
    fn what_is_no_via() {
        for bad in [
            "",
            "SIP/2.0/UDP",
            "SIP/2.0/UDP ",
            "SIP/2.0 UDP a.example.com",
            "SIP/2.0/ a.example.com",
            "SIP/2.0/UDPa.example.com",
            "1.1 proxy.example.com",
            "SIP/2.0/UDP a.example.com:",
            "SIP/2.0/UDP a.example.com:99999",
            "SIP/2.0/UDP a.example.com b",
            "SIP/2.0/UDP 2001:db8::1",
            "SIP/2.0/UDP a;branch",
            "SIP/2.0/UDP a;branch=",
            "SIP/2.0/UDP a;;branch=x",
            "SIP/2.0/UDP a;branch=x;",
            "SIP/2.0/UDP a;rport=x",
            "SIP/2.0/UDP a;rport=65536",
            "SIP/2.0/UDP a;rport=1x",
            "SIP/2.0/UDP a;received",
        ] {
            assert_eq!(Via::parse(bad.as_bytes()), Err(Fault::BadVia), "{bad}");
        }
    }

    #[test]
    fn the_sound_part_ends_before_the_first_fault() {
        for (broken, sound) in [
            ("SIP/2.0/UDP 192.0.2.15;;,;,,", "SIP/2.0/UDP 192.0.2.15"),
            ("SIP/2.0/UDP a;branch=x;rport=y;z", "SIP/2.0/UDP a;branch=x"),
            (
                "SIP/2.0/UDP a ; branch = x ; \"",
                "SIP/2.0/UDP a ; branch = x",
            ),
            ("SIP/2.0/UDP a b", "SIP/2.0/UDP a"),
        ] {
            assert_eq!(
                sound_part(broken.as_bytes()),
                Some(sound.as_bytes()),
                "{broken}"
            );
            assert!(Via::parse(sound.as_bytes()).is_ok());
        }
        assert_eq!(sound_part(b"SIP/2.0/UDP"), None);
        assert_eq!(sound_part(b"SIP/2.0/UDP <a>"), None);
    }

    #[test]
    fn offsets_give_back_what_they_were_made_from() {
        let bytes = b"Via: SIP/2.0/UDP [2001:db8::1]:5;branch=x;rport=7;received=::1;maddr=m";
        let via = Via::parse(&bytes[5..]).expect("it is well-formed");
        assert_eq!(ViaSpans::of(&via, bytes).view(bytes), via);
    }
}

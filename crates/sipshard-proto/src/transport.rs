//! Transport protocols: how they are named on the wire, and what they promise (RFC 3261 §18, RFC 7118 §5).

/// What carries a message.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Transport {
    /// Datagrams.
    Udp = 0,
    /// A stream.
    Tcp = 1,
    /// A stream below TLS.
    Tls = 2,
    /// WebSocket.
    Ws = 3,
    /// WebSocket below TLS.
    Wss = 4,
}

impl Transport {
    /// All of them.
    pub const ALL: [Transport; 5] = [Self::Udp, Self::Tcp, Self::Tls, Self::Ws, Self::Wss];

    /// As a Via names it.
    pub const fn token(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Ws => "WS",
            Self::Wss => "WSS",
        }
    }

    /// As a URI's `transport` parameter and the configuration name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }

    /// The transport of that name, in any case.
    pub fn from_token(token: &[u8]) -> Option<Self> {
        let is_named = |each: &Self| each.token().as_bytes().eq_ignore_ascii_case(token);
        Self::ALL.into_iter().find(is_named)
    }

    /// The transport with that number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// Whether what was sent arrives or an error tells that it did not, so that nothing is sent twice (RFC 3261 §17).
    pub const fn is_reliable(self) -> bool {
        !matches!(self, Self::Udp)
    }

    /// Whether nobody on the way can read along.
    pub const fn is_secure(self) -> bool {
        matches!(self, Self::Tls | Self::Wss)
    }

    /// Whether we can open a connection of this kind. A server cannot open a WebSocket: its clients are behind one
    /// (RFC 7118 §5).
    pub const fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }

    /// The port where a URI or Via names none (RFC 3261 §18.2.2, §19.1.2; RFC 7118 §5.2.1 keeps them for WebSocket).
    pub const fn default_port(self) -> u16 {
        if self.is_secure() {
            5061
        } else {
            5060
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_their_transport() {
        for (number, transport) in Transport::ALL.into_iter().enumerate() {
            assert_eq!(
                Transport::from_token(transport.token().as_bytes()),
                Some(transport)
            );
            assert_eq!(
                Transport::from_token(transport.name().as_bytes()),
                Some(transport)
            );
            assert_eq!(Transport::from_number(number as u8), Some(transport));
            assert_eq!(transport as usize, number);
        }
        assert_eq!(Transport::from_token(b"SCTP"), None);
        assert_eq!(Transport::from_number(5), None);
    }
}

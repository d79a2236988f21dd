//! TLS: identities, client certificates, and what is no TLS.

use crate::support::{
    accepted, connected, drive, drive_until_quiet, server_settings, Authority, Party, PLAIN,
};
use proptest::prelude::*;
use sipshard_net::connection::{Closed, SendError, Terms, WebSocketUse};
use sipshard_net::tls::{ClientAuth, PemIdentity, TlsServer, TlsServerSettings};
use sipshard_net::tls::{TlsClient, TlsClientSettings, TlsError, Verify};
use std::io::Write;
use std::sync::Arc;

pub fn terms(settings: &TlsServerSettings) -> Terms {
    Terms {
        tls: Some(Arc::new(TlsServer::new(settings).unwrap())),
        ..PLAIN
    }
}

/// Connects, lets the server say `welcome` once its handshake is over, and waits until the client
/// has read that or one of the two has closed.
fn shake(terms: &Terms, client: &TlsClient, name: &str) -> (Party, Party) {
    let (mut client, mut server) = connected(terms, Some((client, name)));
    drive(&mut [&mut client, &mut server], |parties| {
        parties.iter().any(|party| party.closed.is_some())
            || parties
                .iter()
                .all(|party| party.connection.is_established())
    });
    // The client of TLS 1.3 is done before the server has seen its certificate.
    drive_until_quiet(&mut [&mut client, &mut server]);
    if server.connection.is_established() && server.closed.is_none() {
        server.connection.send(b"welcome").unwrap();
        drive_until_quiet(&mut [&mut client, &mut server]);
    }
    (client, server)
}

#[test]
fn messages_of_every_size_come_through() {
    let authority = Authority::new();
    let terms = terms(&server_settings(vec![authority.identity(&["example.com"])]));
    let tls = authority.client(None);
    let (mut client, mut server) = connected(&terms, Some((&tls, "example.com")));
    client.connection.send(b"early").unwrap();
    assert!(client.connection.is_tls() && server.connection.is_tls());
    let mut total = 5;
    drive(&mut [&mut client, &mut server], |parties| {
        parties[1].bytes == b"early"
    });
    for length in [1, 16_384, 16_385, 60_000] {
        client.connection.send(&vec![b'x'; length]).unwrap();
        server.connection.send(&vec![b'y'; length]).unwrap();
        total += length;
        drive(&mut [&mut client, &mut server], |parties| {
            parties[1].bytes.len() == total && parties[0].bytes.len() == total - 5
        });
    }
    client.connection.close();
    drive(&mut [&mut server], |parties| parties[0].closed.is_some());
    assert_eq!(server.closed, Some(Closed::ByPeer));
}

#[test]
fn the_name_that_is_asked_for_picks_the_certificate() {
    let authority = Authority::new();
    let names = [
        &["first.example"][..],
        &["second.example", "Sip.Second.example"],
        &["*.third.example"],
        &["special.third.example"],
        &["127.0.0.1"],
    ];
    let identities = names.map(|names| authority.identity(names)).to_vec();
    let terms = terms(&server_settings(identities));
    let nobody = TlsClient::new(&TlsClientSettings {
        roots_pem: Vec::new(),
        identity: None,
        verify: Verify::Nobody,
    })
    .unwrap();
    for (asked, shown) in [
        ("first.example", &["first.example"][..]),
        ("second.example", names[1]),
        ("sip.second.example", names[1]),
        ("sbc.third.example", names[2]),
        ("special.third.example", names[3]),
    ] {
        let (client, _) = shake(&terms, &authority.client(None), asked);
        assert_eq!(client.connection.peer_names(), shown, "{asked}");
        let (client, _) = shake(&terms, &nobody, asked);
        assert_eq!(client.bytes, b"welcome");
        assert!(client.connection.peer_names().is_empty(), "not verified");
    }
    for asked in [
        "unknown.example",
        "third.example",
        "a.b.third.example",
        "127.0.0.2",
    ] {
        let (client, server) = shake(&terms, &authority.client(None), asked);
        assert_eq!(client.closed, Some(Closed::Tls), "{asked}: shown the first");
        assert_eq!(server.closed, Some(Closed::Tls));
        assert!(client
            .connection
            .tls_error()
            .unwrap()
            .contains("certificate"));
        let (client, _) = shake(&terms, &nobody, asked);
        assert_eq!(client.bytes, b"welcome");
    }
}

#[test]
fn a_server_may_be_named_by_address_or_by_sip_uri() {
    let authority = Authority::new();
    let of_address = authority.identity(&["127.0.0.1"]);
    let address_terms = terms(&server_settings(vec![of_address]));
    let (client, _) = shake(&address_terms, &authority.client(None), "127.0.0.1");
    assert_eq!(client.bytes, b"welcome");

    // RFC 5922 §7.1: a SIP URI names the domain, unless it names a user.
    let of_uri = authority.identity(&["sip:Example.com", "sip:bob@example.net"]);
    let uri_terms = terms(&server_settings(vec![of_uri]));
    let (client, _) = shake(&uri_terms, &authority.client(None), "example.com");
    let names = client.connection.peer_names();
    assert_eq!(names, ["sip:Example.com", "sip:bob@example.net"]);
    let (client, _) = shake(&uri_terms, &authority.client(None), "example.net");
    assert_eq!(client.closed, Some(Closed::Tls));
}

#[test]
fn a_server_of_an_unknown_authority_is_not_trusted() {
    let settings = server_settings(vec![Authority::new().identity(&["example.com"])]);
    let (client, _) = shake(
        &terms(&settings),
        &Authority::new().client(None),
        "example.com",
    );
    assert_eq!(client.closed, Some(Closed::Tls));
    assert_eq!(
        client.closed.map(|_| client.bytes.len()),
        Some(0),
        "nothing was read"
    );
}

#[test]
fn client_certificates_are_asked_for_and_verified_as_the_settings_say() {
    let (ours, foreign) = (Authority::new(), Authority::new());
    let of_trunk = ours.identity(&["trunk.example", "sip:trunk.example"]);
    let of_stranger = foreign.identity(&["trunk.example"]);
    let settings = |client_auth| TlsServerSettings {
        client_auth,
        client_ca_pem: Some(ours.pem.clone()),
        ..server_settings(vec![ours.identity(&["example.com"])])
    };
    let (none, trunk) = (None, Some(of_trunk));
    let stranger = Some(of_stranger);
    for (client_auth, identity, is_accepted, names) in [
        (ClientAuth::Off, &trunk, true, &[][..]),
        (ClientAuth::Optional, &none, true, &[]),
        (
            ClientAuth::Optional,
            &trunk,
            true,
            &["trunk.example", "sip:trunk.example"],
        ),
        (ClientAuth::Optional, &stranger, false, &[]),
        (ClientAuth::Required, &none, false, &[]),
        (
            ClientAuth::Required,
            &trunk,
            true,
            &["trunk.example", "sip:trunk.example"],
        ),
        (ClientAuth::Required, &stranger, false, &[]),
    ] {
        let tls = ours.client(identity.clone());
        let (client, server) = shake(&terms(&settings(client_auth)), &tls, "example.com");
        let what = format!("{client_auth:?} {names:?}");
        assert_eq!(client.bytes == b"welcome", is_accepted, "{what}");
        assert_eq!(
            server.closed,
            (!is_accepted).then_some(Closed::Tls),
            "{what}"
        );
        assert_eq!(server.connection.peer_names(), names, "{what}");
    }
}

#[test]
fn our_client_resumes_its_own_sessions() {
    let authority = Authority::new();
    let terms = terms(&server_settings(vec![authority.identity(&["example.com"])]));
    let tls = authority.client(None);
    let resumed = [0, 1].map(|_| {
        let (client, server) = shake(&terms, &tls, "example.com");
        let resumed = client.connection.is_tls_resumed();
        assert_eq!(server.connection.is_tls_resumed(), resumed);
        assert_eq!(client.connection.peer_names(), ["example.com"]);
        resumed
    });
    assert_eq!(resumed, [false, true]);
}

#[test]
fn what_is_no_tls_is_answered_and_closed() {
    let authority = Authority::new();
    let terms = terms(&server_settings(vec![authority.identity(&["example.com"])]));
    for garbage in [
        &b"REGISTER sip:example.com SIP/2.0\r\n\r\n"[..],
        b"\x16\x03\x01\xFF\xFF",
        b"\x16\x03\x01\x00\x05garba",
        b"\x15\x03\x01\x00\x02\x02\x28",
    ] {
        let (mut peer, mut server) = accepted(&terms);
        peer.write_all(garbage).unwrap();
        drive(&mut [&mut server], |parties| parties[0].closed.is_some());
        assert_eq!(server.closed, Some(Closed::Tls), "{garbage:x?}");
        assert!(server.connection.tls_error().is_some());
        assert!(!server.connection.is_established());
        let refused = server.connection.send(b"x");
        assert_eq!(refused, Err(SendError::Closed(Closed::Tls)));
    }
    let (mut peer, mut server) = accepted(&terms);
    peer.write_all(b"\x16\x03\x01\x02").unwrap();
    drive_until_quiet(&mut [&mut server]);
    assert!(server.closed.is_none(), "half a hello may still be one");
    assert!(!server.connection.is_established());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_are_survived(
        begin in 0usize..9,
        bytes in proptest::collection::vec(any::<u8>(), 0..20_000),
        cut in 1usize..10_000,
    ) {
        // The head of a record, and that of a client's hello in it.
        let hello = &b"\x16\x03\x01\x40\x00\x01\x00\x3F\xFC"[..begin];
        let authority = Authority::new();
        let terms = terms(&server_settings(vec![authority.identity(&["example.com"])]));
        let (mut peer, mut server) = accepted(&terms);
        for piece in [hello, &bytes].concat().chunks(cut) {
            let _ = peer.write_all(piece);
            drive_until_quiet(&mut [&mut server]);
        }
        prop_assert!(!server.connection.is_established());
        prop_assert_eq!(server.bytes.len(), 0);
    }
}

#[test]
fn web_sockets_are_recognised_behind_tls_and_streams_beside_them() {
    let authority = Authority::new();
    let terms = Terms {
        websocket: WebSocketUse::Sniff,
        ..terms(&server_settings(vec![authority.identity(&["example.com"])]))
    };
    let tls = authority.client(None);
    let (mut client, mut server) = connected(&terms, Some((&tls, "example.com")));
    client.connection.send(b"GOOD DAY").unwrap();
    drive(&mut [&mut client, &mut server], |parties| {
        parties[1].bytes == b"GOOD DAY"
    });
    let (mut client, mut server) = connected(&terms, Some((&tls, "example.com")));
    let request = b"GET / HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Protocol: sip\r\nSec-WebSocket-Version: 13\r\n\r\n";
    client.connection.send(request).unwrap();
    drive(&mut [&mut client, &mut server], |parties| {
        parties[0].bytes.starts_with(b"HTTP/1.1 101 ")
    });
    assert!(server.connection.is_websocket() && server.connection.is_tls());
}

#[test]
fn a_slow_reader_of_tls_fills_the_queue() {
    let authority = Authority::new();
    let terms = terms(&server_settings(vec![authority.identity(&["example.com"])]));
    let (mut client, mut server) = shake(&terms, &authority.client(None), "example.com");
    let mut sent = 0;
    while server.connection.send(&[b'x'; 20_000]).is_ok() {
        sent += 20_000;
        assert!(sent < 100_000_000, "never refused");
    }
    assert_eq!(
        server.connection.send(&[b'x'; 20_000]),
        Err(SendError::QueueFull)
    );
    drive(&mut [&mut client, &mut server], |parties| {
        parties[0].bytes.len() == sent + b"welcome".len()
    });
    assert!(!server.connection.has_queued());
}

#[test]
fn settings_that_cannot_work_say_which_and_why() {
    let authority = Authority::new();
    let good = authority.identity(&["example.com"]);
    let error = |identities| TlsServer::new(&server_settings(identities)).unwrap_err();
    assert_eq!(error(vec![]), TlsError::NoIdentity);
    let other_key = PemIdentity {
        private_key: authority.identity(&["example.com"]).private_key,
        ..good.clone()
    };
    let empty = |is_key: bool| match is_key {
        true => PemIdentity {
            private_key: b"nothing".to_vec(),
            ..good.clone()
        },
        false => PemIdentity {
            certificates: b"nothing".to_vec(),
            ..good.clone()
        },
    };
    for (bad, why) in [
        (other_key, "key"),
        (empty(true), "private key"),
        (empty(false), "no certificate"),
    ] {
        let error = error(vec![good.clone(), bad]);
        assert!(matches!(&error, TlsError::Identity(1, _)), "{error}");
        assert!(
            error.to_string().to_ascii_lowercase().contains(why),
            "{error}"
        );
    }
    let without_authority = TlsServerSettings {
        client_auth: ClientAuth::Required,
        ..server_settings(vec![good.clone()])
    };
    let error = TlsServer::new(&without_authority).unwrap_err();
    assert!(matches!(error, TlsError::Authorities(_)));
    let client = TlsClient::new(&TlsClientSettings {
        roots_pem: Vec::new(),
        identity: None,
        verify: Verify::Peer,
    });
    assert!(matches!(client.unwrap_err(), TlsError::Authorities(_)));
    assert!(!format!("{good:?}").contains("PRIVATE"));
}

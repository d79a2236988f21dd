//! TLS sessions: which are resumed, which versions and protocols are spoken.

use crate::support::{accepted, drive, server_settings, Authority, PLAIN};
use crate::tls::terms;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, RootCertStore};
use sipshard_net::connection::Terms;
use sipshard_net::tls::{ClientAuth, MinVersion, TlsServer, TlsServerSettings};
use std::io::Read;
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

/// A client of rustls itself, so that a version can be chosen. What it remembers is in the
/// configuration.
fn rustls_client(authority: &Authority, version: ProtocolVersion) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(&authority.pem).unwrap();
    roots.add(root).unwrap();
    let versions = match version {
        ProtocolVersion::TLSv1_2 => &[&rustls::version::TLS12],
        _ => &[&rustls::version::TLS13],
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

/// One connection of that client: `None` when no handshake came about.
fn kind_of_handshake(terms: &Terms, config: &Arc<ClientConfig>) -> Option<HandshakeKind> {
    let (socket, mut server) = accepted(terms);
    let config = config.clone();
    let client = std::thread::spawn(move || handshake(socket, config));
    drive(&mut [&mut server], |parties| {
        let party = &parties[0].connection;
        let is_over = client.is_finished() || parties[0].closed.is_some();
        is_over || party.is_established()
    });
    if server.connection.is_established() {
        server.connection.send(b"welcome").unwrap();
    }
    drive(&mut [&mut server], |parties| parties[0].closed.is_some());
    let kind = client.join().unwrap();
    let is_resumed = kind == Some(HandshakeKind::Resumed);
    assert_eq!(server.connection.is_tls_resumed(), is_resumed);
    kind
}

fn handshake(mut socket: TcpStream, config: Arc<ClientConfig>) -> Option<HandshakeKind> {
    let name = ServerName::try_from("example.com").unwrap();
    let mut tls = ClientConnection::new(config, name).unwrap();
    let mut greeting = [0; 7];
    let mut stream = rustls::Stream::new(&mut tls, &mut socket);
    stream.read_exact(&mut greeting).ok()?;
    tls.handshake_kind()
}

const BOTH: [ProtocolVersion; 2] = [ProtocolVersion::TLSv1_2, ProtocolVersion::TLSv1_3];

#[test]
fn a_session_resumes_at_every_worker_with_the_secret_and_at_no_other() {
    let authority = Authority::new();
    let first = server_settings(vec![authority.identity(&["example.com"])]);
    let same = server_settings(vec![authority.identity(&["example.com"])]);
    let other = TlsServerSettings {
        ticket_secret: [8; 16],
        ..first.clone()
    };
    for version in BOTH {
        for (next, expected) in [
            (&first, HandshakeKind::Resumed),
            (&same, HandshakeKind::Resumed),
            (&other, HandshakeKind::Full),
        ] {
            let config = rustls_client(&authority, version);
            let full = kind_of_handshake(&terms(&first), &config);
            assert_eq!(full, Some(HandshakeKind::Full));
            let kind = kind_of_handshake(&terms(next), &config);
            assert_eq!(kind, Some(expected), "{version:?}");
        }
    }
}

#[test]
fn a_session_without_client_certificate_does_not_resume_where_one_is_required() {
    let authority = Authority::new();
    let settings = |client_auth, authority: &Authority| TlsServerSettings {
        client_auth,
        client_ca_pem: Some(authority.pem.clone()),
        ..server_settings(vec![authority.identity(&["example.com"])])
    };
    let strict = terms(&settings(ClientAuth::Required, &authority));
    for asked in [ClientAuth::Off, ClientAuth::Optional] {
        for version in BOTH {
            let config = rustls_client(&authority, version);
            let first = kind_of_handshake(&terms(&settings(asked, &authority)), &config);
            assert_eq!(first, Some(HandshakeKind::Full));
            assert_eq!(kind_of_handshake(&strict, &config), None, "{asked:?}");
        }
    }
}

#[test]
fn a_session_does_not_resume_where_other_authorities_are_trusted() {
    let (ours, foreign) = (Authority::new(), Authority::new());
    let settings = |trusted: &Authority| TlsServerSettings {
        client_auth: ClientAuth::Optional,
        client_ca_pem: Some(trusted.pem.clone()),
        ..server_settings(vec![ours.identity(&["example.com"])])
    };
    for version in BOTH {
        let config = rustls_client(&ours, version);
        kind_of_handshake(&terms(&settings(&ours)), &config);
        let kind = kind_of_handshake(&terms(&settings(&foreign)), &config);
        assert_eq!(kind, Some(HandshakeKind::Full), "{version:?}");
    }
}

#[test]
fn a_ticket_outlives_one_change_of_keys_and_not_two() {
    let authority = Authority::new();
    let settings = server_settings(vec![authority.identity(&["example.com"])]);
    let now = Arc::new(AtomicU64::new(1_800_000_000));
    let clock = now.clone();
    let clock = Arc::new(move || clock.load(Ordering::Relaxed));
    let server = TlsServer::with_clock(&settings, clock).unwrap();
    let terms = Terms {
        tls: Some(Arc::new(server)),
        ..PLAIN
    };
    for (hours, expected) in [(12, HandshakeKind::Resumed), (24, HandshakeKind::Full)] {
        for version in BOTH {
            let config = rustls_client(&authority, version);
            kind_of_handshake(&terms, &config);
            now.fetch_add(hours * 3600, Ordering::Relaxed);
            let kind = kind_of_handshake(&terms, &config);
            assert_eq!(kind, Some(expected), "{version:?} after {hours} h");
        }
    }
}

#[test]
fn the_oldest_version_and_the_protocols_are_as_documented() {
    let authority = Authority::new();
    let settings = TlsServerSettings {
        min_version: MinVersion::Tls13,
        ..server_settings(vec![authority.identity(&["example.com"])])
    };
    let of = |version| kind_of_handshake(&terms(&settings), &rustls_client(&authority, version));
    assert_eq!(of(ProtocolVersion::TLSv1_2), None);
    assert_eq!(of(ProtocolVersion::TLSv1_3), Some(HandshakeKind::Full));

    for (protocol, is_spoken) in [("sip/2", true), ("http/1.1", true), ("h2", false)] {
        let mut config = rustls_client(&authority, ProtocolVersion::TLSv1_3);
        let alpn = vec![protocol.as_bytes().to_vec()];
        Arc::get_mut(&mut config).unwrap().alpn_protocols = alpn;
        let kind = kind_of_handshake(&terms(&settings), &config);
        assert_eq!(kind.is_some(), is_spoken, "{protocol}");
    }
}

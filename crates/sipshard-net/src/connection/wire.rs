//! The lower half of a connection: the socket, and TLS on it.

use super::outbound::Outbound;
use super::Closed;
use crate::tls::subject_alternative_names;
use rustls::HandshakeKind;
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};

/// How much plaintext rustls encrypts before the result goes into the queue: four full records
/// would be its default, one is enough.
const TLS_BUFFER_BYTES: usize = 16 * 1024;

/// What peers may make us queue by what they send (pongs, alerts, handshakes) is bounded by this or
/// by the limit of the connection, whichever is more.
const MIN_REPLY_BYTES: usize = 64 * 1024;

/// A TLS session, and what came of it.
struct Session {
    tls: rustls::Connection,
    is_peer_verified: bool,
    error: Option<rustls::Error>,
}

/// A socket that is read and written in plaintext.
pub(super) struct Wire {
    outbound: Outbound,
    session: Option<Box<Session>>,
    max_queued_bytes: usize,
}

impl Wire {
    pub(super) fn new(socket: TcpStream, max_queued_bytes: usize) -> Wire {
        Wire {
            outbound: Outbound::new(socket),
            session: None,
            max_queued_bytes,
        }
    }

    /// Encrypts by `tls` from now on. `is_peer_verified` says that a certificate of the peer, if
    /// there is one, will have been verified.
    pub(super) fn encrypt(&mut self, mut tls: rustls::Connection, is_peer_verified: bool) {
        tls.set_buffer_limit(Some(TLS_BUFFER_BYTES));
        self.session = Some(Box::new(Session {
            tls,
            is_peer_verified,
            error: None,
        }));
    }

    pub(super) fn socket(&self) -> &TcpStream {
        self.outbound.socket()
    }

    pub(super) fn queued_bytes(&self) -> usize {
        self.outbound.queued_bytes()
    }

    pub(super) fn send_queued(&mut self) -> Result<(), Closed> {
        self.outbound.send_queued()
    }

    pub(super) fn is_tls(&self) -> bool {
        self.session.is_some()
    }

    pub(super) fn is_handshaking(&self) -> bool {
        let session = self.session.as_ref();
        session.is_some_and(|session| session.tls.is_handshaking())
    }

    pub(super) fn is_resumed(&self) -> bool {
        let session = self.session.as_ref();
        let kind = session.and_then(|session| session.tls.handshake_kind());
        kind == Some(HandshakeKind::Resumed)
    }

    pub(super) fn tls_error(&self) -> Option<&rustls::Error> {
        self.session.as_ref()?.error.as_ref()
    }

    /// The names in the peer's certificate, if it was verified.
    pub(super) fn peer_names(&self) -> Vec<String> {
        let session = self.session.as_ref();
        let certificate = session
            .filter(|session| session.is_peer_verified && !session.tls.is_handshaking())
            .and_then(|session| session.tls.peer_certificates()?.first());
        certificate.map_or_else(Vec::new, subject_alternative_names)
    }

    /// Sends what the TLS handshake has to say, as the client's first flight.
    pub(super) fn send_handshake(&mut self) -> Result<(), Closed> {
        match &mut self.session {
            Some(session) => session.flush(&mut self.outbound)?,
            None => return Ok(()),
        }
        self.send_queued()
    }

    /// Reads from the socket into `buffer`: 0 bytes when there are none.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> Result<usize, Closed> {
        loop {
            match self.socket().read(buffer) {
                Ok(0) => return Err(Closed::ByPeer),
                Ok(length) => return Ok(length),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Takes encrypted bytes, at most a few kB of them, from the front of `bytes`. Call
    /// [`decrypted`](Wire::decrypted) in between until it has no more.
    pub(super) fn decrypt(&mut self, bytes: &mut &[u8]) -> Result<(), Closed> {
        let Some(session) = &mut self.session else {
            return Ok(());
        };
        // An error here is a handshake message that would not fit into any buffer.
        session.tls.read_tls(bytes).map_err(|_| Closed::Tls)?;
        let processed = session.tls.process_new_packets();
        // Whether it went well or not, rustls may have something to say to the peer.
        if session.tls.wants_write() {
            session.flush(&mut self.outbound)?;
            self.outbound.send_queued()?;
        }
        if let Err(error) = processed {
            session.error = Some(error);
            return Err(Closed::Tls);
        }
        self.check_replies()
    }

    /// Moves decrypted bytes into `buffer`: 0 when there are none.
    pub(super) fn decrypted(&mut self, buffer: &mut [u8]) -> Result<usize, Closed> {
        let Some(session) = &mut self.session else {
            return Ok(0);
        };
        match session.tls.reader().read(buffer) {
            // `close_notify`: RFC 8446 §6.1.
            Ok(0) => Err(Closed::ByPeer),
            Ok(length) => Ok(length),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(_) => Err(Closed::Tls),
        }
    }

    /// Queues all of `parts`, encrypted if need be. Not bounded: see [`has_room`](Wire::has_room).
    pub(super) fn write(&mut self, mut parts: &mut [IoSlice<'_>]) -> Result<(), Closed> {
        let Some(session) = &mut self.session else {
            self.outbound.queue(parts);
            return Ok(());
        };
        IoSlice::advance_slices(&mut parts, 0);
        while !parts.is_empty() {
            let taken = session.tls.writer().write_vectored(parts)?;
            session.flush(&mut self.outbound)?;
            IoSlice::advance_slices(&mut parts, taken);
        }
        Ok(())
    }

    /// Sends what a layer answers by itself to what the peer has sent.
    pub(super) fn reply(&mut self, parts: &mut [IoSlice<'_>]) -> Result<(), Closed> {
        self.write(parts)?;
        self.send_queued()?;
        self.check_replies()
    }

    /// Whether `bytes` more may wait; if not, then after what the kernel takes now.
    pub(super) fn has_room(&mut self, bytes: usize) -> Result<bool, Closed> {
        if self.queued_bytes() + bytes > self.max_queued_bytes {
            self.send_queued()?;
        }
        Ok(self.queued_bytes() + bytes <= self.max_queued_bytes)
    }

    /// Says farewell, as far as the peer takes it.
    pub(super) fn close(&mut self) {
        if let Some(session) = &mut self.session {
            session.tls.send_close_notify();
            let _ = session.flush(&mut self.outbound);
        }
        let _ = self.send_queued();
        let _ = self.socket().shutdown(Shutdown::Write);
    }

    fn check_replies(&self) -> Result<(), Closed> {
        match self.queued_bytes() <= self.max_queued_bytes.max(MIN_REPLY_BYTES) {
            true => Ok(()),
            false => Err(Closed::QueueFull),
        }
    }
}

impl Session {
    /// Moves what is encrypted to the queue, which takes all of it.
    fn flush(&mut self, outbound: &mut Outbound) -> io::Result<()> {
        while self.tls.wants_write() {
            self.tls.write_tls(outbound)?;
        }
        Ok(())
    }
}

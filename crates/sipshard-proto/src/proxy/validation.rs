//! Request validation (RFC 3261 §16.3) beyond what the parser has checked.
//!
//! Max-Forwards is checked where a request is forwarded: one that ends here may arrive with 0.

use super::loop_detection::is_looping;
use super::own_response::OwnResponse;
use super::{Admission, Arrival, Proxy};
use crate::count::Count;
use crate::header::HeaderName;
use crate::message::Message;
use crate::uri::{Scheme, Uri};

/// Why a request is refused before it becomes a transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The Request-URI does not parse.
    BadRequestUri,
    /// The Request-URI has a scheme that we do not route (§16.3 step 2).
    UnsupportedScheme,
    /// The request was here before, and came back as it was (§16.3 step 4).
    Looping,
    /// Proxy-Require names extensions that we do not have (§16.3 step 5).
    BadExtension(String),
    /// Messages wait too long, and this one belongs to the share that is refused.
    Overloaded {
        /// For Retry-After.
        retry_after_s: u64,
    },
    /// The worker is stopping.
    Stopping {
        /// For Retry-After.
        retry_after_s: u32,
    },
    /// The transaction table is full.
    TransactionsFull,
}

impl Refusal {
    /// Hands the response that the refusal means to `send`.
    pub fn answer<Sent>(&self, send: impl FnOnce(OwnResponse<'_>) -> Sent) -> Sent {
        match self {
            Self::BadRequestUri => send(OwnResponse {
                reason: Some(b"Bad Request-URI"),
                ..OwnResponse::of(400)
            }),
            Self::UnsupportedScheme => send(OwnResponse::of(416)),
            Self::Looping => send(OwnResponse::of(482)),
            Self::BadExtension(tags) => send(OwnResponse {
                headers: &[(b"Unsupported", tags.as_bytes())],
                ..OwnResponse::of(420)
            }),
            Self::Stopping { retry_after_s } => send(OwnResponse {
                headers: &[(b"Retry-After", retry_after_s.to_string().as_bytes())],
                ..OwnResponse::of(503)
            }),
            Self::Overloaded { retry_after_s } => send(OwnResponse {
                headers: &[(b"Retry-After", retry_after_s.to_string().as_bytes())],
                ..OwnResponse::of(503)
            }),
            Self::TransactionsFull => send(OwnResponse {
                headers: &[(b"Retry-After", b"5")],
                ..OwnResponse::of(503)
            }),
        }
    }
}

impl Proxy {
    /// Checks a request that belongs to no transaction. `is_in_dialog`: its route set proved to be ours; such requests
    /// are shed last.
    pub(super) fn validate(
        &mut self,
        request: &Message<'_>,
        arrival: Arrival,
        is_in_dialog: bool,
    ) -> Result<(), Refusal> {
        check_uri(request)?;
        if is_looping(&self.settings, request, arrival) {
            self.counts.add(Count::LoopsDetected);
            return Err(Refusal::Looping);
        }
        check_proxy_require(request)?;
        if !is_in_dialog {
            self.check_overload(request)?;
        }
        self.check_admission(is_in_dialog)
    }

    fn check_admission(&mut self, is_in_dialog: bool) -> Result<(), Refusal> {
        if let (Admission::Stopping { retry_after_s }, false) = (self.admission, is_in_dialog) {
            self.counts.add(Count::RefusedStopping);
            return Err(Refusal::Stopping { retry_after_s });
        }
        // An eighth of the table is kept for requests inside dialogs: a call that cannot be hung up is worse than one
        // that cannot be placed.
        let max = self.settings.max_transactions;
        let limit = if is_in_dialog { max } else { max - max / 8 };
        if self.transactions.len() >= limit {
            self.counts.add(Count::RefusedTransactionsFull);
            return Err(Refusal::TransactionsFull);
        }
        Ok(())
    }
}

fn check_uri(request: &Message<'_>) -> Result<(), Refusal> {
    let uri = Uri::parse(request.request_uri()).map_err(|_| Refusal::BadRequestUri)?;
    match uri.scheme {
        // A service has no address: whoever offers it is for the policy to find (RFC 5031), like who has a number.
        Scheme::Other if !is_service(request.request_uri()) => Err(Refusal::UnsupportedScheme),
        _ => Ok(()),
    }
}

fn is_service(uri: &[u8]) -> bool {
    const SERVICE: &[u8] = b"urn:service:";
    uri.get(..SERVICE.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(SERVICE))
}

fn check_proxy_require(request: &Message<'_>) -> Result<(), Refusal> {
    if request.value(HeaderName::ProxyRequire).is_none() {
        return Ok(());
    }
    let tags: Vec<_> = request
        .list(HeaderName::ProxyRequire)
        .map(String::from_utf8_lossy)
        .collect();
    if tags.is_empty() {
        return Ok(());
    }
    Err(Refusal::BadExtension(tags.join(", ")))
}

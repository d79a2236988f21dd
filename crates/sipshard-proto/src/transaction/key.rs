//! Which server transaction a request belongs to (RFC 3261 §17.2.3).

use crate::message::Message;
use crate::method::Method;
use crate::secret::{Purpose, Secret};
use smallvec::SmallVec;

/// The identity of a server transaction: a keyed hash of what §17.2.3 compares.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TransactionKey(u128);

/// Starts every branch of RFC 3261 (§8.1.1.7).
pub const MAGIC_COOKIE: &[u8] = b"z9hG4bK";

impl TransactionKey {
    /// The key of the transaction that `request` makes or belongs to; an ACK belongs to its INVITE's.
    pub fn of(secret: &Secret, request: &Message<'_>) -> Self {
        match request.method() {
            Method::Ack => Self::with_method(secret, request, b"INVITE"),
            _ => Self::with_method(secret, request, request.method_token()),
        }
    }

    /// The key of the INVITE that a CANCEL is about (§9.2).
    pub fn of_cancelled(secret: &Secret, cancel: &Message<'_>) -> Self {
        Self::with_method(secret, cancel, b"INVITE")
    }

    fn with_method(secret: &Secret, request: &Message<'_>, method: &[u8]) -> Self {
        let via = request.via();
        let sent_by = lower_case(via.sent_by);
        match via.branch {
            Some(branch) if branch.len() > MAGIC_COOKIE.len() && has_cookie(branch) => {
                Self(secret.key(
                    Purpose::TransactionKey,
                    // Branches are compared without regard to case (§7.3.1).
                    &[&lower_case(branch), &sent_by, method],
                ))
            }
            // No cookie: the rules of RFC 2543. The To tag of the ACK to a failure is one that we chose, so it is left
            // out on both sides; the other fields tell the transactions apart.
            _ => Self(secret.key(
                Purpose::TransactionKey,
                &[
                    request.request_uri(),
                    request.from_tag().unwrap_or_default(),
                    request.call_id(),
                    &request.cseq().to_be_bytes(),
                    via.raw,
                    method,
                ],
            )),
        }
    }
}

/// A copy in lower case; on the stack when it is as short as branches and hosts usually are.
fn lower_case(text: &[u8]) -> SmallVec<[u8; 96]> {
    let mut lower = SmallVec::from_slice(text);
    lower.make_ascii_lowercase();
    lower
}

fn has_cookie(branch: &[u8]) -> bool {
    branch[..MAGIC_COOKIE.len()].eq_ignore_ascii_case(MAGIC_COOKIE)
}

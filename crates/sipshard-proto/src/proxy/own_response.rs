//! Responses that we make ourselves (RFC 3261 §8.2.6).

use super::arrival::Arrival;
use super::decision::DecisionError;
use super::request_copy::write_stamped_via;
use super::settings::write_decimal;
use crate::header::HeaderName;
use crate::message::Message;
use crate::secret::{Purpose, Secret};
use crate::status::reason_phrase;
use crate::transaction::branch::write_hex;

/// What a response of ours says.
#[derive(Clone, Copy)]
pub struct OwnResponse<'a> {
    /// Status code.
    pub status: u16,
    /// Reason phrase; the usual one when `None`.
    pub reason: Option<&'a [u8]>,
    /// Header fields beside those that a response must copy.
    pub headers: &'a [(&'a [u8], &'a [u8])],
    /// Body, as its headers describe it.
    pub body: &'a [u8],
}

impl OwnResponse<'_> {
    /// A bare status.
    pub const fn of(status: u16) -> Self {
        Self {
            status,
            reason: None,
            headers: &[],
            body: &[],
        }
    }

    /// Whether it can be put on the wire: a line break in a header or reason would let its author write a message of
    /// his own.
    ///
    /// # Errors
    /// [`DecisionError::BadStatus`], [`DecisionError::BadHeader`] with the header's index,
    /// [`DecisionError::OwnHeader`] for a field that [`OwnResponse::write`] writes itself.
    pub fn check(&self) -> Result<(), DecisionError> {
        if !(101..700).contains(&self.status) {
            return Err(DecisionError::BadStatus(self.status));
        }
        if self.reason.is_some_and(|reason| !is_one_line(reason)) {
            return Err(DecisionError::BadReason);
        }
        for (name, _) in self.headers {
            check_response_name(name)?;
        }
        let is_good = |(name, value): &(&[u8], &[u8])| is_token(name) && is_one_line(value);
        match self.headers.iter().position(|header| !is_good(header)) {
            Some(index) => Err(DecisionError::BadHeader(index)),
            None => Ok(()),
        }
    }

    /// Appends the response to `request`. The To tag is derived from the request, so that a request that comes twice
    /// gets the same answer without being remembered (§8.2.7).
    pub fn write(
        &self,
        secret: &Secret,
        request: &Message<'_>,
        arrival: Arrival,
        out: &mut Vec<u8>,
    ) {
        out.extend_from_slice(b"SIP/2.0 ");
        write_decimal(out, u32::from(self.status));
        out.push(b' ');
        let usual = || reason_phrase(self.status).as_bytes();
        out.extend_from_slice(self.reason.unwrap_or_else(usual));
        out.extend_from_slice(b"\r\n");
        self.write_copied_fields(secret, request, arrival, out);
        for (name, value) in self.headers {
            write_field(name, value, out);
        }
        out.extend_from_slice(b"Content-Length: ");
        write_decimal(out, self.body.len() as u32);
        out.extend_from_slice(b"\r\n\r\n");
        out.extend_from_slice(self.body);
    }

    fn write_copied_fields(
        &self,
        secret: &Secret,
        request: &Message<'_>,
        arrival: Arrival,
        out: &mut Vec<u8>,
    ) {
        let mut is_topmost_via = true;
        for field in request.headers() {
            let value = request.text(field.value);
            match field.name {
                HeaderName::Via if is_topmost_via => {
                    is_topmost_via = false;
                    write_stamped_via(arrival, &request.via(), value, out);
                }
                HeaderName::To => {
                    out.extend_from_slice(b"To: ");
                    out.extend_from_slice(value);
                    if self.status > 100 && request.to_tag().is_none() {
                        out.extend_from_slice(b";tag=");
                        let parts = [request.via().raw, request.call_id()];
                        write_hex(out, secret.proof(Purpose::ToTag, &parts), 16);
                    }
                    out.extend_from_slice(b"\r\n");
                }
                HeaderName::Via | HeaderName::From | HeaderName::CallId | HeaderName::CSeq => {
                    out.extend_from_slice(request.text(field.whole));
                }
                HeaderName::Timestamp if self.status == 100 => {
                    out.extend_from_slice(request.text(field.whole));
                }
                // RFC 3261 §12.1.1: a response that makes a dialog repeats the Record-Route.
                HeaderName::RecordRoute if (101..300).contains(&self.status) => {
                    out.extend_from_slice(request.text(field.whole));
                }
                _ => {}
            }
        }
    }
}

/// Whether a policy may put a field of this name into a response of its own.
///
/// # Errors
/// [`DecisionError::OwnHeader`]: two Call-IDs or lengths would make two messages of one.
pub fn check_response_name(name: &[u8]) -> Result<(), DecisionError> {
    match HeaderName::from_token(name) {
        header @ (HeaderName::Via
        | HeaderName::From
        | HeaderName::To
        | HeaderName::CallId
        | HeaderName::CSeq
        | HeaderName::RecordRoute
        | HeaderName::ContentLength) => Err(DecisionError::OwnHeader(header.as_str())),
        _ => Ok(()),
    }
}

pub(super) fn is_one_line(text: &[u8]) -> bool {
    !text.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0))
}

/// RFC 3261 §25.1, token.
pub(super) fn is_token(text: &[u8]) -> bool {
    let is_token_byte = |byte: &u8| byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(byte);
    !text.is_empty() && text.iter().all(is_token_byte)
}

pub(super) fn write_field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Appends a response as it goes upstream: without the topmost Via, which was ours (§16.7 step 3).
pub fn write_without_own_via(response: &Message<'_>, out: &mut Vec<u8>) {
    let bytes = response.bytes();
    let own = response
        .headers()
        .iter()
        .find(|field| field.name == HeaderName::Via);
    let Some(own) = own else {
        out.extend_from_slice(bytes);
        return;
    };
    out.extend_from_slice(&bytes[..own.whole.start as usize]);
    let value = response.text(own.value);
    let others = value[response.via().raw.len().min(value.len())..].trim_ascii_start();
    if let Some(others) = others.strip_prefix(b",") {
        write_field(b"Via", others.trim_ascii_start(), out);
    }
    out.extend_from_slice(&bytes[own.whole.end as usize..]);
}

/// Appends a request that goes where an INVITE of ours went, hop by hop: its CANCEL (§9.1) or the ACK to its failure
/// (§17.1.1.3). `to` is the To value that it carries.
pub fn write_sibling(invite: &Message<'_>, method: &[u8], to: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(method);
    out.push(b' ');
    out.extend_from_slice(invite.request_uri());
    out.extend_from_slice(b" SIP/2.0\r\nVia: ");
    out.extend_from_slice(invite.via().raw);
    out.extend_from_slice(b"\r\n");
    for field in invite.headers() {
        if matches!(
            field.name,
            HeaderName::Route | HeaderName::From | HeaderName::CallId
        ) {
            out.extend_from_slice(invite.text(field.whole));
        }
    }
    write_field(b"To", to, out);
    out.extend_from_slice(b"CSeq: ");
    write_decimal(out, invite.cseq());
    out.push(b' ');
    out.extend_from_slice(method);
    out.extend_from_slice(b"\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n");
}

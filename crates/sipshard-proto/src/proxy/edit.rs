//! What a policy changes in a message that passes: header fields added, removed or replaced, another body.
//!
//! An edit is checked when it is made, so that every [`Edits`] can be applied to every message.

use super::decision::DecisionError;
use super::own_response::{is_one_line, is_token, write_field};
use super::settings::write_decimal;
use crate::header::{HeaderField, HeaderName};
use crate::message::Message;
use std::sync::Arc;

/// So many edits at most for one message: each is compared with each header field.
pub const MAX_EDITS: usize = 64;

/// So many bytes at most may edits bring into one message: half of what fits a datagram.
pub const MAX_EDIT_BYTES: usize = 32_768;

/// One change of a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Edit {
    /// A field behind all others.
    Add(FieldName, Arc<[u8]>),
    /// All fields of this name go.
    Remove(FieldName),
    /// One field instead of all of this name, at the place of the first, or behind all others.
    Replace(FieldName, Arc<[u8]>),
    /// Another body, with the Content-Type that describes it; both may be empty.
    Body(Arc<[u8]>, Arc<[u8]>),
}

/// A header name in an edit. It names a field whatever the case, and whether compact or long (RFC 3261 §7.3.1, §7.3.3).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FieldName {
    token: Arc<[u8]>,
    known: HeaderName,
}

/// Edits in the order in which they are applied; shared by whoever needs them.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Edits(Option<Arc<[Edit]>>);

/// A message after its edits, still without bytes of its own.
pub(super) struct Edited<'a> {
    /// Its header fields in their order.
    pub(super) fields: Vec<Field<'a>>,
    /// Its body.
    pub(super) body: &'a [u8],
}

/// One header field of an edited message.
#[derive(Clone, Copy)]
pub(super) enum Field<'a> {
    /// As received.
    Kept(&'a HeaderField),
    /// As an edit has it.
    Written(&'a FieldName, &'a [u8]),
    /// The Content-Type of a new body.
    ContentType(&'a [u8]),
    /// The Content-Length of a new body.
    ContentLength(usize),
}

impl FieldName {
    /// A name that an edit may have.
    ///
    /// # Errors
    /// [`DecisionError::ProtectedHeader`] for what only the server writes, [`DecisionError::BadHeader`] with
    /// `index` for what is no name.
    pub fn new(token: &[u8], index: usize) -> Result<Self, DecisionError> {
        if !is_token(token) {
            return Err(DecisionError::BadHeader(index));
        }
        let known = HeaderName::from_token(token);
        match protected(token, known) {
            Some(name) => Err(DecisionError::ProtectedHeader(name)),
            None => Ok(Self {
                token: token.into(),
                known,
            }),
        }
    }

    /// The name as the policy has written it.
    pub fn as_bytes(&self) -> &[u8] {
        &self.token
    }

    fn is(&self, token: &[u8], known: HeaderName) -> bool {
        match self.known {
            HeaderName::Other => self.token.eq_ignore_ascii_case(token),
            name => name == known,
        }
    }
}

/// What no edit may touch: a proxy that changes these breaks transactions, dialogs or its own bookkeeping (RFC 3261
/// §16.6 step 5). Another From or To needs a back-to-back user agent; a Route comes from the target.
fn protected(token: &[u8], known: HeaderName) -> Option<&'static str> {
    match known {
        HeaderName::Via
        | HeaderName::RecordRoute
        | HeaderName::Route
        | HeaderName::CallId
        | HeaderName::CSeq
        | HeaderName::From
        | HeaderName::To
        | HeaderName::MaxForwards
        | HeaderName::ContentLength => Some(known.as_str()),
        // RFC 5393 §5.3.
        _ if token.eq_ignore_ascii_case(b"Max-Breadth") => Some("Max-Breadth"),
        _ => None,
    }
}

impl Edits {
    /// No edits.
    pub const NONE: Self = Self(None);

    /// Takes the edits of a decision.
    ///
    /// # Errors
    /// [`DecisionError`] for a line break in a value, a body without Content-Type, or too much of either.
    pub fn new(edits: Vec<Edit>) -> Result<Self, DecisionError> {
        if edits.len() > MAX_EDITS {
            return Err(DecisionError::TooManyEdits(edits.len()));
        }
        let mut total = 0;
        for (index, edit) in edits.iter().enumerate() {
            total += edit.check(index)?;
        }
        if total > MAX_EDIT_BYTES {
            return Err(DecisionError::EditsTooLong(total));
        }
        Ok(Self((!edits.is_empty()).then(|| edits.into())))
    }

    /// Without any edit a message stays as it is.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// These edits, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Edit> {
        self.0.iter().flat_map(|edits| edits.iter())
    }

    /// The message as its edits want it, each applied to what the ones before it have left.
    pub(super) fn apply<'a>(&'a self, message: &'a Message<'_>) -> Edited<'a> {
        let mut edited = Edited {
            fields: message.headers().iter().map(Field::Kept).collect(),
            body: message.body(),
        };
        for edit in self.iter() {
            match edit {
                Edit::Add(name, value) => edited.fields.push(Field::Written(name, value)),
                Edit::Remove(name) => edited.retain(message, |token, known| !name.is(token, known)),
                Edit::Replace(name, value) => {
                    let is_meant = |token: &[u8], known| name.is(token, known);
                    edited.replace(message, is_meant, Field::Written(name, value));
                }
                Edit::Body(bytes, content_type) => edited.put_body(message, bytes, content_type),
            }
        }
        edited
    }

    /// These edits and then those.
    pub(super) fn and(&self, more: &Self) -> Self {
        match (&self.0, &more.0) {
            (Some(first), Some(second)) => Self(Some([&first[..], &second[..]].concat().into())),
            (None, _) => more.clone(),
            (_, None) => self.clone(),
        }
    }

    /// Appends the message that these bytes are, edited.
    pub(super) fn write_bytes(&self, bytes: &[u8], out: &mut Vec<u8>) {
        match Message::parse(bytes) {
            Ok(message) if !self.is_empty() => self.write(&message, out),
            _ => out.extend_from_slice(bytes),
        }
    }

    /// Appends the whole message, edited.
    fn write(&self, message: &Message<'_>, out: &mut Vec<u8>) {
        let edited = self.apply(message);
        out.extend_from_slice(message.start_line());
        for field in &edited.fields {
            field.write(message, out);
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(edited.body);
    }
}

impl Edit {
    /// How many bytes the edit brings into a message.
    fn check(&self, index: usize) -> Result<usize, DecisionError> {
        match self {
            Self::Remove(_) => Ok(0),
            Self::Add(name, value) | Self::Replace(name, value) if is_one_line(value) => {
                Ok(name.token.len() + value.len())
            }
            Self::Add(..) | Self::Replace(..) => Err(DecisionError::BadHeader(index)),
            Self::Body(bytes, content_type) => {
                // RFC 3261 §20.15: "The Content-Type header field MUST be present if the body is not empty."
                let is_missing = content_type.is_empty() && bytes.is_empty();
                let is_type = content_type.contains(&b'/') && is_one_line(content_type);
                if !is_missing && !is_type {
                    return Err(DecisionError::BadContentType);
                }
                Ok(bytes.len() + content_type.len())
            }
        }
    }
}

impl<'a> Edited<'a> {
    fn retain(&mut self, message: &Message<'_>, is_kept: impl Fn(&[u8], HeaderName) -> bool) {
        self.fields.retain(|field| field.is(message, &is_kept));
    }

    fn replace(
        &mut self,
        message: &Message<'_>,
        is_meant: impl Fn(&[u8], HeaderName) -> bool,
        with: Field<'a>,
    ) {
        let first = self
            .fields
            .iter()
            .position(|field| field.is(message, &is_meant));
        self.retain(message, |token, known| !is_meant(token, known));
        self.fields.insert(first.unwrap_or(self.fields.len()), with);
    }

    fn put_body(&mut self, message: &Message<'_>, bytes: &'a [u8], content_type: &'a [u8]) {
        let is = |wanted: HeaderName| move |_: &[u8], known: HeaderName| known == wanted;
        if content_type.is_empty() {
            self.retain(message, |_, known| known != HeaderName::ContentType);
        } else {
            let field = Field::ContentType(content_type);
            self.replace(message, is(HeaderName::ContentType), field);
        }
        // What the old body was compressed with says nothing about the new one.
        self.retain(message, |_, known| known != HeaderName::ContentEncoding);
        let field = Field::ContentLength(bytes.len());
        self.replace(message, is(HeaderName::ContentLength), field);
        self.body = bytes;
    }
}

impl Field<'_> {
    fn is(&self, message: &Message<'_>, is_meant: impl Fn(&[u8], HeaderName) -> bool) -> bool {
        match self {
            Self::Kept(field) => is_meant(message.text(field.name_span), field.name),
            Self::Written(name, _) => is_meant(&name.token, name.known),
            Self::ContentType(_) => is_meant(b"Content-Type", HeaderName::ContentType),
            Self::ContentLength(_) => is_meant(b"Content-Length", HeaderName::ContentLength),
        }
    }

    /// Appends the field with its line end.
    pub(super) fn write(&self, message: &Message<'_>, out: &mut Vec<u8>) {
        match self {
            Self::Kept(field) => out.extend_from_slice(message.text(field.whole)),
            Self::Written(name, value) => write_field(&name.token, value, out),
            Self::ContentType(value) => write_field(b"Content-Type", value, out),
            Self::ContentLength(length) => {
                out.extend_from_slice(b"Content-Length: ");
                write_decimal(out, *length as u32);
                out.extend_from_slice(b"\r\n");
            }
        }
    }
}

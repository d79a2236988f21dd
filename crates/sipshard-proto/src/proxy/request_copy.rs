//! The copy of a request that goes downstream (RFC 3261 §16.6 steps 1 to 8), written in one pass over the original.

use super::arrival::Arrival;
use super::edit::{Edits, Field};
use super::loop_detection::loop_hash;
use super::route::Routed;
use super::settings::{write_decimal, Settings, Side};
use crate::flow::{Flow, FLOW_PARAMETER};
use crate::header::{HeaderField, HeaderName};
use crate::message::Message;
use crate::outbox::Path;
use crate::slots::Handle;
use crate::transaction::branch::Branch;
use crate::transport::Transport;

/// What the copy differs in.
pub struct RequestCopy<'a> {
    /// As received.
    pub request: &'a Message<'a>,
    /// How it was received.
    pub arrival: Arrival,
    /// Request-URI and Route; the request's own Route is not repeated.
    pub routed: Routed<'a>,
    /// Whether we stay on the path of the dialog.
    pub record_route: bool,
    /// Its Max-Breadth, where that is not the received one.
    pub breadth: Option<u16>,
    /// How it leaves.
    pub outbound: Outbound,
    /// The client transaction.
    pub handle: Handle,
    /// What the policy wants changed.
    pub edits: &'a Edits,
}

/// Which fields of the original the writer has come past.
#[derive(Default)]
struct Seen {
    topmost_via: bool,
    max_forwards: bool,
}

/// The way by which a copy leaves, as far as it shows in the copy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outbound {
    /// Our name.
    pub listener: u16,
    /// What carries the copy.
    pub transport: Transport,
    /// The connection of the peer's that it takes.
    pub flow: Option<Flow>,
}

impl Outbound {
    /// What shows of a path.
    pub fn of(path: &Path) -> Self {
        Self {
            listener: path.listener,
            transport: path.transport,
            flow: path.flow,
        }
    }
}

impl RequestCopy<'_> {
    /// Appends the copy.
    pub fn write(&self, settings: &Settings, out: &mut Vec<u8>) {
        out.extend_from_slice(self.request.method_token());
        out.push(b' ');
        out.extend_from_slice(self.routed.request_uri);
        out.extend_from_slice(b" SIP/2.0\r\n");
        let via = OwnVia {
            outbound: self.outbound,
            inbound: self.arrival.flow,
            handle: self.handle,
            loop_hash: loop_hash(self.request, self.arrival),
        };
        via.write(settings, self.request.call_id(), out);
        if self.record_route {
            self.write_record_routes(settings, out);
        }
        write_routes(&self.routed, out);
        if self.edits.is_empty() {
            self.write_fields(out);
        } else {
            self.write_edited(out);
        }
    }

    /// One value where both sides look the same, else one for each side (RFC 5658 §5): each side's peer is reached
    /// through the last value of ours that it leaves behind.
    fn write_record_routes(&self, settings: &Settings, out: &mut Vec<u8>) {
        let call_id = self.request.call_id();
        let is_sips = self.is_sips();
        let outbound = Side {
            listener: self.outbound.listener,
            transport: self.outbound.transport,
            flow: self.outbound.flow,
            is_sips,
        };
        let inbound = Side {
            listener: self.arrival.listener,
            transport: self.arrival.transport,
            flow: self.arrival.flow,
            is_sips,
        };
        out.extend_from_slice(b"Record-Route: ");
        settings.write_record_route(&outbound, call_id, out);
        if outbound != inbound {
            out.extend_from_slice(b", ");
            settings.write_record_route(&inbound, call_id, out);
        }
        out.extend_from_slice(b"\r\n");
    }

    fn is_sips(&self) -> bool {
        let uri = self.routed.request_uri;
        uri.len() > 5 && uri[..5].eq_ignore_ascii_case(b"sips:")
    }

    /// All other fields in their order, byte for byte, and the body.
    fn write_fields(&self, out: &mut Vec<u8>) {
        let mut seen = Seen::default();
        for field in self.request.headers() {
            self.write_field(field, &mut seen, out);
        }
        self.end_fields(&seen, out);
        out.extend_from_slice(self.request.body());
    }

    /// The same, but for what the policy wants otherwise.
    fn write_edited(&self, out: &mut Vec<u8>) {
        let edited = self.edits.apply(self.request);
        let mut seen = Seen::default();
        for field in &edited.fields {
            match field {
                Field::Kept(field) => self.write_field(field, &mut seen, out),
                field => field.write(self.request, out),
            }
        }
        self.end_fields(&seen, out);
        out.extend_from_slice(edited.body);
    }

    #[inline]
    fn write_field(&self, field: &HeaderField, seen: &mut Seen, out: &mut Vec<u8>) {
        match field.name {
            HeaderName::Via if !seen.topmost_via => {
                seen.topmost_via = true;
                self.write_received_via(self.request.text(field.value), out);
            }
            HeaderName::MaxForwards => {
                seen.max_forwards = true;
                let left = self.request.max_forwards().unwrap_or(70).saturating_sub(1);
                write_max_forwards(u32::from(left), out);
            }
            // What is left of it is in `routed`.
            HeaderName::Route => {}
            HeaderName::MaxBreadth if self.breadth.is_some() => {}
            _ => out.extend_from_slice(self.request.text(field.whole)),
        }
    }

    fn end_fields(&self, seen: &Seen, out: &mut Vec<u8>) {
        if !seen.max_forwards {
            // RFC 3261 §16.6 step 3: "if the copy does not contain a Max-Forwards, the proxy MUST add one".
            write_max_forwards(70, out);
        }
        if let Some(breadth) = self.breadth {
            out.extend_from_slice(b"Max-Breadth: ");
            write_decimal(out, u32::from(breadth));
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
    }

    fn write_received_via(&self, value: &[u8], out: &mut Vec<u8>) {
        let via = self.request.via();
        write_stamped_via(self.arrival, &via, value, out);
    }
}

/// The Via of a request that we send (§16.6 step 8, §8.1.1.7).
pub struct OwnVia {
    /// How the request leaves.
    pub outbound: Outbound,
    /// The connection that its response goes back through.
    pub inbound: Option<Flow>,
    /// The client transaction.
    pub handle: Handle,
    /// What decided where the request goes; 0 for one of our own, which nobody sent.
    pub loop_hash: u32,
}

impl OwnVia {
    /// Appends the field.
    pub fn write(&self, settings: &Settings, call_id: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(b"Via: SIP/2.0/");
        out.extend_from_slice(self.outbound.transport.token().as_bytes());
        out.push(b' ');
        settings.listeners[usize::from(self.outbound.listener)].write_sent_by(out);
        out.extend_from_slice(b";branch=");
        let branch = Branch::new(settings.generation, self.handle, self.loop_hash);
        branch.write(&settings.secret, call_id, out);
        if let Some(flow) = self.inbound {
            // The response comes back with it: so a successor, too, finds the connection that it must go through.
            out.push(b';');
            out.extend_from_slice(FLOW_PARAMETER.as_bytes());
            out.push(b'=');
            flow.write_token(&settings.secret, call_id, out);
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends the Route of a request that we send.
pub fn write_routes(routed: &Routed<'_>, out: &mut Vec<u8>) {
    for route in &routed.routes {
        out.extend_from_slice(b"Route: ");
        out.extend_from_slice(route);
        out.extend_from_slice(b"\r\n");
    }
    if let Some(uri) = routed.moved_uri {
        out.extend_from_slice(b"Route: <");
        out.extend_from_slice(uri);
        out.extend_from_slice(b">\r\n");
    }
}

/// Appends the field that holds the topmost Via, stamped, and whatever other values the field has.
pub fn write_stamped_via(
    arrival: Arrival,
    via: &crate::via::Via<'_>,
    value: &[u8],
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(b"Via: ");
    arrival.write_via(via, out);
    // The topmost value starts the field; what follows it begins with a comma.
    out.extend_from_slice(&value[via.raw.len().min(value.len())..]);
    out.extend_from_slice(b"\r\n");
}

fn write_max_forwards(left: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(b"Max-Forwards: ");
    write_decimal(out, left);
    out.extend_from_slice(b"\r\n");
}

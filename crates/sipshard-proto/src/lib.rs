//! Sans-IO SIP: bytes, events and a timestamp go in; datagrams, events and the next deadline come out.
#![forbid(unsafe_code)]

pub mod contact;
pub mod escape;
mod essential;
pub mod fault;
mod head;
pub mod header;
pub mod host;
pub mod malformed;
pub mod message;
pub mod method;
pub mod name_addr;
pub mod parameter;
mod scan;
pub mod span;
pub mod status;
pub mod uri;
pub mod via;

pub use contact::Contact;
pub use fault::Fault;
pub use header::{HeaderField, HeaderName};
pub use host::Host;
pub use message::Message;
pub use method::Method;
pub use name_addr::NameAddr;
pub use scan::{split_list, ListItems};
pub use span::Span;
pub use status::reason_phrase;
pub use uri::{Scheme, Uri};
pub use via::{Rport, Via};

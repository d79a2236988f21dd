//! Sans-IO SIP: bytes, events and a timestamp go in; datagrams, events and the next deadline come out.
#![forbid(unsafe_code)]

pub mod contact;
pub mod count;
pub mod escape;
mod essential;
pub mod fault;
pub mod flow;
mod head;
pub mod header;
pub mod host;
pub mod malformed;
pub mod message;
pub mod method;
pub mod name_addr;
pub mod outbox;
pub mod parameter;
pub mod proxy;
mod scan;
pub mod secret;
pub mod slots;
pub mod span;
pub mod status;
pub mod timestamp;
pub mod transaction;
pub mod transport;
pub mod uri;
pub mod via;

pub use contact::Contact;
pub use count::{Count, Counts};
pub use fault::Fault;
pub use flow::Flow;
pub use header::{HeaderField, HeaderName};
pub use host::Host;
pub use message::Message;
pub use method::Method;
pub use name_addr::NameAddr;
pub use scan::{split_list, ListItems, MAX_LIST_ITEMS};
pub use secret::Secret;
pub use slots::Handle;
pub use span::Span;
pub use status::reason_phrase;
pub use timestamp::Timestamp;
pub use transport::Transport;
pub use uri::{Scheme, Uri};
pub use via::{Rport, Via};

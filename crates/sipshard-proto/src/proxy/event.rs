//! What the proxy core asks its policy.

use super::arrival::Arrival;
use super::own_request::OwnOutcome;
use crate::message::Message;
use crate::slots::Handle;
use std::sync::Arc;

/// A question, or the end of one.
pub enum Event {
    /// A new request wants a decision: [`super::Proxy::forward`] or [`super::Proxy::respond`].
    RequestReceived(Question),
    /// Every branch failed and the policy asked to be consulted. [`super::Proxy::pass_on`] sends the best response,
    /// [`super::Proxy::forward`] tries other targets.
    BranchesFailed(Question, Box<Message<'static>>),
    /// A provisional response or 2xx waits to go upstream and the policy asked to see it: [`super::Proxy::inspected`].
    ResponseReceived(Question, Box<Message<'static>>),
    /// The caller gave up, or the policy took too long; a decision would come too late.
    RequestCancelled(Question),
    /// A request that the policy wanted to be consulted about has got its answer; that will not happen any more.
    RequestSettled(Handle),
    /// What became of a request that [`super::Proxy::send_request`] numbered so.
    OwnRequestEnded(u64, OwnOutcome),
}

/// A request that the core and its policy both look at; nobody changes it.
pub type SharedRequest = Arc<Message<'static>>;

/// A request with its name.
pub struct Question {
    /// What decisions refer to.
    pub id: Handle,
    /// How it came.
    pub arrival: Arrival,
    /// The request as received.
    pub request: SharedRequest,
}

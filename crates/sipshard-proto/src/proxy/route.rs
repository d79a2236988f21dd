//! Route information preprocessing (RFC 3261 §16.4) and postprocessing (§16.6 steps 6 and 7).

use super::settings::Settings;
use crate::flow::Flow;
use crate::header::HeaderName;
use crate::message::Message;
use crate::name_addr::NameAddr;
use crate::uri::Uri;

/// What §16.4 found: which Route values are spent, and whether the route set was ours.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct RoutePlan {
    /// The Request-URI that a strict router upstream had moved to the end of the Route.
    pub restored_uri: Option<Box<[u8]>>,
    /// So many values at the front are ours and go.
    pub spent: usize,
    /// A value of ours carried the proof that we wrote it for this call.
    pub is_proven: bool,
    /// The connection that the last value of ours names, if nobody else stands between it and us.
    pub flow: Option<Flow>,
}

impl RoutePlan {
    /// Looks at the Request-URI and the Route of a request.
    pub fn of(settings: &Settings, request: &Message<'_>) -> Self {
        let mut plan = Self::default();
        if request.value(HeaderName::Route).is_none() {
            return plan;
        }
        let values: Vec<&[u8]> = request.list(HeaderName::Route).collect();
        if let Ok(uri) = Uri::parse(request.request_uri()) {
            // A strict router put our Record-Route value into the Request-URI (§16.4, first paragraph).
            if settings.is_self(&uri) && settings.is_proven(&uri, request.call_id()) {
                plan.is_proven = true;
                plan.flow = settings.flow_of(&uri, request.call_id());
                plan.restored_uri = values.last().and_then(|last| uri_of(last)).map(Box::from);
            }
        }
        let last = values.len() - usize::from(plan.restored_uri.is_some());
        while plan.spent < last {
            let Some(Ok(uri)) = uri_of(values[plan.spent]).map(Uri::parse) else {
                break;
            };
            if !settings.is_self(&uri) {
                break;
            }
            plan.is_proven |= settings.is_proven(&uri, request.call_id());
            plan.flow = settings.flow_of(&uri, request.call_id());
            plan.spent += 1;
        }
        if plan.spent < last {
            plan.flow = None;
        }
        plan
    }

    /// The Route values that are left for others.
    pub fn remaining<'a>(&self, request: &'a Message<'_>) -> Vec<&'a [u8]> {
        if request.value(HeaderName::Route).is_none() {
            return Vec::new();
        }
        let mut values: Vec<&[u8]> = request.list(HeaderName::Route).skip(self.spent).collect();
        if self.restored_uri.is_some() {
            values.pop();
        }
        values
    }

    /// Where the request is for, after §16.4.
    pub fn request_uri<'a>(&'a self, request: &'a Message<'_>) -> &'a [u8] {
        self.restored_uri
            .as_deref()
            .unwrap_or(request.request_uri())
    }
}

/// The URI inside a Route, Record-Route or Path value.
pub fn uri_of(value: &[u8]) -> Option<&[u8]> {
    NameAddr::parse(value).ok().map(|name_addr| name_addr.uri)
}

/// Request-URI and Route of a copy, after §16.6 step 6: a next hop that is a strict router gets its own URI as
/// Request-URI, and the real one waits at the end of the Route.
pub struct Routed<'a> {
    /// The copy's Request-URI.
    pub request_uri: &'a [u8],
    /// The copy's Route values, each a name-addr.
    pub routes: Vec<&'a [u8]>,
    /// The last Route value as a bare URI, to be put into brackets.
    pub moved_uri: Option<&'a [u8]>,
    /// The URI that decides where the copy is sent (§16.6 step 7).
    pub next_hop: &'a [u8],
}

impl<'a> Routed<'a> {
    /// Applies §16.6 step 6 to a target and the route set before it.
    pub fn to(target: &'a [u8], mut routes: Vec<&'a [u8]>) -> Self {
        let first = routes.first().and_then(|value| uri_of(value));
        let Some(first) = first else {
            return Self {
                request_uri: target,
                routes: Vec::new(),
                moved_uri: None,
                next_hop: target,
            };
        };
        if Uri::parse(first).is_ok_and(|uri| uri.is_loose_router()) {
            return Self {
                request_uri: target,
                routes,
                moved_uri: None,
                next_hop: first,
            };
        }
        routes.remove(0);
        Self {
            request_uri: first,
            routes,
            moved_uri: Some(target),
            next_hop: first,
        }
    }
}

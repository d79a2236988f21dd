//! The proxy core in a simulated network (RFC 3261 §16): no socket, no clock. Each test names the section it holds the
//! core to.

mod acknowledge;
mod breadth;
mod content_length;
mod dialog;
mod draft;
mod edits;
mod endpoint;
mod flows;
mod forward_stateless;
mod inspection;
mod large_requests;
mod limits;
mod locating;
mod loop_detection;
mod merged_request;
mod methods;
mod network;
mod overload;
mod own_requests;
mod policy;
mod redirection;
mod resolving;
mod rfc_3263;
mod rfc_4320;
mod scene;
mod section_16_10;
mod section_16_3;
mod section_16_4;
mod section_16_6;
mod section_16_7;
mod section_16_8;
mod stateless;
mod storm;
mod torture;
mod transport;

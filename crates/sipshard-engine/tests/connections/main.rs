//! Connections of whole engines: several workers in one process, real sockets on loopback, no supervisor.

#[path = "../common/mod.rs"]
mod common;

mod drain;
mod flows;
mod limits;
mod peers;
mod requests;
mod support;
mod timeouts;
mod unreachable;

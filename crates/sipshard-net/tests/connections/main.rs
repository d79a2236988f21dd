//! Connections over real sockets on the loopback device.

mod plain;
mod proxy_protocol;
mod support;
mod tls;
mod tls_sessions;
mod websocket;

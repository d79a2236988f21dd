//! The four transaction machines (RFC 3261 §17 with RFC 6026): every arrow of every figure, first in the tables, then
//! through the layer with a simulated clock.

mod client_layer;
mod house_keeping;
mod server_layer;
mod stage;
mod tables;

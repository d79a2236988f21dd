//! WebSocket as a transport of SIP (RFC 7118), the server's side, without input and output: the
//! HTTP upgrade, and the frames after it.
//!
//! The grammars are tungstenite's. Its own buffers are not used: one belongs to each connection and
//! stays as large as the largest message was, while here a connection at rest holds nothing.

mod frames;
mod upgrade;

pub(crate) use frames::{frame_head, FrameError, FrameEvent, FrameReader};
pub(crate) use upgrade::{Upgrade, UpgradeStep};

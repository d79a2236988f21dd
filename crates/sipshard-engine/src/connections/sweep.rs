//! Ending what has waited too long: handshakes, half a message, silence.

use super::Connections;
use crate::core::Core;
use sipshard_net::connection::Closed;
use sipshard_proto::{Count, Handle, Timestamp};

/// How often every connection is looked at. A look costs some nanoseconds, so a second is never late and never dear.
const INTERVAL_MS: u64 = 1_000;

impl Connections {
    /// Looks at all connections, if it is time to.
    pub fn sweep(&mut self, now: Timestamp, core: &mut Core) {
        if now.ms_since(self.swept_at) < INTERVAL_MS {
            return;
        }
        self.swept_at = now;
        for listener in &mut self.listeners {
            listener.resume(&self.poller);
        }
        for (_, held) in self.held.iter_mut() {
            held.senders.forget_old(now);
        }
        let overdue: Vec<Handle> = self
            .held
            .iter()
            .filter(|(_, held)| held.is_overdue(now, &self.settings))
            .map(|(handle, _)| handle)
            .collect();
        for handle in overdue {
            core.count(Count::ConnectionsTimedOut);
            self.end(now, handle, Closed::ByUs, core);
        }
    }

    /// Ends those of which nothing more can be understood. To be called when what they are owed was sent.
    pub fn end_finished(&mut self, now: Timestamp, core: &mut Core) {
        for handle in std::mem::take(&mut self.finished) {
            self.end(now, handle, Closed::ByUs, core);
        }
    }

    /// Ends all connections, for the end of the worker.
    pub fn close(&mut self, now: Timestamp, core: &mut Core) {
        self.stop_accepting();
        let all: Vec<Handle> = self.held.iter().map(|(handle, _)| handle).collect();
        for handle in all {
            self.end(now, handle, Closed::ByUs, core);
        }
    }
}

//! What the worker shows of itself in shared memory: heartbeat, counters, how much it has in hand.

use crate::core::Core;
use crate::mode::Mode;
use crate::EngineSettings;
use sipshard_proto::{Count, Timestamp};
use sipshard_shm::{Region, WorkerState};
use std::time::SystemTime;

/// What is not the core's to know.
#[derive(Clone, Copy, Default)]
pub struct Figures {
    /// Open connections.
    pub connections: u64,
    /// How long messages have waited in the sockets.
    pub queue_delay_ms: u64,
}

/// Writes one worker's page.
pub struct Publisher {
    region: Region,
    shard: u16,
    generation: u64,
    is_first: bool,
    published: [u64; Count::NAMES.len()],
}

impl Publisher {
    /// A publisher for the page of `settings.shard`. Until the predecessor of a standby worker is gone, both add to the
    /// counters, and the rest is the predecessor's: the watchdog judges it by its heartbeat.
    pub fn new(settings: &EngineSettings) -> Self {
        Self {
            region: settings.region.clone(),
            shard: settings.shard,
            generation: settings.generation,
            is_first: true,
            published: [0; Count::NAMES.len()],
        }
    }

    /// Shows what has changed since the last call.
    pub fn publish(&mut self, core: &mut Core, figures: Figures, now: Timestamp) {
        let page = self.region.page(self.shard);
        let counts = core.proxy().counts().all();
        for (index, (count, published)) in counts.iter().zip(&mut self.published).enumerate() {
            if count != published {
                page.add(index, count - *published);
                *published = *count;
            }
        }
        if core.mode() == Mode::Standby {
            return;
        }
        if std::mem::take(&mut self.is_first) {
            page.pid.write(u64::from(std::process::id()));
            page.generation.write(self.generation);
            page.started_unix_ms.write(wall_clock_ms());
        }
        page.state.write(state_of(core) as u64);
        page.heartbeat_ms.write(now.as_millis());
        page.connections.write(figures.connections);
        page.queue_delay_ms.write(figures.queue_delay_ms);
        page.transactions
            .write(core.proxy().transaction_count() as u64);
        page.unfinished
            .write(core.proxy().unfinished_count() as u64);
    }
}

fn state_of(core: &mut Core) -> WorkerState {
    match core.mode() {
        Mode::Draining => WorkerState::Draining,
        Mode::Standby => WorkerState::Booting,
        Mode::Serving if core.proxy().is_stopping() => WorkerState::Stopping,
        Mode::Serving => WorkerState::Serving,
    }
}

fn wall_clock_ms() -> u64 {
    // A clock before 1970 is shown as 1970.
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since_1970.map_or(0, |duration| duration.as_millis() as u64)
}

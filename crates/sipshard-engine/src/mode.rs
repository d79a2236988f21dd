//! A worker's part in the replacement of its shard's worker.

/// Which part of its shard's work a worker does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// It reads sockets and mailboxes.
    Serving,
    /// It waits for its predecessor to end, and reads only what that hands over.
    Standby,
    /// It reads sockets and mailboxes, keeps what belongs to its own transactions, and hands the rest to its successor.
    Draining,
}

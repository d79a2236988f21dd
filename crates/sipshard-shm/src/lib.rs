//! Shared memory between the processes of one server: a page of figures per worker, and a mailbox
//! from every worker to every other one. It knows nothing of SIP.
//!
//! **Everything in the region is read and written as atomic 64-bit words**, also the bytes of a
//! mailbox. A plain word store costs the same as any other on the machines this runs on, and it
//! makes every access defined whatever another process does or in whatever state it died: the worst
//! that a corrupt region can do is to yield wrong numbers, which every reader checks. Unsafe code is
//! therefore confined to mapping the region ([`Region`]).
//!
//! Layout of the region, each part at a multiple of 4096 bytes:
//!
//! | part | bytes |
//! |---|---|
//! | header: magic, layout version, workers, mailbox bytes | 4096 |
//! | one page per worker | 4096 each |
//! | one mailbox per ordered pair of workers, `from` × workers + `to` | 4096 + mailbox bytes each |

// Mapping memory has no safe form. Unsafe code of the workspace lives here and in sipshard-net
// only, and every block argues its case.
#![allow(unsafe_code)]

mod mailbox;
mod mapping;
mod page;
mod region;

pub use mailbox::{Consumer, Full, Producer, MOST_ATTEMPTS};
pub use page::{Field, PageFields, WorkerPage, WorkerState, COUNTERS};
pub use region::{Layout, Region, ShmError};

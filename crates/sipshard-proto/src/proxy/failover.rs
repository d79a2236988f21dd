//! Trying the next hop when one has failed (RFC 3263 §4.3).

use super::blocklist::BLOCK_MS;
use super::hop_order::Hops;
use super::locator::Hop;
use super::next_hop::Way;
use super::response_context::{BranchState, Cancel, Phase, Target};
use super::route::Routed;
use super::Proxy;
use crate::count::Count;
use crate::header::HeaderName;
use crate::message::Message;
use crate::outbox::Path;
use crate::slots::Handle;
use crate::timestamp::Timestamp;

/// What a branch needs to try another hop.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Spare {
    /// What the copy is made from.
    pub target: Box<Target>,
    /// The hops that are left, the next one last.
    pub hops: Hops,
    /// When the first copy left: the policy's limit is for all of them together.
    pub since: Timestamp,
}

impl Spare {
    /// What is worth keeping: nothing when no other hop is left.
    pub fn of(target: Box<Target>, hops: Hops, since: Timestamp) -> Option<Box<Self>> {
        (!hops.is_empty()).then(|| {
            Box::new(Self {
                target,
                hops,
                since,
            })
        })
    }
}

impl Proxy {
    /// Takes the hop to be tried next: the last one that has not failed lately, else simply the last one.
    pub(super) fn take_next_hop(&self, now: Timestamp, hops: &mut Hops) -> Option<Hop> {
        let is_well = |hop: &Hop| !self.blocklist.contains(now, hop);
        match hops.iter().rposition(is_well) {
            Some(place) => Some(hops.remove(place)),
            None => hops.pop(),
        }
    }

    /// Sends a branch to its next hop, in a transaction of its own (§4.3: "a new branch ID"). False when there is none,
    /// or when nobody waits for the branch any more.
    pub(super) fn fail_over(&mut self, now: Timestamp, id: Handle, index: usize) -> bool {
        let Some(server) = self.transactions.server_mut(id) else {
            return false;
        };
        let listener = server.user.arrival.listener;
        let is_wanted = server.user.phase == Phase::Forwarding;
        let Some(branch) = server.user.branches.get_mut(index) else {
            return false;
        };
        let Some(mut spare) = branch.spare.take() else {
            return false;
        };
        if !is_wanted || branch.cancel != Cancel::NotWanted || branch.has_timed_out {
            return false;
        }
        let hop = self.take_next_hop(now, &mut spare.hops);
        let uri = Routed::to(&spare.target.uri, spare.target.route_set()).next_hop;
        let Some(path) = hop.and_then(|hop| self.path_to_hop(&hop, uri, listener)) else {
            return false;
        };
        self.counts.add(Count::Failovers);
        let way = Way {
            path,
            others: spare.hops,
        };
        if let Some(server) = self.transactions.server_mut(id) {
            server.user.branches[index].state = BranchState::Resolving(spare.target);
        }
        self.send_copy((now, spare.since), (id, index), way);
        true
    }

    /// A hop could not be reached, or has not answered.
    pub(super) fn avoid(&mut self, now: Timestamp, path: &Path) {
        self.block(now, path, BLOCK_MS);
    }

    /// What a response says about the hop that it came from: anything but a 503 shows that it is well, and a 503 may say
    /// for how long it is not (RFC 3261 §21.5.4).
    pub(super) fn judge(&mut self, now: Timestamp, client: Handle, response: &Message<'_>) {
        if response.status() != 503 {
            if let Some(transaction) = self.transactions.client(client) {
                self.blocklist.clear(&transaction.path);
            }
            return;
        }
        let retry_after_s = retry_after_s(response).unwrap_or(0);
        let path = self.transactions.client(client).map(|each| &each.path);
        if let (Some(path), 1..) = (path.cloned(), retry_after_s) {
            self.block(now, &path, retry_after_s.saturating_mul(1_000));
        }
    }

    fn block(&mut self, now: Timestamp, path: &Path, milliseconds: u64) {
        // A connection that was lost says nothing about an address, and has no alternative.
        if path.flow.is_some() {
            return;
        }
        self.counts.add(Count::HopsBlocked);
        if self.blocklist.block(now, path, milliseconds) {
            self.counts.add(Count::BlocklistFull);
        }
    }
}

/// RFC 3261 §25.1: `Retry-After = "Retry-After" HCOLON delta-seconds [ comment ] *( SEMI retry-param )`.
fn retry_after_s(response: &Message<'_>) -> Option<u64> {
    let value = response.value(HeaderName::RetryAfter)?;
    let end = value.iter().position(|byte| !byte.is_ascii_digit());
    let digits = std::str::from_utf8(&value[..end.unwrap_or(value.len())]).ok()?;
    // More digits than a number holds mean a long time, and that has a limit.
    (!digits.is_empty()).then(|| digits.parse().unwrap_or(u64::MAX))
}

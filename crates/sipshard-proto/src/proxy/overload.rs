//! Overload: when messages wait too long before they are read, part of the new work is refused so that the rest is served
//! in time (the aim of RFC 7339, by the means of RFC 3261 §21.5.4: 503 with Retry-After).
//!
//! The driver says how long the oldest message has waited. The share of new work that is refused follows that delay: it
//! rises within half a second, holds until the delay has come down to half of where refusing starts, and falls over five
//! seconds. A hash of the Call-ID decides who belongs to the share, so that a retransmission meets the same answer and one
//! caller is refused consistently. Requests inside dialogs and emergency calls are never refused here.

use super::validation::Refusal;
use super::Proxy;
use crate::count::Count;
use crate::header::HeaderName;
use crate::message::Message;
use crate::method::Method;
use crate::secret::{Purpose, Secret};
use crate::timestamp::Timestamp;

/// All of the new work, in millionths.
const ALL: u64 = 1_000_000;
/// Millionths by which the share may grow in a millisecond.
const RISE_PER_MS: u64 = 2_000;
/// Millionths by which it falls in a millisecond.
const FALL_PER_MS: u64 = 200;
/// One report of the driver's counts for so many milliseconds at most: a single pause is no overload yet.
const LONGEST_STEP_MS: u64 = 100;
/// What a refused caller is told to wait, from and to.
const RETRY_AFTER_S: (u64, u64) = (5, 15);

/// When new work is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OverloadSettings {
    /// Above this delay part of the new work is refused; 0 for never.
    pub start_ms: u32,
    /// From this delay on all of it is.
    pub full_ms: u32,
}

/// What share of new work is refused now.
pub struct Overload {
    settings: OverloadSettings,
    share: u64,
    noted_at: Option<Timestamp>,
}

impl Overload {
    /// Nothing is refused at first.
    pub const fn new(settings: OverloadSettings) -> Self {
        Self {
            settings,
            share: 0,
            noted_at: None,
        }
    }

    fn note(&mut self, now: Timestamp, delay_ms: u64) {
        let (start_ms, full_ms) = (
            u64::from(self.settings.start_ms),
            u64::from(self.settings.full_ms),
        );
        if start_ms == 0 {
            return;
        }
        let elapsed_ms = self.noted_at.map_or(0, |then| now.ms_since(then));
        self.noted_at = Some(now);
        let above_ms = delay_ms.saturating_sub(start_ms);
        let wanted = (above_ms * ALL / full_ms.saturating_sub(start_ms).max(1)).min(ALL);
        if wanted > self.share {
            let step = RISE_PER_MS * elapsed_ms.min(LONGEST_STEP_MS);
            self.share = wanted.min(self.share + step);
        } else if delay_ms < start_ms / 2 {
            let step = FALL_PER_MS * elapsed_ms;
            self.share = wanted.max(self.share.saturating_sub(step));
        }
    }

    /// Seconds to wait for who belongs to the share that is refused.
    fn retry_after_s(&self, secret: &Secret, call_id: &[u8]) -> Option<u64> {
        if self.share == 0 {
            return None;
        }
        let hash = secret.proof(Purpose::Overload, &[call_id]);
        let (from_s, to_s) = RETRY_AFTER_S;
        let is_refused = (hash >> 32) % ALL < self.share;
        is_refused.then_some(from_s + (hash & 0xffff_ffff) % (to_s - from_s + 1))
    }
}

impl Proxy {
    /// How long the oldest message had waited when it was read. To be called on every turn of the driver's loop, with 0
    /// when nothing has waited.
    pub fn note_delay(&mut self, now: Timestamp, delay_ms: u64) {
        self.overload.note(now, delay_ms);
    }

    /// Refuses a new request that belongs to the share.
    pub(super) fn check_overload(&mut self, request: &Message<'_>) -> Result<(), Refusal> {
        let is_new_work = matches!(
            request.method(),
            Method::Invite | Method::Register | Method::Subscribe | Method::Message
        );
        if !is_new_work {
            return Ok(());
        }
        let secret = &self.settings.secret;
        let Some(retry_after_s) = self.overload.retry_after_s(secret, request.call_id()) else {
            return Ok(());
        };
        if is_emergency(request) {
            self.counts.add(Count::EmergenciesSpared);
            return Ok(());
        }
        self.counts.add(Count::RefusedOverload);
        Err(Refusal::Overloaded { retry_after_s })
    }
}

/// A call for help: `urn:service:sos` (RFC 5031 §4.2), the namespace `esnet` of RFC 7135 or `emergency` in
/// Resource-Priority (RFC 4412 §3.1), or Priority: emergency (RFC 3261 §20.26).
fn is_emergency(request: &Message<'_>) -> bool {
    const SOS: &[u8] = b"urn:service:sos";
    let starts_with = |text: &[u8], start: &[u8]| {
        text.get(..start.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(start))
    };
    let is_reserved = |value: &[u8]| {
        let mut values = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        values.any(|each| starts_with(each, b"esnet.") || starts_with(each, b"emergency"))
    };
    let priority = request.value(HeaderName::Priority).unwrap_or_default();
    starts_with(request.request_uri(), SOS)
        || priority.eq_ignore_ascii_case(b"emergency")
        || request
            .value_by_token(b"Resource-Priority")
            .any(is_reserved)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: OverloadSettings = OverloadSettings {
        start_ms: 100,
        full_ms: 300,
    };

    /// The share after the delay was reported every ten milliseconds.
    fn report(overload: &mut Overload, from_ms: u64, delay_ms: u64, milliseconds: u64) -> u64 {
        for at_ms in (from_ms..=from_ms + milliseconds).step_by(10) {
            overload.note(Timestamp::from_millis(at_ms), delay_ms);
        }
        overload.share
    }

    #[test]
    fn the_share_follows_the_delay_between_start_and_full() {
        for (delay_ms, share) in [(0, 0), (100, 0), (200, ALL / 2), (300, ALL), (9_000, ALL)] {
            let mut overload = Overload::new(SETTINGS);
            assert_eq!(report(&mut overload, 0, delay_ms, 1_000), share);
        }
    }

    #[test]
    fn it_rises_within_half_a_second_and_one_pause_moves_it_little() {
        let mut overload = Overload::new(SETTINGS);
        overload.note(Timestamp::from_millis(0), 0);
        overload.note(Timestamp::from_millis(5_000), 5_000);
        assert_eq!(overload.share, ALL / 5);
        let mut overload = Overload::new(SETTINGS);
        assert!(report(&mut overload, 0, 300, 250) < ALL * 6 / 10);
        assert_eq!(report(&mut overload, 260, 300, 300), ALL);
    }

    #[test]
    fn it_holds_until_the_delay_is_half_and_falls_slowly() {
        let mut overload = Overload::new(SETTINGS);
        assert_eq!(report(&mut overload, 0, 300, 1_000), ALL);
        assert_eq!(report(&mut overload, 1_000, 60, 2_000), ALL, "it holds");
        let later = report(&mut overload, 3_000, 10, 2_500);
        assert!((ALL * 4 / 10..ALL * 6 / 10).contains(&later), "{later}");
        assert_eq!(report(&mut overload, 5_500, 10, 3_000), 0);
    }

    #[test]
    fn zero_turns_it_off() {
        let mut overload = Overload::new(OverloadSettings {
            start_ms: 0,
            full_ms: 0,
        });
        assert_eq!(report(&mut overload, 0, 60_000, 10_000), 0);
    }

    #[test]
    fn the_share_is_a_share_of_the_call_ids_and_only_grows_with_it() {
        let secret = Secret::new([3; 16]);
        let mut overload = Overload::new(SETTINGS);
        let refused = |overload: &Overload| -> Vec<usize> {
            let is_refused = |number: &usize| {
                let call_id = format!("call-{number}@192.0.2.1");
                overload
                    .retry_after_s(&secret, call_id.as_bytes())
                    .is_some()
            };
            (0..10_000).filter(is_refused).collect()
        };
        overload.share = ALL / 4;
        let quarter = refused(&overload);
        assert!((2_300..2_700).contains(&quarter.len()), "{}", quarter.len());
        overload.share = ALL / 2;
        let half = refused(&overload);
        assert!(quarter.iter().all(|number| half.contains(number)));
        overload.share = ALL;
        assert_eq!(refused(&overload).len(), 10_000);
    }

    #[test]
    fn retry_after_is_spread_over_5_to_15_seconds() {
        let secret = Secret::new([3; 16]);
        let mut overload = Overload::new(SETTINGS);
        overload.share = ALL;
        let waits = (0..1_000_u32)
            .filter_map(|number| overload.retry_after_s(&secret, &number.to_be_bytes()));
        let seen: std::collections::BTreeSet<u64> = waits.collect();
        assert_eq!(seen, (5..=15).collect());
    }
}

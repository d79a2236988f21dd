//! Max-Breadth (RFC 5393 §5): how many branches of one request may be open at the same time, all proxies together.
//!
//! The breadth of a request is divided among the branches that ring together, and used anew by those that follow when all
//! of them have ended. What exceeds it waits for its turn: RFC 5393 §5.3.3 allows to fork one after the other instead of
//! answering 440. A request that goes to a single target keeps its header field, or goes on without one: the next proxy then
//! takes the same default.

use crate::header::HeaderName;
use crate::message::Message;
use crate::scan::decimal;

/// What a request without the header field may be forked to (RFC 5393 §5.3.2).
const DEFAULT: u16 = 60;

/// The breadth that a request arrived with. A value that is no number counts as absent.
pub fn max_breadth(request: &Message<'_>) -> u16 {
    request
        .value(HeaderName::MaxBreadth)
        .and_then(decimal)
        .map_or(DEFAULT, |breadth| {
            u16::try_from(breadth).unwrap_or(u16::MAX)
        })
}

/// The share of branch `index` of `count`, in all `breadth`.
pub const fn share(breadth: u16, index: usize, count: usize) -> u16 {
    let (breadth, count) = (breadth as usize, if count == 0 { 1 } else { count });
    let rest = if index < breadth % count { 1 } else { 0 };
    (breadth / count + rest) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_5393_5_3_3_the_shares_add_up_to_the_breadth() {
        for (breadth, count) in [(60, 7), (2, 2), (64, 1), (13, 12), (u16::MAX, 64)] {
            let shares = || (0..count).map(|index| share(breadth, index, count));
            assert_eq!(shares().map(u32::from).sum::<u32>(), u32::from(breadth));
            assert!(shares().all(|share| share > 0));
        }
    }
}

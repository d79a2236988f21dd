//! Choosing the best response of several branches (RFC 3261 §16.7 step 6).

/// How much a final response is worth; the lowest wins, and among equals the first that came.
///
/// A 6xx decides at once; else the lowest class wins, within 4xx those that tell the caller what to change.
pub const fn rank(status: u16) -> u8 {
    match status {
        600.. => 0,
        300..=399 => 1,
        401 | 407 | 415 | 420 | 484 => 2,
        // Nobody answered: any word from a phone says more.
        408 => 4,
        400..=499 => 3,
        503 => 6,
        _ => 5,
    }
}

/// The status under which a response goes upstream: 503 would say that this proxy cannot serve any request (§16.7
/// step 6), so it goes as 500.
pub const fn status_upstream(status: u16) -> u16 {
    match status {
        503 => 500,
        status => status,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn section_16_7_step_6_prefers_6xx_then_the_lowest_class() {
        let better = |first, second| assert!(rank(first) < rank(second), "{first} before {second}");
        better(603, 302);
        better(302, 401);
        better(401, 404);
        better(486, 408);
        better(408, 500);
        better(500, 503);
    }
}

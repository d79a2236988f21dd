//! A call that was answered, as the starting point of other tests.

use crate::draft::{answer, in_dialog};
use crate::scene::{only, target, Scene, Sent, ALICE, BOB, TO_BOB};
use sipshard_proto::proxy::{Edits, ForwardOptions};

/// How the tests stay on the path.
pub const RECORD_ROUTE: ForwardOptions = ForwardOptions {
    record_route: true,
    ring_timeout_ms: None,
    report_failure: false,
    recurse: false,
    response_edits: Edits::NONE,
    inspect_responses: false,
};

/// Alice calls, Bob answers, Alice acknowledges; the 200 that she got.
pub fn open(scene: &mut Scene) -> Sent {
    let invite = only(scene.ring_as(vec![target(TO_BOB)], RECORD_ROUTE));
    let success = only(scene.receive(BOB, &answer(&invite, 200)));
    let ack = in_dialog("ACK", &success)
        .instead("CSeq", "1 ACK")
        .branch("ack-1");
    assert!(only(scene.receive(ALICE, &ack)).is("ACK "));
    success
}

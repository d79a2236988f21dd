//! The torture messages (RFC 4475, RFC 5118) through the whole core: whatever comes in, only sound messages go out, and
//! nothing is left.

use crate::dialog::RECORD_ROUTE;
use crate::scene::{target, Scene, Sent, ALICE, BOB, TO_BOB};
use sipshard_proto::proxy::{Event, Plan};
use std::fs;
use std::path::Path;

fn vectors() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors");
    let mut vectors = Vec::new();
    for set in ["rfc4475", "rfc5118/wire"] {
        for entry in fs::read_dir(folder.join(set)).expect("the vectors are there") {
            let path = entry.expect("the folder is readable").path();
            let name = path.display().to_string();
            vectors.push((name, fs::read(path).expect("readable")));
        }
    }
    vectors.sort();
    vectors
}

/// Forwards everything that the policy is asked about; what was sent.
fn forward_all(scene: &mut Scene) -> Vec<Sent> {
    while let Some(event) = scene.proxy.poll_event() {
        if let Event::RequestReceived(question) = event {
            let plan = Plan {
                targets: vec![target(TO_BOB)],
                options: RECORD_ROUTE,
            };
            let decided = scene.proxy.forward(scene.now, question.id, plan);
            assert_eq!(decided, Ok(true));
        }
    }
    scene.take_sent()
}

#[test]
fn whatever_comes_in_only_sound_messages_go_out() {
    let mut copies = 0;
    for (name, datagram) in vectors() {
        for (listener, source) in [(0, ALICE), (1, "[2001:db8::10]:5062")] {
            let mut scene = Scene::new();
            let mut sent = scene.receive_by(listener, source, &datagram);
            sent.extend(forward_all(&mut scene));
            // What did not parse is answered with as much of it as an answer needs, sound or not.
            let is_sound = sipshard_proto::Message::parse(&datagram).is_ok();
            for message in sent.iter().filter(|_| is_sound) {
                assert!(
                    sipshard_proto::Message::parse(&message.bytes).is_ok(),
                    "{name}: {}",
                    message.text()
                );
            }
            for copy in sent.iter().filter(|sent| sent.to == BOB.parse().unwrap()) {
                copies += 1;
                let ok = crate::draft::answer(copy, 200);
                scene.receive(BOB, &ok);
            }
            scene.close();
        }
    }
    assert!(copies > 20, "{copies} were forwarded");
}

#[test]
fn a_copy_has_what_the_original_had() {
    for (name, datagram) in vectors() {
        let Ok(original) = sipshard_proto::Message::parse(&datagram) else {
            continue;
        };
        let mut scene = Scene::new();
        scene.receive_by(0, ALICE, &datagram);
        let sent = forward_all(&mut scene);
        let Some(copy) = sent.iter().find(|sent| sent.to == BOB.parse().unwrap()) else {
            continue;
        };
        let copy = copy.message();
        assert_eq!(copy.body(), original.body(), "{name}");
        assert_eq!(copy.method_token(), original.method_token(), "{name}");
        assert_eq!(copy.from(), original.from(), "{name}");
        assert_eq!(copy.call_id(), original.call_id(), "{name}");
        let vias = |message: &sipshard_proto::Message<'_>| {
            message.list(sipshard_proto::HeaderName::Via).count()
        };
        assert_eq!(vias(&copy), vias(&original) + 1, "{name}");
    }
}

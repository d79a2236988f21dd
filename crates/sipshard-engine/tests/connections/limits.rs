//! How many connections there may be, and what those get who are one too many.

use crate::support::{request, Line, World};

/// Opens connections one after the other, and says which of them were taken.
fn taken(world: &mut World, count: usize) -> (Vec<Line>, Vec<Line>) {
    let (mut taken, mut refused) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let before = world.estate.counter(0, "connections_accepted");
        let mut line = world.line(0);
        let is_taken = world.until(|world| {
            let is_taken = world.estate.counter(0, "connections_accepted") > before;
            (is_taken || line.has_ended()).then_some(is_taken)
        });
        match is_taken {
            true => taken.push(line),
            false => refused.push(line),
        }
    }
    (taken, refused)
}

fn is_served(world: &mut World, line: &mut Line) -> bool {
    line.send(request("OPTIONS", "served"));
    let asked = world.question();
    world.answer(&asked, 200);
    line.message(world).starts_with("SIP/2.0 200 ")
}

#[test]
fn one_address_gets_so_many_and_others_in_their_place_when_they_end() {
    let mut world = World::with(1, |streams| streams.max_per_source = 2);
    let (mut lines, refused) = taken(&mut world, 5);
    assert_eq!((lines.len(), refused.len()), (2, 3));
    assert_eq!(world.estate.counter(0, "connections_refused"), 3);
    for line in &mut lines {
        assert!(is_served(&mut world, line));
    }
    drop(lines.pop());
    world.until_counted(0, "connections_closed_by_peer", 1);
    let (again, refused) = taken(&mut world, 2);
    assert_eq!((again.len(), refused.len()), (1, 1));
    assert_eq!(world.connections(0), 2);
}

#[test]
fn one_worker_has_so_many_and_opens_none_beyond_them() {
    let mut world = World::with(1, |streams| streams.max_connections = 2);
    let (lines, refused) = taken(&mut world, 3);
    assert_eq!((lines.len(), refused.len()), (2, 1));
    assert_eq!(world.estate.counter(0, "connections_refused"), 1);

    let alice = crate::support::Datagrams::new();
    let bob = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("sip:bob@{};transport=tcp", bob.local_addr().unwrap());
    alice.send(&world, 0, &crate::support::datagram("OPTIONS", "full"));
    let asked = world.question();
    world.forward(&asked, &uri, None);
    assert!(alice.final_response(&mut world).starts_with("SIP/2.0 500 "));

    drop(lines);
    world.until_counted(0, "connections_closed_by_peer", 2);
    assert_eq!(taken(&mut world, 2).0.len(), 2);
}

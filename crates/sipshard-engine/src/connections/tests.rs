use super::*;
use crate::EngineSettings;
use rustix::event::{eventfd, EventfdFlags};
use rustix::fs::{memfd_create, MemfdFlags};
use sipshard_net::epoll::Events;
use sipshard_proto::transaction::timer::TimerValues;
use sipshard_shm::{Layout, Region};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

const CONNECTIONS: u32 = 10_000;
const AT_A_TIME: u32 = 50;

/// Connections with one TCP listener, and what they need, driven as the engine does.
struct Bench {
    listener: TcpListener,
    poller: Arc<Poller>,
    core: Core,
    connections: Connections,
    events: Events,
}

impl Bench {
    fn new() -> Self {
        let memory = memfd_create("test", MemfdFlags::empty()).unwrap();
        let layout = Layout {
            workers: 1,
            mailbox_bytes: 4096,
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let listeners = vec![ListenerSettings {
            transport: Transport::Tcp,
            fd: listener.as_raw_fd(),
            host: "127.0.0.1".into(),
            port: listener.local_addr().unwrap().port(),
        }];
        let wakeup = eventfd(0, EventfdFlags::NONBLOCK).unwrap();
        let poller = Arc::new(Poller::new().unwrap());
        let streams = StreamSettings::default();
        let mut connections =
            Connections::new(Arc::clone(&poller), (0, 1), &listeners, streams.clone()).unwrap();
        connections.start_accepting().unwrap();
        let core = Core::new(EngineSettings {
            shard: 0,
            generation: 1,
            region: Region::create(memory.as_raw_fd(), layout).unwrap(),
            wakeups: vec![wakeup.as_raw_fd()],
            listeners,
            domains: Vec::new(),
            secret: [7; 16],
            udp_max_bytes: 1_300,
            max_transactions: 10,
            max_branches: 12,
            asks_about_strays: false,
            overload: sipshard_proto::proxy::OverloadSettings {
                start_ms: 0,
                full_ms: 0,
            },
            timers: TimerValues::default(),
            batch_delay: Duration::ZERO,
            streams,
            is_standby: false,
        });
        Self {
            listener,
            poller,
            core,
            connections,
            events: Events::with_capacity(64),
        }
    }

    /// Does what is ready until there are `count` connections.
    fn turn_until(&mut self, count: u32) {
        let now = Timestamp::from_millis(0);
        while self.connections.len() != count as usize {
            let ready = self.poller.wait(&mut self.events, 5_000).unwrap();
            assert!(ready > 0, "waited in vain");
            for event in self.events.iter() {
                if Connections::is_connection(event.token) {
                    self.connections
                        .handle_ready(now, event.token, event.mask, &mut self.core);
                } else {
                    self.connections.accept(now, 0, &mut self.core);
                }
            }
        }
    }
}

/// One from each of many addresses, so that every table of a connection has an entry for it.
fn client(to: &TcpListener, number: u32) -> TcpStream {
    let [_, high, middle, low] = number.to_be_bytes();
    let own = Ipv4Addr::new(127, high, middle, low);
    sipshard_net::tcp::connect(Some(own.into()), to.local_addr().unwrap()).unwrap()
}

#[test]
fn ten_thousand_connections_that_came_and_went_leave_nothing_behind() {
    let mut bench = Bench::new();
    for first in (1..=CONNECTIONS).step_by(AT_A_TIME as usize) {
        let numbers = first..first + AT_A_TIME;
        let clients: Vec<TcpStream> = numbers
            .map(|number| client(&bench.listener, number))
            .collect();
        bench.turn_until(AT_A_TIME);
        assert_eq!(bench.connections.by_peer.len(), AT_A_TIME as usize);
        drop(clients);
        bench.turn_until(0);
    }
    let counts = bench.core.proxy().counts();
    assert_eq!(
        counts.of(Count::ConnectionsAccepted),
        u64::from(CONNECTIONS)
    );
    let connections = &bench.connections;
    assert!(connections.by_peer.is_empty() && connections.sources.is_empty());
    let most = connections.held.iter().map(|(handle, _)| handle.slot).max();
    assert_eq!((most, connections.finished.len()), (None, 0));
    // The place of one that has gone is the next one's: the table has not grown with those that came.
    let last = client(&bench.listener, 1);
    bench.turn_until(1);
    let (handle, _) = bench.connections.held.iter().next().unwrap();
    assert!(handle.slot < AT_A_TIME, "{handle:?}");
    drop(last);
}

//! What the core counts. The names are the ones that operators see.

macro_rules! counts {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// One counter each; all of them only grow.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(usize)]
        pub enum Count { $($(#[$doc])* $variant,)* }

        impl Count {
            /// The counters' names, in the order of their indexes.
            pub const NAMES: &'static [&'static str] = &[$($name,)*];
        }
    };
}

counts! {
    /// Datagrams taken from sockets.
    DatagramsReceived = "datagrams_received",
    /// Datagrams given to sockets.
    DatagramsSent = "datagrams_sent",
    /// Datagrams that a socket refused.
    SendErrors = "send_errors",
    /// Datagrams longer than the receive buffer; dropped.
    Oversized = "oversized",
    /// CRLF keepalives and other bytes that are no SIP.
    Keepalives = "keepalives",
    /// Messages given to connections.
    StreamMessagesSent = "stream_messages_sent",
    /// Connections that listeners took in.
    ConnectionsAccepted = "connections_accepted",
    /// Connections that we opened.
    ConnectionsOpened = "connections_opened",
    /// Connections closed at once because the worker, or their address, has as many as it may.
    ConnectionsRefused = "connections_refused",
    /// Times that no connection could be accepted for want of descriptors or memory.
    AcceptFailures = "accept_failures",
    /// Connections that could not even be begun.
    ConnectFailures = "connect_failures",
    /// Connections that their peers closed in order.
    ConnectionsClosedByPeer = "connections_closed_by_peer",
    /// Connections that we closed in order.
    ConnectionsClosedByUs = "connections_closed_by_us",
    /// Connections that were reset, refused or lost.
    ConnectionsBroken = "connections_broken",
    /// Connections that took too long for a handshake or a message, or were silent.
    ConnectionsTimedOut = "connections_timed_out",
    /// Connections closed because TLS could not be agreed on.
    TlsFailures = "tls_failures",
    /// Connections closed because what they sent could not be cut into messages.
    FramingErrors = "framing_errors",
    /// Connections closed because their peers did not read what was sent to them.
    SlowPeers = "slow_peers",
    /// Messages whose connection was gone, with no way to open another.
    FlowsLost = "flows_lost",
    /// Messages that were handed to the worker of their Call-ID.
    MailboxSent = "mailbox_sent",
    /// Messages that another worker handed over.
    MailboxReceived = "mailbox_received",
    /// Messages of connections that had to wait for room in the other worker's mailbox.
    MailboxDelayed = "mailbox_delayed",
    /// Messages dropped because the other worker's mailbox was full.
    MailboxFull = "mailbox_full",
    /// Messages passed to the successor while draining.
    HandedOver = "handed_over",
    /// Requests that parsed.
    Requests = "requests",
    /// Responses that parsed.
    Responses = "responses",
    /// Requests that did not parse, answered or not.
    MalformedRequests = "malformed_requests",
    /// Responses that did not parse; dropped.
    MalformedResponses = "malformed_responses",
    /// Requests whose answer would go to a broadcast or multicast address or to port 0; dropped.
    UnanswerableRequests = "unanswerable_requests",
    /// New INVITE transactions outside a dialog.
    Invites = "invites",
    /// New REGISTER transactions.
    Registers = "registers",
    /// Requests that repeated a transaction's.
    RequestRetransmissions = "request_retransmissions",
    /// Requests and ACKs that followed their route set without the policy.
    InDialogRequests = "in_dialog_requests",
    /// ACKs without a transaction and without a route of ours; dropped.
    StrayAcks = "stray_acks",
    /// Requests that a policy forwarded without a transaction.
    StatelessRequests = "stateless_requests",
    /// Responses without a transaction that went on by their next Via.
    StatelessResponses = "stateless_responses",
    /// Responses to nothing that we sent; dropped.
    StrayResponses = "stray_responses",
    /// Requests that came back to us unchanged and were refused.
    LoopsDetected = "loops_detected",
    /// Copies of a request that this server answers already; refused.
    MergedRequests = "merged_requests",
    /// Requests refused because messages wait too long.
    RefusedOverload = "refused_overload",
    /// Emergency calls that were served all the same.
    EmergenciesSpared = "emergencies_spared",
    /// Requests refused because the worker is stopping.
    RefusedStopping = "refused_stopping",
    /// Requests refused because the transaction table is full.
    RefusedTransactionsFull = "refused_transactions_full",
    /// Final 2xx sent upstream for an INVITE.
    CallsAnswered = "calls_answered",
    /// Branches that nobody answered.
    BranchTimeouts = "branch_timeouts",
    /// Requests whose connection was lost, or could not be made, before they were answered.
    BranchesUnsent = "branches_unsent",
    /// INVITE failures whose ACK never came.
    AcksMissing = "acks_missing",
    /// Requests whose policy did not decide in time.
    DecisionTimeouts = "decision_timeouts",
    /// Targets left out because a request had too many.
    TargetsDropped = "targets_dropped",
    /// Contacts of 3xx responses that were tried.
    RedirectionsFollowed = "redirections_followed",
    /// Responses that went upstream without the policy that wanted to see them.
    UninspectedResponses = "uninspected_responses",
    /// Requests that the server sent for a policy.
    OwnRequests = "own_requests",
    /// Requests of a policy that were one too many.
    OwnRequestsRefused = "own_requests_refused",
    /// Requests that went by TCP because they might not fit a datagram.
    LargeRequests = "large_requests",
    /// Branches without a usable next hop.
    UnreachableTargets = "unreachable_targets",
    /// Next hops whose name could not be looked up: no name server answered.
    LookupFailures = "lookup_failures",
    /// Requests that went by what a name meant until a while ago, because nothing newer was known.
    StaleLocations = "stale_locations",
    /// Next hops that were not looked up because too many names are remembered.
    LocationsFull = "locations_full",
    /// Branches that went on to the next hop behind a name.
    Failovers = "failovers",
    /// Next hops that are tried last for a while because they failed.
    HopsBlocked = "hops_blocked",
    /// Next hops that were forgotten again because too many have failed.
    BlocklistFull = "blocklist_full",
    /// ACKs dropped because too many waited for a name to be resolved.
    ParkedFull = "parked_full",
    /// Policies that raised.
    PolicyErrors = "policy_errors",
    /// Groups of registrations that could not be written.
    LocationWriteFailures = "location_write_failures",
    /// Bindings that the location table accepted.
    BindingsSaved = "bindings_saved",
}

/// The counters of one worker since its start.
pub struct Counts([u64; Count::NAMES.len()]);

impl Default for Counts {
    fn default() -> Self {
        Self([0; Count::NAMES.len()])
    }
}

impl Counts {
    /// Adds one.
    pub fn add(&mut self, count: Count) {
        self.0[count as usize] += 1;
    }

    /// Adds several.
    pub fn add_many(&mut self, count: Count, many: u64) {
        self.0[count as usize] += many;
    }

    /// Adds to the counter of that name; false when there is none.
    pub fn add_by_name(&mut self, name: &str, many: u64) -> bool {
        let found = Count::NAMES.iter().position(|&known| known == name);
        found.is_some_and(|index| {
            self.0[index] += many;
            true
        })
    }

    /// One counter.
    pub fn of(&self, count: Count) -> u64 {
        self.0[count as usize]
    }

    /// All counters, in the order of [`Count::NAMES`].
    pub fn all(&self) -> &[u64] {
        &self.0
    }
}

//! The response context (RFC 3261 §16.7): everything known about one forwarded request.

use super::arrival::Arrival;
use super::best_response::rank;
use super::edit::Edits;
use super::event::SharedRequest;
use super::failover::Spare;
use super::inspection::Inspection;
use super::route::RoutePlan;
use crate::flow::Flow;
use crate::header::{HeaderField, HeaderName};
use crate::message::Message;
use crate::slots::Handle;
use smallvec::SmallVec;

/// Where the request stands between its policy and its branches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// The policy makes up its mind.
    Deciding,
    /// Branches run.
    Forwarding,
    /// All branches failed and the policy is asked again.
    Consulting,
    /// A final response has gone upstream.
    Done,
}

/// One destination that the policy named, or that a route set leads to (§16.5).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// Becomes the Request-URI.
    pub uri: Box<[u8]>,
    /// Preference in thousandths.
    pub q_milli: u16,
    /// Route set to it, each a name-addr (the Path of RFC 3327 §5.4, or what §16.4 left of the Route).
    pub routes: Vec<Box<[u8]>>,
    /// The connection by which it is reached; without routes only. The URI counts when that is gone.
    pub flow: Option<Flow>,
    /// Give up its branch when it rings for so long; what the [`ForwardOptions`] say when `None`.
    pub ring_timeout_ms: Option<u64>,
    /// What its copy differs in from the request as received.
    pub edits: Edits,
}

impl Target {
    /// Its route set, borrowed.
    pub fn route_set(&self) -> Vec<&[u8]> {
        self.routes.iter().map(|route| &**route).collect()
    }
}

/// How the policy wants a request forwarded.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct ForwardOptions {
    /// Stay on the path of the dialog.
    pub record_route: bool,
    /// Give up a branch that rings for so long; Timer C when `None`.
    pub ring_timeout_ms: Option<u64>,
    /// Ask the policy before a failure goes upstream.
    pub report_failure: bool,
    /// Try the contacts of a 3xx (§16.5). For a Request-URI only that the policy is responsible for.
    pub recurse: bool,
    /// What responses of branches differ in when they go upstream.
    pub response_edits: Edits,
    /// Show the policy each provisional response and 2xx before it goes upstream.
    pub inspect_responses: bool,
}

/// Whether a branch is to be cancelled. A CANCEL waits for the first provisional response (§9.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cancel {
    /// Nobody wants that.
    NotWanted,
    /// As soon as the branch has answered anything.
    Wanted,
    /// The CANCEL is out.
    Sent,
}

/// Where one forwarded copy stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BranchState {
    /// The next hop's name is being resolved.
    Resolving(Box<Target>),
    /// The copy is out, without an answer.
    Calling(Handle),
    /// A provisional response came.
    Ringing(Handle),
    /// A final response came, or none will.
    Ended,
}

/// One forwarded copy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientBranch {
    /// Where it stands.
    pub state: BranchState,
    /// Whether it is to be cancelled.
    pub cancel: Cancel,
    /// Its share of the request's breadth, when others ring beside it (RFC 5393 §5.3.3).
    pub breadth: Option<u16>,
    /// How long it may ring; Timer C when `None`.
    pub ring_timeout_ms: Option<u64>,
    /// It rang for longer than allowed: whatever it answers to the CANCEL counts as 408.
    pub has_timed_out: bool,
    /// Where else it can go when its next hop fails.
    pub spare: Option<Box<Spare>>,
}

/// A final response that may go upstream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FinalResponse {
    /// Its status.
    pub status: u16,
    /// The message without our Via; empty when the response is our own.
    pub bytes: Box<[u8]>,
}

/// What the server transaction of a proxied request carries.
pub struct ResponseContext {
    /// The request as received; dropped when nothing is left to be said.
    pub request: Option<SharedRequest>,
    /// How it was received.
    pub arrival: Arrival,
    /// It came with Max-Forwards 0 and must not be forwarded (§16.3 step 3).
    pub is_at_last_hop: bool,
    /// What §16.4 found in its Route.
    pub plan: RoutePlan,
    /// Where it stands.
    pub phase: Phase,
    /// The copies that were sent.
    pub branches: SmallVec<[ClientBranch; 1]>,
    /// Targets that wait until the present ones have failed, the next ones last.
    pub waiting: Vec<Target>,
    /// So many branches may be open at the same time (RFC 5393 §5).
    pub breadth: u16,
    /// So many more targets may be added.
    pub targets_left: usize,
    /// The URIs that are or were in the target set, where contacts of a 3xx may join it.
    pub target_set: Vec<Box<[u8]>>,
    /// What the copies for such contacts differ in: the same as those for the first target.
    pub redirection_edits: Option<Edits>,
    /// The best failure so far.
    pub best: Option<FinalResponse>,
    /// The challenges of the branches, when there are several.
    pub challenges: Vec<Box<[u8]>>,
    /// How it is forwarded.
    pub options: ForwardOptions,
    /// The policy keeps something for the case that all branches fail, and is told when that cannot happen any more.
    pub is_awaited: bool,
    /// The policy's part in the responses, once it has wanted one.
    pub inspection: Option<Box<Inspection>>,
}

impl ResponseContext {
    /// The context of a request that has just come.
    pub fn new(request: SharedRequest, arrival: Arrival, plan: RoutePlan) -> Self {
        Self {
            is_at_last_hop: request.max_forwards() == Some(0),
            request: Some(request),
            arrival,
            plan,
            phase: Phase::Deciding,
            branches: SmallVec::new(),
            waiting: Vec::new(),
            breadth: 0,
            targets_left: 0,
            target_set: Vec::new(),
            redirection_edits: None,
            best: None,
            challenges: Vec::new(),
            options: ForwardOptions::default(),
            is_awaited: false,
            inspection: None,
        }
    }

    /// Takes the next targets to be tried at the same time: those of the highest q that is left (§16.6), and of them no
    /// more than the breadth allows.
    pub fn take_next_group(&mut self) -> Vec<Target> {
        let Some(q_milli) = self.waiting.last().map(|target| target.q_milli) else {
            return Vec::new();
        };
        let is_in_group = |target: &Target| target.q_milli == q_milli;
        let start = self.waiting.iter().position(is_in_group).unwrap_or(0);
        let end = self.waiting.len().min(start + usize::from(self.breadth));
        self.waiting.drain(start..end).collect()
    }

    /// Tries nothing new any more.
    pub fn end_search(&mut self) {
        self.waiting.clear();
        self.options.recurse = false;
    }

    /// Takes how the request is forwarded from now on.
    pub fn set_options(&mut self, options: ForwardOptions) {
        self.is_awaited = options.report_failure || options.inspect_responses;
        match &mut self.inspection {
            Some(inspection) => inspection.want(options.inspect_responses),
            None if options.inspect_responses => {
                let mut inspection = Box::<Inspection>::default();
                inspection.want(true);
                self.inspection = Some(inspection);
            }
            None => {}
        }
        self.options = options;
    }

    /// True when no branch can still answer.
    pub fn has_ended(&self) -> bool {
        self.branches
            .iter()
            .all(|branch| branch.state == BranchState::Ended)
    }

    /// Keeps `response` if it is better than what came before (§16.7 step 6).
    pub fn offer(&mut self, response: FinalResponse) {
        if self.phase == Phase::Done {
            return;
        }
        let is_better = |best: &FinalResponse| rank(response.status) < rank(best.status);
        if self.best.as_ref().is_none_or(is_better) {
            self.best = Some(response);
        }
    }

    /// Keeps the challenges of a 401 or 407 for the one that goes upstream (§16.7 step 7).
    pub fn collect_challenges(&mut self, response: &Message<'_>) {
        if self.branches.len() < 2 || !matches!(response.status(), 401 | 407) {
            return;
        }
        let is_challenge = |field: &&HeaderField| is_challenge(field.name);
        let fields = response.headers().iter().filter(is_challenge);
        self.challenges
            .extend(fields.map(|field| response.text(field.whole).into()));
    }

    /// Frees what only an open request needs.
    pub fn finish(&mut self) {
        self.phase = Phase::Done;
        self.request = None;
        self.plan = RoutePlan::default();
        self.waiting = Vec::new();
        self.target_set = Vec::new();
        self.redirection_edits = None;
        self.best = None;
        self.challenges = Vec::new();
        for branch in &mut self.branches {
            branch.spare = None;
        }
    }
}

impl FinalResponse {
    /// Appends the response, with the challenges of other branches if it is one itself (§16.7 step 7).
    pub fn write(&self, challenges: &[Box<[u8]>], out: &mut Vec<u8>) {
        let is_challenge = matches!(self.status, 401 | 407);
        let head_end = Message::parse(&self.bytes)
            .ok()
            .filter(|_| is_challenge && !challenges.is_empty())
            .and_then(|message| message.headers().last().map(|field| field.whole.end));
        let (head, rest) = self.bytes.split_at(head_end.unwrap_or(0) as usize);
        out.extend_from_slice(head);
        if head_end.is_some() {
            for field in challenges {
                if memchr::memmem::find(head, field).is_none() {
                    out.extend_from_slice(field);
                }
            }
        }
        out.extend_from_slice(rest);
    }
}

fn is_challenge(name: HeaderName) -> bool {
    matches!(
        name,
        HeaderName::WwwAuthenticate | HeaderName::ProxyAuthenticate
    )
}

/// Keeps the `max` most preferred targets; of equal ones the first.
pub fn most_preferred(mut targets: Vec<Target>, max: usize) -> Vec<Target> {
    if targets.len() > max {
        targets.sort_by_key(|target| std::cmp::Reverse(target.q_milli));
        targets.truncate(max);
    }
    targets
}

/// Orders targets so that the next to be tried stand last; equal ones keep the policy's order.
pub fn in_order_of_trial(mut targets: Vec<Target>) -> Vec<Target> {
    targets.sort_by_key(|target| target.q_milli);
    targets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(uri: &str, q_milli: u16) -> Target {
        Target {
            uri: uri.as_bytes().into(),
            q_milli,
            routes: Vec::new(),
            flow: None,
            ring_timeout_ms: None,
            edits: Edits::NONE,
        }
    }

    #[test]
    fn section_16_6_tries_the_highest_q_first_and_equals_together() {
        let source = "127.0.0.1:5060".parse().unwrap();
        let arrival = Arrival::udp(0, source);
        let request = Message::parse(
            b"INVITE sip:b SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK1\r\nFrom: <sip:a>;tag=1\r\n\
              To: <sip:b>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n\r\n",
        );
        let request = SharedRequest::new(request.unwrap().into_owned());
        let mut context = ResponseContext::new(request, arrival, RoutePlan::default());
        context.waiting = in_order_of_trial(vec![
            target("sip:low", 100),
            target("sip:first", 700),
            target("sip:second", 700),
        ]);
        context.breadth = 60;
        let mut group = || -> Vec<String> {
            let taken = context.take_next_group();
            let text = |target: &Target| String::from_utf8_lossy(&target.uri).into_owned();
            taken.iter().map(text).collect()
        };
        assert_eq!(group(), ["sip:first", "sip:second"]);
        assert_eq!(group(), ["sip:low"]);
        assert!(group().is_empty());
    }
}

//! Two thousand calls whose fate is settled beforehand, over a network that loses every tenth message in both directions: each ends as it
//! was to end, at both sides, and nothing is left.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use confab_sip::{CallId, CallKey, EndCause, Endpoint, Event, ReinviteOutcome, Rejection, StatusCode};
use confab_testkit::netem::{Loss, PathConfig};
use confab_testkit::random::SeededRandom;

use crate::pair::{Pair, answer, invitation, offer};
use crate::simulation::Seed;

/// Calls in each direction.
const CALLS: usize = 1_000;
/// Between two calls, both directions together.
const BETWEEN: Duration = Duration::from_millis(40);
/// How long the network needs for one message at most.
const LONGEST_WAY: Duration = Duration::from_millis(60);

/// What is to become of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    CallerHangsUp,
    CalleeHangsUp,
    BothHangUp,
    /// The callee says BYE as soon as he may, the caller's ACK not being there yet.
    CalleeHangsUpAtOnce,
    /// The caller says BYE right behind the ACK.
    CallerHangsUpAtOnce,
    Busy,
    Declined,
    CancelledAtOnce,
    CancelledWhileTrying,
    CancelledWhileRinging,
    /// CANCEL and 200 are sent within the time that one message takes.
    CancelledWhileAnswered,
    /// CANCEL and 486 likewise.
    CancelledWhileRefused,
    RingsForEver,
    /// Both send a re-INVITE in the same moment, and get theirs in the end.
    BothReinvite,
}

const FATES: [Fate; 14] = [
    Fate::CallerHangsUp,
    Fate::CalleeHangsUp,
    Fate::BothHangUp,
    Fate::CalleeHangsUpAtOnce,
    Fate::CallerHangsUpAtOnce,
    Fate::Busy,
    Fate::Declined,
    Fate::CancelledAtOnce,
    Fate::CancelledWhileTrying,
    Fate::CancelledWhileRinging,
    Fate::CancelledWhileAnswered,
    Fate::CancelledWhileRefused,
    Fate::RingsForEver,
    Fate::BothReinvite,
];

impl Fate {
    /// How the call may end at the caller's side and at the callee's.
    fn ends(self) -> (&'static [&'static str], &'static [&'static str]) {
        match self {
            Fate::CallerHangsUp | Fate::CallerHangsUpAtOnce | Fate::BothReinvite => (&["hung up"], &["BYE"]),
            Fate::CalleeHangsUp | Fate::CalleeHangsUpAtOnce => (&["BYE"], &["hung up"]),
            Fate::BothHangUp => (&["hung up"], &["hung up"]),
            Fate::Busy => (&["refused 486"], &["rejected 486"]),
            Fate::Declined => (&["refused 603"], &["rejected 603"]),
            Fate::CancelledAtOnce | Fate::CancelledWhileTrying | Fate::CancelledWhileRinging => {
                (&["hung up"], &["cancelled"])
            }
            Fate::CancelledWhileAnswered => (&["hung up"], &["cancelled", "BYE"]),
            Fate::CancelledWhileRefused => (&["hung up", "refused 486"], &["cancelled", "rejected 486"]),
            // Both sides lose patience after as long.
            Fate::RingsForEver => (&["timeout"], &["cancelled", "not answered"]),
        }
    }

    fn is_answered(self) -> bool {
        matches!(
            self,
            Fate::CallerHangsUp
                | Fate::CalleeHangsUp
                | Fate::BothHangUp
                | Fate::CallerHangsUpAtOnce
                | Fate::BothReinvite
        )
    }
}

fn name_of(cause: &EndCause) -> String {
    match cause {
        EndCause::Bye { .. } => "BYE".to_owned(),
        EndCause::LocalHangUp => "hung up".to_owned(),
        EndCause::Cancelled => "cancelled".to_owned(),
        EndCause::Refused { status } => format!("refused {}", status.code()),
        EndCause::Rejected { status } => format!("rejected {}", status.code()),
        EndCause::Timeout => "timeout".to_owned(),
        EndCause::NotAnswered => "not answered".to_owned(),
        other => format!("{other:?}"),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    A,
    B,
}

/// What a side is to do at its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Deed {
    Place,
    Ring,
    Answer,
    Refuse(u16),
    Reinvite,
    HangUp,
}

/// What one side has seen of one call.
#[derive(Debug, Default)]
struct Seen {
    key: Option<CallKey>,
    established: u32,
    reinvited: u32,
    end: Option<String>,
}

struct Plan {
    fate: Fate,
    caller: Side,
    /// The INVITE carries the offer.
    offers: bool,
    seen: BTreeMap<Side, Seen>,
}

struct World {
    pair: Pair,
    random: SeededRandom,
    plans: Vec<Plan>,
    calls: BTreeMap<(Side, CallKey), usize>,
    agenda: BTreeSet<(Instant, usize, Side, Deed)>,
}

fn other(side: Side) -> Side {
    match side {
        Side::A => Side::B,
        Side::B => Side::A,
    }
}

impl World {
    fn new(seed: u64) -> World {
        let path = PathConfig {
            loss: Loss::Uniform(0.1),
            delay: Duration::from_millis(20),
            jitter: LONGEST_WAY - Duration::from_millis(20),
            jitter_reorders: true,
            ..PathConfig::default()
        };
        let mut world = World {
            pair: Pair::new(seed, path).without_trace(),
            random: SeededRandom::new(seed),
            plans: Vec::new(),
            calls: BTreeMap::new(),
            agenda: BTreeSet::new(),
        };
        let start = world.pair.now();
        for number in 0..2 * CALLS {
            let caller = if number % 2 == 0 { Side::A } else { Side::B };
            let fate = FATES[(number / 2) % FATES.len()];
            world.plans.push(Plan {
                fate,
                caller,
                offers: number % 5 != 0,
                seen: BTreeMap::from([(Side::A, Seen::default()), (Side::B, Seen::default())]),
            });
            let at = start + BETWEEN * u32::try_from(number).expect("few");
            world.agenda.insert((at, number, caller, Deed::Place));
        }
        world
    }

    fn on<R>(&mut self, side: Side, command: impl FnOnce(&mut Endpoint, Instant) -> R) -> R {
        match side {
            Side::A => self.pair.on_a(command),
            Side::B => self.pair.on_b(command),
        }
    }

    fn later(&mut self, after: Duration, plan: usize, side: Side, deed: Deed) {
        self.agenda.insert((self.pair.now() + after, plan, side, deed));
    }

    fn some_time(&mut self, longest: Duration) -> Duration {
        let longest = u64::try_from(longest.as_millis()).expect("short");
        Duration::from_millis(self.random.below(longest))
    }

    /// Runs until there is nothing to do any more.
    fn run(&mut self) {
        loop {
            self.react();
            let due = self.agenda.first().map(|(at, ..)| *at);
            match due {
                Some(at) if at <= self.pair.now() => {
                    let (_, plan, side, deed) = self.agenda.pop_first().expect("there is one");
                    self.perform(plan, side, deed);
                }
                Some(at) => self.pair.run_until_event_or(at),
                None => {
                    let before = self.pair.now();
                    self.pair.run_until_event_or(before + Duration::from_secs(300));
                    if !self.pair.has_event() {
                        return;
                    }
                }
            }
        }
    }

    fn perform(&mut self, plan: usize, side: Side, deed: Deed) {
        if deed == Deed::Place {
            return self.place(plan, side);
        }
        let Some(call) = self.plans[plan].seen[&side].key else {
            return;
        };
        if !self.calls.contains_key(&(side, call)) {
            return;
        }
        let offers = self.plans[plan].offers;
        self.on(side, |endpoint, now| match deed {
            Deed::Ring => endpoint.progress(now, call, StatusCode::RINGING, None),
            Deed::Answer => endpoint.accept(now, call, if offers { answer() } else { offer() }),
            Deed::Refuse(status) => {
                let status = StatusCode::new(status).expect("a status");
                endpoint.reject(now, call, Rejection::new(status));
            }
            Deed::Reinvite => endpoint.reinvite(now, call, Some(offer())),
            Deed::HangUp | Deed::Place => endpoint.hang_up(now, call, None),
        });
        if deed == Deed::Answer && self.plans[plan].fate == Fate::CalleeHangsUpAtOnce {
            self.on(side, |endpoint, now| endpoint.hang_up(now, call, None));
        }
    }

    fn place(&mut self, plan: usize, side: Side) {
        let flow = match side {
            Side::A => self.pair.a.flow(),
            Side::B => self.pair.b.flow(),
        };
        let mut invitation = invitation(flow, self.plans[plan].offers.then(offer));
        invitation.call_id = Some(CallId::new(plan.to_string()));
        let call = self.on(side, |endpoint, now| endpoint.invite(now, invitation));
        self.begin(plan, side, call);
        let trying = Duration::from_millis(200) + self.some_time(Duration::from_millis(300));
        match self.plans[plan].fate {
            Fate::CancelledAtOnce => self.later(Duration::ZERO, plan, side, Deed::HangUp),
            Fate::CancelledWhileTrying => self.later(trying, plan, side, Deed::HangUp),
            _ => {}
        }
    }

    fn begin(&mut self, plan: usize, side: Side, call: CallKey) {
        let seen = self.plans[plan].seen.get_mut(&side).expect("both sides");
        assert!(
            seen.key.replace(call).is_none(),
            "plan {plan} has two calls at {side:?}"
        );
        assert!(self.calls.insert((side, call), plan).is_none());
    }

    /// What the callee does with the INVITE of a plan.
    fn is_called(&mut self, plan: usize, side: Side) {
        let ringing = Duration::from_millis(50) + self.some_time(Duration::from_millis(200));
        let decided = Duration::from_secs(1) + self.some_time(Duration::from_secs(4));
        let off = self.some_time(2 * LONGEST_WAY);
        let fate = self.plans[plan].fate;
        if !matches!(fate, Fate::CancelledWhileTrying | Fate::Declined) {
            self.later(ringing, plan, side, Deed::Ring);
        }
        match fate {
            Fate::Busy => self.later(decided, plan, side, Deed::Refuse(486)),
            Fate::Declined => self.later(Duration::ZERO, plan, side, Deed::Refuse(603)),
            Fate::RingsForEver | Fate::CancelledAtOnce | Fate::CancelledWhileTrying => {}
            Fate::CancelledWhileRinging => self.later(decided, plan, other(side), Deed::HangUp),
            Fate::CancelledWhileAnswered => {
                self.later(decided, plan, side, Deed::Answer);
                self.later(decided + off - LONGEST_WAY, plan, other(side), Deed::HangUp);
            }
            Fate::CancelledWhileRefused => {
                self.later(decided, plan, side, Deed::Refuse(486));
                self.later(decided + off - LONGEST_WAY, plan, other(side), Deed::HangUp);
            }
            _ => self.later(decided, plan, side, Deed::Answer),
        }
    }

    /// What happens once both sides know that the call was answered.
    fn both_established(&mut self, plan: usize, side: Side) {
        // Longer than any repetition that is still to come.
        let talk = Duration::from_secs(10) + self.some_time(Duration::from_secs(20));
        let caller = self.plans[plan].caller;
        match self.plans[plan].fate {
            Fate::CallerHangsUp => self.later(talk, plan, caller, Deed::HangUp),
            Fate::CalleeHangsUp => self.later(talk, plan, other(caller), Deed::HangUp),
            Fate::BothHangUp => {
                self.later(talk, plan, side, Deed::HangUp);
                self.later(talk, plan, other(side), Deed::HangUp);
            }
            Fate::BothReinvite => {
                self.later(talk, plan, side, Deed::Reinvite);
                self.later(talk, plan, other(side), Deed::Reinvite);
            }
            _ => {}
        }
    }

    fn established(&mut self, side: Side, call: CallKey) {
        let plan = self.calls[&(side, call)];
        self.plans[plan]
            .seen
            .get_mut(&side)
            .expect("both sides")
            .established += 1;
        let all = self.plans[plan].seen.values().all(|seen| seen.established == 1);
        if self.plans[plan].fate == Fate::CallerHangsUpAtOnce && self.plans[plan].caller == side {
            self.on(side, |endpoint, now| endpoint.hang_up(now, call, None));
        } else if all {
            self.both_established(plan, side);
        }
    }

    fn react(&mut self) {
        for side in [Side::A, Side::B] {
            while let Some(event) = match side {
                Side::A => self.pair.a.events.pop_front(),
                Side::B => self.pair.b.events.pop_front(),
            } {
                self.take(side, event);
            }
        }
    }

    fn take(&mut self, side: Side, event: Event) {
        match event {
            Event::Invite { call, request, .. } => {
                let id = request.headers.call_id().expect("readable").expect("there");
                let plan = id.to_str_lossy().parse().expect("a number");
                self.begin(plan, side, call);
                self.is_called(plan, side);
            }
            Event::Answered { call, .. } => {
                let plan = self.calls[&(side, call)];
                if !self.plans[plan].offers {
                    self.on(side, |endpoint, now| endpoint.acknowledge(now, call, answer()));
                }
                self.established(side, call);
            }
            Event::Acked { call, .. } => self.established(side, call),
            Event::Reinvite { call, .. } => {
                self.on(side, |endpoint, now| {
                    endpoint.accept_reinvite(now, call, answer())
                });
            }
            Event::ReinviteOutcome { call, outcome } => self.reinvited(side, call, &outcome),
            Event::Ended { call, cause } => {
                let plan = self.calls.remove(&(side, call)).expect("a call ends once");
                let seen = self.plans[plan].seen.get_mut(&side).expect("both sides");
                seen.end = Some(name_of(&cause));
            }
            _ => {}
        }
    }

    fn reinvited(&mut self, side: Side, call: CallKey, outcome: &ReinviteOutcome) {
        let plan = self.calls[&(side, call)];
        match outcome {
            ReinviteOutcome::Accepted { .. } => {
                self.plans[plan]
                    .seen
                    .get_mut(&side)
                    .expect("both sides")
                    .reinvited += 1;
                if self.plans[plan].seen.values().all(|seen| seen.reinvited == 1) {
                    let caller = self.plans[plan].caller;
                    self.later(Duration::from_secs(5), plan, caller, Deed::HangUp);
                }
            }
            // Refused while another one was under way, or crossed: after the wait the next try.
            _ => {
                let wait = self.some_time(Duration::from_secs(4));
                self.later(wait, plan, side, Deed::Reinvite);
            }
        }
    }
}

#[test]
fn with_every_tenth_message_lost_all_calls_end_as_they_were_to_end() {
    for seed in 0..4 {
        run(seed);
    }
}

fn run(seed: u64) {
    let _seed = Seed(seed);
    let mut world = World::new(seed);
    world.run();
    let mut ends = BTreeMap::<_, u32>::new();
    for (number, plan) in world.plans.iter().enumerate() {
        let fate = plan.fate;
        let (caller, callee) = (&plan.seen[&plan.caller], &plan.seen[&other(plan.caller)]);
        let (at_caller, at_callee) = fate.ends();
        for (who, seen, allowed) in [("caller", caller, at_caller), ("callee", callee, at_callee)] {
            let end = seen.end.as_deref();
            assert!(
                end.is_some_and(|end| allowed.contains(&end)),
                "call {number}, {fate:?}: {end:?} at the {who}, and not {allowed:?}"
            );
        }
        let established = (caller.established, callee.established);
        // Who hangs up behind his own ACK may be faster than it.
        let answered = (
            1,
            u32::from(fate != Fate::CallerHangsUpAtOnce || callee.established == 1),
        );
        assert!(
            !fate.is_answered() || established == answered,
            "call {number}, {fate:?}: {established:?}"
        );
        assert!(
            established.0 <= 1 && established.1 <= 1,
            "call {number}, {fate:?}: {established:?}"
        );
        if fate == Fate::BothReinvite {
            assert_eq!((caller.reinvited, callee.reinvited), (1, 1), "call {number}");
        }
        *ends
            .entry((fate, caller.end.clone(), callee.end.clone()))
            .or_default() += 1;
    }
    // The races were races: they went both ways.
    for fate in [Fate::CancelledWhileAnswered, Fate::CancelledWhileRefused] {
        assert!(
            ends.keys().filter(|(of, ..)| *of == fate).count() >= 2,
            "{ends:?}"
        );
    }
    assert!(world.calls.is_empty());
    world.pair.assert_idle();
    for peer in [&world.pair.a, &world.pair.b] {
        let counters = peer.endpoint.counters();
        assert_eq!(counters.calls_ended, counters.calls_in + counters.calls_out);
        assert_eq!(counters.calls_ended, 2 * CALLS as u64);
        let lost = peer.lost();
        let share = lost.lost as f64 / lost.sent as f64;
        assert!((0.08..0.12).contains(&share), "{lost:?}");
        assert!(counters.retransmissions_out > 500, "{counters:?}");
    }
}

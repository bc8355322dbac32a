//! Two endpoints, a virtual clock and the seeded network between them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use confab_sip::{
    Body, CallKey, Endpoint, EndpointConfig, Event, Flow, Invitation, LocalContact, NameAddr, Output, SipUri,
    Uri,
};
use confab_testkit::clock::VirtualClock;
use confab_testkit::netem::{NetworkPath, PathConfig, PathCounters};
use rand::SeedableRng;
use rand::rngs::StdRng;

/// More steps than any test needs; reaching it means the two talk for ever.
const STEPS_MAX: usize = 2_000_000;

/// One side of a [`Pair`].
pub(crate) struct Peer {
    pub(crate) endpoint: Endpoint,
    flow: Flow,
    pub(crate) events: VecDeque<Event>,
    /// Start lines of everything sent, repetitions included.
    pub(crate) sent: Vec<String>,
    keep_trace: bool,
    path_out: NetworkPath<Bytes>,
}

/// `a` calls `b`, or the other way round; both are complete endpoints.
pub(crate) struct Pair {
    clock: VirtualClock,
    pub(crate) a: Peer,
    pub(crate) b: Peer,
}

/// Both paths behave alike.
pub(crate) fn perfect() -> PathConfig {
    PathConfig {
        delay: Duration::from_millis(10),
        ..PathConfig::default()
    }
}

impl Peer {
    fn new(local: &str, remote: &str, seed: u64, path: PathConfig) -> Self {
        let flow = Flow::udp(local.parse().expect("address"), remote.parse().expect("address"));
        Peer {
            endpoint: Endpoint::new(EndpointConfig::default(), Box::new(StdRng::seed_from_u64(seed))),
            flow,
            events: VecDeque::new(),
            sent: Vec::new(),
            keep_trace: true,
            path_out: NetworkPath::new(path, seed ^ 0x5eed),
        }
    }

    fn drain(&mut self, now: Instant) {
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                Output::Event(event) => self.events.push_back(event),
                Output::Transmit { flow, bytes } => {
                    assert_eq!(
                        flow.remote,
                        self.flow.remote,
                        "{}",
                        String::from_utf8_lossy(&bytes)
                    );
                    if self.keep_trace {
                        self.sent.push(start_line(&bytes));
                    }
                    self.path_out.send(now, bytes);
                }
            }
        }
    }

    /// The way to the other side.
    pub(crate) fn flow(&self) -> Flow {
        self.flow
    }

    /// What became of the messages of this side.
    pub(crate) fn lost(&self) -> PathCounters {
        self.path_out.counters()
    }

    /// How many messages with this start were sent.
    pub(crate) fn count_sent(&self, start: &str) -> usize {
        self.sent.iter().filter(|line| line.starts_with(start)).count()
    }

    /// The next event, which must be there.
    pub(crate) fn event(&mut self) -> Event {
        self.events.pop_front().expect("an event")
    }
}

pub(crate) fn start_line(bytes: &Bytes) -> String {
    let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
    String::from_utf8_lossy(line).into_owned()
}

impl Pair {
    pub(crate) fn new(seed: u64, path: PathConfig) -> Self {
        let (a, b) = ("192.0.2.1:5060", "192.0.2.2:5060");
        Pair {
            clock: VirtualClock::new(),
            a: Peer::new(a, b, seed.wrapping_mul(2), path.clone()),
            b: Peer::new(b, a, seed.wrapping_mul(2).wrapping_add(1), path),
        }
    }

    pub(crate) fn without_trace(mut self) -> Self {
        self.a.keep_trace = false;
        self.b.keep_trace = false;
        self
    }

    /// Changes the path from `a` to `b`.
    pub(crate) fn set_path_from_a(&mut self, path: PathConfig) {
        self.a.path_out.set_config(path);
    }

    pub(crate) fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Runs a command on `a`.
    pub(crate) fn on_a<R>(&mut self, command: impl FnOnce(&mut Endpoint, Instant) -> R) -> R {
        let now = self.now();
        let result = command(&mut self.a.endpoint, now);
        self.a.drain(now);
        result
    }

    /// Runs a command on `b`.
    pub(crate) fn on_b<R>(&mut self, command: impl FnOnce(&mut Endpoint, Instant) -> R) -> R {
        let now = self.now();
        let result = command(&mut self.b.endpoint, now);
        self.b.drain(now);
        result
    }

    /// `a` calls `b`.
    pub(crate) fn call(&mut self, body: Option<Body>) -> CallKey {
        let flow = self.a.flow;
        self.on_a(|endpoint, now| endpoint.invite(now, invitation(flow, body)))
    }

    /// Moves the clock to the next thing that happens and lets it happen. Returns false when nothing will, or only after `limit`.
    fn step(&mut self, limit: Instant) -> bool {
        let times = [
            self.a.path_out.next_at(),
            self.b.path_out.next_at(),
            self.a.endpoint.poll_timeout().map(|(at, _)| at),
            self.b.endpoint.poll_timeout().map(|(at, _)| at),
        ];
        let Some(next) = times.into_iter().flatten().min().filter(|next| *next <= limit) else {
            self.clock.advance_to(limit);
            return false;
        };
        self.clock.advance_to(next);
        let now = self.clock.now();
        while let Some(bytes) = self.a.path_out.poll(now) {
            self.b.endpoint.handle_message(now, self.b.flow, bytes);
            self.b.drain(now);
        }
        while let Some(bytes) = self.b.path_out.poll(now) {
            self.a.endpoint.handle_message(now, self.a.flow, bytes);
            self.a.drain(now);
        }
        for peer in [&mut self.a, &mut self.b] {
            if peer.endpoint.poll_timeout().is_some_and(|(at, _)| at <= now) {
                peer.endpoint.handle_timeout(now);
                peer.drain(now);
            }
        }
        true
    }

    /// Lets `duration` pass.
    pub(crate) fn run(&mut self, duration: Duration) {
        let limit = self.now() + duration;
        for _ in 0..STEPS_MAX {
            if !self.step(limit) {
                return;
            }
        }
        panic!("the two never stop talking");
    }

    /// Runs until one side has an event, at most two minutes.
    pub(crate) fn run_until_event(&mut self) {
        self.run_until_event_or(self.now() + Duration::from_secs(120));
    }

    /// Runs until one side has an event, at most until `limit`.
    pub(crate) fn run_until_event_or(&mut self, limit: Instant) {
        for _ in 0..STEPS_MAX {
            if self.has_event() || !self.step(limit) {
                return;
            }
        }
        panic!("the two never stop talking");
    }

    /// Whether a side has an event that nobody has looked at.
    pub(crate) fn has_event(&self) -> bool {
        !self.a.events.is_empty() || !self.b.events.is_empty()
    }

    /// Lets every timer run out and checks that nothing is left on either side.
    pub(crate) fn assert_idle(&mut self) {
        self.run(Duration::from_secs(70));
        assert!(
            self.a.endpoint.gauges().is_idle(),
            "a: {:?}",
            self.a.endpoint.gauges()
        );
        assert!(
            self.b.endpoint.gauges().is_idle(),
            "b: {:?}",
            self.b.endpoint.gauges()
        );
        assert_eq!(self.a.endpoint.poll_timeout(), None);
        assert_eq!(self.b.endpoint.poll_timeout(), None);
    }

    /// A call from `a` to `b`, answered and acknowledged; its keys on both sides.
    pub(crate) fn establish(&mut self) -> (CallKey, CallKey) {
        let a = self.call(Some(offer()));
        self.run(Duration::from_millis(50));
        let Event::Invite { call: b, .. } = self.b.event() else {
            panic!("an INVITE")
        };
        self.on_b(|endpoint, now| endpoint.accept(now, b, answer()));
        self.run(Duration::from_millis(50));
        assert!(matches!(self.a.event(), Event::Answered { .. }));
        assert!(matches!(self.b.event(), Event::Acked { .. }));
        (a, b)
    }
}

pub(crate) fn invitation(flow: Flow, body: Option<Body>) -> Invitation {
    let target = SipUri::from_addr(flow.remote).with_user("3000");
    Invitation {
        target: Uri::from(target.clone()),
        flow,
        from: NameAddr::new(SipUri::from_addr(flow.local).with_user("alice")),
        to: NameAddr::new(target),
        call_id: None,
        identity: None,
        returns: false,
        contact: LocalContact {
            user: Some("alice".to_owned()),
            is_focus: false,
            ..LocalContact::default()
        },
        body,
        headers: Vec::new(),
    }
}

pub(crate) fn offer() -> Body {
    Body::sdp("v=0 offer\r\n")
}

pub(crate) fn answer() -> Body {
    Body::sdp("v=0 answer\r\n")
}

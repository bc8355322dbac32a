//! One call: from its INVITE to its record.
//!
//! Each call is one task that owns its SDP session, its media leg and its seat in a conference, and talks to
//! their owners. [`set_up`] takes a call that comes in from INVITE to 200, [`outgoing`] one that is placed; [`established`] takes both
//! from there to the end.

mod allowance;
mod attempts;
mod bridge;
mod established;
mod handover;
mod identity;
mod media;
mod options;
mod outgoing;
mod pass;
mod redirecting;
mod referring;
mod set_up;

use std::{
    borrow::Cow,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use confab_conference::{AccountId, ConferenceId, Refusal};
use confab_documents::USUAL_MAX_CALL;
use confab_media::{LegHandle, MediaPlane};
use confab_sdp::{Capabilities, Negotiation};
use confab_sip::{CallKey, Event, Flow, HeaderName, Rejection, Request, StatusCode, Uri};
use tokio::sync::{mpsc, oneshot};

use self::allowance::{Allowance, Entry, WINDOW};
pub(crate) use self::handover::RunningCalls;
pub(super) use self::handover::authorize_watcher;
pub(super) use self::options::answer as answer_options;
pub(super) use self::outgoing::serve as serve_outgoing;
pub(crate) use self::outgoing::{Attempt, Destination as OutgoingDestination, LegFailure, Order, Race};
pub(crate) use self::pass::Pass;
pub(crate) use self::redirecting::{Forwarded, Onward, Redirects};
pub(crate) use self::referring::{Referral, Refers};
pub(super) use self::set_up::refused_route;
use super::quality::CallQuality;
use super::{
    endpoint::{Command, EndpointHandle, Incoming},
    local::LocalAddresses,
    reach::Listens,
};
use crate::{
    admission::{Admission, Place},
    cdr::{self, Cdr},
    conferences::{HangUp, MediaDispatch, Move, Participant, Registry, Seat},
    reception::{Desk, Visit},
    registrar::{Registrar, devices::Device},
    trunks::Trunks,
    wall_clock,
};

/// Hang-ups that may wait for a call: there is one reason to end, once.
const HANG_UPS: usize = 2;
/// Moves to other conferences that may wait for a call; who orders more waits.
const MOVES: usize = 2;

/// What every call task needs.
pub(crate) struct CallServer {
    /// The SIP endpoint.
    pub(crate) endpoint: EndpointHandle,
    /// Accounts and conferences.
    pub(crate) store: confab_documents::Store,
    /// Running conferences.
    pub(crate) registry: Registry<MediaPlane>,
    /// The switchboard of media events.
    pub(crate) dispatch: MediaDispatch,
    /// Addresses that SIP is bound to, to place calls from.
    pub(crate) listens: Listens,
    /// The media plane.
    pub(crate) media: Arc<MediaPlane>,
    /// Addresses that media legs may be opened on.
    pub(crate) media_binds: Vec<IpAddr>,
    /// How long a leg may be silent before the peer is asked whether the call still exists.
    pub(crate) media_timeout: Duration,
    /// This server's addresses.
    pub(crate) local: Arc<LocalAddresses>,
    /// By it a call is known that this server has placed to itself.
    pub(crate) pass: Pass,
    /// Whether callers without credentials may reach conference numbers.
    pub(crate) anonymous_dial_in: bool,
    /// Numbers that ask for the number of the conference, in every account.
    pub(crate) service_numbers: Vec<String>,
    /// Where callers are received before they are in a conference.
    pub(crate) desk: Arc<Desk>,
    /// Who has registered, and asks devices for their credentials.
    pub(crate) registrar: Registrar,
    /// The gateways by which calls go to the world.
    pub(crate) trunks: Trunks,
    /// What is offered and accepted for audio.
    pub(crate) capabilities: Arc<Capabilities>,
    /// The door for new calls.
    pub(crate) admission: Admission,
    /// Where records go.
    pub(crate) cdr: Cdr,
    /// What became of calls.
    pub(crate) stats: CallStats,
    /// Calls whose place another one may take.
    pub(crate) running: RunningCalls,
    /// Calls whom participants' phones want called; set once there is somebody who does.
    pub(crate) refers: OnceLock<Arc<dyn Refers>>,
    /// Where phones may send calls that they do not take; set with it.
    pub(crate) redirects: OnceLock<Arc<dyn Redirects>>,
}

/// Counts of what became of calls.
#[derive(Default)]
pub(crate) struct CallStats {
    /// Calls answered with 200.
    pub(crate) answered: AtomicU64,
    /// Calls that this server placed, by what became of them: `answered`, or a failure's name in records.
    pub(crate) dialled: dashmap::DashMap<&'static str, u64>,
    /// Calls refused, by status.
    pub(crate) refused: dashmap::DashMap<u16, u64>,
    /// How ended calls were heard.
    pub(crate) quality: CallQuality,
    /// Records of refused calls that were left out of `cdr.jsonl`.
    pub(crate) records_left_out: AtomicU64,
    /// Which refusals get a line of the log.
    refusal_log: Allowance<10>,
    /// Which refused calls get a record that found no conference.
    lost_records: Allowance<10>,
    /// Which refused calls get a record that found one.
    refused_records: Allowance<100>,
}

impl CallStats {
    /// Whether a call that ended at `now` gets its record. Every answered one does; of the others so many a second that
    /// nobody fills the disk by calling.
    fn keeps_record(&self, trail: &Trail, now: Instant) -> bool {
        if trail.status == StatusCode::UNAUTHORIZED.code() && trail.direction == "inbound" {
            // A question: the call itself is yet to come.
            return false;
        }
        let entry = match (trail.answered, &trail.account) {
            (Some(_), _) => return true,
            (None, Some(_)) => self.refused_records.enter(now),
            (None, None) => self.lost_records.enter(now),
        };
        let keeps = entry == Entry::Write;
        if !keeps {
            self.records_left_out.fetch_add(1, Ordering::Relaxed);
        }
        keeps
    }
}

/// Why a call is not taken.
#[derive(Debug)]
pub(super) struct Refused {
    status: StatusCode,
    /// Shown to the peer in a Warning header and written to the record.
    text: String,
    /// The text repeats what the peer wrote, which stays out of the log above DEBUG.
    has_peers_words: bool,
    /// What the operator is told besides, in the log only.
    for_operator: Option<String>,
    headers: Vec<(HeaderName, String)>,
}

impl Refused {
    pub(super) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self {
            status,
            text: text.into(),
            has_peers_words: false,
            for_operator: None,
            headers: Vec::new(),
        }
    }

    fn with_peers_words(mut self) -> Self {
        self.has_peers_words = true;
        self
    }

    fn telling_the_operator(mut self, text: impl Into<String>) -> Self {
        self.for_operator = Some(text.into());
        self
    }

    /// Why, as far as the log may know.
    fn logged(&self) -> &str {
        if self.has_peers_words {
            "its session description cannot be used"
        } else {
            &self.text
        }
    }

    pub(super) fn with_header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn into_rejection(self) -> Rejection {
        // 399 is the warning code for anything without its own (RFC 3261 §20.43).
        let warning = format!("399 confab \"{}\"", self.text.replace(['"', '\\'], "'"));
        let has_warning = self.headers.iter().any(|(name, _)| *name == HeaderName::Warning);
        let mut rejection = Rejection::new(self.status);
        rejection.headers = self.headers;
        if has_warning {
            rejection
        } else {
            rejection.with_header(HeaderName::Warning, warning)
        }
    }
}

/// A call that was answered.
struct Established {
    leg: Arc<LegHandle>,
    negotiation: Negotiation,
    peer: media::Peer,
    seat: Seated,
    hang_ups: mpsc::Receiver<HangUp>,
    hang_up: mpsc::Sender<HangUp>,
    moves: mpsc::Receiver<Move>,
    mover: mpsc::Sender<Move>,
    /// Neither RTP nor RTCP has come for a while.
    is_silent: bool,
    /// The peer has been sent audio in this call, as opposed to one that only ever speaks.
    was_two_way: bool,
    /// The peer holds the call: neither side is heard.
    is_held: bool,
    /// The way it came, or goes.
    flow: Flow,
    /// The device that calls, where it has shown that it is one.
    device: Option<Arc<Device>>,
    /// What the peer has asked for by REFER, until it is known how it went.
    errand: Option<oneshot::Receiver<StatusCode>>,
    /// The call that wants its place.
    taker: Option<oneshot::Sender<handover::Handover>>,
    /// Another call has taken its place, and its leg.
    is_handed_over: bool,
    /// How long it may last.
    lasts: Duration,
    /// Told how the first join went, for a call that this server has placed.
    joined: Option<oneshot::Sender<Result<(), Refusal>>>,
    /// Held for as long as the call runs.
    _place: Place,
}

impl Established {
    fn new(
        leg: Arc<LegHandle>,
        negotiation: Negotiation,
        peer: media::Peer,
        seat: Seated,
        place: Place,
        flow: Flow,
    ) -> Established {
        let (hang_up, hang_ups) = mpsc::channel(HANG_UPS);
        let (mover, moves) = mpsc::channel(MOVES);
        let was_two_way = negotiation.audio().is_some_and(|audio| !audio.hold);
        Established {
            leg,
            negotiation,
            peer,
            seat,
            hang_ups,
            hang_up,
            moves,
            mover,
            is_silent: false,
            was_two_way,
            is_held: false,
            flow,
            device: None,
            errand: None,
            taker: None,
            is_handed_over: false,
            lasts: USUAL_MAX_CALL,
            joined: None,
            _place: place,
        }
    }
}

/// Where the caller is: with a late offer the place is reserved until the ACK brings the answer.
enum Seated {
    /// On his way: he is told or asked something first, once media flows.
    Received(Box<Visit>),
    Reserved(Seat<MediaPlane>),
    Joined(Participant<MediaPlane>),
    Gone,
}

/// What the record needs to know, gathered along the way.
struct Trail {
    call: CallKey,
    /// `inbound` or `outbound`.
    direction: &'static str,
    outline: Outline,
    remote: SocketAddr,
    started: Instant,
    started_at: String,
    answered: Option<Instant>,
    account: Option<AccountId>,
    conference: Option<ConferenceId>,
    participant_id: Option<u64>,
    codec: Option<String>,
    status: u16,
    end_cause: String,
    media: Option<confab_media::LegStats>,
}

/// Runs one call to its end and writes its record.
#[tracing::instrument(name = "call", skip_all, fields(call = %incoming.call))]
pub(crate) async fn serve(server: Arc<CallServer>, incoming: Incoming) {
    let Incoming {
        call,
        request,
        flow,
        replaces,
        mut events,
    } = incoming;
    let mut watch = Watch {
        server: &server,
        in_order: false,
        trail: Trail::new(call, "inbound", Outline::of(&request), flow),
    };
    let trail = &mut watch.trail;
    tracing::debug!(?flow.remote, headers = ?trail.outline, "call began");
    let answered = match replaces {
        Some(replaced) => {
            let calls = (call, replaced);
            handover::take_over(&server, calls, &request, flow, &mut events, trail).await
        }
        None => set_up::run(&server, call, &request, flow, &mut events, trail).await,
    };
    match answered {
        Ok(established) => {
            established::run(&server, call, established, &mut events, trail).await;
        }
        Err(set_up::Failure::Refused(refused)) => {
            let status = refused.status.code();
            if refused.status != StatusCode::UNAUTHORIZED {
                log_refusal(&server, &refused);
            }
            trail.status = status;
            trail.end_cause.clone_from(&refused.text);
            *server.stats.refused.entry(status).or_default() += 1;
            server
                .endpoint
                .send(Command::Reject(call, refused.into_rejection()))
                .await;
        }
        Err(set_up::Failure::Over(cause)) => {
            tracing::debug!(cause, "call over before its answer");
            trail.status = StatusCode::REQUEST_TERMINATED.code();
            cause.clone_into(&mut trail.end_cause);
        }
    }
    server.endpoint.send(Command::Forget(call)).await;
    if server.stats.keeps_record(trail, Instant::now()) {
        let place = server.cdr.place().await;
        place.write(trail.record());
    }
    watch.in_order = true;
}

/// Writes the line of a refused call, or counts it when there are too many.
fn log_refusal(server: &Arc<CallServer>, refused: &Refused) {
    let status = refused.status.code();
    tracing::debug!(status, why = refused.text, "refusing");
    match server.stats.refusal_log.enter(Instant::now()) {
        Entry::Write => match &refused.for_operator {
            Some(more) if status >= 500 => {
                tracing::warn!(status, why = refused.logged(), more, "call refused")
            }
            Some(more) => tracing::info!(status, why = refused.logged(), more, "call refused"),
            None => tracing::info!(status, why = refused.logged(), "call refused"),
        },
        Entry::LeaveOut { is_first: false } => {}
        Entry::LeaveOut { is_first: true } => {
            let server = Arc::clone(server);
            tokio::spawn(async move {
                tokio::time::sleep(WINDOW).await;
                let calls = server.stats.refusal_log.take_left_out();
                tracing::info!(calls, "more calls were refused");
            });
        }
    }
}

/// The number or name that an address has: the user part of a SIP URI, or the number of a `tel` URI (RFC 3966) without its
/// parameters.
fn number_of(uri: &Uri) -> String {
    match uri {
        Uri::Sip(uri) => uri
            .user_decoded()
            .map(|user| user.to_str_lossy().into_owned())
            .unwrap_or_default(),
        Uri::Other(other) if other.scheme.eq_ignore_case("tel") => {
            let rest = other.rest.to_str_lossy();
            rest.split(';').next().unwrap_or_default().to_owned()
        }
        Uri::Other(_) => String::new(),
    }
}

/// What tells a call from others. Never above DEBUG in the log.
#[derive(Debug)]
struct Outline {
    /// User part of From, empty where there is none; so with the others.
    from: String,
    /// User part of the request URI.
    to: String,
    call_id: String,
}

impl Outline {
    fn of(request: &Request) -> Self {
        let headers = &request.headers;
        let from = headers.from().ok().flatten();
        let to_user = request.uri.as_sip().and_then(|uri| uri.user_decoded());
        let call_id = headers.call_id().ok().flatten();
        let kept = |text: Option<Cow<'_, str>>| cdr::shortened(text.unwrap_or_default().into_owned());
        Self {
            from: cdr::shortened(from.map(|from| number_of(&from.uri)).unwrap_or_default()),
            to: kept(to_user.as_ref().map(|user| user.to_str_lossy())),
            call_id: kept(call_id.as_ref().map(|id| id.to_str_lossy())),
        }
    }
}

/// Ends the call with the peer, and writes its record, when its task breaks down, or is dropped, before its end.
struct Watch<'a> {
    server: &'a CallServer,
    trail: Trail,
    /// The end is in order.
    in_order: bool,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if self.in_order {
            return;
        }
        self.server.endpoint.abandon(self.trail.call);
        if self.trail.end_cause.is_empty() {
            let cause = if std::thread::panicking() {
                "failure"
            } else {
                "server_shutdown"
            };
            cause.clone_into(&mut self.trail.end_cause);
        }
        if self.server.stats.keeps_record(&self.trail, Instant::now()) {
            self.server.cdr.write_now(self.trail.record());
        }
    }
}

impl Trail {
    fn new(call: CallKey, direction: &'static str, outline: Outline, flow: Flow) -> Self {
        Self {
            call,
            direction,
            outline,
            remote: flow.remote,
            started: Instant::now(),
            started_at: wall_clock::rfc3339(std::time::SystemTime::now()),
            answered: None,
            account: None,
            conference: None,
            participant_id: None,
            codec: None,
            status: 0,
            end_cause: String::new(),
            media: None,
        }
    }

    fn record(&self) -> cdr::Record {
        cdr::Record {
            call: self.call.to_string(),
            call_id: self.outline.call_id.clone(),
            direction: self.direction,
            account_id: self.account.as_ref().map(AccountId::to_string),
            conference_id: self.conference.as_ref().map(ConferenceId::to_string),
            participant_id: self.participant_id,
            from: self.outline.from.clone(),
            to: self.outline.to.clone(),
            remote: self.remote.to_string(),
            started: self.started_at.clone(),
            answered_after_ms: self.answered.map(|answered| millis(answered - self.started)),
            duration_ms: millis(self.started.elapsed()),
            status: self.status,
            end_cause: cdr::shortened(self.end_cause.clone()),
            media: self.media.as_ref().map(|stats| cdr::Media {
                codec: self.codec.clone().unwrap_or_default(),
                packets_received: stats.packets_received,
                packets_sent: stats.packets_sent,
                packets_lost: u64::try_from(stats.packets_lost).unwrap_or(0),
                packets_late: stats.packets_late,
                jitter_ms: stats.jitter.as_secs_f64() * 1e3,
                concealed_ms: stats.concealed_ms,
                repaired_ms: stats.repaired_ms,
                mos: stats.mos_hundredths.map(|mos| f64::from(mos) / 100.0),
                skew_ppm: stats.skew_ppm,
                remote_loss: stats.remote_loss_percent(),
                round_trip_ms: stats.round_trip.map(|time| time.as_secs_f64() * 1e3),
                digits: stats.digits_received,
            }),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Whether the events say that the call is already over (cancelled, or its transport failed).
fn over(events: &mut mpsc::Receiver<Event>) -> Option<&'static str> {
    loop {
        match events.try_recv() {
            Ok(Event::Ended { cause, .. }) => return Some(established::label(&cause)),
            Ok(_) => {}
            Err(mpsc::error::TryRecvError::Empty) => return None,
            Err(mpsc::error::TryRecvError::Disconnected) => return Some("gone"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sip_and_tel_addresses_have_a_number() {
        for (uri, number) in [
            ("sip:+49123@example.com", "+49123"),
            ("sips:a%20b@example.com", "a b"),
            ("sip:example.com", ""),
            ("tel:+49-123;phone-context=x", "+49-123"),
            ("TEL:112", "112"),
            ("mailto:a@example.com", ""),
        ] {
            assert_eq!(number_of(&Uri::parse(uri.to_owned()).unwrap()), number, "{uri}");
        }
    }
}

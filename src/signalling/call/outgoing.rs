//! A call that this server places: from the INVITE to its answer, and the race of those that are called for one place.
//!
//! Nothing is held when it fails: the leg and the place among the calls are given back on the way out, and the seat when all who
//! race for it have failed.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use confab_conference::{AccountId, Caller, ConferenceId, Refusal};
use confab_media::{LegHandle, MediaEvent};
use confab_sdp::{Capabilities, Negotiation, SessionDescription};
use confab_sip::{
    Body, CallId, CallKey, DigestIdentity, EndCause, Event, Flow, HeaderName, Headers, Invitation,
    LocalContact, NameAddr, Reason, Rejection, SipUri, StatusCode, Uri,
};
use futures_util::future::BoxFuture;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};

use super::{
    CallServer, Established, Outline, Seated, Trail, Watch,
    attempts::{Heard, retry_after},
    established,
    media::Peer,
    redirecting,
    set_up::open_leg,
};
use crate::{
    cdr,
    conferences::Seat,
    reception::{Invited, YES, known_name},
    signalling::{
        endpoint::{Command, Placed},
        reach::NoWay,
    },
    trunks::GatewayUse,
};

/// How long whoever answered may take to press the key, and how much longer than it could ring.
const CONFIRM_TIME: Duration = Duration::from_secs(15);
const CONFIRM_GRACE: Duration = Duration::from_secs(4);

/// Where a call goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Destination {
    /// Request-URI.
    pub(crate) target: SipUri,
    /// Where the request is sent in place of the target: a proxy, or the first Route.
    pub(crate) by: Option<SipUri>,
    /// The way that is open already, of a phone that has registered over it.
    pub(crate) flow: Option<Flow>,
    /// It is a number of this server's own: the call comes back in, to another conference.
    pub(crate) is_internal: bool,
}

/// One way to whom a call is for.
pub(crate) struct Attempt {
    /// Where to.
    pub(crate) destination: Destination,
    /// Who is shown as calling.
    pub(crate) from: NameAddr,
    /// Who is called.
    pub(crate) to: NameAddr,
    /// Who we are when the far side asks.
    pub(crate) identity: Option<DigestIdentity>,
    /// Further header fields of the INVITE.
    pub(crate) headers: Vec<(HeaderName, String)>,
    /// What is offered.
    pub(crate) capabilities: Arc<Capabilities>,
    /// How long it may take until the far side rings.
    pub(crate) progress_within: Option<Duration>,
    /// It is a gateway: it has to say something soon, and is told what came of it.
    pub(crate) gateway: Option<GatewayUse>,
    /// What the participant shows of it.
    pub(crate) channel_vars: Vec<(String, String)>,
}

/// A call to place.
pub(crate) struct Order {
    /// The account that pays.
    pub(crate) account: AccountId,
    /// The conference that whoever answers joins.
    pub(crate) conference: ConferenceId,
    /// The ways to him: the next where one is not there or has no room; at least one.
    pub(crate) attempts: Vec<Attempt>,
    /// Call-ID.
    pub(crate) call_id: String,
    /// The participant whom the call becomes.
    pub(crate) caller: Caller,
    /// When it has rung for long enough.
    pub(crate) ring_until: Instant,
    /// How long it may last.
    pub(crate) lasts: Duration,
    /// Whoever answers has to press 1.
    pub(crate) confirms: bool,
    /// It is a registered device, whose redirections (3xx) are followed.
    pub(crate) follows: bool,
    /// Where the last one who was called sends the call instead.
    pub(crate) contacts: Vec<SipUri>,
    /// The language in which he is asked to.
    pub(crate) language: String,
    /// What is raced for.
    pub(crate) race: Arc<Race>,
    /// Comes when the conference has ended.
    pub(crate) ended: BoxFuture<'static, ()>,
    /// Told how it went.
    pub(crate) report: oneshot::Sender<Result<(), LegFailure>>,
    /// Held for as long as the call runs.
    pub(crate) _permit: Box<dyn Send + Sync>,
}

/// Why a call that was placed came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LegFailure {
    /// There is no way there.
    NoWay(NoWay),
    /// This server takes no more calls, or has no port for its media.
    Overloaded,
    /// The far side refused, with this status.
    Refused(u16),
    /// Nothing came back.
    NoResponse,
    /// It rang for its time; it was cancelled.
    NoAnswer,
    /// What was agreed on cannot be used.
    Incompatible,
    /// Whoever answered did not press the key.
    NotConfirmed,
    /// Another one was faster; it was cancelled, or ended.
    LostRace,
    /// The conference did not let in who answered.
    NotAdmitted(Refusal),
    /// The conference ended meanwhile, or the server does.
    Over,
}

/// One place in a conference, for the first of several who answers.
pub(crate) struct Race {
    seat: Mutex<Option<Seat>>,
    won: watch::Sender<bool>,
}

impl Race {
    /// Returns a race for this place. When nobody wins it, it is given back with the last one who could have.
    pub(crate) fn new(seat: Seat) -> Arc<Race> {
        Arc::new(Race {
            seat: Mutex::new(Some(seat)),
            won: watch::Sender::new(false),
        })
    }

    /// Wins the place, for who comes first.
    fn win(&self) -> Option<Seat> {
        let seat = self.seat.lock().unwrap_or_else(PoisonError::into_inner).take();
        if seat.is_some() {
            self.won.send_replace(true);
        }
        seat
    }

    /// Waits until somebody has won. Cancel-safe.
    async fn lost(&self) {
        // The sender lives as long as `self`.
        let _ = self.won.subscribe().wait_for(|won| *won).await;
    }
}

/// Places one call and runs it to its end.
#[tracing::instrument(name = "call", skip_all)]
pub(crate) async fn serve(server: Arc<CallServer>, order: Order) {
    let mut order = order;
    let outcome = redirecting::run(&server, &mut order).await;
    if let Err(failure) = outcome {
        *server.stats.dialled.entry(failure.label()).or_default() += 1;
        tracing::info!(?failure, "a call that was placed came to nothing");
        // Whoever dialled may have gone.
        let _ = order.report.send(Err(failure));
    }
}

/// Calls one address; the first response has to come within the time that is given, if there is one.
pub(super) async fn call(
    server: &Arc<CallServer>,
    order: &mut Order,
    attempt: &Attempt,
    flow: Flow,
    (heard, heard_within): (&mut Heard, Option<Duration>),
) -> Result<(), LegFailure> {
    let place = server.admission.enter().map_err(|_| LegFailure::Overloaded)?;
    let peer = Peer::answered(flow.remote.ip(), &Headers::new());
    let opened = open_leg(server, &attempt.capabilities, &peer, flow.local.ip(), None);
    let (leg, mut negotiation) = opened.map_err(|refused| {
        if refused.status == StatusCode::NOT_ACCEPTABLE_HERE {
            LegFailure::NoWay(NoWay::Transport)
        } else {
            LegFailure::Overloaded
        }
    })?;
    let invitation = invitation(order, attempt, flow, &mut negotiation);
    let Some(placed) = place_call(server, invitation).await else {
        leg.close().await;
        return Err(LegFailure::Over);
    };
    let Placed { call, mut events } = placed;
    let outline = Outline {
        from: cdr::shortened(super::number_of(&attempt.from.uri)),
        to: cdr::shortened(super::number_of(&Uri::Sip(attempt.destination.target.clone()))),
        call_id: order.call_id.clone(),
    };
    let mut watch = Watch {
        server,
        in_order: false,
        trail: Trail::new(call, "outbound", outline, flow),
    };
    let trail = &mut watch.trail;
    trail.account = Some(order.account.clone());
    trail.conference = Some(order.conference.clone());
    tracing::debug!(%call, ?flow.remote, outline = ?trail.outline, "call placed");
    let ringing = Ringing {
        server,
        order,
        attempt,
        heard,
        call,
        events: &mut events,
        heard_by: heard_within.map(|within| Instant::now() + within),
    };
    let outcome = match ringing.wait().await {
        Ok(answer) => {
            let answered = Answered {
                call,
                leg: Arc::new(leg),
                negotiation,
                place,
                flow,
            };
            answered
                .join(server, order, attempt, answer, &mut events, trail)
                .await
        }
        Err(failure) => {
            leg.close().await;
            Err(failure)
        }
    };
    if let Err(failure) = outcome
        && trail.answered.is_none()
    {
        trail.status = failure.status();
        failure.label().clone_into(&mut trail.end_cause);
    }
    server.endpoint.send(Command::Forget(call)).await;
    if server.stats.keeps_record(trail, std::time::Instant::now()) {
        let place = server.cdr.place().await;
        place.write(trail.record());
    }
    watch.in_order = true;
    outcome
}

/// The call as the endpoint is to place it.
fn invitation(order: &Order, attempt: &Attempt, flow: Flow, negotiation: &mut Negotiation) -> Invitation {
    Invitation {
        target: Uri::Sip(attempt.destination.target.clone()),
        flow,
        from: attempt.from.clone(),
        to: attempt.to.clone(),
        call_id: Some(CallId::new(order.call_id.as_str())),
        // What is called back is the conference (RFC 4579 §3.1).
        contact: LocalContact {
            user: Some(order.conference.to_string()),
            is_focus: true,
            ..LocalContact::default()
        },
        body: Some(Body::sdp(negotiation.offer().to_string())),
        identity: attempt.identity.clone(),
        returns: attempt.destination.is_internal,
        headers: attempt.headers.clone(),
    }
}

/// Sends the INVITE; `None` when the endpoint is gone.
async fn place_call(server: &CallServer, invitation: Invitation) -> Option<Placed> {
    let (reply, placed) = oneshot::channel();
    let command = Command::Invite(Box::new(invitation), reply);
    server.endpoint.send(command).await;
    placed.await.ok()
}

/// A call that has no answer yet.
struct Ringing<'a> {
    server: &'a CallServer,
    order: &'a mut Order,
    attempt: &'a Attempt,
    heard: &'a mut Heard,
    call: CallKey,
    events: &'a mut mpsc::Receiver<Event>,
    /// When it has been silent for long enough, as there is another address to call.
    heard_by: Option<Instant>,
}

/// What a 2xx brought.
struct Answer {
    body: Option<Body>,
    headers: Headers,
}

impl Ringing<'_> {
    /// Waits for the answer, and takes the call back when nobody wants it any more.
    async fn wait(self) -> Result<Answer, LegFailure> {
        let mut heard_by = self.heard_by;
        let mut refused = None;
        let now = Instant::now();
        let mut progress_until = self.attempt.progress_within.map(|within| now + within);
        let (failure, reason) = loop {
            let progress = tokio::time::sleep_until(progress_until.unwrap_or(self.order.ring_until));
            let silence = tokio::time::sleep_until(heard_by.unwrap_or(self.order.ring_until));
            tokio::select! {
                biased;
                event = self.events.recv() => match event {
                    Some(Event::Trying { .. }) => {
                        self.heard.any = true;
                        heard_by = None;
                    }
                    Some(Event::Progress { status, .. }) => {
                        self.heard.any = true;
                        self.heard.rang |= status == StatusCode::RINGING;
                        (progress_until, heard_by) = (None, None);
                    }
                    Some(Event::Answered { body, headers, .. }) => {
                        if let Some(gateway) = &self.attempt.gateway {
                            gateway.present();
                        }
                        return Ok(Answer { body, headers });
                    }
                    Some(Event::Failed { status, headers, .. }) => {
                        self.heard.any = true;
                        self.heard.retry_after = retry_after(&headers);
                        refused = Some(status.code());
                        if status.class() == 3 {
                            self.order.contacts = redirecting::contacts(&headers);
                        }
                    }
                    Some(Event::Ended { cause, .. }) => return Err(ended(&cause, refused)),
                    Some(_) => {}
                    None => return Err(refused.map_or(LegFailure::NoResponse, LegFailure::Refused)),
                },
                () = self.order.race.lost() => {
                    break (LegFailure::LostRace, Some(Reason::sip(200, "Call completed elsewhere")));
                }
                () = &mut self.order.ended => {
                    break (LegFailure::Over, Some(Reason::sip(480, "conference ended")));
                }
                () = self.server.admission.draining() => {
                    break (LegFailure::Over, Some(Reason::sip(503, "server shutting down")));
                }
                () = tokio::time::sleep_until(self.order.ring_until) => {
                    break (LegFailure::NoAnswer, Some(Reason::q850(19, "no answer")));
                }
                () = silence, if heard_by.is_some() => {
                    break (LegFailure::NoResponse, Some(Reason::q850(18, "no user responding")));
                }
                () = progress, if progress_until.is_some() => {
                    break (LegFailure::NoResponse, Some(Reason::q850(18, "no user responding")));
                }
            }
        };
        self.server
            .endpoint
            .send(Command::HangUp(self.call, reason))
            .await;
        Err(failure)
    }
}

/// Why a call ended that was not answered.
fn ended(cause: &EndCause, refused: Option<u16>) -> LegFailure {
    match (refused, cause) {
        (Some(status), _) => LegFailure::Refused(status),
        (None, EndCause::Refused { status }) => LegFailure::Refused(status.code()),
        (None, EndCause::UnusableAnswer) => LegFailure::Incompatible,
        (None, EndCause::TransportFailed) => LegFailure::NoWay(NoWay::Connection),
        _ => LegFailure::NoResponse,
    }
}

/// A call that was answered, before its far side has joined.
struct Answered {
    call: CallKey,
    leg: Arc<LegHandle>,
    negotiation: Negotiation,
    place: crate::admission::Place,
    flow: Flow,
}

impl Answered {
    /// Lets who answered into the conference, if he is the first of those who were called for the place, and serves him to his end.
    async fn join(
        mut self,
        server: &Arc<CallServer>,
        order: &mut Order,
        attempt: &Attempt,
        answer: Answer,
        events: &mut mpsc::Receiver<Event>,
        trail: &mut Trail,
    ) -> Result<(), LegFailure> {
        let peer = Peer::answered(self.flow.remote.ip(), &answer.headers);
        let agreed = answer
            .body
            .and_then(|body| SessionDescription::parse(&body.bytes).ok())
            .and_then(|answer| self.negotiation.accept_answer(&answer).ok())
            .and_then(|agreed| Some((peer.leg_media(&agreed.audio)?, agreed.audio.codec.name)));
        let Some((media, codec)) = agreed else {
            let reason = Reason::sip(488, "no common session description");
            return self.give_up(server, reason, LegFailure::Incompatible).await;
        };
        if self.leg.start(media).await.is_err() {
            let reason = Reason::sip(500, "no media");
            return self.give_up(server, reason, LegFailure::Incompatible).await;
        }
        // The lobby lasts until the leg has come into the conference.
        let mut lobby = None;
        if order.confirms {
            match self.confirm(server, order, events).await {
                Ok(invited) => lobby = Some(invited),
                Err((failure, reason)) => return self.give_up(server, reason, failure).await,
            }
        }
        let Some(seat) = order.race.win() else {
            let reason = Reason::sip(200, "Call completed elsewhere");
            return self.give_up(server, reason, LegFailure::LostRace).await;
        };
        let mut caller = order.caller.clone();
        caller.channel_vars.extend(attempt.channel_vars.iter().cloned());
        caller.spoken_name = known_name(&server.store, &order.account, &caller).await;
        seat.identify(caller).await;
        *server.stats.dialled.entry("answered").or_default() += 1;
        trail.answered = Some(std::time::Instant::now());
        trail.status = StatusCode::OK.code();
        trail.codec = Some(codec);
        let Answered {
            call,
            leg,
            negotiation,
            place,
            flow,
        } = self;
        let mut established = Established::new(leg, negotiation, peer, Seated::Reserved(seat), place, flow);
        let (joined, joins) = oneshot::channel();
        established.lasts = order.lasts;
        established.joined = Some(joined);
        let (unused, _) = oneshot::channel();
        let report = std::mem::replace(&mut order.report, unused);
        let told = async move {
            let outcome = match joins.await {
                Ok(outcome) => outcome.map_err(LegFailure::NotAdmitted),
                Err(_) => Err(LegFailure::Over),
            };
            // Whoever dialled may have gone.
            let _ = report.send(outcome);
        };
        if let Some(lobby) = &lobby {
            lobby.stop().await;
        }
        let served = established::run(server, call, established, events, trail);
        // What is told comes of what is served, within the same task.
        futures_util::future::join(served, told).await;
        Ok(())
    }

    /// Asks who answered whether he comes.
    async fn confirm(
        &self,
        server: &CallServer,
        order: &mut Order,
        events: &mut mpsc::Receiver<Event>,
    ) -> Result<Invited, (LegFailure, Reason)> {
        let mut keys = server.dispatch.subscribe(self.leg.id());
        let until = (Instant::now() + CONFIRM_TIME).min(order.ring_until + CONFIRM_GRACE);
        let invited = Invited::ask(&server.desk, &self.leg, (&order.account, &order.language)).await;
        let invited = invited.map_err(|_| {
            (
                LegFailure::Overloaded,
                Reason::sip(503, "no media resources left"),
            )
        })?;
        loop {
            tokio::select! {
                biased;
                event = events.recv() => match event {
                    Some(Event::Digit { digit, .. }) => {
                        // It comes as a key of the leg.
                        let _ = self.leg.digit_by_info(digit.key, digit.duration_ms).await;
                    }
                    Some(Event::Reinvite { call, .. }) => {
                        let rejection = Rejection::new(StatusCode::TEMPORARILY_UNAVAILABLE);
                        server.endpoint.send(Command::RejectReinvite(call, rejection)).await;
                    }
                    Some(Event::Refer { call, .. }) => {
                        let rejection = Rejection::new(StatusCode::TEMPORARILY_UNAVAILABLE);
                        server.endpoint.send(Command::RejectRefer(call, rejection)).await;
                    }
                    Some(Event::Ended { .. }) | None => {
                        return Err((LegFailure::NotConfirmed, Reason::sip(487, "hung up")));
                    }
                    Some(_) => {}
                },
                Some(event) = keys.recv() => {
                    if matches!(event, MediaEvent::Dtmf { digit: YES, .. }) {
                        return Ok(invited);
                    }
                }
                () = order.race.lost() => {
                    return Err((LegFailure::LostRace, Reason::sip(200, "Call completed elsewhere")));
                }
                () = &mut order.ended => {
                    return Err((LegFailure::Over, Reason::sip(480, "conference ended")));
                }
                () = server.admission.draining() => {
                    return Err((LegFailure::Over, Reason::sip(503, "server shutting down")));
                }
                () = tokio::time::sleep_until(until) => {
                    return Err((LegFailure::NotConfirmed, Reason::q850(19, "no key was pressed")));
                }
            }
        }
    }

    async fn give_up(
        self,
        server: &CallServer,
        reason: Reason,
        failure: LegFailure,
    ) -> Result<(), LegFailure> {
        let hang_up = Command::HangUp(self.call, Some(reason));
        server.endpoint.send(hang_up).await;
        self.leg.close().await;
        Err(failure)
    }
}

impl LegFailure {
    /// Whether another way may come to more: the far side is not there, or has a fault of its own.
    pub(super) fn leads_on(self) -> bool {
        matches!(
            self,
            LegFailure::NoWay(_) | LegFailure::NoResponse | LegFailure::Refused(408 | 500..=599)
        )
    }

    /// The status that stands in the record of such a call.
    fn status(self) -> u16 {
        match self {
            LegFailure::Refused(status) => status,
            LegFailure::NoWay(NoWay::Connection) => 503,
            LegFailure::NoWay(_) => 404,
            LegFailure::Overloaded => 503,
            LegFailure::NoResponse => 408,
            LegFailure::Incompatible => 488,
            LegFailure::NotConfirmed => 408,
            LegFailure::NoAnswer | LegFailure::LostRace | LegFailure::Over => 487,
            LegFailure::NotAdmitted(_) => 480,
        }
    }

    /// Its name in records.
    fn label(self) -> &'static str {
        match self {
            LegFailure::Refused(_) => "refused",
            LegFailure::NoWay(_) => "no_way",
            LegFailure::Overloaded => "overloaded",
            LegFailure::NoResponse => "timeout",
            LegFailure::Incompatible => "incompatible",
            LegFailure::NoAnswer => "no_answer",
            LegFailure::NotConfirmed => "not_confirmed",
            LegFailure::LostRace => "answered_elsewhere",
            LegFailure::Over => "conference_over",
            LegFailure::NotAdmitted(_) => "join_failed",
        }
    }
}

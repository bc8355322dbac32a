//! A call that takes the place of another one (RFC 3891): the same participant goes on, in his conference and as he was set, on
//! another phone.
//!
//! Owns the way from the one call's task to the other's. What is handed over is the leg, which stays in its mix, and the place on the
//! roster: the conference hears of nothing but the other caller's name. Only a device of the account, which has shown who it is, is let do so.

use std::sync::{Arc, atomic::Ordering};

use confab_conference::{AccountId, ConferenceId, ParticipantId};
use confab_media::LegHandle;
use confab_sdp::Negotiation;
use confab_sip::{Body, CallKey, Flow, Reason, Request, SipUri, StatusCode};
use dashmap::DashMap;
use tokio::sync::{mpsc, oneshot};

use super::{
    CallServer, Established, Place, Refused, Seated, Trail,
    identity::{challenge, describe, identify},
    media::Peer,
    over,
    set_up::{Failure, caller, leg_shown_at, negotiate, overloaded, read_offer, refused_route},
};
use crate::{
    conferences::{HangUp, Move},
    reception::known_name,
    registrar::devices::Device,
    signalling::{
        endpoint::Command,
        routing::{self, Known as Caller},
    },
};

/// Calls that want the place of one at a time.
const WAITING: usize = 1;

/// Calls that are in conferences, or on their way there, by the endpoint's names for them.
#[derive(Default)]
pub(crate) struct RunningCalls(DashMap<CallKey, Entry>);

#[derive(Clone)]
struct Entry {
    account: AccountId,
    leg: Arc<LegHandle>,
    requests: mpsc::Sender<Asked>,
}

/// Keeps a call known for as long as it lives.
pub(super) struct Known<'a> {
    running: &'a RunningCalls,
    call: CallKey,
}

impl Drop for Known<'_> {
    fn drop(&mut self) {
        self.running.0.remove(&self.call);
    }
}

/// What one call wants of another.
pub(super) enum Asked {
    /// Its leg and its place: it is over then.
    Handover(oneshot::Sender<Handover>),
    /// Where it is, if it is in a conference.
    Place(oneshot::Sender<Option<Whereabouts>>),
}

/// Where a call is.
pub(super) struct Whereabouts {
    pub(super) conference: ConferenceId,
    pub(super) participant: ParticipantId,
}

/// What one call gives another.
pub(super) struct Handover {
    pub(super) seat: Seated,
    pub(super) hang_ups: (mpsc::Sender<HangUp>, mpsc::Receiver<HangUp>),
    pub(super) moves: (mpsc::Sender<Move>, mpsc::Receiver<Move>),
    pub(super) conference: Option<ConferenceId>,
    pub(super) participant_id: Option<u64>,
}

impl RunningCalls {
    /// Makes a call known, and returns what others ask it by.
    pub(super) fn enter(
        &self,
        call: CallKey,
        account: AccountId,
        leg: &Arc<LegHandle>,
    ) -> (Known<'_>, mpsc::Receiver<Asked>) {
        let (requests, asked) = mpsc::channel(WAITING);
        let leg = Arc::clone(leg);
        let entry = Entry {
            account,
            leg,
            requests,
        };
        self.0.insert(call, entry);
        let running = self;
        (Known { running, call }, asked)
    }

    /// Says where a call of the account is, that is in a conference.
    pub(super) async fn whereabouts(&self, call: CallKey, account: &AccountId) -> Option<Whereabouts> {
        let entry = self.find(call).filter(|entry| entry.account == *account)?;
        let (reply, answer) = oneshot::channel();
        entry.requests.send(Asked::Place(reply)).await.ok()?;
        answer.await.ok()?
    }

    fn find(&self, call: CallKey) -> Option<Entry> {
        self.0.get(&call).map(|entry| entry.value().clone())
    }
}

/// Takes an INVITE that names a call to its 200, and to that call's place.
pub(super) async fn take_over(
    server: &CallServer,
    (call, replaced): (CallKey, CallKey),
    request: &Request,
    flow: Flow,
    events: &mut mpsc::Receiver<confab_sip::Event>,
    trail: &mut Trail,
) -> Result<Established, Failure> {
    let place = server.admission.enter().map_err(overloaded)?;
    let gone = || Refused::new(StatusCode::CALL_DOES_NOT_EXIST, "there is no such call");
    let Entry {
        account,
        leg,
        requests,
    } = server.running.find(replaced).ok_or_else(gone)?;
    let device = authorized(server, request, flow, &account).await?;
    trail.account = Some(account);

    let offer = read_offer(request)?;
    let peer = Peer::of(flow.remote.ip(), &request.headers);
    let mut negotiation = leg_shown_at(server, &leg, &peer, flow.local.ip(), offer.as_ref())?;
    let agreed = offer
        .as_ref()
        .map(|offer| negotiate(&peer, &mut negotiation, offer, trail))
        .transpose()?;
    if let Some(cause) = over(events) {
        return Err(Failure::Over(cause));
    }
    let (body, media) = match agreed {
        Some((body, media)) => (body, Some(media)),
        None => (Body::sdp(negotiation.offer().to_string()), None),
    };
    let (reply, accepted) = oneshot::channel();
    server.endpoint.send(Command::Accept(call, body, reply)).await;
    if !accepted.await.unwrap_or(false) {
        return Err(Failure::Over(over(events).unwrap_or("gone")));
    }
    server.stats.answered.fetch_add(1, Ordering::Relaxed);
    trail.answered = Some(std::time::Instant::now());
    trail.status = StatusCode::OK.code();

    // From here on the other call has no way back, and this one none but BYE.
    let (reply, handed) = oneshot::channel();
    let asked = requests.send(Asked::Handover(reply)).await;
    let handover = match asked {
        Ok(()) => handed.await.ok(),
        Err(_) => None,
    };
    let Some(handover) = handover else {
        return hang_up(
            server,
            call,
            Reason::sip(481, "the call that was to be replaced is over"),
        )
        .await;
    };
    if let Some(media) = media
        && let Err(error) = leg.start(media).await
    {
        tracing::warn!(%error, "the media of a call that replaces another cannot be used");
        leg.close().await;
        return hang_up(server, call, Reason::sip(488, "no media")).await;
    }
    trail.conference.clone_from(&handover.conference);
    trail.participant_id = handover.participant_id;
    if let (Seated::Joined(participant), Some(account)) = (&handover.seat, &trail.account) {
        let mut caller = caller(&request.headers, account);
        describe(&mut caller, &device);
        caller.spoken_name = known_name(&server.store, account, &caller).await;
        participant.goes_on_as(caller).await;
    }
    tracing::info!(participant = handover.participant_id, %replaced, "goes on in another call");
    Ok(Established::taking_over(
        (leg, negotiation, peer),
        handover,
        (flow, Some(device)),
        place,
    ))
}

async fn hang_up(server: &CallServer, call: CallKey, reason: Reason) -> Result<Established, Failure> {
    server.endpoint.send(Command::HangUp(call, Some(reason))).await;
    Err(Failure::Over("nothing_to_replace"))
}

/// Returns the device that a request comes from, which has to be one of the account: others are asked for credentials, or refused.
pub(super) async fn authorized(
    server: &CallServer,
    request: &Request,
    flow: Flow,
    account: &AccountId,
) -> Result<Arc<Device>, Refused> {
    let not_allowed = |text: &str| Refused::new(StatusCode::FORBIDDEN, text);
    match identify(server, request, flow).await? {
        Caller::Device(device) if device.key.account == *account => Ok(device),
        Caller::Device(_) => Err(not_allowed("the device is of another account")),
        Caller::Stranger | Caller::Trunk(_) => {
            let known = server.store.account(account).await.ok().flatten();
            let realm = known.ok_or_else(|| not_allowed("the account is gone"))?.realm;
            Err(challenge(server, &realm, false))
        }
    }
}

/// Returns the device that wants to watch a conference of its account: by this server's address, or by the account's realm.
pub(in crate::signalling) async fn authorize_watcher(
    server: &CallServer,
    request: &Request,
    flow: Flow,
    uri: &SipUri,
) -> Result<Arc<Device>, Refused> {
    let refused = |error| refused_route(&error);
    let host = uri.host.to_string();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Caller::Device(device) = identify(server, request, flow).await? {
        let is_its_own = server.local.is_own_host(bare) || host.eq_ignore_ascii_case(&device.realm);
        return is_its_own
            .then_some(device)
            .ok_or_else(|| Refused::new(StatusCode::FORBIDDEN, "the device is of another account"));
    }
    let account = routing::account(&server.store, &server.local, uri).await;
    Err(challenge(server, &account.map_err(refused)?.realm, false))
}

impl Established {
    /// A call in another one's place.
    fn taking_over(
        (leg, negotiation, peer): (Arc<LegHandle>, Negotiation, Peer),
        handover: Handover,
        (flow, device): (Flow, Option<Arc<Device>>),
        place: Place,
    ) -> Established {
        let mut established = Established::new(leg, negotiation, peer, handover.seat, place, flow);
        (established.hang_up, established.hang_ups) = handover.hang_ups;
        (established.mover, established.moves) = handover.moves;
        established.device = device;
        established
    }

    /// Gives leg and place to the call that asks for them. Returns whether it has taken them.
    pub(super) fn hand_over(&mut self, asks: oneshot::Sender<Handover>, trail: &Trail) -> bool {
        if !matches!(self.seat, Seated::Joined(_)) {
            return false;
        }
        let (hang_up, hang_ups) = mpsc::channel(super::HANG_UPS);
        let (mover, moves) = mpsc::channel(super::MOVES);
        let handover = Handover {
            seat: std::mem::replace(&mut self.seat, Seated::Gone),
            hang_ups: (
                std::mem::replace(&mut self.hang_up, hang_up),
                std::mem::replace(&mut self.hang_ups, hang_ups),
            ),
            moves: (
                std::mem::replace(&mut self.mover, mover),
                std::mem::replace(&mut self.moves, moves),
            ),
            conference: trail.conference.clone(),
            participant_id: trail.participant_id,
        };
        match asks.send(handover) {
            Ok(()) => {
                self.is_handed_over = true;
                true
            }
            Err(back) => {
                // The other call ended in this moment.
                self.seat = back.seat;
                (self.hang_up, self.hang_ups) = back.hang_ups;
                (self.mover, self.moves) = back.moves;
                false
            }
        }
    }
}

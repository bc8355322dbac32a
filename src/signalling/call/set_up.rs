//! From INVITE to 200: admission, routing, media, negotiation, and a seat in the conference for who is asked nothing before.
//!
//! Nothing is held when it fails: the place, the leg and the seat are given back on the way out.

use std::{
    net::IpAddr,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use confab_conference::{AccountId, Caller, Entry, Refusal};
use confab_media::{LegHandle, OpenLegError};
use confab_reception::Source;
use confab_sdp::{Capabilities, LocalMedia, Negotiation, SdpError, SessionDescription};
use confab_sip::{Body, CallKey, Event, Flow, HeaderName, Headers, Request, StatusCode};
use tokio::sync::{mpsc, oneshot};

use super::{
    CallServer, Established, Refused, Seated, Trail, bridge,
    identity::{challenge, describe, describe_behind, identify, realm_asked},
    media::{self, Peer},
    number_of, over,
};
use crate::{
    admission::{Overload, RETRY_AFTER_S},
    reception::{self, Visit, Visitor},
    signalling::{
        endpoint::Command,
        routing::{self, Known, Reached, RoutingError},
    },
};

/// Why there is no call.
pub(super) enum Failure {
    /// This side refuses.
    Refused(Refused),
    /// The caller is gone already.
    Over(&'static str),
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

/// Takes the call to its 200.
pub(super) async fn run(
    server: &CallServer,
    call: CallKey,
    request: &Request,
    flow: Flow,
    events: &mut mpsc::Receiver<Event>,
    trail: &mut Trail,
) -> Result<Established, Failure> {
    let place = server.admission.enter().map_err(overloaded)?;
    let reached = route(server, request, flow).await?;
    trail.account = Some(reached.account.id.clone());
    let conference = reached.destination.as_ref().map(|to| &to.conference);
    trail.conference = conference.cloned();

    let offer = read_offer(request)?;
    let peer = Peer::of(flow.remote.ip(), &request.headers);
    let capabilities = &server.capabilities;
    let (leg, mut negotiation) = open_leg(server, capabilities, &peer, flow.local.ip(), offer.as_ref())?;
    let agreed = offer
        .as_ref()
        .map(|offer| negotiate(&peer, &mut negotiation, offer, trail))
        .transpose();
    let agreed = match agreed {
        Ok(agreed) => agreed,
        Err(refused) => return close(leg, refused).await,
    };

    let mut caller = caller(&request.headers, &reached.account.id);
    let mut device = None;
    let source = match &reached.known {
        Known::Device(known) => {
            describe(&mut caller, known);
            device = Some(Arc::clone(known));
            Source::of(flow.remote.ip())
        }
        Known::Trunk(origins) => match origins.first() {
            // Behind a trunk are many, whom its address does not tell apart.
            Some(origin) => Source::Trunk {
                trunk: origin.trunk.clone(),
                number: describe_behind(&mut caller, origin, &request.headers),
            },
            None => Source::of(flow.remote.ip()),
        },
        Known::Stranger => Source::of(flow.remote.ip()),
    };
    let lasts = reached.account.max_call;
    let seat = match receive(server, reached, caller, source).await {
        Ok(seat) => seat,
        Err(refusal) => return close(leg, refused_by_conference(refusal)).await,
    };
    if let Some(cause) = over(events) {
        leg.close().await;
        return Err(Failure::Over(cause));
    }
    server
        .endpoint
        .send(Command::Progress(call, StatusCode::RINGING))
        .await;
    let body = match agreed {
        Some((body, media)) => {
            if let Err(error) = leg.start(media).await {
                return close(
                    leg,
                    Refused::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()).with_peers_words(),
                )
                .await;
            }
            body
        }
        None => Body::sdp(negotiation.offer().to_string()),
    };
    let (reply, accepted) = oneshot::channel();
    server.endpoint.send(Command::Accept(call, body, reply)).await;
    if !accepted.await.unwrap_or(false) {
        leg.close().await;
        return Err(Failure::Over(over(events).unwrap_or("gone")));
    }
    server.stats.answered.fetch_add(1, Ordering::Relaxed);
    trail.answered = Some(Instant::now());
    trail.status = StatusCode::OK.code();
    let mut established = Established::new(Arc::new(leg), negotiation, peer, seat, place, flow);
    established.device = device;
    established.lasts = lasts;
    Ok(established)
}

async fn close(leg: LegHandle, refused: Refused) -> Result<Established, Failure> {
    leg.close().await;
    Err(refused.into())
}

pub(in crate::signalling) fn refused_route(error: &routing::RoutingError) -> Refused {
    let refused = Refused::new(error.status(), error.public_text());
    match error {
        routing::RoutingError::Store(error) => refused.telling_the_operator(error.to_string()),
        routing::RoutingError::UnknownHost => refused
            .telling_the_operator("if that host is this server, behind NAT, set sip.advertised_address"),
        _ => refused,
    }
}

pub(super) fn overloaded(overload: Overload) -> Refused {
    Refused::new(StatusCode::SERVICE_UNAVAILABLE, overload.as_str())
        .with_header(HeaderName::RetryAfter, RETRY_AFTER_S.to_string())
}

pub(super) fn read_offer(request: &Request) -> Result<Option<SessionDescription>, Refused> {
    if request.body.is_empty() {
        return Ok(None);
    }
    SessionDescription::parse(&request.body)
        .map(Some)
        .map_err(|error| refused_description(&error))
}

pub(super) fn refused_description(error: &SdpError) -> Refused {
    let status = StatusCode::new(error.status()).unwrap_or(StatusCode::NOT_ACCEPTABLE_HERE);
    Refused::new(status, error.to_string())
        .with_peers_words()
        .with_header(HeaderName::Warning, error.warning("confab"))
}

pub(super) fn open_leg(
    server: &CallServer,
    capabilities: &Arc<Capabilities>,
    peer: &Peer,
    arrived_at: IpAddr,
    offer: Option<&SessionDescription>,
) -> Result<(LegHandle, Negotiation), Refused> {
    // The family of the peer's media decides; without an offer, or with a host name, that of its signalling.
    let towards = offer
        .and_then(SessionDescription::audio_address)
        .filter(|address| !address.is_unspecified())
        .unwrap_or(peer.signalling_ip);
    let unreachable = || {
        let text = "no media address of the offer's address family";
        Refused::new(StatusCode::NOT_ACCEPTABLE_HERE, text)
            .with_header(HeaderName::Warning, format!("300 confab \"{text}\""))
    };
    let bind = media::bind_address(&server.media_binds, towards).ok_or_else(unreachable)?;
    let place = place(server, bind, arrived_at, towards, peer.signalling_ip).ok_or_else(unreachable)?;
    let opened = server.media.open_leg_on(bind, place.on);
    let leg = opened.map_err(|error| no_leg(&error))?;
    let local = LocalMedia {
        address: place.shown,
        port: leg.rtp_addr().port(),
        rtcp_port: leg.rtcp_addr().port(),
    };
    // 63 bits: some peers read the number as signed.
    let session_id = rand::random::<u64>() >> 1;
    Ok((
        leg,
        Negotiation::new(Arc::clone(capabilities), local, session_id).with_keys(media::fresh_keys()),
    ))
}

/// Begins a session on a leg that is there already: for a call that takes the place of the one that it was opened for.
pub(super) fn leg_shown_at(
    server: &CallServer,
    leg: &LegHandle,
    peer: &Peer,
    arrived_at: IpAddr,
    offer: Option<&SessionDescription>,
) -> Result<Negotiation, Refused> {
    let bound = leg.rtp_addr().ip();
    let towards = offer
        .and_then(SessionDescription::audio_address)
        .filter(|address| !address.is_unspecified())
        .unwrap_or(peer.signalling_ip);
    let is_other_family = towards.to_canonical().is_ipv4() != bound.to_canonical().is_ipv4();
    let place = place(server, bound, arrived_at, towards, peer.signalling_ip).filter(|_| !is_other_family);
    let place = place.ok_or_else(|| {
        let text = "no media address of the offer's address family";
        Refused::new(StatusCode::NOT_ACCEPTABLE_HERE, text)
            .with_header(HeaderName::Warning, format!("300 confab \"{text}\""))
    })?;
    // The socket stays where it is; only what stands for it towards the outside may be another address.
    let address = if place.shown == place.on && !bound.is_unspecified() {
        bound
    } else {
        place.shown
    };
    let local = LocalMedia {
        address,
        port: leg.rtp_addr().port(),
        rtcp_port: leg.rtcp_addr().port(),
    };
    let session_id = rand::random::<u64>() >> 1;
    let negotiation = Negotiation::new(Arc::clone(&server.capabilities), local, session_id);
    Ok(negotiation.with_keys(media::fresh_keys()))
}

/// Where a leg's media is on this side.
struct MediaPlace {
    /// The address that its sockets are bound to.
    on: IpAddr,
    /// The address that the peer sends its media to.
    shown: IpAddr,
}

/// Finds the addresses of a leg for a call whose INVITE arrived at `arrived_at`. The peer sees the advertised one of the
/// family unless it is inside (`LocalAddresses::is_inside`). Otherwise, on a wildcard, it is the one that the INVITE was sent to
/// when media takes the same way as signalling, and that of the route towards the media when it does not.
fn place(
    server: &CallServer,
    bind: IpAddr,
    arrived_at: IpAddr,
    media: IpAddr,
    signalling: IpAddr,
) -> Option<MediaPlace> {
    let local = &server.local;
    let media = media::way_back(media, signalling);
    let is_inside = local.is_inside(signalling, media);
    let signalling = if signalling.is_ipv4() == bind.is_ipv4() {
        signalling
    } else {
        media
    };
    let same_way = bind.is_unspecified()
        && arrived_at.is_ipv4() == bind.is_ipv4()
        && local.towards(bind, media) == local.towards(bind, signalling)
        && local.is_on_this_machine(arrived_at);
    let (on, own) = if same_way {
        (arrived_at, arrived_at)
    } else {
        let towards = if is_inside { signalling } else { media };
        (bind, local.towards(bind, towards)?)
    };
    let advertised = local.advertised(bind.is_ipv4()).filter(|_| !is_inside);
    let shown = advertised.map_or(own, |advertised| advertised.ip);
    Some(MediaPlace { on, shown })
}

fn no_leg(error: &OpenLegError) -> Refused {
    Refused::new(StatusCode::SERVICE_UNAVAILABLE, "no media resources left")
        .telling_the_operator(error.to_string())
        .with_header(HeaderName::RetryAfter, RETRY_AFTER_S.to_string())
}

pub(super) fn negotiate(
    peer: &Peer,
    negotiation: &mut Negotiation,
    offer: &SessionDescription,
    trail: &mut Trail,
) -> Result<(Body, confab_media::LegMedia), Refused> {
    let agreed = negotiation
        .answer(offer)
        .map_err(|error| refused_description(&error))?;
    let media = peer.leg_media(&agreed.audio).ok_or_else(|| {
        Refused::new(
            StatusCode::NOT_ACCEPTABLE_HERE,
            format!("codec {} is not mixed", agreed.audio.codec.name),
        )
        .with_peers_words()
    })?;
    trail.codec = Some(agreed.audio.codec.name.clone());
    Ok((Body::sdp(agreed.description.to_string()), media))
}

/// Finds what the request has reached.
async fn route(server: &CallServer, request: &Request, flow: Flow) -> Result<Reached, Refused> {
    if let Some(id) = bridge::id_called(request) {
        return bridge::admit(server, request, flow, &id).await;
    }
    let known = identify(server, request, flow).await?;
    let (store, local) = (&server.store, &server.local);
    let service_numbers = &server.service_numbers;
    let anonymous = server.anonymous_dial_in || server.pass.is_shown(request);
    let is_behind_trunk = matches!(known, Known::Trunk(_));
    let routed = routing::route(store, local, anonymous, known, service_numbers, request).await;
    // He is nobody to this account, and may be a phone of it nevertheless.
    if is_behind_trunk
        && matches!(routed, Err(RoutingError::Anonymous))
        && let Some(realm) = realm_asked(server, request).await.ok().flatten()
    {
        return Err(challenge(server, &realm, false));
    }
    routed.map_err(|error| refused_route(&error))
}

/// Reserves a place for a caller who is neither asked nor told anything before he joins. The others are received first, and so is who
/// is refused: he is told.
async fn receive(
    server: &CallServer,
    reached: Reached,
    mut caller: Caller,
    source: Source,
) -> Result<Seated, Refusal> {
    let desk = &server.desk;
    let Reached {
        account,
        plan,
        destination,
        ..
    } = reached;
    caller.spoken_name = reception::known_name(&server.store, &account.id, &caller).await;
    let visitor = Visitor {
        account: account.id,
        language: account.language,
        plan,
        caller,
        source,
    };
    let received = |visit| Ok(Seated::Received(Box::new(visit)));
    let Some(destination) = destination else {
        return received(Visit::to_service(desk, visitor));
    };
    let candidate = desk.candidate(&destination, &visitor);
    let Some(role) = candidate.role_at_once() else {
        return received(Visit::to_conference(desk, visitor, destination, candidate));
    };
    let to = destination.clone();
    let reserved = server.registry.reserve(
        to.account,
        to.conference,
        to.settings,
        visitor.caller.clone(),
        role,
        Entry::DialIn,
    );
    match reserved.await {
        Ok(seat) => Ok(Seated::Reserved(seat)),
        Err(refusal) => match reception::refused(refusal) {
            Some(why) => received(Visit::refused(desk, visitor, destination, why)),
            None => Err(refusal),
        },
    }
}

pub(super) fn caller(headers: &Headers, account: &AccountId) -> Caller {
    let call_id = headers.call_id().ok().flatten();
    let mut caller = Caller::new(
        call_id
            .map(|id| id.to_str_lossy().into_owned())
            .unwrap_or_default(),
    );
    caller.account_id = Some(account.clone());
    if let Ok(Some(from)) = headers.from() {
        caller.caller_id_number = number_of(&from.uri);
        let display = from
            .display
            .as_ref()
            .map(|display| display.to_str_lossy().into_owned());
        // Without a display name, phones and APIs show the number in its place.
        caller.caller_id_name = display
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| caller.caller_id_number.clone());
    }
    caller
}

pub(super) fn refused_by_conference(refusal: Refusal) -> Refused {
    let status = match refusal {
        Refusal::Locked | Refusal::Full => StatusCode::TEMPORARILY_UNAVAILABLE,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    let refused = Refused::new(status, refusal.to_string());
    if status == StatusCode::SERVICE_UNAVAILABLE {
        refused.with_header(HeaderName::RetryAfter, RETRY_AFTER_S.to_string())
    } else {
        refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_conference_refuses_has_its_status() {
        for (refusal, status, may_return) in [
            (Refusal::Locked, 480, false),
            (Refusal::Full, 480, false),
            (Refusal::Media, 503, true),
            (Refusal::Ended, 503, true),
        ] {
            let refused = refused_by_conference(refusal);
            assert_eq!(refused.status.code(), status, "{refusal}");
            let retry = refused
                .headers
                .iter()
                .any(|(name, _)| *name == HeaderName::RetryAfter);
            assert_eq!(retry, may_return, "{refusal}");
        }
    }
}

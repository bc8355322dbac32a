//! REFER from the phone of a participant (RFC 3515): to another conference of the account his call goes there; anybody else is called to
//! this conference, in place of a call that the phone has with him (RFC 3891) or as he is. Where that other call is with this server, his
//! call takes its place.
//!
//! Owns who may, and what the Refer-To means. Only devices of the account that have shown who they are: a REFER of anybody else causes
//! no call, whatever it names.

use std::sync::Arc;

use async_trait::async_trait;
use confab_conference::{AccountId, ConferenceId, ParticipantId, Refusal, Role};
use confab_documents::DialPlan;
use confab_reception::Candidate;
use confab_sip::{CallKey, HeaderName, NameAddr, Reason, Replaces, Request, SipUri, StatusCode, Uri};
use tokio::sync::oneshot;

use super::{CallServer, Established, Refused, Seated, Trail, handover::authorized, set_up::refused_route};
use crate::{
    registrar::devices::Device,
    signalling::{
        endpoint::Command,
        routing::{self, Destination, RoutingError},
    },
};

/// The longest text that is called: a URI as people have them.
const LONGEST_TARGET: usize = 256;

/// Somebody who is to be called because a participant's phone wants it.
#[derive(Debug, Clone)]
pub(crate) struct Referral {
    /// The account that pays.
    pub(crate) account: AccountId,
    /// The conference that he comes to.
    pub(crate) conference: ConferenceId,
    /// Who: a SIP URI, or a number.
    pub(crate) target: String,
    /// The call of his that this one takes the place of, as the value of Replaces.
    pub(crate) replaces: Option<String>,
    /// Who wants it, as the value of Referred-By (RFC 3892).
    pub(crate) referred_by: String,
    /// As whom he comes: as the participant whose phone has asked.
    pub(crate) role: Role,
    /// He is not heard at first.
    pub(crate) muted: bool,
    /// He does not hear at first.
    pub(crate) deaf: bool,
}

/// Calls whom participants' phones want called. Implemented by the dialler, with its limits.
#[async_trait]
pub(crate) trait Refers: Send + Sync {
    /// Calls somebody. Returns how it went, as the status that the phone is told.
    async fn call(&self, referral: Referral) -> StatusCode;
}

/// What a REFER asks for.
#[derive(Debug)]
enum Errand {
    /// His call goes to another conference.
    Move(Box<Destination>),
    /// His call goes to the place of another call with this server, which ends.
    TakePlace(CallKey),
    /// Somebody is called.
    Call {
        target: String,
        replaces: Option<String>,
    },
}

/// What a Refer-To says.
#[derive(Debug, PartialEq, Eq)]
struct ReferTo {
    uri: SipUri,
    replaces: Option<Replaces>,
}

impl ReferTo {
    /// Reads it.
    fn of(request: &Request) -> Result<ReferTo, Refused> {
        let bad = |text: &str| Refused::new(StatusCode::BAD_REQUEST, text);
        let all = request.headers.addresses(HeaderName::ReferTo);
        let all = all.map_err(|_| bad("Refer-To cannot be read"))?;
        let [one] = &all[..] else {
            return Err(bad("Refer-To has to name one address"));
        };
        let Uri::Sip(uri) = &one.uri else {
            return Err(Refused::new(
                StatusCode::UNSUPPORTED_URI_SCHEME,
                "only sip URIs are called",
            ));
        };
        let mut uri = uri.clone();
        let method = uri
            .params
            .value("method")
            .map(|value| value.to_str_lossy().into_owned());
        if method.is_some_and(|method| !method.eq_ignore_ascii_case("INVITE")) {
            return Err(Refused::new(
                StatusCode::NOT_IMPLEMENTED,
                "only INVITE is sent for others",
            ));
        }
        uri.params.remove("method");
        let replaces = match uri.header_decoded("Replaces") {
            Some(value) => {
                let read = Replaces::parse(value.as_bytes());
                Some(read.ok_or_else(|| bad("the Replaces of Refer-To cannot be read"))?)
            }
            None => None,
        };
        uri.headers = Default::default();
        Ok(ReferTo { uri, replaces })
    }
}

impl Established {
    /// Agrees to a REFER and sets about it, or refuses it.
    pub(super) async fn referred(
        &mut self,
        server: &Arc<CallServer>,
        call: CallKey,
        request: &Request,
        trail: &Trail,
    ) {
        let command = match self.set_about(server, call, request, trail).await {
            Ok(outcome) => {
                self.errand = Some(outcome);
                Command::AcceptRefer(call)
            }
            Err(refused) => {
                tracing::info!(
                    status = refused.status.code(),
                    why = refused.logged(),
                    "REFER refused"
                );
                Command::RejectRefer(call, refused.into_rejection())
            }
        };
        server.endpoint.send(command).await;
    }

    async fn set_about(
        &self,
        server: &Arc<CallServer>,
        call: CallKey,
        request: &Request,
        trail: &Trail,
    ) -> Result<oneshot::Receiver<StatusCode>, Refused> {
        // He may be in one in a moment.
        let not_now = || Refused::new(StatusCode::TEMPORARILY_UNAVAILABLE, "he is in no conference yet");
        let (Seated::Joined(participant), Some(account), Some(conference)) =
            (&self.seat, &trail.account, &trail.conference)
        else {
            return Err(not_now());
        };
        let device = self.known_device(server, request, account).await?;
        if server.admission.is_draining() {
            return Err(Refused::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "server shutting down",
            ));
        }
        let participant = participant.id();
        let refer_to = ReferTo::of(request)?;
        let errand = errand(server, (call, account, conference), refer_to).await?;
        let snapshot = server.registry.snapshot(account, conference).await;
        let state = snapshot
            .and_then(|snapshot| {
                snapshot
                    .participants
                    .into_iter()
                    .find(|one| one.id == participant)
            })
            .ok_or_else(not_now)?;
        let (told, outcome) = oneshot::channel();
        match errand {
            Errand::Move(to) => {
                if !lets_in(&to, state.role) {
                    return Err(Refused::new(StatusCode::FORBIDDEN, "he is asked for a PIN there"));
                }
                let (registry, account, from) =
                    (server.registry.clone(), account.clone(), conference.clone());
                // Beside the call's task, which is to carry out the move.
                tokio::spawn(async move {
                    let Destination {
                        conference, settings, ..
                    } = *to;
                    let moved = registry
                        .move_participant(&account, &from, participant, &conference, settings)
                        .await;
                    // A call that has ended is told nothing.
                    let _ = told.send(moved.map_or_else(of_refusal, |_| StatusCode::OK));
                });
            }
            Errand::TakePlace(other) => {
                let (server, account, from) = (Arc::clone(server), account.clone(), conference.clone());
                // Beside the call's task: the other one may be asking this one.
                tokio::spawn(async move {
                    let taken = server.take_place(&account, (&from, participant), other).await;
                    let _ = told.send(taken.err().unwrap_or(StatusCode::OK));
                });
            }
            Errand::Call { target, replaces } => {
                let refers = server.refers.get().cloned();
                let refers = refers.ok_or_else(|| {
                    Refused::new(StatusCode::SERVICE_UNAVAILABLE, "nobody can be called now")
                })?;
                let own = SipUri::parse(format!("sip:{}", device.realm))
                    .map_err(|_| Refused::new(StatusCode::SERVER_INTERNAL_ERROR, "no realm"))?;
                let own = NameAddr::new(own.with_user(&device.username));
                let referral = Referral {
                    account: account.clone(),
                    conference: conference.clone(),
                    target,
                    replaces,
                    referred_by: String::from_utf8_lossy(&own.to_bytes()).into_owned(),
                    role: state.role,
                    muted: state.muted,
                    deaf: state.deaf,
                };
                tracing::info!(%participant, "his phone has somebody called");
                tokio::spawn(async move {
                    let _ = told.send(refers.call(referral).await);
                });
            }
        }
        Ok(outcome)
    }

    /// The device whose phone this is: the one that called, as it is known now, or the one whose credentials the REFER shows.
    async fn known_device(
        &self,
        server: &CallServer,
        request: &Request,
        account: &AccountId,
    ) -> Result<Arc<Device>, Refused> {
        let Some(device) = &self.device else {
            return authorized(server, request, self.flow, account).await;
        };
        let devices = server.registrar.devices();
        let now = if device.username.is_empty() {
            devices.by_address(self.flow.remote.ip()).await
        } else {
            devices.by_username(&device.realm, &device.username).await
        };
        let now = now.map_err(|error| refused_route(&RoutingError::Store(error)))?;
        now.filter(|now| now.key == device.key && now.enabled && now.key.account == *account)
            .ok_or_else(|| Refused::new(StatusCode::FORBIDDEN, "the device is not let call"))
    }
}

/// Whether somebody would come into a conference in this role without being asked for a PIN: a transfer asks for none.
fn lets_in(to: &Destination, role: Role) -> bool {
    let candidate = Candidate::new(to.role, to.flow.clone());
    let member = candidate.may_enter_empty().then_some(Role::Member);
    match candidate.role_without_pin().or(member) {
        None => false,
        Some(Role::Moderator) => true,
        Some(Role::Member) => role == Role::Member || to.flow.moderator.pins.is_empty(),
    }
}

/// Finds what a Refer-To means.
async fn errand(
    server: &CallServer,
    (call, account, conference): (CallKey, &AccountId, &ConferenceId),
    refer_to: ReferTo,
) -> Result<Errand, Refused> {
    let refused = |error| refused_route(&RoutingError::Store(error));
    let known = server.store.account(account).await.map_err(refused)?;
    let known = known.filter(|account| account.enabled);
    let known = known.ok_or_else(|| refused_route(&RoutingError::Disabled))?;
    let ReferTo { uri, replaces } = refer_to;
    if let Some(replaces) = &replaces
        && let Some(other) = server.call_named(replaces).await
    {
        return match (other == call, replaces.early_only) {
            (true, _) => Err(Refused::new(StatusCode::LOOP_DETECTED, "that is this very call")),
            (_, true) => Err(Refused::new(StatusCode::BUSY_HERE, "that call was answered")),
            (false, false) => Ok(Errand::TakePlace(other)),
        };
    }
    let replaces = replaces.map(|replaces| replaces.to_string());
    if !server.leads_here(&uri, &known.realm) {
        let target = String::from_utf8_lossy(&uri.to_bytes()).into_owned();
        if target.len() > LONGEST_TARGET {
            return Err(Refused::new(
                StatusCode::REQUEST_URI_TOO_LONG,
                "the address is too long",
            ));
        }
        return Ok(Errand::Call { target, replaces });
    }
    if replaces.is_some() {
        // Not 481: that would be said of the call that the REFER came in.
        return Err(Refused::new(StatusCode::NOT_FOUND, "there is no such call"));
    }
    let user = uri
        .user_decoded()
        .filter(|user| !user.is_empty() && user.as_bytes().len() <= LONGEST_TARGET);
    let user = user.ok_or_else(|| refused_route(&RoutingError::NoNumber))?;
    let number = user.to_str_lossy().into_owned();
    let configuration = server
        .store
        .conferences_configuration(account)
        .await
        .map_err(refused)?;
    let plan = DialPlan::of(configuration.as_ref(), &known.language);
    let forms = plan.forms(&number);
    let found = routing::conference(&server.store, account, &known.language, &forms).await;
    match found.map_err(refused)? {
        Some(found) if found.conference == *conference => {
            Err(Refused::new(StatusCode::LOOP_DETECTED, "he is there already"))
        }
        Some(found) => Ok(Errand::Move(Box::new(found))),
        None => Ok(Errand::Call {
            target: number,
            replaces: None,
        }),
    }
}

impl CallServer {
    async fn call_named(&self, replaces: &Replaces) -> Option<CallKey> {
        let (reply, found) = oneshot::channel();
        self.endpoint.send(Command::Find(replaces.clone(), reply)).await;
        found.await.ok()?
    }

    /// Has a participant's call go to the place of another call of the account, and ends that one. Who is in a conference has been let in
    /// there, PIN and all; nobody else gives a place.
    async fn take_place(
        &self,
        account: &AccountId,
        who: (&ConferenceId, ParticipantId),
        other: CallKey,
    ) -> Result<(), StatusCode> {
        let place = self.running.whereabouts(other, account).await;
        let place = place.ok_or(StatusCode::TEMPORARILY_UNAVAILABLE)?;
        let to = (&place.conference, place.participant);
        let moved = self.registry.move_to_place(account, who, to).await;
        let now = moved.map_err(of_refusal)?;
        tracing::info!(participant = %now, before = %place.participant, "a transfer has taken a place");
        let reason = Reason::sip(StatusCode::OK.code(), "replaced by another call");
        self.endpoint.send(Command::HangUp(other, Some(reason))).await;
        Ok(())
    }

    /// Whether a URI is one of this server, or of the account's realm: what is called then is a number.
    pub(crate) fn leads_here(&self, uri: &SipUri, realm: &str) -> bool {
        let host = uri.host.to_string();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let listens = &self.listens;
        let mut bound = listens.udp.iter().chain(&listens.tcp).chain(&listens.tls);
        host.eq_ignore_ascii_case(realm)
            || (self.local.is_own_host(bare)
                && uri
                    .port
                    .is_none_or(|port| bound.any(|bound| bound.port() == port)))
    }
}

fn of_refusal(refusal: Refusal) -> StatusCode {
    match refusal {
        Refusal::Locked | Refusal::Full => StatusCode::TEMPORARILY_UNAVAILABLE,
        Refusal::UnknownParticipant(_) | Refusal::NotRunning => StatusCode::CALL_DOES_NOT_EXIST,
        Refusal::MovedToSame(_) => StatusCode::LOOP_DETECTED,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    }
}

#[cfg(test)]
mod tests {
    use confab_sip::Method;
    use proptest::prelude::*;

    use super::*;

    fn refer(value: &str) -> Request {
        let request = Request::new(Method::Refer, Uri::parse("sip:3000@a.example").unwrap());
        request.with_header(HeaderName::ReferTo, value.to_owned())
    }

    #[test]
    fn a_refer_to_names_an_address_and_perhaps_a_call() {
        let read = |value: &str| {
            let found = ReferTo::of(&refer(value)).map_err(|refused| refused.status.code())?;
            let uri = String::from_utf8_lossy(&found.uri.to_bytes()).into_owned();
            Ok((uri, found.replaces.map(|replaces| replaces.to_string())))
        };
        let plain = |uri: &str| Ok((uri.to_owned(), None));
        assert_eq!(read("<sip:bob@b.example>"), plain("sip:bob@b.example"));
        assert_eq!(read("sip:bob@b.example"), plain("sip:bob@b.example"));
        assert_eq!(
            read("\"Bob\" <sip:bob@b.example;method=INVITE>"),
            plain("sip:bob@b.example")
        );
        assert_eq!(
            read("<sip:bob@b.example?Replaces=a%40c%3Bto-tag%3D1%3Bfrom-tag%3D2&Subject=x>"),
            Ok((
                "sip:bob@b.example".to_owned(),
                Some("a@c;to-tag=1;from-tag=2".to_owned())
            ))
        );
        for (value, status) in [
            ("<sip:bob@b.example;method=BYE>", 501),
            ("<tel:+49301234>", 416),
            ("<sip:bob@b.example?Replaces=a>", 400),
            ("<sip:a@b.example>, <sip:c@b.example>", 400),
            ("<sip:", 400),
        ] {
            assert_eq!(read(value), Err(status), "{value}");
        }
    }

    proptest! {
        #[test]
        fn any_refer_to_is_read_or_refused(value in "\\PC{0,40}|<sip:[a-z@.;?=%&0-9]{0,40}>") {
            if let Ok(read) = ReferTo::of(&refer(&value)) {
                prop_assert!(read.uri.headers.is_empty() && !read.uri.params.has("method"));
            }
        }
    }
}

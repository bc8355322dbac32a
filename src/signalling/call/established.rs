//! From 200 to the end: reception, joining, re-INVITEs, media timeouts, hang-ups from either side.
//!
//! Every way out takes the caller off the roster, closes the leg and leaves the figures in the trail.

use std::sync::Arc;

use confab_conference::{AccountId, LeaveCause, Refusal};
use confab_media::{MediaDirection, MediaEvent};
use confab_reception::Cause;
use confab_sdp::SessionDescription;
use confab_sip::{
    Body, CallKey, EndCause, Event, ProbeOutcome, Reason, ReinviteOutcome, Request, StatusCode,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{
    CallServer, Established, Refused, Seated, Trail,
    handover::{Asked, Whereabouts},
    set_up::{refused_by_conference, refused_description},
};
use crate::{
    conferences::{HangUp, Move, Seat},
    reception::{Progress, Woken},
    signalling::endpoint::Command,
};

/// A leg that stays silent this many times `media.timeout_s` although its peer may send is ended, whatever its peer
/// answers to probes.
const SILENCE_LIMIT: u32 = 10;

/// How a call ended, for the roster, the peer and the record.
struct End {
    cause: LeaveCause,
    /// For the record.
    label: &'static str,
    /// Why the peer is sent a BYE; `None` when the call is over already.
    hang_up: Option<Reason>,
}

impl End {
    fn by_us(cause: LeaveCause, label: &'static str, status: u16, text: &str) -> Self {
        Self {
            cause,
            label,
            hang_up: Some(Reason::sip(status, text)),
        }
    }
}

/// Serves the answered call to its end.
pub(super) async fn run(
    server: &Arc<CallServer>,
    call: CallKey,
    mut established: Established,
    events: &mut mpsc::Receiver<Event>,
    trail: &mut Trail,
) {
    let account = trail.account.clone().unwrap_or_else(|| AccountId::from(""));
    let (known, mut takers) = server.running.enter(call, account, &established.leg);
    let latest_end = Instant::now() + established.lasts;
    let end = loop {
        let end = serve(
            server,
            call,
            &mut established,
            (events, &mut takers),
            (trail, latest_end),
        )
        .await;
        // Only now: the leg's events go to one call at a time.
        let stays = established
            .taker
            .take()
            .is_some_and(|taker| !established.hand_over(taker, trail));
        if !stays {
            break end;
        }
    };
    drop(known);
    let duration_s = trail.started.elapsed().as_secs();
    tracing::info!(cause = end.label, duration_s, "call ended");
    end.label.clone_into(&mut trail.end_cause);
    if let Some(reason) = end.hang_up {
        server.endpoint.send(Command::HangUp(call, Some(reason))).await;
    }
    if let Seated::Joined(participant) = std::mem::replace(&mut established.seat, Seated::Gone) {
        participant.leave(end.cause).await;
    }
    if established.is_handed_over {
        // The leg goes on in the other call, whose record has what it heard.
        return;
    }
    let stats = established.leg.close().await.stats;
    server.stats.quality.record(&stats);
    trail.media = Some(stats);
}

async fn serve(
    server: &Arc<CallServer>,
    call: CallKey,
    established: &mut Established,
    (events, takers): (&mut mpsc::Receiver<Event>, &mut mpsc::Receiver<Asked>),
    (trail, latest_end): (&mut Trail, Instant),
) -> End {
    let mut media_events = server.dispatch.subscribe(established.leg.id());
    // A late offer is answered in the ACK: nothing can be sent or understood before.
    if !established.negotiation.has_open_offer()
        && let Err(end) = established.join(trail).await
    {
        return end;
    }
    loop {
        let is_joined = matches!(established.seat, Seated::Joined(_));
        let step = tokio::select! {
            biased;
            event = events.recv() => match event {
                Some(event) => established.signalled(server, call, event, trail).await,
                None => Err(End { cause: LeaveCause::CallFailed, label: "gone", hang_up: None }),
            },
            hang_up = established.hang_ups.recv() => Err(told_to_end(hang_up)),
            Some(order) = established.moves.recv() => established.go_on_elsewhere(order, trail).await,
            // A caller who has not joined is not the conference's to hang up.
            () = server.admission.draining(), if !is_joined => {
                let cause = LeaveCause::ServerShutdown;
                Err(told_to_end(Some(HangUp { cause })))
            }
            Some(asked) = takers.recv() => match asked {
                Asked::Handover(taker) if is_joined => {
                    established.taker = Some(taker);
                    Err(End::by_us(LeaveCause::HungUp, "replaced", 200, "replaced by another call"))
                }
                // Who is received, or has no media yet, has no place to give: the other call hears it by the lost reply.
                Asked::Handover(_) => Ok(()),
                Asked::Place(reply) => {
                    // Whoever asked may have gone.
                    let _ = reply.send(established.whereabouts(trail));
                    Ok(())
                }
            },
            status = went(&mut established.errand) => {
                server.endpoint.send(Command::TellReferral(call, status)).await;
                Ok(())
            }
            Some(event) = media_events.recv() => established.media_event(server, call, event, trail).await,
            woken = woken(&mut established.seat) => established.go_on(woken, trail).await,
            () = tokio::time::sleep_until(latest_end) => {
                Err(End::by_us(LeaveCause::HungUp, "max_duration", 200, "maximum call duration"))
            }
        };
        if let Err(end) = step {
            return end;
        }
    }
}

/// Waits until it is known how an errand went. Cancel-safe.
async fn went(errand: &mut Option<oneshot::Receiver<StatusCode>>) -> StatusCode {
    let Some(outcome) = errand else {
        return std::future::pending().await;
    };
    // Whoever is lost on his errand has not done it.
    let status = outcome.await.unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    *errand = None;
    status
}

/// Waits until the visit of a caller who is received goes on. Cancel-safe.
async fn woken(seat: &mut Seated) -> Woken {
    match seat {
        Seated::Received(visit) => visit.wait().await,
        _ => std::future::pending().await,
    }
}

/// How a call ends that its reception ends.
fn turned_away(cause: Cause) -> End {
    let (label, status, text) = match cause {
        Cause::TooManyAttempts => ("too_many_attempts", 403, "too many attempts"),
        Cause::Locked => ("locked", 480, "the conference is locked"),
        Cause::Full => ("full", 480, "the conference is full"),
        Cause::Unavailable => ("unavailable", 503, "no place in the conference"),
        Cause::TimedOut => ("reception_timeout", 408, "nothing was entered"),
    };
    End::by_us(LeaveCause::HungUp, label, status, text)
}

fn told_to_end(hang_up: Option<HangUp>) -> End {
    let cause = hang_up.map_or(LeaveCause::ConferenceEnded, |hang_up| hang_up.cause);
    let text = match cause {
        LeaveCause::Kicked => "removed from the conference",
        LeaveCause::ServerShutdown => "server shutting down",
        LeaveCause::HungUp => "hung up by key",
        _ => "conference ended",
    };
    End::by_us(cause, cause.as_str(), 200, text)
}

impl Established {
    /// Where it is, if it is in a conference.
    fn whereabouts(&self, trail: &Trail) -> Option<Whereabouts> {
        let Seated::Joined(participant) = &self.seat else {
            return None;
        };
        let conference = trail.conference.clone()?;
        let participant = participant.id();
        Some(Whereabouts {
            conference,
            participant,
        })
    }

    /// Takes the reserved seat, or begins the reception; who has joined already stays where he is.
    async fn join(&mut self, trail: &mut Trail) -> Result<(), End> {
        match std::mem::replace(&mut self.seat, Seated::Gone) {
            Seated::Reserved(seat) => self.take(seat, trail).await,
            Seated::Received(mut visit) => {
                let begun = visit.start(&self.leg).await;
                self.seat = Seated::Received(visit);
                match begun {
                    Ok(progress) => self.follow(progress, trail).await,
                    Err(error) => {
                        tracing::warn!(%error, "the media plane has no place for a caller");
                        Err(turned_away(Cause::Unavailable))
                    }
                }
            }
            seated => {
                self.seat = seated;
                Ok(())
            }
        }
    }

    async fn go_on(&mut self, woken: Woken, trail: &mut Trail) -> Result<(), End> {
        let Seated::Received(visit) = &mut self.seat else {
            return Ok(());
        };
        let progress = visit.go_on(woken).await;
        self.follow(progress, trail).await
    }

    /// Does what a visit has come to.
    async fn follow(&mut self, progress: Progress, trail: &mut Trail) -> Result<(), End> {
        if let Seated::Received(visit) = &self.seat
            && let Some(destination) = visit.destination()
        {
            trail.conference = Some(destination.conference.clone());
        }
        match progress {
            Progress::Stays => Ok(()),
            Progress::HangsUp(cause) => Err(turned_away(cause)),
            Progress::Enters(seat) => {
                // The mix that the leg was alone in lasts until it has come into the other.
                let _visit = std::mem::replace(&mut self.seat, Seated::Gone);
                self.take(seat, trail).await
            }
        }
    }

    async fn take(&mut self, seat: Seat, trail: &mut Trail) -> Result<(), End> {
        let seat = seat.movable(self.mover.clone());
        match seat.join(Arc::clone(&self.leg), self.hang_up.clone()).await {
            Ok(participant) => {
                if let Some(told) = self.joined.take() {
                    // Whoever dialled may have gone.
                    let _ = told.send(Ok(()));
                }
                trail.participant_id = Some(participant.id().get());
                let conference = trail.conference.as_ref().map(ToString::to_string);
                tracing::info!(participant = %participant.id(), conference, "joined");
                self.seat = Seated::Joined(participant);
                Ok(())
            }
            Err(refusal) => {
                if let Some(told) = self.joined.take() {
                    let _ = told.send(Err(refusal));
                }
                tracing::warn!(%refusal, "an answered call could not join");
                let refused = refused_by_conference(refusal);
                Err(End::by_us(
                    LeaveCause::CallFailed,
                    "join_failed",
                    refused.status.code(),
                    &refused.text,
                ))
            }
        }
    }

    /// Leaves the conference for the place that is held in another one. The place was granted before, so only the media plane, or
    /// the end of that conference in this moment, can still keep the caller out; his call ends then.
    async fn go_on_elsewhere(&mut self, order: Move, trail: &mut Trail) -> Result<(), End> {
        let Move {
            seat,
            conference,
            reply,
        } = order;
        match std::mem::replace(&mut self.seat, Seated::Gone) {
            Seated::Joined(participant) => participant.leave(LeaveCause::Moved).await,
            seated => {
                self.seat = seated;
                return Ok(());
            }
        }
        trail.conference = Some(conference);
        let joined = self.take(seat, trail).await;
        let outcome = match &self.seat {
            Seated::Joined(participant) => Ok(participant.id()),
            _ => Err(Refusal::Media),
        };
        // Who ordered it may have stopped waiting.
        let _ = reply.send(outcome);
        joined
    }

    async fn signalled(
        &mut self,
        server: &Arc<CallServer>,
        call: CallKey,
        event: Event,
        trail: &mut Trail,
    ) -> Result<(), End> {
        match event {
            Event::Acked { body, .. } => self.acknowledged(body, trail).await,
            Event::ReinviteAcked { body: None, .. } => {
                // Without an answer to our offer, if we made one, the session stays as it was: some peers refresh it so.
                self.negotiation.withdraw_offer();
                Ok(())
            }
            Event::ReinviteAcked { body, .. } => self.acknowledged(body, trail).await,
            Event::Reinvite { request, .. } => {
                let answer = self.reinvited(&request, trail).await;
                let command = match answer {
                    Ok(body) => Command::AcceptReinvite(call, body),
                    Err(refused) => Command::RejectReinvite(call, refused.into_rejection()),
                };
                server.endpoint.send(command).await;
                Ok(())
            }
            Event::ReinviteCancelled { .. } => {
                self.negotiation.withdraw_offer();
                Ok(())
            }
            Event::RefreshWanted { .. } => {
                let offer = Body::sdp(self.negotiation.offer().to_string());
                server.endpoint.send(Command::Reinvite(call, offer)).await;
                Ok(())
            }
            Event::ReinviteOutcome { outcome, .. } => self.reoffered(outcome, trail).await,
            Event::Digit { digit, .. } => {
                // A leg that is gone has nobody who would want the digit.
                let _ = self.leg.digit_by_info(digit.key, digit.duration_ms).await;
                Ok(())
            }
            Event::Refer { request, .. } => {
                self.referred(server, call, &request, trail).await;
                Ok(())
            }
            Event::Probed { outcome, .. } => probed(outcome, self.is_silent),
            Event::Ended { cause, .. } => Err(ended(&cause)),
            // Cancelled is followed by Ended; the rest belongs to calls that we place.
            _ => Ok(()),
        }
    }

    /// Takes the answer to an offer of ours; then the caller can join, if he has not.
    async fn acknowledged(&mut self, body: Option<Body>, trail: &mut Trail) -> Result<(), End> {
        if !self.negotiation.has_open_offer() {
            return Ok(());
        }
        let answer = body.map_or_else(
            || {
                Err(Refused::new(
                    StatusCode::NOT_ACCEPTABLE_HERE,
                    "no answer in the ACK",
                ))
            },
            |body| SessionDescription::parse(&body.bytes).map_err(|error| refused_description(&error)),
        );
        let taken = match answer {
            Ok(answer) => self.take_answer(&answer, trail).await,
            Err(refused) => Err(refused),
        };
        match taken {
            Ok(()) => self.join(trail).await,
            Err(refused) => {
                // RFC 3261 §13.2.2.4 leaves nothing but BYE to who cannot use the answer.
                Err(End::by_us(
                    LeaveCause::CallFailed,
                    "no_answer_in_ack",
                    refused.status.code(),
                    &refused.text,
                ))
            }
        }
    }

    /// Takes what became of a re-INVITE of ours.
    async fn reoffered(&mut self, outcome: ReinviteOutcome, trail: &mut Trail) -> Result<(), End> {
        let ReinviteOutcome::Accepted { body: Some(body) } = outcome else {
            // Refused, crossed or not sent: the session stays as it was, and its timer asks again.
            self.negotiation.withdraw_offer();
            return Ok(());
        };
        let taken = match SessionDescription::parse(&body.bytes) {
            Ok(answer) => self.take_answer(&answer, trail).await,
            Err(error) => Err(refused_description(&error)),
        };
        taken.map_err(|refused| {
            let status = refused.status.code();
            End::by_us(LeaveCause::CallFailed, "no_answer_in_200", status, &refused.text)
        })
    }

    async fn take_answer(&mut self, answer: &SessionDescription, trail: &mut Trail) -> Result<(), Refused> {
        let agreed = self
            .negotiation
            .accept_answer(answer)
            .map_err(|error| refused_description(&error))?;
        self.start_media(&agreed.audio, trail).await
    }

    /// Returns the body for the 200 to a re-INVITE: an answer, or an offer when it had none (RFC 3261 §14.2).
    async fn reinvited(&mut self, request: &Request, trail: &mut Trail) -> Result<Body, Refused> {
        if request.body.is_empty() {
            return Ok(Body::sdp(self.negotiation.offer().to_string()));
        }
        let offer = SessionDescription::parse(&request.body).map_err(|error| refused_description(&error))?;
        self.peer = self.peer.moved(&request.headers);
        let agreed = self
            .negotiation
            .answer(&offer)
            .map_err(|error| refused_description(&error))?;
        self.start_media(&agreed.audio, trail).await?;
        Ok(Body::sdp(agreed.description.to_string()))
    }

    async fn start_media(
        &mut self,
        audio: &confab_sdp::AudioStream,
        trail: &mut Trail,
    ) -> Result<(), Refused> {
        let unusable = |text: String| Refused::new(StatusCode::NOT_ACCEPTABLE_HERE, text);
        let mut media = self
            .peer
            .leg_media(audio)
            .ok_or_else(|| unusable(format!("codec {} is not mixed", audio.codec.name)))?;
        // A peer that heard us and takes nothing any more holds the call: what it sends now is its hold music.
        self.is_held = audio.hold && self.was_two_way;
        self.was_two_way |= !audio.hold;
        if self.is_held {
            media.direction = MediaDirection::Inactive;
        }
        trail.codec = Some(audio.codec.name.clone());
        self.leg
            .start(media)
            .await
            .map_err(|error| unusable(error.to_string()))
    }

    /// Whether the agreed direction lets the peer send: who is held, or only listens, is silent by agreement.
    fn peer_may_send(&self) -> bool {
        let audio = self.negotiation.audio();
        !self.is_held && audio.is_none_or(|audio| audio.direction.receives())
    }

    async fn media_event(
        &mut self,
        server: &CallServer,
        call: CallKey,
        event: MediaEvent,
        trail: &mut Trail,
    ) -> Result<(), End> {
        match event {
            MediaEvent::Dtmf { digit, .. } => match &mut self.seat {
                Seated::Received(visit) => {
                    let progress = visit.key(digit).await;
                    self.follow(progress, trail).await
                }
                _ => Ok(()),
            },
            MediaEvent::PlayEnded { play, .. } => match &mut self.seat {
                Seated::Received(visit) => {
                    let progress = visit.play_ended(play).await;
                    self.follow(progress, trail).await
                }
                _ => Ok(()),
            },
            MediaEvent::MediaTimeout { silent, .. }
                if self.peer_may_send() && silent >= server.media_timeout * SILENCE_LIMIT =>
            {
                Err(End::by_us(
                    LeaveCause::MediaTimeout,
                    "media_timeout",
                    408,
                    "no media",
                ))
            }
            MediaEvent::MediaTimeout { silent, .. } => {
                self.is_silent = true;
                tracing::info!(
                    silent_s = silent.as_secs(),
                    "no media; asking whether the call still exists"
                );
                server.endpoint.send(Command::Probe(call)).await;
                Ok(())
            }
            MediaEvent::MediaResumed { .. } => {
                self.is_silent = false;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// A call that its peer does not know any more, or whose peer is gone, ends; any other final answer keeps it, and so does
/// media that came again while the answer did not.
fn probed(outcome: ProbeOutcome, is_silent: bool) -> Result<(), End> {
    match outcome {
        ProbeOutcome::Alive { .. } => Ok(()),
        ProbeOutcome::NoAnswer | ProbeOutcome::TransportFailed if !is_silent => Ok(()),
        _ => Err(End::by_us(
            LeaveCause::MediaTimeout,
            "media_timeout",
            408,
            "no media and no answer",
        )),
    }
}

fn ended(cause: &EndCause) -> End {
    let leave = match cause {
        EndCause::Bye { .. } | EndCause::Cancelled | EndCause::LocalHangUp => LeaveCause::HungUp,
        _ => LeaveCause::CallFailed,
    };
    End {
        cause: leave,
        label: label(cause),
        hang_up: None,
    }
}

/// Name of an end cause in records and logs.
pub(super) fn label(cause: &EndCause) -> &'static str {
    match cause {
        EndCause::Bye { .. } => "bye",
        EndCause::Cancelled => "cancelled",
        EndCause::Rejected { .. } => "rejected",
        EndCause::LocalHangUp => "local_hang_up",
        EndCause::NotAnswered => "not_answered",
        EndCause::AckTimeout => "ack_timeout",
        EndCause::PrackTimeout => "prack_timeout",
        EndCause::Refused { .. } => "refused",
        EndCause::Timeout => "timeout",
        EndCause::Gone { .. } => "gone",
        EndCause::TransportFailed => "transport_failed",
        EndCause::SessionExpired => "session_expired",
        EndCause::UnusableAnswer => "unusable_answer",
        _ => "ended",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_without_answer_ends_a_call_only_while_it_is_silent() {
        let alive = ProbeOutcome::Alive {
            status: StatusCode::METHOD_NOT_ALLOWED,
        };
        let gone = ProbeOutcome::Gone {
            status: StatusCode::CALL_DOES_NOT_EXIST,
        };
        let rows = [
            (alive, true, true),
            (gone, true, false),
            (gone, false, false),
            (ProbeOutcome::NoAnswer, true, false),
            (ProbeOutcome::NoAnswer, false, true),
            (ProbeOutcome::TransportFailed, true, false),
            (ProbeOutcome::TransportFailed, false, true),
        ];
        for (outcome, is_silent, stays) in rows {
            assert_eq!(
                probed(outcome, is_silent).is_ok(),
                stays,
                "{outcome:?} {is_silent}"
            );
        }
    }
}

//! Calls that a participant's phone wants placed (REFER): as the API's, with the same numbers, brake and limits.
//!
//! Decides nothing about who may: `signalling` has seen to that.

use std::time::Duration;

use async_trait::async_trait;
use confab_api::{DialAnswer, DialEndpoint, DialRefusal, DialRequest, ParticipantFlags};
use confab_conference::Role;
use confab_documents::{Document, Kind};
use confab_sip::{HeaderName, StatusCode};
use serde_json::json;

use super::{Dialler, words};
use crate::signalling::{Referral, Refers};

/// How long somebody rings who is called so.
const RING_TIME: Duration = Duration::from_secs(60);

#[async_trait]
impl Refers for Dialler {
    async fn call(&self, referral: Referral) -> StatusCode {
        let outcome = self.refer(referral).await;
        outcome.unwrap_or_else(|status| status)
    }
}

impl Dialler {
    async fn refer(&self, referral: Referral) -> Result<StatusCode, StatusCode> {
        let unavailable = || StatusCode::SERVICE_UNAVAILABLE;
        let server = self.server.upgrade().ok_or_else(unavailable)?;
        let Referral {
            account, conference, ..
        } = &referral;
        let store = &server.store;
        let stored = store.conference(account, conference).await;
        let stored = stored.map_err(|_| unavailable())?;
        let is_ad_hoc = stored.is_none();
        let document = match stored {
            Some(stored) => stored,
            None => {
                let body = server.registry.ad_hoc(account, conference).unwrap_or_default();
                Document::unsaved(account, Kind::Conference, conference.as_str(), body)
                    .map_err(|_| unavailable())?
            }
        };
        let settings = store.settings(&document).await.map_err(|_| unavailable())?;
        let shown = store.shown_caller(&document).await;
        let (caller_id_name, caller_id_number) = shown.map_err(|_| unavailable())?;
        let mut headers = vec![(HeaderName::ReferredBy, referral.referred_by.clone())];
        if let Some(replaces) = referral.replaces.clone() {
            headers.push((HeaderName::Require, "replaces".to_owned()));
            headers.push((HeaderName::Replaces, replaces));
        }
        let request = DialRequest {
            endpoints: vec![DialEndpoint::Named(referral.target.clone())],
            caller_id_name,
            caller_id_number,
            outbound_flags: Vec::new(),
            flags: ParticipantFlags {
                mute: referral.muted,
                deaf: referral.deaf,
                is_moderator: referral.role == Role::Moderator,
                // A conference that has ended meanwhile is not begun anew.
                join_existing: true,
                ..ParticipantFlags::default()
            },
            ring_time: RING_TIME,
            call_id: None,
            application_vars: Default::default(),
            conference: document,
            is_ad_hoc,
            settings,
            told: [("endpoints".to_owned(), json!([referral.target]))]
                .into_iter()
                .collect(),
        };
        drop(server);
        let dial = self.clone().dial_with(
            referral.account.clone(),
            referral.conference.clone(),
            request,
            headers,
        );
        match dial.await {
            Ok(DialAnswer::Endpoints(entries)) => {
                let mut nearest = words::TIMEOUT.to_owned();
                for entry in entries {
                    match entry.outcome {
                        Ok(_) => return Ok(StatusCode::OK),
                        Err(why)
                            if words::nearness(&why) > words::nearness(&nearest)
                                || nearest == words::TIMEOUT =>
                        {
                            nearest = why;
                        }
                        Err(_) => {}
                    }
                }
                Err(status_of(&nearest))
            }
            Ok(DialAnswer::NoServer) | Err(DialRefusal::Store(_)) => Err(unavailable()),
            Err(DialRefusal::Invalid(_)) => Err(StatusCode::NOT_FOUND),
        }
    }
}

/// The status that a phone is told for a word of the API.
fn status_of(word: &str) -> StatusCode {
    match word {
        "USER_BUSY" => StatusCode::BUSY_HERE,
        "CALL_REJECTED" => StatusCode::DECLINE,
        words::BARRED => StatusCode::FORBIDDEN,
        words::UNALLOCATED | "NO_ROUTE_DESTINATION" => StatusCode::NOT_FOUND,
        "NO_ANSWER" | "NO_USER_RESPONSE" | words::TIMEOUT => StatusCode::REQUEST_TIMEOUT,
        words::NOT_REGISTERED | "SUBSCRIBER_ABSENT" | words::FULL => StatusCode::TEMPORARILY_UNAVAILABLE,
        words::ROUTING_ERROR => StatusCode::LOOP_DETECTED,
        words::INCOMPATIBLE => StatusCode::NOT_ACCEPTABLE_HERE,
        "NORMAL_CLEARING" => StatusCode::REQUEST_TERMINATED,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_api_have_a_status() {
        for (word, status) in [
            ("USER_BUSY", 486),
            (words::BARRED, 403),
            (words::CONGESTION, 503),
            (words::UNALLOCATED, 404),
            (words::TIMEOUT, 408),
            (words::FULL, 480),
            ("anything else", 503),
        ] {
            assert_eq!(status_of(word).code(), status, "{word}");
        }
    }
}

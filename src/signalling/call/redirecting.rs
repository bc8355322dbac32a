//! A phone that sends a call elsewhere (3xx, RFC 3261 §8.1.3.4): the call goes on to where it says, one place after the other.
//!
//! Owns the limits. Only a registered device's word counts: anybody else who is called must not choose whom an account calls. Whether
//! it may be called is the dialler's to say, as for a number that the API dials.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use confab_conference::{AccountId, ConferenceId};
use confab_sdp::Capabilities;
use confab_sip::{DigestIdentity, HeaderName, Headers, NameAddr, SipUri, Uri};
use tokio::time::Instant;

use super::CallServer;
use super::attempts::try_all;
use super::outgoing::{Attempt, Destination, LegFailure, Order};
use crate::signalling::reach::NoWay;

/// How often one call is sent elsewhere: whoever is called then may do so too.
const MOST_REDIRECTIONS: usize = 3;
/// Addresses of one response that are looked at, and the best of them, which are followed.
const MOST_READ: usize = 64;
const MOST_CONTACTS: usize = 4;
/// Places that one call is sent to in all.
const MOST_PLACES: usize = 8;

/// Where a call goes on to.
pub(crate) struct Forwarded {
    /// How it is reached.
    pub(crate) way: Onward,
    /// Name and number of who is called then.
    pub(crate) shown: (String, String),
    /// It is a registered device: its own redirections are followed.
    pub(crate) follows: bool,
    /// Its share of what the account may call.
    pub(crate) permit: Box<dyn Any + Send + Sync>,
}

/// How the place is reached that a call goes on to.
pub(crate) enum Onward {
    /// Where it says.
    To {
        /// The place.
        destination: Box<Destination>,
        /// Values of Route.
        route: Vec<NameAddr>,
        /// Who we are when it asks.
        identity: Option<DigestIdentity>,
    },
    /// It is a number of the world: by these gateways, the next where one is not there.
    By(Vec<Attempt>),
}

/// Says where calls may go on to. Implemented by the dialler.
#[async_trait]
pub(crate) trait Redirects: Send + Sync {
    /// Finds who is meant by the Contact of a redirection of a registered device; nobody where none may be called.
    async fn follow(
        &self,
        account: &AccountId,
        conference: &ConferenceId,
        contact: &SipUri,
    ) -> Vec<Forwarded>;
}

/// Calls where an order says, and on from there.
pub(super) async fn run(server: &Arc<CallServer>, order: &mut Order) -> Result<(), LegFailure> {
    let first = order
        .attempts
        .iter()
        .map(|attempt| attempt.destination.target.clone());
    let mut been: Vec<SipUri> = first.collect();
    // Who calls, and with what, stays the same.
    let Some(model) = order.attempts.first().map(Attempt::without_way) else {
        return Err(LegFailure::NoWay(NoWay::Host));
    };
    let mut waiting = VecDeque::new();
    let mut redirections = 0;
    // Held until the call is over, with the order's own.
    let mut permits = Vec::new();
    loop {
        order.contacts.clear();
        let failure = match try_all(server, order).await {
            Ok(()) => return Ok(()),
            Err(failure) => failure,
        };
        let is_redirected = matches!(failure, LegFailure::Refused(300..=399));
        if is_redirected && order.follows && redirections < MOST_REDIRECTIONS {
            redirections += 1;
            for contact in std::mem::take(&mut order.contacts) {
                let is_new = !been.iter().any(|known| known.is_equivalent(&contact));
                if is_new && been.len() < MOST_PLACES && !server.admission.is_draining() {
                    been.push(contact.clone());
                    if let Some(redirects) = server.redirects.get() {
                        waiting.extend(
                            redirects
                                .follow(&order.account, &order.conference, &contact)
                                .await,
                        );
                    }
                }
            }
        }
        let may_go_on = matches!(
            failure,
            LegFailure::Refused(_) | LegFailure::NoResponse | LegFailure::NoWay(_)
        );
        let next = waiting
            .pop_front()
            .filter(|_| may_go_on && Instant::now() < order.ring_until);
        let Some(next) = next else { return Err(failure) };
        tracing::debug!("a phone has sent a call elsewhere");
        permits.push(order.go_on_to(next, &model));
    }
}

/// What stays the same of a call that goes elsewhere.
struct Model {
    from: NameAddr,
    /// Header fields, without the way.
    headers: Vec<(HeaderName, String)>,
    capabilities: Arc<Capabilities>,
    progress_within: Option<Duration>,
}

impl Attempt {
    fn without_way(&self) -> Model {
        let mut headers = self.headers.clone();
        headers.retain(|(name, _)| *name != HeaderName::Route);
        Model {
            from: self.from.clone(),
            headers,
            capabilities: Arc::clone(&self.capabilities),
            progress_within: self.progress_within,
        }
    }
}

impl Model {
    fn towards(
        &self,
        destination: Destination,
        route: &[NameAddr],
        identity: Option<DigestIdentity>,
    ) -> Attempt {
        let route = route.iter().map(|hop| {
            let value = String::from_utf8_lossy(&hop.to_bytes()).into_owned();
            (HeaderName::Route, value)
        });
        Attempt {
            from: self.from.clone(),
            to: NameAddr::new(destination.target.clone()),
            identity,
            headers: route.chain(self.headers.iter().cloned()).collect(),
            capabilities: Arc::clone(&self.capabilities),
            progress_within: self.progress_within,
            gateway: None,
            channel_vars: Vec::new(),
            destination,
        }
    }
}

impl Order {
    /// Makes it a call to another place. Returns what is to be held meanwhile.
    fn go_on_to(&mut self, next: Forwarded, model: &Model) -> Box<dyn Any + Send + Sync> {
        let Forwarded {
            way,
            shown,
            follows,
            permit,
        } = next;
        self.attempts = match way {
            Onward::By(attempts) => attempts,
            Onward::To {
                destination,
                route,
                identity,
            } => vec![model.towards(*destination, &route, identity)],
        };
        (self.caller.caller_id_name, self.caller.caller_id_number) = shown;
        // What was known of the device that was called first is not true of this one.
        self.caller.channel_vars.clear();
        self.follows = follows;
        permit
    }
}

/// The addresses of a redirection that can be read, the best first.
pub(super) fn contacts(headers: &Headers) -> Vec<SipUri> {
    let all = headers.readable_contacts(MOST_READ);
    let mut found: Vec<(f32, SipUri)> = all
        .iter()
        .filter_map(|contact| {
            let Uri::Sip(uri) = &contact.uri else { return None };
            let quality = contact
                .params
                .value("q")
                .map(|value| value.to_str_lossy().into_owned());
            let quality = quality
                .and_then(|quality| quality.parse().ok())
                .unwrap_or(1.0_f32);
            let mut uri = uri.clone();
            uri.headers = Default::default();
            Some((if quality.is_finite() { quality } else { 0.0 }, uri))
        })
        .collect();
    // Stable: those of one quality stay in their order.
    found.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    found.truncate(MOST_CONTACTS);
    found.into_iter().map(|(_, uri)| uri).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contacts_are_tried_by_their_quality() {
        let mut headers = Headers::new();
        let value = "<sip:low@a.example>;q=0.1, <sip:one@a.example>, <tel:+4930>, <sip:two@a.example;x=y?Subject=z>;q=1.0, \
                     <sip:bad@a.example>;q=nan, <sip:mid@a.example>;q=0.5";
        headers.push(HeaderName::Contact, value);
        let found: Vec<String> = contacts(&headers)
            .iter()
            .map(|uri| String::from_utf8_lossy(&uri.to_bytes()).into_owned())
            .collect();
        assert_eq!(
            found,
            [
                "sip:one@a.example",
                "sip:two@a.example;x=y",
                "sip:mid@a.example",
                "sip:low@a.example"
            ]
        );
        assert!(contacts(&Headers::new()).is_empty());
    }

    #[test]
    fn what_cannot_be_read_is_passed_over_and_of_many_the_first_count() {
        let mut headers = Headers::new();
        headers.push(
            HeaderName::Contact,
            "<sip:, \"Doe, <J\" <sip:good@a.example>, <sip:x@[>;q=1, ,*, sip:, sip:plain@a.example",
        );
        headers.push(HeaderName::Contact, "<sip:never closed, <sip:behind@a.example>");
        for number in 0..10_000 {
            headers.push(HeaderName::Contact, format!("<sip:{number}@a.example>"));
        }
        let found: Vec<String> = contacts(&headers)
            .iter()
            .map(|uri| String::from_utf8_lossy(&uri.to_bytes()).into_owned())
            .collect();
        assert_eq!(
            found,
            [
                "sip:good@a.example",
                "sip:plain@a.example",
                "sip:behind@a.example",
                "sip:0@a.example"
            ]
        );
    }
}

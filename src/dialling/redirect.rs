//! Where a registered phone may send a call that it does not take (3xx).
//!
//! A number of the account, one of the world, by the account's trunks, or a SIP URI, as the API could dial it, within the same brake;
//! never another conference.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use confab_api::{DialEndpoint, DialRequest, ParticipantFlags};
use confab_conference::{AccountId, ConferenceId};
use confab_documents::{Account, Document, Kind};
use confab_sip::SipUri;

use super::callee::{Callee, Outside, Security};
use super::resolve::Resolver;
use super::{Dial, Dialler, account_body, parts::outbound_flags};
use crate::signalling::{Attempt, CallServer, Forwarded, Onward, Redirects};

#[async_trait]
impl Redirects for Dialler {
    async fn follow(
        &self,
        account: &AccountId,
        conference: &ConferenceId,
        contact: &SipUri,
    ) -> Vec<Forwarded> {
        let found = self.find(account, conference, contact).await;
        found.unwrap_or_default()
    }
}

impl Dialler {
    async fn find(
        &self,
        account: &AccountId,
        conference: &ConferenceId,
        contact: &SipUri,
    ) -> Option<Vec<Forwarded>> {
        let server = self.server.upgrade()?;
        let account = server.store.account(account).await.ok()??;
        let name = if server.leads_here(contact, &account.realm) {
            let user = contact.user_decoded()?;
            user.to_str_lossy().into_owned()
        } else {
            String::from_utf8_lossy(&contact.to_bytes()).into_owned()
        };
        let flags = outbound_flags(&account_body(&server.store, &account).await.ok()?);
        let resolver = Resolver {
            store: &server.store,
            contacts: &*self.contacts,
            trunks: &self.trunks,
            account: &account,
            conference,
            emergency: self.brake.emergency(),
            flags: &flags,
        };
        let endpoints = resolver.resolve(&[DialEndpoint::Named(name)]).await.ok()?;
        let legs = endpoints.into_iter().flat_map(|endpoint| endpoint.legs);
        let mut all = Vec::new();
        for callee in legs.filter_map(|leg| leg.callee.ok()) {
            // The offer is that of the call to the first phone.
            if callee.security == Security::Required || callee.confirms {
                continue;
            }
            if let Some(outside) = &callee.outside {
                let by_trunk = self
                    .by_trunk(&server, &account, conference, (&callee, outside))
                    .await;
                let Some(attempts) = by_trunk else { continue };
                let Some(permit) = self.brake.enter(Instant::now(), &account.id) else {
                    return Some(all);
                };
                all.push(Forwarded {
                    way: Onward::By(attempts),
                    shown: (callee.name.clone(), callee.number.clone()),
                    follows: false,
                    permit: Box::new(permit),
                });
                continue;
            }
            for place in &callee.at {
                let is_barred = place.is_judged && self.brake.bars_target(&place.destination.target);
                if place.destination.is_internal || is_barred {
                    continue;
                }
                let Some(permit) = self.brake.enter(Instant::now(), &account.id) else {
                    return Some(all);
                };
                all.push(Forwarded {
                    way: Onward::To {
                        destination: Box::new(place.destination.clone()),
                        route: place.route.clone(),
                        identity: callee.identity.clone(),
                    },
                    shown: (callee.name.clone(), callee.number.clone()),
                    follows: !place.is_judged,
                    permit: Box::new(permit),
                });
            }
        }
        Some(all)
    }

    /// The gateways that take a number of the world, as for a dial that does not say who calls; `None` where it may not be called.
    async fn by_trunk(
        &self,
        server: &CallServer,
        account: &Account,
        conference: &ConferenceId,
        (callee, outside): (&Callee, &Outside),
    ) -> Option<Vec<Attempt>> {
        let store = &server.store;
        let document = match store.conference(&account.id, conference).await.ok()? {
            Some(stored) => stored,
            None => {
                let body = server
                    .registry
                    .ad_hoc(&account.id, conference)
                    .unwrap_or_default();
                Document::unsaved(&account.id, Kind::Conference, conference.as_str(), body).ok()?
            }
        };
        let settings = store.settings(&document).await.ok()?;
        let own = store.document(&account.id, Kind::Account, account.id.as_str());
        let account_body = own.await.ok()?.map(|own| own.body).unwrap_or_default();
        let request = DialRequest {
            endpoints: Vec::new(),
            caller_id_name: None,
            caller_id_number: None,
            flags: ParticipantFlags::default(),
            ring_time: Duration::ZERO,
            call_id: None,
            application_vars: Default::default(),
            outbound_flags: Vec::new(),
            conference: document,
            is_ad_hoc: false,
            settings,
            told: Default::default(),
        };
        let dial = Dial {
            dialler: self,
            server,
            account,
            account_body: &account_body,
            conference,
            request: &request,
            headers: &[],
            ring_until: tokio::time::Instant::now(),
            legs: 0,
        };
        dial.by_trunk(callee, outside).ok()
    }
}

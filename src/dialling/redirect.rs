//! Where a registered phone may send a call that it does not take (3xx).
//!
//! A number of the account, or a SIP URI, as the API could dial it, within the same brake; never another conference.

use std::time::Instant;

use async_trait::async_trait;
use confab_api::DialEndpoint;
use confab_conference::{AccountId, ConferenceId};
use confab_sip::SipUri;

use super::brake::Called;
use super::resolve::Resolver;
use super::{Dialler, account_body, callee::Security, parts::outbound_flags};
use crate::signalling::{Forwarded, Redirects};

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
            for place in &callee.at {
                let target = &place.destination.target;
                let user = target.user_decoded().map(|user| user.to_str_lossy().into_owned());
                let host = target.host.to_string();
                let called = Called {
                    user: user.as_deref().unwrap_or_default(),
                    host: Some(&host),
                };
                if place.destination.is_internal || (place.is_judged && self.brake.bars(&called)) {
                    continue;
                }
                let Some(permit) = self.brake.enter(Instant::now(), &account.id) else {
                    return Some(all);
                };
                all.push(Forwarded {
                    destination: place.destination.clone(),
                    route: place.route.clone(),
                    identity: callee.identity.clone(),
                    shown: (callee.name.clone(), callee.number.clone()),
                    follows: !place.is_judged,
                    permit: Box::new(permit),
                });
            }
        }
        Some(all)
    }
}

//! Trunks: the gateways by which calls go to the world, the API's "resources".
//!
//! Owns which gateways take a number and in what order, and what is known of each: whether it was there when it was last needed.
//! Places no call: `dialling` says what is asked of a gateway, `signalling` asks it.

mod book;
mod choice;
mod health;
pub(crate) mod keeper;
mod trunk;
mod watch;

use std::{sync::Arc, time::Instant};

use confab_api::{GatewayState, TrunkStates};
use confab_conference::AccountId;
use confab_documents::{Document, Kind, ListOrder, ListPage, ListScope, Store, StoreError};
use confab_sip::{RegistrationFailure, RegistrationState};
use moka::sync::Cache;

pub(crate) use self::{
    book::{Book, Origin},
    choice::{Choice, Wanted},
    health::{Absence, Health},
    trunk::{Gateway, Trunk, UserForm},
    watch::Reach,
};

/// Documents that are read at a time.
const PAGE: u32 = 200;
/// Trunks of one account, and of all above it, that are looked at; the rest is left out, and told in the log.
const MOST_TRUNKS: usize = 1000;
/// What is kept of trunks as they were read, with their rules made ready, in octets.
const MOST_KNOWN: u64 = 256 << 20;
/// A trunk without its rules, about.
const TRUNK_OCTETS: usize = 16 << 10;

/// The trunks of all accounts. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Trunks(Arc<Shared>);

struct Shared {
    store: Store,
    /// By account and the hash of the document's revision.
    known: Cache<String, Option<Arc<Trunk>>>,
    health: Health,
    book: Book,
}

/// The trunks that an account may use for a number.
pub(crate) struct Choices {
    /// Gateways that take it, in the order in which they are tried.
    pub(crate) choices: Vec<Choice>,
    /// Whether the account has any trunk at all.
    pub(crate) has_trunks: bool,
}

/// One gateway at which a call is tried; told what comes of it.
#[derive(Clone)]
pub(crate) struct GatewayUse {
    trunks: Trunks,
    gateway: Arc<Gateway>,
}

impl GatewayUse {
    /// Returns the use of a gateway.
    pub(crate) fn of(trunks: &Trunks, gateway: &Arc<Gateway>) -> GatewayUse {
        GatewayUse {
            trunks: trunks.clone(),
            gateway: Arc::clone(gateway),
        }
    }

    /// It took no call.
    pub(crate) fn absent(&self, why: Absence) {
        self.trunks
            .health()
            .absent(Instant::now(), &self.gateway.key, why);
    }

    /// It took the call, or said why not.
    pub(crate) fn present(&self) {
        self.trunks.health().present(&self.gateway.key);
    }

    /// The call goes on to the next.
    pub(crate) fn passed_over(&self) {
        self.trunks.health().passed_over();
    }
}

impl Trunks {
    /// Returns the trunks that a store has.
    pub(crate) fn new(store: Store) -> Trunks {
        Trunks(Arc::new(Shared {
            store,
            known: Cache::builder()
                .max_capacity(MOST_KNOWN)
                .weigher(|_, trunk| weight(trunk))
                .build(),
            health: Health::default(),
            book: Book::default(),
        }))
    }

    /// Returns the gateways that take a number, in the order in which they are tried; those of emergency trunks before others for one of the
    /// emergency services.
    ///
    /// # Errors
    /// The store does not answer.
    pub(crate) async fn choices(
        &self,
        account: &AccountId,
        wanted: Wanted<'_>,
    ) -> Result<Choices, StoreError> {
        let own = self.read(ListScope::Account(account.clone()), |_| true).await?;
        let above = ListScope::Parents(account.clone());
        let above = self.read(above, |trunk| trunk.includes_subaccounts).await?;
        let has_trunks = !(own.is_empty() && above.is_empty());
        let mut choices = Vec::new();
        for trunks in [own, above] {
            choices.extend(choice::of(trunks, wanted, &mut rand::rng()));
        }
        self.0.health.sort(Instant::now(), &mut choices);
        if wanted.is_emergency {
            choices.sort_by_key(|choice| !choice.trunk.is_emergency);
        }
        choices.truncate(choice::MOST);
        Ok(Choices { choices, has_trunks })
    }

    /// What is known of gateways.
    pub(crate) fn health(&self) -> &Health {
        &self.0.health
    }

    /// Where calls of gateways come from.
    pub(crate) fn book(&self) -> &Book {
        &self.0.book
    }

    fn store(&self) -> &Store {
        &self.0.store
    }

    /// Reads the trunks of a scope that are switched on and wanted.
    async fn read(
        &self,
        scope: ListScope,
        is_wanted: impl Fn(&Trunk) -> bool,
    ) -> Result<Vec<Arc<Trunk>>, StoreError> {
        let mut found = Vec::new();
        let mut start: Option<String> = None;
        loop {
            let page = ListPage {
                order: ListOrder::Ascending,
                start: start.take(),
                // One more says where the next page begins.
                limit: PAGE + 1,
                owner: None,
            };
            let documents = self.0.store.list(&scope, Kind::Resource, &page).await?;
            start = documents.get(PAGE as usize).map(|next| next.id.clone());
            for document in documents.iter().take(PAGE as usize) {
                if let Some(trunk) = self.known(document).await
                    && is_wanted(&trunk)
                {
                    found.push(trunk);
                }
            }
            if found.len() >= MOST_TRUNKS && start.is_some() {
                tracing::warn!("an account has more than {MOST_TRUNKS} trunks: some are not used");
                return Ok(found);
            }
            if start.is_none() {
                return Ok(found);
            }
        }
    }

    /// Returns a document as a trunk, when it is switched on and can be used.
    async fn known(&self, document: &Arc<Document>) -> Option<Arc<Trunk>> {
        let key = format!("{}/{}", document.account_id, document.revision.hash);
        if let Some(known) = self.0.known.get(&key) {
            return known;
        }
        // A thousand rules take a while to be made ready.
        let document = Arc::clone(document);
        let read = tokio::task::spawn_blocking(move || Trunk::read(&document).map(Arc::new));
        let trunk = read.await.ok().flatten();
        self.0.known.insert(key, trunk.clone());
        trunk
    }
}

impl TrunkStates for Trunks {
    fn of(&self, account: &AccountId) -> Vec<(String, Vec<GatewayState>)> {
        let mut trunks: Vec<(String, Vec<GatewayState>)> = Vec::new();
        for key in self.book().of(account) {
            let found = self.health().found(&key);
            let state = GatewayState {
                server: key.server().to_owned(),
                answers: found.answers,
                registration: found.registration.map(watch::name_of),
                refusal: match found.registration {
                    Some(RegistrationState::Failed(RegistrationFailure::Refused(status))) => {
                        Some(status.code())
                    }
                    _ => None,
                },
            };
            match trunks.last_mut().filter(|(trunk, _)| *trunk == key.trunk) {
                Some((_, gateways)) => gateways.push(state),
                None => trunks.push((key.trunk, vec![state])),
            }
        }
        trunks
    }
}

fn weight(trunk: &Option<Arc<Trunk>>) -> u32 {
    let rules = trunk.as_ref().map_or(0, |trunk| trunk.rules.len());
    u32::try_from(TRUNK_OCTETS + rules * trunk::MOST_RULE_OCTETS).unwrap_or(u32::MAX)
}

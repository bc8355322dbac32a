//! Participants whom a key moves to another conference of their account, by its number. Owns the orders that wait; finds the
//! conference and has the registry move them, beside the conferences' tasks. Never reads a conference's state.

use std::sync::{Mutex, PoisonError};

use confab_conference::{AccountId, ConferenceId, ParticipantId, Refusal};
use confab_documents::{DialPlan, Store, StoreError};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

use super::Registry;
use super::media::MixPlane;
use crate::signalling::routing::{self, Destination};

/// Orders that wait.
const MOST_WAITING: usize = 256;

/// Orders that are carried out at a time.
const AT_A_TIME: usize = 8;

/// Somebody is to be moved.
#[derive(Clone, Debug)]
pub(super) struct Transfer {
    pub(super) account: AccountId,
    /// Where he is.
    pub(super) conference: ConferenceId,
    pub(super) participant: ParticipantId,
    /// As the document has it: what is behind a blank is FreeSWITCH's dial plan and context.
    pub(super) number: String,
}

/// The orders of all conferences.
pub(crate) struct Transfers {
    orders: mpsc::Sender<Transfer>,
    /// Until somebody carries them out.
    waiting: Mutex<Option<mpsc::Receiver<Transfer>>>,
}

impl Default for Transfers {
    fn default() -> Transfers {
        let (orders, waiting) = mpsc::channel(MOST_WAITING);
        Transfers {
            orders,
            waiting: Mutex::new(Some(waiting)),
        }
    }
}

impl Transfers {
    /// Orders a move. Returns whether there was room for it.
    pub(super) fn order(&self, order: Transfer) -> bool {
        self.orders.try_send(order).is_ok()
    }

    fn take(&self) -> Option<mpsc::Receiver<Transfer>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Carries out the orders of a registry until it is aborted. A second time it has nothing to do.
pub(crate) fn start<M: MixPlane>(registry: Registry<M>, store: Store) -> JoinHandle<()> {
    tokio::spawn(async move {
        let Some(mut orders) = registry.transfers().take() else {
            return;
        };
        let mut moving = JoinSet::new();
        while let Some(order) = orders.recv().await {
            while moving.len() >= AT_A_TIME {
                moving.join_next().await;
            }
            let (registry, store) = (registry.clone(), store.clone());
            moving.spawn(async move { carry_out(&registry, &store, order).await });
        }
    })
}

async fn carry_out<M: MixPlane>(registry: &Registry<M>, store: &Store, order: Transfer) {
    let found = match find(store, &order).await {
        Ok(Some(found)) => found,
        Ok(None) => {
            tracing::info!(participant = %order.participant, "a key names a number that no conference of the account has");
            return registry.not_moved(&order, None).await;
        }
        Err(error) => {
            tracing::warn!(%error, "the store does not say where a key leads");
            return registry.not_moved(&order, Some(Refusal::NotRunning)).await;
        }
    };
    let Destination {
        conference, settings, ..
    } = found;
    let (account, from) = (&order.account, &order.conference);
    let moved = registry.move_participant(account, from, order.participant, &conference, settings);
    if let Err(refusal) = moved.await {
        tracing::info!(participant = %order.participant, %refusal, "a key could not move him");
        registry.not_moved(&order, Some(refusal)).await;
    }
}

async fn find(store: &Store, order: &Transfer) -> Result<Option<Destination>, StoreError> {
    let Some(account) = store.account(&order.account).await? else {
        return Ok(None);
    };
    let configuration = store.conferences_configuration(&account.id).await?;
    let plan = DialPlan::of(configuration.as_ref(), &account.language);
    let number = order.number.split_whitespace().next().unwrap_or_default();
    routing::conference(store, &account.id, &account.language, &plan.forms(number)).await
}

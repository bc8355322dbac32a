//! Keeps the book of gateways in step with the documents, and a watch over each gateway.
//!
//! Owns the watches. Learns of changes as the registrar does: once a second the store is asked what was saved.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use confab_conference::{AccountId, GregorianSeconds};
use confab_documents::{Change, Kind, ListOrder, ListPage, ListScope, StoreError};
use tokio::{sync::watch, task::JoinHandle, time::MissedTickBehavior};

use super::{
    PAGE, Trunks,
    trunk::{Gateway, GatewayKey},
    watch::{Reach, Watch},
};

/// How often changes of documents are looked for.
const TICK: Duration = Duration::from_secs(1);
/// Gateways that are watched; calls go by the others as well, but not as theirs come calls in.
const MOST_WATCHED: usize = 5000;

/// Starts what keeps the book until `stop` is true.
pub(crate) fn start(trunks: Trunks, reach: Reach, stop: watch::Receiver<bool>) -> JoinHandle<()> {
    let keeper = Keeper {
        trunks,
        reach: Arc::new(reach),
        watched: BTreeMap::new(),
        since: None,
        seen: HashSet::new(),
        is_full: false,
    };
    tokio::spawn(keeper.run(stop))
}

struct Keeper {
    trunks: Trunks,
    reach: Arc<Reach>,
    watched: BTreeMap<GatewayKey, Watched>,
    since: Option<GregorianSeconds>,
    /// Changes of the last reading, which come again in the next one.
    seen: HashSet<Change>,
    /// It was told that there are more than can be watched.
    is_full: bool,
}

struct Watched {
    /// As it was read: another reading begins another watch.
    gateway: Arc<Gateway>,
    watch: Watch,
}

impl Keeper {
    async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                _ = ticks.tick() => {}
            }
            if let Err(error) = self.follow().await {
                tracing::warn!(%error, "changes of trunks could not be read: going on with those known before");
            }
        }
        let watched = std::mem::take(&mut self.watched).into_values();
        futures_util::future::join_all(watched.map(|watched| watched.watch.end())).await;
    }

    /// Takes in what has changed since the last time.
    async fn follow(&mut self) -> Result<(), StoreError> {
        let store = self.trunks.store().clone();
        let kinds = [Kind::Account, Kind::Resource];
        let since = self.since.unwrap_or(GregorianSeconds(u64::MAX));
        let (changes, next) = store.changes_since(since, &kinds).await?;
        let changes: HashSet<Change> = changes.into_iter().collect();
        if self.since.is_none() {
            for account in self.accounts().await? {
                self.take(&account).await?;
            }
        }
        let fresh = changes.difference(&self.seen);
        let concerned: HashSet<AccountId> = fresh.map(|change| change.account.clone()).collect();
        for account in concerned {
            self.take(&account).await?;
        }
        self.since = Some(next);
        self.seen = changes;
        Ok(())
    }

    /// The accounts that have trunks.
    async fn accounts(&self) -> Result<HashSet<AccountId>, StoreError> {
        let mut found = HashSet::new();
        let store = self.trunks.store();
        let Some(first) = store.bootstrap_account().await? else {
            return Ok(found);
        };
        for scope in [
            ListScope::Account(first.id.clone()),
            ListScope::Descendants(first.id),
        ] {
            let mut start: Option<String> = None;
            loop {
                let page = ListPage {
                    order: ListOrder::Ascending,
                    start: start.take(),
                    limit: PAGE + 1,
                    owner: None,
                };
                let documents = store.list(&scope, Kind::Resource, &page).await?;
                start = documents.get(PAGE as usize).map(|next| next.id.clone());
                found.extend(documents.iter().map(|document| document.account_id.clone()));
                if start.is_none() {
                    break;
                }
            }
        }
        Ok(found)
    }

    /// Brings the watches of an account's gateways in step with its documents.
    async fn take(&mut self, account: &AccountId) -> Result<(), StoreError> {
        let is_on = self
            .trunks
            .store()
            .account(account)
            .await?
            .is_some_and(|account| account.enabled);
        let mut wanted: BTreeMap<GatewayKey, Arc<Gateway>> = BTreeMap::new();
        if is_on {
            for trunk in self
                .trunks
                .read(ListScope::Account(account.clone()), |_| true)
                .await?
            {
                // Of two entries for one server the first counts.
                for gateway in &trunk.gateways {
                    wanted
                        .entry(gateway.key.clone())
                        .or_insert_with(|| Arc::clone(gateway));
                }
            }
        }
        let is_stale = |key: &GatewayKey, watched: &Watched| {
            key.account == *account
                && wanted
                    .get(key)
                    .is_none_or(|gateway| **gateway != *watched.gateway)
        };
        let stale: Vec<GatewayKey> = self
            .watched
            .iter()
            .filter(|(key, watched)| is_stale(key, watched))
            .map(|(key, _)| key.clone())
            .collect();
        let mut ending: BTreeMap<GatewayKey, Watch> = BTreeMap::new();
        for key in stale {
            if let Some(watched) = self.watched.remove(&key) {
                self.trunks.book().set_known(&key, false);
                ending.insert(key, watched.watch);
            }
        }
        self.begin(wanted, &mut ending);
        ending.into_values().for_each(Watch::leave);
        Ok(())
    }

    /// Begins the watches that there are not yet, each behind the one that it takes the place of.
    fn begin(
        &mut self,
        wanted: BTreeMap<GatewayKey, Arc<Gateway>>,
        ending: &mut BTreeMap<GatewayKey, Watch>,
    ) {
        for (key, gateway) in wanted {
            if self.watched.contains_key(&key) {
                continue;
            }
            if self.watched.len() >= MOST_WATCHED {
                if !std::mem::replace(&mut self.is_full, true) {
                    tracing::warn!(
                        "there are more than {MOST_WATCHED} gateways of trunks: the rest is not watched"
                    );
                }
                return;
            }
            self.trunks.book().set_known(&key, true);
            let watch = Watch::start(&self.trunks, &self.reach, &gateway, ending.remove(&key));
            self.watched.insert(key, Watched { gateway, watch });
        }
    }
}

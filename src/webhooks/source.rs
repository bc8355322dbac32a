//! Where hooks come from: the documents of an account and of those above it. Never tells one anything.

use async_trait::async_trait;
use confab_conference::AccountId;
use confab_documents::{Body, Expected, Kind, ListOrder, ListPage, ListScope, SaveError, Store, StoreError};
use serde_json::{Value, json};

use super::hook::Hook;

/// Documents that are read at a time.
const AT_A_TIME: u32 = 200;

/// Documents of an account, and of all those above it, that are read; the rest is left out, and told in the log.
const MOST: usize = 5000;

/// The documents of hooks.
#[async_trait]
pub(super) trait Source: Send + Sync {
    /// Returns the enabled hooks of an account, and of those above it the ones that include it.
    async fn hooks(&self, account: &AccountId) -> Result<Vec<Hook>, StoreError>;

    /// Returns a hook as it is now; `None` when it is gone, or disabled.
    async fn hook(&self, account: &AccountId, id: &str) -> Result<Option<Hook>, StoreError>;

    /// Disables a hook, unless its document was changed since it was read.
    async fn disable(&self, hook: &Hook, message: &str) -> Result<(), SaveError>;
}

#[async_trait]
impl Source for Store {
    async fn hooks(&self, account: &AccountId) -> Result<Vec<Hook>, StoreError> {
        let mut hooks = read(self, ListScope::Account(account.clone()), |_| true).await?;
        let above = ListScope::Parents(account.clone());
        hooks.extend(read(self, above, |hook| hook.include_subaccounts).await?);
        Ok(hooks)
    }

    async fn hook(&self, account: &AccountId, id: &str) -> Result<Option<Hook>, StoreError> {
        let document = self.document(account, Kind::Webhook, id).await?;
        Ok(document.as_ref().and_then(Hook::read))
    }

    async fn disable(&self, hook: &Hook, message: &str) -> Result<(), SaveError> {
        let change = match json!({ "enabled": false, "disable_message": message }) {
            Value::Object(change) => change,
            _ => Body::new(),
        };
        let unchanged = Expected::OneOf(vec![hook.revision.clone()]);
        let saved = self.patch(&hook.account, Kind::Webhook, &hook.id, change, &unchanged);
        saved.await.map(|_| ())
    }
}

/// Reads the enabled hooks of a scope that are wanted.
async fn read(
    store: &Store,
    scope: ListScope,
    is_wanted: impl Fn(&Hook) -> bool,
) -> Result<Vec<Hook>, StoreError> {
    let mut hooks = Vec::new();
    let mut start: Option<String> = None;
    let mut seen = 0;
    loop {
        let page = ListPage {
            order: ListOrder::Ascending,
            // One more says where the next page begins.
            limit: AT_A_TIME + 1,
            start: start.clone(),
            ..ListPage::default()
        };
        let documents = store.list(&scope, Kind::Webhook, &page).await?;
        let next = documents
            .get(AT_A_TIME as usize)
            .map(|document| document.id.clone());
        let new = documents.iter().take(AT_A_TIME as usize);
        hooks.extend(new.filter_map(|document| Hook::read(document)).filter(&is_wanted));
        seen += AT_A_TIME as usize;
        match next {
            Some(_) if seen >= MOST => {
                tracing::warn!("more than {MOST} webhooks may concern an account: some are not told");
                return Ok(hooks);
            }
            Some(next) => start = Some(next),
            None => return Ok(hooks),
        }
    }
}

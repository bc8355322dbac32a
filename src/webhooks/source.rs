//! Where hooks come from: the documents of an account and of those above it. Never tells one anything.

use async_trait::async_trait;
use confab_conference::AccountId;
use confab_documents::{Body, Expected, Kind, ListOrder, ListPage, ListScope, SaveError, Store, StoreError};
use serde_json::{Value, json};

use super::hook::Hook;

/// Hooks of one account that are read.
const MOST: u32 = 200;

/// The documents of hooks.
#[async_trait]
pub(super) trait Source: Send + Sync {
    /// Returns the enabled hooks of an account, and of those above it the ones that include it.
    async fn hooks(&self, account: &AccountId) -> Result<Vec<Hook>, StoreError>;

    /// Disables a hook, unless its document was changed since it was read.
    async fn disable(&self, hook: &Hook, message: &str) -> Result<(), SaveError>;
}

#[async_trait]
impl Source for Store {
    async fn hooks(&self, account: &AccountId) -> Result<Vec<Hook>, StoreError> {
        let page = ListPage {
            order: ListOrder::Ascending,
            limit: MOST,
            ..ListPage::default()
        };
        let own = ListScope::Account(account.clone());
        let mut hooks: Vec<Hook> = self
            .list(&own, Kind::Webhook, &page)
            .await?
            .iter()
            .filter_map(Hook::read)
            .collect();
        let above = ListScope::Parents(account.clone());
        let of_parents = self.list(&above, Kind::Webhook, &page).await?;
        hooks.extend(
            of_parents
                .iter()
                .filter_map(Hook::read)
                .filter(|hook| hook.include_subaccounts),
        );
        Ok(hooks)
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

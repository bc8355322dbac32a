//! One hook, as its document describes it. Never sends anything.

use confab_api::event::News;
use confab_conference::AccountId;
use confab_documents::{Document, Revision};
use reqwest::{Method, Url};
use serde_json::{Map, Value};

/// Whom to tell what, and how.
#[derive(Clone, Debug)]
pub(super) struct Hook {
    pub(super) id: String,
    pub(super) account: AccountId,
    pub(super) revision: Revision,
    pub(super) uri: Url,
    pub(super) method: Method,
    /// The name of an event, of all of a kind, or of all.
    pub(super) on: String,
    /// How often each event is tried to be told, at least once.
    pub(super) tries: u32,
    pub(super) format: Format,
    pub(super) custom_data: Map<String, Value>,
    pub(super) include_subaccounts: bool,
}

/// How an event is written into the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Form,
    Json,
}

impl Hook {
    /// Reads a document; `None` when it is disabled, or its address cannot be used.
    pub(super) fn read(document: &Document) -> Option<Hook> {
        let body = &document.body;
        let text = |key: &str| body.get(key).and_then(Value::as_str);
        if body.get("enabled") == Some(&Value::Bool(false)) {
            return None;
        }
        let uri = Url::parse(text("uri")?).ok()?;
        if !matches!(uri.scheme(), "http" | "https") {
            return None;
        }
        Some(Hook {
            id: document.id.clone(),
            account: document.account_id.clone(),
            revision: document.revision.clone(),
            uri,
            method: match text("http_verb") {
                Some("get") => Method::GET,
                Some("put") => Method::PUT,
                _ => Method::POST,
            },
            on: text("hook")?.to_owned(),
            tries: body
                .get("retries")
                .and_then(Value::as_u64)
                .map_or(2, |retries| retries.clamp(1, 4) as u32), // 4 at most
            format: match text("format") {
                Some("json") => Format::Json,
                _ => Format::Form,
            },
            custom_data: body
                .get("custom_data")
                .and_then(Value::as_object)
                .cloned()
                .unwrap_or_default(),
            include_subaccounts: body.get("include_subaccounts") == Some(&Value::Bool(true)),
        })
    }

    /// Returns whether the hook is to be told of an event: of the account's own, or of one below where it asks for those.
    pub(super) fn wants(&self, event: &News) -> bool {
        let is_meant = ["all", event.category(), event.event()].contains(&self.on.as_str());
        is_meant && (self.account == *event.account() || self.include_subaccounts)
    }
}

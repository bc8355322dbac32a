//! One request to one address. Owns the HTTP client, which obeys the same rules about addresses as the one for media.

use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Method};
use serde_json::Value;
use tokio::sync::OnceCell;

use super::body::fields;
use super::hook::{Format, Hook};
use crate::sounds::FetchError;
use crate::sounds::outbound::{check_address, client};

/// Time for all of a request.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A way to tell hooks.
#[async_trait]
pub(super) trait Transport: Send + Sync {
    /// Sends a request and returns the status of its answer, or why there is none.
    async fn send(&self, hook: &Hook, body: &Value) -> Result<u16, String>;
}

/// HTTP, without following redirects.
pub(super) struct Http {
    allow_private: bool,
    client: OnceCell<Client>,
}

impl Http {
    pub(super) fn new(allow_private: bool) -> Self {
        Self {
            allow_private,
            client: OnceCell::new(),
        }
    }

    async fn request(&self, hook: &Hook, body: &Value) -> Result<u16, FetchError> {
        check_address(&hook.uri, self.allow_private)?;
        let client = self.client.get_or_try_init(|| client(self.allow_private)).await?;
        let request = client
            .request(hook.method.clone(), hook.uri.clone())
            .timeout(TIMEOUT)
            .header("X-Hook-ID", &hook.id)
            .header("X-Account-ID", hook.account.as_str());
        let request = match (&hook.method, hook.format) {
            (&Method::GET, _) => {
                let mut uri = hook.uri.clone();
                uri.query_pairs_mut().extend_pairs(fields(body));
                client
                    .get(uri)
                    .timeout(TIMEOUT)
                    .header("X-Hook-ID", &hook.id)
                    .header("X-Account-ID", hook.account.as_str())
            }
            (_, Format::Json) => request
                .header(CONTENT_TYPE, "application/json")
                .body(body.to_string()),
            (_, Format::Form) => {
                let mut form =
                    reqwest::Url::parse("form:").map_err(|error| FetchError::BadUrl(error.to_string()))?;
                form.query_pairs_mut().extend_pairs(fields(body));
                request
                    .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                    .body(form.query().unwrap_or_default().to_owned())
            }
        };
        let answer = request.send().await.map_err(crate::sounds::outbound::transport)?;
        Ok(answer.status().as_u16())
    }
}

#[async_trait]
impl Transport for Http {
    async fn send(&self, hook: &Hook, body: &Value) -> Result<u16, String> {
        let outcome = self.request(hook, body).await;
        outcome.map_err(|error| error.to_string())
    }
}

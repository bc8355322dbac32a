//! Owns what a client's frame says. Never judges whether it may.

use serde_json::{Map, Value};

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Subscribe,
    Unsubscribe,
    Ping,
    /// Something else, or nothing.
    Other,
}

/// One frame of a client.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ClientMessage {
    pub(crate) action: Action,
    /// A text or a number; `None`: one has to be made up.
    pub(crate) request_id: Option<Value>,
    pub(crate) token: Option<String>,
    pub(crate) data: Option<Map<String, Value>>,
    pub(crate) name: Option<String>,
    pub(crate) metadata: Option<Value>,
}

/// Octets of the name and of the metadata that a session keeps.
const KEPT: usize = 4096;

impl ClientMessage {
    /// Reads a frame. What is no JSON object says nothing.
    pub(crate) fn parse(text: &str) -> ClientMessage {
        let mut body = match serde_json::from_str(text) {
            Ok(Value::Object(body)) => body,
            _ => Map::new(),
        };
        let mut take = |key: &str| body.shift_remove(key).filter(|value| !value.is_null());
        let text = |value: Option<Value>| match value {
            Some(Value::String(text)) => Some(text),
            _ => None,
        };
        let action = match text(take("action")).as_deref() {
            Some("subscribe") => Action::Subscribe,
            Some("unsubscribe") => Action::Unsubscribe,
            Some("ping") => Action::Ping,
            _ => Action::Other,
        };
        let data = match take("data") {
            Some(Value::Object(data)) => Some(data),
            _ => None,
        };
        ClientMessage {
            action,
            request_id: take("request_id").filter(|id| id.is_string() || id.is_number()),
            token: text(take("auth_token")).filter(|token| !token.is_empty()),
            data,
            name: text(take("name")).filter(|name| name.len() <= KEPT),
            metadata: take("metadata").filter(|metadata| metadata.to_string().len() <= KEPT),
        }
    }

    /// Returns a text of `data`.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.data.as_ref()?.get(key)?.as_str()
    }

    /// Returns the bindings of `data`, of `binding` before those of `bindings`; `None` when there is no such key of that form.
    pub(crate) fn bindings(&self) -> Option<Vec<&str>> {
        let data = self.data.as_ref()?;
        let texts = |key: &str| match data.get(key)? {
            Value::String(text) => Some(vec![text.as_str()]),
            Value::Array(items) => items.iter().map(Value::as_str).collect(),
            _ => None,
        };
        texts("binding")
            .or_else(|| texts("bindings"))
            .filter(|texts| !texts.is_empty())
    }

    /// Returns whether `data` holds anything.
    pub(crate) fn has_data(&self) -> bool {
        self.data.as_ref().is_some_and(|data| !data.is_empty())
    }
}

//! Owns how it is told that a device registered, or is registered no more. Knows neither the device's document nor its contacts.

use std::sync::{Arc, OnceLock};

use confab_conference::{AccountId, GregorianSeconds};
use serde_json::{Map, Value};

use super::key::encode_segment;
use super::message::{Origin, Writer, Written};
use crate::token::random_text;

/// What became of the registration of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Whose device it is.
    pub account: AccountId,
    /// The device's id.
    pub device: String,
    /// The realm and the user name by which it registered, where they are known.
    pub name: Option<(String, String)>,
    /// Why it is registered no more, as one lower-case word; `None` when it registered and had not been.
    pub gone: Option<&'static str>,
    /// When.
    pub at: GregorianSeconds,
}

impl Registration {
    /// The names that [`Registration::event`] gives.
    pub const EVENTS: [&str; 2] = ["device-registered", "device-unregistered"];

    /// Returns the name of the event.
    pub fn event(&self) -> &'static str {
        Self::EVENTS[usize::from(self.gone.is_some())]
    }

    /// Returns `registration.{event}.{account}.{device}`.
    pub(super) fn routing_key(&self) -> String {
        let (account, device) = (
            encode_segment(self.account.as_str()),
            encode_segment(&self.device),
        );
        format!("registration.{}.{account}.{device}", self.event())
    }

    fn body(&self, origin: &Origin, id: &str) -> Value {
        let mut body = Map::new();
        let mut put = |key: &str, value: Value| drop(body.insert(key.into(), value));
        put("event", self.event().into());
        put("account_id", self.account.as_str().into());
        put("device_id", self.device.as_str().into());
        if let Some((realm, username)) = &self.name {
            put("realm", realm.as_str().into());
            put("username", username.as_str().into());
        }
        if let Some(why) = self.gone {
            put("reason", why.into());
        }
        put("timestamp", self.at.0.into());
        for (key, text) in [
            ("event_category", "registration"),
            ("event_name", "registration"),
            ("msg_id", id),
            ("node", &origin.node),
            ("app_name", &origin.app_name),
            ("app_version", &origin.app_version),
        ] {
            put(key, text.into());
        }
        Value::Object(body)
    }
}

/// One change of a registration for all who want to know.
#[derive(Debug)]
pub struct RegistrationMessage {
    registration: Registration,
    id: String,
    writer: Arc<Writer>,
    written: OnceLock<Written>,
}

impl RegistrationMessage {
    pub(crate) fn new(registration: Registration, writer: Arc<Writer>) -> RegistrationMessage {
        RegistrationMessage {
            registration,
            id: random_text()[..32].to_owned(),
            writer,
            written: OnceLock::new(),
        }
    }

    pub(crate) fn registration(&self) -> &Registration {
        &self.registration
    }

    /// Returns its id, unlike that of any other event.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Returns it as a JSON object. Made anew each time.
    pub(super) fn value(&self) -> Value {
        self.registration.body(&self.writer.origin, &self.id)
    }

    pub(crate) fn written(&self) -> &Written {
        self.written.get_or_init(|| {
            let body = self.value();
            Written::new(
                &self.writer,
                "registration",
                &self.registration.routing_key(),
                &body,
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_has_the_device_and_why() {
        let mut registration = Registration {
            account: AccountId::from("a1"),
            device: "d.1".into(),
            name: Some(("phones.example".into(), "desk".into())),
            gone: None,
            at: GregorianSeconds(63_000_000_000),
        };
        let told = |registration: &Registration| {
            let message = RegistrationMessage::new(registration.clone(), Arc::default());
            let data: Value = serde_json::from_slice(&message.written().data()).unwrap();
            (data, message.written().ending().to_owned())
        };
        let (data, ending) = told(&registration);
        assert_eq!(data["event"], "device-registered");
        assert_eq!(data["msg_id"].as_str().map(str::len), Some(32));
        assert_eq!(
            (&data["realm"], &data["username"]),
            (&"phones.example".into(), &"desk".into())
        );
        assert_eq!(data.get("reason"), None);
        assert!(ending.contains("\"routing_key\":\"registration.device-registered.a1.d%2E1\""));
        (registration.name, registration.gone) = (None, Some("expired"));
        let (data, ending) = told(&registration);
        assert_eq!(
            (&data["event"], &data["reason"]),
            (&"device-unregistered".into(), &"expired".into())
        );
        assert_eq!(data.get("realm"), None);
        assert!(ending.starts_with("\"name\":\"registration\""));
    }
}

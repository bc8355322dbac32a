//! Owns which kinds of documents there are and what each has of its own: its schema, the keys that the server alone
//! writes, the keys that rest sealed. Never touches the database.

use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::schema::Schema;

/// A kind of document. Ids and revisions of one kind are independent of those of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A tenant. Its id is the id of the account that it describes.
    Account,
    /// A conference.
    Conference,
    /// A configuration of the account; its id is a name, such as `conferences`.
    Configuration,
    /// A phone, or another SIP endpoint.
    Device,
    /// A file that can be played, or a prompt; its bytes stand in tables of their own.
    Media,
    /// A trunk: gateways and the numbers that go there.
    Resource,
    /// A person.
    User,
    /// An address that is told about events.
    Webhook,
}

/// The one configuration that has rules of its own.
pub const CONFERENCES_CONFIGURATION: &str = "conferences";

/// What a kind of document has of its own.
struct Rules {
    json: Value,
    schema: Schema,
}

impl Rules {
    fn read(text: &str) -> Rules {
        Rules::of(serde_json::from_str(text).expect("the embedded schema is JSON"))
    }

    fn of(json: Value) -> Rules {
        let schema = Schema::compile(&json).expect("the embedded schema uses known keywords only");
        Rules { json, schema }
    }
}

macro_rules! rules {
    ($($name:ident: $file:literal),* $(,)?) => {
        $(static $name: LazyLock<Rules> = LazyLock::new(|| Rules::read(include_str!(concat!("../schemas/", $file))));)*
    };
}

rules! {
    ACCOUNTS: "accounts.json",
    CONFERENCES: "conferences.json",
    CONFERENCES_CONFIG: "configs.conferences.json",
    DEVICES: "devices.json",
    MEDIA: "media.json",
    RESOURCES: "resources.json",
    USERS: "users.json",
    WEBHOOKS: "webhooks.json",
}

/// A configuration that nothing is known about: any object.
static OTHER_CONFIG: LazyLock<Rules> = LazyLock::new(|| Rules::of(json!({ "type": "object" })));

impl Kind {
    /// Every kind, by name.
    pub const ALL: [Kind; 8] = [
        Kind::Account,
        Kind::Conference,
        Kind::Configuration,
        Kind::Device,
        Kind::Media,
        Kind::Resource,
        Kind::User,
        Kind::Webhook,
    ];

    /// Returns the name under which the store keeps it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Account => "account",
            Kind::Conference => "conference",
            Kind::Configuration => "config",
            Kind::Device => "device",
            Kind::Media => "media",
            Kind::Resource => "resource",
            Kind::User => "user",
            Kind::Webhook => "webhook",
        }
    }

    /// Returns the name under which its schema is published.
    pub fn schema_name(self) -> &'static str {
        match self {
            Kind::Account => "accounts",
            Kind::Conference => "conferences",
            Kind::Configuration => "configs.conferences",
            Kind::Device => "devices",
            Kind::Media => "media",
            Kind::Resource => "resources",
            Kind::User => "users",
            Kind::Webhook => "webhooks",
        }
    }

    /// Returns the JSON Schema of its documents; of configurations, that of [`CONFERENCES_CONFIGURATION`].
    pub fn schema_json(self) -> &'static Value {
        &self.rules(CONFERENCES_CONFIGURATION).json
    }

    /// Adds the schema's defaults to a document where its keys are absent.
    pub fn fill_defaults(self, document: &mut Value) {
        self.schema(CONFERENCES_CONFIGURATION).fill_defaults(document);
    }

    /// Returns the schema of the document `id`.
    pub(crate) fn schema(self, id: &str) -> &'static Schema {
        &self.rules(id).schema
    }

    fn rules(self, id: &str) -> &'static Rules {
        match self {
            Kind::Account => &ACCOUNTS,
            Kind::Conference => &CONFERENCES,
            Kind::Configuration if id == CONFERENCES_CONFIGURATION => &CONFERENCES_CONFIG,
            Kind::Configuration => &OTHER_CONFIG,
            Kind::Device => &DEVICES,
            Kind::Media => &MEDIA,
            Kind::Resource => &RESOURCES,
            Kind::User => &USERS,
            Kind::Webhook => &WEBHOOKS,
        }
    }

    /// Keys at the top of a document that the server alone writes and that are no content.
    pub(crate) fn read_only_keys(self) -> &'static [&'static str] {
        match self {
            Kind::Account => &["is_reseller", "reseller_id", "superduper_admin", "created"],
            // What lists show of the running conference, which clients send back with the rest.
            Kind::Conference => &["focus", "members", "admins", "duration", "is_locked"],
            _ => &[],
        }
    }

    /// Paths of the texts that rest sealed; `*` stands for every item of a list.
    pub(crate) fn sealed_paths(self) -> &'static [&'static [&'static str]] {
        match self {
            Kind::Conference => &[&["bridge_password"]],
            Kind::Device => &[&["sip", "password"]],
            Kind::Resource => &[&["gateways", "*", "password"]],
            _ => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schema_compiles_and_says_what_its_documents_are() {
        for kind in Kind::ALL {
            assert_eq!(kind.schema_json()["type"], "object", "{kind:?}");
            assert!(kind.schema_json()["description"].is_string(), "{kind:?}");
            let mut document = json!({});
            kind.fill_defaults(&mut document);
            assert!(document.is_object());
        }
        for named in [Kind::name, Kind::schema_name] {
            let mut names: Vec<&str> = Kind::ALL.into_iter().map(named).collect();
            assert!(names.is_sorted());
            names.dedup();
            assert_eq!(names.len(), Kind::ALL.len());
        }
    }
}

//! Owns what is told about the operations on documents of every kind, accounts, users and schemas. Never knows what they do.

use confab_documents::Kind;
use serde_json::{Value, json};

use super::{Text, array, reference};
use crate::route::Operation;

/// The kinds that are described here.
pub(super) const KINDS: [Kind; 7] = [
    Kind::Account,
    Kind::Configuration,
    Kind::Device,
    Kind::Media,
    Kind::Resource,
    Kind::User,
    Kind::Webhook,
];

/// Returns the name of the schema of a kind.
pub(super) fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Account => "Account",
        Kind::Conference => "Conference",
        Kind::Configuration => "Configuration",
        Kind::Device => "Device",
        Kind::Media => "Media",
        Kind::Resource => "Resource",
        Kind::User => "User",
        Kind::Webhook => "Webhook",
    }
}

/// What is done with a document, in the order of [`words`].
#[derive(Clone, Copy)]
enum Deed {
    List,
    Create,
    Show,
    Replace,
    Patch,
    Delete,
}

macro_rules! words {
    ($one:literal, $many:literal, $about:literal) => {
        [
            (concat!("list", $many), concat!("The account's ", $about, "s.")),
            (concat!("create", $one), concat!("Makes a ", $about, ".")),
            (concat!("show", $one), concat!("A ", $about, ".")),
            (concat!("replace", $one), concat!("Replaces a ", $about, ".")),
            (
                concat!("patch", $one),
                concat!("Merges into a ", $about, "; null deletes a key."),
            ),
            (concat!("delete", $one), concat!("Deletes a ", $about, ".")),
        ]
    };
}

/// Returns id and summary of each operation on a kind.
fn words(kind: Kind) -> [(&'static str, &'static str); 6] {
    match kind {
        Kind::Account => words!("Account", "Accounts", "tenant"),
        Kind::Conference => words!("AnyConference", "AnyConferences", "conference"),
        Kind::Configuration => words!("Configuration", "Configurations", "configuration"),
        Kind::Device => words!("Device", "Devices", "device"),
        Kind::Media => words!("Media", "AllMedia", "media file"),
        Kind::Resource => words!("Resource", "Resources", "trunk"),
        Kind::User => words!("User", "Users", "user"),
        Kind::Webhook => words!("Webhook", "Webhooks", "webhook"),
    }
}

/// Returns what is told about an operation of this module's; `None` for one that is another's.
pub(super) fn text(operation: Operation) -> Option<Text> {
    let list = |id, summary| Text {
        list: true,
        ..Text::new(id, summary, "200", array(reference("DocumentListItem")))
    };
    let anything = || json!({ "type": "object" });
    Some(match operation {
        Operation::List(kind) => {
            let (id, summary) = words(kind)[Deed::List as usize];
            list(id, summary)
        }
        Operation::Create(kind) => about(kind, Deed::Create, "201").taking(reference(name(kind))),
        Operation::Show(kind) => about(kind, Deed::Show, "200"),
        Operation::Replace(kind) => about(kind, Deed::Replace, "200").taking(reference(name(kind))),
        Operation::Patch(kind) => about(kind, Deed::Patch, "200").taking(anything()),
        Operation::Delete(kind) => about(kind, Deed::Delete, "200"),
        Operation::CreateAccount => Text::new(
            "createAccount",
            "Makes a tenant below the token's own.",
            "201",
            reference("StoredAccount"),
        )
        .taking(reference("Account")),
        Operation::CreateChildAccount => Text::new(
            "createChildAccount",
            "Makes a tenant below this one.",
            "201",
            reference("StoredAccount"),
        )
        .taking(reference("Account")),
        Operation::ListChildren => list("listChildren", "The accounts directly below."),
        Operation::ListDescendants => list("listDescendants", "All accounts below."),
        Operation::ListParents => list("listParents", "All accounts above."),
        Operation::ShowApiKey => {
            Text::new("showApiKey", "The account's API key.", "200", reference("ApiKey"))
        }
        Operation::RenewApiKey => Text::new(
            "renewApiKey",
            "Makes a new API key; the old one ends.",
            "200",
            reference("ApiKey"),
        ),
        Operation::ListUserDevices => list("listUserDevices", "The devices that the user owns."),
        Operation::ShowWebhookAttempts => Text::new(
            "showWebhookAttempts",
            "What became of the last requests to the webhook's address, the newest first.",
            "200",
            array(anything()),
        ),
        Operation::ShowDeviceStatus => Text::new(
            "showDeviceStatus",
            "The registered devices, and no others.",
            "200",
            array(reference("DeviceStatus")),
        ),
        Operation::ShowResourceStatus => Text::new(
            "showResourceStatus",
            "The trunks that are switched on, and whether their gateways are there.",
            "200",
            array(reference("ResourceStatus")),
        ),
        Operation::LoginWithCredentials => Text::new(
            "loginWithCredentials",
            "Exchanges the hash of a user's name and password for a token.",
            "201",
            reference("UserLogin"),
        )
        .taking(reference("Credentials")),
        Operation::ShowLogin => Text::new(
            "showLogin",
            "What the token stands for, which has to be that of the request.",
            "200",
            reference("Token"),
        ),
        Operation::ListSchemas => Text::new(
            "listSchemas",
            "The names of the JSON Schemas of documents.",
            "200",
            array(json!({ "type": "string" })),
        ),
        Operation::ShowSchema => Text::new("showSchema", "A JSON Schema.", "200", anything()),
        _ => return None,
    })
}

fn about(kind: Kind, deed: Deed, status: &'static str) -> Text {
    let (id, summary) = words(kind)[deed as usize];
    let gives: Value = reference(&format!("Stored{}", name(kind)));
    Text::new(id, summary, status, gives)
}

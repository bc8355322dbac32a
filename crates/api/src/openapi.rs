//! Owns the description of the interface as an OpenAPI 3.1 document, made from the route table and the schemas. The file
//! `openapi.json` of this crate is its golden copy: a test compares them, so that every change of the interface shows
//! up in review.

mod describe;
mod documents;
mod live;
mod media;
mod plain;
mod responses;
mod schemas;

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use crate::answer::TagBuilder;
use crate::resource::{conference, participant};
use crate::route::{Operation, ROUTES};

static DOCUMENT: LazyLock<Value> = LazyLock::new(make);

static TAG: LazyLock<String> = LazyLock::new(|| TagBuilder::default().text(&DOCUMENT.to_string()).finish());

/// Returns the document.
pub(crate) fn document() -> &'static Value {
    &DOCUMENT
}

/// Returns its entity tag.
pub(crate) fn tag() -> &'static str {
    &TAG
}

fn make() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let mut path = Map::new();
        for (verb, operation) in route.operations {
            let described = describe::operation(route.template, *verb, *operation, text(*operation));
            path.insert(verb.name().to_lowercase(), described);
        }
        describe::tunnels(&mut path);
        let parameters: Vec<Value> = route
            .template
            .split('/')
            .filter_map(describe::path_parameter)
            .collect();
        if !parameters.is_empty() {
            path.insert("parameters".into(), parameters.into());
        }
        paths.insert(format!("/v2{}", route.template), Value::Object(path));
    }
    paths.extend(plain::paths());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "confab conference API",
            "version": "2",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
            "description": "Compatible with the KAZOO v2 conference API. `/v2/account/…` stands for the token's own \
                account. A trailing slash is ignored. POST with `?verb=` or a top-level key `verb` stands for another \
                method. Parameters that nobody knows are ignored. What is marked `x-extension` goes beyond KAZOO."
        },
        "security": describe::security(),
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": { "type": "apiKey", "in": "header", "name": "X-Auth-Token" },
                "bearer": { "type": "http", "scheme": "bearer" },
                "query": { "type": "apiKey", "in": "query", "name": "auth_token" }
            },
            "parameters": describe::common_parameters(),
            "headers": responses::headers(),
            "responses": responses::errors(),
            "schemas": schemas::all()
        }
    })
}

/// What is told about an operation besides its route.
struct Text {
    id: &'static str,
    summary: &'static str,
    /// The schema of `data` in the request.
    takes: Option<Value>,
    /// The schema of `data` in the answer.
    gives: Value,
    status: &'static str,
    list: bool,
    /// The names of the actions that the request may ask for.
    actions: Option<Value>,
}

impl Text {
    fn new(id: &'static str, summary: &'static str, status: &'static str, gives: Value) -> Text {
        Text {
            id,
            summary,
            takes: None,
            gives,
            status,
            list: false,
            actions: None,
        }
    }

    fn taking(mut self, takes: Value) -> Text {
        self.takes = Some(takes);
        self
    }

    /// The request asks for one of these actions.
    fn acting(mut self, names: Value) -> Text {
        self.actions = Some(names);
        self
    }
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn array(items: Value) -> Value {
    json!({ "type": "array", "items": items })
}

/// Describes who a participant is where he was moved to.
fn moved() -> Value {
    json!({
        "type": "object",
        "description": "Who the participant is in the conference that he was moved to.",
        "x-extension": true,
        "required": ["conference_id", "participant_id"],
        "properties": { "conference_id": { "type": "string" }, "participant_id": { "type": "integer" } }
    })
}

fn text(operation: Operation) -> Text {
    let conference = || reference("StoredConference");
    let document = || reference("Conference");
    let done = || json!({ "const": "ok" });
    match operation {
        Operation::ApiDocument => Text::new(
            "showApiDocument",
            "This document, without envelope.",
            "200",
            json!({ "type": "object" }),
        ),
        Operation::LoginWithApiKey => {
            let key = json!({ "type": "string", "minLength": 64, "maxLength": 64 });
            Text::new(
                "loginWithApiKey",
                "Exchanges an API key for a token.",
                "201",
                reference("Login"),
            )
            .taking(json!({ "type": "object", "required": ["api_key"], "properties": { "api_key": key } }))
        }
        Operation::ShowToken => Text::new(
            "showToken",
            "What the token stands for.",
            "200",
            reference("Token"),
        ),
        Operation::RevokeToken => Text::new(
            "revokeToken",
            "Ends the token.",
            "200",
            json!({ "type": "object" }),
        ),
        Operation::ListConferences => {
            let items = array(reference("ConferenceListItem"));
            Text {
                list: true,
                ..Text::new("listConferences", "The account's conferences.", "200", items)
            }
        }
        Operation::CreateConference => {
            Text::new("createConference", "Makes a conference.", "201", conference()).taking(document())
        }
        Operation::ShowConference => Text::new(
            "showConference",
            "A conference with its live data.",
            "200",
            conference(),
        ),
        Operation::ReplaceConference => {
            Text::new("replaceConference", "Replaces a conference.", "200", conference()).taking(document())
        }
        Operation::PatchConference => {
            let summary = "Merges into a conference; null deletes a key.";
            Text::new("patchConference", summary, "200", conference()).taking(json!({ "type": "object" }))
        }
        Operation::DeleteConference => Text::new(
            "deleteConference",
            "Deletes a conference; kicks nobody.",
            "200",
            conference(),
        ),
        Operation::ControlConference => {
            let summary = "An action on a conference. A dial is answered when every endpoint has joined, failed, or rung for its time.";
            let done = json!({ "anyOf": [done(), reference("DialAnswer")] });
            Text::new("controlConference", summary, "202", done).acting(conference::ACTIONS.names())
        }
        Operation::ListParticipants => {
            let items = array(reference("Participant"));
            Text::new("listParticipants", "Who is in the conference.", "200", items)
        }
        Operation::ControlParticipants => {
            let summary = "An action on all participants; moderators are exempt from all but kick.";
            let done = json!({ "enum": ["ok", "relating participants"] });
            Text::new("controlParticipants", summary, "202", done).acting(participant::BULK_ACTIONS.names())
        }
        Operation::ShowParticipant => Text::new(
            "showParticipant",
            "One participant.",
            "200",
            reference("Participant"),
        ),
        Operation::ControlParticipant => Text::new(
            "controlParticipant",
            "An action on one participant.",
            "202",
            json!({ "anyOf": [done(), moved()] }),
        )
        .acting(participant::ACTIONS.names()),
        Operation::ListBindings => Text::new(
            "listBindings",
            "What a WebSocket session can subscribe to, by kind.",
            "200",
            json!({ "type": "object", "additionalProperties": array(json!({ "type": "string" })) }),
        ),
        Operation::ListWebSockets => Text::new(
            "listWebSockets",
            "The WebSocket sessions that the account's tokens have opened.",
            "200",
            array(live::websocket_schema()),
        ),
        Operation::ShowWebSocket => {
            let summary = "One WebSocket session.";
            Text::new("showWebSocket", summary, "200", live::websocket_schema())
        }
        other => documents::text(other)
            .or_else(|| media::text(other))
            .expect("every operation is described"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::{Destination, Verb, find};

    /// The golden file. To renew it: `CONFAB_RENEW_GOLDEN=1 cargo test -p confab-api openapi`.
    const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");

    #[test]
    fn the_golden_file_is_the_document_served() {
        let made = serde_json::to_string_pretty(document()).unwrap() + "\n";
        if std::env::var_os("CONFAB_RENEW_GOLDEN").is_some() {
            std::fs::write(GOLDEN, &made).unwrap();
        }
        let golden = std::fs::read_to_string(GOLDEN).unwrap_or_default();
        assert!(
            golden == made,
            "openapi.json differs; see GOLDEN for how to renew it"
        );
    }

    fn documented() -> Vec<(String, Verb)> {
        let paths = document()["paths"].as_object().unwrap();
        let verbs = |item: &Value| {
            item.as_object()
                .unwrap()
                .keys()
                .filter_map(|key| Verb::of(&key.to_uppercase().parse().ok()?))
                .collect()
        };
        paths
            .iter()
            .flat_map(|(path, item)| {
                let verbs: Vec<Verb> = verbs(item);
                verbs.into_iter().map(move |verb| (path.clone(), verb))
            })
            .collect()
    }

    #[test]
    fn every_route_is_documented_and_every_documented_route_exists() {
        let documented = documented();
        for route in ROUTES {
            for verb in route.verbs() {
                let path = format!("/v2{}", route.template);
                assert!(documented.contains(&(path.clone(), verb)), "{verb:?} {path}");
            }
        }
        for (path, verb) in documented {
            if plain::ROUTES.iter().any(|plain| plain.path == path) {
                assert_eq!(verb, Verb::Get);
                continue;
            }
            let Destination::Route(matched) = find(&path) else {
                panic!("{path} has no route")
            };
            assert_eq!(format!("/v2{}", matched.route.template), path);
            assert!(matched.route.operation(verb).is_some(), "{verb:?} {path}");
        }
    }

    #[test]
    fn references_lead_somewhere_and_operation_ids_differ() {
        fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
            match value {
                Value::Object(map) => {
                    found.extend(map.get("$ref").and_then(Value::as_str));
                    map.values().for_each(|value| references(value, found));
                }
                Value::Array(items) => items.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        let mut found = Vec::new();
        references(document(), &mut found);
        for reference in found {
            assert!(
                document().pointer(reference.trim_start_matches('#')).is_some(),
                "{reference}"
            );
        }
        let ids: Vec<&str> = ROUTES
            .iter()
            .flat_map(|route| route.operations)
            .map(|(_, operation)| text(*operation).id)
            .chain(plain::ROUTES.iter().map(|plain| plain.id))
            .collect();
        let mut distinct = ids.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), ids.len());
    }
}

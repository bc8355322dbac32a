//! Owns the description of the interface as an OpenAPI 3.1 document, made from the route table and the schemas. The file
//! `openapi.json` of this crate is its golden copy: a test compares them, so that every change of the interface shows
//! up in review.

mod live;

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use crate::arguments;
use crate::resource::{conference, participant};
use crate::route::{Operation, ROUTES, Verb};

static DOCUMENT: LazyLock<Value> = LazyLock::new(make);

/// Returns the document.
pub(crate) fn document() -> &'static Value {
    &DOCUMENT
}

/// The routes beside `/v2`, with what they are for.
pub(crate) const PLAIN_ROUTES: [(&str, &str, &str); 3] = [
    (
        "/health/live",
        "checkLiveness",
        "Answers 200 while the process runs.",
    ),
    (
        "/health/ready",
        "checkReadiness",
        "Answers 200 while the server takes calls and requests, else 503.",
    ),
    (
        "/metrics",
        "readMetrics",
        "Prometheus metrics; here for the master account's token only.",
    ),
];

fn make() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let mut path = Map::new();
        for (verb, operation) in route.operations {
            path.insert(verb.name().to_lowercase(), describe(*operation, *verb));
        }
        let parameters: Vec<Value> = route.template.split('/').filter_map(parameter).collect();
        if !parameters.is_empty() {
            path.insert("parameters".into(), parameters.into());
        }
        paths.insert(format!("/v2{}", route.template), Value::Object(path));
    }
    for (path, id, summary) in PLAIN_ROUTES {
        let security = if path == "/metrics" {
            json!([{ "token": [] }, { "bearer": [] }])
        } else {
            json!([])
        };
        let responses =
            json!({ "200": { "description": "Text." }, "default": { "description": "Otherwise." } });
        let get =
            json!({ "operationId": id, "summary": summary, "security": security, "responses": responses });
        paths.insert(path.into(), json!({ "get": get }));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "confab conference API",
            "version": "2",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
            "description": "Compatible with the KAZOO v2 conference API. `/v2/account/…` stands for the token's own \
                account. A trailing slash is ignored. POST with `?verb=` stands for another method."
        },
        "security": [{ "token": [] }, { "bearer": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": { "type": "apiKey", "in": "header", "name": "X-Auth-Token" },
                "bearer": { "type": "http", "scheme": "bearer" }
            },
            "schemas": schemas()
        }
    })
}

fn parameter(segment: &str) -> Option<Value> {
    let name = segment.strip_prefix('{')?.strip_suffix('}')?;
    let schema = match name {
        "participant_id" => json!({ "type": "integer", "minimum": 1 }),
        "account_id" => json!({ "type": "string", "pattern": "^[0-9a-f]{32}$" }),
        _ => json!({ "type": "string" }),
    };
    Some(json!({ "name": name, "in": "path", "required": true, "schema": schema }))
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
        }
    }

    fn taking(mut self, takes: Value) -> Text {
        self.takes = Some(takes);
        self
    }
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn array(items: Value) -> Value {
    json!({ "type": "array", "items": items })
}

/// Returns the schema of a request for one of these actions, with the arguments of those that take any.
fn action(names: Value) -> Value {
    let mut taken: Vec<&Value> = Vec::new();
    for name in names.as_array().into_iter().flatten().filter_map(Value::as_str) {
        taken.extend(arguments::schema_of(name).filter(|schema| !taken.contains(schema)));
    }
    let mut properties = json!({ "action": { "type": "string", "enum": names } });
    if !taken.is_empty() {
        properties["data"] = json!({ "description": "The action's arguments.", "anyOf": taken });
    }
    json!({ "type": "object", "required": ["action"], "properties": properties })
}

fn text(operation: Operation) -> Text {
    let conference = || reference("Conference");
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
            Text::new("createConference", "Makes a conference.", "201", conference()).taking(conference())
        }
        Operation::ShowConference => Text::new(
            "showConference",
            "A conference with its live data.",
            "200",
            conference(),
        ),
        Operation::ReplaceConference => {
            Text::new("replaceConference", "Replaces a conference.", "200", conference()).taking(conference())
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
            Text::new("controlConference", "An action on a conference.", "202", done())
                .taking(action(conference::ACTIONS.names()))
        }
        Operation::ListParticipants => {
            let items = array(reference("Participant"));
            Text::new("listParticipants", "Who is in the conference.", "200", items)
        }
        Operation::ControlParticipants => {
            let summary = "An action on all participants; moderators are exempt from all but kick.";
            let done = json!({ "enum": ["ok", "relating participants"] });
            Text::new("controlParticipants", summary, "202", done)
                .taking(action(participant::BULK_ACTIONS.names()))
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
            done(),
        )
        .taking(action(participant::ACTIONS.names())),
    }
}

fn describe(operation: Operation, verb: Verb) -> Value {
    let text = text(operation);
    let body = if operation == Operation::ApiDocument {
        text.gives
    } else {
        envelope(text.gives)
    };
    let error = json!({ "description": "An error.", "content": json_content(reference("Error")) });
    let mut responses = Map::new();
    responses.insert(
        text.status.into(),
        json!({ "description": "Done.", "content": json_content(body) }),
    );
    if verb == Verb::Get {
        responses.insert(
            "304".into(),
            json!({ "description": "Unchanged since If-None-Match." }),
        );
    }
    responses.insert("default".into(), error);
    let mut description = json!({ "operationId": text.id, "summary": text.summary, "responses": responses });
    if operation.is_public() {
        description["security"] = json!([]);
    }
    if let Some(data) = text.takes {
        let schema = json!({ "type": "object", "required": ["data"], "properties": { "data": data } });
        description["requestBody"] = json!({ "required": true, "content": json_content(schema) });
    }
    if text.list {
        description["parameters"] = list_parameters();
    }
    description
}

fn json_content(schema: Value) -> Value {
    json!({ "application/json": { "schema": schema } })
}

fn envelope(data: Value) -> Value {
    json!({ "allOf": [reference("Envelope"), { "type": "object", "properties": { "data": data } }] })
}

fn list_parameters() -> Value {
    let parameter = |name: &str, kind: &str, description: &str| json!({ "name": name, "in": "query", "schema": { "type": kind }, "description": description });
    json!([
        parameter("page_size", "integer", "Items per page, 50 by default."),
        parameter("start_key", "string", "next_start_key of the page before."),
        parameter("paginate", "boolean", "false returns everything at once."),
        parameter("ascending", "boolean", "true turns the order round."),
        parameter(
            "filter_{key}",
            "string",
            "Documents whose key, a dotted path, has this value."
        ),
        parameter(
            "filter_not_{key}",
            "string",
            "Documents whose key has not this value."
        ),
        parameter("has_key", "string", "Documents that have the key."),
        parameter("key_missing", "string", "Documents that lack the key."),
        parameter("has_value", "string", "Documents whose key is not empty."),
        parameter(
            "value_missing",
            "string",
            "Documents whose key is absent or empty."
        ),
        parameter("created_from", "integer", "Gregorian seconds."),
        parameter("created_to", "integer", "Gregorian seconds."),
        parameter("modified_from", "integer", "Gregorian seconds."),
        parameter("modified_to", "integer", "Gregorian seconds.")
    ])
}

fn schemas() -> Value {
    let mut conference = confab_documents::conference_schema().clone();
    if let Value::Object(schema) = &mut conference {
        schema.shift_remove("$schema");
    }
    conference["properties"]["id"] =
        json!({ "type": "string", "description": "32 hex characters; may be chosen." });
    conference["properties"]["_read_only"] = reference("ConferenceLive");
    json!({
        "Conference": conference,
        "ConferenceListItem": list_item(),
        "ConferenceLive": live(),
        "Participant": live::participant_schema(),
        "Login": login(json!({})),
        "Token": login(json!({
            "method": { "type": "string" },
            "expires": { "type": "integer", "description": "Gregorian seconds." }
        })),
        "Envelope": envelope_schema(),
        "Error": {
            "type": "object",
            "required": ["status", "error", "message", "data"],
            "properties": {
                "status": { "const": "error" },
                "error": { "type": "string", "description": "The HTTP status." },
                "message": { "type": "string" },
                "data": {
                    "type": ["object", "array"],
                    "description": "For a validation error: {field: {rule: {message, target, value}}}, field a flat \
                        dotted path."
                }
            }
        }
    })
}

/// Returns properties of one type each.
fn typed(names: &[&str], kind: &str) -> Map<String, Value> {
    names
        .iter()
        .map(|name| ((*name).to_owned(), json!({ "type": kind })))
        .collect()
}

fn list_item() -> Value {
    let mut properties = typed(&["id", "name", "owner_id"], "string");
    properties.extend(typed(&["member", "moderator", "_read_only"], "object"));
    properties.extend(typed(&["conference_numbers", "flags"], "array"));
    properties.extend(typed(&["members", "admins", "duration"], "integer"));
    properties.extend(typed(&["is_locked"], "boolean"));
    json!({ "type": "object", "properties": properties })
}

fn live() -> Value {
    let counts = [
        "members",
        "moderators",
        "admins",
        "participant_count",
        "duration",
        "sequence",
    ];
    let mut properties = typed(&counts, "integer");
    properties.insert("is_locked".into(), json!({ "type": "boolean" }));
    properties.insert("participants".into(), array(reference("Participant")));
    properties.insert(
        "instance_id".into(),
        json!({ "type": "string", "x-extension": true }),
    );
    properties["sequence"]["x-extension"] = true.into();
    json!({ "type": "object", "readOnly": true, "properties": properties })
}

fn login(more: Value) -> Value {
    let mut properties = typed(
        &["account_id", "account_name", "reseller_id", "language"],
        "string",
    );
    properties.insert("is_reseller".into(), json!({ "type": "boolean" }));
    properties.insert("apps".into(), json!({ "type": "array" }));
    if let Value::Object(more) = more {
        properties.extend(more);
    }
    json!({ "type": "object", "properties": properties })
}

fn envelope_schema() -> Value {
    let texts = [
        "auth_token",
        "request_id",
        "revision",
        "node",
        "version",
        "start_key",
        "next_start_key",
    ];
    let mut properties = typed(&texts, "string");
    properties.insert("status".into(), json!({ "enum": ["success", "error"] }));
    properties.insert(
        "timestamp".into(),
        json!({ "type": "string", "format": "date-time" }),
    );
    properties.insert("page_size".into(), json!({ "type": "integer" }));
    properties.insert("metadata".into(), json!({ "type": "object" }));
    let tokens = typed(&["consumed", "remaining"], "integer");
    properties.insert("tokens".into(), json!({ "type": "object", "properties": tokens }));
    let required = ["data", "status", "request_id", "node", "timestamp"];
    json!({ "type": "object", "required": required, "properties": properties })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::{Destination, find};

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
                .filter_map(|key| Verb::parse(key))
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
            if PLAIN_ROUTES.iter().any(|(plain, ..)| *plain == path) {
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
            .chain(PLAIN_ROUTES.iter().map(|(_, id, _)| *id))
            .collect();
        let mut distinct = ids.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), ids.len());
    }
}

//! Owns the schemas of what requests and answers carry. Never describes an operation.

use confab_documents::Kind;
use serde_json::{Map, Value, json};

use super::{array, live, reference, responses};

/// Returns all schemas by name.
pub(super) fn all() -> Value {
    let mut conference = document(Kind::Conference);
    conference["properties"]["_read_only"] = reference("ConferenceLive");
    let stored = ["id", "conference_numbers", "member", "moderator", "play_name"];
    let mut schemas = json!({
        "Conference": conference,
        "StoredConference": { "allOf": [reference("Conference"), { "type": "object", "required": stored }] },
        "ConferenceListItem": list_item(),
        "ConferenceLive": live(),
        "Participant": live::participant_schema(),
        "Login": login(json!({})),
        "UserLogin": login(json!({ "owner_id": { "type": "string", "description": "The user." } })),
        "Token": login(json!({
            "owner_id": { "type": "string", "description": "The user, after a login with his credentials." },
            "method": { "type": "string" },
            "expires": { "type": "integer", "description": "Gregorian seconds." }
        })),
        "Envelope": envelope_schema(),
        "Page": page_schema(),
    });
    for kind in super::documents::KINDS {
        let name = super::documents::name(kind);
        schemas[name] = document(kind);
        schemas[format!("Stored{name}")] =
            json!({ "allOf": [reference(name), { "type": "object", "required": ["id"] }] });
    }
    let flags = json!({ "type": "array" });
    let item = json!({ "id": { "type": "string" }, "flags": flags });
    schemas["DocumentListItem"] =
        json!({ "type": "object", "required": ["id", "flags"], "properties": item });
    schemas["RecordingListItem"] = json!({
        "type": "object",
        "required": ["id"],
        "properties": {
            "id": { "type": "string" },
            "conference_id": { "type": "string" },
            "instance_id": { "type": "string" },
            "started": { "type": "integer", "description": "Gregorian seconds." },
            "duration_ms": { "type": "integer" },
            "rate": { "type": "integer", "description": "Samples per second." },
            "tracks": { "type": "boolean", "description": "There is a file of each participant." },
            "interrupted": { "type": "boolean", "description": "The server ended in the middle of it." },
        },
    });
    schemas["DeviceStatus"] = json!({
        "type": "object",
        "required": ["device_id", "registered"],
        "properties": { "device_id": { "type": "string" }, "registered": { "const": true } },
    });
    schemas["ResourceStatus"] = json!({
        "type": "object",
        "required": ["resource_id", "gateways"],
        "properties": {
            "resource_id": { "type": "string" },
            "gateways": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["server", "state"],
                    "properties": {
                        "server": { "type": "string", "description": "Host and port." },
                        "state": {
                            "enum": ["up", "down", "unknown"],
                            "description": "Whether it answers when it is asked (OPTIONS).",
                        },
                        "registration": {
                            "enum": ["trying", "registered", "failed", "gone"],
                            "description": "How this server's registration with it stands.",
                        },
                        "refusal": { "type": "integer", "description": "The status with which it refused the registration." },
                    },
                },
            },
        },
    });
    schemas["DialAnswer"] = json!({
        "type": "object",
        "properties": {
            "endpoint_responses": {
                "type": "array",
                "description": "One for each leg, in the order of the request.",
                "items": {
                    "type": "object",
                    "required": ["endpoint_id", "job_id", "message", "status"],
                    "properties": {
                        "endpoint_id": { "type": "string", "description": "The endpoint as the request has it." },
                        "device_id": { "type": "string", "description": "The device, where the endpoint is a user." },
                        "job_id": { "type": "string" },
                        "call_id": { "type": "string", "description": "The Call-ID of who has joined." },
                        "message": { "type": "string", "description": "For an error why, as USER_BUSY or NO_ANSWER." },
                        "status": { "enum": ["success", "error"] },
                    },
                },
            },
            "status": { "const": "error", "description": "Nobody was called: the server is ending." },
            "message": { "type": "string" },
        },
    });
    schemas["ApiKey"] = json!({
        "type": "object",
        "required": ["api_key"],
        "properties": { "api_key": { "type": "string", "minLength": 64, "maxLength": 64 } },
    });
    schemas["Credentials"] = json!({
        "type": "object",
        "required": ["credentials"],
        "properties": {
            "credentials": {
                "type": "string",
                "minLength": 1,
                "maxLength": 64,
                "description": "Lower-case hex of the hash of username:password.",
            },
            "method": { "enum": ["md5", "sha"], "default": "md5" },
            "account_name": { "type": "string", "description": "One of these four is needed." },
            "account_realm": { "type": "string" },
            "realm": { "type": "string" },
            "phone_number": { "type": "string", "description": "A number of one of the account's conferences." },
        },
    });
    for (name, schema) in responses::schemas() {
        schemas[name] = schema;
    }
    schemas
}

/// Returns the schema of the documents of a kind as clients see them.
fn document(kind: Kind) -> Value {
    let mut document = kind.schema_json().clone();
    if let Value::Object(schema) = &mut document {
        schema.shift_remove("$schema");
    }
    document["properties"]["id"] =
        json!({ "type": "string", "description": "32 hex characters; may be chosen." });
    document
}

/// Returns properties of one type each.
pub(super) fn typed(names: &[&str], kind: &str) -> Map<String, Value> {
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
    let required = [
        "id",
        "member",
        "moderator",
        "conference_numbers",
        "flags",
        "members",
        "admins",
        "duration",
        "is_locked",
        "_read_only",
    ];
    json!({ "type": "object", "required": required, "properties": properties })
}

fn live() -> Value {
    let counts = ["members", "moderators", "admins", "participant_count", "duration"];
    let mut properties = typed(&counts, "integer");
    properties.insert("is_locked".into(), json!({ "type": "boolean" }));
    properties.insert("participants".into(), array(reference("Participant")));
    properties.insert(
        "sequence".into(),
        json!({
            "type": "integer",
            "description": "Number of the last event that this state includes.",
            "x-extension": true,
        }),
    );
    properties.insert(
        "instance_id".into(),
        json!({ "type": "string", "x-extension": true }),
    );
    json!({ "type": "object", "readOnly": true, "properties": properties })
}

fn login(more: Value) -> Value {
    let texts = ["account_id", "account_name", "reseller_id", "language"];
    let mut properties = typed(&texts, "string");
    properties.insert("is_reseller".into(), json!({ "type": "boolean" }));
    properties.insert("apps".into(), json!({ "type": "array" }));
    if let Value::Object(more) = more {
        properties.extend(more);
    }
    json!({ "type": "object", "required": texts, "properties": properties })
}

fn envelope_schema() -> Value {
    let texts = ["auth_token", "request_id", "revision", "node", "version"];
    let mut properties = typed(&texts, "string");
    properties.insert("status".into(), json!({ "enum": ["success", "error"] }));
    properties.insert(
        "timestamp".into(),
        json!({ "type": "string", "format": "date-time" }),
    );
    properties.insert("metadata".into(), json!({ "type": "object" }));
    let tokens = typed(&["consumed", "remaining"], "integer");
    properties.insert("tokens".into(), json!({ "type": "object", "properties": tokens }));
    let required = ["data", "status", "request_id", "node", "timestamp"];
    json!({ "type": "object", "required": required, "properties": properties })
}

fn page_schema() -> Value {
    let mut properties = typed(&["start_key", "next_start_key"], "string");
    properties.insert(
        "page_size".into(),
        json!({ "type": "integer", "minimum": 0, "description": "Items in data." }),
    );
    json!({ "allOf": [reference("Envelope"), { "type": "object", "properties": properties }] })
}

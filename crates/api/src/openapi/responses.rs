//! Owns the description of errors and headers that all operations share. Never describes a success.

use confab_documents::MAX_MEDIA_BYTES;
use serde_json::{Map, Value, json};

use super::describe::json_content;
use super::reference;
use crate::body::MAX_BODY_BYTES;

/// Returns the headers of answers.
pub(super) fn headers() -> Value {
    let header = |required: bool, schema: Value, description: &str| json!({ "required": required, "schema": schema, "description": description });
    let text = || json!({ "type": "string", "minLength": 1 });
    json!({
        "X-Request-ID": header(true, text(), "The request's own, or one made up; request_id in the body is the same."),
        "ETag": header(
            false,
            json!({ "type": "string", "pattern": "^\".+\"$" }),
            "The document's revision, with its live state where it has any; of a list, a hash of what it shows.",
        ),
        "Cache-Control": header(true, json!({ "const": "no-cache" }), "Ask again before showing it again."),
        "Content-Range": header(
            true,
            json!({ "type": "string", "pattern": "^bytes [0-9*]" }),
            "Which bytes these are, and how many there are in all.",
        ),
        "Location": header(true, text(), "The path of the new document."),
        "Allow": header(true, text(), "The methods that the path takes."),
        "Retry-After": header(true, json!({ "type": "string", "pattern": "^[0-9]+$" }), "Seconds to wait."),
        "Access-Control-Allow-Origin": header(true, json!({ "const": "*" }), "Pages of any origin may read it."),
    })
}

/// Returns the answers to what cannot be done.
pub(super) fn errors() -> Value {
    let message = || reference("ErrorMessage");
    let rows: [(&str, &str, Value, &[&str]); 14] = [
        (
            "Invalid",
            "The body is no JSON, or something in it or in the query breaks a rule.",
            json!({ "anyOf": [reference("Violations"), message()] }),
            &[],
        ),
        (
            "Unauthorized",
            "No token, or one that is not good, not good any more, or revoked.",
            json!({ "type": "object" }),
            &[],
        ),
        (
            "Forbidden",
            "The token's account is not above that of the path.",
            message(),
            &[],
        ),
        (
            "NotFound",
            "No such account, document, participant, media or API key. `cause` or `id` says which; of media and keys, data is \
                a list of them.",
            json!({ "anyOf": [message(), { "type": "array", "items": { "type": "string" } }] }),
            &[],
        ),
        (
            "MethodNotAllowed",
            "The path does not take the method.",
            message(),
            &["Allow"],
        ),
        (
            "TooSlow",
            "The body took longer than 30 s, or that of a file longer than 120 s.",
            message(),
            &[],
        ),
        (
            "Conflict",
            "The document has another revision than If-Match asks for, or the chosen id is taken.",
            message(),
            &[],
        ),
        (
            "TooLarge",
            "The body is too large.",
            json!({ "type": "object", "description": format!("`file.maxSize.target` is {MAX_BODY_BYTES} bytes, of a file {MAX_MEDIA_BYTES}.") }),
            &[],
        ),
        (
            "UnsupportedType",
            "The body is of a type that is not understood. JSON objects are, whatever they are called.",
            message(),
            &[],
        ),
        (
            "Locked",
            "The token's account is disabled.",
            json!({ "type": "object", "required": ["account"] }),
            &[],
        ),
        (
            "RangeNotSatisfiable",
            "The range lies outside of what there is.",
            json!({ "type": "object" }),
            &["Content-Range"],
        ),
        (
            "TooMany",
            "The client's budget is used up, or too much waits already.",
            message(),
            &["Retry-After"],
        ),
        (
            "Fault",
            "A fault of the server; its log has the request id.",
            message(),
            &[],
        ),
        (
            "Unavailable",
            "The store or the conference does not answer, or the server is ending.",
            message(),
            &[],
        ),
    ];
    let rows = rows.into_iter().map(|(name, description, data, headers)| {
        let headers: Map<String, Value> = ["X-Request-ID", "Access-Control-Allow-Origin"]
            .iter()
            .chain(headers)
            .map(|header| {
                (
                    (*header).to_owned(),
                    json!({ "$ref": format!("#/components/headers/{header}") }),
                )
            })
            .collect();
        let schema = json!({ "allOf": [
            reference("Error"),
            { "type": "object", "properties": { "data": data } },
        ] });
        let response =
            json!({ "description": description, "headers": headers, "content": json_content(schema) });
        (name.to_owned(), response)
    });
    Value::Object(rows.collect())
}

/// Returns the schemas of what the errors carry.
pub(super) fn schemas() -> [(&'static str, Value); 3] {
    [
        (
            "Error",
            json!({
                "type": "object",
                "required": ["status", "error", "message", "data", "request_id", "node", "timestamp"],
                "properties": {
                    "status": { "const": "error" },
                    "error": { "type": "string", "pattern": "^[45][0-9]{2}$", "description": "The HTTP status." },
                    "message": { "type": "string", "description": "An id, or a text." },
                    "data": { "type": ["object", "array"] },
                    "request_id": { "type": "string" },
                    "node": { "type": "string" },
                    "timestamp": { "type": "string", "format": "date-time" },
                },
            }),
        ),
        (
            "ErrorMessage",
            json!({
                "type": "object",
                "required": ["message"],
                "properties": { "message": { "type": "string" } },
            }),
        ),
        (
            "Violations",
            json!({
                "type": "object",
                "description": "{field: {rule: {message, target, value, cause}}}; the field is one dotted path, \
                    places in lists included.",
                "minProperties": 1,
                "additionalProperties": {
                    "type": "object",
                    "minProperties": 1,
                    "additionalProperties": {
                        "type": "object",
                        "required": ["message"],
                        "properties": { "message": { "type": "string" } },
                    },
                },
            }),
        ),
    ]
}

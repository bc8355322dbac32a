//! Owns how an operation is described: parameters, request body, and which answers it can have. Never knows what the
//! operation is for.

use serde_json::{Map, Value, json};

use super::{Text, media, reference};
use crate::arguments;
use crate::route::{Operation, Verb};

/// Returns the ways of identification, any of which is enough.
pub(super) fn security() -> Value {
    json!([{ "token": [] }, { "bearer": [] }, { "query": [] }])
}

/// Returns the description of a segment of a template; `None` when it stands for itself.
pub(super) fn path_parameter(segment: &str) -> Option<Value> {
    let name = segment.strip_prefix('{')?.strip_suffix('}')?;
    let schema = match name {
        "participant_id" => json!({ "type": "integer", "minimum": 1 }),
        "account_id" => json!({ "type": "string", "pattern": "^[0-9a-f]{32}$" }),
        _ => json!({ "type": "string", "minLength": 1 }),
    };
    Some(json!({ "name": name, "in": "path", "required": true, "schema": schema }))
}

/// Returns the parameters that many operations share.
pub(super) fn common_parameters() -> Value {
    let header = |name: &str, schema: Value, description: &str| json!({ "name": name, "in": "header", "schema": schema, "description": description });
    json!({
        "RequestId": header(
            "X-Request-ID",
            json!({ "type": "string", "minLength": 1, "maxLength": 128 }),
            "Told back in the answer; made up when absent or longer.",
        ),
        "IfNoneMatch": header(
            "If-None-Match",
            json!({ "type": "string" }),
            "Entity tags that the client holds: 304 when one of them is current.",
        ),
        "IfMatch": header(
            "If-Match",
            json!({ "type": "string" }),
            "Entity tags or revisions that the document must have: 409 when it has another.",
        ),
        "Range": header(
            "Range",
            json!({ "type": "string", "pattern": "^bytes=([0-9]+-[0-9]*|-[0-9]+)$" }),
            "One range of bytes: 206 with them alone. Several at once are answered with everything.",
        ),
        "IfRange": header(
            "If-Range",
            json!({ "type": "string" }),
            "The entity tag that the file must have for Range to count.",
        ),
        "PrettyPrint": {
            "name": "pretty_print",
            "in": "query",
            "schema": { "type": "boolean" },
            "description": "true indents the answer. The header X-Pretty-Print does the same.",
        },
        "Verb": {
            "name": "verb",
            "in": "query",
            "schema": { "type": "string", "enum": ["GET", "PUT", "POST", "PATCH", "DELETE"] },
            "description": "The method that this request stands for, in any case; 405 when the path does not take it.",
        },
    })
}

/// Describes one operation.
pub(super) fn operation(template: &str, verb: Verb, operation: Operation, text: Text) -> Value {
    let answers = answers(template, verb, operation, &text);
    let mut parameters = vec!["RequestId", "PrettyPrint"];
    match verb {
        Verb::Get | Verb::Head => parameters.push("IfNoneMatch"),
        Verb::Post => parameters.extend(["IfMatch", "Verb"]),
        Verb::Patch | Verb::Delete => parameters.push("IfMatch"),
        Verb::Put => {}
    }
    let mut parameters: Vec<Value> = parameters
        .into_iter()
        .map(|name| json!({ "$ref": format!("#/components/parameters/{name}") }))
        .collect();
    if text.list {
        parameters.extend(list_parameters());
    }
    let mut description = json!({
        "operationId": text.id,
        "summary": text.summary,
        "tags": [tag(template)],
        "parameters": parameters,
        "responses": answers,
    });
    if operation.is_public() {
        description["security"] = json!([]);
    }
    if let Some(schema) = request(&text) {
        let required = text.actions.is_none();
        description["requestBody"] = json!({ "required": required, "content": json_content(schema) });
    }
    media::complete(verb, operation, &mut description);
    description
}

/// Returns the kind of resource that a path leads to.
fn tag(template: &str) -> &str {
    let below = template
        .strip_prefix("/accounts/{account_id}/")
        .unwrap_or(template);
    let mut names = below
        .split('/')
        .filter(|part| !part.is_empty() && !part.starts_with('{'));
    match (names.next(), names.next()) {
        (_, Some("participants")) => "participants",
        (Some(first), _) => first,
        _ => "accounts",
    }
}

/// Returns the schema of a request's body; `None` when it takes none.
fn request(text: &Text) -> Option<Value> {
    if let Some(names) = &text.actions {
        return Some(action(names));
    }
    let data = text.takes.as_ref()?;
    Some(json!({ "type": "object", "required": ["data"], "properties": { "data": data } }))
}

/// Returns the schema of a request for one of these actions, in both wrappings, with the arguments of those that take any.
fn action(names: &Value) -> Value {
    let mut taken: Vec<&Value> = Vec::new();
    for name in names.as_array().into_iter().flatten().filter_map(Value::as_str) {
        taken.extend(arguments::schema_of(name).filter(|schema| !taken.contains(schema)));
    }
    let named = json!({ "type": "string", "enum": names });
    let mut inner = json!({ "action": named });
    let mut outer = json!({ "action": named });
    if !taken.is_empty() {
        let arguments = json!({ "description": "The action's arguments.", "anyOf": taken });
        inner["data"] = arguments.clone();
        outer["data"] = arguments;
    }
    json!({ "anyOf": [
        {
            "type": "object",
            "required": ["data"],
            "properties": { "data": { "type": "object", "required": ["action"], "properties": inner } },
        },
        { "type": "object", "required": ["action"], "properties": outer },
    ] })
}

/// Returns every answer that the operation can have.
fn answers(template: &str, verb: Verb, operation: Operation, text: &Text) -> Value {
    let success = if operation == Operation::ApiDocument {
        text.gives.clone()
    } else {
        envelope(text)
    };
    let mut headers = vec!["X-Request-ID"];
    if verb == Verb::Get {
        headers.extend(["Cache-Control", "ETag"]);
    }
    if text.status == "201" && !operation.is_login() {
        headers.extend(["ETag", "Location"]);
    }
    if matches!(verb, Verb::Post | Verb::Patch) {
        headers.push("ETag");
    }
    let headers: Map<String, Value> = headers
        .into_iter()
        .map(|name| {
            (
                name.to_owned(),
                json!({ "$ref": format!("#/components/headers/{name}") }),
            )
        })
        .collect();
    let mut answers = Map::new();
    answers.insert(
        text.status.into(),
        json!({ "description": "Done.", "headers": headers, "content": json_content(success) }),
    );
    if verb == Verb::Get {
        answers.insert(
            "304".into(),
            json!({ "description": "Unchanged since If-None-Match. No body." }),
        );
    }
    let mut fails = |status: &str, name: &str| {
        answers.insert(
            status.into(),
            json!({ "$ref": format!("#/components/responses/{name}") }),
        );
    };
    fails("400", "Invalid");
    if !operation.is_public() || operation.is_login() {
        fails("401", "Unauthorized");
    }
    if template.contains("{account_id}") {
        fails("403", "Forbidden");
    }
    if !operation.is_public() || operation.is_login() {
        fails("423", "Locked");
    }
    if template.contains('{') || operation.is_login() {
        fails("404", "NotFound");
    }
    if verb == Verb::Post {
        fails("405", "MethodNotAllowed");
    }
    fails("408", "TooSlow");
    let makes = text.status == "201" && !operation.is_login();
    if makes || matches!(verb, Verb::Post | Verb::Patch | Verb::Delete) {
        fails("409", "Conflict");
    }
    for (status, name) in [
        ("413", "TooLarge"),
        ("415", "UnsupportedType"),
        ("429", "TooMany"),
        ("500", "Fault"),
        ("503", "Unavailable"),
    ] {
        fails(status, name);
    }
    Value::Object(answers)
}

/// Adds to what POST answers the successes of the other methods that it can stand for.
pub(super) fn tunnels(path: &mut Map<String, Value>) {
    let others: Vec<(String, Value)> = path
        .iter()
        .filter(|(method, _)| method.as_str() != "post")
        .filter_map(|(_, other)| other["responses"].as_object())
        .flat_map(|answers| answers.iter().filter(|(status, _)| status.starts_with('2')))
        .map(|(status, answer)| (status.clone(), answer.clone()))
        .collect();
    let Some(answers) = path
        .get_mut("post")
        .and_then(|post| post["responses"].as_object_mut())
    else {
        return;
    };
    for (status, other) in others {
        let answer = answers.entry(status).or_insert_with(|| other.clone());
        let content = answer.get_mut("content").and_then(Value::as_object_mut);
        let Some((content, more)) = content.zip(other["content"].as_object()) else {
            continue;
        };
        for (kind, body) in more {
            content.entry(kind.clone()).or_insert_with(|| body.clone());
        }
    }
}

/// Returns a body of JSON.
pub(super) fn json_content(schema: Value) -> Value {
    json!({ "application/json": { "schema": schema } })
}

fn envelope(text: &Text) -> Value {
    let name = if text.list { "Page" } else { "Envelope" };
    let mut required = vec!["data"];
    if text.status == "201" {
        required.push("auth_token");
    }
    json!({ "allOf": [
        reference(name),
        { "type": "object", "required": required, "properties": {
            "status": { "const": "success" },
            "data": text.gives,
        } },
    ] })
}

/// Returns the parameters of a list.
fn list_parameters() -> Vec<Value> {
    let parameter = |name: &str, schema: Value, description: &str| json!({ "name": name, "in": "query", "schema": schema, "description": description });
    let text = || json!({ "type": "string" });
    let flag = || json!({ "type": "boolean" });
    let time = || json!({ "type": "integer", "minimum": 0 });
    let size = json!({ "type": "integer", "minimum": 1, "default": 50 });
    let filters = json!({
        "name": "filters",
        "in": "query",
        "style": "form",
        "explode": true,
        "schema": {
            "type": "object",
            "propertyNames": { "pattern": "^filter_(not_)?[a-z_.]+$" },
            "additionalProperties": { "type": "string" },
        },
        "description": "filter_KEY=VALUE: documents whose KEY, a dotted path, has this value, as text; filter_not_KEY=VALUE: \
            those whose KEY has not.",
    });
    vec![
        parameter("page_size", size, "Items per page, 10,000 at most."),
        parameter("start_key", text(), "next_start_key of the page before."),
        parameter("paginate", flag(), "false returns everything at once."),
        parameter("ascending", flag(), "true turns the order round."),
        parameter("descending", flag(), "false turns the order round."),
        filters,
        parameter("has_key", text(), "Documents that have the key."),
        parameter("key_missing", text(), "Documents that lack the key."),
        parameter("has_value", text(), "Documents whose key is not empty."),
        parameter("value_missing", text(), "Documents whose key is absent or empty."),
        parameter("created_from", time(), "Gregorian seconds."),
        parameter("created_to", time(), "Gregorian seconds."),
        parameter("modified_from", time(), "Gregorian seconds."),
        parameter("modified_to", time(), "Gregorian seconds."),
    ]
}

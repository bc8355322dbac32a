//! Owns the published JSON Schemas of documents. Never checks a document with one.

use confab_documents::Kind;
use serde_json::Value;

use crate::answer::{Answer, TagBuilder};
use crate::dispatch::Call;
use crate::error::ApiError;

/// `GET /v2/schemas`: their names.
pub(super) fn list() -> Answer {
    let names: Vec<Value> = Kind::ALL.iter().map(|kind| kind.schema_name().into()).collect();
    tagged(names.into())
}

/// `GET /v2/schemas/{name}`.
pub(super) fn show(call: &Call<'_>) -> Result<Answer, ApiError> {
    let name = call.matched.parameter("schema_name");
    let kind = Kind::ALL.into_iter().find(|kind| kind.schema_name() == name);
    let kind = kind.ok_or_else(|| ApiError::UnknownId(name.to_owned()))?;
    Ok(tagged(kind.schema_json().clone()))
}

fn tagged(data: Value) -> Answer {
    Answer {
        etag: Some(TagBuilder::default().text(&data.to_string()).finish()),
        ..Answer::ok(data)
    }
}

//! Owns which documents of a list a request wants: filters, order, page. Never reads the store.

use confab_documents::{Document, ListOrder, Rule, Violation};
use serde_json::Value;

use crate::error::ApiError;
use crate::query::Query;

/// The items of a page when the request names no number.
const DEFAULT_PAGE_SIZE: usize = 50;

/// The most items of a page; who asks for more gets so many, and where the next page begins.
const MAX_PAGE_SIZE: usize = 10_000;

/// What a list request asks for.
#[derive(Debug)]
pub(crate) struct ListRequest {
    pub(crate) order: ListOrder,
    pub(crate) start: Option<String>,
    /// The most items; `None` for all at once.
    pub(crate) page_size: Option<usize>,
    filters: Vec<Filter>,
}

#[derive(Debug)]
enum Filter {
    Equals(String, String),
    Differs(String, String),
    HasKey(String),
    LacksKey(String),
    HasValue(String),
    LacksValue(String),
    CreatedFrom(u64),
    CreatedTo(u64),
    ModifiedFrom(u64),
    ModifiedTo(u64),
}

impl ListRequest {
    pub(crate) fn parse(query: &Query) -> Result<ListRequest, ApiError> {
        ListRequest::parse_with(query, ListOrder::Descending)
    }

    /// Leaves out what has another value of a key.
    pub(crate) fn only(&mut self, key: &str, value: &str) {
        self.filters
            .push(Filter::Equals(key.to_owned(), value.to_owned()));
    }

    /// Reads the request for a list that has this order when the request names none.
    pub(crate) fn parse_with(query: &Query, default: ListOrder) -> Result<ListRequest, ApiError> {
        let ascending = query.says("ascending", true) || query.says("descending", false);
        let descending = query.says("descending", true) || query.says("ascending", false);
        let mut filters = Vec::new();
        for (name, value) in query.iter() {
            filters.extend(filter(name, value)?);
        }
        Ok(ListRequest {
            order: match (ascending, descending) {
                (true, _) => ListOrder::Ascending,
                (_, true) => ListOrder::Descending,
                _ => default,
            },
            start: start_key(query)?,
            page_size: if query.says("paginate", false) {
                None
            } else {
                Some(page_size(query)?)
            },
            filters,
        })
    }

    /// Returns whether there are filters.
    pub(crate) fn is_filtered(&self) -> bool {
        !self.filters.is_empty()
    }

    /// Returns whether every filter lets the document through.
    pub(crate) fn takes(&self, document: &Document) -> bool {
        self.filters.iter().all(|filter| filter.takes(document))
    }
}

fn start_key(query: &Query) -> Result<Option<String>, ApiError> {
    let key = query.get("start_key").filter(|key| !key.is_empty());
    match key {
        // No store has to look for that, and some cannot.
        Some(key) if key.contains('\0') => {
            let violation = Violation::new("start_key", Rule::Invalid, "No page begins with this key");
            Err(violation.with_value(&key.into()).into())
        }
        key => Ok(key.map(str::to_owned)),
    }
}

fn page_size(query: &Query) -> Result<usize, ApiError> {
    let Some(text) = query.get("page_size") else {
        return Ok(DEFAULT_PAGE_SIZE);
    };
    match text.parse() {
        Ok(0) => {
            let violation = Violation::new("page_size", Rule::Minimum, "Value must be at least 1");
            Err(violation.with_target(1.into()).with_value(&text.into()).into())
        }
        Ok(size) => Ok(size.min(MAX_PAGE_SIZE)),
        Err(_) => Err(Violation::wrong_type("page_size", "integer", &text.into()).into()),
    }
}

fn filter(name: &str, value: &str) -> Result<Option<Filter>, ApiError> {
    let key = || value.to_owned();
    let time = || {
        value
            .parse::<u64>()
            .map_err(|_| ApiError::from(Violation::wrong_type(name, "integer", &value.into())))
    };
    Ok(Some(match name {
        "has_key" => Filter::HasKey(key()),
        "key_missing" => Filter::LacksKey(key()),
        "has_value" => Filter::HasValue(key()),
        "value_missing" | "missing_value" => Filter::LacksValue(key()),
        "created_from" => Filter::CreatedFrom(time()?),
        "created_to" => Filter::CreatedTo(time()?),
        "modified_from" => Filter::ModifiedFrom(time()?),
        "modified_to" => Filter::ModifiedTo(time()?),
        _ => match (name.strip_prefix("filter_not_"), name.strip_prefix("filter_")) {
            (Some(path), _) if !path.is_empty() => Filter::Differs(path.to_owned(), key()),
            (_, Some(path)) if !path.is_empty() => Filter::Equals(path.to_owned(), key()),
            _ => return Ok(None),
        },
    }))
}

impl Filter {
    fn takes(&self, document: &Document) -> bool {
        match self {
            Filter::Equals(path, text) => says(document, path, text),
            Filter::Differs(path, text) => !says(document, path, text),
            Filter::HasKey(path) => at(document, path).is_some(),
            Filter::LacksKey(path) => at(document, path).is_none(),
            Filter::HasValue(path) => at(document, path).is_some_and(|value| !is_empty(&value)),
            Filter::LacksValue(path) => at(document, path).is_none_or(|value| is_empty(&value)),
            Filter::CreatedFrom(time) => document.created.0 >= *time,
            Filter::CreatedTo(time) => document.created.0 <= *time,
            Filter::ModifiedFrom(time) => document.modified.0 >= *time,
            Filter::ModifiedTo(time) => document.modified.0 <= *time,
        }
    }
}

/// Returns the value at a dotted path; a number picks a list's item.
fn at(document: &Document, path: &str) -> Option<Value> {
    if path == "id" {
        return Some(document.id.as_str().into());
    }
    if let Some(value) = document.body.get(path) {
        return Some(value.clone());
    }
    let mut parts = path.split('.');
    let mut value = document.body.get(parts.next()?)?;
    for part in parts {
        value = match value {
            Value::Object(map) => map.get(part)?,
            Value::Array(items) => items.get(part.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    Some(value.clone())
}

/// Returns whether the value at the path prints as `text`; a list does when one of its items does.
fn says(document: &Document, path: &str, text: &str) -> bool {
    match at(document, path) {
        Some(Value::Array(items)) => items.iter().any(|item| printed(item) == text),
        Some(value) => printed(&value) == text,
        None => false,
    }
}

fn printed(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use confab_conference::{AccountId, GregorianSeconds};
    use confab_documents::Revision;
    use serde_json::json;

    fn takes(query: &str) -> bool {
        let body = json!({
            "name": "Board", "member": {"join_muted": true, "pins": ["1", "2"]}, "flags": ["red", "blue"],
            "max_participants": 5, "empty": "", "dotted.key": "x", "nothing": null
        });
        let document = Document {
            account_id: AccountId::from("a"),
            kind: confab_documents::Kind::Conference,
            id: "c".into(),
            revision: Revision {
                saves: 1,
                hash: String::new(),
            },
            created: GregorianSeconds(100),
            modified: GregorianSeconds(200),
            body: body.as_object().unwrap().clone(),
        };
        ListRequest::parse(&Query::parse(Some(query)))
            .unwrap()
            .takes(&document)
    }

    #[test]
    fn c039_to_c043_filters_test_the_full_document() {
        let table = [
            ("", true),
            ("random=1&filter_=x&unknown=y", true),
            ("filter_name=Board", true),
            ("filter_name=board", false),
            ("filter_id=c", true),
            ("filter_name=Board&filter_max_participants=6", false),
            ("filter_max_participants=5", true),
            ("filter_member.join_muted=true", true),
            ("filter_member.pins.1=2", true),
            ("filter_member.pins.x=2", false),
            ("filter_flags=blue", true),
            ("filter_flags=green", false),
            ("filter_dotted.key=x", true),
            ("filter_absent=", false),
            ("filter_not_name=Board", false),
            ("filter_not_name=X", true),
            ("filter_not_absent=X", true),
            ("has_key=flags", true),
            ("has_key=absent", false),
            ("key_missing=absent", true),
            ("key_missing=flags", false),
            ("has_value=name", true),
            ("has_value=empty", false),
            ("value_missing=empty", true),
            ("missing_value=nothing", true),
            ("value_missing=name", false),
            ("created_from=100&created_to=100", true),
            ("created_from=101", false),
            ("modified_to=199", false),
            ("modified_from=200&modified_to=200", true),
        ];
        for (query, expected) in table {
            assert_eq!(takes(query), expected, "{query}");
        }
    }

    #[test]
    fn order_and_page_are_read_from_the_query() {
        let parse = |query| ListRequest::parse(&Query::parse(Some(query)));
        let default = parse("").unwrap();
        assert_eq!(
            (default.order, default.page_size, default.start),
            (ListOrder::Descending, Some(50), None)
        );
        assert_eq!(parse("ascending=true").unwrap().order, ListOrder::Ascending);
        assert_eq!(parse("descending=false").unwrap().order, ListOrder::Ascending);
        let users =
            |query| ListRequest::parse_with(&Query::parse(Some(query)), ListOrder::Ascending).unwrap();
        assert_eq!(users("").order, ListOrder::Ascending);
        assert_eq!(users("descending=true").order, ListOrder::Descending);
        assert_eq!(users("ascending=false").order, ListOrder::Descending);
        assert_eq!(parse("paginate=false&page_size=0").unwrap().page_size, None);
        assert_eq!(
            parse("page_size=2&start_key=x").unwrap().start.as_deref(),
            Some("x")
        );
        for query in [
            "page_size=0",
            "page_size=-1",
            "page_size=x",
            "created_from=x",
            "start_key=%00",
        ] {
            assert!(parse(query).is_err(), "{query}");
        }
    }
}

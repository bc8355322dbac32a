//! Owns what documents of every kind have in common as resources: lists, making, reading, changing, deleting. Never judges
//! a document: the store does.

use std::sync::Arc;

use axum::http::{StatusCode, header};
use confab_conference::AccountId;
use confab_documents::{
    Body, CONFERENCES_CONFIGURATION, Document, Expected, Kind, ListOrder, ListPage, ListScope, Revision,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::{account, configuration, recording, webhook};
use crate::answer::{Answer, PageInfo, TagBuilder};
use crate::dispatch::{Call, list_header};
use crate::error::{ApiError, save_error};
use crate::list::ListRequest;
use crate::rights::{self, Rights};
use crate::view;

/// The most documents read at a time.
const BATCH: usize = 128;

/// What a segment of a path may hold as it is.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

impl Call<'_> {
    /// Returns the id of the path's document.
    pub(super) fn document_id(&self, kind: Kind) -> Result<String, ApiError> {
        Ok(match kind {
            Kind::Account => self.account()?.to_string(),
            kind => self.matched.parameter(parameter(kind)).to_owned(),
        })
    }

    /// Returns which revision the request expects to change. An entity tag of ours begins with the revision.
    pub(super) fn expected(&self) -> Expected {
        let tags = list_header(self.headers, &header::IF_MATCH);
        if tags.is_empty() || tags.iter().any(|tag| tag == "*") {
            return Expected::Anything;
        }
        Expected::OneOf(tags.iter().filter_map(|tag| revision_of(tag)).collect())
    }
}

/// Returns the name of the segment that holds the id of a document.
fn parameter(kind: Kind) -> &'static str {
    match kind {
        Kind::Account => "account_id",
        Kind::Conference => "conference_id",
        Kind::Configuration => "config_id",
        Kind::Device => "device_id",
        Kind::Media => "media_id",
        Kind::Resource => "resource_id",
        Kind::User => "user_id",
        Kind::Webhook => "webhook_id",
    }
}

fn revision_of(tag: &str) -> Option<Revision> {
    let tag = tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"');
    let mut parts = tag.splitn(3, '-');
    let (saves, hash) = (parts.next()?, parts.next()?);
    format!("{saves}-{hash}").parse().ok()
}

/// The documents that a request wants, some at a time: what is made of them is kept, not they.
pub(super) struct Walk<'a> {
    request: ListRequest,
    scope: &'a ListScope,
    kind: Kind,
    owner: Option<&'a str>,
    /// Where the next batch begins; `None` with `is_over` unset: where the request does.
    start: Option<String>,
    is_over: bool,
    found: usize,
    first: Option<String>,
    next_start_key: Option<String>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        request: ListRequest,
        scope: &'a ListScope,
        kind: Kind,
        owner: Option<&'a str>,
    ) -> Walk<'a> {
        Walk {
            start: request.start.clone(),
            request,
            scope,
            kind,
            owner,
            is_over: false,
            found: 0,
            first: None,
            next_start_key: None,
        }
    }

    /// Returns the next ones, maybe none of a batch; `None` when there are no more to come.
    pub(super) async fn next(&mut self, call: &Call<'_>) -> Result<Option<Vec<Arc<Document>>>, ApiError> {
        if self.is_over {
            return Ok(None);
        }
        let room = self
            .request
            .page_size
            .map_or(usize::MAX, |size| size - self.found);
        // What no filter holds back is not read for nothing.
        let size = match self.request.is_filtered() {
            false => room.clamp(1, BATCH),
            true => BATCH,
        };
        // One more than a batch: it begins the next one.
        let page = ListPage {
            order: self.request.order,
            start: self.start.take(),
            limit: u32::try_from(size + 1).unwrap_or(u32::MAX),
            owner: self.owner.map(str::to_owned),
        };
        let mut batch = call.state.store.list(self.scope, self.kind, &page).await?;
        let beyond = (batch.len() > size).then(|| batch.pop()).flatten();
        self.start = beyond.map(|document| ListPage::place_of(&document));
        self.is_over = self.start.is_none();
        batch.retain(|document| self.request.takes(document));
        if batch.len() > room {
            self.next_start_key = Some(ListPage::place_of(&batch[room]));
            self.is_over = true;
            batch.truncate(room);
        }
        if batch.len() == room && !self.request.is_filtered() {
            self.next_start_key = self.start.take();
            self.is_over = true;
        }
        self.found += batch.len();
        if self.first.is_none() {
            self.first = batch.first().map(|first| ListPage::place_of(first));
        }
        Ok(Some(batch))
    }

    /// Returns which part of a list was told, and adds where the next one begins to its tag.
    pub(super) fn over(self, tag: TagBuilder) -> (Option<PageInfo>, TagBuilder) {
        let tag = tag.text(self.next_start_key.as_deref().unwrap_or_default());
        let page = self.request.page_size.map(|_| PageInfo {
            page_size: self.found,
            start_key: self.first.or(self.request.start),
            next_start_key: self.next_start_key,
        });
        (page, tag)
    }
}

/// `GET` on a collection of the account.
pub(super) async fn list(call: &Call<'_>, kind: Kind) -> Result<Answer, ApiError> {
    list_in(call, kind, ListScope::Account(call.account()?.clone()), None).await
}

/// `GET /users/{U}/devices`.
pub(super) async fn list_of_user(call: &Call<'_>) -> Result<Answer, ApiError> {
    let (account, user) = (call.account()?, call.document_id(Kind::User)?);
    let found = call.state.store.document(account, Kind::User, &user).await?;
    if found.is_none() {
        return Err(ApiError::UnknownId(user));
    }
    list_in(
        call,
        Kind::Device,
        ListScope::Account(account.clone()),
        Some(&user),
    )
    .await
}

/// Lists the documents of a kind in a scope.
pub(super) async fn list_in(
    call: &Call<'_>,
    kind: Kind,
    scope: ListScope,
    owner: Option<&str>,
) -> Result<Answer, ApiError> {
    let default = match kind {
        Kind::User => ListOrder::Ascending,
        _ => ListOrder::Descending,
    };
    let request = ListRequest::parse_with(call.query, default)?;
    let mut walk = Walk::new(request, &scope, kind, owner);
    let (mut items, mut tag) = (Vec::new(), TagBuilder::default());
    while let Some(documents) = walk.next(call).await? {
        for document in &documents {
            items.push(view::document_item(document));
            tag = tag.text(&document.id).text(&document.revision.to_string());
        }
    }
    let (page, tag) = walk.over(tag);
    Ok(Answer {
        etag: Some(tag.finish()),
        page,
        ..Answer::ok(items)
    })
}

/// `PUT` on a collection of the account.
pub(super) async fn create(call: &Call<'_>, kind: Kind) -> Result<Answer, ApiError> {
    let account = call.account()?;
    let body = call.envelope.data_object()?;
    let wanted = body
        .get("id")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    let made = call.state.store.create(account, kind, body).await;
    let document = made.map_err(|error| save_error(&wanted, error))?;
    let id = utf8_percent_encode(&document.id, SEGMENT);
    let location = format!("/v2/accounts/{account}/{}/{id}", collection(kind));
    Ok(Answer {
        location: Some(location),
        status: StatusCode::CREATED,
        ..told(call, &document).await?
    })
}

/// Returns the segment under which the documents of a kind are.
fn collection(kind: Kind) -> &'static str {
    match kind {
        Kind::Configuration => "configs",
        kind => kind.schema_name(),
    }
}

/// `GET` on a document.
pub(super) async fn show(call: &Call<'_>, kind: Kind) -> Result<Answer, ApiError> {
    let id = call.document_id(kind)?;
    let document = call.state.store.document(call.account()?, kind, &id).await?;
    let document = document.ok_or(ApiError::UnknownId(id))?;
    told(call, &document).await
}

/// `POST` on a document.
pub(super) async fn replace(call: &Call<'_>, kind: Kind) -> Result<Answer, ApiError> {
    change(call, kind, true).await
}

/// `PATCH` on a document.
pub(super) async fn patch(call: &Call<'_>, kind: Kind) -> Result<Answer, ApiError> {
    change(call, kind, false).await
}

async fn change(call: &Call<'_>, kind: Kind, whole: bool) -> Result<Answer, ApiError> {
    let (account, id) = (call.account()?, call.document_id(kind)?);
    let mut body = call.envelope.data_object()?;
    if kind == Kind::Webhook {
        webhook::forget_why_disabled(&mut body, whole);
    }
    if is_of_conferences(kind, &id) {
        configuration::check(call, account, &body).await?;
    }
    let new_password = kind == Kind::User && body.contains_key("password");
    let rights_of = |document: &Document| Rights::of(document.body.get("priv_level"));
    let rights_before = match kind {
        Kind::User => call
            .state
            .store
            .document(account, kind, &id)
            .await?
            .as_ref()
            .map(rights_of),
        _ => None,
    };
    let (store, expected) = (&call.state.store, call.expected());
    let saved = if whole {
        store.replace(account, kind, &id, body, &expected).await
    } else {
        store.patch(account, kind, &id, body, &expected).await
    };
    let document = saved.map_err(|error| save_error(&id, error))?;
    let may_log_in =
        document.body.get("username").is_some() && document.body.get("enabled") != Some(&false.into());
    let other_rights = rights_before.is_some_and(|before| before != rights_of(&document));
    if kind == Kind::User && (new_password || other_rights || !may_log_in) {
        call.state.tokens.revoke_user(account, &id);
    }
    if is_of_conferences(kind, &id) {
        configuration::announce(call, account).await?;
    }
    told(call, &document).await
}

/// `DELETE` on a document.
pub(super) async fn delete(call: &Call<'_>, kind: Kind) -> Result<Answer, ApiError> {
    let id = call.document_id(kind)?;
    delete_of(call, kind, id).await
}

/// Deletes a document of this id.
pub(super) async fn delete_of(call: &Call<'_>, kind: Kind, id: String) -> Result<Answer, ApiError> {
    let account = call.account()?;
    let (store, expected) = (&call.state.store, call.expected());
    // An empty object is as good as no body here.
    let data = match call.envelope.is_empty() {
        true => Body::new(),
        false => call.envelope.data_object()?,
    };
    let hard = data
        .get("hard_delete")
        .or_else(|| call.envelope.get("hard_delete"));
    let deleted = if kind == Kind::Media && hard == Some(&true.into()) {
        store.erase(account, kind, &id, &expected).await
    } else {
        store.delete(account, kind, &id, &expected).await
    };
    let document = deleted.map_err(|error| save_error(&id, error))?;
    if recording::is_recording(&document) {
        // The document is gone: whoever asks again gets 404, and what is left of the files is found in the log.
        if let Err(error) = call.state.recordings.delete(account, &id).await {
            tracing::error!(recording = id, %error, "the files of a deleted recording are still there");
        }
    }
    match kind {
        Kind::User => call.state.tokens.revoke_user(account, &id),
        // Nobody could end them any more.
        Kind::Account => {
            call.state
                .conferences
                .end_all(&AccountId::from(id.as_str()))
                .await
        }
        _ => {}
    }
    if is_of_conferences(kind, &id) {
        configuration::announce(call, account).await?;
    }
    let mut data = document.public();
    data.insert("_read_only".into(), json!({ "deleted": true }));
    Ok(Answer {
        revision: Some(document.revision.to_string()),
        ..Answer::ok(data)
    })
}

fn is_of_conferences(kind: Kind, id: &str) -> bool {
    kind == Kind::Configuration && id == CONFERENCES_CONFIGURATION
}

/// Answers with a document and its revision.
pub(super) async fn told(call: &Call<'_>, document: &Document) -> Result<Answer, ApiError> {
    let mut data = document.public();
    if document.kind == Kind::Account {
        data.extend(account::facts(call, document).await?);
    }
    if let Some((_, identity)) = &call.login {
        rights::withhold(identity, document.kind, &mut data);
    }
    let revision = document.revision.to_string();
    Ok(Answer {
        etag: Some(revision.clone()),
        revision: Some(revision),
        ..Answer::ok(data)
    })
}

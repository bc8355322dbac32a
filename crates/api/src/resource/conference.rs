//! Owns conferences as resources: documents with live data, and the actions on a conference. Never judges a document:
//! the store does.

use axum::http::{StatusCode, header};
use confab_conference::{AccountId, Audience, ConferenceId, Control, Snapshot};
use confab_documents::{Body, Document, Expected, ListPage, Revision, Rule, Violation, Violations, settings};
use serde_json::{Value, json};

use crate::action::{self, Actions};
use crate::answer::{Answer, PageInfo, TagBuilder};
use crate::arguments::{Arguments, MEDIA_ID};
use crate::dispatch::{Call, list_header};
use crate::error::{ApiError, save_error};
use crate::list::ListRequest;
use crate::live::{ControlError, MediaProblem};
use crate::tones;
use crate::view::Viewpoint;

/// What an action makes of its arguments.
type OnConference = fn(Arguments) -> Result<Control, ApiError>;

/// What can be done to a conference.
pub(crate) const ACTIONS: Actions<OnConference> = Actions {
    built: &[
        ("lock", |_| Ok(Control::Lock)),
        ("unlock", |_| Ok(Control::Unlock)),
        ("play", |arguments| play(Audience::Everybody, arguments)),
        ("stop_play", |arguments| stop_play(Audience::Everybody, arguments)),
        ("end", |_| Ok(Control::End)),
    ],
    prepared: &[],
    refused: &["dial", "record", "vars"],
};

/// Returns the control that plays what the arguments name.
pub(crate) fn play(audience: Audience, arguments: Arguments) -> Result<Control, ApiError> {
    let media = arguments.media()?;
    Ok(Control::Play { media, audience })
}

/// Returns the control that stops what the arguments name.
pub(crate) fn stop_play(audience: Audience, arguments: Arguments) -> Result<Control, ApiError> {
    let which = arguments.stop_play()?;
    Ok(Control::StopPlay { audience, which })
}

/// Documents read at a time when a list is filtered.
const BATCH: u32 = 128;

impl Call<'_> {
    /// Returns the conference of the path.
    pub(super) fn conference_id(&self) -> ConferenceId {
        ConferenceId::from(self.matched.parameter("conference_id"))
    }

    pub(super) fn viewpoint(&self) -> Viewpoint<'_> {
        Viewpoint {
            config: &self.state.config,
            now: self.state.clock.gregorian(),
        }
    }

    /// Returns the document and the running instance of the path's conference; not found when it has neither.
    pub(super) async fn conference(&self) -> Result<(Option<Document>, Option<Snapshot>), ApiError> {
        let (account, id) = (self.account()?, self.conference_id());
        let document = self.state.store.conference(account, &id).await?;
        let snapshot = self.state.conferences.snapshot(account, &id).await;
        if document.is_none() && snapshot.is_none() {
            return Err(ApiError::UnknownId(id.to_string()));
        }
        Ok((document, snapshot))
    }

    /// Has a running conference carry out a control; what it plays has to be something.
    pub(super) async fn carry_out(&self, control: Control) -> Result<Result<(), ControlError>, ApiError> {
        let (account, id) = (self.account()?, self.conference_id());
        if let Control::Play { media, .. } = &control {
            match self.state.conferences.check_media(account, media).await {
                Ok(()) => {}
                Err(MediaProblem::Unknown) => return Err(ApiError::UnknownMedia(media.as_str().to_owned())),
                Err(MediaProblem::Invalid(why)) => {
                    let violation = Violation::new(MEDIA_ID, Rule::Invalid, why);
                    return Err(violation.with_value(&media.as_str().into()).into());
                }
            }
        }
        Ok(self.state.conferences.control(account, &id, control).await)
    }

    /// Checks the sounds that a document, or a change of one, names.
    async fn check_tones(&self, account: &AccountId, document: &Body) -> Result<(), Violations> {
        let wrong = tones::check(&*self.state.conferences, account, document).await;
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    /// Checks the sounds that a document names; with what else is wrong with it, so that all is told at once.
    async fn check_document(&self, account: &AccountId, document: &Body) -> Result<(), Violations> {
        let Err(mut wrong) = self.check_tones(account, document).await else {
            return Ok(());
        };
        if let Err(others) = confab_documents::check_conference(document.clone()) {
            others.iter().for_each(|other| wrong.push(other.clone()));
        }
        Err(wrong)
    }

    /// Returns which revision the request expects to change. An entity tag of ours begins with the revision.
    fn expected(&self) -> Expected {
        let tags = list_header(self.headers, &header::IF_MATCH);
        if tags.is_empty() || tags.iter().any(|tag| tag == "*") {
            return Expected::Anything;
        }
        Expected::OneOf(tags.iter().filter_map(|tag| revision_of(tag)).collect())
    }
}

fn revision_of(tag: &str) -> Option<Revision> {
    let tag = tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"');
    let mut parts = tag.splitn(3, '-');
    let (saves, hash) = (parts.next()?, parts.next()?);
    format!("{saves}-{hash}").parse().ok()
}

/// `GET /conferences`.
pub(super) async fn list(call: &Call<'_>) -> Result<Answer, ApiError> {
    let account = call.account()?;
    let request = ListRequest::parse(call.query)?;
    let (documents, next_start_key) = find(call, account, &request).await?;
    let viewpoint = call.viewpoint();
    let mut tag = TagBuilder::default();
    let mut items = Vec::with_capacity(documents.len());
    for document in &documents {
        let id = ConferenceId::from(document.id.as_str());
        let snapshot = call.state.conferences.snapshot(account, &id).await;
        let item = viewpoint.list_item(document, snapshot.as_ref());
        tag = tag
            .text(&document.id)
            .text(&document.revision.to_string())
            .live(&item["_read_only"]);
        items.push(item);
    }
    tag = tag.text(next_start_key.as_deref().unwrap_or_default());
    let page = request.page_size.map(|_| PageInfo {
        page_size: items.len(),
        start_key: documents.first().map(|first| first.id.clone()).or(request.start),
        next_start_key,
    });
    Ok(Answer {
        etag: Some(tag.finish()),
        page,
        ..Answer::ok(items)
    })
}

/// Returns the documents that a request wants, and the id that begins the next page.
async fn find(
    call: &Call<'_>,
    account: &AccountId,
    request: &ListRequest,
) -> Result<(Vec<Document>, Option<String>), ApiError> {
    let wanted = request.page_size.unwrap_or(usize::MAX);
    let mut found = Vec::new();
    let mut start = request.start.clone();
    loop {
        // One more than a batch: it begins the next one.
        let page = ListPage {
            order: request.order,
            start,
            limit: BATCH + 1,
        };
        let mut batch = call.state.store.conferences(account, &page).await?;
        let next = (batch.len() > BATCH as usize)
            .then(|| batch.pop())
            .flatten()
            .map(|document| document.id);
        for document in batch.into_iter().filter(|document| request.takes(document)) {
            if found.len() == wanted {
                return Ok((found, Some(document.id)));
            }
            found.push(document);
        }
        match next {
            Some(id) => start = Some(id),
            None => return Ok((found, None)),
        }
    }
}

/// `PUT /conferences`.
pub(super) async fn create(call: &Call<'_>) -> Result<Answer, ApiError> {
    let account = call.account()?;
    let body = call.envelope.data_object()?;
    let wanted = body
        .get("id")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    call.check_document(account, &body).await?;
    let document = call.state.store.create_conference(account, body).await;
    let document = document.map_err(|error| save_error(&wanted, error))?;
    announce(call, account, &document).await;
    let location = format!("/v2/accounts/{account}/conferences/{}", document.id);
    Ok(Answer {
        location: Some(location),
        status: StatusCode::CREATED,
        ..saved(&document)
    })
}

/// `GET /conferences/{C}`.
pub(super) async fn show(call: &Call<'_>) -> Result<Answer, ApiError> {
    let (document, snapshot) = call.conference().await?;
    let live = call.viewpoint().read_only(snapshot.as_ref());
    let mut data = document
        .as_ref()
        .map_or_else(|| ad_hoc(&call.conference_id()), Document::public);
    if snapshot.is_some() {
        data.insert("focus".into(), call.state.config.node.as_str().into());
    }
    data.insert("_read_only".into(), live.clone());
    let revision = document.map(|document| document.revision.to_string());
    let tag = || TagBuilder::default().live(&live).finish();
    let etag = match (&revision, &snapshot) {
        (Some(revision), None) => revision.clone(),
        (Some(revision), Some(_)) => format!("{revision}-{}", tag()),
        (None, _) => tag(),
    };
    Ok(Answer {
        revision,
        etag: Some(etag),
        metadata: Some(live),
        ..Answer::ok(data)
    })
}

/// Returns what stands for the document of a running conference that has none: the defaults.
fn ad_hoc(id: &ConferenceId) -> Body {
    let mut value = json!({ "id": id.as_str() });
    confab_documents::fill_conference_defaults(&mut value);
    match value {
        Value::Object(body) => body,
        _ => Body::new(),
    }
}

/// `POST /conferences/{C}`.
pub(super) async fn replace(call: &Call<'_>) -> Result<Answer, ApiError> {
    let (account, id) = (call.account()?, call.conference_id());
    let body = call.envelope.data_object()?;
    call.check_document(account, &body).await?;
    let saved_document = call
        .state
        .store
        .replace_conference(account, &id, body, &call.expected())
        .await;
    let document = saved_document.map_err(|error| save_error(id.as_str(), error))?;
    announce(call, account, &document).await;
    Ok(saved(&document))
}

/// `PATCH /conferences/{C}`.
pub(super) async fn patch(call: &Call<'_>) -> Result<Answer, ApiError> {
    let (account, id) = (call.account()?, call.conference_id());
    let change = call.envelope.data_object()?;
    call.check_tones(account, &change).await?;
    let saved_document = call
        .state
        .store
        .patch_conference(account, &id, change, &call.expected())
        .await;
    let document = saved_document.map_err(|error| save_error(id.as_str(), error))?;
    announce(call, account, &document).await;
    Ok(saved(&document))
}

/// `DELETE /conferences/{C}`. A running instance goes on.
pub(super) async fn delete(call: &Call<'_>) -> Result<Answer, ApiError> {
    let (account, id) = (call.account()?, call.conference_id());
    let deleted = call
        .state
        .store
        .delete_conference(account, &id, &call.expected())
        .await;
    let document = deleted.map_err(|error| save_error(id.as_str(), error))?;
    let mut data = document.public();
    data.insert("_read_only".into(), json!({ "deleted": true }));
    Ok(Answer {
        revision: Some(document.revision.to_string()),
        ..Answer::ok(data)
    })
}

fn saved(document: &Document) -> Answer {
    let revision = document.revision.to_string();
    Answer {
        etag: Some(revision.clone()),
        revision: Some(revision),
        ..Answer::ok(document.public())
    }
}

/// Tells a running instance what its document says from here on.
async fn announce(call: &Call<'_>, account: &AccountId, document: &Document) {
    let id = ConferenceId::from(document.id.as_str());
    call.state
        .conferences
        .updated(account, &id, settings(document))
        .await;
}

/// `PUT /conferences/{C}`: an action. What is not running takes no effect and is no error.
pub(super) async fn control(call: &Call<'_>) -> Result<Answer, ApiError> {
    call.conference().await?;
    let requested = action::resolve(call.envelope, call.query, &ACTIONS)?;
    let control = (requested.action)(Arguments::new(requested.name, requested.arguments))?;
    match call.carry_out(control).await? {
        Ok(()) | Err(ControlError::NotRunning) => Ok(Answer::accepted()),
        Err(error) => Err(error.into()),
    }
}

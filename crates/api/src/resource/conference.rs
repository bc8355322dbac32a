//! Owns conferences as resources: documents with live data, and the actions on a conference. Never judges a document:
//! the store does.

use axum::http::StatusCode;
use confab_conference::{AccountId, Audience, ConferenceId, Control, Snapshot};
use confab_documents::{Body, Document, Kind, ListScope, Rule, Store, Violation, language};
use serde_json::{Value, json};

use super::dial;
use super::document::{Walk, told};
use super::recording;
use crate::action::{self, Actions, Requested};
use crate::answer::{Answer, TagBuilder};
use crate::arguments::{Arguments, MEDIA_ID};
use crate::dispatch::Call;
use crate::error::{ApiError, save_error};
use crate::list::ListRequest;
use crate::live::{ControlError, LiveConferences, MediaProblem};
use crate::tones;
use crate::view::Viewpoint;

/// What an action is.
#[derive(Clone, Copy)]
pub(crate) enum OnConference {
    /// A control of what runs, made of the arguments.
    Control(fn(Arguments) -> Result<Control, ApiError>),
    /// Calls others to it, whether it runs or not.
    Dial,
}

use OnConference::{Control as Controls, Dial};

/// What can be done to a conference.
pub(crate) const ACTIONS: Actions<OnConference> = Actions {
    built: &[
        ("lock", Controls(|_| Ok(Control::Lock))),
        ("unlock", Controls(|_| Ok(Control::Unlock))),
        ("play", Controls(|arguments| play(Audience::Everybody, arguments))),
        ("record", Controls(Arguments::record)),
        ("dial", Dial),
        (
            "stop_play",
            Controls(|arguments| stop_play(Audience::Everybody, arguments)),
        ),
        ("end", Controls(|_| Ok(Control::End))),
    ],
    prepared: &[],
    refused: &["vars"],
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

    /// Checks the sounds that a change of a document names, in the language that the document has with it.
    async fn check_change(&self, account: &AccountId, change: &Body) -> Result<(), ApiError> {
        if !tones::names_any(change) {
            return Ok(());
        }
        let stored = self.stored(account).await?;
        let stored = stored.as_ref().map(|document| &document.body);
        let body = stored
            .filter(|_| !change.contains_key("language"))
            .unwrap_or(change);
        let language = language(body, self.language_of(account).await?.as_deref());
        let wrong = tones::check(&*self.state.conferences, account, &language, change, stored).await;
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(wrong.into())
        }
    }

    async fn stored(&self, account: &AccountId) -> Result<Option<Document>, ApiError> {
        let found = self
            .state
            .store
            .conference(account, &self.conference_id())
            .await?;
        Ok(found)
    }

    /// Returns the language of an account's prompts.
    pub(super) async fn language_of(&self, account: &AccountId) -> Result<Option<String>, ApiError> {
        let found = self.state.store.account(account).await?;
        Ok(found.map(|account| account.language))
    }

    /// [`check_document`] for a request.
    async fn check_document(
        &self,
        account: &AccountId,
        document: &Body,
        stored: Option<&Body>,
    ) -> Result<(), ApiError> {
        let (store, conferences) = (&self.state.store, &*self.state.conferences);
        check_document((store, conferences), account, document, stored).await
    }
}

/// Checks the sounds that a document names; with what else is wrong with it, so that all is told at once.
pub(super) async fn check_document(
    (store, conferences): (&Store, &dyn LiveConferences),
    account: &AccountId,
    document: &Body,
    stored: Option<&Body>,
) -> Result<(), ApiError> {
    if !tones::names_any(document) {
        return Ok(());
    }
    let own = store.account(account).await?.map(|account| account.language);
    let language = language(document, own.as_deref());
    let mut wrong = tones::check(conferences, account, &language, document, stored).await;
    if wrong.is_empty() {
        return Ok(());
    }
    if let Err(others) = confab_documents::check_conference(document.clone()) {
        others.iter().for_each(|other| wrong.push(other.clone()));
    }
    Err(wrong.into())
}

/// `GET /conferences`.
pub(super) async fn list(call: &Call<'_>) -> Result<Answer, ApiError> {
    let account = call.account()?;
    let request = ListRequest::parse(call.query)?;
    let scope = ListScope::Account(account.clone());
    let viewpoint = call.viewpoint();
    let mut walk = Walk::new(request, &scope, Kind::Conference, None);
    let (mut items, mut tag) = (Vec::new(), TagBuilder::default());
    while let Some(documents) = walk.next(call).await? {
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
    }
    let (page, tag) = walk.over(tag);
    Ok(Answer {
        etag: Some(tag.finish()),
        page,
        ..Answer::ok(items)
    })
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
    call.check_document(account, &body, None).await?;
    let document = call.state.store.create(account, Kind::Conference, body).await;
    let document = document.map_err(|error| save_error(&wanted, error))?;
    announce(call, account, &document).await?;
    let location = format!("/v2/accounts/{account}/conferences/{}", document.id);
    Ok(Answer {
        location: Some(location),
        status: StatusCode::CREATED,
        ..told(call, &document).await?
    })
}

/// `GET /conferences/{C}`.
pub(super) async fn show(call: &Call<'_>) -> Result<Answer, ApiError> {
    let (document, snapshot) = call.conference().await?;
    let live = call.viewpoint().read_only(snapshot.as_ref());
    let mut data = match &document {
        Some(document) => document.public(),
        None => ad_hoc(call).await?,
    };
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

/// Returns what stands for the document of a running conference that has none: what the dial that made it said, else the defaults.
async fn ad_hoc(call: &Call<'_>) -> Result<Body, ApiError> {
    let (account, id) = (call.account()?, call.conference_id());
    let mut body = call.state.dialer.ad_hoc(account, &id).unwrap_or_default();
    body.shift_remove("id");
    let mut value = json!({ "id": id.as_str() });
    if let Value::Object(whole) = &mut value {
        whole.extend(body);
    }
    Kind::Conference.fill_defaults(&mut value);
    Ok(match value {
        Value::Object(body) => body,
        _ => Body::new(),
    })
}

/// `POST /conferences/{C}`.
pub(super) async fn replace(call: &Call<'_>) -> Result<Answer, ApiError> {
    let (account, id) = (call.account()?, call.conference_id());
    let body = call.envelope.data_object()?;
    let stored = call.stored(account).await?;
    call.check_document(account, &body, stored.as_ref().map(|stored| &stored.body))
        .await?;
    let saved_document = call
        .state
        .store
        .replace(account, Kind::Conference, id.as_str(), body, &call.expected())
        .await;
    let document = saved_document.map_err(|error| save_error(id.as_str(), error))?;
    announce(call, account, &document).await?;
    told(call, &document).await
}

/// `PATCH /conferences/{C}`.
pub(super) async fn patch(call: &Call<'_>) -> Result<Answer, ApiError> {
    let (account, id) = (call.account()?, call.conference_id());
    let change = call.envelope.data_object()?;
    call.check_change(account, &change).await?;
    let saved_document = call
        .state
        .store
        .patch(account, Kind::Conference, id.as_str(), change, &call.expected())
        .await;
    let document = saved_document.map_err(|error| save_error(id.as_str(), error))?;
    announce(call, account, &document).await?;
    told(call, &document).await
}

/// Tells a running instance what its document says from here on.
async fn announce(call: &Call<'_>, account: &AccountId, document: &Document) -> Result<(), ApiError> {
    let id = ConferenceId::from(document.id.as_str());
    let settings = call.state.store.settings(document).await?;
    call.state.conferences.updated(account, &id, settings).await;
    Ok(())
}

/// `PUT /conferences/{C}`: an action. What is not running takes no effect and is no error.
pub(super) async fn control(call: &Call<'_>) -> Result<Answer, ApiError> {
    let requested = action::resolve(call.envelope, call.query, &ACTIONS);
    let make = match &requested {
        // Whoever dials may make the conference by it.
        Ok(Requested { action: Dial, .. }) => return dial::run(call, requested?).await,
        Ok(Requested {
            action: Controls(make),
            ..
        }) => Some(*make),
        Err(_) => None,
    };
    call.conference().await?;
    let requested = requested?;
    let make = make.ok_or(ApiError::Internal)?;
    let control = make(Arguments::new(requested.name, requested.arguments))?;
    let did = match &control {
        Control::StartRecording { .. } => "starting recording",
        Control::StopRecording => "stopping recording",
        Control::PauseRecording => "pausing recording",
        Control::ResumeRecording => "resuming recording",
        _ => "ok",
    };
    match call.carry_out(control).await? {
        Ok(()) | Err(ControlError::NotRunning) => Ok(recording::answer(did)),
        Err(error) => Err(error.into()),
    }
}

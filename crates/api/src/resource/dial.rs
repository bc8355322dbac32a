//! Owns the action that calls others to a conference, whoever asks for it: what its arguments mean, and how its outcome is told. Never calls
//! anybody.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::StatusCode;
use confab_conference::{AccountId, ConferenceId};
use confab_documents::{Body, Document, Kind, Rule, Store, Violation, Violations};
use serde_json::{Map, Value, json};

use super::conference::check_document;
use crate::action::Requested;
use crate::answer::Answer;
use crate::arguments::Arguments;
use crate::dialling::{
    DialAnswer, DialEndpoint, DialRefusal, DialRequest, Dialer, EndpointAnswer, ParticipantFlags,
};
use crate::dispatch::Call;
use crate::error::ApiError;
use crate::live::LiveConferences;
use crate::query::Query;

/// How long an endpoint rings when the request does not say, seconds.
const RING_S: u64 = 20;
/// The longest name of a conference that a dial makes, octets.
const LONGEST_ID: usize = 128;
/// Parameters of a query that are the interface's own.
const OWN_PARAMETERS: [&str; 18] = [
    "accept",
    "action",
    "ascending",
    "auth_token",
    "authorization",
    "created_from",
    "created_to",
    "descending",
    "has_key",
    "is_chunked",
    "jsonp",
    "key_missing",
    "page_size",
    "paginate",
    "pretty_print",
    "random",
    "start_key",
    "verb",
];
/// What all variables together may take, octets: every event of the participant carries them.
const MOST_VARIABLES: usize = 8192;

/// What a dial needs.
#[derive(Clone, Copy)]
pub(crate) struct DialDesk<'a> {
    pub(crate) store: &'a Store,
    pub(crate) conferences: &'a dyn LiveConferences,
    pub(crate) dialer: &'a dyn Dialer,
}

/// What a dial is given, wherever it comes from.
pub(crate) struct DialGiven<'a> {
    /// What keeps the rules of the action's schema.
    pub(crate) arguments: Map<String, Value>,
    /// What stands around them.
    pub(crate) outer: Option<&'a Map<String, Value>>,
    /// Variables beside them, which those of the arguments go before.
    pub(crate) vars: BTreeMap<String, String>,
}

/// `PUT /conferences/{C}` with the action `dial`.
pub(super) async fn run<T>(call: &Call<'_>, requested: Requested<T>) -> Result<Answer, ApiError> {
    let desk = DialDesk {
        store: &call.state.store,
        conferences: &*call.state.conferences,
        dialer: &*call.state.dialer,
    };
    let given = DialGiven {
        arguments: Arguments::new(requested.name, requested.arguments).dial()?,
        outer: call.envelope.get("data").and_then(Value::as_object),
        vars: vars_of(call.query),
    };
    let data = match desk.dial(call.account()?, &call.conference_id(), given).await? {
        DialAnswer::Endpoints(all) => {
            json!({ "endpoint_responses": all.iter().map(entry).collect::<Vec<_>>() })
        }
        DialAnswer::NoServer => {
            json!({ "status": "error", "message": "conference dial failed to find a media server" })
        }
    };
    Ok(Answer::new(StatusCode::ACCEPTED, data))
}

impl DialDesk<'_> {
    /// Calls whom the arguments name, and answers when each has joined, failed, or rung for its time.
    pub(crate) async fn dial(
        self,
        account: &AccountId,
        id: &ConferenceId,
        given: DialGiven<'_>,
    ) -> Result<DialAnswer, ApiError> {
        let request = self.request(account, id, given).await?;
        let answer = self.dialer.dial(account, id, request).await;
        answer.map_err(refused)
    }

    /// Checks all that can be checked before anybody is looked for.
    async fn request(
        self,
        account: &AccountId,
        id: &ConferenceId,
        given: DialGiven<'_>,
    ) -> Result<DialRequest, ApiError> {
        let DialGiven {
            arguments,
            outer,
            vars,
        } = given;
        if id.as_str().len() > LONGEST_ID {
            return Err(ApiError::UnknownId(id.to_string()));
        }
        let stored = self.store.conference(account, id).await?;
        let is_ad_hoc = stored.is_none();
        let changes = changes(&arguments, outer);
        if !changes.is_empty() {
            check_document((self.store, self.conferences), account, &changes, None).await?;
        }
        let conference = match stored {
            Some(stored) if changes.is_empty() => stored,
            stored => {
                let mut body = stored.map(|stored| stored.body).unwrap_or_default();
                body.extend(changes);
                Document::unsaved(account, Kind::Conference, id.as_str(), body)?
            }
        };
        let endpoints = endpoints(&arguments, &conference)?;
        let (name, number) = self.store.shown_caller(&conference).await?;
        Ok(DialRequest {
            told: told(&arguments, &endpoints),
            endpoints,
            caller_id_name: text(&arguments, "caller_id_name").or(name),
            caller_id_number: text(&arguments, "caller_id_number").or(number),
            flags: flags(&arguments),
            outbound_flags: texts(&arguments, "outbound_flags"),
            ring_time: Duration::from_secs(
                arguments.get("timeout").and_then(Value::as_u64).unwrap_or(RING_S),
            ),
            call_id: text(&arguments, "outbound_call_id"),
            application_vars: application_vars(&arguments, outer, vars)?,
            settings: self.store.settings(&conference).await?,
            conference,
            is_ad_hoc,
        })
    }
}

fn refused(refusal: DialRefusal) -> ApiError {
    match refusal {
        DialRefusal::Invalid(violations) => violations.into(),
        DialRefusal::Store(error) => error.into(),
    }
}

fn entry(answer: &EndpointAnswer) -> Value {
    let mut entry = json!({ "endpoint_id": answer.endpoint_id, "job_id": answer.job_id });
    if let Some(device) = &answer.device_id {
        entry["device_id"] = device.as_str().into();
    }
    match &answer.outcome {
        Ok(call_id) => {
            entry["call_id"] = call_id.as_str().into();
            entry["message"] = format!("dial resulted in call id {call_id}").into();
            entry["status"] = "success".into();
        }
        Err(why) => {
            entry["message"] = why.as_str().into();
            entry["status"] = "error".into();
        }
    }
    entry
}

fn text(arguments: &Map<String, Value>, key: &str) -> Option<String> {
    let text = arguments.get(key)?.as_str()?;
    (!text.is_empty()).then(|| text.to_owned())
}

fn texts(arguments: &Map<String, Value>, key: &str) -> Vec<String> {
    let given = arguments.get(key).and_then(Value::as_array);
    let texts = given.into_iter().flatten().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

fn flags(arguments: &Map<String, Value>) -> ParticipantFlags {
    let mut flags = ParticipantFlags::default();
    let names = arguments.get("participant_flags").and_then(Value::as_array);
    for name in names.into_iter().flatten().filter_map(Value::as_str) {
        flags.raise(name);
    }
    flags
}

/// Returns what the request says of the conference itself: the keys of its schema, those of the arguments before those beside them.
fn changes(arguments: &Map<String, Value>, outer: Option<&Map<String, Value>>) -> Body {
    let known = Kind::Conference.schema_json()["properties"].as_object();
    let keys = known.into_iter().flat_map(|known| known.keys());
    keys.filter_map(|key| {
        let value = arguments.get(key).or_else(|| outer?.get(key))?;
        Some((key.clone(), value.clone()))
    })
    .collect()
}

fn endpoints(arguments: &Map<String, Value>, conference: &Document) -> Result<Vec<DialEndpoint>, Violations> {
    let mut broken = Violations::default();
    let given = arguments.get("endpoints").and_then(Value::as_array);
    let given = given.into_iter().flatten().enumerate();
    let read = given.filter_map(|(place, endpoint)| match endpoint {
        Value::String(name) => Some(DialEndpoint::Named(name.clone())),
        Value::Object(body) => {
            // Without an id of its own it is the dial's: the place tells it from the others.
            let id = body.get("id").and_then(Value::as_str);
            let id = id.map_or_else(generated_id, str::to_owned);
            match Document::unsaved(&conference.account_id, Kind::Device, &id, body.clone()) {
                Ok(device) => Some(DialEndpoint::Device(Box::new(device))),
                Err(violations) => {
                    for violation in violations.iter().cloned() {
                        let field = format!("endpoints.{place}.{}", violation.field);
                        broken.push(Violation { field, ..violation });
                    }
                    None
                }
            }
        }
        _ => None,
    });
    let read = read.collect();
    if broken.is_empty() { Ok(read) } else { Err(broken) }
}

/// Returns what listeners of commands are told: the arguments of the dial itself, of devices that are written out only the ids.
fn told(arguments: &Map<String, Value>, endpoints: &[DialEndpoint]) -> Map<String, Value> {
    const KEYS: [&str; 8] = [
        "caller_id_name",
        "caller_id_number",
        "participant_flags",
        "profile_name",
        "target_call_id",
        "timeout",
        "outbound_call_id",
        "outbound_flags",
    ];
    let said = KEYS
        .iter()
        .filter_map(|key| Some(((*key).to_owned(), arguments.get(*key)?.clone())));
    let mut told: Map<String, Value> = said.collect();
    let endpoints = endpoints.iter().map(|endpoint| match endpoint {
        DialEndpoint::Named(name) => name.as_str(),
        DialEndpoint::Device(device) => device.id.as_str(),
    });
    told.insert("endpoints".to_owned(), endpoints.collect());
    told
}

fn generated_id() -> String {
    crate::token::random_text()[..32].to_owned()
}

/// Returns the variables that a query has beside what is the interface's own.
fn vars_of(query: &Query) -> BTreeMap<String, String> {
    let from_query = query.iter().filter(|(name, _)| {
        !OWN_PARAMETERS.contains(name) && !name.starts_with("filter_") && !name.is_empty()
    });
    from_query
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Returns the variables of the arguments, of what is around them, and those beside, each before the next.
fn application_vars(
    arguments: &Map<String, Value>,
    outer: Option<&Map<String, Value>>,
    beside: BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, ApiError> {
    const KEY: &str = "custom_application_vars";
    let mut all = beside;
    for place in [outer, Some(arguments)].into_iter().flatten() {
        match place.get(KEY) {
            None | Some(Value::Null) => {}
            Some(Value::Object(vars)) => {
                for (name, value) in vars {
                    let value = match value {
                        Value::String(text) => text.clone(),
                        Value::Number(_) | Value::Bool(_) => value.to_string(),
                        _ => {
                            let field = format!("{KEY}.{name}");
                            return Err(Violation::wrong_type(field, "string, number, boolean", value).into());
                        }
                    };
                    all.insert(name.clone(), value);
                }
            }
            Some(other) => return Err(Violation::wrong_type(KEY, "object", other).into()),
        }
    }
    let size: usize = all.iter().map(|(name, value)| name.len() + value.len()).sum();
    if size > MOST_VARIABLES {
        let message = format!("The variables must not be larger than {MOST_VARIABLES} bytes");
        return Err(Violation::new(KEY, Rule::Invalid, message)
            .with_target(MOST_VARIABLES.into())
            .into());
    }
    Ok(all)
}

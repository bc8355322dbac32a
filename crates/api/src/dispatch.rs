//! Owns the path of a request from the socket's side to an operation and back: the order of checks of the contract.
//! Never knows what an operation does.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use confab_conference::AccountId;
use confab_documents::{Account, Kind, is_id};

use crate::answer::{self, Answer, Frame};
use crate::body::Envelope;
use crate::error::{ApiError, allow_list};
use crate::intake::Sender;
use crate::query::Query;
use crate::rate_limit::{LOGIN_COST, REQUEST_COST};
use crate::resource;
use crate::rights::Rights;
use crate::route::{self, Destination, Match, Operation, PathAccount, Verb};
use crate::state::ApiState;
use crate::token::{BadToken, Identity, random_text};
use crate::upload::Form;

/// The longest request id taken from a client.
const MAX_REQUEST_ID: usize = 128;

/// A request that passed every check before its operation.
pub(crate) struct Call<'a> {
    pub(crate) state: &'a ApiState,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) query: &'a Query,
    pub(crate) envelope: &'a Envelope,
    pub(crate) matched: &'a Match,
    /// The file that the request brings, as it is in its body.
    pub(crate) upload: Option<(Form, &'a Bytes)>,
    /// The account whose resources are asked for; for a path that names none, the token's own.
    pub(crate) account: Option<AccountId>,
    /// The token's text and who it stands for.
    pub(crate) login: Option<(String, Identity)>,
}

impl Call<'_> {
    /// Returns the account whose resources are asked for.
    pub(crate) fn account(&self) -> Result<&AccountId, ApiError> {
        self.account.as_ref().ok_or(ApiError::InvalidCredentials)
    }
}

/// Answers every request that no other route takes.
pub(crate) async fn handle(State(state): State<ApiState>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let query = Query::parse(parts.uri.query());
    let mut frame = frame(&state, &parts, &query);
    let result = match route::find(parts.uri.path()) {
        Destination::Nothing => Err(ApiError::UnknownPath),
        Destination::VersionGone => Err(ApiError::VersionGone),
        Destination::Route(matched) => {
            frame.allow = allow_list(matched.route.verbs());
            if parts.method == Method::OPTIONS {
                return frame.options();
            }
            run(&state, &parts, body, &query, &matched, &mut frame).await
        }
    };
    // What fails before anybody is known costs too.
    let result = match (&frame.budget, result) {
        (None, Err(error)) => match take_budget(&state, &parts, None, REQUEST_COST) {
            Ok(budget) => {
                frame.budget = budget;
                Err(error)
            }
            Err(exhausted) => Err(exhausted),
        },
        (_, result) => result,
    };
    let answer = result.unwrap_or_else(ApiError::into_answer);
    tracing::debug!(request_id = %frame.request_id, method = %parts.method, status = answer.status.as_u16(), "request");
    frame.respond(answer)
}

/// The methods of the routes beside `/v2`.
const PLAIN_METHODS: &str = "GET, HEAD, OPTIONS";

/// Answers other methods than GET on the routes beside `/v2`.
pub(crate) async fn handle_plain(State(state): State<ApiState>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let mut frame = frame(&state, &parts, &Query::parse(parts.uri.query()));
    frame.allow = PLAIN_METHODS.into();
    if parts.method == Method::OPTIONS {
        return frame.options();
    }
    frame.respond(ApiError::MethodNotAllowed.into_answer())
}

/// Lets pages of other origins read the routes beside `/v2`.
pub(crate) async fn let_browsers_in(request: Request, next: Next) -> Response {
    let is_cross_origin = request.headers().contains_key(header::ORIGIN);
    let mut response = next.run(request).await;
    if is_cross_origin {
        answer::let_browsers_in(response.headers_mut(), PLAIN_METHODS);
    }
    response
}

/// Answers `/metrics` on the public address: for the master account only.
pub(crate) async fn metrics(State(state): State<ApiState>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let query = Query::parse(parts.uri.query());
    let mut frame = frame(&state, &parts, &query);
    frame.allow = allow_list([Verb::Get].into_iter());
    let allowed = async {
        let login = identify(&state, &parts, &query, &Envelope::default());
        frame.budget = take_budget(&state, &parts, login.as_ref().ok(), REQUEST_COST)?;
        let (_, identity) = login?;
        let master = state.store.bootstrap_account().await?;
        let is_master = master.is_some_and(|master| master.id == identity.account);
        if is_master && identity.rights == Rights::Administrator {
            Ok(())
        } else {
            Err(ApiError::Forbidden)
        }
    };
    match allowed.await {
        Ok(()) => crate::health::metrics(&state.probes),
        Err(error) => frame.respond(error.into_answer()),
    }
}

fn frame(state: &ApiState, parts: &Parts, query: &Query) -> Frame {
    let header_text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let request_id = header_text("x-request-id").filter(|id| (1..=MAX_REQUEST_ID).contains(&id.len()));
    let pretty_header = header_text("x-pretty-print").is_some_and(|text| text.eq_ignore_ascii_case("true"));
    Frame {
        request_id: request_id.map_or_else(|| random_text()[..32].to_owned(), str::to_owned),
        node: state.config.node.clone(),
        version: state.config.version.clone(),
        unix: state.clock.unix().as_secs(),
        token: None,
        budget: None,
        pretty: pretty_header || query.says("pretty_print", true),
        cross_origin: parts.headers.contains_key(header::ORIGIN),
        allow: "GET, PUT, POST, PATCH, DELETE, OPTIONS".into(),
        reads: [Method::GET, Method::HEAD].contains(&parts.method),
        if_none_match: list_header(&parts.headers, &header::IF_NONE_MATCH),
    }
}

/// Returns the members of a header that holds a comma-separated list, in all its lines.
pub(crate) fn list_header(headers: &HeaderMap, name: &header::HeaderName) -> Vec<String> {
    let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
    lines
        .flat_map(|line| line.split(','))
        .map(|member| member.trim().to_owned())
        .collect()
}

async fn run(
    state: &ApiState,
    parts: &Parts,
    body: axum::body::Body,
    query: &Query,
    matched: &Match,
    frame: &mut Frame,
) -> Result<Answer, ApiError> {
    let form = upload_form(parts, query, matched);
    let sender = match (identify(state, parts, query, &Envelope::default()), form) {
        (Ok(_), Some(form)) => Sender::Uploader(form.limit()),
        (Ok(_), None) => Sender::Known,
        (Err(_), _) => Sender::Stranger,
    };
    let taken = state.intake.read(body, sender).await?;
    // A faulty body is told of only to those who may know the resource: until then, it is as good as none.
    let parsed = match form {
        Some(_) => Ok(Envelope::default()),
        None => Envelope::parse(&parts.headers, &taken.bytes),
    };
    let empty = Envelope::default();
    let envelope = parsed.as_ref().unwrap_or(&empty);

    let verb = effective_verb(&parts.method, query, envelope).ok_or(ApiError::MethodNotAllowed)?;
    let mut operation = matched.route.operation(verb).ok_or(ApiError::MethodNotAllowed)?;
    if form.is_some() {
        operation = Operation::UploadMedia;
    }
    let known = check_account_id(state, &matched.account).await?;
    check_ids(matched)?;
    let (account, login) = authenticate(state, parts, query, envelope, matched, operation, frame).await?;
    if let Some((_, identity)) = &login {
        check_enabled(state, identity, known).await?;
        let about = account.as_ref().unwrap_or(&identity.account);
        crate::rights::check(identity, operation, about, matched.parameter("user_id"), envelope)?;
    }
    let envelope = &parsed?;
    let call = Call {
        state,
        headers: &parts.headers,
        query,
        envelope,
        matched,
        upload: form.map(|form| (form, &taken.bytes)),
        account,
        login,
    };
    resource::run(operation, &call).await
}

/// Returns how a request has the file that it brings; `None` for one that brings none.
fn upload_form(parts: &Parts, query: &Query, matched: &Match) -> Option<Form> {
    let stands_for_post = query
        .get("verb")
        .is_none_or(|verb| verb.eq_ignore_ascii_case(Verb::Post.name()));
    if parts.method != Method::POST || !stands_for_post {
        return None;
    }
    match matched.route.operation(Verb::Post)? {
        Operation::UploadMedia => Form::of(&parts.headers, true),
        Operation::Replace(Kind::Media) => Form::of(&parts.headers, false),
        _ => None,
    }
}

/// Returns the verb a request stands for: POST may carry another one in the query or in the body.
fn effective_verb(method: &Method, query: &Query, envelope: &Envelope) -> Option<Verb> {
    let verb = Verb::of(method)?;
    let tunnelled = query.get("verb").or_else(|| envelope.text("verb"));
    match (verb, tunnelled) {
        (Verb::Post, Some(name)) => Verb::parse(name),
        _ => Some(verb),
    }
}

/// Checks that the segments of the path can be ids at all: no store has to be asked for one with a NUL in it, and some cannot.
fn check_ids(matched: &Match) -> Result<(), ApiError> {
    match matched.parameters().find(|id| id.contains('\0')) {
        Some(id) => Err(ApiError::UnknownId(id.to_owned())),
        None => Ok(()),
    }
}

/// Returns the account that the path names by its id.
async fn check_account_id(state: &ApiState, account: &PathAccount) -> Result<Option<Account>, ApiError> {
    let PathAccount::Id(id) = account else {
        return Ok(None);
    };
    if id.len() != 32 {
        return Err(ApiError::MalformedAccountId(id.clone()));
    }
    let known = if is_id(id) {
        state.store.account(&AccountId::from(id.as_str())).await?
    } else {
        None
    };
    match known {
        Some(account) => Ok(Some(account)),
        None => Err(ApiError::UnknownId(id.clone())),
    }
}

/// Checks that the account of a token is still there and may still ask; `known` is the account of the path.
async fn check_enabled(
    state: &ApiState,
    identity: &Identity,
    known: Option<Account>,
) -> Result<(), ApiError> {
    let own = match known.filter(|known| known.id == identity.account) {
        Some(own) => Some(own),
        None => state.store.account(&identity.account).await?,
    };
    match own {
        Some(own) if own.enabled => Ok(()),
        Some(_) => Err(ApiError::Locked),
        None => Err(ApiError::TokenEnded),
    }
}

/// Finds out who asks, takes his budget, and checks that he may ask for the path's account.
async fn authenticate(
    state: &ApiState,
    parts: &Parts,
    query: &Query,
    envelope: &Envelope,
    matched: &Match,
    operation: Operation,
    frame: &mut Frame,
) -> Result<(Option<AccountId>, Option<(String, Identity)>), ApiError> {
    if operation.is_public() {
        let cost = if operation.is_login() {
            LOGIN_COST
        } else {
            REQUEST_COST
        };
        frame.budget = take_budget(state, parts, None, cost)?;
        return Ok((None, None));
    }
    let login = identify(state, parts, query, envelope);
    frame.budget = take_budget(state, parts, login.as_ref().ok(), REQUEST_COST)?;
    let (token, identity) = login?;
    frame.token = Some(token.clone());
    let account = match &matched.account {
        PathAccount::None | PathAccount::Own => identity.account.clone(),
        PathAccount::Id(id) => AccountId::from(id.as_str()),
    };
    if !state.store.may_act_on(&identity.account, &account).await? {
        return Err(ApiError::Forbidden);
    }
    Ok((Some(account), Some((token, identity))))
}

fn take_budget(
    state: &ApiState,
    parts: &Parts,
    login: Option<&(String, Identity)>,
    cost: u32,
) -> Result<Option<crate::rate_limit::Budget>, ApiError> {
    let account = login.map(|(_, identity)| &identity.account);
    let taken = state
        .limits
        .take(state.clock.monotonic(), client(parts), account, cost);
    taken.map_err(|_| ApiError::TooManyRequests)
}

fn client(parts: &Parts) -> Option<IpAddr> {
    parts
        .extensions
        .get::<ConnectInfo<SocketAddr>>()
        .map(|ConnectInfo(address)| address.ip())
}

/// Finds the token in the places where clients put it, the first one counting, and who it stands for.
fn identify(
    state: &ApiState,
    parts: &Parts,
    query: &Query,
    envelope: &Envelope,
) -> Result<(String, Identity), ApiError> {
    let header_text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let places = [
        header_text("x-auth-token"),
        query.get("auth_token"),
        envelope.text("auth_token"),
        header_text("authorization").and_then(bearer),
        query
            .get("authorization")
            .map(|text| bearer(text).unwrap_or(text)),
    ];
    let token = places
        .into_iter()
        .flatten()
        .map(str::trim)
        .find(|token| !token.is_empty());
    let token = token.ok_or(ApiError::InvalidCredentials)?;
    match state.tokens.identify(state.clock.monotonic(), token) {
        Ok(identity) => Ok((token.to_owned(), identity)),
        Err(BadToken::Unknown) => Err(ApiError::InvalidCredentials),
        Err(BadToken::Ended) => Err(ApiError::TokenEnded),
    }
}

/// Returns the token of a bearer authorization (RFC 6750 §2.1), the scheme in any case.
fn bearer(text: &str) -> Option<&str> {
    let (scheme, token) = text.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

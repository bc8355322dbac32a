//! Calls that another media server bridges to a conference: it calls the conference's id and shows the conference's own credentials.
//!
//! An id is never dialled without them, and whoever calls one is asked for them whether there is such a conference or not.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use confab_conference::{ConferenceId, Role};
use confab_documents::{DialPlan, Document, call_flow, is_id, settings_with};
use confab_reception::{RoleSoFar, Source, Verdict};
use confab_sip::{
    ByteStr, DigestCredentials, DigestServer, DigestVerdict, Flow, HeaderName, Request, StatusCode,
};

use super::{CallServer, Refused, set_up::refused_route};
use crate::signalling::routing::{self, Destination, Reached, RoutingError};

/// How long a challenge can be answered.
const CHALLENGE_LIFETIME: Duration = Duration::from_secs(60);
/// Says that the caller leads the conference.
const MODERATOR: &str = "X-Conf-Flags-Moderator";

/// Asks for credentials and verifies them.
pub(crate) struct Challenger(Mutex<DigestServer>);

impl Challenger {
    /// Returns one with a key of its own: what it has asked nobody else can have asked.
    pub(crate) fn new() -> Challenger {
        let server = DigestServer::new(rand::random(), Instant::now(), CHALLENGE_LIFETIME);
        Challenger(Mutex::new(server))
    }

    fn server(&self) -> MutexGuard<'_, DigestServer> {
        // Held for single operations.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn challenge(&self, realm: &str, stale: bool) -> Refused {
        let challenges = self.server().challenges(Instant::now(), realm, stale);
        let refused = Refused::new(
            StatusCode::UNAUTHORIZED,
            "the conference asks for its credentials",
        );
        challenges.into_iter().fold(refused, |refused, challenge| {
            refused.with_header(HeaderName::WwwAuthenticate, challenge)
        })
    }
}

/// Returns the id that a request calls, if it calls one.
pub(super) fn id_called(request: &Request) -> Option<String> {
    let user = request.uri.as_sip()?.user_decoded()?;
    Some(user.to_str_lossy().into_owned()).filter(|user| is_id(user))
}

/// Lets a call in that shows the credentials of the conference `id`.
pub(super) async fn admit(
    server: &CallServer,
    request: &Request,
    flow: Flow,
    id: &str,
) -> Result<Reached, Refused> {
    let refused = |error: RoutingError| refused_route(&error);
    let uri = request
        .uri
        .as_sip()
        .ok_or(RoutingError::NoNumber)
        .map_err(refused)?;
    let account = routing::account(&server.store, &server.local, uri)
        .await
        .map_err(refused)?;
    let store_failed = |error| refused(RoutingError::Store(error));
    let conference = ConferenceId::from(id);
    let found = server
        .store
        .conference(&account.id, &conference)
        .await
        .map_err(store_failed)?;
    let configuration = server
        .store
        .conferences_configuration(&account.id)
        .await
        .map_err(store_failed)?;

    let values = request.headers.get_all(&HeaderName::Authorization);
    let credentials = values
        .filter_map(|value| DigestCredentials::parse(value))
        .find(|credentials| credentials.realm == account.realm);
    let Some(credentials) = credentials else {
        return Err(server.challenger.challenge(&account.realm, false));
    };
    let source = Source::of(flow.remote.ip());
    let wrong = || Refused::new(StatusCode::FORBIDDEN, "wrong credentials");
    if server.desk.is_blocked(&source) {
        return Err(wrong());
    }
    let own = found.as_ref().and_then(own_credentials);
    // Without credentials of its own a conference takes nobody's; that takes as long to find out.
    let (username, password) = own.unwrap_or_default();
    let now = Instant::now();
    let method = request.method.to_string();
    let verdict = server
        .challenger
        .server()
        .verify(now, &method, &credentials, password);
    let is_known = own.is_some() && credentials.username == username;
    match (verdict, found) {
        (DigestVerdict::Right, Some(document)) if is_known && account.enabled => {
            let says_moderator = request
                .headers
                .text(&HeaderName::from_token(ByteStr::from(MODERATOR)));
            let is_moderator = says_moderator.is_some_and(|value| value.eq_ignore_case("true"));
            let role = if is_moderator {
                Role::Moderator
            } else {
                Role::Member
            };
            let configuration = configuration.as_ref();
            Ok(Reached {
                plan: DialPlan::of(configuration, &account.language),
                destination: Some(Destination {
                    account: account.id.clone(),
                    conference,
                    settings: settings_with(
                        &document,
                        routing::account_defaults(configuration, &account.language),
                    ),
                    flow: call_flow(&document, configuration, &account.language),
                    role: RoleSoFar::Admitted(role),
                }),
                account,
            })
        }
        (DigestVerdict::Stale { was_right }, _) => {
            Err(server.challenger.challenge(&account.realm, was_right && is_known))
        }
        _ => {
            // Guessing it is as bad as guessing a PIN.
            let _: Verdict = server
                .desk
                .judge(&source, (&account.id, &ConferenceId::from(id)), false);
            Err(wrong())
        }
    }
}

/// Returns the username and the password of a conference that has both.
fn own_credentials(document: &Document) -> Option<(&str, &str)> {
    let text = |key| document.body.get(key)?.as_str().filter(|text| !text.is_empty());
    Some((text("bridge_username")?, text("bridge_password")?))
}

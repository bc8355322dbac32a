//! Calls that another media server bridges to a conference: it calls the conference's id and shows the conference's own credentials.
//!
//! An id is never dialled without them, and whoever calls one is asked for them whether there is such a conference or not.

use confab_conference::{ConferenceId, Role};
use confab_documents::{Account, Document, StoreError, is_id};
use confab_reception::{RoleSoFar, Source, Verdict};
use confab_sip::{ByteStr, DigestVerdict, Flow, HeaderName, Request, StatusCode};

use super::identity::{challenge, for_another_address, identify};
use super::{CallServer, Refused, set_up::refused_route};
use crate::signalling::routing::{self, Reached, RoutingError};

/// Says that the caller leads the conference.
const MODERATOR: &str = "X-Conf-Flags-Moderator";

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

    let Some(credentials) = server.registrar.gate().credentials(request, &account.realm) else {
        let origins = server.trunks.book().at(flow.remote.ip());
        if found.is_some() && origins.iter().any(|origin| origin.account == account.id) {
            return by_acquaintance(server, request, flow, account, found, configuration).await;
        }
        return Err(challenge(server, &account.realm, false));
    };
    let own = found.as_ref().and_then(own_credentials);
    let is_own = own.is_some_and(|(username, _)| username == credentials.username);
    if !is_own
        && is_device(server, &account.realm, &credentials.username)
            .await
            .map_err(store_failed)?
    {
        return by_acquaintance(server, request, flow, account, found, configuration).await;
    }
    let source = Source::of(flow.remote.ip());
    let wrong = || Refused::new(StatusCode::FORBIDDEN, "wrong credentials");
    if server.desk.is_blocked(&source) {
        return Err(wrong());
    }
    let (gate, devices) = (server.registrar.gate(), server.registrar.devices());
    if !gate
        .are_for(devices, &credentials, request)
        .await
        .map_err(store_failed)?
    {
        return Err(for_another_address());
    }
    // Without credentials of its own a conference takes nobody's; that takes as long to find out.
    let (_, password) = own.unwrap_or_default();
    let method = request.method.to_string();
    let verdict = server.registrar.gate().verify(&method, &credentials, password);
    match (verdict, found) {
        (DigestVerdict::Right, Some(document)) if is_own && account.enabled => {
            let says_moderator = request
                .headers
                .text(&HeaderName::from_token(ByteStr::from(MODERATOR)));
            let is_moderator = says_moderator.is_some_and(|value| value.eq_ignore_case("true"));
            let role = if is_moderator {
                Role::Moderator
            } else {
                Role::Member
            };
            let role = RoleSoFar::Admitted(role);
            Ok(Reached::by_document(
                account,
                &document,
                configuration.as_ref(),
                role,
            ))
        }
        (DigestVerdict::Stale { was_right: true }, _) if is_own => {
            Err(challenge(server, &account.realm, true))
        }
        (verdict, _) => {
            // Guessing it is as bad as guessing a PIN, with an old challenge too.
            let _: Verdict = server
                .desk
                .judge(&source, (&account.id, &ConferenceId::from(id)), false);
            match verdict {
                DigestVerdict::Stale { .. } => Err(challenge(server, &account.realm, false)),
                _ => Err(wrong()),
            }
        }
    }
}

async fn is_device(server: &CallServer, realm: &str, username: &str) -> Result<bool, StoreError> {
    let device = server.registrar.devices().by_username(realm, username).await?;
    Ok(device.is_some())
}

/// Lets a device or a trunk of the account in that calls a conference by its id: it is asked for a PIN as it would be by a number.
async fn by_acquaintance(
    server: &CallServer,
    request: &Request,
    flow: Flow,
    account: Account,
    found: Option<Document>,
    configuration: Option<Document>,
) -> Result<Reached, Refused> {
    let known = identify(server, request, flow).await?.in_account(&account.id);
    let is_ours = known.is_known();
    let Some(document) = found.filter(|_| is_ours) else {
        return Err(refused_route(&RoutingError::UnknownNumber));
    };
    let configuration = configuration.as_ref();
    let mut reached = Reached::by_document(account, &document, configuration, RoleSoFar::Undecided);
    reached.known = known;
    Ok(reached)
}

/// Returns the username and the password of a conference that has both.
fn own_credentials(document: &Document) -> Option<(&str, &str)> {
    let text = |key| document.body.get(key)?.as_str().filter(|text| !text.is_empty());
    Some((text("bridge_username")?, text("bridge_password")?))
}

//! Where a call goes: its account, its conference, and the role of the caller.
//!
//! Owns the rules of "account of a call" (ARCHITECTURE.md) and what a number means; asks the store, changes nothing.

use std::sync::Arc;

use confab_conference::{AccountId, ConferenceId, Settings};
use confab_documents::{
    Account, AccountDefaults, DialPlan, Document, Route, Store, StoreError, call_flow, settings_with,
};
use confab_reception::{CallFlow, RoleSoFar};
use confab_sip::{Request, SipUri, StatusCode};

use super::local::LocalAddresses;
use crate::registrar::devices::Device;

/// The conference that a call goes to.
#[derive(Debug, Clone)]
pub(crate) struct Destination {
    /// The account.
    pub(crate) account: AccountId,
    /// Its conference.
    pub(crate) conference: ConferenceId,
    /// What the conference's document says, for a conference that is not running yet.
    pub(crate) settings: Settings,
    /// How callers come in.
    pub(crate) flow: CallFlow,
    /// What the number says about the caller's role.
    pub(crate) role: RoleSoFar,
}

/// What a call has reached.
#[derive(Debug)]
pub(crate) struct Reached {
    /// The account.
    pub(crate) account: Account,
    /// What its numbers look like.
    pub(crate) plan: DialPlan,
    /// The conference; `None` where the caller is asked for its number.
    pub(crate) destination: Option<Destination>,
    /// The caller's device, where it is known and the account is its own.
    pub(crate) device: Option<Arc<Device>>,
}

/// Why a call goes nowhere.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RoutingError {
    /// The request URI is no SIP URI or has no user part.
    #[error("no number in the request URI")]
    NoNumber,
    /// The request URI's host is neither an account's realm nor this server.
    #[error("the host of the request URI is not served here")]
    UnknownHost,
    /// No conference has this number.
    #[error("no conference has this number")]
    UnknownNumber,
    /// Callers without credentials are not let in.
    #[error("callers without credentials are not let in")]
    Anonymous,
    /// The account is switched off.
    #[error("the account is disabled")]
    Disabled,
    /// The store does not answer.
    #[error("the store does not answer: {0}")]
    Store(#[from] StoreError),
}

impl RoutingError {
    /// The final response that says so.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::NoNumber | Self::UnknownHost | Self::UnknownNumber => StatusCode::NOT_FOUND,
            Self::Anonymous | Self::Disabled => StatusCode::FORBIDDEN,
            Self::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// What the peer is told; the store's own words stay in the log.
    pub(crate) fn public_text(&self) -> String {
        match self {
            Self::Store(_) => "the store does not answer".to_owned(),
            _ => self.to_string(),
        }
    }
}

/// Finds what an INVITE has reached: a conference by its number, or one of `service_numbers` (or of the account's own) that
/// ask for it.
///
/// # Errors
/// See [`RoutingError`].
pub(crate) async fn route(
    store: &Store,
    local: &LocalAddresses,
    anonymous_dial_in: bool,
    device: Option<Arc<Device>>,
    service_numbers: &[String],
    request: &Request,
) -> Result<Reached, RoutingError> {
    let uri = request.uri.as_sip().ok_or(RoutingError::NoNumber)?;
    let user = uri
        .user_decoded()
        .filter(|user| !user.is_empty())
        .ok_or(RoutingError::NoNumber)?;
    let (account, device) = account_for(store, local, uri, device).await?;
    if !anonymous_dial_in && device.is_none() {
        return Err(RoutingError::Anonymous);
    }
    let user = user.to_str_lossy();
    let configuration = store.conferences_configuration(&account.id).await?;
    let mut plan = DialPlan::of(configuration.as_ref(), &account.language);
    plan.service_numbers.extend_from_slice(service_numbers);
    let numbers = plan.forms(&user);
    let found = store.route_first(&account.id, &numbers).await?;
    let destination = found.map(|found| destination(&found, configuration.as_ref(), &account.language));
    if destination.is_none() && !plan.is_service(&user) {
        return Err(RoutingError::UnknownNumber);
    }
    if !account.enabled {
        return Err(RoutingError::Disabled);
    }
    Ok(Reached {
        account,
        plan,
        destination,
        device,
    })
}

/// Finds the conference of an account that has the first of these numbers that any has. `language` is the account's.
///
/// # Errors
/// The store does not answer.
pub(crate) async fn conference(
    store: &Store,
    account: &AccountId,
    language: &str,
    numbers: &[String],
) -> Result<Option<Destination>, StoreError> {
    let Some(found) = store.route_first(account, numbers).await? else {
        return Ok(None);
    };
    let configuration = store.conferences_configuration(account).await?;
    Ok(Some(destination(&found, configuration.as_ref(), language)))
}

/// Returns how callers come into a conference, as its document says at this time; `None` when there is none. `language` is the account's.
///
/// # Errors
/// The store does not answer.
pub(crate) async fn call_flow_of(
    store: &Store,
    account: &AccountId,
    conference: &ConferenceId,
    language: &str,
) -> Result<Option<CallFlow>, StoreError> {
    let Some(document) = store.conference(account, conference).await? else {
        return Ok(None);
    };
    let configuration = store.conferences_configuration(account).await?;
    Ok(Some(call_flow(&document, configuration.as_ref(), language)))
}

/// Puts together what an account says about all of its conferences.
pub(crate) fn account_defaults<'a>(
    configuration: Option<&'a Document>,
    language: &'a str,
) -> AccountDefaults<'a> {
    AccountDefaults {
        configuration,
        language: Some(language),
    }
}

fn destination(found: &Route, configuration: Option<&Document>, language: &str) -> Destination {
    let document = &found.document;
    Destination {
        account: document.account_id.clone(),
        conference: ConferenceId::from(document.id.as_str()),
        settings: settings_with(document, account_defaults(configuration, language)),
        flow: call_flow(document, configuration, language),
        role: found.role.so_far(),
    }
}

/// Says whether the host of a request URI is an account's realm or this server.
///
/// # Errors
/// [`RoutingError::UnknownHost`] or [`RoutingError::Store`].
pub(crate) async fn serves_host(
    store: &Store,
    local: &LocalAddresses,
    request: &Request,
) -> Result<(), RoutingError> {
    let uri = request.uri.as_sip().ok_or(RoutingError::UnknownHost)?;
    account(store, local, uri).await.map(drop)
}

impl Reached {
    /// Returns a conference that was reached by its id.
    pub(crate) fn by_document(
        account: Account,
        document: &Document,
        configuration: Option<&Document>,
        role: RoleSoFar,
    ) -> Reached {
        let language = &account.language;
        Reached {
            plan: DialPlan::of(configuration, language),
            destination: Some(Destination {
                account: account.id.clone(),
                conference: ConferenceId::from(document.id.as_str()),
                settings: settings_with(document, account_defaults(configuration, language)),
                flow: call_flow(document, configuration, language),
                role,
            }),
            account,
            device: None,
        }
    }
}

/// Finds the account that a call belongs to: a device's own when it calls this server's address or its realm, else that of the request
/// URI, where a device of another account is a stranger.
async fn account_for(
    store: &Store,
    local: &LocalAddresses,
    uri: &SipUri,
    device: Option<Arc<Device>>,
) -> Result<(Account, Option<Arc<Device>>), RoutingError> {
    let Some(device) = device else {
        return Ok((account(store, local, uri).await?, None));
    };
    let host = uri.host.to_string();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if local.is_own_host(bare) || host.eq_ignore_ascii_case(&device.realm) {
        let own = store.account(&device.key.account).await?;
        return Ok((own.ok_or(RoutingError::UnknownHost)?, Some(device)));
    }
    let account = account(store, local, uri).await?;
    let is_own = account.id == device.key.account;
    Ok((account, is_own.then_some(device)))
}

/// Finds the account that a request URI belongs to.
///
/// # Errors
/// [`RoutingError::UnknownHost`] or [`RoutingError::Store`].
pub(crate) async fn account(
    store: &Store,
    local: &LocalAddresses,
    uri: &SipUri,
) -> Result<Account, RoutingError> {
    let host = uri.host.to_string();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    // Before the realms: whoever may name his account's realm must not get the calls to the server's own address.
    if local.is_own_host(bare) {
        return store.bootstrap_account().await?.ok_or(RoutingError::UnknownHost);
    }
    store
        .account_by_realm(&host)
        .await?
        .ok_or(RoutingError::UnknownHost)
}

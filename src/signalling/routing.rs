//! Where a call goes: its account, its conference, and the role of the caller.
//!
//! Owns the rules of "account of a call" (ARCHITECTURE.md) and what a number means; asks the store, changes nothing.

use confab_conference::{AccountId, ConferenceId, Role, Settings};
use confab_documents::{Account, Store};
use confab_sip::{Request, SipUri, StatusCode};

use super::local::LocalAddresses;

/// Where a call goes.
#[derive(Debug, Clone)]
pub(crate) struct Destination {
    /// The account.
    pub(crate) account: AccountId,
    /// Its conference.
    pub(crate) conference: ConferenceId,
    /// What the conference's document says, for a conference that is not running yet.
    pub(crate) settings: Settings,
    /// The caller's role.
    pub(crate) role: Role,
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
    /// The conference asks for a PIN, which a caller cannot enter in this version.
    #[error("the conference asks for a PIN")]
    PinNeeded,
    /// The account is switched off.
    #[error("the account is disabled")]
    Disabled,
    /// The store does not answer.
    #[error("the store does not answer: {0}")]
    Store(#[from] confab_documents::StoreError),
}

impl RoutingError {
    /// The final response that says so.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::NoNumber | Self::UnknownHost | Self::UnknownNumber => StatusCode::NOT_FOUND,
            Self::Anonymous | Self::PinNeeded | Self::Disabled => StatusCode::FORBIDDEN,
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

/// Finds the destination of an INVITE.
///
/// # Errors
/// See [`RoutingError`].
pub(crate) async fn route(
    store: &Store,
    local: &LocalAddresses,
    anonymous_dial_in: bool,
    request: &Request,
) -> Result<Destination, RoutingError> {
    let uri = request.uri.as_sip().ok_or(RoutingError::NoNumber)?;
    let user = uri
        .user_decoded()
        .filter(|user| !user.is_empty())
        .ok_or(RoutingError::NoNumber)?;
    let account = account(store, local, uri).await?;
    if !anonymous_dial_in {
        return Err(RoutingError::Anonymous);
    }
    let found = store.route(&account.id, &user.to_str_lossy()).await?;
    let found = found.ok_or(RoutingError::UnknownNumber)?;
    if !account.enabled {
        return Err(RoutingError::Disabled);
    }
    if confab_documents::has_pins(&found.document) {
        return Err(RoutingError::PinNeeded);
    }
    Ok(Destination {
        conference: ConferenceId::from(found.document.id.as_str()),
        settings: store.settings(&found.document).await?,
        role: found.role.without_pin(),
        account: account.id,
    })
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

async fn account(store: &Store, local: &LocalAddresses, uri: &SipUri) -> Result<Account, RoutingError> {
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

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
use crate::{registrar::devices::Device, trunks::Origin};

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
    /// Who calls, as far as the account knows him.
    pub(crate) known: Known,
}

/// Who calls, as far as it is shown.
#[derive(Clone, Debug)]
pub(crate) enum Known {
    /// Nobody in particular.
    Stranger,
    /// A device.
    Device(Arc<Device>),
    /// Somebody behind a gateway of one of these trunks; of what has been reached, the one.
    Trunk(Vec<Origin>),
}

impl Known {
    /// The caller as one account knows him: devices and trunks of others are strangers.
    pub(super) fn in_account(self, account: &AccountId) -> Known {
        match self {
            Known::Device(device) if device.key.account == *account => Known::Device(device),
            Known::Trunk(origins) => {
                let own = origins.into_iter().find(|origin| origin.account == *account);
                own.map_or(Known::Stranger, |own| Known::Trunk(vec![own]))
            }
            _ => Known::Stranger,
        }
    }

    /// Whether he has shown who he is.
    pub(super) fn is_known(&self) -> bool {
        !matches!(self, Known::Stranger)
    }
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
    known: Known,
    service_numbers: &[String],
    request: &Request,
) -> Result<Reached, RoutingError> {
    let uri = request.uri.as_sip().ok_or(RoutingError::NoNumber)?;
    let user = uri
        .user_decoded()
        .filter(|user| !user.is_empty())
        .ok_or(RoutingError::NoNumber)?;
    let user = user.to_str_lossy();
    let accounts = accounts_for(store, local, uri, known).await?;
    let may_ask = |known: &Known| anonymous_dial_in || known.is_known();
    let mut numbers = vec![user.to_string()];
    if accounts.iter().any(|(_, known)| matches!(known, Known::Trunk(_))) {
        // Who has registered with a carrier is called by the name that he has there; the number stands in To.
        let to = request.headers.to().ok().flatten();
        let called = to.and_then(|to| Some(to.uri.as_sip()?.user_decoded()?.to_str_lossy().into_owned()));
        numbers.extend(called.filter(|called| !called.is_empty() && *called != *user));
    }
    let mut is_kept_out = false;
    for (account, known) in accounts {
        if !may_ask(&known) {
            is_kept_out = true;
            continue;
        }
        let configuration = store.conferences_configuration(&account.id).await?;
        let mut plan = DialPlan::of(configuration.as_ref(), &account.language);
        plan.service_numbers.extend_from_slice(service_numbers);
        let tried = match known {
            Known::Trunk(_) => &numbers[..],
            _ => &numbers[..1],
        };
        for number in tried {
            let found = store.route_first(&account.id, &plan.forms(number)).await?;
            let destination =
                found.map(|found| destination(&found, configuration.as_ref(), &account.language));
            if destination.is_none() && !plan.is_service(number) {
                continue;
            }
            if !account.enabled {
                return Err(RoutingError::Disabled);
            }
            return Ok(Reached {
                account,
                plan,
                destination,
                known,
            });
        }
    }
    // Another account may have it, for those who show who they are.
    Err(match is_kept_out {
        true => RoutingError::Anonymous,
        false => RoutingError::UnknownNumber,
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
            known: Known::Stranger,
        }
    }
}

/// Finds the accounts that a call may belong to, with whom each of them takes the caller for; the first of them that has the number has the
/// call.
///
/// A device's own when it calls this server's address or its realm, else that of the request URI, where a device of another account is a
/// stranger. Of a trunk, when it calls this server's address, first the account that has the address, then the trunk's: whoever may write a
/// trunk's document must not thereby get the calls of others. When several accounts have trunks at the caller's address, none of them is
/// preferred.
async fn accounts_for(
    store: &Store,
    local: &LocalAddresses,
    uri: &SipUri,
    known: Known,
) -> Result<Vec<(Account, Known)>, RoutingError> {
    let host = uri.host.to_string();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let is_here = local.is_own_host(bare);
    match known {
        Known::Stranger => Ok(vec![(account(store, local, uri).await?, Known::Stranger)]),
        Known::Device(device) if is_here || host.eq_ignore_ascii_case(&device.realm) => {
            let own = store.account(&device.key.account).await?;
            Ok(vec![(
                own.ok_or(RoutingError::UnknownHost)?,
                Known::Device(device),
            )])
        }
        Known::Trunk(origins) if is_here => {
            let mut found = Vec::new();
            if let Some(first) = store.bootstrap_account().await? {
                let known = Known::Trunk(origins.clone()).in_account(&first.id);
                found.push((first, known));
            }
            let mut others = origins.iter().map(|origin| &origin.account);
            let other = others.next().filter(|one| others.all(|another| another == *one));
            if let Some(other) = other
                && let Some(other) = store.account(other).await?
                && found.iter().all(|(first, _)| first.id != other.id)
            {
                let known = Known::Trunk(origins).in_account(&other.id);
                found.push((other, known));
            }
            Ok(found)
        }
        known => {
            let account = account(store, local, uri).await?;
            let known = known.in_account(&account.id);
            Ok(vec![(account, known)])
        }
    }
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

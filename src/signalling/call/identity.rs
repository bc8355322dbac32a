//! Who calls, as far as it is shown: a device by its credentials, or by an address that is trusted (`sip.method` is `ip`); somebody behind
//! a trunk by the address of its gateway.
//!
//! Owns who is asked for credentials: everybody who shows none, where callers without are not let in; else only who calls as a device
//! that has registered from where he calls. Others are taken for strangers, whatever they call themselves.

use std::sync::Arc;

use confab_conference::Caller;
use confab_documents::StoreError;
use confab_sip::{DigestCredentials, Flow, HeaderName, Headers, LINE, Request, StatusCode};

use super::{CallServer, Refused, number_of, set_up::refused_route};
use crate::registrar::devices::Device;
use crate::registrar::gate::Shown;
use crate::signalling::routing::{Known, RoutingError};
use crate::trunks::Origin;

/// Returns whom a request comes from.
///
/// # Errors
/// Why he is not: 401 asks for credentials, 403 is for wrong ones and for devices that are switched off.
pub(super) async fn identify(server: &CallServer, request: &Request, flow: Flow) -> Result<Known, Refused> {
    let found = find(server, request, flow).await;
    found.map_err(|failure| match failure {
        Failure::Refused(refused) => refused,
        Failure::Store(error) => refused_route(&RoutingError::Store(error)),
    })
}

/// Asks for credentials of a realm.
pub(super) fn challenge(server: &CallServer, realm: &str, stale: bool) -> Refused {
    let refused = Refused::new(StatusCode::UNAUTHORIZED, "credentials are asked for");
    let challenges = server.registrar.gate().challenges(realm, stale).into_iter();
    challenges.fold(refused, |refused, challenge| {
        refused.with_header(HeaderName::WwwAuthenticate, challenge)
    })
}

/// Notes what is known of a caller whose device this is.
pub(super) fn describe(caller: &mut Caller, device: &Device) {
    let known = [
        ("authorizing_id", Some(device.key.device.clone())),
        ("authorizing_type", Some("device".to_owned())),
        ("owner_id", device.owner.clone()),
        (
            "username",
            Some(device.username.clone()).filter(|name| !name.is_empty()),
        ),
        ("realm", Some(device.realm.clone())),
        ("presence_id", device.presence_id.clone()),
    ];
    for (name, value) in known {
        if let Some(value) = value {
            caller.channel_vars.insert(name.to_owned(), value);
        }
    }
    let (name, number) = &device.caller_id;
    if let Some(name) = name {
        caller.caller_id_name.clone_from(name);
    }
    if let Some(number) = number {
        caller.caller_id_number.clone_from(number);
    }
}

/// Notes what a trunk says of a caller: it is trusted with his name and number, which it may ask to be held back (RFC 3325).
pub(super) fn describe_behind(caller: &mut Caller, origin: &Origin, headers: &Headers) -> String {
    let known = [
        ("authorizing_id", origin.trunk.as_str()),
        ("authorizing_type", "resource"),
    ];
    for (name, value) in known {
        caller.channel_vars.insert(name.to_owned(), value.to_owned());
    }
    let asserted = headers.addresses(HeaderName::PAssertedIdentity).ok();
    let asserted = asserted.into_iter().flatten().find_map(|address| {
        let number = number_of(&address.uri);
        (!number.is_empty()).then(|| {
            let name = address
                .display
                .as_ref()
                .map(|name| name.to_str_lossy().into_owned());
            (number, name.filter(|name| !name.is_empty()))
        })
    });
    let Some((number, name)) = asserted else {
        return caller.caller_id_number.clone();
    };
    let privacy = headers.text(&HeaderName::from_token("Privacy".into()));
    let is_private = privacy.is_some_and(|privacy| {
        let text = privacy.to_str_lossy().to_ascii_lowercase();
        text.split([';', ','])
            .any(|one| matches!(one.trim(), "id" | "user" | "header"))
    });
    if !is_private {
        caller.caller_id_name = name.unwrap_or_else(|| number.clone());
        caller.caller_id_number.clone_from(&number);
    }
    number
}

/// Why nobody is found.
enum Failure {
    Refused(Refused),
    Store(StoreError),
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        Failure::Refused(refused)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Failure::Store(error)
    }
}

async fn find(server: &CallServer, request: &Request, flow: Flow) -> Result<Known, Failure> {
    let registrar = &server.registrar;
    let devices = registrar.devices();
    if let Some(realm) = realm_shown(server, request).await? {
        let source = flow.remote.ip();
        let known = |device: &_| registrar.came_from(device, source);
        return match registrar
            .gate()
            .judge(devices, &realm, request, source, known)
            .await?
        {
            Shown::Device(device) => Ok(Known::Device(device)),
            Shown::Nothing { stale } => Err(challenge(server, &realm, stale).into()),
            Shown::Wrong | Shown::Blocked => {
                Err(Refused::new(StatusCode::FORBIDDEN, "wrong credentials").into())
            }
            Shown::Elsewhere => Err(for_another_address().into()),
            Shown::Disabled => Err(disabled().into()),
        };
    }
    if let Some(device) = devices.by_address(flow.remote.ip()).await? {
        return match device.enabled {
            true => Ok(Known::Device(device)),
            false => Err(disabled().into()),
        };
    }
    // Who calls where we have registered was told so by us.
    let line = request.uri.as_sip().and_then(|uri| uri.params.value(LINE));
    if let Some(origin) = line.and_then(|line| server.trunks.book().by_line(&line.to_str_lossy())) {
        return Ok(Known::Trunk(vec![origin]));
    }
    let origins = server.trunks.book().at(flow.remote.ip());
    if !origins.is_empty() {
        // Whoever writes the document of a trunk names an address, and not who else calls from there: a phone is asked who it is.
        if let Some(device) = device_named(server, request).await? {
            let is_theirs = origins.iter().any(|origin| origin.account == device.key.account);
            if !is_theirs || registrar.came_from(&device.key, flow.remote.ip()) {
                return Err(challenge(server, &device.realm, false).into());
            }
        }
        return Ok(Known::Trunk(origins));
    }
    if !server.anonymous_dial_in {
        return match realm_asked(server, request).await? {
            Some(realm) => Err(challenge(server, &realm, false).into()),
            // Where it goes does not exist, which is for the routing to say.
            None => Ok(Known::Stranger),
        };
    }
    match registered_caller(server, request, flow).await? {
        Some(device) => Err(challenge(server, &device.realm, false).into()),
        None => Ok(Known::Stranger),
    }
}

/// Credentials belong to the address that they were made for (RFC 7616 §3.4.6): somebody may have heard them elsewhere.
pub(super) fn for_another_address() -> Refused {
    Refused::new(StatusCode::BAD_REQUEST, "the credentials are for another address")
}

fn disabled() -> Refused {
    Refused::new(StatusCode::FORBIDDEN, "the device is disabled")
}

/// Returns the realm of the credentials that a request shows, when it is one of ours.
async fn realm_shown(server: &CallServer, request: &Request) -> Result<Option<String>, StoreError> {
    let values = request.headers.get_all(&HeaderName::Authorization);
    for credentials in values.filter_map(|value| DigestCredentials::parse(value)) {
        let realm = server.registrar.devices().realm_of(&credentials.realm).await?;
        if let Some(realm) = realm {
            return Ok(Some(realm));
        }
    }
    Ok(None)
}

/// Returns the realm whose credentials are asked for: that of the caller's address where it is ours, else that of the number's.
pub(super) async fn realm_asked(
    server: &CallServer,
    request: &Request,
) -> Result<Option<String>, StoreError> {
    let from = request.headers.from().ok().flatten();
    let from = from.and_then(|from| Some(from.uri.as_sip()?.host.to_string()));
    let to = request.uri.as_sip().map(|uri| uri.host.to_string());
    for host in from.into_iter().chain(to) {
        if let Some(realm) = server.registrar.devices().realm_of(&host).await? {
            return Ok(Some(realm));
        }
    }
    Ok(None)
}

/// Returns the device that From names, when it has registered from where the request comes.
async fn registered_caller(
    server: &CallServer,
    request: &Request,
    flow: Flow,
) -> Result<Option<Arc<Device>>, StoreError> {
    let registrar = &server.registrar;
    if registrar.is_empty() {
        return Ok(None);
    }
    let device = device_named(server, request).await?;
    Ok(device.filter(|device| registrar.came_from(&device.key, flow.remote.ip())))
}

/// Returns the device that From names.
async fn device_named(server: &CallServer, request: &Request) -> Result<Option<Arc<Device>>, StoreError> {
    let devices = server.registrar.devices();
    let Some(from) = request.headers.from().ok().flatten() else {
        return Ok(None);
    };
    let Some((uri, user)) = from.uri.as_sip().and_then(|uri| Some((uri, uri.user_decoded()?))) else {
        return Ok(None);
    };
    let Some(realm) = devices.realm_of(&uri.host.to_string()).await? else {
        return Ok(None);
    };
    devices.by_username(&realm, &user.to_str_lossy()).await
}

//! Owns which paths exist, which methods they take and which operation that is. Never runs one.

use axum::http::Method;
use confab_documents::Kind;
use percent_encoding::percent_decode_str;

/// A method that a route can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Put,
    Post,
    Patch,
    Delete,
    /// Only where a route names it.
    Head,
}

impl Verb {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Verb::Get => "GET",
            Verb::Put => "PUT",
            Verb::Post => "POST",
            Verb::Patch => "PATCH",
            Verb::Delete => "DELETE",
            Verb::Head => "HEAD",
        }
    }

    /// Returns the verb of that name, in any case, which another method may stand for.
    pub(crate) fn parse(name: &str) -> Option<Verb> {
        let verbs = [Verb::Get, Verb::Put, Verb::Post, Verb::Patch, Verb::Delete];
        verbs
            .into_iter()
            .find(|verb| verb.name().eq_ignore_ascii_case(name))
    }

    pub(crate) fn of(method: &Method) -> Option<Verb> {
        match *method {
            Method::HEAD => Some(Verb::Head),
            _ => Verb::parse(method.as_str()),
        }
    }
}

/// What a route and method together ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    ApiDocument,
    ListSchemas,
    ShowSchema,
    LoginWithApiKey,
    LoginWithCredentials,
    ShowLogin,
    ShowToken,
    RevokeToken,
    /// Makes an account below the token's.
    CreateAccount,
    CreateChildAccount,
    ListChildren,
    ListDescendants,
    ListParents,
    ShowApiKey,
    RenewApiKey,
    /// What documents of most kinds have in common.
    List(Kind),
    Create(Kind),
    Show(Kind),
    Replace(Kind),
    Patch(Kind),
    Delete(Kind),
    /// The file of a media document, or what is to be known of it.
    DownloadMedia,
    MeasureMedia,
    UploadMedia,
    ListRecordings,
    ShowRecording,
    DeleteRecording,
    DownloadRecording,
    MeasureRecording,
    ListUserDevices,
    ShowDeviceStatus,
    /// What is known of trunks.
    ShowResourceStatus,
    ShowWebhookAttempts,
    ListConferences,
    CreateConference,
    ShowConference,
    ReplaceConference,
    PatchConference,
    DeleteConference,
    ControlConference,
    ListParticipants,
    ControlParticipants,
    ShowParticipant,
    ControlParticipant,
    ListBindings,
    ListWebSockets,
    ShowWebSocket,
}

impl Operation {
    /// Returns whether it is for anybody, without a token.
    pub(crate) fn is_public(self) -> bool {
        matches!(
            self,
            Operation::ApiDocument | Operation::ListBindings | Operation::ListSchemas | Operation::ShowSchema
        ) || self.is_login()
    }

    /// Returns whether it is a login, which costs more of a client's budget.
    pub(crate) fn is_login(self) -> bool {
        matches!(self, Operation::LoginWithApiKey | Operation::LoginWithCredentials)
    }
}

/// One path and what it takes.
pub(crate) struct Route {
    /// The path below `/v2`; `{name}` stands for one segment.
    pub(crate) template: &'static str,
    /// The methods.
    pub(crate) operations: &'static [(Verb, Operation)],
}

impl Route {
    pub(crate) fn operation(&self, verb: Verb) -> Option<Operation> {
        self.operations
            .iter()
            .find(|(known, _)| *known == verb)
            .map(|(_, operation)| *operation)
    }

    pub(crate) fn verbs(&self) -> impl Iterator<Item = Verb> {
        self.operations.iter().map(|(verb, _)| *verb)
    }
}

/// Reads and writes one document of a kind.
macro_rules! document {
    ($template:literal, $kind:expr) => {
        Route {
            template: $template,
            operations: &[
                (Verb::Get, Operation::Show($kind)),
                (Verb::Post, Operation::Replace($kind)),
                (Verb::Patch, Operation::Patch($kind)),
                (Verb::Delete, Operation::Delete($kind)),
            ],
        }
    };
}

/// Lists and makes documents of a kind.
macro_rules! collection {
    ($template:literal, $kind:expr) => {
        Route {
            template: $template,
            operations: &[
                (Verb::Get, Operation::List($kind)),
                (Verb::Put, Operation::Create($kind)),
            ],
        }
    };
}

/// Every route below `/v2`. Where several fit, the first one counts.
pub(crate) const ROUTES: &[Route] = &[
    Route {
        template: "/openapi.json",
        operations: &[(Verb::Get, Operation::ApiDocument)],
    },
    Route {
        template: "/api_auth",
        operations: &[(Verb::Put, Operation::LoginWithApiKey)],
    },
    Route {
        template: "/user_auth",
        operations: &[(Verb::Put, Operation::LoginWithCredentials)],
    },
    Route {
        template: "/user_auth/{auth_token}",
        operations: &[(Verb::Get, Operation::ShowLogin)],
    },
    Route {
        template: "/schemas",
        operations: &[(Verb::Get, Operation::ListSchemas)],
    },
    Route {
        template: "/schemas/{schema_name}",
        operations: &[(Verb::Get, Operation::ShowSchema)],
    },
    Route {
        template: "/token_auth",
        operations: &[
            (Verb::Get, Operation::ShowToken),
            (Verb::Delete, Operation::RevokeToken),
        ],
    },
    Route {
        template: "/accounts",
        operations: &[(Verb::Put, Operation::CreateAccount)],
    },
    Route {
        template: "/accounts/{account_id}",
        operations: &[
            (Verb::Get, Operation::Show(Kind::Account)),
            (Verb::Put, Operation::CreateChildAccount),
            (Verb::Post, Operation::Replace(Kind::Account)),
            (Verb::Patch, Operation::Patch(Kind::Account)),
            (Verb::Delete, Operation::Delete(Kind::Account)),
        ],
    },
    Route {
        template: "/accounts/{account_id}/api_key",
        operations: &[
            (Verb::Get, Operation::ShowApiKey),
            (Verb::Put, Operation::RenewApiKey),
        ],
    },
    Route {
        template: "/accounts/{account_id}/children",
        operations: &[(Verb::Get, Operation::ListChildren)],
    },
    Route {
        template: "/accounts/{account_id}/descendants",
        operations: &[(Verb::Get, Operation::ListDescendants)],
    },
    Route {
        template: "/accounts/{account_id}/parents",
        operations: &[(Verb::Get, Operation::ListParents)],
    },
    document!("/accounts/{account_id}/configs/{config_id}", Kind::Configuration),
    collection!("/accounts/{account_id}/devices", Kind::Device),
    Route {
        template: "/accounts/{account_id}/devices/status",
        operations: &[(Verb::Get, Operation::ShowDeviceStatus)],
    },
    document!("/accounts/{account_id}/devices/{device_id}", Kind::Device),
    collection!("/accounts/{account_id}/media", Kind::Media),
    document!("/accounts/{account_id}/media/{media_id}", Kind::Media),
    Route {
        template: "/accounts/{account_id}/media/{media_id}/raw",
        operations: &[
            (Verb::Get, Operation::DownloadMedia),
            (Verb::Head, Operation::MeasureMedia),
            (Verb::Post, Operation::UploadMedia),
        ],
    },
    Route {
        template: "/accounts/{account_id}/recordings",
        operations: &[(Verb::Get, Operation::ListRecordings)],
    },
    Route {
        template: "/accounts/{account_id}/recordings/{recording_id}",
        operations: &[
            (Verb::Get, Operation::ShowRecording),
            (Verb::Delete, Operation::DeleteRecording),
        ],
    },
    Route {
        template: "/accounts/{account_id}/recordings/{recording_id}/files/{file_name}",
        operations: &[
            (Verb::Get, Operation::DownloadRecording),
            (Verb::Head, Operation::MeasureRecording),
        ],
    },
    collection!("/accounts/{account_id}/resources", Kind::Resource),
    Route {
        template: "/accounts/{account_id}/resources/status",
        operations: &[(Verb::Get, Operation::ShowResourceStatus)],
    },
    document!("/accounts/{account_id}/resources/{resource_id}", Kind::Resource),
    collection!("/accounts/{account_id}/users", Kind::User),
    document!("/accounts/{account_id}/users/{user_id}", Kind::User),
    collection!("/accounts/{account_id}/webhooks", Kind::Webhook),
    document!("/accounts/{account_id}/webhooks/{webhook_id}", Kind::Webhook),
    Route {
        template: "/accounts/{account_id}/webhooks/{webhook_id}/attempts",
        operations: &[(Verb::Get, Operation::ShowWebhookAttempts)],
    },
    Route {
        template: "/accounts/{account_id}/users/{user_id}/devices",
        operations: &[(Verb::Get, Operation::ListUserDevices)],
    },
    Route {
        template: "/accounts/{account_id}/conferences",
        operations: &[
            (Verb::Get, Operation::ListConferences),
            (Verb::Put, Operation::CreateConference),
        ],
    },
    Route {
        template: "/accounts/{account_id}/conferences/{conference_id}",
        operations: &[
            (Verb::Get, Operation::ShowConference),
            (Verb::Put, Operation::ControlConference),
            (Verb::Post, Operation::ReplaceConference),
            (Verb::Patch, Operation::PatchConference),
            (Verb::Delete, Operation::DeleteConference),
        ],
    },
    Route {
        template: "/accounts/{account_id}/conferences/{conference_id}/participants",
        operations: &[
            (Verb::Get, Operation::ListParticipants),
            (Verb::Put, Operation::ControlParticipants),
        ],
    },
    Route {
        template: "/accounts/{account_id}/conferences/{conference_id}/participants/{participant_id}",
        operations: &[
            (Verb::Get, Operation::ShowParticipant),
            (Verb::Put, Operation::ControlParticipant),
        ],
    },
    Route {
        template: "/websockets",
        operations: &[(Verb::Get, Operation::ListBindings)],
    },
    Route {
        template: "/accounts/{account_id}/websockets",
        operations: &[(Verb::Get, Operation::ListWebSockets)],
    },
    Route {
        template: "/accounts/{account_id}/websockets/{websocket_id}",
        operations: &[(Verb::Get, Operation::ShowWebSocket)],
    },
];

/// Whose resources a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PathAccount {
    /// The path names no account.
    None,
    /// The account of the token: `/v2/account/…`.
    Own,
    /// An account by id.
    Id(String),
}

/// Where a path leads.
pub(crate) enum Destination {
    /// To a route.
    Route(Match),
    /// To a version that is no longer spoken.
    VersionGone,
    /// Nowhere.
    Nothing,
}

/// A route with the segments that stand for its names.
pub(crate) struct Match {
    pub(crate) route: &'static Route,
    pub(crate) account: PathAccount,
    parameters: Vec<(&'static str, String)>,
}

impl Match {
    /// Returns the segments that stand for names.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = &str> {
        self.parameters.iter().map(|(_, value)| value.as_str())
    }

    /// Returns the segment that stands for `{name}`, empty when the template has none.
    pub(crate) fn parameter(&self, name: &str) -> &str {
        self.parameters
            .iter()
            .find(|(known, _)| *known == name)
            .map_or("", |(_, value)| value)
    }
}

/// Finds the route of a request path, trailing slashes ignored.
pub(crate) fn find(path: &str) -> Destination {
    let path = path.trim_end_matches('/');
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/');
    match segments.next() {
        Some("v1") => return Destination::VersionGone,
        Some("v2") => {}
        _ => return Destination::Nothing,
    }
    let mut segments: Vec<String> = segments
        .map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned())
        .collect();
    let own = segments.first().is_some_and(|first| first == "account");
    if own {
        segments[0] = "accounts".into();
        segments.insert(1, String::new());
    }
    let found = ROUTES
        .iter()
        .find_map(|route| Some((route, parameters(route.template, &segments, own)?)));
    let Some((route, parameters)) = found else {
        return Destination::Nothing;
    };
    let mut matched = Match {
        route,
        account: PathAccount::None,
        parameters,
    };
    if route.template.contains("{account_id}") {
        let id = matched.parameter("account_id").to_owned();
        matched.account = if own {
            PathAccount::Own
        } else {
            PathAccount::Id(id)
        };
    }
    Destination::Route(matched)
}

/// Returns the named segments when `segments` fit the template. Only the account of the alias may be empty.
fn parameters(template: &'static str, segments: &[String], own: bool) -> Option<Vec<(&'static str, String)>> {
    let parts: Vec<&'static str> = template.split('/').skip(1).collect();
    if parts.len() != segments.len() {
        return None;
    }
    let mut parameters = Vec::new();
    for (part, segment) in parts.into_iter().zip(segments) {
        match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            Some(name) if !segment.is_empty() || (own && name == "account_id") => {
                parameters.push((name, segment.clone()));
            }
            None if part == segment => {}
            _ => return None,
        }
    }
    Some(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(path: &str) -> Option<(&'static str, PathAccount)> {
        match find(path) {
            Destination::Route(matched) => Some((matched.route.template, matched.account)),
            _ => None,
        }
    }

    #[test]
    fn paths_find_their_route() {
        let account = || PathAccount::Id("A".into());
        let table = [
            ("/v2/api_auth", Some(("/api_auth", PathAccount::None))),
            ("/v2/api_auth///", Some(("/api_auth", PathAccount::None))),
            (
                "/v2/accounts/A/conferences",
                Some(("/accounts/{account_id}/conferences", account())),
            ),
            (
                "/v2/account/conferences",
                Some(("/accounts/{account_id}/conferences", PathAccount::Own)),
            ),
            (
                "/v2/account/conferences/C/participants/7/",
                Some((
                    "/accounts/{account_id}/conferences/{conference_id}/participants/{participant_id}",
                    PathAccount::Own,
                )),
            ),
            ("/v2/accounts//conferences", None),
            ("/v2/accounts/A/conferences/C/nothing", None),
            ("/v2/accounts/A/faxes", None),
            ("/v2/account", Some(("/accounts/{account_id}", PathAccount::Own))),
            ("/v2/accounts/A", Some(("/accounts/{account_id}", account()))),
            ("/v2/accounts", Some(("/accounts", PathAccount::None))),
            (
                "/v2/account/devices/status",
                Some(("/accounts/{account_id}/devices/status", PathAccount::Own)),
            ),
            (
                "/v2/account/devices/D",
                Some(("/accounts/{account_id}/devices/{device_id}", PathAccount::Own)),
            ),
            ("/v2", None),
            ("/", None),
            ("", None),
            ("/v3/api_auth", None),
            ("v2api_auth", None),
        ];
        for (path, expected) in table {
            assert_eq!(template(path), expected, "{path}");
        }
        assert!(matches!(find("/v1/accounts"), Destination::VersionGone));
    }

    #[test]
    fn segments_are_decoded() {
        let Destination::Route(matched) = find("/v2/accounts/%41/conferences/team%2Fcall%FF") else {
            panic!()
        };
        assert_eq!(matched.account, PathAccount::Id("A".into()));
        assert_eq!(matched.parameter("conference_id"), "team/call\u{fffd}");
        assert_eq!(matched.parameter("participant_id"), "");
    }
}

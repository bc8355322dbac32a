//! Owns what documents say about callers before they are in the conference: PINs, prompts, times to think, and what a dialled
//! number may look like. Never touches the database.

use std::borrow::Cow;

use confab_reception::{CallFlow, DEFAULT_TIMEOUT_MS, NameFlow, Pins, RoleFlow, Saying, ServiceFlow};
use serde_json::Value;

use crate::conference::{Profile, says_names, texts};
use crate::document::{Body, Document};

/// Times to think that are heeded, in milliseconds; others count as the nearest of these.
const TIMEOUTS_MS: std::ops::RangeInclusive<u64> = 100..=600_000;

/// Returns how callers come into a conference. `configuration` is the account's
/// [`CONFERENCES_CONFIGURATION`](crate::CONFERENCES_CONFIGURATION), `language` that of the account.
///
/// The document wins over the account: `language`, and `pin_timeout` in milliseconds, which is no key of the schema. A sound that
/// is an empty text is none; so is one that an inline profile leaves out. Prompts are played unless the document says they are not.
pub fn call_flow(document: &Document, configuration: Option<&Document>, language: &str) -> CallFlow {
    let body = &document.body;
    let configuration = configuration.map(|configuration| &configuration.body);
    let profile = Profile::of(body, configuration);
    let defaults = CallFlow::default();
    let sound = |key: &str, default: Option<Saying>| match profile.text(key) {
        Some(text) => named(text),
        None => default.filter(|_| !profile.is_inline()),
    };
    let full_sound = sound("max-members-sound", defaults.full_sound);
    CallFlow {
        language: text(body, "language").unwrap_or(language).to_owned(),
        welcome: !is_off(body.get("play_welcome")),
        member: role(body.get("member")),
        moderator: role(body.get("moderator")),
        pin_timeout_ms: timeout(Some(body), "pin_timeout")
            .or_else(|| timeout(configuration, "pin_timeout"))
            .unwrap_or(DEFAULT_TIMEOUT_MS),
        names: says_names(body, configuration).then(|| NameFlow {
            reviews: is_on(configuration, "review_name"),
        }),
        joining_sound: match profile.text("member-enter-sound") {
            Some(text) => named(text),
            None => defaults.joining_sound,
        },
        locked_sound: sound("locked-sound", defaults.locked_sound),
        full_sound: text_or_empty(body, "max_members_media").map_or(full_sound, named),
    }
}

/// What an account's configuration says about the numbers that are dialled in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialPlan {
    /// Country of the account's numbers, such as `49`.
    pub country_code: Option<String>,
    /// Numbers that ask for the number of the conference.
    pub service_numbers: Vec<String>,
    /// What becomes of their callers.
    pub service: ServiceFlow,
}

impl DialPlan {
    /// Returns the plan of an account of this language.
    pub fn of(configuration: Option<&Document>, language: &str) -> DialPlan {
        let body = configuration.map(|configuration| &configuration.body);
        let numbers = texts(body.and_then(|body| body.get("service_numbers")));
        DialPlan {
            country_code: body
                .and_then(|body| text(body, "country_code"))
                .map(str::to_owned),
            service_numbers: numbers.map(str::to_owned).collect(),
            service: ServiceFlow {
                language: language.to_owned(),
                number_timeout_ms: timeout(body, "number_timeout").unwrap_or(DEFAULT_TIMEOUT_MS),
            },
        }
    }

    /// Returns the forms under which a number that was dialled so may be stored, the likeliest first; none when it is no number.
    ///
    /// As dialled without its dressing (a leading `+`, separators, parameters); with and without the international prefix `00`; and where the
    /// country is known, with and without it.
    pub fn forms(&self, user: &str) -> Vec<String> {
        let Some(dialled) = normalised(user) else {
            return Vec::new();
        };
        let is_international = user.starts_with('+');
        let country = self.country_code.as_deref();
        let full = match dialled.strip_prefix("00") {
            Some(rest) if !rest.is_empty() => Some(Cow::Borrowed(rest)),
            _ if is_international => Some(Cow::Borrowed(dialled.as_str())),
            _ => match (country, dialled.strip_prefix('0')) {
                (Some(country), Some(rest)) if !rest.is_empty() => {
                    Some(Cow::Owned(format!("{country}{rest}")))
                }
                _ => country
                    .filter(|country| dialled.len() > country.len() && dialled.starts_with(country))
                    .map(|_| Cow::Borrowed(dialled.as_str())),
            },
        };
        let mut forms = vec![dialled.clone()];
        if let Some(full) = full {
            let national = country
                .and_then(|country| full.strip_prefix(country))
                .filter(|rest| !rest.is_empty());
            let more = [full.to_string(), format!("00{full}")];
            for form in more.into_iter().chain(national.map(|rest| format!("0{rest}"))) {
                if !forms.contains(&form) {
                    forms.push(form);
                }
            }
        }
        forms
    }

    /// Returns whether a number that was dialled so asks for the number of the conference.
    pub fn is_service(&self, user: &str) -> bool {
        let forms = self.forms(user);
        self.service_numbers.iter().any(|number| forms.contains(number))
    }
}

/// Returns the digits of a dialled user part, `None` when something else is left once `+`, visual separators
/// (RFC 3966 §5.1.1) and parameters are off.
pub(crate) fn normalised(user: &str) -> Option<String> {
    let user = user.split(';').next().unwrap_or_default();
    let user = user.strip_prefix('+').unwrap_or(user);
    let digits: String = user
        .chars()
        .filter(|c| !matches!(c, '-' | '.' | '(' | ')' | ' '))
        .collect();
    (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(digits)
}

fn role(role: Option<&Value>) -> RoleFlow {
    RoleFlow {
        pins: Pins::new(texts(role.and_then(|role| role.get("pins")))),
        says_joining: !is_off(role.and_then(|role| role.get("play_entry_prompt"))),
    }
}

fn is_off(flag: Option<&Value>) -> bool {
    flag == Some(&Value::Bool(false))
}

fn is_on(body: Option<&Body>, key: &str) -> bool {
    body.and_then(|body| body.get(key)) == Some(&Value::Bool(true))
}

fn named(name: &str) -> Option<Saying> {
    (!name.is_empty()).then(|| Saying::Media(name.to_owned()))
}

fn text_or_empty<'a>(body: &'a Body, key: &str) -> Option<&'a str> {
    body.get(key).and_then(Value::as_str)
}

fn text<'a>(body: &'a Body, key: &str) -> Option<&'a str> {
    text_or_empty(body, key).filter(|text| !text.is_empty())
}

fn timeout(body: Option<&Body>, key: &str) -> Option<u32> {
    let given = body?.get(key)?.as_u64()?;
    u32::try_from(given.clamp(*TIMEOUTS_MS.start(), *TIMEOUTS_MS.end())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Revision;
    use crate::kind::Kind;
    use confab_conference::{AccountId, GregorianSeconds};
    use confab_reception::Prompt;
    use proptest::prelude::*;
    use serde_json::json;

    fn document(kind: Kind, body: Value) -> Document {
        Document {
            account_id: AccountId::from("a"),
            kind,
            id: "c".into(),
            revision: Revision::of("c", 1, ""),
            created: GregorianSeconds(0),
            modified: GregorianSeconds(0),
            body: body.as_object().unwrap().clone(),
        }
    }

    fn flow(body: Value) -> CallFlow {
        call_flow(&document(Kind::Conference, body), None, "en-us")
    }

    fn media(name: &str) -> Option<Saying> {
        Some(Saying::Media(name.into()))
    }

    #[test]
    fn an_empty_document_has_the_defaults() {
        assert_eq!(flow(json!({})), CallFlow::default());
    }

    #[test]
    fn prompts_can_be_switched_off_and_pins_are_read() {
        let flow = flow(json!({
            "play_welcome": false,
            "member": {"pins": ["12", "34"], "play_entry_prompt": false},
            "moderator": {"pins": ["56"]},
            "profile": {"member-enter-sound": "tone_stream://%(100,0,440)"},
        }));
        assert!(!flow.welcome && !flow.member.says_joining && flow.moderator.says_joining);
        assert_eq!(flow.member.pins, Pins::new(["12", "34"]));
        assert_eq!(flow.moderator.pins, Pins::new(["56"]));
        assert_eq!(flow.joining_sound, media("tone_stream://%(100,0,440)"));
        assert_eq!(flow.locked_sound, None, "an inline profile without it has none");
    }

    #[test]
    fn key_precedence_of_sounds_of_refusals() {
        let configuration = document(
            Kind::Configuration,
            json!({"profiles": {"default": {"locked-sound": "l", "max-members-sound": "m"}}}),
        );
        let flow = |body| call_flow(&document(Kind::Conference, body), Some(&configuration), "en-us");
        assert_eq!(
            (flow(json!({})).locked_sound, flow(json!({})).full_sound),
            (media("l"), media("m"))
        );
        let rows = [
            (
                json!({"max_members_media": "d", "profile": {"max-members-sound": "i"}}),
                media("d"),
            ),
            (json!({"profile": {"max-members-sound": "i"}}), media("i")),
            (json!({"profile": {}}), None),
            (json!({"profile_name": "page"}), media("conf-max_participants")),
            (json!({"max_members_media": ""}), None),
        ];
        for (body, full) in rows {
            assert_eq!(flow(body.clone()).full_sound, full, "{body}");
        }
    }

    #[test]
    fn names_are_asked_for_where_the_document_says_so_and_the_account_lets_it() {
        let plays = json!({"play_name": true});
        let rows = [
            (json!({}), json!({}), None),
            (plays.clone(), json!({}), Some(false)),
            (plays.clone(), json!({"review_name": true}), Some(true)),
            (
                plays.clone(),
                json!({"support_name_announcement": true}),
                Some(false),
            ),
            (
                plays,
                json!({"support_name_announcement": false, "review_name": true}),
                None,
            ),
            (json!({"play_name": false}), json!({"review_name": true}), None),
        ];
        for (body, configuration, reviews) in rows {
            let configured = document(Kind::Configuration, configuration.clone());
            let flow = call_flow(&document(Kind::Conference, body), Some(&configured), "en-us");
            assert_eq!(
                flow.names,
                reviews.map(|reviews| NameFlow { reviews }),
                "{configuration}"
            );
        }
        assert_eq!(flow(json!({"play_name": true})).names, Some(NameFlow::default()));
    }

    #[test]
    fn language_and_time_are_the_documents_or_the_accounts() {
        let configuration = document(
            Kind::Configuration,
            json!({"pin_timeout": 2000, "number_timeout": 1}),
        );
        let flow = |body| call_flow(&document(Kind::Conference, body), Some(&configuration), "de");
        let plain = flow(json!({}));
        assert_eq!((plain.language.as_str(), plain.pin_timeout_ms), ("de", 2000));
        let own = flow(json!({"language": "fr", "pin_timeout": 900_000}));
        assert_eq!((own.language.as_str(), own.pin_timeout_ms), ("fr", 600_000));
        let plan = DialPlan::of(Some(&configuration), "de");
        assert_eq!(
            (plan.service.language.as_str(), plan.service.number_timeout_ms),
            ("de", 100)
        );
        assert_eq!(DialPlan::of(None, "de").service.number_timeout_ms, 5000);
        assert_eq!(plain.joining_sound, Some(Saying::Prompt(Prompt::Joining)));
    }

    #[test]
    fn a_number_is_compared_without_its_dressing() {
        let table = [
            ("3000", Some("3000")),
            ("+3000", Some("3000")),
            ("3000;phone-context=x", Some("3000")),
            ("+1 (555) 12-34.5", Some("155512345")),
            ("0", Some("0")),
            ("", None),
            ("+", None),
            ("-.()", None),
            ("++1", None),
            ("alice", None),
            ("3000a", None),
            ("3000#", None),
            ("３０００", None),
            (";3000", None),
        ];
        for (user, number) in table {
            assert_eq!(normalised(user).as_deref(), number, "{user:?}");
        }
    }

    fn plan(country: Option<&str>, service: &[&str]) -> DialPlan {
        let config = json!({"country_code": country, "service_numbers": service});
        DialPlan::of(Some(&document(Kind::Configuration, config)), "en-us")
    }

    #[test]
    fn a_number_has_its_forms_of_home_and_abroad() {
        let german = plan(Some("49"), &[]);
        let all = ["4930123", "004930123", "030123"];
        for dialled in ["+49 30-123", "004930123", "030123", "4930123"] {
            let mut forms = german.forms(dialled);
            assert_eq!(forms[0], normalised(dialled).unwrap(), "the dialled one first");
            forms.sort();
            assert_eq!(forms, ["004930123", "030123", "4930123"], "{dialled}");
            assert!(plan(Some("49"), &[all[1]]).is_service(dialled));
        }
        assert_eq!(german.forms("3000"), ["3000"]);
        assert_eq!(german.forms("+33123"), ["33123", "0033123"]);
        assert_eq!(plan(None, &[]).forms("030123"), ["030123"]);
        assert_eq!(plan(None, &[]).forms("0049301"), ["0049301", "49301"]);
        assert!(plan(None, &["9000"]).is_service("9000") && !plan(None, &[]).is_service("9000"));
    }

    proptest! {
        #[test]
        fn whatever_is_dialled_has_few_forms_of_digits(user in ".{0,40}", country in "[1-9][0-9]{0,2}") {
            let forms = plan(Some(&country), &[]).forms(&user);
            prop_assert!(forms.len() <= 4);
            prop_assert!(forms.iter().all(|form| !form.is_empty() && form.bytes().all(|byte| byte.is_ascii_digit())));
        }
    }
}

//! Owns what a conference document means: its numbers and PINs, and what it says about a running conference, the
//! account's named profiles included. Never touches the database.

mod controls;
mod profile;
mod sounds;

use confab_conference::{Role, RoleSettings, Settings};
use serde_json::Value;

pub(crate) use self::controls::check as check_controls;
pub(crate) use self::profile::Profile;
pub(crate) use self::sounds::says_names;
pub use self::sounds::{language, named_sound};

use crate::document::{Body, Document};
use crate::kind::Kind;
use crate::prepare::prepare;
use crate::schema::Violations;

/// Says which rules what a client sent for a conference breaks by itself. Numbers that others have are found when it is stored.
///
/// # Errors
/// All of them together.
pub fn check(body: Body) -> Result<(), Violations> {
    prepare(Kind::Conference, "", body).map(drop)
}

/// Returns the name and the number that the profile of a conference shows of it when it calls somebody, where it says so.
pub fn shown_caller(
    document: &Document,
    configuration: Option<&Document>,
) -> (Option<String>, Option<String>) {
    let configuration = configuration.map(|configuration| &configuration.body);
    let profile = Profile::of(&document.body, configuration);
    let said = |key: &str| {
        let text = profile.get(key).and_then(Value::as_str);
        text.filter(|text| !text.is_empty()).map(str::to_owned)
    };
    (said("caller-id-name"), said("caller-id-number"))
}

/// One of the three number lists of a conference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NumberList {
    Anyone,
    Members,
    Moderators,
}

/// Returns the numbers of one list.
pub(crate) fn numbers(body: &Body, list: NumberList) -> impl Iterator<Item = &str> {
    let list = match list {
        NumberList::Anyone => body.get("conference_numbers"),
        NumberList::Members => body.get("member").and_then(|member| member.get("numbers")),
        NumberList::Moderators => body
            .get("moderator")
            .and_then(|moderator| moderator.get("numbers")),
    };
    texts(list)
}

pub(crate) fn texts(list: Option<&Value>) -> impl Iterator<Item = &str> {
    list.and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

/// What the account of a conference says about all of its conferences.
#[derive(Clone, Copy, Debug, Default)]
pub struct AccountDefaults<'a> {
    /// The account's [`CONFERENCES_CONFIGURATION`](crate::CONFERENCES_CONFIGURATION): its named profiles, control groups and tones.
    pub configuration: Option<&'a Document>,
    /// The language of its prompts.
    pub language: Option<&'a str>,
}

/// Returns what the document says about a running conference of an account that has configured nothing. See
/// [`settings_with`].
pub fn settings(document: &Document) -> Settings {
    settings_with(document, AccountDefaults::default())
}

/// Returns what the document says about a running conference.
///
/// A key of the document wins over the inline profile, that over the named profile, that over the built-in default.
/// A profile name that neither the account nor this server knows stands for `default`. Where there is an inline profile,
/// what it leaves out is the default profile's, except sounds. An interval that is no multiple of 10 ms counts as 20 ms.
pub fn settings_with(document: &Document, account: AccountDefaults<'_>) -> Settings {
    let body = &document.body;
    let defaults = Settings::default();
    let configuration = account.configuration.map(|configuration| &configuration.body);
    let profile = Profile::of(body, configuration);
    let language = sounds::language(body, account.language);
    let tones = sounds::tones(body, &profile, configuration, &language);
    let flag = |key| body.get(key).and_then(Value::as_bool);
    Settings {
        name: body
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
        max_participants: limit(body.get("max_participants"))
            .unwrap_or_else(|| limit(profile.get("max-members")).unwrap_or(defaults.max_participants)),
        member: role(body.get("member"), defaults.member),
        moderator: role(body.get("moderator"), defaults.moderator),
        energy_level: profile.integer("energy-level").unwrap_or(defaults.energy_level),
        rate_hz: profile.integer("rate").or(defaults.rate_hz),
        interval_ms: profile
            .integer("interval")
            .filter(|interval: &u16| interval.is_multiple_of(10))
            .unwrap_or(defaults.interval_ms),
        comfort_noise: match profile.flag("comfort-noise") {
            // As 1 and 0.
            Some(on) => u16::from(on),
            None => profile.integer("comfort-noise").unwrap_or(defaults.comfort_noise),
        },
        duck_db: profile.integer("duck-db").unwrap_or(defaults.duck_db),
        entry_tone: tones.entry,
        exit_tone: tones.exit,
        auto_gain: profile.flag("auto-gain").unwrap_or(defaults.auto_gain),
        denoise: profile.flag("denoise").unwrap_or(defaults.denoise),
        wait_for_moderator: flag("wait_for_moderator").unwrap_or_else(|| waits_by_profile(&profile)),
        require_moderator: flag("require_moderator").unwrap_or(defaults.require_moderator),
        end_grace_ms: configuration
            .and_then(|configuration| configuration.get("moderator_grace_ms"))
            .and_then(Value::as_u64)
            .and_then(|milliseconds| u32::try_from(milliseconds).ok())
            .unwrap_or(defaults.end_grace_ms),
        record: flag("record").unwrap_or(defaults.record),
        record_tracks: profile
            .flag("record-tracks")
            .or_else(|| configuration?.get("record_tracks")?.as_bool())
            .unwrap_or(defaults.record_tracks),
        record_format: defaults.record_format,
        announces_recording: defaults.announces_recording,
        sounds: sounds::sounds(body, &profile, configuration, &language, tones.of_moderators),
        member_keys: controls::keys(body, &profile, configuration, Role::Member),
        moderator_keys: controls::keys(body, &profile, configuration, Role::Moderator),
    }
}

/// Returns whether a profile's `conference-flags` let members wait for a moderator: a list as FreeSWITCH writes it, of which nothing else
/// means anything here.
fn waits_by_profile(profile: &Profile<'_>) -> bool {
    let flags = profile.name("conference-flags").unwrap_or_default();
    flags
        .split(['|', ',', ' '])
        .any(|flag| flag.eq_ignore_ascii_case("wait-mod"))
}

/// Returns `None` when the key is absent, else the limit it stands for: 1 and less mean no limit.
fn limit(value: Option<&Value>) -> Option<Option<u32>> {
    let value = value?.as_f64()?;
    // Beyond what 32 bits hold there is no conference: the cast saturates.
    Some((value > 1.0).then_some(value as u32))
}

fn role(role: Option<&Value>, defaults: RoleSettings) -> RoleSettings {
    let flag = |key| role.and_then(|role| role.get(key)).and_then(Value::as_bool);
    RoleSettings {
        join_muted: flag("join_muted").unwrap_or(defaults.join_muted),
        join_deaf: flag("join_deaf").unwrap_or(defaults.join_deaf),
    }
}

#[cfg(test)]
mod tests;

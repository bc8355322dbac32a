//! Owns how live conferences and documents look in JSON: the names of the contract. Never asks anybody for state.

use confab_conference::{GregorianSeconds, ParticipantState, Quality, Role, Snapshot, Volume};
use confab_documents::{Document, Kind};
use serde_json::{Map, Value, json};

use crate::state::ApiConfig;

/// The keys of a document that its item in a list has too, where it has them.
fn item_keys(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Account => &["name", "realm", "enabled"],
        Kind::Conference => &[
            "name",
            "owner_id",
            "member",
            "moderator",
            "conference_numbers",
            "ui_flags",
        ],
        Kind::Configuration => &[],
        Kind::Device => &["name", "owner_id", "enabled"],
        Kind::Media => &["name", "language", "media_source"],
        Kind::Resource => &["name", "enabled", "weight_cost"],
        Kind::User => &[
            "username",
            "email",
            "first_name",
            "last_name",
            "priv_level",
            "presence_id",
            "timezone",
        ],
        Kind::Webhook => &["name", "uri", "hook", "enabled"],
    }
}

/// Returns a document's item in a list, without live data.
pub(crate) fn document_item(document: &Document) -> Value {
    let body = &document.body;
    let mut item = Map::new();
    item.insert("id".into(), document.public_id().into());
    for key in item_keys(document.kind) {
        if let Some(value) = body.get(*key) {
            item.insert((*key).into(), value.clone());
        }
    }
    match document.kind {
        Kind::Device => {
            if let Some(username) = body.get("sip").and_then(|sip| sip.get("username")) {
                item.insert("username".into(), username.clone());
            }
            for (key, default) in [("mac_address", ""), ("device_type", "sip_device")] {
                let value = body.get(key).cloned();
                item.insert(key.into(), value.unwrap_or_else(|| default.into()));
            }
        }
        Kind::User => {
            item.insert("features".into(), features(body).into());
        }
        Kind::Media => {
            item.insert("is_prompt".into(), body.contains_key("prompt_id").into());
        }
        _ => {}
    }
    let flags = body.get("flags").cloned();
    item.insert("flags".into(), flags.unwrap_or_else(|| Value::Array(Vec::new())));
    Value::Object(item)
}

/// Returns the names of what a user has switched on.
fn features(user: &Map<String, Value>) -> Vec<Value> {
    let at = |key: &str, inner: &str| user.get(key).and_then(|value| value.get(inner));
    let features = [
        (
            "call_forward",
            at("call_forward", "enabled") == Some(&true.into()),
        ),
        (
            "caller_id",
            at("caller_id", "external").is_some_and(|external| external != &json!({})),
        ),
        (
            "do_not_disturb",
            at("do_not_disturb", "enabled") == Some(&true.into()),
        ),
        ("music_on_hold", at("music_on_hold", "media_id").is_some()),
        (
            "vm_to_email",
            user.get("vm_to_email_enabled") == Some(&true.into()),
        ),
    ];
    let has = features.into_iter().filter(|(_, has)| *has);
    has.map(|(name, _)| name.into()).collect()
}

/// Where and when a view is taken.
#[derive(Clone, Copy)]
pub(crate) struct Viewpoint<'a> {
    pub(crate) config: &'a ApiConfig,
    pub(crate) now: GregorianSeconds,
}

impl Viewpoint<'_> {
    /// Returns the live data of a conference: `_read_only` and `metadata` of its document.
    pub(crate) fn read_only(&self, snapshot: Option<&Snapshot>) -> Value {
        let mut view = self.counts(snapshot);
        let participants = snapshot.map_or_else(Vec::new, |snapshot| self.participants(snapshot));
        view.insert("participants".into(), participants.into());
        if let Some(snapshot) = snapshot {
            view.insert("instance_id".into(), snapshot.instance_id.as_str().into());
            view.insert("sequence".into(), snapshot.sequence.into());
            if let Some(recording) = &snapshot.recording {
                let shown = serde_json::json!({
                    "id": &*recording.id,
                    "paused": recording.paused,
                    "problem": recording.problem.as_deref(),
                });
                view.insert("recording".into(), shown);
            }
        }
        Value::Object(view)
    }

    /// Returns a conference's item in a list.
    pub(crate) fn list_item(&self, document: &Document, snapshot: Option<&Snapshot>) -> Value {
        let Value::Object(mut item) = document_item(document) else {
            return Value::Null;
        };
        let mut live = self.counts(snapshot);
        for key in ["members", "admins", "duration", "is_locked"] {
            item.insert(key.into(), live[key].clone());
        }
        if let Some(snapshot) = snapshot {
            // `uuid` never stands flat on the item: a client takes it for the id.
            live.insert("uuid".into(), snapshot.instance_id.as_str().into());
            live.insert("run_time".into(), snapshot.duration_s(self.now).into());
            live.insert("start_time".into(), snapshot.started.0.into());
            live.insert("switch_hostname".into(), self.config.node.as_str().into());
            let optional = [
                ("switch_url", &self.config.switch_url),
                ("switch_external_ip", &self.config.switch_external_ip),
            ];
            for (key, value) in optional {
                if let Some(value) = value {
                    live.insert(key.into(), value.as_str().into());
                }
            }
        }
        item.insert("_read_only".into(), Value::Object(live));
        Value::Object(item)
    }

    fn counts(&self, snapshot: Option<&Snapshot>) -> Map<String, Value> {
        let count = |of: fn(&Snapshot) -> usize| Value::from(snapshot.map_or(0, of));
        let mut counts = Map::new();
        counts.insert("members".into(), count(Snapshot::members));
        counts.insert("moderators".into(), count(Snapshot::moderators));
        counts.insert("admins".into(), count(Snapshot::moderators));
        counts.insert("participant_count".into(), count(Snapshot::participant_count));
        counts.insert(
            "duration".into(),
            snapshot
                .map_or(0, |snapshot| snapshot.duration_s(self.now))
                .into(),
        );
        counts.insert(
            "is_locked".into(),
            snapshot.is_some_and(|snapshot| snapshot.locked).into(),
        );
        counts
    }

    /// Returns every participant.
    pub(crate) fn participants(&self, snapshot: &Snapshot) -> Vec<Value> {
        snapshot
            .participants
            .iter()
            .map(|state| self.participant(snapshot, state))
            .collect()
    }

    /// Returns one participant: what events tell of him, and what no event tells.
    pub(crate) fn participant(&self, snapshot: &Snapshot, state: &ParticipantState) -> Value {
        let mut view = Map::new();
        view.insert("call_id".into(), state.call_id().into());
        view.insert("conference_name".into(), snapshot.conference_id.as_str().into());
        view.insert("conference_uuid".into(), snapshot.instance_id.as_str().into());
        view.insert("switch_hostname".into(), self.config.node.as_str().into());
        view.insert("duration".into(), self.now.seconds_since(state.join_time).into());
        view.extend(state_keys(state));
        if let Some(media) = snapshot.media.get(&state.id) {
            view.insert("codec".into(), media.codec.into());
            view.insert("quality".into(), quality(&media.quality));
        }
        Value::Object(view)
    }
}

/// Returns the state of a participant as his resource and every event about him show it: the flags flat and once more in
/// `conference_channel_vars`.
pub(crate) fn state_keys(state: &ParticipantState) -> Map<String, Value> {
    let caller = &state.caller;
    let mut view = Map::new();
    view.insert("participant_id".into(), state.id.get().into());
    view.insert("join_time".into(), state.join_time.0.into());
    view.insert("caller_id_name".into(), caller.caller_id_name.as_str().into());
    view.insert("caller_id_number".into(), caller.caller_id_number.as_str().into());
    let mut channel = flags(state);
    view.extend(channel.clone());
    view.insert("volume_in".into(), decibels(state.volume_in));
    view.insert("volume_out".into(), decibels(state.volume_out));
    view.insert("hand_raised".into(), state.hand_raised.into());
    view.insert("waiting".into(), state.waiting.into());
    channel.insert("see".into(), false.into());
    channel.insert("member_id".into(), state.id.get().into());
    channel.insert("member_ghost".into(), state.ghost.into());
    view.insert("conference_channel_vars".into(), Value::Object(channel));
    let mut custom = text_map(&caller.channel_vars);
    if let Some(account) = &caller.account_id {
        custom
            .entry("account_id")
            .or_insert_with(|| account.as_str().into());
    }
    view.insert("custom_channel_vars".into(), Value::Object(custom));
    view.insert(
        "custom_application_vars".into(),
        Value::Object(text_map(&caller.application_vars)),
    );
    view
}

fn quality(quality: &Quality) -> Value {
    let thousandths = |value: u32| f64::from(value) / 1000.0;
    json!({
        "loss": f64::from(quality.loss_hundredths) / 100.0,
        "jitter_ms": thousandths(quality.jitter_us),
        "delay_ms": thousandths(quality.delay_us),
        "concealed_ms": quality.concealed_ms,
        "skew_ppm": quality.skew_ppm,
        "mos": quality.mos_hundredths.map(|mos| f64::from(mos) / 100.0),
    })
}

fn decibels(volume: Volume) -> Value {
    (f64::from(volume.tenths_db()) / 10.0).into()
}

fn flags(state: &ParticipantState) -> Map<String, Value> {
    let flags = json!({
        "floor": state.floor,
        "hear": !state.deaf,
        "speak": !state.muted,
        "talking": state.talking,
        // There is no automatic mute detection and no video.
        "mute_detect": false,
        "video": false,
        "is_moderator": state.role == Role::Moderator,
        "energy_level": state.energy_level,
        "current_energy": state.current_energy,
    });
    match flags {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn text_map(texts: &std::collections::BTreeMap<String, String>) -> Map<String, Value> {
    texts
        .iter()
        .map(|(key, value)| (key.clone(), value.as_str().into()))
        .collect()
}

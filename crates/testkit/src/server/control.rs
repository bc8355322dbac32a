//! Owns the remote control of one conference: what an operator's client does through the API.

use std::io;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::{HttpAnswer, HttpClient};

/// Keys of a document without tones when somebody comes or goes.
pub(super) fn no_tones() -> Map<String, Value> {
    let keys = ["play_entry_tone", "play_exit_tone"];
    keys.map(|key| (key.to_owned(), false.into()))
        .into_iter()
        .collect()
}

/// Keys of a document without prompts before a caller is in the conference.
pub(super) fn no_prompts() -> Map<String, Value> {
    let role = json!({ "play_entry_prompt": false });
    [
        ("play_welcome", false.into()),
        ("member", role.clone()),
        ("moderator", role),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into_iter()
    .collect()
}

/// Keys of a document whose participants hear nothing that nobody sends, and whose keys do nothing.
pub(super) fn no_sounds() -> Map<String, Value> {
    let mut keys = Map::new();
    // An inline profile has the sounds that it names.
    keys.insert("profile".to_owned(), json!({}));
    for role in ["caller_controls", "moderator_controls"] {
        keys.insert(role.to_owned(), "none".into());
    }
    keys
}

/// Switches tones and prompts of a conference's document off, except those that it says something about itself.
pub fn quiet(document: &mut Value) {
    fn merge(keys: &mut Map<String, Value>, quiet: Map<String, Value>) {
        for (key, value) in quiet {
            match (keys.get_mut(&key), value) {
                (None, value) => drop(keys.insert(key, value)),
                (Some(Value::Object(own)), Value::Object(quiet)) => merge(own, quiet),
                (Some(_), _) => {}
            }
        }
    }
    if let Value::Object(keys) = document {
        merge(keys, no_tones());
        merge(keys, no_prompts());
        let mut sounds = no_sounds();
        if keys.contains_key("profile_name") {
            sounds.remove("profile");
        }
        merge(keys, sounds);
    }
}

/// One conference, seen through the API.
#[derive(Debug, Clone)]
pub struct ConferenceControl {
    client: HttpClient,
    id: String,
}

impl ConferenceControl {
    /// Finds the conference that answers to `number`.
    pub fn of_number(client: HttpClient, number: &str) -> io::Result<Self> {
        let list = client.account("GET", "/conferences?paginate=false", None)?.json();
        let has_number = |list: &Value| {
            list.as_array()
                .is_some_and(|items| items.iter().any(|item| item == number))
        };
        let found = list["data"].as_array().and_then(|items| {
            items.iter().find(|item| {
                has_number(&item["conference_numbers"])
                    || has_number(&item["member"]["numbers"])
                    || has_number(&item["moderator"]["numbers"])
            })
        });
        let id = found.and_then(|item| item["id"].as_str());
        let id = id
            .ok_or_else(|| io::Error::other(format!("no conference has number {number}: {list}")))?
            .to_owned();
        Ok(Self { client, id })
    }

    /// Creates a conference from a document. Unless that says something about them, it has no tones when somebody comes or goes:
    /// measurements hear what they send; and no prompts: callers are in it at once.
    pub fn create(client: HttpClient, mut document: Value) -> io::Result<Self> {
        quiet(&mut document);
        let answer = client.account("PUT", "/conferences", Some(&json!({ "data": document })))?;
        let envelope = answer.json();
        let id = envelope["data"]["id"].as_str().filter(|_| answer.status == 201);
        let id = id
            .ok_or_else(|| io::Error::other(format!("{}: {}", answer.status, answer.text())))?
            .to_owned();
        Ok(Self { client, id })
    }

    /// Returns the conference's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the conference document with its live part.
    pub fn document(&self) -> io::Result<Value> {
        Ok(self
            .client
            .account("GET", &format!("/conferences/{}", self.id), None)?
            .json()["data"]
            .take())
    }

    /// Returns the participants as the API lists them.
    pub fn participants(&self) -> io::Result<Vec<Value>> {
        let answer = self
            .client
            .account("GET", &format!("/conferences/{}/participants", self.id), None)?;
        match answer.json()["data"].take() {
            Value::Array(items) if answer.status == 200 => Ok(items),
            _ => Err(io::Error::other(format!("{}: {}", answer.status, answer.text()))),
        }
    }

    /// Waits until the list of participants is as `wanted`, and returns it.
    pub fn wait_participants(
        &self,
        timeout: Duration,
        wanted: impl Fn(&[Value]) -> bool,
    ) -> io::Result<Vec<Value>> {
        let deadline = Instant::now() + timeout;
        loop {
            let list = self.participants()?;
            if wanted(&list) {
                return Ok(list);
            }
            if Instant::now() > deadline {
                let text = Value::Array(list).to_string();
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("participants stay {text}"),
                ));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Returns the participant id of the caller with this number.
    pub fn participant(&self, caller_number: &str) -> io::Result<u64> {
        let list = self.participants()?;
        let found = list.iter().find(|item| item["caller_id_number"] == caller_number);
        let id = found.and_then(|item| item["participant_id"].as_u64());
        id.ok_or_else(|| io::Error::other(format!("no participant {caller_number} in {list:?}")))
    }

    /// Does something to the conference, such as `lock`.
    pub fn act(&self, action: &str) -> io::Result<HttpAnswer> {
        self.put(&format!("/conferences/{}", self.id), action)
    }

    /// Does something to one participant, such as `mute`.
    pub fn act_on(&self, participant: u64, action: &str) -> io::Result<HttpAnswer> {
        self.put(
            &format!("/conferences/{}/participants/{participant}", self.id),
            action,
        )
    }

    fn put(&self, path: &str, action: &str) -> io::Result<HttpAnswer> {
        let answer = self
            .client
            .account("PUT", path, Some(&json!({"data": {"action": action}})))?;
        if answer.status == 202 {
            return Ok(answer);
        }
        Err(io::Error::other(format!(
            "{action}: {} {}",
            answer.status,
            answer.text()
        )))
    }
}

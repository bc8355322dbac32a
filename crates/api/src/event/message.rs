//! Owns one event as it is sent: made once, shared by all who get it. Never sends it.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use confab_conference::{AccountId, ConferenceId, Control, Event};
use serde_json::{Map, Value};

use super::{body, command, key};

/// Who tells of the events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The name of this server (`node`, `focus`).
    pub node: String,
    /// The name of this program.
    pub app_name: String,
    /// Its version.
    pub app_version: String,
}

impl Default for Origin {
    fn default() -> Self {
        Origin {
            node: "confab".into(),
            app_name: "confab".into(),
            app_version: env!("CARGO_PKG_VERSION").into(),
        }
    }
}

/// Who writes messages, and how many he has written.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    pub(crate) origin: Origin,
    written: AtomicU64,
}

impl Writer {
    pub(crate) fn new(origin: Origin) -> Writer {
        Writer {
            origin,
            written: AtomicU64::new(0),
        }
    }

    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }
}

/// A message as text, up to whom it is for.
#[derive(Debug)]
pub(crate) struct Written {
    /// `"name":…,"routing_key":…,"data":{…}}`: what a frame ends with.
    text: Bytes,
    data: Range<usize>,
}

impl Written {
    pub(crate) fn new(writer: &Writer, name: &str, routing_key: &str, data: &Value) -> Written {
        writer.written.fetch_add(1, Ordering::Relaxed);
        let name = Value::from(name);
        let routing_key = Value::from(routing_key);
        let head = format!("\"name\":{name},\"routing_key\":{routing_key},\"data\":");
        let text = format!("{head}{data}}}");
        let data = head.len()..text.len() - 1;
        Written {
            text: text.into(),
            data,
        }
    }

    /// Returns what a frame ends with, from `"name"` to the closing brace.
    pub(crate) fn ending(&self) -> &str {
        // Made of a string.
        std::str::from_utf8(&self.text).unwrap_or_default()
    }

    pub(crate) fn data(&self) -> Bytes {
        self.text.slice(self.data.clone())
    }
}

/// One event for all who get it.
#[derive(Debug)]
pub struct EventMessage {
    event: Arc<Event>,
    writer: Arc<Writer>,
    is_published: bool,
    written: OnceLock<Written>,
}

impl EventMessage {
    pub(crate) fn new(event: Arc<Event>, writer: Arc<Writer>, is_published: bool) -> EventMessage {
        EventMessage {
            event,
            writer,
            is_published,
            written: OnceLock::new(),
        }
    }

    /// Returns the event.
    pub fn event(&self) -> &Arc<Event> {
        &self.event
    }

    /// Returns whether the event may leave the server.
    pub fn is_published(&self) -> bool {
        self.is_published
    }

    /// Returns what kind of message it is: `participant_event` for events about a leg, else `event`.
    pub fn name(&self) -> &'static str {
        body::name(&self.event)
    }

    /// Returns the event's id, unlike that of any other event.
    pub fn id(&self) -> String {
        body::id(&self.event)
    }

    /// Returns `conference.event.{event}.{account}.{conference}.{call}`.
    pub fn routing_key(&self) -> String {
        key::routing_key(&self.event)
    }

    /// Returns `conference.event.{conference}.{call}`.
    pub fn short_routing_key(&self) -> String {
        key::short_routing_key(&self.event)
    }

    /// Returns the event as a JSON object. Made anew each time: for those who need other names.
    pub fn value(&self) -> Value {
        body::of_event(&self.writer.origin, &self.event)
    }

    /// Returns the event as the text of a JSON object, written once for everybody.
    pub fn data(&self) -> Bytes {
        self.written().data()
    }

    pub(crate) fn written(&self) -> &Written {
        self.written
            .get_or_init(|| Written::new(&self.writer, self.name(), &self.routing_key(), &self.value()))
    }
}

/// One command that was carried out on a conference, for all who want to know.
#[derive(Debug)]
pub(crate) struct CommandMessage {
    account: AccountId,
    conference: ConferenceId,
    command: Command,
    writer: Arc<Writer>,
    written: OnceLock<Written>,
}

/// What was carried out.
#[derive(Debug)]
pub(crate) enum Command {
    /// A control of what runs.
    Control(Control),
    /// A dial, with its arguments as they are told.
    Dial(Map<String, Value>),
}

impl CommandMessage {
    pub(crate) fn new(
        account: AccountId,
        conference: ConferenceId,
        command: Command,
        writer: Arc<Writer>,
    ) -> CommandMessage {
        CommandMessage {
            account,
            conference,
            command,
            writer,
            written: OnceLock::new(),
        }
    }

    pub(crate) fn account(&self) -> &AccountId {
        &self.account
    }

    pub(crate) fn conference(&self) -> &ConferenceId {
        &self.conference
    }

    pub(crate) fn written(&self) -> &Written {
        self.written.get_or_init(|| {
            let data = command::of_command(
                &self.writer.origin,
                &self.account,
                &self.conference,
                &self.command,
            );
            let key = format!(
                "conference.command.{}",
                key::encode_segment(self.conference.as_str())
            );
            Written::new(&self.writer, "command", &key, &data)
        })
    }
}

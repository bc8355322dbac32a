//! A conference as its subscribers are told of it: `application/conference-info+xml` (RFC 4575).
//!
//! Owns what of a conference is told and how it is written; whole, or what has changed. Ghosts are not told of.

use std::collections::BTreeMap;

use confab_conference::{ParticipantId, ParticipantState, Role, Snapshot};
use confab_sip::{Host, NameAddr, SipUri};
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};

/// Media type of the document.
pub(super) const KIND: &str = "application/conference-info+xml";
const NAMESPACE: &str = "urn:ietf:params:xml:ns:conference-info";
/// A longer document has no list of participants, only their number: more does not pass through a UDP socket, or a phone's memory.
const LONGEST: usize = 60_000;

/// What is told of a conference at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct View {
    is_running: bool,
    is_locked: bool,
    users: BTreeMap<ParticipantId, User>,
}

/// What is told of a participant.
#[derive(Debug, Clone, PartialEq, Eq)]
struct User {
    entity: String,
    name: String,
    is_moderator: bool,
    status: &'static str,
    media: &'static str,
}

/// What does not change while a subscription lives.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    /// URI of the conference.
    pub(super) entity: String,
    /// Its name; may be empty.
    pub(super) name: String,
    /// The host of participants that have no address of their own.
    pub(super) realm: String,
}

impl View {
    /// Returns what is told of a conference; `None` is one that is not running.
    pub(super) fn of(snapshot: Option<&Snapshot>, subject: &Subject) -> View {
        let Some(snapshot) = snapshot else {
            return View::default();
        };
        let shown = snapshot.participants.iter().filter(|one| !one.ghost);
        View {
            is_running: true,
            is_locked: snapshot.locked,
            users: shown.map(|one| (one.id, User::of(one, &subject.realm))).collect(),
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.is_running
    }

    /// Writes all of it.
    pub(super) fn whole(&self, subject: &Subject, version: u32) -> String {
        let all = self.users.values().map(|user| (user, "full"));
        let written = self.write(subject, version, "full", Some(all));
        if written.len() <= LONGEST {
            return written;
        }
        self.write(subject, version, "full", None::<std::iter::Empty<_>>)
    }

    /// Writes what is other than it was; `None` when nothing is.
    pub(super) fn since(&self, before: &View, subject: &Subject, version: u32) -> Option<String> {
        if self == before {
            return None;
        }
        let gone = before.users.iter().filter(|(id, _)| !self.users.contains_key(id));
        let changed = self
            .users
            .iter()
            .filter(|(id, user)| before.users.get(id) != Some(user));
        let users = gone
            .map(|(_, user)| (user, "deleted"))
            .chain(changed.map(|(_, user)| (user, "full")));
        let written = self.write(subject, version, "partial", Some(users));
        Some(if written.len() <= LONGEST {
            written
        } else {
            self.whole(subject, version)
        })
    }

    fn write<'a>(
        &self,
        subject: &Subject,
        version: u32,
        state: &str,
        users: Option<impl Iterator<Item = (&'a User, &'a str)>>,
    ) -> String {
        let mut xml = Writer::new(Vec::new());
        let written = self.write_to(&mut xml, subject, version, state, users);
        debug_assert!(written.is_ok(), "a vector takes all that is written");
        String::from_utf8(xml.into_inner()).unwrap_or_default()
    }

    fn write_to<'a>(
        &self,
        xml: &mut Writer<Vec<u8>>,
        subject: &Subject,
        version: u32,
        state: &str,
        users: Option<impl Iterator<Item = (&'a User, &'a str)>>,
    ) -> std::io::Result<()> {
        xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
        let version = version.to_string();
        let root = xml.create_element("conference-info").with_attributes([
            ("xmlns", NAMESPACE),
            ("entity", subject.entity.as_str()),
            ("state", state),
            ("version", version.as_str()),
        ]);
        root.write_inner_content(|xml| {
            if state == "full" && !subject.name.is_empty() {
                xml.create_element("conference-description")
                    .write_inner_content(|xml| text(xml, "display-text", &subject.name))?;
            }
            xml.create_element("conference-state")
                .write_inner_content(|xml| {
                    text(xml, "user-count", &self.users.len().to_string())?;
                    text(xml, "active", if self.is_running { "true" } else { "false" })?;
                    text(xml, "locked", if self.is_locked { "true" } else { "false" })
                })?;
            if let Some(users) = users {
                xml.create_element("users")
                    .with_attribute(("state", state))
                    .write_inner_content(|xml| {
                        for (user, state) in users {
                            user.write(xml, state)?;
                        }
                        Ok(())
                    })?;
            }
            Ok(())
        })?;
        Ok(())
    }
}

impl User {
    fn of(state: &ParticipantState, realm: &str) -> User {
        let caller = &state.caller;
        // Several may call from one number, or none: the address is his own (RFC 4575 §5.6).
        let host =
            Host::parse(&realm.into()).unwrap_or_else(|_| Host::from(std::net::IpAddr::from([127, 0, 0, 1])));
        let number = match caller.caller_id_number.as_str() {
            "" => "anonymous",
            number => number,
        };
        let uri = SipUri::new(host, None).with_user(number);
        let uri = uri.with_param("participant", Some(&state.id.to_string()));
        let is_off = state.is_out_of_mix();
        User {
            entity: String::from_utf8_lossy(&uri.to_bytes()).into_owned(),
            name: caller.caller_id_name.clone(),
            is_moderator: state.role == Role::Moderator,
            status: match (is_off, state.muted) {
                (true, _) => "on-hold",
                (false, true) => "muted-via-focus",
                (false, false) => "connected",
            },
            // As the participant's phone sees it.
            media: match (is_off || state.muted, is_off || state.deaf) {
                (false, false) => "sendrecv",
                (true, false) => "recvonly",
                (false, true) => "sendonly",
                (true, true) => "inactive",
            },
        }
    }

    fn write(&self, xml: &mut Writer<Vec<u8>>, state: &str) -> std::io::Result<()> {
        let user = xml
            .create_element("user")
            .with_attributes([("entity", self.entity.as_str()), ("state", state)]);
        if state == "deleted" {
            user.write_empty()?;
            return Ok(());
        }
        user.write_inner_content(|xml| {
            if !self.name.is_empty() {
                text(xml, "display-text", &self.name)?;
            }
            let role = if self.is_moderator {
                "moderator"
            } else {
                "participant"
            };
            xml.create_element("roles")
                .write_inner_content(|xml| text(xml, "entry", role))?;
            xml.create_element("endpoint")
                .with_attribute(("entity", self.entity.as_str()))
                .write_inner_content(|xml| {
                    text(xml, "status", self.status)?;
                    xml.create_element("media")
                        .with_attribute(("id", "1"))
                        .write_inner_content(|xml| {
                            text(xml, "type", "audio")?;
                            text(xml, "status", self.media)
                        })?;
                    Ok(())
                })?;
            Ok(())
        })?;
        Ok(())
    }
}

/// Writes an element with a text, from which what XML cannot hold is taken out.
fn text(xml: &mut Writer<Vec<u8>>, name: &str, content: &str) -> std::io::Result<()> {
    // XML 1.0 §2.2.
    let is_allowed = |c: &char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    let clean: String = content.chars().filter(is_allowed).collect();
    xml.create_element(name)
        .write_text_content(BytesText::new(&clean))?;
    Ok(())
}

/// The URI of a conference, without what an address has around it.
pub(super) fn entity_of(uri: &SipUri) -> String {
    let mut uri = uri.clone();
    uri.params = Default::default();
    uri.headers = Default::default();
    uri.password = None;
    let bytes = NameAddr::new(uri).uri.to_bytes();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use confab_conference::Caller;
    use proptest::prelude::*;
    use quick_xml::Reader;

    use super::*;

    fn subject() -> Subject {
        Subject {
            entity: "sip:3000@a.example".to_owned(),
            name: "Tea & <Cake>".to_owned(),
            realm: "a.example".to_owned(),
        }
    }

    fn user(name: &str, number: &str, id: u64) -> User {
        let mut state = participant(id);
        state.caller = Caller {
            caller_id_name: name.to_owned(),
            caller_id_number: number.to_owned(),
            ..Caller::default()
        };
        User::of(&state, "a.example")
    }

    fn participant(id: u64) -> ParticipantState {
        ParticipantState {
            id: ParticipantId::new(id).unwrap(),
            caller: Caller::default(),
            role: Role::Member,
            join_time: confab_conference::GregorianSeconds(0),
            muted: false,
            deaf: false,
            talking: false,
            floor: false,
            energy_level: 0,
            current_energy: 0,
            ghost: false,
            waiting: false,
            held: false,
            volume_in: Default::default(),
            volume_out: Default::default(),
            agc: false,
            denoise: false,
            hand_raised: false,
        }
    }

    fn view(users: &[User]) -> View {
        let ids = (1..).map(|id| ParticipantId::new(id).unwrap());
        View {
            is_running: true,
            is_locked: false,
            users: ids.zip(users.iter().cloned()).collect(),
        }
    }

    /// Names of elements with their attributes, and texts, in order; fails where it is not well-formed.
    fn read(xml: &str) -> Vec<String> {
        let mut reader = Reader::from_str(xml);
        reader.config_mut().check_end_names = true;
        let mut found = Vec::new();
        let mut text = String::new();
        loop {
            let event = reader.read_event().expect("well-formed");
            if !matches!(event, Event::Text(_) | Event::GeneralRef(_)) && !text.is_empty() {
                found.push(std::mem::take(&mut text));
            }
            match event {
                Event::Start(start) | Event::Empty(start) => {
                    let mut line = start.name().as_ref().to_owned();
                    for attribute in start.attributes() {
                        let attribute = attribute.expect("an attribute");
                        let value = attribute
                            .normalized_value(quick_xml::XmlVersion::Implicit1_0)
                            .expect("a value");
                        line += &format!(" {}={value}", attribute.key.as_ref());
                    }
                    found.push(line);
                }
                Event::Text(part) => text += &part,
                Event::GeneralRef(name) => {
                    let entity = format!("&{};", &*name);
                    text += &quick_xml::escape::unescape(&entity).expect("a known one");
                }
                Event::Eof => return found,
                _ => {}
            }
        }
    }

    #[test]
    fn a_conference_is_written_whole() {
        let mut ann = user("Ann \"A\" <Admin>", "1001", 1);
        ann.is_moderator = true;
        let found = read(&view(&[ann, user("", "", 2)]).whole(&subject(), 7));
        let expected = [
            "conference-info xmlns=urn:ietf:params:xml:ns:conference-info entity=sip:3000@a.example state=full version=7",
            "conference-description",
            "display-text",
            "Tea & <Cake>",
            "conference-state",
            "user-count",
            "2",
            "active",
            "true",
            "locked",
            "false",
            "users state=full",
            "user entity=sip:1001@a.example;participant=1 state=full",
            "display-text",
            "Ann \"A\" <Admin>",
            "roles",
            "entry",
            "moderator",
            "endpoint entity=sip:1001@a.example;participant=1",
            "status",
            "connected",
            "media id=1",
            "type",
            "audio",
            "status",
            "sendrecv",
            "user entity=sip:anonymous@a.example;participant=2 state=full",
            "roles",
            "entry",
            "participant",
            "endpoint entity=sip:anonymous@a.example;participant=2",
            "status",
            "connected",
            "media id=1",
            "type",
            "audio",
            "status",
            "sendrecv",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_has_changed_is_written_alone() {
        let (ann, bob, cleo) = (user("Ann", "1", 1), user("Bob", "2", 2), user("Cleo", "3", 3));
        let before = view(&[ann.clone(), bob.clone()]);
        assert_eq!(before.since(&before, &subject(), 2), None);
        let mut after = view(&[ann, bob, cleo]);
        after.users.remove(&ParticipantId::new(1).unwrap());
        after
            .users
            .get_mut(&ParticipantId::new(2).unwrap())
            .unwrap()
            .status = "muted-via-focus";
        after.is_locked = true;
        let found = read(&after.since(&before, &subject(), 3).unwrap());
        assert_eq!(
            found[..8],
            [
                "conference-info xmlns=urn:ietf:params:xml:ns:conference-info entity=sip:3000@a.example state=partial version=3",
                "conference-state",
                "user-count",
                "2",
                "active",
                "true",
                "locked",
                "true"
            ]
        );
        let users: Vec<&String> = found.iter().filter(|line| line.starts_with("user ")).collect();
        assert_eq!(
            users,
            [
                "user entity=sip:1@a.example;participant=1 state=deleted",
                "user entity=sip:2@a.example;participant=2 state=full",
                "user entity=sip:3@a.example;participant=3 state=full",
            ]
        );
        assert!(found.contains(&"muted-via-focus".to_owned()));
    }

    #[test]
    fn what_is_said_of_a_participant_follows_his_state() {
        for (muted, deaf, held, status, media) in [
            (false, false, false, "connected", "sendrecv"),
            (true, false, false, "muted-via-focus", "recvonly"),
            (false, true, false, "connected", "sendonly"),
            (true, true, false, "muted-via-focus", "inactive"),
            (true, false, true, "on-hold", "inactive"),
        ] {
            let mut state = participant(1);
            (state.muted, state.deaf, state.held) = (muted, deaf, held);
            let user = User::of(&state, "a.example");
            assert_eq!(
                (user.status, user.media),
                (status, media),
                "{muted} {deaf} {held}"
            );
        }
    }

    #[test]
    fn a_crowd_is_told_by_its_number() {
        let crowd: Vec<User> = (1..=1000)
            .map(|id| user("Somebody With A Name", "1000", id))
            .collect();
        let crowd = view(&crowd);
        let whole = crowd.whole(&subject(), 1);
        assert!(whole.len() < 1000 && whole.contains("<user-count>1000</user-count>"));
        let partial = crowd.since(&View::default(), &subject(), 2).unwrap();
        assert!(partial.contains("state=\"full\"") && partial.len() < 1000);
    }

    proptest! {
        #[test]
        fn any_name_and_number_come_through_as_they_are(name in "\\PC{1,30}", number in any::<String>(), control in any::<char>()) {
            let shown = format!("{name}{control}");
            let found = read(&view(&[user(&shown, &number, 1)]).whole(&subject(), 1));
            prop_assert!(found.iter().any(|line| line.contains(name.trim())), "{found:?}");
            prop_assert_eq!(found.iter().filter(|line| line.starts_with("user ")).count(), 1);
        }
    }
}

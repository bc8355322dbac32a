//! Owns which events are published. Never knows an event beyond its kind.

use std::collections::BTreeSet;

use confab_conference::EventKind;

/// Which events leave the server; without names, all of them.
///
/// What is not published still counts: the `sequence` of what is published then has gaps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    legs: BTreeSet<String>,
    conferences: BTreeSet<String>,
}

impl EventFilter {
    /// Returns the filter that publishes the named events of legs and the named events of conferences. An empty list stands for all
    /// of its side.
    ///
    /// # Errors
    /// The first name that is no event of its side.
    pub fn new(legs: &[String], conferences: &[String]) -> Result<EventFilter, String> {
        Ok(EventFilter {
            legs: known(legs, EventKind::LEG_NAMES)?,
            conferences: known(conferences, EventKind::CONFERENCE_NAMES)?,
        })
    }

    /// Returns whether events of that kind are published.
    pub fn publishes(&self, kind: EventKind) -> bool {
        let names = if kind.is_about_leg() {
            &self.legs
        } else {
            &self.conferences
        };
        names.is_empty() || names.contains(kind.name())
    }
}

fn known(names: &[String], events: &[&str]) -> Result<BTreeSet<String>, String> {
    match names.iter().find(|name| !events.contains(&name.as_str())) {
        Some(unknown) => Err(unknown.clone()),
        None => Ok(names.iter().cloned().collect()),
    }
}

#[cfg(test)]
mod tests {
    use confab_conference::LeaveCause;

    use super::*;

    fn texts(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn an_empty_list_stands_for_all_of_its_side() {
        let all = EventFilter::default();
        let some = EventFilter::new(&texts(&["add-member", "del-member"]), &[]).unwrap();
        let rows = [
            (EventKind::AddMember, true),
            (EventKind::DelMember(LeaveCause::Kicked), true),
            (EventKind::MuteMember, false),
            (EventKind::Lock, true),
            (EventKind::ConferenceDestroy, true),
        ];
        for (kind, published) in rows {
            assert!(all.publishes(kind));
            assert_eq!(some.publishes(kind), published, "{kind:?}");
        }
        let locks = EventFilter::new(&[], &texts(&["lock"])).unwrap();
        assert!(locks.publishes(EventKind::Lock) && locks.publishes(EventKind::MuteMember));
        assert!(!locks.publishes(EventKind::Unlock));
    }

    #[test]
    fn a_name_of_no_event_of_its_side_is_refused() {
        for (legs, conferences, unknown) in [
            (&["add-member", "add_member"][..], &[][..], "add_member"),
            (&["lock"], &[], "lock"),
            (&[], &["mute-member"], "mute-member"),
        ] {
            let refused = EventFilter::new(&texts(legs), &texts(conferences));
            assert_eq!(refused, Err(unknown.to_owned()));
        }
    }
}

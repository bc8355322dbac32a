//! Owns what a conference, or a service number, says about how callers come in. Never knows documents.

use confab_conference::Role;

use crate::pin::Pins;
use crate::prompt::{Prompt, Saying};

/// How long a caller may think before what he has typed is taken, where nothing else is said, in milliseconds.
pub const DEFAULT_TIMEOUT_MS: u32 = 5000;

/// What becomes of callers of one role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleFlow {
    /// PINs that give the role.
    pub pins: Pins,
    /// The joining prompt is played to who has the role.
    pub says_joining: bool,
}

impl Default for RoleFlow {
    fn default() -> Self {
        RoleFlow {
            pins: Pins::default(),
            says_joining: true,
        }
    }
}

/// How callers come to say their names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NameFlow {
    /// A caller hears what he has said, and may say it again.
    pub reviews: bool,
}

/// How callers come into one conference. The defaults are those of an empty conference document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallFlow {
    /// Language of the prompts, as `en-us`.
    pub language: String,
    /// The welcome is played.
    pub welcome: bool,
    /// Members.
    pub member: RoleFlow,
    /// Moderators.
    pub moderator: RoleFlow,
    /// Time to think while a PIN is typed, in milliseconds.
    pub pin_timeout_ms: u32,
    /// Callers are asked for their names; `None` when they are not.
    pub names: Option<NameFlow>,
    /// What a caller hears just before he is mixed in; `None` for nothing.
    pub joining_sound: Option<Saying>,
    /// What a caller hears who is refused because the conference is locked; `None` for nothing.
    pub locked_sound: Option<Saying>,
    /// What a caller hears who is refused because the conference is full; `None` for nothing.
    pub full_sound: Option<Saying>,
}

impl Default for CallFlow {
    fn default() -> Self {
        let full = || Some(Saying::Media("conf-max_participants".to_owned()));
        CallFlow {
            language: "en-us".to_owned(),
            welcome: true,
            member: RoleFlow::default(),
            moderator: RoleFlow::default(),
            pin_timeout_ms: DEFAULT_TIMEOUT_MS,
            names: None,
            joining_sound: Some(Saying::Prompt(Prompt::Joining)),
            locked_sound: full(),
            full_sound: full(),
        }
    }
}

impl CallFlow {
    pub(crate) fn role(&self, role: Role) -> &RoleFlow {
        match role {
            Role::Member => &self.member,
            Role::Moderator => &self.moderator,
        }
    }

    /// Returns what who has the role hears just before he is mixed in.
    pub(crate) fn joining(&self, role: Role) -> Option<&Saying> {
        self.joining_sound
            .as_ref()
            .filter(|_| self.role(role).says_joining)
    }
}

/// What is known about a caller's role before he has entered a PIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleSoFar {
    /// He dialled a number of members.
    Member,
    /// He dialled a number of moderators.
    Moderator,
    /// He dialled a number of both; the PIN decides.
    Undecided,
    /// He has shown who he is: no PIN is asked for.
    Admitted(Role),
}

/// A conference that a caller has reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// What is known about his role.
    pub role: RoleSoFar,
    /// How callers come in.
    pub flow: CallFlow,
    /// He needs a PIN, and the guard lets his source try none ([`PinGuard::is_blocked`](crate::PinGuard::is_blocked)).
    pub is_blocked: bool,
    /// There is a recording of his name: he is not asked for it.
    pub is_named: bool,
}

impl Candidate {
    /// Returns a conference reached by somebody whom the guard does not know.
    pub fn new(role: RoleSoFar, flow: CallFlow) -> Candidate {
        Candidate {
            role,
            flow,
            is_blocked: false,
            is_named: false,
        }
    }

    /// Returns the role of a caller who is asked for no PIN, `None` when he is asked.
    pub fn role_without_pin(&self) -> Option<Role> {
        let (members, moderators) = (
            self.flow.member.pins.is_empty(),
            self.flow.moderator.pins.is_empty(),
        );
        match self.role {
            RoleSoFar::Admitted(role) => Some(role),
            RoleSoFar::Member => members.then_some(Role::Member),
            RoleSoFar::Moderator => moderators.then_some(Role::Moderator),
            RoleSoFar::Undecided => (members && moderators).then_some(Role::Member),
        }
    }

    /// Returns whether an entry without a digit makes him a member.
    pub fn may_enter_empty(&self) -> bool {
        self.role == RoleSoFar::Undecided && self.flow.member.pins.is_empty()
    }

    /// Returns whether he gets in with a PIN only.
    pub fn needs_pin(&self) -> bool {
        self.role_without_pin().is_none() && !self.may_enter_empty()
    }

    /// Returns whether he is asked for his name.
    pub fn asks_name(&self) -> bool {
        self.flow.names.is_some() && !self.is_named
    }

    /// Returns the role of a caller of whom nothing is asked and to whom nothing is said: he can be mixed in at once.
    pub fn role_at_once(&self) -> Option<Role> {
        let is_silent = |role: &Role| !self.flow.welcome && self.flow.joining(*role).is_none();
        self.role_without_pin()
            .filter(is_silent)
            .filter(|_| !self.asks_name())
    }
}

/// How callers of a service number come to name their conference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceFlow {
    /// Language of the prompts until the conference is known.
    pub language: String,
    /// Time to think while the number is typed, in milliseconds.
    pub number_timeout_ms: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_asked_for_a_pin() {
        use RoleSoFar::{Admitted, Member, Moderator, Undecided};
        let member = Some(Role::Member);
        let moderator = Some(Role::Moderator);
        let rows = [
            (Member, false, false, member),
            (Member, false, true, member),
            (Member, true, false, None),
            (Moderator, false, false, moderator),
            (Moderator, true, false, moderator),
            (Moderator, false, true, None),
            (Undecided, false, false, member),
            (Undecided, true, false, None),
            (Undecided, false, true, None),
            (Admitted(Role::Moderator), true, true, moderator),
            (Admitted(Role::Member), true, true, member),
        ];
        for (role, members, moderators, expected) in rows {
            let pins = |has| if has { Pins::new(["1"]) } else { Pins::default() };
            let mut flow = CallFlow::default();
            flow.member.pins = pins(members);
            flow.moderator.pins = pins(moderators);
            let mut candidate = Candidate::new(role, flow);
            assert_eq!(
                candidate.role_without_pin(),
                expected,
                "{role:?} {members} {moderators}"
            );
            assert_eq!(candidate.role_at_once(), None, "he is welcomed");
            candidate.flow.welcome = false;
            assert_eq!(candidate.role_at_once(), None, "he is told that he joins");
            candidate.flow.member.says_joining = false;
            candidate.flow.moderator.says_joining = false;
            assert_eq!(candidate.role_at_once(), expected);
            candidate.flow.names = Some(NameFlow::default());
            assert_eq!(candidate.role_at_once(), None, "he is asked for his name");
            candidate.is_named = true;
            assert_eq!(candidate.role_at_once(), expected);
        }
    }
}

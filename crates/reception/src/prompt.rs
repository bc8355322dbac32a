//! Owns the names of what a caller may hear before he is in the conference.

/// A spoken prompt (ids of KAZOO's call flow).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Prompt {
    /// Greets.
    Welcome,
    /// Asks for the number of a conference.
    EnterNumber,
    /// No conference has that number.
    BadNumber,
    /// Asks for the PIN.
    EnterPin,
    /// The PIN is wrong.
    BadPin,
    /// The answer takes a while.
    PleaseHold,
    /// There are no tries left.
    TooManyAttempts,
    /// Asks for the caller's name.
    AnnounceYourName,
    /// What follows is the name as it was recorded.
    YourAnnouncement,
    /// Asks whether it is to stay so.
    Review,
    /// The caller is about to be heard.
    Joining,
    /// There is no place for him, or no conference any more.
    Unavailable,
}

impl Prompt {
    /// All of them.
    pub const ALL: [Prompt; 12] = [
        Prompt::Welcome,
        Prompt::EnterNumber,
        Prompt::BadNumber,
        Prompt::EnterPin,
        Prompt::BadPin,
        Prompt::PleaseHold,
        Prompt::TooManyAttempts,
        Prompt::AnnounceYourName,
        Prompt::YourAnnouncement,
        Prompt::Review,
        Prompt::Joining,
        Prompt::Unavailable,
    ];

    /// Returns the id under which accounts override the prompt.
    pub fn id(self) -> &'static str {
        match self {
            Prompt::Welcome => "conf-welcome",
            Prompt::EnterNumber => "conf-enter_conf_number",
            Prompt::BadNumber => "conf-bad_conf",
            Prompt::EnterPin => "conf-enter_conf_pin",
            Prompt::BadPin => "conf-bad_pin",
            Prompt::PleaseHold => "conf-please_hold",
            Prompt::TooManyAttempts => "conf-too_many_attempts",
            Prompt::AnnounceYourName => "conf-announce_your_name",
            Prompt::YourAnnouncement => "conf-your_announcement",
            Prompt::Review => "conf-review",
            Prompt::Joining => "conf-joining_conference",
            Prompt::Unavailable => "conf-unavailable",
        }
    }
}

/// One thing that a caller is to hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Saying {
    /// A prompt, in the language of the output.
    Prompt(Prompt),
    /// What the conference's document names: media, a prompt id, a tone or a URL.
    Media(String),
    /// What was recorded last.
    Name,
}

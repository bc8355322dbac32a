//! A registration of ours with somebody else's registrar: kept alive until it is not wanted any more (RFC 3261 §10.2).
//!
//! Owns when a REGISTER is due and what stands in it, but for Via and Contact, which belong to the way that it takes. The client's half
//! beside `registrar`: told the time, handed the responses, sends nothing. One REGISTER is under way at a time.

mod fuzz;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

pub use fuzz::fuzz_registration;
use rand::Rng;

use crate::digest::{DigestChallenge, DigestIdentity, DigestRequest};
use crate::message::{CSeq, CallId, HeaderName, Method, NameAddr, Request, Response, StatusCode, Tag};
use crate::uri::{SipUri, Uri};

/// Contacts of a registrar's answer that are looked at: ours is one of them.
const MOST_CONTACTS: usize = 256;
/// The parameter of our Contact by which calls to it are known.
pub const LINE: &str = "line";
/// The first wait after a failure, and the longest (RFC 5626 §4.5).
const FIRST_WAIT: Duration = Duration::from_secs(30);
const LONGEST_WAIT: Duration = Duration::from_secs(1800);
/// The shortest wait after a refusal that another try does not change: registrars bar those who go on with a wrong password.
const REFUSED_WAIT: Duration = Duration::from_secs(300);
/// The longest wait that a registrar may ask for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);
/// The longest life that a registrar may insist on, seconds.
const LONGEST_EXPIRES_S: u32 = 86_400 * 7;
/// Answers to challenges and longer lives tried within one registration.
const MOST_ANSWERS: u32 = 4;

/// What is registered, and where.
#[derive(Debug, Clone)]
pub struct RegistrationConfig {
    /// The registrar: the Request-URI, without a user.
    pub registrar: SipUri,
    /// The address-of-record.
    pub address: NameAddr,
    /// Who we are when the registrar asks.
    pub identity: Option<DigestIdentity>,
    /// The life of the registration that is asked for, seconds.
    pub expires_s: u32,
    /// By this our Contact is known, among those of others and in calls.
    pub line: String,
}

/// How a registration stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegistrationState {
    /// It has not been answered yet.
    Trying,
    /// The registrar has us until then, unless it is refreshed.
    Registered(Instant),
    /// The last try came to nothing; there will be another.
    Failed(RegistrationFailure),
    /// It is not wanted any more and was taken back, as far as that could be.
    Gone,
}

/// Why a try came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegistrationFailure {
    /// The registrar refused.
    Refused(StatusCode),
    /// It said nothing.
    NoResponse,
    /// There is no way to it.
    Unreachable,
}

/// One registration.
pub struct Registration {
    config: RegistrationConfig,
    call_id: CallId,
    tag: Tag,
    cseq: u32,
    rng: Box<dyn Rng + Send>,
    state: RegistrationState,
    is_wanted: bool,
    /// The life that is asked for, after what the registrar insists on.
    expires_s: u32,
    asked: Option<Asked>,
    /// Answers since the last success or failure.
    answers: u32,
    /// The last challenge was answered since then.
    has_answered: bool,
    failures: u32,
    is_under_way: bool,
    /// The REGISTER that is under way takes the registration back.
    takes_back: bool,
    due: Option<Instant>,
}

/// Who asked for credentials.
#[derive(Debug)]
struct Asked {
    header: HeaderName,
    challenge: DigestChallenge,
    count: u32,
}

impl Registration {
    /// Returns a registration that is wanted from now on.
    pub fn new(now: Instant, config: RegistrationConfig, mut rng: Box<dyn Rng + Send>) -> Registration {
        let call_id = CallId::new(format!("{:016x}{:016x}", rng.next_u64(), rng.next_u64()));
        Registration {
            call_id,
            tag: Tag::new(format!("{:016x}", rng.next_u64())),
            cseq: rng.next_u32() % (1 << 16),
            rng,
            state: RegistrationState::Trying,
            is_wanted: true,
            expires_s: config.expires_s,
            config,
            asked: None,
            answers: 0,
            has_answered: false,
            failures: 0,
            is_under_way: false,
            takes_back: false,
            due: Some(now),
        }
    }

    // ---- getters

    /// How it stands at this time.
    pub fn state(&self, now: Instant) -> RegistrationState {
        match self.state {
            RegistrationState::Registered(until) if until <= now && self.is_wanted => {
                RegistrationState::Trying
            }
            state => state,
        }
    }

    /// When [`Registration::poll`] has something to send; `None` while a REGISTER is under way, and when all is over.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due.filter(|_| !self.is_under_way)
    }

    /// The next REGISTER, when it is due. Via and Contact are for whoever sends it, who tells what came of it.
    pub fn poll(&mut self, now: Instant) -> Option<Request> {
        self.poll_timeout().filter(|due| *due <= now)?;
        self.is_under_way = true;
        self.takes_back = !self.is_wanted;
        self.due = None;
        self.cseq += 1;
        let mut request = Request::new(Method::Register, self.config.registrar.clone());
        let number = CSeq {
            number: self.cseq,
            method: Method::Register,
        };
        let headers = &mut request.headers;
        headers.push(HeaderName::MaxForwards, "70");
        headers.push(
            HeaderName::From,
            self.config.address.clone().with_tag(&self.tag).to_bytes(),
        );
        headers.push(HeaderName::To, self.config.address.to_bytes());
        headers.push(HeaderName::CallId, self.call_id.clone());
        headers.push(HeaderName::CSeq, number.to_bytes());
        let expires_s = if self.takes_back { 0 } else { self.expires_s };
        headers.push(HeaderName::Expires, expires_s.to_string());
        self.authorize(&mut request);
        Some(request)
    }

    // ---- what comes of a REGISTER

    /// A response came; provisional ones change nothing.
    pub fn handle_response(&mut self, now: Instant, response: &Response) {
        if !self.is_under_way || !response.status.is_final() {
            return;
        }
        self.is_under_way = false;
        let was_taking_back = self.takes_back;
        match response.status {
            status if status.is_success() => self.succeed(now, response),
            StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED
                if self.note(response) && self.may_answer() =>
            {
                self.has_answered = true;
                self.due = Some(now);
            }
            StatusCode::INTERVAL_TOO_BRIEF
                if !was_taking_back && self.lengthen(response) && self.may_answer() =>
            {
                self.due = Some(now);
            }
            status => self.fail(now, RegistrationFailure::Refused(status), retry_after(response)),
        }
    }

    /// No response came, or the REGISTER could not be sent.
    pub fn handle_failure(&mut self, now: Instant, failure: RegistrationFailure) {
        if std::mem::take(&mut self.is_under_way) {
            self.fail(now, failure, None);
        }
    }

    // ---- commands

    /// Registers anew, at once: this side's address has changed.
    pub fn renew(&mut self, now: Instant) {
        if self.is_wanted {
            self.due = Some(now);
        }
    }

    /// Takes the registration back.
    pub fn unregister(&mut self, now: Instant) {
        if !std::mem::take(&mut self.is_wanted) {
            return;
        }
        // Who was never registered has nothing to take back, unless the answer is yet to come.
        let may_be_there = self.is_under_way || matches!(self.state, RegistrationState::Registered(_));
        if may_be_there {
            self.due = Some(now);
        } else {
            self.end();
        }
    }

    fn succeed(&mut self, now: Instant, response: &Response) {
        self.settle();
        self.failures = 0;
        if self.takes_back {
            return self.end();
        }
        let granted_s = self.granted_s(response);
        if granted_s == 0 {
            return self.fail(now, RegistrationFailure::Refused(response.status), None);
        }
        let granted = Duration::from_secs(granted_s.into());
        self.state = RegistrationState::Registered(now + granted);
        let early = (granted / 10).max(Duration::from_secs(30)).min(granted / 2);
        self.due = Some(match self.is_wanted {
            true => now + granted - early,
            false => now,
        });
    }

    /// The life that the registrar gives: that of our Contact, else of all.
    fn granted_s(&self, response: &Response) -> u32 {
        let contacts = response.headers.readable_contacts(MOST_CONTACTS);
        let is_ours = |contact: &&NameAddr| {
            let line = contact.uri.as_sip().and_then(|uri| uri.params.value(LINE));
            line.is_some_and(|line| line.as_bytes() == self.config.line.as_bytes())
        };
        let ours = contacts.iter().find(is_ours).or(match &contacts[..] {
            [only] => Some(only),
            _ => None,
        });
        let of_ours = ours.and_then(|contact| {
            let text = contact.params.value("expires")?.to_str_lossy().into_owned();
            text.trim().parse().ok()
        });
        let of_all = || response.headers.expires().ok().flatten();
        of_ours
            .or_else(of_all)
            .unwrap_or(self.expires_s)
            .min(LONGEST_EXPIRES_S)
    }

    fn fail(&mut self, now: Instant, failure: RegistrationFailure, told: Option<Duration>) {
        self.settle();
        if self.takes_back || !self.is_wanted {
            return self.end();
        }
        let is_there = matches!(self.state, RegistrationState::Registered(until) if until > now);
        let doubled = FIRST_WAIT * 2u32.saturating_pow(self.failures.min(10));
        self.failures = self.failures.saturating_add(1);
        let wait = match (failure, told) {
            (_, Some(told)) => told.clamp(Duration::from_secs(1), LONGEST_RETRY_AFTER),
            (RegistrationFailure::Refused(status), None) if is_lasting(status) => doubled.max(REFUSED_WAIT),
            _ => doubled,
        };
        // All who lost the same registrar do not come back at the same instant.
        let share = 500 + self.rng.next_u32() % 500;
        let wait = wait.min(LONGEST_RETRY_AFTER.max(LONGEST_WAIT));
        let wait = if told.is_some() {
            wait
        } else {
            wait.min(LONGEST_WAIT) * share / 1000
        };
        self.due = Some(now + wait);
        let refused = matches!(failure, RegistrationFailure::Refused(_));
        if !is_there || refused {
            self.state = RegistrationState::Failed(failure);
        }
    }

    fn end(&mut self) {
        self.state = RegistrationState::Gone;
        self.due = None;
    }

    fn settle(&mut self) {
        (self.answers, self.has_answered) = (0, false);
    }

    fn may_answer(&mut self) -> bool {
        self.answers += 1;
        self.answers <= MOST_ANSWERS
    }

    /// Takes the life that the registrar insists on. Returns false when it is none.
    fn lengthen(&mut self, response: &Response) -> bool {
        let least = response.headers.text(&HeaderName::MinExpires);
        let least = least.and_then(|text| text.to_str_lossy().trim().parse::<u32>().ok());
        match least {
            Some(least) if least > self.expires_s && least <= LONGEST_EXPIRES_S => {
                self.expires_s = least;
                true
            }
            _ => false,
        }
    }

    // ---- credentials

    /// Takes note of what a response asks. Returns whether an answer can help.
    fn note(&mut self, response: &Response) -> bool {
        let Some(identity) = &self.config.identity else {
            return false;
        };
        let (asks, answers) = match response.status {
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                (HeaderName::ProxyAuthenticate, HeaderName::ProxyAuthorization)
            }
            _ => (HeaderName::WwwAuthenticate, HeaderName::Authorization),
        };
        let all = response.headers.get_all(&asks);
        let readable = all.filter_map(|value| DigestChallenge::parse(value));
        let Some(challenge) = DigestChallenge::best(readable.filter(|one| identity.is_for(&one.realm)))
        else {
            return false;
        };
        let is_same = self
            .asked
            .as_ref()
            .is_some_and(|asked| asked.header == answers && asked.challenge.realm == challenge.realm);
        // An answer to this very question was wrong, unless only its nonce was old. One of an earlier refresh may be old without a word.
        let is_wrong = is_same && self.has_answered && !challenge.is_stale;
        self.asked = Some(Asked {
            header: answers,
            challenge,
            count: 0,
        });
        !is_wrong
    }

    fn authorize(&mut self, request: &mut Request) {
        let Some((asked, identity)) = self.asked.as_mut().zip(self.config.identity.as_ref()) else {
            return;
        };
        asked.count += 1;
        let uri = Uri::Sip(self.config.registrar.clone()).to_bytes();
        let cnonce = format!("{:016x}", self.rng.next_u64());
        let value = asked.challenge.answer(
            identity,
            DigestRequest {
                method: "REGISTER",
                uri: &String::from_utf8_lossy(&uri),
                body: &[],
                cnonce: &cnonce,
                count: asked.count,
            },
        );
        request.headers.push(asked.header.clone(), value);
    }
}

/// Whether another try soon would be refused alike.
fn is_lasting(status: StatusCode) -> bool {
    let code = status.code();
    (300..500).contains(&code) && !matches!(code, 408 | 423 | 480 | 491) || code >= 600
}

fn retry_after(response: &Response) -> Option<Duration> {
    let told = response.headers.retry_after().ok().flatten()?;
    Some(Duration::from_secs(told.seconds.into()))
}

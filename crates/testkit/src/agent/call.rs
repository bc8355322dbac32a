//! Owns one outgoing call of an agent: its dialog, its INVITEs and what the server sent in it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::phone::{PhoneInner, PhoneState};
use super::{AgentError, AudioOffer, RemoteAudio, SipMessage};
use crate::random::SeededRandom;

/// What a test wants in an INVITE.
#[derive(Debug, Clone, Default)]
pub struct Invite {
    /// User part of the request-URI: the conference number.
    pub number: String,
    /// Host part of the request-URI; `None` takes the server's address.
    pub host: Option<String>,
    /// User part of `From`; the empty string means `agent`.
    pub caller_number: String,
    /// Display name of `From`.
    pub caller_name: Option<String>,
    /// The session description; `None` leaves the offer to the server (RFC 3264 late offer).
    pub description: Option<String>,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// Leaves the acknowledgement of a 2xx to the test. Without a description it always is.
    pub manual_ack: bool,
}

impl Invite {
    /// Calls `number` with an audio offer.
    pub fn to(number: &str, offer: &AudioOffer) -> Self {
        Self {
            number: number.to_owned(),
            description: Some(offer.to_string()),
            ..Self::default()
        }
    }

    /// Calls `number` and lets the server make the offer.
    pub fn without_offer(number: &str) -> Self {
        Self {
            number: number.to_owned(),
            ..Self::default()
        }
    }

    /// Sets who is calling.
    #[must_use]
    pub fn caller(mut self, number: &str, name: &str) -> Self {
        self.caller_number = number.to_owned();
        self.caller_name = Some(name.to_owned());
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// One outgoing call.
#[derive(Clone)]
pub struct Call {
    phone: Arc<PhoneInner>,
    call_id: String,
}

/// A message from the server and when it was read.
#[derive(Debug, Clone)]
pub(super) struct Arrived {
    at: Instant,
    message: SipMessage,
}

pub(super) struct CallState {
    user: String,
    from: String,
    to: String,
    remote_target: String,
    cseq: u32,
    /// The latest INVITE or re-INVITE, as sent.
    invite: SipMessage,
    invited_at: Instant,
    manual_ack: bool,
    /// The acknowledgement of the latest 2xx, sent again for every repetition of it.
    ack: Option<Vec<u8>>,
    acks_seen_2xx: u32,
    provisional: Vec<Arrived>,
    finals: Vec<Arrived>,
    requests: Vec<Arrived>,
}

impl Call {
    pub(super) fn start(phone: &Arc<PhoneInner>, invite: Invite) -> Result<Self, AgentError> {
        let call_id = format!("{}@agent", phone.token());
        let user = if invite.caller_number.is_empty() {
            "agent".to_owned()
        } else {
            invite.caller_number
        };
        let host = invite.host.unwrap_or_else(|| phone.server.to_string());
        let uri = format!("sip:{}@{host}", invite.number);
        let name = invite
            .caller_name
            .map(|name| format!("\"{name}\" "))
            .unwrap_or_default();
        let from = format!("{name}<sip:{user}@{}>;tag={}", phone.local, phone.token());
        let to = format!("<{uri}>");
        let mut request = SipMessage::request("INVITE", &uri)
            .with("Via", phone.via())
            .with("Max-Forwards", 70)
            .with("From", &from)
            .with("To", &to)
            .with("Call-ID", &call_id)
            .with("CSeq", "1 INVITE")
            .with("Contact", phone.contact(&user));
        for (name, value) in &invite.headers {
            request = request.with(name, value);
        }
        let manual_ack = invite.manual_ack || invite.description.is_none();
        if let Some(description) = invite.description {
            request = request.with_body("application/sdp", description);
        }
        let state = CallState {
            user,
            from,
            to,
            remote_target: uri,
            cseq: 1,
            invite: request.clone(),
            invited_at: Instant::now(),
            manual_ack,
            ack: None,
            acks_seen_2xx: 0,
            provisional: Vec::new(),
            finals: Vec::new(),
            requests: Vec::new(),
        };
        phone.lock().calls.insert(call_id.clone(), state);
        phone.send_request(&request)?;
        Ok(Self {
            phone: Arc::clone(phone),
            call_id,
        })
    }

    /// Returns the Call-ID.
    pub fn call_id(&self) -> &str {
        &self.call_id
    }

    /// Waits for the final response to the latest INVITE or re-INVITE, whatever it says.
    pub fn wait_final(&self, timeout: Duration) -> Result<SipMessage, AgentError> {
        self.wait("final response to INVITE", timeout, |call| {
            call.finals.last().map(|arrived| arrived.message.clone())
        })
    }

    /// Waits for a 2xx and reads its session description; any other final response is an error.
    pub fn wait_answer(&self, timeout: Duration) -> Result<RemoteAudio, AgentError> {
        let response = self.wait_final(timeout)?;
        match response.status() {
            Some(200..=299) => RemoteAudio::parse(&response.body),
            _ => Err(AgentError::Refused(response.start_line)),
        }
    }

    /// Waits for a provisional response with this status.
    pub fn wait_provisional(&self, status: u16, timeout: Duration) -> Result<SipMessage, AgentError> {
        self.wait("provisional response", timeout, |call| {
            let mut messages = call.provisional.iter().map(|arrived| &arrived.message);
            messages.find(|message| message.status() == Some(status)).cloned()
        })
    }

    /// Returns how long the server took from INVITE to final response, once there is one.
    pub fn answer_time(&self) -> Option<Duration> {
        let state = self.phone.lock();
        let call = state.calls.get(&self.call_id)?;
        Some(call.finals.last()?.at - call.invited_at)
    }

    /// Returns how many times a 2xx to the latest INVITE has arrived: repetitions show that the server missed the ACK.
    pub fn answers_seen(&self) -> u32 {
        self.phone
            .lock()
            .calls
            .get(&self.call_id)
            .map_or(0, |call| call.acks_seen_2xx)
    }

    /// Acknowledges the latest 2xx, with an answer when the server made the offer.
    pub fn ack(&self, answer: Option<&AudioOffer>) -> Result<(), AgentError> {
        let via = self.phone.via();
        let mut state = self.phone.lock();
        let call = state
            .calls
            .get_mut(&self.call_id)
            .expect("a call keeps its state");
        let ack = call.ack_request(&via, answer);
        call.ack = Some(ack.clone());
        drop(state);
        Ok(self.phone.send(&ack)?)
    }

    /// Cancels the INVITE (RFC 3261 §9.1) and returns the response to the CANCEL.
    pub fn cancel(&self, timeout: Duration) -> Result<SipMessage, AgentError> {
        let invite = self.read(|call| call.invite.clone());
        let copied = ["Via", "Max-Forwards", "From", "To", "Call-ID"];
        let uri = invite.start_line.split(' ').nth(1).unwrap_or_default();
        let mut request = SipMessage::request("CANCEL", uri);
        for name in copied {
            request = request.with(name, invite.header(name).unwrap_or_default());
        }
        let number = invite.cseq().map_or(1, |(number, _)| number);
        let key = self
            .phone
            .send_request(&request.with("CSeq", format!("{number} CANCEL")))?;
        self.phone.wait_final(&key, timeout)
    }

    /// Sends a re-INVITE; its 2xx is acknowledged by itself. Returns the final response.
    pub fn reinvite(&self, offer: &AudioOffer, timeout: Duration) -> Result<SipMessage, AgentError> {
        let request = self
            .in_dialog("INVITE", &[])
            .with_body("application/sdp", offer.to_string());
        self.send_reinvite(request, false, timeout)
    }

    /// Sends a re-INVITE that leaves the offer to the server, and returns the final response. The ACK of its 2xx, with
    /// the answer, is the test's.
    pub fn reinvite_without_offer(&self, timeout: Duration) -> Result<SipMessage, AgentError> {
        self.send_reinvite(self.in_dialog("INVITE", &[]), true, timeout)
    }

    fn send_reinvite(
        &self,
        request: SipMessage,
        manual_ack: bool,
        timeout: Duration,
    ) -> Result<SipMessage, AgentError> {
        let mut state = self.phone.lock();
        let call = state
            .calls
            .get_mut(&self.call_id)
            .expect("a call keeps its state");
        call.invite = request.clone();
        call.invited_at = Instant::now();
        call.manual_ack = manual_ack;
        call.ack = None;
        call.acks_seen_2xx = 0;
        call.finals.clear();
        drop(state);
        self.phone.send_request(&request)?;
        self.wait_final(timeout)
    }

    /// Sends any other request in the dialog and returns its final response.
    pub fn request(
        &self,
        method: &str,
        headers: &[(&str, &str)],
        timeout: Duration,
    ) -> Result<SipMessage, AgentError> {
        let key = self.phone.send_request(&self.in_dialog(method, headers))?;
        self.phone.wait_final(&key, timeout)
    }

    /// Sends a request with a body in the dialog and returns its final response.
    pub fn request_with_body(
        &self,
        method: &str,
        content_type: &str,
        body: &str,
        timeout: Duration,
    ) -> Result<SipMessage, AgentError> {
        let request = self
            .in_dialog(method, &[])
            .with_body(content_type, body.to_owned());
        let key = self.phone.send_request(&request)?;
        self.phone.wait_final(&key, timeout)
    }

    /// Sends a BYE without waiting for its answer, which is collected in the background.
    pub fn send_bye(&self) -> Result<(), AgentError> {
        self.phone.send_request(&self.in_dialog("BYE", &[])).map(drop)
    }

    /// Ends the call and waits for the server's answer.
    pub fn bye(&self, timeout: Duration) -> Result<SipMessage, AgentError> {
        self.request("BYE", &[], timeout)
    }

    /// Waits until the server sends a request with this method in the call, and returns it with its time of arrival.
    pub fn wait_request(&self, method: &str, timeout: Duration) -> Result<(Instant, SipMessage), AgentError> {
        self.wait("request from the server", timeout, |call| {
            let mut requests = call.requests.iter();
            let found = requests.find(|arrived| arrived.message.method() == Some(method))?;
            Some((found.at, found.message.clone()))
        })
    }

    /// Returns the requests with this method that the server has sent in the call so far.
    pub fn requests(&self, method: &str) -> Vec<SipMessage> {
        self.read(|call| {
            let requests = call.requests.iter().map(|arrived| &arrived.message);
            requests
                .filter(|request| request.method() == Some(method))
                .cloned()
                .collect()
        })
    }

    /// Returns the Request-URI of what is sent in the call.
    pub fn remote_target(&self) -> String {
        self.read(|call| call.remote_target.clone())
    }

    /// Returns the tags of its own side and of the server's; an empty one before there is an answer.
    pub fn tags(&self) -> (String, String) {
        let tag = |value: &str| {
            let tag = value
                .split(";tag=")
                .nth(1)
                .and_then(|rest| rest.split(';').next());
            tag.unwrap_or_default().to_owned()
        };
        self.read(|call| (tag(&call.from), tag(&call.to)))
    }

    /// Says whether the server has ended the call.
    pub fn ended_by_server(&self) -> bool {
        self.read(|call| {
            call.requests
                .iter()
                .any(|arrived| arrived.message.method() == Some("BYE"))
        })
    }

    fn in_dialog(&self, method: &str, headers: &[(&str, &str)]) -> SipMessage {
        let via = self.phone.via();
        let mut state = self.phone.lock();
        let call = state
            .calls
            .get_mut(&self.call_id)
            .expect("a call keeps its state");
        call.cseq += 1;
        let mut request = SipMessage::request(method, &call.remote_target)
            .with("Via", via)
            .with("Max-Forwards", 70)
            .with("From", &call.from)
            .with("To", &call.to)
            .with("Call-ID", &self.call_id)
            .with("CSeq", format!("{} {method}", call.cseq))
            .with("Contact", self.phone.contact(&call.user));
        for (name, value) in headers {
            request = request.with(name, value);
        }
        request
    }

    fn read<R>(&self, read: impl FnOnce(&CallState) -> R) -> R {
        read(
            self.phone
                .lock()
                .calls
                .get(&self.call_id)
                .expect("a call keeps its state"),
        )
    }

    fn wait<R>(
        &self,
        what: &'static str,
        timeout: Duration,
        ready: impl Fn(&CallState) -> Option<R>,
    ) -> Result<R, AgentError> {
        self.phone.wait_for(what, timeout, |state: &mut PhoneState| {
            state.calls.get(&self.call_id).and_then(&ready)
        })
    }
}

impl CallState {
    /// Takes note of a response to the INVITE; returns the ACK that is due.
    pub(super) fn on_invite_response(
        &mut self,
        phone: &PhoneInner,
        random: &mut SeededRandom,
        response: &SipMessage,
        status: u16,
    ) -> Option<Vec<u8>> {
        let arrived = Arrived {
            at: Instant::now(),
            message: response.clone(),
        };
        if status < 200 {
            self.provisional.push(arrived);
            return None;
        }
        if response.cseq().map(|(number, _)| number) != self.invite.cseq().map(|(number, _)| number) {
            return None;
        }
        let first = self.finals.is_empty();
        if first {
            self.finals.push(arrived);
        }
        if status >= 300 {
            return Some(self.ack_of_refusal(response));
        }
        self.acks_seen_2xx += 1;
        if first {
            self.to = response.header("To").unwrap_or(&self.to).to_owned();
            self.remote_target = response.contact_uri().unwrap_or(&self.remote_target).to_owned();
            if !self.manual_ack {
                let branch = random.next_u64();
                let via = format!(
                    "SIP/2.0/{} {};rport;branch=z9hG4bK{branch:016x}",
                    phone.transport(),
                    phone.local
                );
                self.ack = Some(self.ack_request(&via, None));
            }
        }
        self.ack.clone()
    }

    pub(super) fn on_request(&mut self, request: SipMessage) {
        let known = self
            .requests
            .iter()
            .any(|arrived| arrived.message.header("CSeq") == request.header("CSeq"));
        if !known {
            self.requests.push(Arrived {
                at: Instant::now(),
                message: request,
            });
        }
    }

    /// The ACK of a 2xx is a request of its own (RFC 3261 §13.2.2.4).
    fn ack_request(&self, via: &str, answer: Option<&AudioOffer>) -> Vec<u8> {
        let number = self.invite.cseq().map_or(1, |(number, _)| number);
        let request = SipMessage::request("ACK", &self.remote_target)
            .with("Via", via)
            .with("Max-Forwards", 70)
            .with("From", &self.from)
            .with("To", &self.to)
            .with("Call-ID", self.invite.header("Call-ID").unwrap_or_default())
            .with("CSeq", format!("{number} ACK"));
        match answer {
            Some(answer) => request
                .with_body("application/sdp", answer.to_string())
                .to_bytes(),
            None => request.to_bytes(),
        }
    }

    /// The ACK of a refusal belongs to the INVITE's transaction (RFC 3261 §17.1.1.3).
    fn ack_of_refusal(&self, response: &SipMessage) -> Vec<u8> {
        let uri = self.invite.start_line.split(' ').nth(1).unwrap_or_default();
        let header = |name| self.invite.header(name).unwrap_or_default();
        let number = self.invite.cseq().map_or(1, |(number, _)| number);
        SipMessage::request("ACK", uri)
            .with("Via", header("Via"))
            .with("Max-Forwards", 70)
            .with("From", header("From"))
            .with("To", response.header("To").unwrap_or_default())
            .with("Call-ID", header("Call-ID"))
            .with("CSeq", format!("{number} ACK"))
            .to_bytes()
    }
}

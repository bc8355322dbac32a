//! Registers a device over a UDP socket of its own, message by message, as a phone does.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use super::{AgentError, SipMessage, digest};

/// How long a response is waited for before the request is sent again.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often it is sent.
const TRIES: usize = 8;

/// A device with its credentials.
#[derive(Debug)]
pub struct Device {
    socket: UdpSocket,
    server: SocketAddr,
    realm: String,
    user: String,
    password: String,
    call_id: String,
    cseq: u32,
    /// The last challenge, and how often it was answered.
    challenge: Option<(SipMessage, u32)>,
}

impl Device {
    /// Makes a device that registers as `user@realm` at `server`, from a free port of the server's address.
    pub fn new(server: SocketAddr, realm: &str, user: &str, password: &str) -> Result<Self, AgentError> {
        let socket = UdpSocket::bind((server.ip(), 0))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let call_id = format!("{}-{user}", socket.local_addr()?.port());
        Ok(Self {
            socket,
            server,
            realm: realm.to_owned(),
            user: user.to_owned(),
            password: password.to_owned(),
            call_id,
            cseq: 0,
            challenge: None,
        })
    }

    /// Returns where it sends from.
    pub fn address(&self) -> Result<SocketAddr, AgentError> {
        Ok(self.socket.local_addr()?)
    }

    /// Sends REGISTER, answers a challenge, and returns the final response. `contact` is the value of Contact, none where it is
    /// empty; `expires` that of Expires.
    pub fn register(&mut self, contact: &str, expires: u32) -> Result<SipMessage, AgentError> {
        let first = self.register_once(contact, expires)?;
        if first.status() != Some(401) {
            return Ok(first);
        }
        self.challenge = Some((first, 0));
        self.register_once(contact, expires)
    }

    /// Sends REGISTER with what it was challenged with before, if it was, and returns the response.
    pub fn register_once(&mut self, contact: &str, expires: u32) -> Result<SipMessage, AgentError> {
        self.cseq += 1;
        let (uri, address) = (format!("sip:{}", self.realm), self.address()?);
        let record = format!("<sip:{}@{}>", self.user, self.realm);
        let mut request = SipMessage::request("REGISTER", &uri)
            .with(
                "Via",
                format!(
                    "SIP/2.0/UDP {address};rport;branch=z9hG4bK{}-{}",
                    self.call_id, self.cseq
                ),
            )
            .with("Max-Forwards", 70)
            .with("From", format!("{record};tag={}", self.cseq))
            .with("To", record)
            .with("Call-ID", &self.call_id)
            .with("CSeq", format!("{} REGISTER", self.cseq))
            .with("Expires", expires);
        if !contact.is_empty() {
            request = request.with("Contact", contact);
        }
        if let Some((challenge, count)) = &mut self.challenge {
            *count += 1;
            let value =
                digest::answer_again(challenge, "REGISTER", &uri, (&self.user, &self.password), *count);
            if let Some(value) = value {
                request = request.with("Authorization", value);
            }
        }
        self.exchange(&request)
    }

    /// Forgets how often the last challenge was answered: the next answer is one that there was before.
    pub fn recount(&mut self) {
        if let Some((_, count)) = &mut self.challenge {
            *count = 0;
        }
    }

    /// The contact that it is reached by.
    pub fn contact(&self) -> Result<String, AgentError> {
        Ok(format!("<sip:{}@{}>", self.user, self.address()?))
    }

    /// Waits for a request of the server, and answers it with 200.
    pub fn wait_request(&self, timeout: Duration) -> Result<SipMessage, AgentError> {
        let deadline = Instant::now() + timeout;
        while Instant::now() < deadline {
            if let Some(message) = self.receive()?
                && message.status().is_none()
            {
                let answer = SipMessage::response(&message, 200, "OK");
                self.socket.send_to(&answer.to_bytes(), self.server)?;
                return Ok(message);
            }
        }
        Err(AgentError::TimedOut {
            what: "a request of the server",
            waited: timeout,
        })
    }

    fn exchange(&self, request: &SipMessage) -> Result<SipMessage, AgentError> {
        for _ in 0..TRIES {
            self.socket.send_to(&request.to_bytes(), self.server)?;
            let deadline = Instant::now() + PATIENCE;
            while Instant::now() < deadline {
                if let Some(message) = self.receive()?
                    && message.status().is_some_and(|status| status >= 200)
                    && message.cseq() == request.cseq()
                {
                    return Ok(message);
                }
            }
        }
        Err(AgentError::TimedOut {
            what: "a response to REGISTER",
            waited: PATIENCE * TRIES as u32,
        })
    }

    fn receive(&self) -> Result<Option<SipMessage>, AgentError> {
        let mut buffer = [0; 8192];
        match self.socket.recv(&mut buffer) {
            Ok(length) => Ok(SipMessage::parse(&buffer[..length])),
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}

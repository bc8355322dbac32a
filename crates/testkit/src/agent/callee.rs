//! Owns a user agent that is called: a UDP socket, its thread, and every INVITE that came in with what became of it.
//!
//! It does by itself what keeps a call alive (200 again until the ACK comes, answers to CANCEL, BYE and OPTIONS) and decides nothing: the
//! test rings, answers and refuses.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{AgentError, AudioOffer, RemoteAudio, SipMessage, T1, T2};
use crate::codec::Codec;
use crate::random::SeededRandom;
use crate::rtp::{RtpEngine, Source, Stream};

const STEP: Duration = Duration::from_millis(20);

/// A user agent that is called.
pub struct Callee {
    inner: Arc<Inner>,
    thread: Option<JoinHandle<()>>,
}

struct Inner {
    socket: UdpSocket,
    local: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
    stopping: AtomicBool,
}

#[derive(Default)]
struct State {
    calls: Vec<Leg>,
    taken: usize,
}

/// One call that came in.
struct Leg {
    invite: SipMessage,
    from: SocketAddr,
    at: Instant,
    tag: String,
    /// The last response to the INVITE, sent again when it comes again.
    response: Option<Vec<u8>>,
    is_final: bool,
    /// When the 200 is due again, and after what time once more.
    again: Option<(Instant, Duration)>,
    /// ACK, CANCEL, BYE and others, in their order.
    requests: Vec<SipMessage>,
    bye_answered: bool,
}

/// A call that is for the test to decide.
pub struct Incoming {
    inner: Arc<Inner>,
    index: usize,
    /// The INVITE.
    pub invite: SipMessage,
    /// When it came.
    pub at: Instant,
}

impl Callee {
    /// Opens a user agent on a port of its own at this address.
    pub fn at(ip: IpAddr) -> Result<Self, AgentError> {
        Self::bound(SocketAddr::new(ip, 0))
    }

    /// Opens one at exactly this address.
    pub fn bound(address: SocketAddr) -> Result<Self, AgentError> {
        let socket = UdpSocket::bind(address)?;
        socket.set_read_timeout(Some(STEP))?;
        let inner = Arc::new(Inner {
            local: socket.local_addr()?,
            socket,
            state: Mutex::default(),
            changed: Condvar::new(),
            stopping: AtomicBool::new(false),
        });
        let of_thread = Arc::clone(&inner);
        let thread = std::thread::Builder::new()
            .name("agent-callee".into())
            .spawn(move || of_thread.run())?;
        Ok(Self {
            inner,
            thread: Some(thread),
        })
    }

    /// Opens one on loopback.
    pub fn new() -> Result<Self, AgentError> {
        Self::at(IpAddr::from([127, 0, 0, 1]))
    }

    /// Returns its address.
    pub fn address(&self) -> SocketAddr {
        self.inner.local
    }

    /// Returns its address as a URI with this user.
    pub fn uri(&self, user: &str) -> String {
        format!("sip:{user}@{}", self.inner.local)
    }

    /// Waits for the next call.
    pub fn wait_call(&self, timeout: Duration) -> Result<Incoming, AgentError> {
        self.inner
            .wait("a call", timeout, |state| {
                let index = state.taken;
                let leg = state.calls.get(index)?;
                let (invite, at) = (leg.invite.clone(), leg.at);
                state.taken += 1;
                Some((index, invite, at))
            })
            .map(|(index, invite, at)| Incoming {
                inner: Arc::clone(&self.inner),
                index,
                invite,
                at,
            })
    }

    /// Returns how many calls have come in.
    pub fn calls(&self) -> usize {
        self.inner.lock().calls.len()
    }
}

impl Drop for Callee {
    fn drop(&mut self) {
        self.inner.stopping.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Incoming {
    /// Returns the offer.
    pub fn offer(&self) -> Result<RemoteAudio, AgentError> {
        RemoteAudio::parse(&self.invite.body)
    }

    /// Sends a response without a body.
    pub fn respond(&self, status: u16, reason: &str) -> Result<(), AgentError> {
        self.send_response(status, reason, &[], None)
    }

    /// Sends a response with further headers.
    pub fn respond_with(
        &self,
        status: u16,
        reason: &str,
        headers: &[(&str, &str)],
    ) -> Result<(), AgentError> {
        self.send_response(status, reason, headers, None)
    }

    /// Sends a provisional response that brings a session description.
    pub fn early_media(&self, answer: &AudioOffer) -> Result<(), AgentError> {
        self.send_response(183, "Session Progress", &[], Some(answer.to_string()))
    }

    /// Answers with 200 and this description, again until the ACK comes.
    pub fn answer(&self, answer: &AudioOffer) -> Result<(), AgentError> {
        self.send_response(200, "OK", &[], Some(answer.to_string()))
    }

    /// Answers with an audio stream of its own that sends `source` in its codec, and waits for the ACK.
    pub fn join(&self, engine: &RtpEngine, source: Source) -> Result<Stream, AgentError> {
        let offer = self.offer()?;
        let codec: Codec = source.codec();
        let stream = engine.open(self.inner.local.ip())?;
        let answer = AudioOffer::new(stream.local_addr()).answering(&offer, codec);
        self.answer(&answer)?;
        self.wait_request("ACK", Duration::from_secs(10))?;
        stream.set_formats(&answer.formats);
        stream.set_remote(offer.address);
        stream.set_source(Some(source));
        Ok(stream)
    }

    /// Waits for a request of this call: ACK, CANCEL or BYE.
    pub fn wait_request(&self, method: &'static str, timeout: Duration) -> Result<SipMessage, AgentError> {
        self.inner.wait(method, timeout, |state| {
            let requests = &state.calls[self.index].requests;
            requests
                .iter()
                .find(|request| request.method() == Some(method))
                .cloned()
        })
    }

    /// Returns whether a request of this method has come.
    pub fn has_request(&self, method: &str) -> bool {
        let state = self.inner.lock();
        let mut requests = state.calls[self.index].requests.iter();
        requests.any(|request| request.method() == Some(method))
    }

    /// Sends BYE and waits for its answer.
    pub fn hang_up(&self) -> Result<(), AgentError> {
        let bytes = {
            let state = self.inner.lock();
            let leg = &state.calls[self.index];
            let uri = leg
                .invite
                .contact_uri()
                .unwrap_or("sip:nobody@invalid")
                .to_owned();
            let header = |name: &str| leg.invite.header(name).unwrap_or_default().to_owned();
            let request = SipMessage::request("BYE", &uri)
                .with(
                    "Via",
                    format!(
                        "SIP/2.0/UDP {};rport;branch=z9hG4bK{}bye",
                        self.inner.local, leg.tag
                    ),
                )
                .with("Max-Forwards", 70)
                .with("From", format!("{};tag={}", header("To"), leg.tag))
                .with("To", header("From"))
                .with("Call-ID", header("Call-ID"))
                .with("CSeq", "1 BYE");
            (request.to_bytes(), leg.from)
        };
        let (bytes, to) = bytes;
        for _ in 0..10 {
            self.inner.socket.send_to(&bytes, to)?;
            let answered = self
                .inner
                .wait("answer to BYE", Duration::from_millis(500), |state| {
                    state.calls[self.index].bye_answered.then_some(())
                });
            if answered.is_ok() {
                return Ok(());
            }
        }
        Err(AgentError::TimedOut {
            what: "answer to BYE",
            waited: Duration::from_secs(5),
        })
    }

    fn send_response(
        &self,
        status: u16,
        reason: &str,
        headers: &[(&str, &str)],
        body: Option<String>,
    ) -> Result<(), AgentError> {
        let mut state = self.inner.lock();
        let leg = &mut state.calls[self.index];
        let mut response = leg.response_to_invite(status, reason);
        if status < 300 {
            response = response.with("Contact", format!("<sip:callee@{}>", self.inner.local));
        }
        for (name, value) in headers {
            response = response.with(name, value);
        }
        if let Some(body) = body {
            response = response.with_body("application/sdp", body);
        }
        let bytes = response.to_bytes();
        leg.response = Some(bytes.clone());
        leg.is_final = status >= 200;
        leg.again = leg.is_final.then(|| (Instant::now() + T1, T1));
        self.inner.socket.send_to(&bytes, leg.from)?;
        Ok(())
    }
}

impl Leg {
    fn response_to_invite(&self, status: u16, reason: &str) -> SipMessage {
        let mut response = SipMessage::response(&self.invite, status, reason);
        for (name, value) in &mut response.headers {
            if name.eq_ignore_ascii_case("to") && status > 100 {
                value.push_str(&format!(";tag={}", self.tag));
            }
        }
        response
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<R>(
        &self,
        what: &'static str,
        timeout: Duration,
        mut ready: impl FnMut(&mut State) -> Option<R>,
    ) -> Result<R, AgentError> {
        let deadline = Instant::now() + timeout;
        let mut state = self.lock();
        loop {
            if let Some(result) = ready(&mut state) {
                return Ok(result);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(AgentError::TimedOut {
                    what,
                    waited: timeout,
                });
            }
            state = self
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn run(&self) {
        let mut buffer = vec![0; 65_536];
        let mut random = SeededRandom::from_process();
        while !self.stopping.load(Ordering::Relaxed) {
            if let Ok((length, from)) = self.socket.recv_from(&mut buffer)
                && let Some(message) = SipMessage::parse(&buffer[..length])
            {
                let tag = format!("{:016x}", random.next_u64());
                let _ = self.handle(message, from, tag);
                self.changed.notify_all();
            }
            let _ = self.repeat();
        }
    }

    /// Sends final responses again that are due and not acknowledged.
    fn repeat(&self) -> io::Result<()> {
        let now = Instant::now();
        for leg in &mut self.lock().calls {
            if let (Some((due, interval)), Some(bytes)) = (leg.again, &leg.response)
                && due <= now
            {
                self.socket.send_to(bytes, leg.from)?;
                let interval = (interval * 2).min(T2);
                leg.again = Some((now + interval, interval));
            }
        }
        Ok(())
    }

    fn handle(&self, message: SipMessage, from: SocketAddr, tag: String) -> io::Result<()> {
        let mut state = self.lock();
        let call_id = message.header("Call-ID").unwrap_or_default().to_owned();
        let same = |leg: &Leg| leg.invite.header("Call-ID") == Some(call_id.as_str());
        let Some(method) = message.method().map(str::to_owned) else {
            if message.cseq().is_some_and(|(_, method)| method == "BYE")
                && let Some(leg) = state.calls.iter_mut().rev().find(|leg| same(leg))
            {
                leg.bye_answered = true;
            }
            return Ok(());
        };
        if method == "INVITE" {
            let again = state
                .calls
                .iter()
                .find(|leg| leg.invite.branch() == message.branch());
            return match again {
                Some(Leg {
                    response: Some(bytes),
                    ..
                }) => self.socket.send_to(bytes, from).map(drop),
                Some(_) => Ok(()),
                None => {
                    state.calls.push(Leg {
                        invite: message,
                        from,
                        at: Instant::now(),
                        tag,
                        response: None,
                        is_final: false,
                        again: None,
                        requests: Vec::new(),
                        bye_answered: false,
                    });
                    Ok(())
                }
            };
        }
        let Some(leg) = state.calls.iter_mut().rev().find(|leg| same(leg)) else {
            if method != "ACK" {
                let response = SipMessage::response(&message, 481, "Call/Transaction Does Not Exist");
                self.socket.send_to(&response.to_bytes(), from)?;
            }
            return Ok(());
        };
        let is_new = !leg
            .requests
            .iter()
            .any(|known| known.method() == message.method() && known.branch() == message.branch());
        if method == "ACK" {
            leg.again = None;
        } else {
            let response = SipMessage::response(&message, 200, "OK");
            self.socket.send_to(&response.to_bytes(), from)?;
        }
        if method == "CANCEL" && !leg.is_final {
            let bytes = leg.response_to_invite(487, "Request Terminated").to_bytes();
            self.socket.send_to(&bytes, from)?;
            (leg.response, leg.is_final) = (Some(bytes), true);
            leg.again = Some((Instant::now() + T1, T1));
        }
        if method == "BYE" {
            leg.again = None;
        }
        if is_new {
            leg.requests.push(message);
        }
        Ok(())
    }
}

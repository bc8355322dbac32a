//! Owns a user agent's socket, its thread and what has to happen by itself: retransmissions, acknowledgements, answers to the server.
//!
//! Calls hold a reference to it and wait on its state; nothing here blocks a test except `wait_for`.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::call::{Call, CallState, Invite};
use super::{AgentError, SipMessage, T1, T2};
use crate::random::SeededRandom;

/// How often the thread looks at its retransmission timers.
const TIMER_STEP: Duration = Duration::from_millis(20);
/// How long a request is repeated before it counts as unanswered (64·T1, RFC 3261 §17.1.2.2).
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(32);

/// A user agent with one UDP socket or one TCP connection to the server; carries any number of calls.
pub struct Phone {
    pub(super) inner: Arc<PhoneInner>,
    thread: Option<JoinHandle<()>>,
}

/// A request outside any call, with headers of the test's choice.
#[derive(Debug, Clone)]
pub struct OutOfDialog {
    /// Method.
    pub method: String,
    /// Request-URI; `None` takes the server's address.
    pub uri: Option<String>,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// Content type and body.
    pub body: Option<(String, Vec<u8>)>,
}

impl OutOfDialog {
    /// Makes a plain request with this method to the server itself.
    pub fn new(method: &str) -> Self {
        Self {
            method: method.to_owned(),
            uri: None,
            headers: Vec::new(),
            body: None,
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

pub(super) struct PhoneInner {
    pub(super) server: SocketAddr,
    pub(super) local: SocketAddr,
    link: Link,
    state: Mutex<PhoneState>,
    changed: Condvar,
    stopping: AtomicBool,
}

enum Link {
    Udp(UdpSocket),
    Tcp(Mutex<TcpStream>),
}

pub(super) struct PhoneState {
    random: SeededRandom,
    pub(super) calls: HashMap<String, CallState>,
    transactions: HashMap<(String, String), ClientTransaction>,
    /// What was told to it outside of calls.
    notifies: Vec<SipMessage>,
    answers_requests: bool,
    closed: bool,
}

struct ClientTransaction {
    bytes: Vec<u8>,
    resend_at: Option<Instant>,
    interval: Duration,
    give_up_at: Instant,
    responses: Vec<SipMessage>,
}

impl Phone {
    /// Opens a UDP user agent on the loopback address that reaches `server`.
    pub fn udp(server: SocketAddr) -> Result<Self, AgentError> {
        Self::udp_from(server, server.ip())
    }

    /// Opens a UDP user agent on a given local address.
    pub fn udp_from(server: SocketAddr, local: IpAddr) -> Result<Self, AgentError> {
        Self::over(server, UdpSocket::bind(SocketAddr::new(local, 0))?)
    }

    /// Opens a UDP user agent whose socket is connected: it hears nothing but what comes from exactly `server`, as behind a NAT.
    pub fn udp_connected(server: SocketAddr, local: IpAddr) -> Result<Self, AgentError> {
        let socket = UdpSocket::bind(SocketAddr::new(local, 0))?;
        socket.connect(server)?;
        Self::over(server, socket)
    }

    fn over(server: SocketAddr, socket: UdpSocket) -> Result<Self, AgentError> {
        socket.set_read_timeout(Some(TIMER_STEP))?;
        let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20);
        let address = socket.local_addr()?;
        let receiver = socket.try_clone()?;
        Self::start(server, address, Link::Udp(socket), move |inner| {
            receive_datagrams(&receiver, inner)
        })
    }

    /// Opens a user agent over one TCP connection to the server.
    pub fn tcp(server: SocketAddr) -> Result<Self, AgentError> {
        let stream = TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMER_STEP))?;
        let address = stream.local_addr()?;
        let receiver = stream.try_clone()?;
        let link = Link::Tcp(Mutex::new(stream));
        Self::start(server, address, link, move |inner| {
            receive_stream(receiver, inner)
        })
    }

    fn start(
        server: SocketAddr,
        local: SocketAddr,
        link: Link,
        receive: impl FnOnce(&PhoneInner) + Send + 'static,
    ) -> Result<Self, AgentError> {
        let state = PhoneState {
            random: SeededRandom::from_process(),
            calls: HashMap::new(),
            transactions: HashMap::new(),
            notifies: Vec::new(),
            answers_requests: true,
            closed: false,
        };
        let inner = Arc::new(PhoneInner {
            server,
            local,
            link,
            state: Mutex::new(state),
            changed: Condvar::new(),
            stopping: AtomicBool::new(false),
        });
        let for_thread = Arc::clone(&inner);
        let thread = std::thread::Builder::new()
            .name("agent-sip".into())
            .spawn(move || receive(&for_thread))?;
        Ok(Self {
            inner,
            thread: Some(thread),
        })
    }

    /// Returns the address this agent sends from.
    pub fn local_addr(&self) -> SocketAddr {
        self.inner.local
    }

    /// Sends an INVITE and returns at once.
    pub fn invite(&self, invite: Invite) -> Result<Call, AgentError> {
        Call::start(&self.inner, invite)
    }

    /// Sends a request outside any call and waits for its final response.
    pub fn request(&self, request: OutOfDialog, timeout: Duration) -> Result<SipMessage, AgentError> {
        let message = self.inner.out_of_dialog(&request);
        let key = self.inner.send_request(&message)?;
        self.inner.wait_final(&key, timeout)
    }

    /// Sends a request of the test's own making, again until it is answered, and waits for its final response.
    pub fn exchange(&self, request: &SipMessage, timeout: Duration) -> Result<SipMessage, AgentError> {
        let key = self.inner.send_request(request)?;
        self.inner.wait_final(&key, timeout)
    }

    /// Waits until it has been told so many times outside of calls, and returns all NOTIFYs.
    pub fn wait_notifies(&self, count: usize, timeout: Duration) -> Result<Vec<SipMessage>, AgentError> {
        self.inner.wait_for("NOTIFY", timeout, |state| {
            (state.notifies.len() >= count).then(|| state.notifies.clone())
        })
    }

    /// Sends bytes as they are.
    pub fn send_raw(&self, bytes: &[u8]) -> io::Result<()> {
        self.inner.send(bytes)
    }

    /// Says whether requests from the server are answered and responses acknowledged; a phone that does not is one whose packets get lost.
    pub fn set_answers_requests(&self, answers: bool) {
        self.inner.lock().answers_requests = answers;
    }

    /// Says whether the server has closed the TCP connection.
    pub fn is_closed(&self) -> bool {
        self.inner.lock().closed
    }

    /// Waits until the server has closed the TCP connection.
    pub fn wait_closed(&self, timeout: Duration) -> Result<(), AgentError> {
        self.inner
            .wait_for("connection closed by the server", timeout, |state| {
                state.closed.then_some(())
            })
    }
}

impl Drop for Phone {
    fn drop(&mut self) {
        self.inner.stopping.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl PhoneInner {
    pub(super) fn lock(&self) -> MutexGuard<'_, PhoneState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn transport(&self) -> &'static str {
        match self.link {
            Link::Udp(_) => "UDP",
            Link::Tcp(_) => "TCP",
        }
    }

    /// Returns a token that no other call or request has.
    pub(super) fn token(&self) -> String {
        format!("{:016x}", self.lock().random.next_u64())
    }

    /// Returns a `Via` value with a new branch.
    pub(super) fn via(&self) -> String {
        format!(
            "SIP/2.0/{} {};rport;branch=z9hG4bK{}",
            self.transport(),
            self.local,
            self.token()
        )
    }

    pub(super) fn contact(&self, user: &str) -> String {
        match self.link {
            Link::Udp(_) => format!("<sip:{user}@{}>", self.local),
            Link::Tcp(_) => format!("<sip:{user}@{};transport=tcp>", self.local),
        }
    }

    fn out_of_dialog(&self, request: &OutOfDialog) -> SipMessage {
        let default = format!("sip:{}", self.server);
        let uri = request.uri.as_ref().unwrap_or(&default);
        let mut message = SipMessage::request(&request.method, uri)
            .with("Via", self.via())
            .with("Max-Forwards", 70)
            .with("From", format!("<sip:agent@{}>;tag={}", self.local, self.token()))
            .with("To", format!("<{uri}>"))
            .with("Call-ID", self.token())
            .with("CSeq", format!("1 {}", request.method))
            .with("Contact", self.contact("agent"));
        for (name, value) in &request.headers {
            message = message.with(name, value);
        }
        match &request.body {
            Some((kind, body)) => message.with_body(kind, body.clone()),
            None => message,
        }
    }

    pub(super) fn send(&self, bytes: &[u8]) -> io::Result<()> {
        match &self.link {
            Link::Udp(socket) => socket.send_to(bytes, self.server).map(drop),
            Link::Tcp(stream) => stream
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .write_all(bytes),
        }
    }

    /// Sends a request and keeps it repeated until it is answered; returns the key to wait with.
    pub(super) fn send_request(&self, request: &SipMessage) -> Result<(String, String), AgentError> {
        let bytes = request.to_bytes();
        let key = transaction_key(request).expect("own requests have a branch and a CSeq");
        let now = Instant::now();
        let transaction = ClientTransaction {
            bytes: bytes.clone(),
            resend_at: matches!(self.link, Link::Udp(_)).then_some(now + T1),
            interval: T1,
            give_up_at: now + TRANSACTION_TIMEOUT,
            responses: Vec::new(),
        };
        self.lock().transactions.insert(key.clone(), transaction);
        self.send(&bytes)?;
        Ok(key)
    }

    /// Waits until `ready` gives something.
    pub(super) fn wait_for<R>(
        &self,
        what: &'static str,
        timeout: Duration,
        mut ready: impl FnMut(&mut PhoneState) -> Option<R>,
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

    pub(super) fn wait_final(
        &self,
        key: &(String, String),
        timeout: Duration,
    ) -> Result<SipMessage, AgentError> {
        self.wait_for("final response", timeout, |state| state.final_response(key))
    }

    fn handle(&self, message: SipMessage) {
        let mut state = self.lock();
        let replies = match message.method().map(str::to_owned) {
            Some(method) => state.handle_request(self, &method, message),
            None => state.handle_response(self, message),
        };
        drop(state);
        for reply in replies {
            let _ = self.send(&reply);
        }
        self.changed.notify_all();
    }

    fn run_timers(&self) {
        let now = Instant::now();
        let mut due = Vec::new();
        let mut state = self.lock();
        state
            .transactions
            .retain(|_, transaction| now < transaction.give_up_at);
        for ((_, method), transaction) in &mut state.transactions {
            if transaction.resend_at.is_some_and(|at| at <= now) {
                transaction.interval *= 2;
                if method != "INVITE" {
                    transaction.interval = transaction.interval.min(T2);
                }
                transaction.resend_at = Some(now + transaction.interval);
                due.push(transaction.bytes.clone());
            }
        }
        drop(state);
        for bytes in due {
            let _ = self.send(&bytes);
        }
    }
}

impl PhoneState {
    pub(super) fn final_response(&self, key: &(String, String)) -> Option<SipMessage> {
        let responses = &self.transactions.get(key)?.responses;
        responses
            .iter()
            .find(|response| response.status().is_some_and(|code| code >= 200))
            .cloned()
    }

    /// Takes note of a response; returns what has to be sent because of it.
    fn handle_response(&mut self, phone: &PhoneInner, response: SipMessage) -> Vec<Vec<u8>> {
        let (Some(key), Some(status)) = (transaction_key(&response), response.status()) else {
            return Vec::new();
        };
        let Some(transaction) = self.transactions.get_mut(&key) else {
            return Vec::new();
        };
        let is_invite = key.1 == "INVITE";
        if is_invite || status >= 200 {
            transaction.resend_at = None;
        }
        transaction.responses.push(response.clone());
        if !is_invite || !self.answers_requests {
            return Vec::new();
        }
        let Some(call) = response.header("Call-ID").and_then(|id| self.calls.get_mut(id)) else {
            return Vec::new();
        };
        call.on_invite_response(phone, &mut self.random, &response, status)
            .into_iter()
            .collect()
    }

    /// Takes note of a request; returns the answer to send.
    fn handle_request(&mut self, phone: &PhoneInner, method: &str, request: SipMessage) -> Vec<Vec<u8>> {
        if !self.answers_requests || method == "ACK" {
            return Vec::new();
        }
        let call = request.header("Call-ID").and_then(|id| self.calls.get_mut(id));
        let (status, reason) = match (&call, method) {
            (_, "OPTIONS") | (None, "NOTIFY") | (Some(_), "BYE" | "INFO" | "UPDATE" | "NOTIFY") => {
                (200, "OK")
            }
            (Some(_), "INVITE") => (488, "Not Acceptable Here"),
            (None, _) => (481, "Call/Transaction Does Not Exist"),
            (Some(_), _) => (405, "Method Not Allowed"),
        };
        let response = SipMessage::response(&request, status, reason).with("Contact", phone.contact("agent"));
        match call {
            Some(call) => call.on_request(request),
            None if method == "NOTIFY" => self.notifies.push(request),
            None => {}
        }
        vec![response.to_bytes()]
    }
}

fn transaction_key(message: &SipMessage) -> Option<(String, String)> {
    Some((message.branch()?.to_owned(), message.cseq()?.1.to_owned()))
}

fn receive_datagrams(socket: &UdpSocket, phone: &PhoneInner) {
    let mut buffer = vec![0; 65_536];
    let mut timers_at = Instant::now();
    while !phone.stopping.load(Ordering::Relaxed) {
        if let Ok((length, _)) = socket.recv_from(&mut buffer)
            && let Some(message) = SipMessage::parse(&buffer[..length])
        {
            phone.handle(message);
        }
        if timers_at.elapsed() >= TIMER_STEP {
            timers_at = Instant::now();
            phone.run_timers();
        }
    }
}

fn receive_stream(mut stream: TcpStream, phone: &PhoneInner) {
    let mut buffer = vec![0; 65_536];
    let mut pending = Vec::new();
    while !phone.stopping.load(Ordering::Relaxed) {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => pending.extend_from_slice(&buffer[..length]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
        while let Some(message) = SipMessage::take_from_stream(&mut pending) {
            phone.handle(message);
        }
        phone.run_timers();
    }
    phone.lock().closed = true;
    phone.changed.notify_all();
}

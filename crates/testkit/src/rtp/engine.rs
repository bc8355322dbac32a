//! Owns the threads that send and receive for all streams, and the record of their own punctuality.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::syscall::{self, ClockOffset, Readiness};
use super::{Stream, stream::StreamState};
use crate::random::SeededRandom;

/// Longest packet time a stream may have, in ms; bounds the wheel of due sends.
const LONGEST_PTIME_MS: u64 = 60;
/// More than 60 ms of 16-bit samples at 48 kHz.
const LONGEST_DATAGRAM: usize = 8192;
/// Upper bounds of the lateness classes in microseconds; one more class holds the rest.
const LATENESS_BOUNDS_US: [u64; 12] = [
    50, 100, 200, 500, 1000, 2000, 3000, 5000, 10_000, 20_000, 50_000, 100_000,
];
/// How many turns pass between two looks at the wall clock.
const OFFSET_TURNS: u64 = 1000;

/// How an engine works.
#[derive(Debug, Clone, Copy)]
pub struct EngineConfig {
    /// Number of threads; streams are dealt out in turn.
    pub threads: usize,
    /// Time between two wake-ups; also the grid of sending phases. A divisor of 10 ms.
    pub quantum: Duration,
    /// Ask for SCHED_FIFO at this priority.
    pub real_time_priority: Option<i32>,
    /// Keep the threads on this processor core.
    pub core: Option<usize>,
}

impl Default for EngineConfig {
    fn default() -> Self {
        // Below the priorities a server asks for: on a full machine the generator is to suffer first, and says so in its lateness.
        Self {
            threads: 1,
            quantum: Duration::from_millis(1),
            real_time_priority: Some(5),
            core: None,
        }
    }
}

/// How late an engine's turns began.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lateness {
    classes: [u64; LATENESS_BOUNDS_US.len() + 1],
    max_us: u64,
}

impl Lateness {
    /// Returns the number of turns.
    pub fn turns(&self) -> u64 {
        self.classes.iter().sum()
    }

    /// Returns the upper bound in microseconds of the class that holds the given quantile (0 to 1); the maximum for the last class.
    pub fn quantile_us(&self, quantile: f64) -> u64 {
        let rank = (self.turns() as f64 * quantile).ceil() as u64;
        let mut seen = 0;
        for (count, bound) in self.classes.iter().zip(LATENESS_BOUNDS_US) {
            seen += count;
            if seen >= rank {
                return bound.min(self.max_us.max(1));
            }
        }
        self.max_us
    }

    /// Returns the worst turn in microseconds.
    pub fn max_us(&self) -> u64 {
        self.max_us
    }

    /// Returns what has been added since `earlier`. The maximum stays that of the whole time.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut difference = self.clone();
        for (class, before) in difference.classes.iter_mut().zip(earlier.classes) {
            *class -= before;
        }
        difference
    }
}

#[derive(Default)]
struct SharedLateness {
    classes: [AtomicU64; LATENESS_BOUNDS_US.len() + 1],
    max_us: AtomicU64,
}

impl SharedLateness {
    fn record(&self, late_ns: u64) {
        let late_us = late_ns / 1000;
        let class = LATENESS_BOUNDS_US.partition_point(|bound| *bound < late_us);
        self.classes[class].fetch_add(1, Ordering::Relaxed);
        self.max_us.fetch_max(late_us, Ordering::Relaxed);
    }
}

/// Drives RTP streams.
pub struct RtpEngine {
    workers: Vec<Worker>,
    next: AtomicU64,
    random: Mutex<SeededRandom>,
    stopping: Arc<AtomicBool>,
    lateness: Arc<SharedLateness>,
}

struct Worker {
    arriving: Arc<Mutex<Vec<Stream>>>,
    has_arriving: Arc<AtomicBool>,
    real_time: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl RtpEngine {
    /// Starts the threads.
    pub fn start(config: EngineConfig) -> io::Result<Self> {
        let stopping = Arc::new(AtomicBool::new(false));
        let lateness = Arc::new(SharedLateness::default());
        let workers = (0..config.threads.max(1))
            .map(|number| {
                let arriving = Arc::new(Mutex::new(Vec::new()));
                let has_arriving = Arc::new(AtomicBool::new(false));
                let real_time = Arc::new(AtomicBool::new(false));
                let turn = Turn::new(
                    config,
                    Arc::clone(&arriving),
                    Arc::clone(&has_arriving),
                    Arc::clone(&stopping),
                    Arc::clone(&lateness),
                )?;
                let granted = Arc::clone(&real_time);
                let thread = std::thread::Builder::new()
                    .name(format!("agent-rtp-{number}"))
                    .spawn(move || {
                        if let Some(core) = config.core {
                            syscall::pin_to_core(core);
                        }
                        let priority = config.real_time_priority;
                        granted.store(
                            priority.is_some_and(syscall::request_real_time),
                            Ordering::Relaxed,
                        );
                        turn.run();
                    })?;
                Ok(Worker {
                    arriving,
                    has_arriving,
                    real_time,
                    thread: Some(thread),
                })
            })
            .collect::<io::Result<Vec<_>>>()?;
        let random = Mutex::new(SeededRandom::from_process());
        Ok(Self {
            workers,
            next: AtomicU64::new(0),
            random,
            stopping,
            lateness,
        })
    }

    /// Opens a stream on an even port of `address`.
    pub fn open(&self, address: IpAddr) -> io::Result<Stream> {
        let socket = bind_even_port(address)?;
        let local = socket.local_addr()?;
        syscall::enable_receive_timestamps(socket.as_raw_fd())?;
        let stream = Stream::new(
            socket,
            local,
            &mut self.random.lock().unwrap_or_else(PoisonError::into_inner),
        );
        let index = self.next.fetch_add(1, Ordering::Relaxed) as usize % self.workers.len();
        let worker = &self.workers[index];
        worker
            .arriving
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(stream.clone());
        worker.has_arriving.store(true, Ordering::Release);
        Ok(stream)
    }

    /// Returns how late the turns of all threads began so far.
    pub fn lateness(&self) -> Lateness {
        let mut lateness = Lateness {
            max_us: self.lateness.max_us.load(Ordering::Relaxed),
            ..Lateness::default()
        };
        for (class, shared) in lateness.classes.iter_mut().zip(&self.lateness.classes) {
            *class = shared.load(Ordering::Relaxed);
        }
        lateness
    }

    /// Says whether all threads run with real-time priority.
    pub fn is_real_time(&self) -> bool {
        self.workers
            .iter()
            .all(|worker| worker.real_time.load(Ordering::Relaxed))
    }
}

impl Drop for RtpEngine {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        for worker in &mut self.workers {
            if let Some(thread) = worker.thread.take() {
                let _ = thread.join();
            }
        }
    }
}

/// Binds a socket to a free even port, as RFC 3550 §11 wants it, by asking the kernel for ports until one is even.
fn bind_even_port(address: IpAddr) -> io::Result<UdpSocket> {
    let mut odd = Vec::new();
    loop {
        let socket = UdpSocket::bind(SocketAddr::new(address, 0))?;
        if socket.local_addr()?.port() % 2 == 0 {
            socket.set_nonblocking(true)?;
            return Ok(socket);
        }
        // Held until an even one is found, so that the kernel does not offer it again.
        odd.push(socket);
    }
}

/// One thread's work: a wheel of sends that are due and a set of sockets to read.
struct Turn {
    config: EngineConfig,
    streams: Vec<Stream>,
    wheel: Vec<Vec<usize>>,
    readiness: Readiness,
    arriving: Arc<Mutex<Vec<Stream>>>,
    has_arriving: Arc<AtomicBool>,
    stopping: Arc<AtomicBool>,
    lateness: Arc<SharedLateness>,
}

impl Turn {
    fn new(
        config: EngineConfig,
        arriving: Arc<Mutex<Vec<Stream>>>,
        has_arriving: Arc<AtomicBool>,
        stopping: Arc<AtomicBool>,
        lateness: Arc<SharedLateness>,
    ) -> io::Result<Self> {
        let slots = LONGEST_PTIME_MS as u128 * 1_000_000 / config.quantum.as_nanos().max(1) + 1;
        let wheel = vec![Vec::new(); slots as usize];
        let readiness = Readiness::new()?;
        Ok(Self {
            config,
            streams: Vec::new(),
            wheel,
            readiness,
            arriving,
            has_arriving,
            stopping,
            lateness,
        })
    }

    fn run(mut self) {
        let quantum_ns = self.config.quantum.as_nanos() as u64;
        let start_ns = syscall::monotonic_ns();
        let mut offset = ClockOffset::measure();
        let mut ready = Vec::new();
        let mut buffer = vec![0u8; LONGEST_DATAGRAM];
        let mut turn = 0u64;
        while !self.stopping.load(Ordering::Relaxed) {
            turn += 1;
            let due_ns = start_ns + turn * quantum_ns;
            syscall::sleep_until(due_ns);
            self.lateness
                .record(syscall::monotonic_ns().saturating_sub(due_ns));
            if turn.is_multiple_of(OFFSET_TURNS) {
                offset = ClockOffset::measure();
            }
            if self.has_arriving.swap(false, Ordering::Acquire) {
                self.welcome(turn);
            }
            self.send(turn);
            ready.clear();
            self.readiness.poll(0, &mut ready);
            for token in &ready {
                let stream: &Stream = &self.streams[*token as usize];
                stream.lock().receive(&mut buffer, offset);
            }
        }
    }

    /// Takes in new streams; each gets the next phase of its packet time, so that sends spread evenly.
    fn welcome(&mut self, turn: u64) {
        let arriving = std::mem::take(&mut *self.arriving.lock().unwrap_or_else(PoisonError::into_inner));
        for stream in arriving {
            let index = self.streams.len();
            let descriptor = stream.lock().descriptor();
            if descriptor.is_some_and(|socket| self.readiness.add(socket, index as u64).is_ok()) {
                let phase = index as u64 % self.slots_of(&stream.lock());
                let slot = (turn + 1 + phase) % self.wheel.len() as u64;
                self.wheel[slot as usize].push(index);
                self.streams.push(stream);
            }
        }
    }

    fn send(&mut self, turn: u64) {
        let slots = self.wheel.len() as u64;
        let mut due = std::mem::take(&mut self.wheel[(turn % slots) as usize]);
        for index in due.drain(..) {
            let mut state = self.streams[index].lock();
            if state.is_closed() {
                continue;
            }
            state.send_due();
            let next = (turn + self.slots_of(&state)) % slots;
            drop(state);
            self.wheel[next as usize].push(index);
        }
        // Gives the emptied list back to its slot with its memory.
        let slot = &mut self.wheel[(turn % slots) as usize];
        if slot.is_empty() {
            *slot = due;
        }
    }

    fn slots_of(&self, state: &StreamState) -> u64 {
        (state.period().as_nanos() / self.config.quantum.as_nanos()).max(1) as u64
    }
}

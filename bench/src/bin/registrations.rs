//! The bench of the registrar: many devices that refresh their registrations at a fixed interval, from one socket, beside running conferences
//! if asked for; and what a restart keeps of them.
//! `cargo run --release -p confab-bench --bin registrations -- --help` says what can be set.

use std::collections::HashMap;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use confab_bench::load::{Scenario, ServerCrowd};
use confab_testkit::agent::{Phone, SipMessage, digest};
use confab_testkit::rtp::{EngineConfig, RtpEngine};
use confab_testkit::server::{HttpClient, Server, ServerBuilder, TempDir};
use serde_json::json;

const REALM: &str = "phones.example";
const PASSWORD: &str = "open-sesame";
/// Threads that make devices.
const MAKERS: usize = 8;
/// What is left without an answer for so long is sent again.
const PATIENCE: Duration = Duration::from_millis(500);

/// Registers devices with a real server, refreshes each at an interval, and measures how long each REGISTER takes from the moment it was
/// due until its 200, and what CPU the server takes.
#[derive(Parser)]
struct Arguments {
    /// The server's release binary.
    #[arg(long, default_value = "target/release/confab")]
    server: PathBuf,
    /// Devices.
    #[arg(long, default_value_t = 10_000)]
    devices: usize,
    /// Seconds between two refreshes of a device.
    #[arg(long, default_value_t = 60)]
    interval: u64,
    /// Refreshes of each device that are measured.
    #[arg(long, default_value_t = 2)]
    rounds: u32,
    /// Conferences that run meanwhile: ROOMSxPARTICIPANTS:TALKERS, as the load bench has them.
    #[arg(long, value_parser = |text: &str| Scenario::parse(text).ok_or("no scenario; README.md says what is"))]
    beside: Option<Scenario>,
}

/// One device as this side sees it.
#[derive(Default)]
struct Registered {
    cseq: u32,
    challenge: Option<SipMessage>,
    count: u32,
    due: Option<Instant>,
    sent: Option<Instant>,
}

/// What a window has shown.
#[derive(Default)]
struct Figures {
    times: Vec<Duration>,
    challenges: u64,
    resent: u64,
    refused: u64,
}

struct Crowd {
    socket: UdpSocket,
    phones: Vec<Registered>,
    figures: Figures,
    waiting: HashMap<usize, ()>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let folder = TempDir::new("registrations")?;
    let builder = ServerBuilder::new(&arguments.server)
        .without_data_dir()
        .set("data_dir", &format!("{:?}", folder.path()))
        .set("bootstrap.realm", &format!("\"{REALM}\""))
        .set("registrar.min_expires_s", "10");
    let mut server = builder.clone().start()?;
    let began = Instant::now();
    make_devices(&server.api()?, arguments.devices)?;
    println!("{} devices made in {:.1?}", arguments.devices, began.elapsed());
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(server.sip)?;
    socket.set_read_timeout(Some(Duration::from_millis(1)))?;
    let mut crowd = Crowd {
        socket,
        phones: (0..arguments.devices).map(|_| Registered::default()).collect(),
        figures: Figures::default(),
        waiting: HashMap::new(),
    };
    let interval = Duration::from_secs(arguments.interval);
    let beside = match &arguments.beside {
        None => None,
        Some(scenario) => Some(Conferences::start(&server, scenario, interval)?),
    };
    for round in 0..=arguments.rounds {
        let window = Window::open(&server)?;
        crowd.round(interval)?;
        let (cpu, ticks) = window.close(&server)?;
        let after = server.usage()?;
        let mut figures = std::mem::take(&mut crowd.figures);
        figures.times.sort();
        let at = |share: f64| {
            let place = (figures.times.len() as f64 * share) as usize;
            figures.times.get(place).copied().unwrap_or_default()
        };
        println!(
            "round {round}: {} registered, {} challenged, {} sent again, {} refused; p50 {:.2?}, p99 {:.2?}, longest {:.2?}; \
             server {cpu:.1} % of a core, {:.1} MB{ticks}",
            figures.times.len(),
            figures.challenges,
            figures.resent,
            figures.refused,
            at(0.5),
            at(0.99),
            at(1.0 - f64::EPSILON),
            after.resident_bytes as f64 / 1e6,
        );
        ensure!(figures.refused == 0, "some were refused");
    }
    let listed = server.api()?.account("GET", "/devices/status", None)?;
    let listed = listed.json()["data"].as_array().map_or(0, Vec::len);
    ensure!(listed == arguments.devices, "{listed} are listed");
    if let Some(conferences) = beside {
        let lost = conferences.crowd.leave()?;
        ensure!(lost == 0, "{lost} calls were lost");
    }
    server.stop(Duration::from_secs(30))?;
    let began = Instant::now();
    let server = builder.start()?;
    let listed = server.api()?.account("GET", "/devices/status", None)?;
    let listed = listed.json()["data"].as_array().map_or(0, Vec::len);
    println!(
        "{listed} are registered {:.1?} after a restart began",
        began.elapsed()
    );
    ensure!(listed == arguments.devices, "{listed} are listed");
    Ok(())
}

/// Conferences that run beside.
struct Conferences {
    crowd: ServerCrowd,
    _phone: Phone,
    _engine: RtpEngine,
}

impl Conferences {
    /// Fills them, and shows what they take alone.
    fn start(server: &Server, scenario: &Scenario, interval: Duration) -> Result<Conferences> {
        let engine = RtpEngine::start(EngineConfig::default())?;
        let phone = Phone::udp(server.sip)?;
        let crowd = ServerCrowd::join(server, &phone, &engine, scenario)?;
        let window = Window::open(server)?;
        thread::sleep(interval);
        let (cpu, ticks) = window.close(server)?;
        println!(
            "{} participants alone: server {cpu:.1} % of a core{ticks}",
            scenario.participants()
        );
        Ok(Conferences {
            crowd,
            _phone: phone,
            _engine: engine,
        })
    }
}

/// A stretch of time in which the server is watched.
struct Window {
    began: Instant,
    cpu: Duration,
    ticks: [f64; 2],
}

impl Window {
    fn open(server: &Server) -> Result<Window> {
        Ok(Window {
            began: Instant::now(),
            cpu: server.usage()?.cpu,
            ticks: ticks(server)?,
        })
    }

    /// Returns its CPU in percent of a core, and in words how many turns of the mixers were late, if there were any turns.
    fn close(self, server: &Server) -> Result<(f64, String)> {
        let took = self.began.elapsed().as_secs_f64();
        let cpu = (server.usage()?.cpu - self.cpu).as_secs_f64() / took * 100.0;
        let ticks = ticks(server)?;
        let [all, late] = [ticks[0] - self.ticks[0], ticks[1] - self.ticks[1]];
        let words = if all > 0.0 {
            format!("; {late} of {all} mixing turns late")
        } else {
            String::new()
        };
        Ok((cpu, words))
    }
}

/// Turns of the mixers, and those that began more than 5 ms late.
fn ticks(server: &Server) -> Result<[f64; 2]> {
    let metrics = server.metrics()?;
    let sum = |name: &str| metrics.sum(name).unwrap_or_default();
    Ok([
        sum("confab_tick_lateness_seconds_count"),
        sum("confab_ticks_late"),
    ])
}

fn make_devices(api: &HttpClient, devices: usize) -> Result<()> {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        let makers: Vec<_> = (0..MAKERS)
            .map(|_| {
                scope.spawn(|| -> Result<()> {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= devices {
                            return Ok(());
                        }
                        let user = format!("d{number}");
                        let data =
                            json!({"data": {"name": user, "sip": {"username": user, "password": PASSWORD}}});
                        let made = api.account("PUT", "/devices", Some(&data))?;
                        ensure!(made.status == 201, "{}", made.text());
                    }
                })
            })
            .collect();
        for maker in makers {
            maker
                .join()
                .map_err(|_| anyhow::anyhow!("a maker broke down"))??;
        }
        Ok(())
    })
}

impl Crowd {
    /// Lets every device register once, evenly over the interval.
    fn round(&mut self, interval: Duration) -> Result<()> {
        let began = Instant::now();
        let mut next = 0;
        while next < self.phones.len() || !self.waiting.is_empty() {
            ensure!(
                began.elapsed() < interval + Duration::from_secs(30),
                "{} have no answer",
                self.waiting.len()
            );
            while next < self.phones.len() {
                let due = began + interval.mul_f64(next as f64 / self.phones.len() as f64);
                if due > Instant::now() {
                    break;
                }
                self.phones[next].due = Some(due);
                self.waiting.insert(next, ());
                self.send(next)?;
                next += 1;
            }
            self.receive()?;
            let late: Vec<usize> = self.waiting.keys().copied().collect();
            for number in late {
                if self.phones[number]
                    .sent
                    .is_some_and(|sent| sent.elapsed() > PATIENCE)
                {
                    self.figures.resent += 1;
                    self.phones[number].cseq -= 1;
                    self.phones[number].count = self.phones[number].count.saturating_sub(1);
                    self.send(number)?;
                }
            }
        }
        let left = (began + interval).saturating_duration_since(Instant::now());
        thread::sleep(left);
        Ok(())
    }

    fn send(&mut self, number: usize) -> Result<()> {
        let address = self.socket.local_addr()?;
        let phone = &mut self.phones[number];
        phone.cseq += 1;
        let (user, uri) = (format!("d{number}"), format!("sip:{REALM}"));
        let record = format!("<sip:{user}@{REALM}>");
        let mut request = SipMessage::request("REGISTER", &uri)
            .with(
                "Via",
                format!(
                    "SIP/2.0/UDP {address};rport;branch=z9hG4bK{number}-{}",
                    phone.cseq
                ),
            )
            .with("Max-Forwards", 70)
            .with("From", format!("{record};tag={number}"))
            .with("To", record)
            .with("Call-ID", format!("{number}@bench"))
            .with("CSeq", format!("{} REGISTER", phone.cseq))
            .with("Contact", format!("<sip:{user}@{address}>"))
            .with("Expires", 300);
        if let Some(challenge) = &phone.challenge {
            phone.count += 1;
            let answer = digest::answer_again(challenge, "REGISTER", &uri, (&user, PASSWORD), phone.count);
            request = request.with(
                "Authorization",
                answer.context("no challenge that can be answered")?,
            );
        }
        phone.sent = Some(Instant::now());
        self.socket.send(&request.to_bytes())?;
        Ok(())
    }

    fn receive(&mut self) -> Result<()> {
        let mut buffer = [0; 4096];
        let Ok(length) = self.socket.recv(&mut buffer) else {
            return Ok(());
        };
        let message = SipMessage::parse(&buffer[..length]).context("an answer that reads")?;
        let call = message.header("Call-ID").context("a Call-ID")?;
        let number: usize = call.trim_end_matches("@bench").parse()?;
        let cseq = message.cseq().map(|(number, _)| number);
        if !self.waiting.contains_key(&number) || cseq != Some(self.phones[number].cseq) {
            return Ok(());
        }
        match message.status() {
            Some(200) => {
                let due = self.phones[number].due.context("it was due")?;
                self.figures.times.push(due.elapsed());
                self.waiting.remove(&number);
            }
            Some(401) => {
                self.figures.challenges += 1;
                self.phones[number].challenge = Some(message);
                self.phones[number].count = 0;
                self.send(number)?;
            }
            _ => {
                self.figures.refused += 1;
                self.waiting.remove(&number);
            }
        }
        Ok(())
    }
}

//! The bench of live events: many WebSocket subscribers of one conference, some of whom read nothing.
//! `cargo run --release -p confab-bench --bin events -- --help` says what can be set.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use confab_testkit::agent::{Participant, Phone};
use confab_testkit::g711::Law;
use confab_testkit::rtp::{EngineConfig, RtpEngine, Source};
use confab_testkit::server::{Server, ServerBuilder};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// What a stalled subscriber's own system takes for him.
const STALLED_BUFFER: u32 = 4096;
/// Time for the last events to arrive.
const SETTLE: Duration = Duration::from_secs(10);

/// Has a conference make events at a fixed rate and measures when each subscriber gets each of them, from the request that causes it.
#[derive(Parser)]
struct Arguments {
    /// The server's binary.
    #[arg(long, default_value = "target/release/confab")]
    server: PathBuf,
    /// Subscribers who read.
    #[arg(long, default_value_t = 1000)]
    subscribers: usize,
    /// Subscribers who do not.
    #[arg(long, default_value_t = 0)]
    stalled: usize,
    /// Events per second.
    #[arg(long, default_value_t = 20)]
    rate: u32,
    /// Length of the measurement in seconds.
    #[arg(long, default_value_t = 30)]
    seconds: u32,
}

/// What one subscriber saw: when each event came, in order.
type Seen = Vec<(u64, Instant)>;

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let server = ServerBuilder::new(&arguments.server)
        .set("http.rate_limit", "false")
        .start()?;
    let room = server.first_conference()?;
    let phone = Phone::udp(server.sip)?;
    let engine = RtpEngine::start(EngineConfig::default())?;
    let caller =
        Participant::join(&phone, &engine, "3000", Some(Source::silence(Law::Mu))).context("the caller")?;
    let participants = room.wait_participants(Duration::from_secs(5), |list| list.len() == 1)?;
    let id = participants[0]["participant_id"].as_u64().context("an id")?;

    // A core is the server's: more than one thread of ours would take the other from it.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let api = server.api()?;
    let data =
        json!({"account_id": api.account_id(), "binding": format!("conference.event.{}.*", room.id())});
    let subscription = json!({"action": "subscribe", "auth_token": api.token(), "data": data}).to_string();
    let address = server.websocket.context("no WebSocket address")?;
    let count = arguments.rate * arguments.seconds;
    let got = Arc::new(AtomicUsize::new(0));
    let mut readers: JoinSet<Result<Seen>> = JoinSet::new();
    let stalled = runtime.block_on(async {
        let mut stalled = Vec::new();
        for _ in 0..arguments.stalled {
            stalled.push(subscribe(address, &subscription, Some(STALLED_BUFFER)).await?);
        }
        for _ in 0..arguments.subscribers {
            let socket = subscribe(address, &subscription, None).await?;
            readers.spawn(read(socket, count as usize, Arc::clone(&got)));
        }
        Ok::<_, anyhow::Error>(stalled)
    })?;
    println!(
        "{} subscribers, {} stalled, {} events/s for {} s",
        arguments.subscribers, arguments.stalled, arguments.rate, arguments.seconds
    );

    let before = Figures::read(&server)?;
    let interval = Duration::from_secs(1) / arguments.rate;
    let begin = Instant::now();
    let mut caused = Vec::with_capacity(count as usize);
    for number in 0..count {
        let due = begin + interval * number;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let action = if number % 2 == 0 { "mute" } else { "unmute" };
        caused.push(Instant::now());
        let answer = room.act_on(id, action)?;
        ensure!(answer.status == 202, "{action}: {}", answer.text());
    }
    let took = begin.elapsed();
    let all = arguments.subscribers * count as usize;
    let deadline = Instant::now() + SETTLE;
    while got.load(Ordering::Relaxed) < all && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
    }
    let after = Figures::read(&server)?;
    let seen = runtime.block_on(async {
        let mut seen = Vec::new();
        while let Some(reader) = readers.join_next().await {
            seen.push(reader??);
        }
        Ok::<_, anyhow::Error>(seen)
    })?;
    report(&arguments, &caused, &seen, took)?;
    before.print(&after, took);
    drop((stalled, caller));
    Ok(())
}

/// Connects, with so many octets of buffer of its own, and subscribes.
async fn subscribe(
    address: std::net::SocketAddr,
    subscription: &str,
    buffer: Option<u32>,
) -> Result<WebSocketStream<TcpStream>> {
    let socket = TcpSocket::new_v4()?;
    if let Some(octets) = buffer {
        socket.set_recv_buffer_size(octets)?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut client, _) = tokio_tungstenite::client_async(format!("ws://{address}/"), stream).await?;
    client.send(Message::text(subscription.to_owned())).await?;
    match client.next().await.context("no reply")?? {
        Message::Text(reply) if reply.contains("\"success\"") => Ok(client),
        other => bail!("not subscribed: {other:?}"),
    }
}

/// Reads as many events as there will be, or until too long nothing comes.
async fn read(mut client: WebSocketStream<TcpStream>, count: usize, got: Arc<AtomicUsize>) -> Result<Seen> {
    let mut seen = Vec::with_capacity(count);
    while seen.len() < count {
        let Ok(message) = tokio::time::timeout(SETTLE, client.next()).await else {
            break;
        };
        let Message::Text(text) = message.context("closed")?? else {
            continue;
        };
        let at = Instant::now();
        // Enough of it to know which it is: a thousand whole parsers would measure themselves.
        let sequence = number_after(&text, "\"sequence\":").context("no sequence")?;
        ensure!(text.contains("\"data\":{\"event\":"), "no event: {text}");
        seen.push((sequence, at));
        got.fetch_add(1, Ordering::Relaxed);
    }
    Ok(seen)
}

fn number_after(text: &str, key: &str) -> Option<u64> {
    let rest = &text[text.find(key)? + key.len()..];
    let end = rest.find(|c: char| !c.is_ascii_digit())?;
    rest[..end].parse().ok()
}

fn report(arguments: &Arguments, caused: &[Instant], seen: &[Seen], took: Duration) -> Result<()> {
    let first = seen
        .first()
        .and_then(|seen| seen.first())
        .context("nothing came")?
        .0;
    let mut late = Vec::with_capacity(seen.len() * caused.len());
    let mut incomplete = 0;
    for seen in seen {
        let whole = seen.len() == caused.len()
            && seen
                .iter()
                .zip(first..)
                .all(|((sequence, _), expected)| *sequence == expected);
        incomplete += usize::from(!whole);
        for (sequence, at) in seen {
            let number = sequence.checked_sub(first).context("out of order")? as usize;
            late.push(at.duration_since(caused[number]));
        }
    }
    late.sort_unstable();
    let quantile = |q: f64| late[((late.len() - 1) as f64 * q) as usize].as_secs_f64() * 1e3;
    println!(
        "{} events caused in {:.1} s, {} frames received; {} of {} subscribers complete and in order",
        caused.len(),
        took.as_secs_f64(),
        late.len(),
        seen.len() - incomplete,
        seen.len(),
    );
    println!(
        "from the request to the frame, ms: p50 {:.1}, p90 {:.1}, p99 {:.1}, p99.9 {:.1}, most {:.1}",
        quantile(0.5),
        quantile(0.9),
        quantile(0.99),
        quantile(0.999),
        quantile(1.0)
    );
    ensure!(
        incomplete == 0,
        "{incomplete} of {} subscribers missed something",
        arguments.subscribers
    );
    Ok(())
}

/// What the server says of itself.
struct Figures {
    written: f64,
    dropped: f64,
    memory_mb: f64,
    cpu: Duration,
    late_ticks: f64,
}

impl Figures {
    fn read(server: &Server) -> Result<Figures> {
        let metrics = server.metrics()?;
        let usage = server.usage()?;
        let sum = |name: &str| metrics.sum(name).unwrap_or_default();
        Ok(Figures {
            written: sum("confab_event_bodies_written_total"),
            dropped: sum("confab_event_subscribers_dropped_total"),
            memory_mb: usage.resident_bytes as f64 / 1e6,
            cpu: usage.cpu,
            late_ticks: sum("confab_ticks_late_total"),
        })
    }

    fn print(&self, after: &Figures, took: Duration) {
        println!(
            "bodies written {}, sessions dropped {}, memory {:.0} -> {:.0} MB, {:.1} % of a core, late ticks {}",
            after.written - self.written,
            after.dropped - self.dropped,
            self.memory_mb,
            after.memory_mb,
            (after.cpu - self.cpu).as_secs_f64() / took.as_secs_f64() * 100.0,
            after.late_ticks - self.late_ticks,
        );
    }
}

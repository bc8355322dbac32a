//! Owns requests to the API at a fixed rate: each is due at its own time, and late answers to the ones before do not excuse it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use confab_testkit::server::HttpClient;

const TIMEOUT: Duration = Duration::from_secs(10);

/// What is asked for, and how often.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Whose account and token.
    pub api: HttpClient,
    /// Ids of stored conferences.
    pub documents: Vec<String>,
    /// Items of a page.
    pub page_size: usize,
    /// Requests per second.
    pub rate: u32,
    /// Connections, kept alive.
    pub connections: usize,
    /// For how long.
    pub length: Duration,
}

/// How one kind of request was answered.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// Requests that were answered.
    pub answers: usize,
    /// Answers other than 200.
    pub failed: usize,
    /// From the moment a request was due to its answer's last byte, sorted.
    times: Vec<Duration>,
}

impl Figures {
    /// Returns a quantile of the times in ms; not a number when nothing was answered.
    pub fn ms(&self, quantile: f64) -> f64 {
        let last = self.times.len().saturating_sub(1) as f64;
        self.times
            .get((last * quantile).round() as usize)
            .map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0)
    }

    fn add(&mut self, other: Figures) {
        self.answers += other.answers;
        self.failed += other.failed;
        self.times.extend(other.times);
        self.times.sort_unstable();
    }

    fn note(&mut self, status: u16, time: Duration) {
        self.answers += 1;
        self.failed += usize::from(status != 200);
        self.times.push(time);
    }
}

/// Asks for lists and documents in turn, and returns how both were answered.
///
/// # Errors
/// A connection broke.
pub fn drive(plan: &Plan) -> Result<(Figures, Figures)> {
    let next = AtomicU64::new(0);
    let (start, total) = (Instant::now(), plan.length.as_secs() * u64::from(plan.rate));
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..plan.connections)
            .map(|_| scope.spawn(|| work(plan, &next, start, total)))
            .collect();
        let (mut lists, mut documents) = (Figures::default(), Figures::default());
        for worker in workers {
            let (list, document) = worker.join().ok().context("a worker panicked")??;
            lists.add(list);
            documents.add(document);
        }
        Ok((lists, documents))
    })
}

fn work(plan: &Plan, next: &AtomicU64, start: Instant, total: u64) -> Result<(Figures, Figures)> {
    let mut connection = Connection::open(plan)?;
    let (mut lists, mut documents) = (Figures::default(), Figures::default());
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= total {
            return Ok((lists, documents));
        }
        let due = start + Duration::from_secs(1) * number as u32 / plan.rate;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        // Pages and documents all over the store.
        let id = &plan.documents[(number as usize * 7919) % plan.documents.len()];
        let (path, figures) = if number.is_multiple_of(2) {
            (
                format!("?page_size={}&start_key={id}", plan.page_size),
                &mut lists,
            )
        } else {
            (format!("/{id}"), &mut documents)
        };
        let status = connection.get(&path).context("a request")?;
        figures.note(status, due.elapsed());
    }
}

/// A connection that is kept alive.
struct Connection {
    stream: BufReader<TcpStream>,
    prefix: String,
    suffix: String,
    body: Vec<u8>,
}

impl Connection {
    fn open(plan: &Plan) -> io::Result<Connection> {
        let stream = TcpStream::connect_timeout(&plan.api.address(), TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_nodelay(true)?;
        Ok(Connection {
            stream: BufReader::new(stream),
            prefix: format!("GET /v2/accounts/{}/conferences", plan.api.account_id()),
            suffix: format!(
                " HTTP/1.1\r\nHost: {}\r\nX-Auth-Token: {}\r\n\r\n",
                plan.api.address(),
                plan.api.token().unwrap_or_default()
            ),
            body: Vec::new(),
        })
    }

    /// Sends a request, reads the answer to its end and returns its status.
    fn get(&mut self, path: &str) -> io::Result<u16> {
        let request = format!("{}{path}{}", self.prefix, self.suffix);
        self.stream.get_mut().write_all(request.as_bytes())?;
        let bad = || io::Error::other("the answer is no HTTP with a length");
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let status = line
            .split(' ')
            .nth(1)
            .and_then(|word| word.parse().ok())
            .ok_or_else(bad)?;
        let mut length = None;
        loop {
            line.clear();
            self.stream.read_line(&mut line)?;
            match line.trim_end().split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.trim().parse().ok();
                }
                Some(_) => {}
                None => break,
            }
        }
        self.body.resize(length.ok_or_else(bad)?, 0);
        self.stream.read_exact(&mut self.body)?;
        Ok(status)
    }
}

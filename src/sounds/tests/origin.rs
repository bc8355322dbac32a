//! A web server of a few lines: each path answers as it is told, held back on demand.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

/// What a path answers.
#[derive(Clone, Default)]
pub(crate) struct Page {
    /// `200 OK` when empty.
    pub(crate) status: &'static str,
    /// Lines, each with its end.
    pub(crate) headers: String,
    pub(crate) body: Vec<u8>,
    /// An entity tag that is answered with 304 when it is asked for.
    pub(crate) etag: Option<&'static str>,
}

pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    pages: Mutex<BTreeMap<String, Page>>,
    requests: Mutex<Vec<String>>,
    /// An answer takes one permit.
    gate: Semaphore,
    /// Paths that wait on their own, whatever query they are asked with.
    held: watch::Sender<BTreeSet<String>>,
    open: AtomicUsize,
    answered: AtomicUsize,
}

impl Origin {
    pub(crate) async fn start() -> Origin {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared {
            pages: Mutex::default(),
            requests: Mutex::default(),
            gate: Semaphore::new(1_000_000),
            held: watch::Sender::default(),
            open: AtomicUsize::new(0),
            answered: AtomicUsize::new(0),
        });
        let serving = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&serving);
                tokio::spawn(async move {
                    shared.open.fetch_add(1, Ordering::SeqCst);
                    // A client that goes away ends its connection; that is what some tests are about.
                    let _ = shared.serve(stream).await;
                    shared.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Origin { address, shared }
    }

    pub(crate) fn put(&self, path: &str, page: Page) {
        self.shared.pages.lock().unwrap().insert(path.to_owned(), page);
    }

    /// Lets a path answer with a file.
    pub(crate) fn put_file(&self, path: &str, body: Vec<u8>) -> String {
        let page = Page {
            body,
            ..Page::default()
        };
        self.put(path, page);
        self.url(path)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Holds all answers back until [`Origin::release`].
    pub(crate) fn hold(&self) {
        let permits = self.shared.gate.available_permits();
        self.shared.gate.forget_permits(permits);
    }

    pub(crate) fn release(&self) {
        self.shared.gate.add_permits(1_000_000);
    }

    /// Holds the answers of one path back until [`Origin::release_path`].
    pub(crate) fn hold_path(&self, path: &str) {
        self.shared.held.send_modify(|held| {
            held.insert(path.to_owned());
        });
    }

    pub(crate) fn release_path(&self, path: &str) {
        self.shared.held.send_modify(|held| {
            held.remove(path);
        });
    }

    /// Requests that were answered so far.
    pub(crate) fn answered(&self) -> usize {
        self.shared.answered.load(Ordering::SeqCst)
    }

    /// The requests so far: path, and `If-None-Match` if there was one.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// Connections that are open.
    pub(crate) fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }
}

impl Shared {
    async fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut head = Vec::new();
        loop {
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if stream.read(&mut byte).await? == 0 {
                    return Ok(());
                }
                head.push(byte[0]);
            }
            let text = String::from_utf8_lossy(&head).into_owned();
            head.clear();
            let path = text.split(' ').nth(1).unwrap_or_default().to_owned();
            let tag = text.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("if-none-match")
                    .then(|| value.to_owned())
            });
            let told = tag.as_ref().map_or(path.clone(), |tag| format!("{path} {tag}"));
            self.requests.lock().unwrap().push(told);
            let mut more = [0];
            let may_answer = async {
                self.gate.acquire().await.expect("never closed").forget();
                let plain = path.split('?').next().unwrap_or_default();
                let mut held = self.held.subscribe();
                let released = held.wait_for(|held| !held.contains(plain)).await;
                drop(released.expect("never closed"));
            };
            tokio::select! {
                () = may_answer => {}
                // Nothing more is asked meanwhile: the client has gone.
                _ = stream.peek(&mut more) => return Ok(()),
            }
            let page = self.pages.lock().unwrap().get(&path).cloned();
            let page = page.unwrap_or(Page {
                status: "404 Not Found",
                ..Page::default()
            });
            stream.write_all(&answer(&page, tag.as_deref())).await?;
            self.answered.fetch_add(1, Ordering::SeqCst);
        }
    }
}

fn answer(page: &Page, asked: Option<&str>) -> Vec<u8> {
    let etag = page
        .etag
        .map_or(String::new(), |etag| format!("ETag: {etag}\r\n"));
    if page.etag.is_some() && page.etag == asked {
        return format!("HTTP/1.1 304 Not Modified\r\n{etag}{}\r\n", page.headers).into_bytes();
    }
    let status = if page.status.is_empty() {
        "200 OK"
    } else {
        page.status
    };
    let length = if page.headers.contains("Transfer-Encoding") {
        String::new()
    } else {
        format!("Content-Length: {}\r\n", page.body.len())
    };
    let mut answer = format!("HTTP/1.1 {status}\r\n{length}{etag}{}\r\n", page.headers).into_bytes();
    answer.extend_from_slice(&page.body);
    answer
}

//! Owns a very small HTTP/1.1 client: one connection per request, so that every answer has its own time of arrival.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const TIMEOUT: Duration = Duration::from_secs(10);

/// A client of one server.
#[derive(Debug, Clone)]
pub struct HttpClient {
    address: SocketAddr,
    account_id: String,
    token: Option<String>,
}

/// What the server answered.
#[derive(Debug, Clone)]
pub struct HttpAnswer {
    /// Status code.
    pub status: u16,
    /// Header names in lower case, with their values.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
    /// When the first byte of the answer had arrived.
    pub at: Instant,
}

impl HttpAnswer {
    /// Returns the body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Returns the body as JSON; `null` when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// Returns the first value of a header, named in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

impl HttpClient {
    /// Makes a client without credentials.
    pub fn anonymous(address: SocketAddr) -> Self {
        Self {
            address,
            account_id: String::new(),
            token: None,
        }
    }

    /// Trades an API key for a token.
    pub fn log_in(address: SocketAddr, account_id: &str, api_key: &str) -> io::Result<Self> {
        let mut client = Self {
            address,
            account_id: account_id.to_owned(),
            token: None,
        };
        let body = json!({"data": {"api_key": api_key}});
        let answer = client.request("PUT", "/v2/api_auth", Some(&body))?;
        let envelope = answer.json();
        let token = envelope["auth_token"].as_str();
        client.token = Some(
            token
                .ok_or_else(|| io::Error::other(format!("no token: {} {}", answer.status, answer.text())))?
                .to_owned(),
        );
        Ok(client)
    }

    /// Returns the address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns a client of the same server with another account and token.
    #[must_use]
    pub fn with_token(&self, account_id: &str, token: &str) -> Self {
        Self {
            address: self.address,
            account_id: account_id.to_owned(),
            token: Some(token.to_owned()),
        }
    }

    /// Returns the id of the account.
    pub fn account_id(&self) -> &str {
        &self.account_id
    }

    /// Returns the token.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Sends a request below the account's URL, such as `/conferences`.
    pub fn account(&self, method: &str, path: &str, body: Option<&Value>) -> io::Result<HttpAnswer> {
        self.request(method, &format!("/v2/accounts/{}{path}", self.account_id), body)
    }

    /// Sends a request to any path.
    pub fn request(&self, method: &str, path: &str, body: Option<&Value>) -> io::Result<HttpAnswer> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let token = self
            .token
            .as_ref()
            .map(|token| format!("X-Auth-Token: {token}\r\n"))
            .unwrap_or_default();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\n{token}Content-Length: {}\r\n\r\n",
            self.address,
            body.len(),
        );
        self.raw(format!("{head}{body}").as_bytes())
    }

    /// Sends a request with these headers and no others but the length, the host and the token, if there is one.
    pub fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<HttpAnswer> {
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n",
            self.address,
            body.len()
        );
        if let Some(token) = &self.token {
            head += &format!("X-Auth-Token: {token}\r\n");
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        let mut bytes = (head + "\r\n").into_bytes();
        bytes.extend_from_slice(body);
        self.raw(&bytes)
    }

    /// Sends bytes as they are on a connection of their own and reads the answer to its end.
    pub fn raw(&self, request: &[u8]) -> io::Result<HttpAnswer> {
        let mut stream = TcpStream::connect_timeout(&self.address, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_nodelay(true)?;
        stream.write_all(request)?;
        let mut bytes = vec![0];
        stream.read_exact(&mut bytes)?;
        let at = Instant::now();
        stream.read_to_end(&mut bytes)?;
        parse_answer(&bytes, at).ok_or_else(|| io::Error::other("the answer is no HTTP"))
    }
}

fn parse_answer(bytes: &[u8], at: Instant) -> Option<HttpAnswer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]);
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut body = bytes[end + 4..].to_vec();
    if headers
        .iter()
        .any(|(name, value)| name == "transfer-encoding" && value == "chunked")
    {
        body = join_chunks(&body)?;
    }
    Some(HttpAnswer {
        status,
        headers,
        body,
        at,
    })
}

fn join_chunks(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?.trim(), 16).ok()?;
        if length == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(end + 2..end + 2 + length)?);
        rest = rest.get(end + 4 + length..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_whole_and_in_chunks() {
        let rows: [&[u8]; 2] = [
            b"HTTP/1.1 201 Created\r\nETag: \"x\"\r\n\r\n{\"a\":1}",
            b"HTTP/1.1 201 Created\r\netag: \"x\"\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{\"a\r\n4\r\n\":1}\r\n0\r\n\r\n",
        ];
        for row in rows {
            let answer = parse_answer(row, Instant::now()).expect("an answer");
            assert_eq!((answer.status, answer.header("etag")), (201, Some("\"x\"")));
            assert_eq!(answer.json(), json!({"a": 1}));
        }
    }
}

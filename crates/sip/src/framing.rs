//! Cutting a byte stream into SIP messages (RFC 3261 §18.3, RFC 5626 §3.5.1).
//!
//! Owns the receive buffer of one connection and its bound. It never reads a socket and never parses more of a message
//! than is needed to know its length.

#[cfg(test)]
mod tests;

use bytes::{Buf, Bytes, BytesMut};

use crate::message::{
    Lines, MAX_LINE_BYTES, MAX_MESSAGE_BYTES, ParseError, ParseErrorKind, declared_length, may_start_message,
    refuse,
};

/// What a stream yields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Framed {
    /// One whole message, for [`crate::Message::parse`].
    Message(Bytes),
    /// A double CRLF: answer with [`KEEP_ALIVE_PONG`].
    KeepAlivePing,
    /// A single CRLF: the answer to our own ping, else without meaning.
    KeepAlivePong,
}

/// What keeps a connection open (RFC 5626 §3.5.1).
pub const KEEP_ALIVE_PING: &[u8] = b"\r\n\r\n";
/// What answers it.
pub const KEEP_ALIVE_PONG: &[u8] = b"\r\n";

/// Cuts the messages out of one connection's bytes.
///
/// `push` what was read, then take items until there is none. The buffer holds at most one message of
/// [`MAX_MESSAGE_BYTES`] beside what one `push` brought. After an error the stream has lost its frame: send the error's
/// answer if it has one, and close; further bytes are ignored.
#[derive(Debug, Default)]
pub struct StreamFramer {
    buffer: BytesMut,
    /// Bytes at the front known to hold no end of the header section.
    searched: usize,
    /// Length of the message at the front once its headers are complete.
    message_length: Option<usize>,
    /// A single CRLF has been reported that may be the first half of a ping.
    half_ping: bool,
    broken: bool,
}

impl StreamFramer {
    /// A framer for a new connection.
    pub fn new() -> StreamFramer {
        StreamFramer::default()
    }

    /// Adds received bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        if !self.broken {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// Bytes that wait for the rest of their message.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// True after an error: the connection has to be closed.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    fn keep_alive(&mut self) -> Option<Framed> {
        if self.half_ping && self.buffer.starts_with(KEEP_ALIVE_PONG) {
            self.buffer.advance(KEEP_ALIVE_PONG.len());
            self.half_ping = false;
            return Some(Framed::KeepAlivePing);
        }
        if self.buffer.starts_with(KEEP_ALIVE_PING) {
            self.buffer.advance(KEEP_ALIVE_PING.len());
            return Some(Framed::KeepAlivePing);
        }
        if self.buffer.starts_with(KEEP_ALIVE_PONG) && self.buffer.get(2) != Some(&b'\r') {
            self.buffer.advance(KEEP_ALIVE_PONG.len());
            self.half_ping = self.buffer.is_empty();
            return Some(Framed::KeepAlivePong);
        }
        None
    }

    /// The length of the message at the front when its header section is complete.
    fn find_length(&mut self) -> Result<Option<usize>, ParseErrorKind> {
        if self.message_length.is_some() {
            return Ok(self.message_length);
        }
        let Some(head_length) = self.find_head()? else {
            return Ok(None);
        };
        let body = declared_length(&self.buffer[..head_length]).map_err(ParseErrorKind::BadHeader)?;
        let total = usize::try_from(body)
            .ok()
            .and_then(|body| body.checked_add(head_length));
        match total {
            Some(total) if total <= MAX_MESSAGE_BYTES => {
                self.message_length = Some(total);
                Ok(self.message_length)
            }
            _ => Err(ParseErrorKind::MessageTooLarge),
        }
    }

    /// The length of start line and headers with the empty line, once all of it is there.
    fn find_head(&mut self) -> Result<Option<usize>, ParseErrorKind> {
        let mut lines = Lines::new(&self.buffer);
        lines.position = self.searched;
        while let Some(line) = lines.single() {
            if line.start == 0 && !may_start_message(&self.buffer[..line.end]) {
                return Err(ParseErrorKind::NotSip);
            }
            if line.is_empty() {
                self.searched = 0;
                return Ok(Some(lines.position));
            }
            self.searched = lines.position;
        }
        if self.buffer.len() - self.searched > MAX_LINE_BYTES {
            return Err(ParseErrorKind::LineTooLong);
        }
        if self.buffer.len() > MAX_MESSAGE_BYTES {
            return Err(ParseErrorKind::MessageTooLarge);
        }
        Ok(None)
    }

    fn frame(&mut self) -> Result<Option<Framed>, ParseErrorKind> {
        if self.message_length.is_none() && self.searched == 0 {
            if let Some(framed) = self.keep_alive() {
                return Ok(Some(framed));
            }
            let at_line_end = matches!(&self.buffer[..], b"" | b"\r" | b"\r\n\r");
            if at_line_end {
                return Ok(None);
            }
            self.half_ping = false;
            let blank = self
                .buffer
                .iter()
                .take_while(|byte| matches!(byte, b'\r' | b'\n'))
                .count();
            self.buffer.advance(blank);
        }
        match self.find_length()? {
            Some(length) if length <= self.buffer.len() => {
                self.message_length = None;
                self.searched = 0;
                Ok(Some(Framed::Message(self.buffer.split_to(length).freeze())))
            }
            _ => Ok(None),
        }
    }
}

impl Iterator for StreamFramer {
    type Item = Result<Framed, ParseError>;

    /// The next item, `None` until more bytes are pushed.
    fn next(&mut self) -> Option<Self::Item> {
        if self.broken || self.buffer.is_empty() {
            return None;
        }
        match self.frame() {
            Ok(framed) => framed.map(Ok),
            Err(kind) => {
                self.broken = true;
                let received = std::mem::take(&mut self.buffer).freeze();
                let received = received.slice(..received.len().min(MAX_MESSAGE_BYTES));
                Some(Err(refuse(&received, kind)))
            }
        }
    }
}

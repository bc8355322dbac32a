//! The ordered list of header fields of one message, with raw values.
//!
//! Owns order, lookup and the promise that no value holds a line end. What a value means is read by the typed getters
//! in `typed`.

use bytes::{BufMut, Bytes, BytesMut};

use super::header_name::HeaderName;

/// One header field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its name.
    pub name: HeaderName,
    value: Bytes,
}

impl Header {
    /// Makes a field. CR and LF in `value` become spaces, so that no value can smuggle in another header line;
    /// white space at both ends is dropped.
    pub fn new(name: HeaderName, value: impl Into<Bytes>) -> Header {
        Header {
            name,
            value: one_line(value.into()),
        }
    }

    /// For values the parser took from a single line.
    pub(crate) fn from_line(name: HeaderName, value: Bytes) -> Header {
        Header { name, value }
    }

    /// The value on one line, without white space at its ends.
    pub fn value(&self) -> &Bytes {
        &self.value
    }
}

fn one_line(value: Bytes) -> Bytes {
    let unsafe_byte = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let value = if value.iter().any(unsafe_byte) {
        value
            .iter()
            .map(|byte| if unsafe_byte(byte) { b' ' } else { *byte })
            .collect()
    } else {
        value
    };
    let trimmed = crate::scan::trim(&value);
    if trimmed.len() == value.len() {
        value
    } else {
        value.slice_ref(trimmed)
    }
}

/// The header fields of a message in their order. Fields of one name may be spread over several entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<Header>);

impl Headers {
    /// An empty list.
    pub const fn new() -> Headers {
        Headers(Vec::new())
    }

    pub(crate) fn with_capacity(count: usize) -> Headers {
        Headers(Vec::with_capacity(count))
    }

    /// The raw value of the first field of this name.
    pub fn get(&self, name: &HeaderName) -> Option<&Bytes> {
        self.0
            .iter()
            .find(|header| header.name == *name)
            .map(|header| &header.value)
    }

    /// The raw values of all fields of this name, in order. Comma lists are not taken apart.
    pub fn get_all<'a, 'n>(&'a self, name: &'n HeaderName) -> impl Iterator<Item = &'a Bytes> + use<'a, 'n> {
        self.0
            .iter()
            .filter(move |header| header.name == *name)
            .map(|header| &header.value)
    }

    /// True when there is a field of this name.
    pub fn has(&self, name: &HeaderName) -> bool {
        self.get(name).is_some()
    }

    /// Adds a field at the end. See [`Header::new`] for what happens to line ends in `value`.
    pub fn push(&mut self, name: HeaderName, value: impl Into<Bytes>) {
        self.0.push(Header::new(name, value));
    }

    pub(crate) fn push_header(&mut self, header: Header) {
        self.0.push(header);
    }

    /// Puts a field before all others: the place for one's own Via and Record-Route.
    pub fn insert_first(&mut self, name: HeaderName, value: impl Into<Bytes>) {
        self.0.insert(0, Header::new(name, value));
    }

    /// Sets the value of the first field of this name and removes further ones; adds it at the end when there is none.
    pub fn replace(&mut self, name: HeaderName, value: impl Into<Bytes>) {
        let header = Header::new(name, value);
        match self.0.iter().position(|present| present.name == header.name) {
            Some(first) => {
                let mut index = 0;
                self.0.retain(|present| {
                    index += 1;
                    index <= first + 1 || present.name != header.name
                });
                self.0[first] = header;
            }
            None => self.0.push(header),
        }
    }

    /// Sets the value of the first field of this name and leaves further ones alone; adds it when there is none.
    pub fn replace_first(&mut self, name: HeaderName, value: impl Into<Bytes>) {
        let header = Header::new(name, value);
        match self.0.iter_mut().find(|present| present.name == header.name) {
            Some(present) => *present = header,
            None => self.0.push(header),
        }
    }

    /// Removes every field of this name; returns how many there were.
    pub fn remove(&mut self, name: &HeaderName) -> usize {
        let before = self.0.len();
        self.0.retain(|header| header.name != *name);
        before - self.0.len()
    }

    /// The fields in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Header> {
        self.0.iter()
    }

    /// Number of fields.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds copies of every field of `name` in `from`, byte for byte.
    pub fn copy_all(&mut self, from: &Headers, name: &HeaderName) {
        self.0
            .extend(from.0.iter().filter(|header| header.name == *name).cloned());
    }

    /// Prints all fields, with Content-Length set to `body_length` in its place or at the end.
    pub(crate) fn print(&self, body_length: usize, out: &mut BytesMut) {
        let mut length_printed = false;
        for header in &self.0 {
            if header.name == HeaderName::ContentLength {
                if !length_printed {
                    print_length(body_length, out);
                }
                length_printed = true;
                continue;
            }
            out.put_slice(header.name.as_bytes());
            out.put_slice(b": ");
            out.put_slice(&header.value);
            out.put_slice(b"\r\n");
        }
        if !length_printed {
            print_length(body_length, out);
        }
    }
}

fn print_length(body_length: usize, out: &mut BytesMut) {
    use std::fmt::Write;
    write!(out, "Content-Length: {body_length}\r\n").expect("a growing buffer takes any text");
}

impl<'a> IntoIterator for &'a Headers {
    type Item = &'a Header;
    type IntoIter = std::slice::Iter<'a, Header>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

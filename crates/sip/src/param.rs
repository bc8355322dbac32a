//! Parameters: the `;name=value` lists behind URIs, Via, From, Contact and many others.
//!
//! Owns order, lookup and printing. It never interprets a value: the header or URI that carries it does.

use bytes::{BufMut, BytesMut};

use crate::byte_str::ByteStr;
use crate::scan::{Problem, Scanner, unquote};

/// Parameters one list may have when it is read; a bound on work, far above anything real.
const MAX_PARAMS: usize = 128;

/// One parameter. A quoted value keeps its quotes and escapes; [`Param::unquoted`] takes them off.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Param {
    /// Name as received; names compare without regard to case.
    pub name: ByteStr,
    /// Value as received, `None` for a bare flag such as `;lr`.
    pub value: Option<ByteStr>,
}

impl Param {
    /// The value without surrounding quotes and backslash escapes; `None` for a flag.
    pub fn unquoted(&self) -> Option<ByteStr> {
        self.value.as_ref().map(unquote)
    }
}

/// Ordered parameters with case-insensitive names. The empty list holds no allocation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Params(Vec<Param>);

impl Params {
    /// A list without entries.
    pub const fn new() -> Self {
        Params(Vec::new())
    }

    /// The first parameter of this name.
    pub fn get(&self, name: &str) -> Option<&Param> {
        self.0.iter().find(|param| param.name.eq_ignore_case(name))
    }

    /// The raw value of the first parameter of this name; `None` when absent or a flag.
    pub fn value(&self, name: &str) -> Option<&ByteStr> {
        self.get(name).and_then(|param| param.value.as_ref())
    }

    /// True when a parameter of this name is there, with or without a value.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Sets the parameter: in its place when present (further ones of the name go), else at the end.
    pub fn set(&mut self, name: &str, value: Option<ByteStr>) {
        match self.0.iter().position(|param| param.name.eq_ignore_case(name)) {
            Some(first) => {
                self.0[first].value = value;
                let mut index = 0;
                self.0.retain(|param| {
                    index += 1;
                    index <= first + 1 || !param.name.eq_ignore_case(name)
                });
            }
            None => self.0.push(Param {
                name: ByteStr::from(name),
                value,
            }),
        }
    }

    /// Adds a parameter at the end without looking for earlier ones.
    pub fn push(&mut self, param: Param) {
        self.0.push(param);
    }

    /// As `push`, within the bound of what is read from the network.
    pub(crate) fn add(&mut self, param: Param) -> Result<(), Problem> {
        if self.0.len() >= MAX_PARAMS {
            return Err(Problem::TooMany);
        }
        self.0.push(param);
        Ok(())
    }

    /// Removes every parameter of this name; returns whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|param| !param.name.eq_ignore_case(name));
        self.0.len() != before
    }

    /// The parameters in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Param> {
        self.0.iter()
    }

    /// Number of parameters.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads `*(SEMI name [EQUAL value])` from a header value, white space allowed around each sign. One `;` with
    /// nothing behind it is tolerated; an empty parameter in the middle is not (RFC 4475 §3.1.2.1).
    pub(crate) fn scan(scanner: &mut Scanner<'_>) -> Result<Params, Problem> {
        let mut params = Params::new();
        loop {
            scanner.skip_space();
            if !scanner.take(b';') {
                return Ok(params);
            }
            scanner.skip_space();
            if matches!(scanner.peek(), None | Some(b',')) {
                return Ok(params);
            }
            let name = scanner.token().ok_or(Problem::EmptyParameter)?;
            scanner.skip_space();
            let value = if scanner.take(b'=') {
                scanner.skip_space();
                Some(scanner.param_value()?)
            } else {
                None
            };
            params.add(Param { name, value })?;
        }
    }

    /// Prints each parameter behind a `;`.
    pub(crate) fn print(&self, out: &mut BytesMut) {
        self.print_with(out, b';', b';');
    }

    pub(crate) fn print_with(&self, out: &mut BytesMut, first: u8, next: u8) {
        for (index, param) in self.0.iter().enumerate() {
            out.put_u8(if index == 0 { first } else { next });
            out.put_slice(param.name.as_bytes());
            if let Some(value) = &param.value {
                out.put_u8(b'=');
                out.put_slice(value.as_bytes());
            }
        }
    }
}

impl<'a> IntoIterator for &'a Params {
    type Item = &'a Param;
    type IntoIter = std::slice::Iter<'a, Param>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl FromIterator<Param> for Params {
    fn from_iter<T: IntoIterator<Item = Param>>(iter: T) -> Self {
        Params(iter.into_iter().collect())
    }
}

//! The layers of the configuration as plain values by key, each with the place it comes from.
//!
//! Owns TOML reading, the naming of environment variables, and the check of key names and value types against the
//! defaults. It does not know what a value means.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    path::Path,
};

use toml::de::{DeTable, DeValue};

use super::error::{Place, Problem};

/// Environment variables that begin so are keys.
const ENVIRONMENT_PREFIX: &str = "CONFAB__";

/// Of variables that begin so, those that spell a key are mistakes.
const NAME_PREFIX: &str = "CONFAB_";

/// A value of a key. A key has the same type in every layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Flag(bool),
    List(Vec<String>),
}

impl Value {
    fn type_name(&self) -> &'static str {
        match self {
            Value::Text(_) => "a string",
            Value::Integer(_) => "a whole number",
            Value::Flag(_) => "true or false",
            Value::List(_) => "a list of strings",
        }
    }

    /// Moves a TOML value over; the error names what it is.
    fn from_toml(value: &DeValue<'_>) -> Result<Value, String> {
        match value {
            DeValue::String(text) => Ok(Value::Text(text.to_string())),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map(Value::Integer)
                .map_err(|_| "a number out of range".to_owned()),
            DeValue::Boolean(flag) => Ok(Value::Flag(*flag)),
            DeValue::Array(items) => items
                .iter()
                .map(|item| match item.get_ref() {
                    DeValue::String(text) => Ok(text.to_string()),
                    other => Err(format!("a list with {}", described(other))),
                })
                .collect::<Result<_, _>>()
                .map(Value::List),
            other => Err(described(other).to_owned()),
        }
    }

    /// Reads the text of an environment variable as the type that `self` has.
    fn like(&self, text: &str) -> Result<Value, String> {
        match self {
            Value::Text(_) => Ok(Value::Text(text.to_owned())),
            Value::Integer(_) => text
                .trim()
                .parse()
                .map(Value::Integer)
                .map_err(|_| "another text".to_owned()),
            Value::Flag(_) => text
                .trim()
                .parse()
                .map(Value::Flag)
                .map_err(|_| "another text".to_owned()),
            Value::List(_) if text.trim_start().starts_with('[') => {
                let value = DeValue::parse(text.trim()).map_err(|error| error.message().trim().to_owned())?;
                Value::from_toml(value.get_ref())
            }
            Value::List(_) => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                Ok(Value::List(items.map(str::to_owned).collect()))
            }
        }
    }
}

fn described(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    }
}

/// A value and where it comes from.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) value: Value,
    pub(super) place: Place,
}

/// All keys, as `section.key`.
#[derive(Clone)]
pub(super) struct Values(BTreeMap<String, Setting>);

impl std::fmt::Debug for Values {
    /// Without the values: some are secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Values {
    /// Reads the built-in defaults.
    pub(super) fn defaults(text: &str) -> Values {
        let mut values = Values(BTreeMap::new());
        let table = DeTable::parse(text).expect("the built-in defaults are TOML");
        for_each_key(table.get_ref(), "", &mut |key, value, _| {
            let value = Value::from_toml(value).expect("the built-in defaults have known types");
            values.0.insert(
                key.to_owned(),
                Setting {
                    value,
                    place: Place::Default,
                },
            );
        });
        values
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key).map(|setting| &setting.value)
    }

    pub(super) fn setting(&self, key: &str) -> &Setting {
        self.0
            .get(key)
            .expect("only keys of the built-in defaults are read")
    }

    /// Lays the keys of a TOML file over.
    pub(super) fn overlay_file(&mut self, name: &str, bytes: &[u8], problems: &mut Vec<Problem>) {
        let file = |line| Place::File {
            name: name.to_owned(),
            line,
        };
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text),
            Err(error) => {
                let place = file(line_of(bytes, error.valid_up_to()));
                return problems.push(Problem {
                    place,
                    key: None,
                    text: "is not UTF-8 text".to_owned(),
                });
            }
        };
        let table = match DeTable::parse(text) {
            Ok(table) => table,
            Err(error) => {
                let offset = error.span().map_or(text.len(), |span| span.start);
                let text = error.message().trim().replace('\n', ", ");
                return problems.push(Problem {
                    place: file(line_of(bytes, offset)),
                    key: None,
                    text,
                });
            }
        };
        for_each_key(table.get_ref(), "", &mut |key, value, offset| {
            let place = file(line_of(text.as_bytes(), offset));
            self.overlay(key, place, |_| Value::from_toml(value), problems);
        });
    }

    /// Lays the variables named `CONFAB__SECTION__KEY` over, in the order of their names.
    pub(super) fn overlay_environment(
        &mut self,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        problems: &mut Vec<Problem>,
    ) {
        let is_ours = |(name, value): (OsString, OsString)| {
            let name = name.to_str().filter(|name| name.starts_with(NAME_PREFIX))?;
            Some((name.to_owned(), value))
        };
        let variables: BTreeMap<String, OsString> = environment.into_iter().filter_map(is_ours).collect();
        for (name, value) in variables {
            if !name.starts_with(ENVIRONMENT_PREFIX) {
                if let Some(key) = self.key_meant(&name) {
                    let right = key.to_ascii_uppercase().replace('.', "__");
                    problems.push(Problem {
                        key: Some(key.to_owned()),
                        place: Place::Environment(name),
                        text: format!("is not read under this name: write {ENVIRONMENT_PREFIX}{right}"),
                    });
                }
                continue;
            }
            let key = name[ENVIRONMENT_PREFIX.len()..]
                .to_ascii_lowercase()
                .replace("__", ".");
            let read = |known: &Value| {
                let text = value
                    .to_str()
                    .ok_or_else(|| "something that is not UTF-8 text".to_owned())?;
                known.like(text)
            };
            self.overlay(&key, Place::Environment(name), read, problems);
        }
    }

    /// The key that a variable spells with too few underscores. Other variables may begin with the program's name for
    /// reasons of their own: orchestrators name those of a service so.
    fn key_meant(&self, variable: &str) -> Option<&str> {
        let spelt = variable[NAME_PREFIX.len()..]
            .to_ascii_lowercase()
            .replace("__", "_");
        self.keys().find(|key| key.replace('.', "_") == spelt)
    }

    /// Lays `--data-dir` over.
    pub(super) fn overlay_data_dir(&mut self, path: &Path, problems: &mut Vec<Problem>) {
        let read = |_: &Value| {
            let text =
                OsStr::to_str(path.as_os_str()).ok_or_else(|| "a name that is not UTF-8 text".to_owned())?;
            Ok(Value::Text(text.to_owned()))
        };
        self.overlay("data_dir", Place::CommandLine("--data-dir"), read, problems);
    }

    /// Lays one value over, when the key exists and the type fits.
    fn overlay(
        &mut self,
        key: &str,
        place: Place,
        read: impl FnOnce(&Value) -> Result<Value, String>,
        problems: &mut Vec<Problem>,
    ) {
        let mut refuse = |place, text| {
            problems.push(Problem {
                place,
                key: Some(key.to_owned()),
                text,
            })
        };
        let Some(known) = self.0.get_mut(key) else {
            return refuse(place, unknown(key, self.keys()));
        };
        let expected = known.value.type_name();
        match read(&known.value) {
            Ok(value) if value.type_name() == expected => *known = Setting { value, place },
            Ok(value) => refuse(place, format!("expected {expected}, found {}", value.type_name())),
            Err(found) => refuse(place, format!("expected {expected}, found {found}")),
        }
    }
}

/// Calls `visit` with the dotted name, the value and the byte offset of each key. A key of the wrong shape is visited
/// as it is: a section that should be a value, or a value that should be a section.
fn for_each_key(table: &DeTable<'_>, prefix: &str, visit: &mut impl FnMut(&str, &DeValue<'_>, usize)) {
    for (name, value) in table {
        let key = format!("{prefix}{}", name.get_ref());
        match value.get_ref() {
            DeValue::Table(section) if prefix.is_empty() => for_each_key(section, &format!("{key}."), visit),
            value => visit(&key, value, name.span().start),
        }
    }
}

/// Says that a key is unknown, and which ones there are in its section.
fn unknown<'a>(key: &str, keys: impl Iterator<Item = &'a str>) -> String {
    let section = key.split_once('.').map_or("", |(section, _)| section);
    let mut siblings = Vec::new();
    let mut sections = Vec::new();
    let mut outside = Vec::new();
    for known in keys {
        let (known_section, name) = known.split_once('.').unwrap_or(("", known));
        if known_section == section {
            siblings.push(name);
        }
        if known_section.is_empty() {
            outside.push(name);
        }
        if !known_section.is_empty() && sections.last() != Some(&known_section) {
            sections.push(known_section);
        }
    }
    if section.is_empty() && sections.contains(&key) {
        format!("is a section: write [{key}] and its keys below")
    } else if siblings.is_empty() || section.is_empty() {
        format!(
            "unknown key; the sections are {}, and outside them {}",
            sections.join(", "),
            outside.join(", ")
        )
    } else {
        format!("unknown key; [{section}] has {}", siblings.join(", "))
    }
}

/// The line of a byte offset, counted from 1.
fn line_of(text: &[u8], offset: usize) -> usize {
    text[..offset.min(text.len())]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count()
        + 1
}

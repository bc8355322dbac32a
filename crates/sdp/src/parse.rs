//! Lenient reading of session descriptions.
//!
//! Owns the limits, the repairs that real peers make necessary, and the only use of the `sdp-types` parser: its
//! types end here. It never judges what the description asks for.

use crate::description::{
    Attribute, Bandwidth, Connection, MediaDescription, OriginLine, SessionDescription, Timing,
};
use crate::error::SdpError;

/// Largest body that is read, bytes. A browser's offer with all its candidates stays below 10 KB.
pub const MAX_BYTES: usize = 32 * 1024;
/// Most lines that are read.
pub const MAX_LINES: usize = 1000;
/// Most media descriptions that are read. Each costs a line in the answer.
pub const MAX_MEDIA: usize = 32;
/// Most formats that are read on one `m=` line; there are only 128 payload types.
pub const MAX_FORMATS: usize = 128;

impl SessionDescription {
    /// Reads a description as peers send it: any line end (CRLF, LF, CR), bytes that are no UTF-8 (replaced), NUL
    /// padding, white space around lines, missing `o=`, `s=` and `t=`, lines in unusual order, unknown or
    /// unreadable lines that offer/answer can do without.
    ///
    /// # Errors
    /// [`SdpError::TooLarge`] and [`SdpError::TooMany`] beyond the limits of this module, [`SdpError::NotSdp`] and
    /// [`SdpError::Version`] for another body, [`SdpError::Syntax`] for an `m=` or `c=` line that cannot be read.
    pub fn parse(body: &[u8]) -> Result<SessionDescription, SdpError> {
        if body.len() > MAX_BYTES {
            return Err(SdpError::TooLarge {
                bytes: body.len(),
                limit: MAX_BYTES,
            });
        }
        let repaired = repair(&String::from_utf8_lossy(body))?;
        let session = sdp_types::Session::parse(repaired.as_bytes()).map_err(|error| SdpError::Syntax {
            problem: error.to_string(),
        })?;
        Ok(description(session))
    }
}

/// Rewrites the body into what the strict grammar takes, line by line, and drops what cannot matter. Dropped lines
/// stay as empty lines so that line numbers in errors are those of the body.
fn repair(body: &str) -> Result<String, SdpError> {
    let body = body.replace('\0', "").replace("\r\n", "\n").replace('\r', "\n");
    let mut repaired = String::with_capacity(body.len() + 16);
    let mut seen = Seen::default();
    for (index, line) in body.split('\n').enumerate() {
        if index >= MAX_LINES {
            return Err(SdpError::TooMany {
                what: "lines",
                limit: MAX_LINES,
            });
        }
        let line = line.trim_matches([' ', '\t']);
        if !seen.version && !line.is_empty() {
            match line.strip_prefix("v=") {
                Some(version) if version.trim() == "0" => seen.version = true,
                Some(_) => return Err(SdpError::Version),
                None => return Err(SdpError::NotSdp),
            }
            repaired.push_str("v=0");
        } else if let Some((kind, value)) = line.split_once('=') {
            repair_line(kind, value, &mut seen, &mut repaired)?;
        }
        repaired.push('\n');
    }
    if seen.version {
        Ok(repaired)
    } else {
        Err(SdpError::NotSdp)
    }
}

/// Which lines that may occur once have been read already.
#[derive(Default)]
struct Seen {
    version: bool,
    origin: bool,
    name: bool,
    connection: bool,
    media: usize,
}

/// Appends the repaired line to `out`, or nothing when the line is not kept.
fn repair_line(kind: &str, value: &str, seen: &mut Seen, out: &mut String) -> Result<(), SdpError> {
    let in_session = seen.media == 0;
    match kind {
        "o" if in_session && !seen.origin => {
            if let Some(origin) = repair_origin(value) {
                seen.origin = true;
                out.push_str(&origin);
            }
        }
        "s" if in_session && !seen.name => {
            seen.name = true;
            out.push_str("s=");
            out.push_str(value);
        }
        "c" if !in_session || !seen.connection => {
            seen.connection |= in_session;
            let fields: Vec<&str> = value.split_ascii_whitespace().take(3).collect();
            out.push_str("c=");
            out.push_str(&fields.join(" "));
        }
        "b" => {
            if let Some((kind, number)) = value.split_once(':') {
                let kind = kind.trim();
                if let (Ok(number), true) = (number.trim().parse::<u64>(), is_field(kind)) {
                    out.push_str(&format!("b={kind}:{number}"));
                }
            }
        }
        "t" if in_session => {
            let mut numbers = value.split_ascii_whitespace().map(str::parse::<u64>);
            if let (Some(Ok(start)), Some(Ok(stop)), None) = (numbers.next(), numbers.next(), numbers.next())
            {
                out.push_str(&format!("t={start} {stop}"));
            }
        }
        "m" => {
            seen.media += 1;
            if seen.media > MAX_MEDIA {
                return Err(SdpError::TooMany {
                    what: "media descriptions",
                    limit: MAX_MEDIA,
                });
            }
            repair_media(value, out)?;
        }
        "a" if !value.is_empty() => {
            out.push_str("a=");
            out.push_str(value);
        }
        _ => {}
    }
    Ok(())
}

/// Rewrites an `o=` value to six fields. Some phones put a display name with blanks into the user name.
fn repair_origin(value: &str) -> Option<String> {
    let fields: Vec<&str> = value.split_ascii_whitespace().collect();
    let (username, rest) = fields.split_at(fields.len().checked_sub(5)?);
    let version: u64 = rest[1].parse().ok()?;
    if !rest[2]
        .bytes()
        .chain(rest[3].bytes())
        .all(|byte| byte.is_ascii_alphanumeric())
    {
        return None;
    }
    let username = if username.is_empty() {
        "-".to_owned()
    } else {
        username.join("_")
    };
    Some(format!(
        "o={username} {} {version} {} {} {}",
        rest[0], rest[2], rest[3], rest[4]
    ))
}

/// Rewrites an `m=` value to single blanks between its fields, with `-` as the format when there is none.
fn repair_media(value: &str, out: &mut String) -> Result<(), SdpError> {
    out.push_str("m=");
    let mut fields = 0;
    for field in value.split_ascii_whitespace() {
        if fields > 0 {
            out.push(' ');
        }
        out.push_str(field);
        fields += 1;
    }
    if fields == 3 {
        out.push_str(" -");
    }
    if fields > 3 + MAX_FORMATS {
        return Err(SdpError::TooMany {
            what: "formats",
            limit: MAX_FORMATS,
        });
    }
    Ok(())
}

fn is_field(text: &str) -> bool {
    !text.is_empty() && !text.contains([' ', '\t', ':'])
}

/// Moves what the parser read into our own types.
fn description(session: sdp_types::Session) -> SessionDescription {
    let name = session.session_name.trim_matches([' ', '\t']);
    SessionDescription {
        origin: origin(session.origin),
        session_name: if name.is_empty() {
            "-".to_owned()
        } else {
            session.session_name
        },
        connection: session.connection.map(connection),
        bandwidths: session.bandwidths.into_iter().map(bandwidth).collect(),
        timings: timings(&session.times),
        attributes: session.attributes.into_iter().map(attribute).collect(),
        media: session.medias.into_iter().map(media).collect(),
    }
}

/// Without a readable `t=` line the session has no bounds.
fn timings(times: &[sdp_types::Time]) -> Vec<Timing> {
    if times.is_empty() {
        return vec![Timing::default()];
    }
    times
        .iter()
        .map(|time| Timing {
            start: time.start_time,
            stop: time.stop_time,
        })
        .collect()
}

fn origin(origin: sdp_types::Origin) -> OriginLine {
    OriginLine {
        username: origin.username.unwrap_or_else(|| "-".to_owned()),
        session_id: origin.sess_id,
        version: origin.sess_version,
        net_type: origin.nettype.as_str().to_owned(),
        addr_type: origin.addrtype.as_str().to_owned(),
        address: origin.unicast_address,
    }
}

fn connection(connection: sdp_types::Connection) -> Connection {
    Connection {
        net_type: connection.nettype.as_str().to_owned(),
        addr_type: connection.addrtype.as_str().to_owned(),
        address: connection.connection_address,
    }
}

fn bandwidth(bandwidth: sdp_types::Bandwidth) -> Bandwidth {
    Bandwidth {
        kind: bandwidth.bwtype,
        value: bandwidth.bandwidth,
    }
}

fn attribute(attribute: sdp_types::Attribute) -> Attribute {
    Attribute {
        name: attribute.attribute,
        value: attribute.value,
    }
}

fn media(media: sdp_types::Media) -> MediaDescription {
    MediaDescription {
        kind: media.media,
        port: media.port,
        port_count: media.num_ports,
        protocol: media.proto,
        formats: media.fmt.split_ascii_whitespace().map(str::to_owned).collect(),
        connections: media.connections.into_iter().map(connection).collect(),
        bandwidths: media.bandwidths.into_iter().map(bandwidth).collect(),
        attributes: media.attributes.into_iter().map(attribute).collect(),
    }
}

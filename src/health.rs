//! `confab health`: asks the running server on this machine whether it is alive, for container health checks.
//!
//! Owns one HTTP request over loopback; needs no other program in the container.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, bail};

use crate::config::{Config, Overrides};

/// The whole question takes no longer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks `GET /health/live` at the configured `http.bind`.
///
/// # Errors
/// A configuration with mistakes, no server there, or an answer other than 200.
pub(crate) fn check(config: Option<&Path>) -> anyhow::Result<()> {
    let config = Config::load(config, std::env::vars_os(), &Overrides::default())?;
    let status = ask(local(config.http.bind))?;
    if status.starts_with("HTTP/1.1 200") {
        Ok(())
    } else {
        bail!("not alive: {status}")
    }
}

fn local(bind: SocketAddr) -> SocketAddr {
    let ip: IpAddr = match bind.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, bind.port())
}

fn ask(address: SocketAddr) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)
        .with_context(|| format!("no server answers at {address}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET /health/live HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream
        .take(4096)
        .read_to_end(&mut answer)
        .context("reading the answer")?;
    let answer = String::from_utf8_lossy(&answer);
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}

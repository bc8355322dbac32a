//! Owns one Kamailio in front of the server: a proxy that records the route of calls, puts itself into the path of registrations, and forks calls to
//! `fork` to two addresses.

use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use confab_testkit::peers::require;
use confab_testkit::ports::PortLease;
use confab_testkit::server::{TempDir, signal};

/// A running Kamailio. Dropping it ends it.
pub(crate) struct Kamailio {
    child: Child,
    directory: TempDir,
    address: SocketAddr,
    _ports: PortLease,
}

impl Kamailio {
    /// Starts it in front of `server`; calls to `fork` go to both of `branches`.
    pub(crate) fn start(server: SocketAddr, branches: [&str; 2]) -> io::Result<Kamailio> {
        require("kamailio")?;
        let directory = TempDir::new("kamailio")?;
        let path = directory.path();
        let ports = PortLease::take(2)?;
        let address = ports.address(0);
        fs::write(path.join("kamailio.cfg"), script(address, server, branches))?;
        let log = File::create(path.join("log.txt"))?;
        let child = Command::new("kamailio")
            .args(["-DD", "-E", "-m", "32", "-M", "4", "-f"])
            .arg(path.join("kamailio.cfg"))
            .arg("-Y")
            .arg(path)
            .arg("-P")
            .arg(path.join("pid"))
            .current_dir(path)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let kamailio = Kamailio {
            child,
            directory,
            address,
            _ports: ports,
        };
        kamailio.wait_ready()?;
        Ok(kamailio)
    }

    /// Returns where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns what it has logged: every request that it took, among others.
    pub(crate) fn log(&self) -> String {
        let bytes = fs::read(self.path().join("log.txt")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn wait_ready(&self) -> io::Result<()> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_read_timeout(Some(Duration::from_millis(200)))?;
        let (from, to) = (socket.local_addr()?, self.address);
        let deadline = Instant::now() + Duration::from_secs(15);
        let mut answer = [0; 2048];
        while Instant::now() < deadline {
            let request = format!(
                "OPTIONS sip:ready@{to} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bKready;rport\r\nMax-Forwards: 0\r\n\
                 From: <sip:a@{from}>;tag=1\r\nTo: <sip:ready@{to}>\r\nCall-ID: ready\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
            );
            let _ = socket.send_to(request.as_bytes(), to);
            if socket.recv(&mut answer).is_ok() {
                return Ok(());
            }
        }
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("kamailio is not ready:\n{}", self.log()),
        ))
    }
}

impl Drop for Kamailio {
    fn drop(&mut self) {
        // It has children of its own, which a kill would orphan.
        let _ = signal(self.child.id(), libc::SIGTERM);
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn script(address: SocketAddr, server: SocketAddr, [first, second]: [&str; 2]) -> String {
    let (ip, port) = (server.ip(), server.port());
    let mut modules = String::new();
    for module in [
        "tm", "sl", "rr", "pv", "maxfwd", "textops", "siputils", "path", "xlog", "kex", "corex",
    ] {
        modules.push_str(&format!("loadmodule \"{module}.so\"\n"));
    }
    format!(
        r#"#!KAMAILIO
debug=2
log_stderror=yes
children=2
auto_aliases=no
listen=udp:{address}
{modules}
modparam("rr", "enable_full_lr", 1)
request_route {{
    if (!mf_process_maxfwd_header("10")) {{ sl_send_reply("483", "Too Many Hops"); exit; }}
    xlog("L_NOTICE", "took $rm $ru from $si:$sp\n");
    if (is_method("CANCEL")) {{ if (t_check_trans()) {{ t_relay(); }} exit; }}
    if (has_totag()) {{
        if (loose_route()) {{ t_relay(); exit; }}
        if (is_method("ACK")) {{ if (t_check_trans()) {{ t_relay(); }} exit; }}
        sl_send_reply("404", "Not here");
        exit;
    }}
    t_check_trans();
    if (is_method("INVITE")) {{ record_route(); }}
    if (is_method("REGISTER")) {{ add_path_received(); $du = "sip:{server}"; t_relay(); exit; }}
    if ($si == "{ip}" && $sp == {port}) {{
        loose_route();
        if ($rU == "fork") {{ $ru = "{first}"; append_branch("{second}"); }}
        t_relay();
        exit;
    }}
    $du = "sip:{server}";
    t_relay();
}}
"#
    )
}

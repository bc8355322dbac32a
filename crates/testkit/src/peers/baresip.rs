//! Owns one baresip process that registers, places or takes one call, plays a file into it, presses keys and records both directions.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::require;
use crate::codec::Codec;
use crate::ports::PortLease;
use crate::server::TempDir;
use crate::wav::Wav;

/// Where Debian puts baresip's modules.
const MODULES: &str = "/usr/lib/baresip/modules";

/// What a baresip is to do.
#[derive(Debug, Clone)]
pub struct BaresipConfig {
    /// User part of its address.
    pub user: String,
    /// The URI to call; empty: it waits to be called, and answers.
    pub target: String,
    /// What it says, at the rate of its codec; it hangs up at the end of that.
    pub says: Vec<i16>,
    /// Codec it offers: G.711, G.722 or Opus.
    pub codec: Codec,
    /// How it secures its media: `srtp` (keys beside RTP/AVP), `srtp-mand` (RTP/SAVP), `srtp-mandf` (RTP/SAVPF).
    pub media_encryption: Option<&'static str>,
    /// Certificate and key that it shows, PEM both; without, it cannot be called over TLS.
    pub certificate: Option<String>,
    /// Network interface or address that it puts into its session description.
    pub interface: String,
    /// Where it is on another host: the network namespace, and its address there, which takes the place of `interface`. Keys cannot
    /// be pressed there.
    pub host: Option<(String, IpAddr)>,
    /// Where it registers, if it does.
    pub registers: Option<BaresipAccount>,
}

/// The registration of a baresip.
#[derive(Debug, Clone)]
pub struct BaresipAccount {
    /// The realm in its address.
    pub realm: String,
    /// The server, whatever the realm resolves to.
    pub server: SocketAddr,
    /// `udp` or `tcp`.
    pub transport: &'static str,
    /// The password.
    pub password: String,
    /// The life it asks for, seconds; it refreshes when nine tenths are over.
    pub expires_s: u32,
}

impl BaresipConfig {
    /// Calls `target` with PCMU over loopback.
    pub fn new(user: &str, target: &str, says: Vec<i16>) -> Self {
        Self {
            user: user.to_owned(),
            target: target.to_owned(),
            says,
            codec: Codec::Pcmu,
            media_encryption: None,
            certificate: None,
            interface: "127.0.0.1".to_owned(),
            host: None,
            registers: None,
        }
    }

    /// Registers over loopback and calls nobody yet.
    pub fn registering(user: &str, account: BaresipAccount, says: Vec<i16>) -> Self {
        Self {
            registers: Some(account),
            ..Self::new(user, "", says)
        }
    }
}

/// A running baresip. Dropping it kills the process; [`Baresip::hang_up`] ends the call properly.
#[derive(Debug)]
pub struct Baresip {
    child: Child,
    directory: TempDir,
    control: SocketAddr,
    address: SocketAddr,
    user: String,
    ended: bool,
    _ports: PortLease,
}

impl Baresip {
    /// Starts the program and lets it call.
    pub fn start(config: &BaresipConfig) -> io::Result<Self> {
        require("baresip")?;
        let directory = TempDir::new("baresip")?;
        let path = directory.path();
        // Its own, the next one (which it takes for TLS), that of its control connection, and those of its calls.
        let ports = PortLease::take(64)?;
        let (mut address, control) = (ports.address(0), ports.address(2));
        let mut config = config.clone();
        if let Some((_, ip)) = &config.host {
            address.set_ip(*ip);
            config.interface = ip.to_string();
        }
        let config = &config;
        let media = ports.address(4).port()..=*ports.range().end();
        fs::create_dir(path.join("heard"))?;
        Wav {
            rate_hz: config.codec.rate_hz(),
            samples: config.says.clone(),
        }
        .write(&path.join("says.wav"))?;
        if let Some(certificate) = &config.certificate {
            fs::write(path.join("certificate.pem"), certificate)?;
        }
        let text = configuration(&address, &control, &media, path, config);
        fs::write(path.join("config"), text)?;
        fs::write(path.join("accounts"), account_line(&address, config))?;
        fs::write(path.join("contacts"), "")?;
        let log = fs::File::create(path.join("log.txt"))?;
        let mut command = match &config.host {
            Some((namespace, _)) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace, "baresip"]);
                command
            }
            None => Command::new("baresip"),
        };
        command
            .arg("-4")
            .arg("-f")
            .arg(path)
            .args(["-n", &config.interface]);
        if !config.target.is_empty() {
            command.args(["-e", &format!("d {}", config.target)]);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        Ok(Self {
            child,
            directory,
            control,
            address,
            user: config.user.clone(),
            ended: false,
            _ports: ports,
        })
    }

    /// Returns the URI under which it is called, once it listens.
    pub fn uri(&self) -> io::Result<String> {
        self.wait_log("ready", Duration::from_secs(10))?;
        Ok(format!("sip:{}@{}", self.user, self.address))
    }

    /// Returns the URI under which it is called over TLS by the name `host`, once it listens.
    pub fn secure_uri(&self, host: &str) -> io::Result<String> {
        self.wait_log("ready", Duration::from_secs(10))?;
        let port = self.address.port() + 1;
        Ok(format!("sip:{}@{host}:{port};transport=tls", self.user))
    }

    /// Returns what the program has printed.
    pub fn log(&self) -> String {
        let bytes = fs::read(self.directory.path().join("log.txt")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until its log contains `text`.
    pub fn wait_log(&self, text: &str, timeout: Duration) -> io::Result<()> {
        let deadline = Instant::now() + timeout;
        while !self.log().contains(text) {
            if Instant::now() > deadline {
                let message = format!(
                    "baresip did not print '{text}' within {timeout:?}; it printed:\n{}",
                    self.log()
                );
                return Err(io::Error::new(io::ErrorKind::TimedOut, message));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Waits until the call is established.
    pub fn wait_established(&self, timeout: Duration) -> io::Result<()> {
        self.wait_log("Call established", timeout)
    }

    /// Waits until the other side has ended the call.
    pub fn wait_closed(&self, timeout: Duration) -> io::Result<()> {
        self.wait_log("session closed", timeout)
    }

    /// Calls somebody.
    pub fn dial(&self, target: &str) -> io::Result<()> {
        self.command("dial", target)
    }

    /// Transfers its call to somebody (REFER).
    pub fn transfer(&self, target: &str) -> io::Result<()> {
        self.command("transfer", target)
    }

    /// Presses keys, `0`–`9`, `*`, `#`, in its call: it sends each as a telephone-event (RFC 4733).
    pub fn press(&self, keys: &str) -> io::Result<()> {
        for key in keys.chars() {
            self.command("sndcode", &key.to_string())?;
            // It begins an event with each press, and ends none of them early.
            std::thread::sleep(Duration::from_millis(150));
        }
        Ok(())
    }

    /// Has a command carried out by its module `ctrl_tcp`: a netstring of JSON there and back.
    fn command(&self, name: &str, parameters: &str) -> io::Result<()> {
        let mut stream = TcpStream::connect(self.control)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let text = format!("{{\"command\":\"{name}\",\"params\":\"{parameters}\",\"token\":\"test\"}}");
        stream.write_all(format!("{}:{text},", text.len()).as_bytes())?;
        let mut answer = Vec::new();
        let mut piece = [0; 512];
        // Events come the same way as answers.
        while !String::from_utf8_lossy(&answer).contains("\"response\":true") {
            let read = stream.read(&mut piece)?;
            if read == 0 {
                return Err(io::Error::other("baresip closed its control connection"));
            }
            answer.extend_from_slice(&piece[..read]);
        }
        let answer = String::from_utf8_lossy(&answer);
        if answer.contains("\"ok\":true") {
            return Ok(());
        }
        Err(io::Error::other(format!("{name} {parameters}: {answer}")))
    }

    /// Ends the call with a BYE and the program with it.
    pub fn hang_up(&mut self) -> io::Result<()> {
        crate::server::signal(self.child.id(), libc::SIGTERM)?;
        let deadline = Instant::now() + Duration::from_secs(8);
        while Instant::now() < deadline {
            if self.child.try_wait()?.is_some() {
                self.ended = true;
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("baresip did not end; it printed:\n{}", self.log()),
        ))
    }

    /// Returns what it has heard, at the rate of its codec. Complete once it has ended.
    pub fn heard(&self) -> io::Result<Vec<i16>> {
        self.recording("-dec.wav")
    }

    /// Returns what it has said, before coding.
    pub fn said(&self) -> io::Result<Vec<i16>> {
        self.recording("-enc.wav")
    }

    fn recording(&self, ending: &str) -> io::Result<Vec<i16>> {
        let mut paths: Vec<PathBuf> = fs::read_dir(self.directory.path().join("heard"))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.to_string_lossy().ends_with(ending))
            .collect();
        paths.sort();
        let path = paths
            .last()
            .ok_or_else(|| io::Error::other(format!("no recording; {}", self.log())))?;
        Ok(Wav::read(path)?.samples)
    }
}

impl Drop for Baresip {
    fn drop(&mut self) {
        if !self.ended {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn account_line(address: &SocketAddr, config: &BaresipConfig) -> String {
    let user = &config.user;
    let rtpmap = config.codec.rtpmap();
    let codec = rtpmap.split('/').next().unwrap_or_default();
    let encryption = config.media_encryption.map(|way| format!(";mediaenc={way}"));
    let encryption = encryption.unwrap_or_default();
    let rest = format!("audio_codecs={codec};answermode=auto{encryption}");
    match &config.registers {
        None => format!("<sip:{user}@{address}>;regint=0;{rest}\n"),
        Some(BaresipAccount {
            realm,
            server,
            transport,
            password,
            expires_s,
        }) => format!(
            "<sip:{user}@{realm};transport={transport}>;auth_user={user};auth_pass={password};\
             outbound=\"sip:{server};transport={transport}\";regint={expires_s};{rest}\n"
        ),
    }
}

fn configuration(
    address: &SocketAddr,
    control: &SocketAddr,
    media: &RangeInclusive<u16>,
    directory: &std::path::Path,
    config: &BaresipConfig,
) -> String {
    let (first, last) = (media.start(), media.end());
    let path = directory.display();
    let (interface, rate_hz) = (&config.interface, config.codec.rate_hz());
    let module = match config.codec {
        Codec::G722 => "g722.so",
        Codec::Opus => "opus.so",
        _ => "g711.so",
    };
    let certificate = config.certificate.as_ref();
    let certificate = certificate.map(|_| format!("sip_certificate {path}/certificate.pem\n"));
    let certificate = certificate.unwrap_or_default();
    format!(
        "{certificate}poll_method epoll\nsip_listen {address}\ncall_local_timeout 120\ncall_max_calls 4\n\
         audio_source aufile,{path}/says.wav\naudio_player aubridge,sink\naudio_alert aubridge,alert\n\
         ausrc_srate {rate_hz}\nausrc_channels 1\nauplay_srate {rate_hz}\nauplay_channels 1\n\
         net_interface {interface}\nrtp_ports {first}-{last}\njitter_buffer_delay 1-5\n\
         module_path {MODULES}\nmodule {module}\nmodule sndfile.so\nmodule srtp.so\nmodule aufile.so\nmodule aubridge.so\n\
         module_tmp account.so\nmodule_app menu.so\nmodule_app ctrl_tcp.so\nctrl_tcp_listen {control}\nringback_disabled yes\nsnd_path {path}/heard\n"
    )
}

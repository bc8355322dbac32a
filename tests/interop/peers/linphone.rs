//! Owns one linphonec, which says a file and records what it hears.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use confab_testkit::peers::require;
use confab_testkit::ports::PortLease;
use confab_testkit::server::TempDir;
use confab_testkit::wav::Wav;

use super::console::Console;

/// The codecs that linphone has, by name and RTP clock; [`LinphoneConfig::codec`] is one of them.
const CODECS: [(&str, u32, u8); 9] = [
    ("opus", 48000, 2),
    ("speex", 32000, 1),
    ("speex", 16000, 1),
    ("speex", 8000, 1),
    ("PCMU", 8000, 1),
    ("PCMA", 8000, 1),
    ("G722", 8000, 1),
    ("GSM", 8000, 1),
    ("G729", 8000, 1),
];

/// What a linphone is to do.
pub(crate) struct LinphoneConfig<'a> {
    /// User part of its address.
    pub(crate) user: &'a str,
    /// The one codec that it offers, as SDP names it.
    pub(crate) codec: &'a str,
    /// Whether its media have to be secured by SRTP.
    pub(crate) srtp: bool,
    /// What it says, at 48 kHz.
    pub(crate) says: Vec<i16>,
    /// Realm, password and server, with the transport, when it registers.
    pub(crate) registers: Option<(&'a str, &'a str, SocketAddr, &'a str)>,
}

/// A running linphone. Dropping it kills the process; [`Linphone::quit`] ends its call properly.
pub(crate) struct Linphone {
    console: Console,
    directory: TempDir,
    recording: Option<PathBuf>,
    calls: usize,
    _ports: PortLease,
}

impl Linphone {
    pub(crate) fn start(config: &LinphoneConfig<'_>) -> io::Result<Linphone> {
        require("linphonec")?;
        let directory = TempDir::new("linphone")?;
        let path = directory.path();
        let ports = PortLease::take(16)?;
        Wav {
            rate_hz: 48000,
            samples: config.says.clone(),
        }
        .write(&path.join("says.wav"))?;
        fs::write(path.join("linphonerc"), configuration(config, &ports))?;
        let mut command = Command::new("linphonec");
        command
            .env("HOME", path)
            .current_dir(path)
            .args(["-a", "-d", "6", "-l"])
            .arg(path.join("log.txt"))
            .arg("-c")
            .arg(path.join("linphonerc"));
        let mut console = Console::start(command, path.join("out.txt"))?;
        for line in [
            "ipv6 disable".to_owned(),
            "soundcard use files".to_owned(),
            format!("play {}", path.join("says.wav").display()),
        ] {
            console.say(&line)?;
        }
        let mut linphone = Linphone {
            console,
            directory,
            recording: None,
            calls: 0,
            _ports: ports,
        };
        linphone.record()?;
        // It registers at once, and refuses calls until its core has started, of which it says nothing.
        linphone.wait("Using wav files", Duration::from_secs(10))?;
        std::thread::sleep(Duration::from_secs(1));
        Ok(linphone)
    }

    /// Records from here on into a file of its own.
    pub(crate) fn record(&mut self) -> io::Result<()> {
        let number = self.calls;
        let path = self.directory.path().join(format!("heard-{number}.wav"));
        self.console.say(&format!("record {}", path.display()))?;
        self.recording = Some(path);
        Ok(())
    }

    /// Calls somebody.
    pub(crate) fn dial(&mut self, target: &str) -> io::Result<()> {
        self.console.say(&format!("call {target}"))
    }

    /// Gives it a command.
    pub(crate) fn say(&mut self, command: &str) -> io::Result<()> {
        self.console.say(command)
    }

    /// Returns what it has printed, and written to its log.
    pub(crate) fn log(&self) -> String {
        let bytes = fs::read(self.directory.path().join("log.txt")).unwrap_or_default();
        format!("{}\n{}", self.console.printed(), String::from_utf8_lossy(&bytes))
    }

    /// Waits until a call more than before is established.
    pub(crate) fn wait_established(&mut self, timeout: Duration) -> io::Result<()> {
        self.calls += 1;
        self.console
            .wait("Media streams established", self.calls, timeout)
    }

    /// Waits until it has printed something.
    pub(crate) fn wait(&self, text: &str, timeout: Duration) -> io::Result<()> {
        self.console.wait(text, 1, timeout)
    }

    /// Ends its call and the program.
    pub(crate) fn quit(&mut self) -> io::Result<()> {
        self.console.say("terminate")?;
        self.console.wait("ended", 1, Duration::from_secs(10))?;
        self.console.say("quit")?;
        self.console.wait_end(Duration::from_secs(10))
    }

    /// Returns what it has heard, with the rate. Complete once it has ended.
    pub(crate) fn heard(&self) -> io::Result<(Vec<i16>, u32)> {
        let path = self.recording.as_ref().ok_or_else(|| io::Error::other("none"))?;
        let bytes = fs::read(path)?;
        // Its header is written before its length is known.
        let header = bytes.get(..44).ok_or_else(|| io::Error::other("too short"))?;
        let rate_hz = u32::from_le_bytes([header[24], header[25], header[26], header[27]]);
        let channels = usize::from(header[22]).max(1);
        let samples = bytes[44..].chunks_exact(2 * channels);
        let samples = samples.map(|frame| i16::from_le_bytes([frame[0], frame[1]]));
        Ok((samples.collect(), rate_hz))
    }
}

fn configuration(config: &LinphoneConfig<'_>, ports: &PortLease) -> String {
    let (sip, rtp) = (ports.address(0).port(), ports.address(4).port());
    let user = config.user;
    let encryption = if config.srtp { "srtp" } else { "none" };
    let (mandatory, is_registered) = (u8::from(config.srtp), config.registers.is_some());
    let proxy = if is_registered { 0 } else { -1 };
    let mut text = format!(
        "[sip]\nsip_port={sip}\nsip_tcp_port=-2\nsip_tls_port=-2\nuse_ipv6=0\ndefault_proxy={proxy}\nguess_hostname=0\n\
         contact=sip:{user}@127.0.0.1\nregister_only_when_network_is_up=0\nverify_server_certs=0\nverify_server_cn=0\n\
         media_encryption={encryption}\nmedia_encryption_mandatory={mandatory}\n\
         [rtp]\naudio_rtp_port={rtp}\n[sound]\nechocancellation=0\n[net]\nfirewall_policy=0\n[video]\nenabled=0\n"
    );
    if let Some((realm, password, server, transport)) = config.registers {
        let _ = write!(
            text,
            "[proxy_0]\nreg_proxy=<sip:{server};transport={transport}>\nreg_route=<sip:{server};transport={transport};lr>\n\
             reg_identity=sip:{user}@{realm}\nreg_expires=300\nreg_sendregister=1\npublish=0\n\
             [auth_info_0]\nusername={user}\npasswd={password}\nrealm={realm}\ndomain={realm}\n"
        );
    }
    for (number, (mime, rate, channels)) in CODECS.iter().enumerate() {
        let enabled = u8::from(*mime == config.codec);
        let _ = write!(
            text,
            "[audio_codec_{number}]\nmime={mime}\nrate={rate}\nchannels={channels}\nenabled={enabled}\n"
        );
    }
    text
}

//! Owns one twinkle-console.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use confab_testkit::peers::require;
use confab_testkit::ports::PortLease;

use super::console::Console;
use super::pulse::{self, Pulse};

/// What a twinkle is to do.
pub(crate) struct TwinkleConfig<'a> {
    /// User part of its address.
    pub(crate) user: &'a str,
    /// Its server.
    pub(crate) server: SocketAddr,
    /// The codecs that it offers, by twinkle's names: `g711u`, `g711a`, `gsm`.
    pub(crate) codecs: &'a str,
    /// What it says, at 8 kHz.
    pub(crate) says: Vec<i16>,
    /// Realm and password, when it registers.
    pub(crate) registers: Option<(&'a str, &'a str)>,
}

/// A running twinkle. Dropping it kills the process; [`Twinkle::quit`] ends its call properly.
pub(crate) struct Twinkle {
    console: Console,
    pulse: Pulse,
    _ports: PortLease,
}

impl Twinkle {
    /// The rate of what it says and hears, Hz.
    pub(crate) const RATE_HZ: u32 = pulse::RATE_HZ;

    pub(crate) fn start(config: &TwinkleConfig<'_>) -> io::Result<Twinkle> {
        require("twinkle-console")?;
        let pulse = Pulse::start(&config.says)?;
        let ports = PortLease::take(16)?;
        let folder = pulse.path().join(".twinkle");
        fs::create_dir_all(&folder)?;
        let (sip, rtp) = (ports.address(0).port(), ports.address(4).port());
        let TwinkleConfig {
            user, server, codecs, ..
        } = config;
        let (realm, password) = config.registers.unwrap_or(("127.0.0.1", ""));
        let registers = if config.registers.is_some() { "yes" } else { "no" };
        fs::write(
            folder.join("phone.cfg"),
            format!(
                "user_name={user}\nuser_domain={realm}\nuser_display={user}\nauth_name={user}\nauth_pass={password}\n\
                 codecs={codecs}\nptime=20\nspeex_dsp_vad=no\nspeex_dsp_agc=no\nspeex_dsp_aec=no\nspeex_dsp_nrd=no\noutbound_proxy={server}\nall_requests_to_proxy=yes\n\
                 registrar={server}\nregister_at_startup={registers}\nregistration_time=300\n"
            ),
        )?;
        fs::write(
            folder.join("twinkle.sys"),
            format!(
                "dev_ringtone=alsa:call\ndev_speaker=alsa:call\ndev_mic=alsa:call\nvalidate_audio_dev=no\n\
                 sip_port={sip}\nrtp_port={rtp}\nlog_show_sip=yes\n"
            ),
        )?;
        fs::write(
            pulse.path().join(".asoundrc"),
            "pcm.call { type pulse }\nctl.call { type pulse }\n",
        )?;
        let mut command = pulse.command("twinkle-console");
        command.arg("phone.cfg");
        let console = Console::start(command, pulse.path().join("out.txt"))?;
        console.wait("Twinkle>", 1, Duration::from_secs(10))?;
        Ok(Twinkle {
            console,
            pulse,
            _ports: ports,
        })
    }

    /// Gives it a command.
    pub(crate) fn say(&mut self, command: &str) -> io::Result<()> {
        self.console.say(command)
    }

    /// Waits until it has printed something.
    pub(crate) fn wait(&self, text: &str, timeout: Duration) -> io::Result<()> {
        self.console.wait(text, 1, timeout)
    }

    /// Returns what it has printed, and written to its log.
    pub(crate) fn log(&self) -> String {
        let bytes = fs::read(self.pulse.path().join(".twinkle/twinkle.log")).unwrap_or_default();
        format!("{}\n{}", self.console.printed(), String::from_utf8_lossy(&bytes))
    }

    /// Ends its call and the program; returns what it has heard.
    pub(crate) fn quit(&mut self) -> io::Result<Vec<i16>> {
        self.console.say("bye")?;
        std::thread::sleep(Duration::from_secs(1));
        let heard = self.pulse.heard()?;
        self.console.say("quit")?;
        self.console.wait_end(Duration::from_secs(10))?;
        Ok(heard)
    }
}

//! The configuration from outside: layers, types, ranges, and what a mistake looks like.

use std::io::Write as _;

use confab_conference::EventKind;

use super::*;

mod together;

/// Loads `toml` as a file named `c.toml`, with these environment variables.
fn load(toml: &str, environment: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let folder = std::env::temp_dir().join(format!("confab-config-{}-{}", std::process::id(), unique()));
    std::fs::create_dir(&folder).unwrap();
    let path = folder.join("c.toml");
    std::fs::File::create(&path)
        .unwrap()
        .write_all(toml.as_bytes())
        .unwrap();
    let environment = environment
        .iter()
        .map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let result = Config::load(Some(&path), environment, &Overrides::default());
    std::fs::remove_dir_all(&folder).unwrap();
    let prefix = format!("{}/", folder.display());
    result.map_err(|error| {
        error
            .to_string()
            .replace(&prefix, "")
            .lines()
            .map(str::to_owned)
            .collect()
    })
}

fn unique() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The one problem of a bad configuration.
fn problem(toml: &str, environment: &[(&str, &str)]) -> String {
    match load(toml, environment) {
        Ok(_) => panic!("accepted: {toml} {environment:?}"),
        Err(problems) => {
            assert_eq!(problems.len(), 1, "{problems:?}");
            problems.into_iter().next().unwrap()
        }
    }
}

fn defaults() -> Config {
    Config::load(None, [], &Overrides::default()).unwrap()
}

#[test]
fn the_documented_file_is_the_defaults() {
    let documented = load(DEFAULT_TOML, &[]).unwrap();
    assert_eq!(
        documented.changed_sections(&defaults(), &[]),
        Vec::<String>::new()
    );
    assert_eq!(format!("{documented:?}"), format!("{:?}", defaults()));
}

#[test]
fn the_defaults_are_those_of_the_outside_interface() {
    let config = defaults();
    assert_eq!(config.data_dir, Path::new("confab-data"));
    assert_eq!(config.http.bind, "0.0.0.0:8000".parse().unwrap());
    assert_eq!(config.http.admin_bind, "127.0.0.1:8001".parse().ok());
    assert!(config.http.rate_limit && config.sip.anonymous_dial_in);
    assert_eq!(config.http.token_ttl_s, 3600);
    assert_eq!(
        config.sip.udp,
        ["0.0.0.0:5060".parse().unwrap(), "[::]:5060".parse().unwrap()]
    );
    assert_eq!(config.sip.tcp, config.sip.udp);
    assert_eq!(
        (config.sip.advertised_address.len(), config.sip.max_calls),
        (0, 0)
    );
    assert!(!config.sip.advertised_to_private && config.local_nets().next().is_none());
    let media = config.media_config();
    assert_eq!(
        format!("{media:?}"),
        format!(
            "{:?}",
            confab_media::MediaConfig {
                bind: vec!["0.0.0.0".parse().unwrap(), "::".parse().unwrap()],
                ..confab_media::MediaConfig::default()
            }
        )
    );
    let capabilities = config.capabilities();
    let codecs: Vec<_> = capabilities
        .codecs
        .iter()
        .map(|codec| (codec.name.as_str(), codec.clock_rate))
        .collect();
    assert_eq!(
        codecs,
        [
            ("opus", 48_000),
            ("G722", 8000),
            ("PCMU", 8000),
            ("PCMA", 8000),
            ("L16", 48_000),
            ("L16", 44_100),
            ("L16", 16_000),
            ("L16", 8000)
        ]
    );
    let without_codecs = confab_sdp::Capabilities {
        codecs: capabilities.codecs.clone(),
        srtp: SrtpPolicy::Accept,
        ..confab_sdp::Capabilities::default()
    };
    assert_eq!(capabilities, without_codecs);
    let bootstrap = config.bootstrap_config();
    assert_eq!(
        (bootstrap.account_name.as_str(), bootstrap.username.as_str()),
        ("default", "admin")
    );
    assert_eq!(
        (bootstrap.conference_number.as_str(), bootstrap.api_key.as_str()),
        ("3000", "")
    );
    assert_eq!(
        (config.log.level.as_str(), config.log.format),
        ("info", LogFormat::Text)
    );
}

#[test]
fn later_layers_win() {
    let file = "data_dir = \"from-file\"\n[sip]\nmax_calls = 1\nudp = [\"127.0.0.1:0\", \"[::1]:5070\"]\n";
    let config = load(file, &[]).unwrap();
    assert_eq!(
        (config.data_dir.to_str(), config.sip.max_calls),
        (Some("from-file"), 1)
    );
    assert_eq!(config.sip.udp.len(), 2);
    let environment = [
        ("CONFAB__SIP__MAX_CALLS", "2"),
        ("CONFAB__DATA_DIR", "from-environment"),
        ("PATH", "/bin"),
    ];
    let config = load(file, &environment).unwrap();
    assert_eq!(
        (config.data_dir.to_str(), config.sip.max_calls),
        (Some("from-environment"), 2)
    );
    let environment = environment.map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let overrides = Overrides {
        data_dir: Some("from-command-line".into()),
    };
    let config = Config::load(None, environment, &overrides).unwrap();
    assert_eq!(
        (config.data_dir.to_str(), config.sip.max_calls),
        (Some("from-command-line"), 2)
    );
}

#[test]
fn the_environment_has_every_type() {
    let environment = [
        ("CONFAB__BOOTSTRAP__PASSWORD", " \"as it is\" "),
        ("CONFAB__HTTP__ADMIN_BIND", ""),
        ("CONFAB__HTTP__RATE_LIMIT", "false"),
        ("CONFAB__MEDIA__BIND", "[\"127.0.0.1\", \"::1\"]"),
        ("CONFAB__MEDIA__DSCP", " 0 "),
        ("CONFAB__SIP__LOCAL_NETS", " 10.0.0.0/8 , fd00::/8,"),
        ("CONFAB__SIP__TCP", ""),
    ];
    let config = load("", &environment).unwrap();
    assert_eq!(config.bootstrap.password.0, " \"as it is\" ");
    assert_eq!(
        (config.http.admin_bind, config.http.rate_limit, config.media.dscp),
        (None, false, 0)
    );
    assert_eq!(
        config.media.bind,
        ["127.0.0.1".parse::<IpAddr>().unwrap(), "::1".parse().unwrap()]
    );
    let nets: Vec<String> = config.sip.local_nets.iter().map(ToString::to_string).collect();
    assert_eq!(nets, ["10.0.0.0/8", "fd00::/8"]);
    assert!(config.sip.tcp.is_empty());
}

#[test]
fn values_are_read_as_meant() {
    let config = load(
        "[sip]\nmax_calls = 1_0\nadvertised_address = \"2001:db8::1\"\n[media]\ncodecs = [\"pcma\", \"PCMU\"]\n\
         ports = \"20001 - 20003\"\nlatch = \"any\"\n[log]\nlevel = \"info,confab_sip=debug\"\nformat = \"json\"\n",
        &[],
    )
    .unwrap();
    assert_eq!(config.sip.max_calls, 10);
    assert_eq!(config.media.codecs, [Codec::Pcma, Codec::Pcmu]);
    assert_eq!(config.capabilities().codecs[0].name, "PCMA");
    assert_eq!(config.media.ports, 20001..=20003);
    assert_eq!(
        (config.media.latch, config.log.format),
        (Latch::Any, LogFormat::Json)
    );
    assert_eq!(config.sip.advertised_address, ["2001:db8::1"]);
    for (text, expected) in [
        ("conf.example.org", vec!["conf.example.org"]),
        ("192.0.2.1, 2001:db8::1", vec!["192.0.2.1", "2001:db8::1"]),
        ("2001:db8::1,a.example", vec!["2001:db8::1", "a.example"]),
        (" , ", vec![]),
    ] {
        let read = load(&format!("sip.advertised_address = \"{text}\""), &[]).unwrap();
        assert_eq!(read.sip.advertised_address, expected);
    }
    assert_eq!(
        load("\u{feff}[http]\nwebsocket_bind = \"\"\n", &[])
            .unwrap()
            .http
            .bind,
        defaults().http.bind
    );
}

#[test]
fn a_mistake_is_named_with_file_line_and_key() {
    let rows = [
        (
            "\n[sip]\nudp = [\"0.0.0.0:5060\"\n",
            "c.toml:3: unclosed array",
            "",
        ),
        (
            "[sip]\n\nudpp = []\n",
            "c.toml:3: sip.udpp: unknown key; [sip] has",
            "udp",
        ),
        (
            "[sipp]\nudp = []\n",
            "c.toml:2: sipp.udp: unknown key; the sections are amqp,",
            "and outside them data_dir",
        ),
        ("sip = 1\n", "c.toml:1: sip: is a section: write [sip]", ""),
        (
            "[[sip]]\nudp = []\n",
            "c.toml:1: sip: is a section: write [sip]",
            "",
        ),
        ("verbose = true\n", "c.toml:1: verbose: unknown key;", "data_dir"),
        (
            "[http.bind]\nport = 1\n",
            "c.toml:1: http.bind: expected a string, found a section",
            "",
        ),
        (
            "[http]\nbind = 8000\n",
            "c.toml:2: http.bind: expected a string, found a whole number",
            "",
        ),
        (
            "[http]\nrate_limit = \"no\"\n",
            "c.toml:2: http.rate_limit: expected true or false, found a string",
            "",
        ),
        (
            "[sip]\nudp = \"0.0.0.0:5060\"\n",
            "c.toml:2: sip.udp: expected a list of strings, found a string",
            "",
        ),
        (
            "[sip]\nudp = [5060]\n",
            "c.toml:2: sip.udp: expected a list of strings, found a list with a number",
            "",
        ),
        (
            "[media]\nports = 16384\n",
            "c.toml:2: media.ports: expected a string, found a whole number",
            "",
        ),
        (
            "[media]\ndscp = 1.5\n",
            "c.toml:2: media.dscp: expected a whole number, found a fraction",
            "",
        ),
        (
            "[media]\ndscp = 1979-05-27\n",
            "c.toml:2: media.dscp: expected a whole number, found a date",
            "",
        ),
        (
            "[media]\ndscp = 99999999999999999999\n",
            "c.toml:2: media.dscp: expected a whole number, found",
            "range",
        ),
        ("a = 1\na = 2\n", "c.toml:2: duplicate key", ""),
    ];
    for (toml, start, also) in rows {
        let problem = problem(toml, &[]);
        assert!(
            problem.starts_with(start) && problem.contains(also),
            "{toml:?}: {problem}"
        );
    }
}

#[test]
fn values_out_of_range_say_what_is_allowed() {
    let key = "0123456789abcdef";
    let rows = [
        ("", "data_dir = \"\"", "name a folder"),
        (
            "http",
            "bind = \"localhost:8000\"",
            "'localhost:8000' is no IP address with a port",
        ),
        ("http", "bind = \"\"", "no IP address with a port"),
        ("http", "bind = \"0.0.0.0:65536\"", "no IP address with a port"),
        ("http", "token_ttl_s = 0", "0 is not within 1 to 31536000"),
        (
            "sip",
            "udp = [\"0.0.0.0\"]",
            "'0.0.0.0' is no IP address with a port",
        ),
        (
            "sip",
            "udp = [\"[::]:5060\", \"[::]:5060\"]",
            "[::]:5060 is there twice",
        ),
        (
            "sip",
            "udp = []\ntcp = []",
            "sip.udp, sip.tcp, sip.tls, sip.ws and sip.wss are all empty",
        ),
        ("sip", "max_calls = -1", "-1 is not within 0 to 1000000"),
        ("sip", "session_timer_s = 89", "has to be 0 or at least 90"),
        ("sip", "session_timer_s = 90000", "90000 is not within 0 to 86400"),
        (
            "sip",
            "advertised_address = \"conf.example.org:5060\"",
            "write it without port",
        ),
        ("sip", "advertised_address = \"0.0.0.0\"", "usable IP address"),
        ("sip", "advertised_address = \"1.2.3\"", "usable IP address"),
        (
            "sip",
            "advertised_address = \"192.0.2.1, 192.0.2.2\"",
            "more than one IPv4 and one IPv6 address",
        ),
        (
            "sip",
            "advertised_address = \"a.example,b.example,c.example\"",
            "more than one IPv4",
        ),
        ("sip", "local_nets = [\"10.0.0.0/40\"]", "prefix length"),
        ("media", "bind = []", "at least one address"),
        (
            "media",
            "bind = [\"eth0\"]",
            "'eth0' is no IP address of this machine",
        ),
        ("media", "ports = \"16384\"", "'16384' is no range of ports"),
        ("media", "ports = \"0-100\"", "no range of ports"),
        ("media", "ports = \"20000-70000\"", "no range of ports"),
        (
            "media",
            "ports = \"20001-20002\"",
            "no even port followed by another",
        ),
        (
            "media",
            "ports = \"20002-20001\"",
            "no even port followed by another",
        ),
        (
            "media",
            "ports = \"65535-65535\"",
            "no even port followed by another",
        ),
        ("media", "shards = 5000", "not within 0 to 1024"),
        ("media", "codecs = []", "at least one codec"),
        ("media", "codecs = [\"PCMU\", \"pcmu\"]", "pcmu is there twice"),
        (
            "media",
            "codecs = [\"L16\", \"L16/8000\"]",
            "L16/8000 is there twice",
        ),
        (
            "media",
            "codecs = [\"L16/22050\"]",
            "'L16/22050' is no codec of this server",
        ),
        (
            "media",
            "codec_order = \"theirs\"",
            "'theirs' is neither caller nor ours",
        ),
        (
            "media",
            "codecs = [\"G729\"]",
            "'G729' is no codec of this server",
        ),
        (
            "media",
            "srtp = \"yes\"",
            "'yes' is none of off, accept, offer, require",
        ),
        (
            "media",
            "latch = \"none\"",
            "'none' is neither signalling nor any",
        ),
        ("media", "max_delay_ms = 5", "not within 20 to 1000"),
        ("media", "timeout_s = 0", "not within 1 to 86400"),
        ("media", "dscp = 64", "not within 0 to 63"),
        (
            "bootstrap",
            "account_id = \"0123\"",
            "32 lower-case hex characters",
        ),
        ("bootstrap", "account_name = \"\"", "1 to 128 characters"),
        ("bootstrap", "realm = \"two words\"", "neither a host name"),
        (
            "bootstrap",
            "api_key = \"0123456789abcdef\"",
            "64 printable characters",
        ),
        ("bootstrap", "username = \"a b\"", "letters, digits"),
        ("bootstrap", "conference_number = \"3000a\"", "must be digits"),
        ("log", "level = \"loud\"", "'loud' is no level"),
        ("log", "level = \"info,=debug\"", "is no level"),
        ("log", "format = \"xml\"", "'xml' is neither text nor json"),
    ];
    for (section, line, expected) in rows {
        let toml = if section.is_empty() {
            line.to_owned()
        } else {
            format!("[{section}]\n{line}\n")
        };
        let problem = problem(&toml, &[]);
        assert!(problem.starts_with("c.toml:"), "{problem}");
        assert!(problem.contains(expected), "{line}: {problem}");
        assert!(!problem.contains(key), "a secret in {problem}");
    }
}

#[test]
fn recordings_have_a_rate_that_files_have_and_limits() {
    let read = |text: &str| load(&format!("[recording]\n{text}\n"), &[]).map(|config| config.recording);
    let recording = read("rate = 8000\nretention_days = 30\nmax_gb = 2").unwrap();
    assert_eq!(recording.rate_hz, 8000);
    let limits = recording.limits();
    assert_eq!(
        (limits.age, limits.bytes),
        (
            Some(std::time::Duration::from_secs(2_592_000)),
            Some(2_000_000_000)
        )
    );
    let limits = read("announce = false").unwrap().limits();
    assert_eq!((limits.age, limits.bytes), (None, None));
    let wrong = read("rate = 11025").unwrap_err();
    assert!(wrong[0].contains("must be one of 8000, 16000"), "{wrong:?}");
}

#[test]
fn websockets_of_sip_have_ports_of_their_own() {
    let text = "[sip]\nws = [\"0.0.0.0:5066\"]\nwss = [\"[::]:5067\"]\n";
    let missing = load(text, &[]).unwrap_err().join("\n");
    assert!(
        missing.contains("sip.tls_cert: is empty, and sip.tls or sip.wss wants it: name a PEM file"),
        "{missing}"
    );
    let config = load(&format!("{text}tls_cert = \"c.pem\"\ntls_key = \"k.pem\"\n"), &[]).unwrap();
    assert_eq!(config.sip.ws, ["0.0.0.0:5066".parse().unwrap()]);
    let tls = config.sip.tls.unwrap();
    assert_eq!(
        (tls.listen, tls.wss),
        (vec![], vec!["[::]:5067".parse().unwrap()])
    );
    // Nothing else need be listened on.
    let alone = "[sip]\nudp = []\ntcp = []\nws = [\"0.0.0.0:5066\"]\n";
    assert!(load(alone, &[]).is_ok());
}

#[test]
fn name_servers_may_have_a_port() {
    let text = "[sip]\nname_servers = [\"192.0.2.53\", \"[2001:db8::53]:5353\"]\n";
    let expected = [
        "192.0.2.53:53".parse().unwrap(),
        "[2001:db8::53]:5353".parse().unwrap(),
    ];
    assert_eq!(load(text, &[]).unwrap().sip.name_servers, expected);
    let found = problem("[sip]\nname_servers = [\"dns.example\"]\n", &[]);
    assert!(
        found.starts_with("c.toml:2: sip.name_servers: 'dns.example' is no IP address"),
        "{found}"
    );
}

#[test]
fn published_events_are_named_as_they_are() {
    let config = load("[events]\npublish_participant_event = [\"add-member\"]\n", &[]).unwrap();
    let publishes = |kind| config.events.publish.publishes(kind);
    assert!(publishes(EventKind::AddMember) && publishes(EventKind::Lock));
    assert!(!publishes(EventKind::MuteMember));
    for (key, name) in [
        ("publish_participant_event", "lock"),
        ("publish_conference_event", "add-member"),
    ] {
        let found = problem(&format!("[events]\n{key} = [\"{name}\"]\n"), &[]);
        assert!(
            found.starts_with(&format!("c.toml:2: events.{key}: '{name}' is none of ")),
            "{found}"
        );
    }
}

#[test]
fn what_devices_register_with_is_checked() {
    let config = load(
        "[sip]\ndigest = [\"SHA-256\", \"MD5\"]\n[registrar]\nkeep_alive_s = 0\n",
        &[],
    )
    .expect("good");
    assert_eq!(config.sip.digest, DigestAlgorithm::ALL);
    assert_eq!(config.registrar.keep_alive_s, 0);
    assert_eq!(load("", &[]).expect("good").sip.digest, [DigestAlgorithm::Md5]);
    for (text, why) in [
        ("[sip]\ndigest = []\n", "c.toml:2: sip.digest: is empty"),
        (
            "[sip]\ndigest = [\"md5\"]\n",
            "c.toml:2: sip.digest: 'md5' is neither SHA-256 nor MD5",
        ),
        (
            "[registrar]\nmax_expires_s = 59\n",
            "c.toml:2: registrar.max_expires_s: is below registrar.min_expires_s (60)",
        ),
    ] {
        let found = problem(text, &[]);
        assert!(found.starts_with(why), "{found}");
    }
}

#[test]
fn every_key_is_read() {
    // Another value for a key changes the settings: no key is silently without effect.
    let (hex, api_key) = ("0123456789abcdef".repeat(2), "k".repeat(64));
    let others = [
        "30",
        "20",
        "120",
        "24000",
        "true",
        "false",
        "off",
        "192.0.2.1:7",
        "192.0.2.1",
        "any",
        "+49",
        "ours",
        "PCMA",
        "SHA-256",
        "json",
        "4000-4001",
        "add-member",
        "lock",
        "postgres://192.0.2.1/confab",
        &hex,
        &api_key,
    ];
    let plain = format!("{:?}", defaults());
    // These are read together, in the tests below.
    let together = [
        "http.websocket_tls_bind",
        "http.tls_bind",
        "http.tls_cert",
        "http.tls_key",
        "sip.tls",
        "sip.wss",
        "sip.tls_cert",
        "sip.tls_key",
        "sip.tls_clients",
        "sip.tls_client_cert",
        "sip.tls_client_key",
        "amqp.commands",
        "amqp.url",
    ];
    for key in Values::defaults(DEFAULT_TOML)
        .keys()
        .filter(|key| !together.contains(key))
    {
        let variable = format!("CONFAB__{}", key.to_ascii_uppercase().replace('.', "__"));
        let outcome = |value: &&str| match load("", &[(&variable, value)]) {
            Ok(config) if config.changed_sections(&defaults(), &[]) == [key] => Some(config),
            Ok(_) | Err(_) => None,
        };
        match others.iter().find_map(outcome) {
            Some(config) => assert_ne!(format!("{config:?}"), plain, "{key} is accepted and not used"),
            None => panic!("{key} takes no other value"),
        }
    }
}

#[test]
fn commands_want_a_broker_and_its_address_stays_unsaid() {
    let url = "amqps://confab:secret-word@mq.example.com/%2f";
    let all = format!("[amqp]\nurl = \"{url}\"\ncommands = true\n");
    let config = load(&all, &[]).unwrap();
    let amqp = config.amqp.as_ref().unwrap();
    assert_eq!((amqp.url.0.as_str(), amqp.commands), (url, true));
    assert!(!format!("{config:?}").contains("secret-word"));
    assert!(defaults().amqp.is_none());
    let wants = "c.toml:3: amqp.commands: wants a broker: set amqp.url";
    assert_eq!(problem(&all.replace(url, ""), &[]), wants);
    let bad = problem(&all.replace("amqps://", "http//"), &[]);
    assert!(
        bad.starts_with("c.toml:2: amqp.url: is no address") && !bad.contains("secret-word"),
        "{bad}"
    );
}

#[test]
fn tls_wants_certificate_and_key() {
    let alone = "[http]\nwebsocket_tls_bind = \"0.0.0.0:5556\"\n";
    let expected =
        "c.toml:2: http.websocket_tls_bind: wants the certificate of http.tls_bind, which is empty";
    assert_eq!(problem(alone, &[]), expected);
    let all = "[http]\ntls_bind = \"0.0.0.0:8443\"\ntls_cert = \"c.pem\"\ntls_key = \"k.pem\"\n";
    let tls = load(all, &[]).unwrap().http.tls.unwrap();
    assert_eq!(tls.bind, "0.0.0.0:8443".parse().unwrap());
    assert_eq!(tls.files.certificate, Path::new("c.pem"));
    assert_eq!(tls.files.key, Path::new("k.pem"));
    let without_key = all.replace("k.pem", "");
    let expected = "c.toml:4: http.tls_key: is empty, and http.tls_bind wants it: name a PEM file";
    assert_eq!(problem(&without_key, &[]), expected);
    let off = all.replace("0.0.0.0:8443", "");
    assert_eq!(load(&off, &[]).unwrap().http.tls, None);
    let files = load(all, &[]).unwrap().check_files().unwrap_err().to_string();
    assert!(
        files.contains("c.toml:3: http.tls_cert: c.pem cannot be read"),
        "{files}"
    );
}

#[test]
fn a_machine_without_ipv6_goes_without() {
    let mut config = defaults();
    assert_eq!(config.without_ipv6(), ["sip.udp", "sip.tcp", "media.bind"]);
    assert_eq!(config.sip.udp, ["0.0.0.0:5060".parse().unwrap()]);
    assert_eq!(
        config.media.bind,
        ["0.0.0.0".parse::<std::net::IpAddr>().unwrap()]
    );
    assert!(config.without_ipv6().is_empty());
    // What is asked for by name, and the only thing that there is, is not given up in silence.
    let text =
        "[sip]\nudp = [\"[::]:5060\"]\ntcp = [\"0.0.0.0:5060\", \"[::1]:5060\"]\n[media]\nbind = [\"::\"]\n";
    assert!(load(text, &[]).unwrap().without_ipv6().is_empty());
}

#[test]
fn tls_of_sip_may_want_certificates_of_both_sides() {
    let listens = "[sip]\ntls = [\"0.0.0.0:5061\"]\ntls_cert = \"c.pem\"\ntls_key = \"k.pem\"\n";
    assert_eq!(load(listens, &[]).unwrap().sip.tls.unwrap().clients, None);
    let asks = format!("{listens}tls_clients = \"ca.pem\"\n");
    assert_eq!(
        load(&asks, &[]).unwrap().sip.tls.unwrap().clients.as_deref(),
        Some(Path::new("ca.pem"))
    );
    let shows = "[sip]\ntls_client_cert = \"c.pem\"\ntls_client_key = \"k.pem\"\n";
    let files = load(shows, &[]).unwrap().sip.tls_out.files.unwrap();
    assert_eq!(files.certificate, Path::new("c.pem"));
    assert_eq!(files.key, Path::new("k.pem"));
    let half = shows.replace("k.pem", "");
    let found = problem(&half, &[]);
    assert!(
        found.starts_with("c.toml:3: sip.tls_client_key: is empty"),
        "{found}"
    );
    let trusts = "[sip]\ntls_ca = \"none.pem\"\n";
    let files = load(trusts, &[]).unwrap().check_files().unwrap_err().to_string();
    assert!(
        files.contains("c.toml:2: sip.tls_ca: none.pem cannot be read"),
        "{files}"
    );
}

#[test]
fn the_environment_is_checked_as_well() {
    let rows = [
        (
            "CONFAB__SIP__UDPP",
            "x",
            "environment CONFAB__SIP__UDPP: sip.udpp: unknown key; [sip] has",
        ),
        ("CONFAB__", "x", "environment CONFAB__: : unknown key"),
        (
            "CONFAB_SIP_MAX_CALLS",
            "5",
            "environment CONFAB_SIP_MAX_CALLS: sip.max_calls: is not read under this name: write CONFAB__SIP__MAX_CALLS",
        ),
        (
            "CONFAB_SIP__MAX_CALLS",
            "5",
            "environment CONFAB_SIP__MAX_CALLS: sip.max_calls: is not read under this name: write CONFAB__SIP__MAX_CALLS",
        ),
        (
            "CONFAB_DATA_DIR",
            "d",
            "environment CONFAB_DATA_DIR: data_dir: is not read under this name: write CONFAB__DATA_DIR",
        ),
        ("CONFAB__SIP", "x", "environment CONFAB__SIP: sip: is a section"),
        (
            "CONFAB__SIP__MAX_CALLS",
            "many",
            "environment CONFAB__SIP__MAX_CALLS: sip.max_calls: expected a whole number",
        ),
        (
            "CONFAB__SIP__UDP",
            "[1]",
            "environment CONFAB__SIP__UDP: sip.udp: expected a list of strings, found a list",
        ),
        (
            "CONFAB__SIP__UDP",
            "[\"a",
            "environment CONFAB__SIP__UDP: sip.udp: expected a list of strings, found",
        ),
        (
            "CONFAB__HTTP__RATE_LIMIT",
            "yes",
            "environment CONFAB__HTTP__RATE_LIMIT: http.rate_limit: expected true or",
        ),
    ];
    for (name, value, start) in rows {
        let problem = problem("", &[(name, value)]);
        assert!(problem.starts_with(start), "{problem}");
    }
}

#[cfg(unix)]
#[test]
fn variables_that_spell_no_key_are_not_ours() {
    let others = [
        ("CONFAB_KEY", "x"),
        ("CONFAB_SERVICE_HOST", "10.0.0.1"),
        ("CONFAB_SIP_PORT_5060_UDP", "udp://10.0.0.1:5060"),
        ("CONFABULATE", "x"),
    ];
    load("", &others).unwrap();
}

#[test]
fn text_that_is_not_utf_8_is_refused() {
    use std::os::unix::ffi::OsStringExt as _;
    let bytes = || OsString::from_vec(vec![b'x', 0xff]);
    let environment = [
        (OsString::from("CONFAB__LOG__LEVEL"), bytes()),
        (bytes(), bytes()),
    ];
    let error = Config::load(None, environment, &Overrides::default()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("log.level: expected a string, found something that is not UTF-8"),
        "{error}"
    );
    let overrides = Overrides {
        data_dir: Some(bytes().into()),
    };
    let error = Config::load(None, [], &overrides).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("--data-dir: data_dir: expected a string"),
        "{error}"
    );
    let mut problems = Vec::new();
    Values::defaults(DEFAULT_TOML).overlay_file("c.toml", b"# one\n# \xff\n", &mut problems);
    assert_eq!(
        ConfigError { problems }.to_string(),
        "c.toml:2: is not UTF-8 text"
    );
}

#[test]
fn a_file_that_cannot_be_read_is_one_clear_line() {
    let missing = std::env::temp_dir().join("confab-there-is-no-such-file.toml");
    let text = Config::load(Some(&missing), [], &Overrides::default())
        .unwrap_err()
        .to_string();
    assert!(
        text.starts_with(&format!("{}: cannot be read (", missing.display())),
        "{text}"
    );
    assert!(
        text.ends_with("name a readable file with --config") && text.lines().count() == 1,
        "{text}"
    );
    let folder = Config::load(Some(&std::env::temp_dir()), [], &Overrides::default());
    assert!(folder.unwrap_err().to_string().contains("cannot be read"));
}

#[test]
fn all_mistakes_are_named_at_once() {
    let problems = load(
        "[sip]\nmax_calls = -1\nfoo = 1\n[log]\nformat = \"xml\"\n",
        &[("CONFAB__X", "1")],
    )
    .unwrap_err();
    let places: Vec<&str> = problems
        .iter()
        .map(|line| line.split(": ").next().unwrap())
        .collect();
    assert_eq!(
        places,
        ["c.toml:2", "c.toml:3", "c.toml:5", "environment CONFAB__X"]
    );
}

#[test]
fn changes_are_named_by_key() {
    let changed = load(
        "[sip]\nmax_calls = 5\nlocal_nets = [\"10.0.0.0/8\"]\n[log]\nlevel = \"warn\"\n",
        &[],
    )
    .unwrap();
    assert_eq!(
        defaults().changed_sections(&changed, &["log.level"]),
        ["sip.local_nets", "sip.max_calls"]
    );
    assert_eq!(changed.changed_sections(&changed, &[]), Vec::<String>::new());
}

#[test]
fn secrets_do_not_appear_when_printed() {
    let key = "k".repeat(64);
    let config = load(
        &format!("[bootstrap]\npassword = \"hunter2\"\napi_key = \"{key}\"\n"),
        &[],
    )
    .unwrap();
    let printed = format!("{config:?}");
    assert!(
        !printed.contains("hunter2") && !printed.contains(&key),
        "{printed}"
    );
    assert_eq!(config.bootstrap_config().password, "hunter2");
}

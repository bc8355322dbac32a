//! What the configuration means for each part that is started. Starts none.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use confab_api::event::{EventBusConfig, Origin};
use confab_documents::Store;
use confab_sip::{Advertised as SipAdvertised, EndpointConfig, Host, HostPort, Network, RegistrarConfig};

use crate::{
    config::Config,
    recordings::Shelf,
    signalling::{Advertised, LocalAddresses, Networks, SignallingConfig, watched_package},
    sounds::Sounds,
    tls::{self, ServerCertificate, Trust},
};

pub(super) fn node() -> String {
    host_name().unwrap_or_else(|| "confab".to_owned())
}

pub(super) fn event_config(config: &Config) -> EventBusConfig {
    EventBusConfig {
        origin: Origin {
            node: node(),
            ..Origin::default()
        },
        filter: config.events.publish.clone(),
        history: config.events.history,
    }
}

pub(super) fn registrar_config(config: &Config) -> RegistrarConfig {
    let registrar = &config.registrar;
    RegistrarConfig {
        min_expires: registrar.min_expires_s,
        max_expires: registrar.max_expires_s,
        max_contacts: registrar.max_contacts,
        keep_alive: (registrar.keep_alive_s > 0).then(|| Duration::from_secs(registrar.keep_alive_s.into())),
        local_nets: local_nets(config),
        ..RegistrarConfig::default()
    }
}

/// The networks that are reached as their addresses say.
pub(super) fn local_nets(config: &Config) -> Vec<Network> {
    // This machine itself always is.
    let loopback = [
        (IpAddr::from([127, 0, 0, 0]), 8),
        (IpAddr::from(Ipv6Addr::LOCALHOST), 128),
    ];
    let local_nets = config.local_nets().chain(loopback);
    local_nets
        .map(|(address, prefix_bits)| Network { address, prefix_bits })
        .collect()
}

pub(super) fn signalling_config(
    config: &Config,
    local: &LocalAddresses,
    (certificate, client): (Option<&ServerCertificate>, Option<ServerCertificate>),
) -> anyhow::Result<SignallingConfig> {
    let clients = config.sip.tls.as_ref().and_then(|tls| tls.clients.as_deref());
    let clients = clients.map(tls::authorities).transpose();
    let clients = clients.map_err(|text| anyhow::anyhow!("sip.tls_clients: {text}"))?;
    let endpoint = EndpointConfig {
        advertised: advertised(local),
        inside: local.inner_networks(),
        local_nets: local_nets(config),
        asks_about_options: true,
        takes_registrations: true,
        session_expires_s: config.sip.session_timer_s,
        event_packages: vec![watched_package()],
        ..EndpointConfig::default()
    };
    let tls = config.sip.tls.as_ref().zip(certificate);
    // No browser has a certificate to show.
    let wss = tls.filter(|(tls, _)| !tls.wss.is_empty());
    Ok(SignallingConfig {
        ws: config.sip.ws.clone(),
        wss: wss.map(|(tls, certificate)| (tls.wss.clone(), certificate.server_config(&[], None))),
        udp: config.sip.udp.clone(),
        tcp: config.sip.tcp.clone(),
        tls: tls.map(|(tls, certificate)| {
            (
                tls.listen.clone(),
                certificate.server_config(&[], clients.as_ref()),
            )
        }),
        name_servers: config.sip.name_servers.clone(),
        trust: Trust::new(config.sip.tls_out.authorities.clone(), client),
        endpoint,
    })
}

/// What can be played, the operator's prompts decoded.
pub(super) async fn sounds(config: &Config, store: &Store, recordings: &Shelf) -> anyhow::Result<Sounds> {
    let recordings = Arc::new(recordings.clone());
    let sounds = Sounds::new(&config.fetch).with_library(store.clone(), recordings);
    let Some(folder) = config.media.prompts.clone() else {
        return Ok(sounds);
    };
    let name = folder.display().to_string();
    tokio::task::spawn_blocking(move || sounds.with_own_prompts(&folder))
        .await?
        .with_context(|| format!("media.prompts: cannot read {name}"))
}

/// What is shown in Via and Contact.
fn advertised(local: &LocalAddresses) -> SipAdvertised {
    let shown = |is_ipv4| {
        let host = local.advertised(is_ipv4)?.host.as_str();
        let host = Host::parse(&host.into()).ok()?;
        Some(HostPort { host, port: None })
    };
    SipAdvertised {
        ipv4: shown(true),
        ipv6: shown(false),
    }
}

pub(super) async fn local_addresses(config: &Config) -> anyhow::Result<LocalAddresses> {
    let mut advertised: Vec<Advertised> = Vec::new();
    for host in &config.sip.advertised_address {
        // What is named first is its family's.
        for ip in resolve(host).await? {
            if advertised.iter().all(|other| other.ip.is_ipv4() != ip.is_ipv4()) {
                let host = host.clone();
                advertised.push(Advertised { host, ip });
            }
        }
    }
    let local_nets = Networks::new(config.local_nets());
    let addresses = LocalAddresses::new(advertised, host_name());
    Ok(addresses.inside(local_nets, config.sip.advertised_to_private))
}

async fn resolve(host: &str) -> anyhow::Result<Vec<IpAddr>> {
    if let Ok(ip) = host.parse() {
        return Ok(vec![ip]);
    }
    let addresses = tokio::net::lookup_host((host, 0)).await.with_context(|| {
        format!("sip.advertised_address: '{host}' does not resolve (use an IP address, or mend DNS)")
    })?;
    let addresses: Vec<IpAddr> = addresses.map(|address| address.ip().to_canonical()).collect();
    if addresses.is_empty() {
        bail!("sip.advertised_address: '{host}' has no address");
    }
    Ok(addresses)
}

pub(super) fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

//! The configuration in the terms of the crates that are started with it.

use std::{net::IpAddr, time::Duration};

use confab_documents::BootstrapConfig;
use confab_media::MediaConfig;
use confab_sdp::{Capabilities, CodecCapability, CodecPreference};

use super::{Codec, CodecOrder, Config};

impl Config {
    /// For the media plane.
    pub(crate) fn media_config(&self) -> MediaConfig {
        MediaConfig {
            bind: self.media.bind.clone(),
            ports: self.media.ports.clone(),
            shards: self.media.shards,
            latch: self.media.latch,
            max_delay: Duration::from_millis(self.media.max_delay_ms.into()),
            timeout: Duration::from_secs(self.media.timeout_s.into()),
            max_lateness: (self.media.max_lateness_ms > 0)
                .then(|| Duration::from_millis(self.media.max_lateness_ms.into())),
            dscp: self.media.dscp,
            local_nets: self.local_nets().collect(),
        }
    }

    /// For offer/answer: the configured codecs, in our order of preference.
    pub(crate) fn capabilities(&self) -> Capabilities {
        let codecs = self.media.codecs.iter().map(|codec| match codec {
            Codec::Pcmu => CodecCapability::pcmu(),
            Codec::Pcma => CodecCapability::pcma(),
            Codec::G722 => CodecCapability::g722(),
            Codec::Opus => CodecCapability::opus("useinbandfec=1"),
            Codec::L16(rate_hz) => CodecCapability::l16(*rate_hz),
        });
        Capabilities {
            codecs: codecs.collect(),
            comfort_noise: self.media.silence_suppression,
            srtp: self.media.srtp,
            preference: match self.media.codec_order {
                CodecOrder::Caller => CodecPreference::Offerer,
                CodecOrder::Ours => CodecPreference::Ours,
            },
            ..Capabilities::default()
        }
    }

    /// For the first start of the store.
    pub(crate) fn bootstrap_config(&self) -> BootstrapConfig {
        let bootstrap = self.bootstrap.clone();
        BootstrapConfig {
            account_id: bootstrap.account_id,
            account_name: bootstrap.account_name,
            realm: bootstrap.realm,
            api_key: bootstrap.api_key.0,
            username: bootstrap.username,
            password: bootstrap.password.0,
            conference_number: bootstrap.conference_number,
        }
    }

    /// `sip.local_nets` as address and prefix length.
    pub(crate) fn local_nets(&self) -> impl Iterator<Item = (IpAddr, u8)> {
        self.sip
            .local_nets
            .iter()
            .map(|network| (network.address(), network.prefix()))
    }
}

//! The watch over one gateway: where it is.
//!
//! Owns a task, which ends when it is told to.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc, time::Duration};

use tokio::{sync::watch, task::JoinHandle};

use super::{Trunks, trunk::Gateway};
use crate::signalling::{Listens, LocalAddresses};

/// How long the addresses of a name are believed.
const ADDRESSES_LAST: Duration = Duration::from_secs(60);
/// How long a look-up may take.
const LOOK_UP: Duration = Duration::from_secs(5);
/// Addresses of one name that calls may come from.
const MOST_ADDRESSES: usize = 32;

/// What reaches gateways.
pub(crate) struct Reach {
    /// The addresses that SIP is bound to.
    pub(crate) listens: Listens,
    /// This server's addresses.
    pub(crate) local: Arc<LocalAddresses>,
}

/// A watch that is kept.
pub(super) struct Watch {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Watch {
    /// Starts the watch over a gateway.
    pub(super) fn start(trunks: &Trunks, reach: &Arc<Reach>, gateway: &Arc<Gateway>) -> Watch {
        let (stop, stopping) = watch::channel(false);
        let over = Over {
            trunks: trunks.clone(),
            reach: Arc::clone(reach),
            gateway: Arc::clone(gateway),
        };
        Watch {
            stop,
            task: tokio::spawn(over.run(stopping)),
        }
    }

    /// Ends it, and waits for that.
    pub(super) async fn end(self) {
        let _ = self.stop.send(true);
        let _ = self.task.await;
    }

    /// Ends it beside whoever calls.
    pub(super) fn leave(self) {
        tokio::spawn(self.end());
    }
}

struct Over {
    trunks: Trunks,
    reach: Arc<Reach>,
    gateway: Arc<Gateway>,
}

impl Over {
    async fn run(self, mut stop: watch::Receiver<bool>) {
        let book = self.trunks.book();
        let key = &self.gateway.key;
        let mut known = BTreeSet::new();
        loop {
            let found = self.addresses().await;
            if !found.is_empty() && found != known {
                book.set_addresses(key, found.clone());
                known = found;
            }
            let is_fixed = self.gateway.address.host.ip().is_some();
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                () = tokio::time::sleep(ADDRESSES_LAST), if !is_fixed => {}
            }
        }
        book.set_addresses(key, BTreeSet::new());
    }

    /// Where calls of the gateway come from.
    async fn addresses(&self) -> BTreeSet<IpAddr> {
        let host = &self.gateway.address.host;
        if let Some(ip) = host.ip() {
            return [ip.to_canonical()].into();
        }
        let ways = self
            .reach
            .listens
            .ways_to(&self.gateway.address, &self.reach.local)
            .await;
        let ways = ways.unwrap_or_default();
        let mut found: BTreeSet<IpAddr> = ways.iter().map(|way| way.remote.ip()).collect();
        let name = host.to_string();
        let asked = tokio::net::lookup_host((name.as_str(), 0));
        if let Ok(Ok(more)) = tokio::time::timeout(LOOK_UP, asked).await {
            found.extend(
                more.take(MOST_ADDRESSES)
                    .map(|address| address.ip().to_canonical()),
            );
        }
        found
    }
}

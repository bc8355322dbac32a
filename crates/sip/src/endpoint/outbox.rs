//! Owns what leaves the endpoint: the queue of outputs and the counters beside it.
//!
//! Never grows without bound: each input adds a bounded number of outputs, and the user drains the queue after each input.

use std::collections::VecDeque;

use bytes::Bytes;

use super::counters::{Counters, DropReason};
use super::event::{Event, Output};
use super::flow::Flow;

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    queue: VecDeque<Output>,
    pub(crate) counters: Counters,
}

impl Outbox {
    pub(crate) fn transmit(&mut self, flow: Flow, bytes: Bytes) {
        self.counters.messages_out += 1;
        self.queue.push_back(Output::Transmit { flow, bytes });
    }

    pub(crate) fn retransmit(&mut self, flow: Flow, bytes: Bytes) {
        self.counters.retransmissions_out += 1;
        self.transmit(flow, bytes);
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.queue.push_back(Output::Event(event));
    }

    pub(crate) fn drop_for(&mut self, reason: DropReason) {
        self.counters.drop_for(reason);
    }

    pub(crate) fn poll(&mut self) -> Option<Output> {
        self.queue.pop_front()
    }
}

//! Gathers the figures of all parts for one scrape of the metrics page.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use confab_sip::DropReason;

use crate::{
    amqp::AmqpStats,
    metrics::{self, Counters, Snapshot},
    signalling::{CallServer, Signalling},
    webhooks::Attempts,
};

/// Returns the function that makes the page.
pub(super) fn page(
    calls: &Arc<CallServer>,
    signalling: &Signalling,
    amqp: Arc<AmqpStats>,
    hooks: Arc<Attempts>,
) -> impl Fn() -> String + Send + Sync + 'static {
    // Weak: the page must not keep the calls' queues open at shutdown.
    let calls = Arc::downgrade(calls);
    let transports = Arc::clone(&signalling.stats);
    let stuck = Arc::clone(&signalling.stuck_calls);
    move || {
        let Some(calls) = calls.upgrade() else {
            return metrics::page(Snapshot::default());
        };
        let figures = calls.endpoint.figures();
        let (live, counted) = (figures.gauges, figures.counters);
        let gauge = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        let transactions = [
            ("server_invite", live.server_invite_transactions),
            ("server", live.server_transactions),
            ("client_invite", live.client_invite_transactions),
            ("client", live.client_transactions),
        ];
        let mut dropped: Vec<(String, u64)> = DropReason::ALL
            .into_iter()
            .map(|reason| (reason.name().to_owned(), counted.dropped(reason)))
            .collect();
        dropped.extend([
            ("queue_full".to_owned(), transports.queue_full.get()),
            ("no_route".to_owned(), transports.no_route.get()),
        ]);
        let refused = calls
            .stats
            .refused
            .iter()
            .map(|entry| (entry.key().to_string(), *entry.value()))
            .collect();
        let dialled = calls
            .stats
            .dialled
            .iter()
            .map(|entry| ((*entry.key()).to_owned(), *entry.value()))
            .collect();
        let (bindings, registered, registrations) = calls.registrar.figures();
        let (passwords, passwords_blocked) = calls.registrar.gate().guard_figures();
        let (pins, pin_sources_blocked) = calls.desk.guard_figures();
        let [gateways, trunk_registrations] = calls.trunks.health().totals();
        let (failovers, gateways_away) = calls.trunks.health().figures(Instant::now());
        metrics::page(Snapshot {
            gauges: vec![
                (
                    "pin_sources_blocked",
                    "Sources of calls that may try no PINs at this time",
                    gauge(pin_sources_blocked),
                ),
                ("registrations", "Bindings of the registrar", gauge(bindings)),
                (
                    "registered_devices",
                    "Devices that are registered",
                    gauge(registered),
                ),
                (
                    "passwords_blocked",
                    "Sources, and devices from one source, whose passwords are not looked at at this time",
                    gauge(passwords_blocked),
                ),
                (
                    "trunk_gateways_away",
                    "Gateways of trunks that were not there when they were last needed: they are tried last for a while",
                    gauge(gateways_away),
                ),
                ("calls", "Calls being served", gauge(calls.admission.calls())),
                (
                    "sip_calls",
                    "INVITE sessions of the SIP endpoint",
                    gauge(live.calls),
                ),
                ("dialogs", "SIP dialogs", gauge(live.dialogs)),
                ("subscriptions", "SIP subscriptions", gauge(live.subscriptions)),
                ("sip_timers", "Pending SIP timers", gauge(live.timers)),
                (
                    "conferences",
                    "Running conferences",
                    gauge(calls.registry.conferences()),
                ),
                (
                    "participants",
                    "Participants of all conferences",
                    gauge(calls.registry.participants()),
                ),
                (
                    "amqp_connections",
                    "Connections to the message broker",
                    amqp.connections(),
                ),
            ],
            labelled_gauges: vec![
                Counters {
                    name: "transactions",
                    help: "SIP transactions",
                    label: "kind",
                    values: transactions
                        .map(|(kind, count)| (kind.to_owned(), count as u64))
                        .into(),
                },
                Counters {
                    name: "trunk_gateways",
                    help: "Gateways of trunks, by whether they answer when they are asked",
                    label: "state",
                    values: named(gateways),
                },
                Counters {
                    name: "trunk_registrations",
                    help: "Registrations of this server with gateways of trunks",
                    label: "state",
                    values: named(trunk_registrations),
                },
            ],
            counters: vec![
                single(
                    "calls_answered",
                    "Calls answered",
                    calls.stats.answered.load(Ordering::Relaxed),
                ),
                Counters {
                    name: "calls_refused",
                    help: "Calls refused",
                    label: "status",
                    values: refused,
                },
                Counters {
                    name: "calls_dialled",
                    help: "Calls that the API had placed",
                    label: "outcome",
                    values: dialled,
                },
                single(
                    "trunk_failovers",
                    "Calls that went on to the next gateway of a trunk",
                    failovers,
                ),
                single(
                    "cdr_left_out",
                    "Records of refused calls left out of cdr.jsonl because there were too many",
                    calls.stats.records_left_out.load(Ordering::Relaxed),
                ),
                single(
                    "calls_stuck",
                    "Calls hung up because their task did not keep up",
                    stuck.get(),
                ),
                Counters {
                    name: "sip_messages",
                    help: "SIP messages",
                    label: "direction",
                    values: vec![
                        ("in".to_owned(), counted.messages_in),
                        ("out".to_owned(), counted.messages_out),
                    ],
                },
                single(
                    "sip_retransmissions",
                    "SIP messages sent again",
                    counted.retransmissions_out,
                ),
                Counters {
                    name: "sip_dropped",
                    help: "SIP messages dropped",
                    label: "reason",
                    values: dropped,
                },
                Counters {
                    name: "sip_transport_errors",
                    help: "Errors of the SIP transports",
                    label: "kind",
                    values: vec![
                        ("send_failed".to_owned(), transports.send_failed.get()),
                        ("udp_receive".to_owned(), transports.udp_receive_errors.get()),
                        ("tcp_refused".to_owned(), transports.tcp_refused.get()),
                        ("tcp_closed".to_owned(), transports.tcp_closed.get()),
                        ("tls_failed".to_owned(), transports.tls_failed.get()),
                        ("websocket_failed".to_owned(), transports.websocket_failed.get()),
                    ],
                },
                Counters {
                    name: "pin_guard",
                    help: "Wrong PINs, sources that came to be refused, tries and calls refused, answers delayed, and what was \
                           forgotten for want of room",
                    label: "what",
                    values: named([
                        ("wrong", pins.wrong),
                        ("blocked", pins.blocks),
                        ("refused", pins.refused),
                        ("delayed", pins.delayed),
                        ("forgotten", pins.forgotten),
                    ]),
                },
                Counters {
                    name: "passwords",
                    help: "Passwords of devices that were wrong, sources and devices that came to be refused, requests refused, and \
                           what was forgotten for want of room",
                    label: "what",
                    values: named([
                        ("wrong", passwords.wrong),
                        ("blocked", passwords.blocks),
                        ("refused", passwords.refused),
                        ("forgotten", passwords.forgotten),
                    ]),
                },
                Counters {
                    name: "registrar",
                    help: "Bindings made, refreshed and ended, and OPTIONS sent to keep the way through NATs open",
                    label: "what",
                    values: named([
                        ("made", registrations.made),
                        ("refreshed", registrations.refreshed),
                        ("ended", registrations.ended),
                        ("keep_alive", registrations.kept_alive),
                    ]),
                },
                Counters {
                    name: "registers",
                    help: "Replies to REGISTER; none: to sources that have guessed too often",
                    label: "status",
                    values: calls.registrar.replies(),
                },
                Counters {
                    name: "plays_failed",
                    help: "Plays that were not heard because what they name could not be had",
                    label: "reason",
                    values: calls
                        .registry
                        .plays_failed()
                        .map(|(reason, count)| (reason.to_owned(), count))
                        .collect(),
                },
                Counters {
                    name: "amqp_events",
                    help: "Events for the message broker, by what became of them",
                    label: "outcome",
                    values: named(amqp.events()),
                },
                single(
                    "amqp_connections_failed",
                    "Connections to the message broker that failed or broke",
                    amqp.failures(),
                ),
                Counters {
                    name: "amqp_commands",
                    help: "Commands of the message broker, by what became of them",
                    label: "outcome",
                    values: named(amqp.commands()),
                },
                Counters {
                    name: "webhooks",
                    help: "Events for webhooks, by what became of them",
                    label: "outcome",
                    values: named(hooks.outcomes()),
                },
                single(
                    "webhooks_disabled",
                    "Webhooks disabled because requests to them failed",
                    hooks.hooks_disabled(),
                ),
                single(
                    "media_events_dropped",
                    "Media events a call did not read",
                    calls.dispatch.dropped(),
                ),
                single(
                    "events_missed",
                    "Events that slow subscribers missed",
                    calls.registry.bus().missed(),
                ),
                single(
                    "event_subscribers_dropped",
                    "WebSocket sessions that were closed because they were too slow",
                    calls.registry.bus().overruns(),
                ),
                single(
                    "event_bodies_written",
                    "Events and commands written as JSON, each once for all who got it",
                    calls.registry.bus().written(),
                ),
            ],
            quality: Some(calls.stats.quality.totals()),
            media: Some(calls.media.metrics()),
        })
    }
}

fn named<const N: usize>(values: [(&'static str, u64); N]) -> Vec<(String, u64)> {
    values.map(|(name, value)| (name.to_owned(), value)).into()
}

fn single(name: &'static str, help: &'static str, value: u64) -> Counters {
    Counters {
        name,
        help,
        label: "",
        values: vec![(String::new(), value)],
    }
}

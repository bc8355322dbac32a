//! The metrics page in the Prometheus text format (OpenMetrics 1.0).
//!
//! Owns names, help texts and labels. It holds no figure of its own: each scrape asks the owners for a snapshot, so
//! nothing in the media or signalling path knows of Prometheus.

use std::fmt;

use confab_media::{
    BUCKET_BOUNDS_US, DropReason, HistogramSnapshot, JoinRefusal, MediaMetrics, ShardMetrics,
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text},
    metrics::MetricType,
    registry::Registry,
};

use crate::signalling::{MOS_BOUNDS, QualityTotals};

/// Everything that one scrape shows.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    /// Live objects: name, help, value.
    pub(crate) gauges: Vec<(&'static str, &'static str, i64)>,
    /// What has been counted since the start: name without `_total`, help, label name, values by label.
    pub(crate) counters: Vec<Counters>,
    /// Live objects by one label.
    pub(crate) labelled_gauges: Vec<Counters>,
    /// How the calls that ended were heard.
    pub(crate) quality: Option<QualityTotals>,
    /// The media plane's own figures.
    pub(crate) media: Option<MediaMetrics>,
}

/// One family of counters or gauges with at most one label.
#[derive(Debug)]
pub(crate) struct Counters {
    /// Metric name without prefix and `_total`.
    pub(crate) name: &'static str,
    /// Help text.
    pub(crate) help: &'static str,
    /// Label name; empty for a family of one value without a label.
    pub(crate) label: &'static str,
    /// Value per label value.
    pub(crate) values: Vec<(String, u64)>,
}

/// Returns the page for one snapshot.
pub(crate) fn page(snapshot: Snapshot) -> String {
    let mut registry = Registry::with_prefix("confab");
    registry.register_collector(Box::new(snapshot));
    let mut page = String::new();
    text::encode(&mut page, &registry).expect("writing to a string does not fail");
    page
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (name, help, value) in &self.gauges {
            encoder
                .encode_descriptor(name, help, None, MetricType::Gauge)?
                .encode_gauge(value)?;
        }
        for family in &self.labelled_gauges {
            let metric = encoder.encode_descriptor(family.name, family.help, None, MetricType::Gauge)?;
            each_label(family, metric, |mut metric, value| {
                metric.encode_gauge(&i64::try_from(value).unwrap_or(i64::MAX))
            })?;
        }
        for family in &self.counters {
            let metric = encoder.encode_descriptor(family.name, family.help, None, MetricType::Counter)?;
            each_label(family, metric, |mut metric, value| counter(&mut metric, value))?;
        }
        if let Some(quality) = &self.quality {
            encode_quality(quality, &mut encoder)?;
        }
        match &self.media {
            Some(media) => encode_media(media, &mut encoder),
            None => Ok(()),
        }
    }
}

fn each_label(
    family: &Counters,
    mut metric: MetricEncoder<'_>,
    encode: impl Fn(MetricEncoder<'_>, u64) -> fmt::Result,
) -> fmt::Result {
    for (label, value) in &family.values {
        if family.label.is_empty() {
            return encode(metric, *value);
        }
        let labels = [(family.label, label.as_str())];
        encode(metric.encode_family(&labels)?, *value)?;
    }
    Ok(())
}

fn counter(metric: &mut MetricEncoder<'_>, value: u64) -> fmt::Result {
    metric.encode_counter::<NoLabelSet, u64, u64>(&value, None)
}

fn encode_quality(quality: &QualityTotals, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let bounds = MOS_BOUNDS.iter().map(|&bound| f64::from(bound) / 100.0);
    let buckets: Vec<(f64, u64)> = bounds
        .chain([f64::INFINITY])
        .zip(quality.buckets.iter().copied())
        .collect();
    let count = quality.buckets.iter().sum();
    let help =
        "Opinion score of what ended calls sent, over their last five seconds with audio (ITU-T G.107)";
    encoder
        .encode_descriptor("call_mos", help, None, MetricType::Histogram)?
        .encode_histogram::<NoLabelSet>(quality.mos_sum, count, &buckets, None)?;
    let counters = [
        (
            "call_packets_lost",
            "Media packets of ended calls that never came",
            quality.lost,
        ),
        (
            "call_packets_late",
            "Media packets of ended calls that came too late",
            quality.late,
        ),
        (
            "call_concealed_ms",
            "Milliseconds of audio made up in ended calls",
            quality.concealed_ms,
        ),
        (
            "call_repaired_ms",
            "Milliseconds of lost audio that later packets brought back in ended calls",
            quality.repaired_ms,
        ),
        ("call_digits", "Keys pressed in ended calls", quality.digits),
    ];
    for (name, help, value) in counters {
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        counter(&mut metric, value)?;
    }
    Ok(())
}

fn encode_media(media: &MediaMetrics, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let shards = &media.shards;
    let sum = |value: fn(&ShardMetrics) -> u64| shards.iter().map(value).sum::<u64>();
    let gauges: [(&str, &str, u64); 7] = [
        (
            "legs",
            "Media legs open",
            media.legs_opened.saturating_sub(media.legs_closed),
        ),
        (
            "ports_in_use",
            "UDP ports held by media legs",
            u64::from(media.ports_in_use),
        ),
        (
            "ports",
            "UDP ports that media legs may hold",
            u64::from(media.ports_total),
        ),
        (
            "mixers",
            "Conference mixers running in shards",
            sum(|shard| u64::from(shard.conferences)),
        ),
        ("shards", "Media threads", shards.len() as u64),
        (
            "shards_realtime",
            "Media threads under SCHED_FIFO",
            sum(|shard| u64::from(shard.realtime)),
        ),
        (
            "shard_load_permille",
            "Working time of the busiest shard, per mille of its quantum",
            shards
                .iter()
                .map(|shard| u64::from(shard.load_permille))
                .max()
                .unwrap_or(0),
        ),
    ];
    for (name, help, value) in gauges {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        encoder
            .encode_descriptor(name, help, None, MetricType::Gauge)?
            .encode_gauge(&value)?;
    }
    let counters = [
        ("ticks", "Shard turns", sum(|shard| shard.ticks)),
        (
            "ticks_late",
            "Shard turns that began more than 5 ms after schedule",
            shards.iter().map(late).sum(),
        ),
        (
            "ticks_skipped",
            "Shard turns skipped to catch up",
            sum(|shard| shard.ticks_skipped),
        ),
        ("legs_opened", "Media legs opened", media.legs_opened),
        (
            "tap_blocks_dropped",
            "Blocks of received audio that whoever records did not read in time",
            media.tap_blocks_dropped,
        ),
        (
            "rtp_arrivals_unstamped",
            "Media packets without a kernel receive timestamp",
            sum(|shard| shard.arrivals_unstamped),
        ),
    ];
    for (name, help, value) in counters {
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        counter(&mut metric, value)?;
    }
    encode_counts_by_reason(media, encoder)?;
    type Part = fn(&ShardMetrics) -> &HistogramSnapshot;
    let histograms: [(&str, &str, Part); 3] = [
        (
            "tick_lateness_seconds",
            "Start of a shard turn after its schedule",
            |shard| &shard.lateness,
        ),
        ("tick_duration_seconds", "Mixing part of a shard turn", |shard| {
            &shard.tick_duration
        }),
        (
            "turn_duration_seconds",
            "Whole shard turn: receive, mix, send",
            |shard| &shard.turn_duration,
        ),
    ];
    for (name, help, value) in histograms {
        let metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        encode_histogram(metric, &shards.iter().map(value).collect::<Vec<_>>())?;
    }
    Ok(())
}

fn encode_counts_by_reason(media: &MediaMetrics, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let shards = &media.shards;
    let directions = [
        ("in".to_owned(), shards.iter().map(|shard| shard.packets_in).sum()),
        (
            "out".to_owned(),
            shards.iter().map(|shard| shard.packets_out).sum(),
        ),
    ];
    let dropped = DropReason::ALL.iter().enumerate().map(|(index, reason)| {
        (
            reason.label().to_owned(),
            shards.iter().map(|shard| shard.dropped[index]).sum::<u64>(),
        )
    });
    let joins_refused = JoinRefusal::ALL.iter().enumerate().map(|(index, reason)| {
        (
            reason.label().to_owned(),
            shards.iter().map(|shard| shard.joins_refused[index]).sum::<u64>(),
        )
    });
    for family in [
        Counters {
            name: "rtp_packets",
            help: "Media packets taken and sent",
            label: "direction",
            values: directions.into(),
        },
        Counters {
            name: "rtp_dropped",
            help: "Media packets dropped",
            label: "reason",
            values: dropped.collect(),
        },
        Counters {
            name: "joins_refused",
            help: "Media legs that a shard could not place in their conference",
            label: "reason",
            values: joins_refused.collect(),
        },
    ] {
        let metric = encoder.encode_descriptor(family.name, family.help, None, MetricType::Counter)?;
        each_label(&family, metric, |mut metric, value| counter(&mut metric, value))?;
    }
    Ok(())
}

/// Turns that began more than 5 ms late (ARCHITECTURE.md, "Overload").
fn late(shard: &ShardMetrics) -> u64 {
    let first = BUCKET_BOUNDS_US.partition_point(|&bound| bound <= 5_000);
    shard.lateness.buckets[first..].iter().sum()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a sum of microseconds is exact far beyond a server's life"
)]
fn encode_histogram(mut metric: MetricEncoder<'_>, parts: &[&HistogramSnapshot]) -> fmt::Result {
    let bounds = BUCKET_BOUNDS_US
        .iter()
        .map(|&us| f64::from(us) / 1e6)
        .chain([f64::INFINITY]);
    let buckets: Vec<(f64, u64)> = bounds
        .enumerate()
        .map(|(index, bound)| (bound, parts.iter().map(|part| part.buckets[index]).sum()))
        .collect();
    let count = buckets.iter().map(|(_, count)| count).sum();
    let sum = parts.iter().map(|part| part.sum_us).sum::<u64>() as f64 / 1e6;
    metric.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_every_family_and_ends_as_openmetrics_asks() {
        let snapshot = Snapshot {
            gauges: vec![("calls", "Calls", 3)],
            counters: vec![Counters {
                name: "calls_refused",
                help: "Refused",
                label: "status",
                values: vec![("480".to_owned(), 2)],
            }],
            quality: Some(QualityTotals {
                buckets: vec![0, 0, 0, 0, 0, 1, 0, 2, 1],
                mos_sum: 17.0,
                lost: 7,
                late: 0,
                concealed_ms: 0,
                repaired_ms: 0,
                digits: 3,
            }),
            ..Snapshot::default()
        };
        let page = page(snapshot);
        assert!(page.contains("\nconfab_calls 3\n"), "{page}");
        assert!(
            page.contains("confab_calls_refused_total{status=\"480\"} 2\n"),
            "{page}"
        );
        for line in [
            "confab_call_mos_bucket{le=\"4.0\"} 1",
            "confab_call_mos_bucket{le=\"4.4\"} 3",
            "confab_call_mos_bucket{le=\"+Inf\"} 4",
            "confab_call_mos_count 4",
            "confab_call_packets_lost_total 7",
            "confab_call_digits_total 3",
        ] {
            assert!(page.contains(&format!("\n{line}\n")), "{line} in {page}");
        }
        assert!(page.ends_with("# EOF\n"), "{page}");
    }
}

//! Owns the reading of Prometheus text.

use std::collections::BTreeMap;

/// One reading of `/metrics`: sample name with labels as printed, and value.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metrics {
    samples: BTreeMap<String, f64>,
}

impl Metrics {
    /// Reads the text format; lines that are no samples are skipped.
    pub fn parse(text: &str) -> Self {
        let samples = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| {
                // Label values may hold spaces, so the name ends at the closing brace where there is one.
                let split = line
                    .rfind('}')
                    .map_or_else(|| line.find(' '), |brace| Some(brace + 1))?;
                let value = line[split..].split_whitespace().next()?.parse().ok()?;
                Some((line[..split].trim().to_owned(), value))
            })
            .collect();
        Self { samples }
    }

    /// Returns the sum of all samples of this name, over all labels; `None` when there is none.
    pub fn sum(&self, name: &str) -> Option<f64> {
        let mut matching = self.named(name).map(|(_, value)| value).peekable();
        matching.peek()?;
        Some(matching.sum())
    }

    /// Returns the sum of the samples of this name that carry `label="value"`; 0 when there is none.
    pub fn labelled(&self, name: &str, label: &str, value: &str) -> f64 {
        let wanted = format!("{label}=\"{value}\"");
        self.named(name)
            .filter(|(labels, _)| labels.split(['{', ',', '}']).any(|part| part == wanted))
            .map(|(_, v)| v)
            .sum()
    }

    /// Returns the upper bound of the histogram bucket that holds the given quantile of what was observed since `earlier`, or `None`
    /// when nothing was observed. Infinity stands for the last bucket.
    pub fn quantile_since(&self, earlier: &Self, histogram: &str, quantile: f64) -> Option<f64> {
        let buckets = self.buckets_since(earlier, histogram);
        let total = buckets.last()?.1;
        if total <= 0.0 {
            return None;
        }
        buckets
            .iter()
            .find(|(_, count)| *count >= total * quantile)
            .map(|(bound, _)| *bound)
    }

    /// Returns the share (0 to 1) of what was observed since `earlier` above `bound`, which has to be a bucket bound.
    pub fn share_above_since(&self, earlier: &Self, histogram: &str, bound: f64) -> Option<f64> {
        let buckets = self.buckets_since(earlier, histogram);
        let total = buckets.last()?.1;
        let below = buckets
            .iter()
            .find(|(known, _)| (known - bound).abs() <= bound * 1e-6)?
            .1;
        (total > 0.0).then(|| 1.0 - below / total)
    }

    /// Returns upper bounds and cumulative counts, all label sets added up, in order.
    fn buckets_since(&self, earlier: &Self, histogram: &str) -> Vec<(f64, f64)> {
        let name = format!("{histogram}_bucket");
        let mut buckets: Vec<(f64, f64)> = Vec::new();
        for (sample, value) in self
            .samples
            .range(name.clone()..)
            .take_while(|(sample, _)| sample.starts_with(&name))
        {
            let Some(bound) = sample
                .split("le=\"")
                .nth(1)
                .and_then(|rest| rest.split('"').next())
            else {
                continue;
            };
            let bound = bound.parse().unwrap_or(f64::INFINITY);
            let count = value - earlier.samples.get(sample).copied().unwrap_or(0.0);
            match buckets.iter_mut().find(|(known, _)| *known == bound) {
                Some((_, sum)) => *sum += count,
                None => buckets.push((bound, count)),
            }
        }
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        buckets
    }

    fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        self.samples
            .range(name.to_owned()..)
            .take_while(move |(sample, _)| sample.starts_with(name))
            .filter_map(move |(sample, value)| {
                let labels = &sample[name.len()..];
                (labels.is_empty() || labels.starts_with('{')).then_some((labels, *value))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP x y\n# TYPE a gauge\na 3\na_total 9\nb{kind=\"client\"} 1\nb{kind=\"server, odd }\"} 2 1700000000\n\
        h_bucket{le=\"0.001\"} 90\nh_bucket{le=\"0.005\"} 99\nh_bucket{le=\"+Inf\"} 100\nh_sum 0.2\nh_count 100\nnot a sample\n";

    #[test]
    fn samples_are_found_by_name_and_label() {
        let metrics = Metrics::parse(TEXT);
        assert_eq!(metrics.sum("a"), Some(3.0));
        assert_eq!(metrics.sum("b"), Some(3.0));
        assert_eq!(metrics.sum("c"), None);
        assert_eq!(metrics.labelled("b", "kind", "client"), 1.0);
        assert_eq!(metrics.labelled("b", "kind", "clien"), 0.0);
    }

    #[test]
    fn histograms_give_quantiles_of_what_is_new() {
        let none = Metrics::default();
        let first = Metrics::parse(TEXT);
        assert_eq!(first.quantile_since(&none, "h", 0.5), Some(0.001));
        assert_eq!(first.quantile_since(&none, "h", 0.95), Some(0.005));
        assert_eq!(first.quantile_since(&none, "h", 0.999), Some(f64::INFINITY));
        assert_eq!(
            first.share_above_since(&none, "h", 0.005),
            Some(0.010000000000000009)
        );
        assert_eq!(first.quantile_since(&first, "h", 0.5), None);
        assert_eq!(first.quantile_since(&none, "missing", 0.5), None);
    }
}

//! A page of metrics: one family after the other, each with its kind and its labels.

use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::health::{PollError, SourceHealth, Spread};
use crate::tls::Certificate;

/// Writes metric families.
pub(super) struct Page<'a>(pub(super) DescriptorEncoder<'a>);

impl Page<'_> {
    pub(super) fn count(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let counter = ConstCounter::new(value);
        counter.encode(self.0.encode_descriptor(name, help, None, counter.metric_type())?)
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        let gauge = ConstGauge::new(value);
        gauge.encode(self.0.encode_descriptor(name, help, None, gauge.metric_type())?)
    }

    pub(super) fn counts<'v>(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        values: impl Iterator<Item = (&'v str, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (word, value) in values {
            ConstCounter::new(value).encode(family.encode_family(&[(label, word)])?)?;
        }
        Ok(())
    }

    pub(super) fn poll_errors<'v>(
        &mut self,
        sources: impl Iterator<Item = &'v Arc<SourceHealth>>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(
            "andon_poll_errors",
            "Requests without an answer that can be used",
            None,
            MetricType::Counter,
        )?;
        for source in sources {
            for kind in PollError::ALL {
                let labels = [("source", source.name.as_str()), ("kind", kind.as_str())];
                let count = ConstCounter::new(source.polling.errors(kind));
                count.encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    pub(super) fn spreads<'v>(
        &mut self,
        name: &str,
        help: &str,
        spreads: impl Iterator<Item = (&'v str, &'v Spread)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (source, spread) in spreads {
            let counts = spread.counts();
            let bounds = Spread::BOUNDS.into_iter().chain([f64::MAX]);
            let buckets: Vec<(f64, u64)> = bounds.zip(counts.iter().copied()).collect();
            let labels = [("source", source)];
            family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(
                spread.sum(),
                counts.iter().sum(),
                &buckets,
                None,
            )?;
        }
        Ok(())
    }

    pub(super) fn features<'v>(
        &mut self,
        name: &str,
        help: &str,
        values: impl Iterator<Item = ((&'v str, &'v str), f64)>,
    ) -> fmt::Result {
        self.pairs(name, help, ["prediction", "feature"], values)
    }

    /// Gauges by two labels; no family without a value.
    pub(super) fn pairs<'v>(
        &mut self,
        name: &str,
        help: &str,
        keys: [&'static str; 2],
        values: impl Iterator<Item = ((&'v str, &'v str), f64)>,
    ) -> fmt::Result {
        let mut values = values.peekable();
        if values.peek().is_none() {
            return Ok(());
        }
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for ((first, second), value) in values {
            let labels = [(keys[0], first), (keys[1], second)];
            ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    /// Counters by two labels.
    pub(super) fn counted_pairs<'v>(
        &mut self,
        name: &str,
        help: &str,
        keys: [&'static str; 2],
        values: impl Iterator<Item = ((&'v str, &'v str), u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for ((first, second), value) in values {
            let labels = [(keys[0], first), (keys[1], second)];
            ConstCounter::new(value).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    pub(super) fn expiries(&mut self, certificates: &[Certificate]) -> fmt::Result {
        if certificates.is_empty() {
            return Ok(());
        }
        let name = "andon_certificate_expiry_seconds";
        let help = "When a certificate ends, in seconds since 1970";
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for certificate in certificates {
            let file = certificate.file.display().to_string();
            let labels = [("file", file.as_str()), ("subject", certificate.subject.as_str())];
            let seconds = certificate.not_after.as_nanos() / 1_000_000_000;
            ConstGauge::new(seconds).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    pub(super) fn gauges<'v>(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        values: impl Iterator<Item = (&'v str, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (word, value) in values {
            ConstGauge::new(value).encode(family.encode_family(&[(label, word)])?)?;
        }
        Ok(())
    }
}

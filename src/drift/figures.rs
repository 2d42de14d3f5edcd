//! How far two distributions over the same bins lie apart.

use crate::frame::Bins;

/// An empty bin counts as this share: a logarithm of nothing would outweigh everything else.
pub const LEAST_SHARE: f64 = 1e-4;

/// The population stability index, `sum((q - p) * ln(q / p))` over the bins, with no share
/// below [`LEAST_SHARE`]. Nothing without counts.
pub fn psi(reference: &[f64], counts: &[u32]) -> Option<f64> {
    let term = |p: f64, q: f64| {
        let (p, q) = (p.max(LEAST_SHARE), q.max(LEAST_SHARE));
        (q - p) * (q / p).ln()
    };
    Some(reference.iter().zip(shares(counts)?).map(|(p, q)| term(*p, q)).sum())
}

/// The two-sample Kolmogorov-Smirnov statistic at the bins' edges: the largest difference of
/// the two cumulative distributions, 0 to 1. Nothing without counts.
pub fn ks(reference: &[f64], counts: &[u32]) -> Option<f64> {
    let (mut p, mut q, mut widest) = (0.0, 0.0, 0.0_f64);
    for (share, now) in reference.iter().zip(shares(counts)?) {
        p += share;
        q += now;
        widest = widest.max((p - q).abs());
    }
    Some(widest)
}

fn shares(counts: &[u32]) -> Option<impl Iterator<Item = f64>> {
    let total: u64 = counts.iter().map(|count| u64::from(*count)).sum();
    #[expect(clippy::cast_precision_loss, reason = "counts of frames")]
    (total > 0).then(|| counts.iter().map(move |count| f64::from(*count) / total as f64))
}

/// The bin of `value`: the number of edges at or below it, as `numpy.digitize` has it.
#[inline]
pub fn bin(bins: &Bins, value: f64) -> usize {
    bins.edges.iter().take_while(|edge| **edge <= value).count()
}

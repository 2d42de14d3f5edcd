//! Numbers as they are told: without digits that mean nothing, and never NaN.

use crate::verdict::{Contribution, Evidence};

/// Digits of a score. A model answers in `f32`, which holds seven and a bit.
const SCORE_DIGITS: usize = 9;
/// Digits of a tag's value or of a limit that somebody typed.
const VALUE_DIGITS: usize = 12;

pub(super) fn score(number: f64) -> f64 {
    rounded(number, SCORE_DIGITS)
}

pub(super) fn value(number: f64) -> f64 {
    rounded(number, VALUE_DIGITS)
}

/// Zero for what is not finite: a share that nobody could compute moved nothing.
pub(super) fn contributions(contributions: &[Contribution]) -> Vec<Contribution> {
    let tell = |contribution: &Contribution| Contribution {
        tag: contribution.tag.clone(),
        value: contribution.value.filter(|number| number.is_finite()).map(value),
        share: if contribution.share.is_finite() { score(contribution.share) } else { 0.0 },
    };
    contributions.iter().map(tell).collect()
}

pub(super) fn evidence(evidence: Evidence) -> Evidence {
    let coverage = if evidence.coverage.is_finite() { evidence.coverage } else { 0.0 };
    Evidence { coverage: score(coverage.clamp(0.0, 1.0)), ..evidence }
}

/// `number` with at most `digits` significant ones. Short decimals also survive a JSON parser
/// that is one bit off on long ones, so a record read back from the store says the same.
/// JSON has no infinity; the largest number stands for it.
fn rounded(number: f64, digits: usize) -> f64 {
    let number = if number.is_nan() { 0.0 } else { number.clamp(f64::MIN, f64::MAX) };
    format!("{number:.*e}", digits - 1).parse().unwrap_or(number)
}

/// Four significant digits, as a person wants to read them: `0.9342`, `81.2`, `12350`.
pub(super) fn readable(number: f64) -> String {
    let size = number.abs();
    if number == 0.0 {
        return "0".into();
    }
    if !(1e-4..1e15).contains(&size) {
        return format!("{number:.3e}");
    }
    let decimals = (0..8).find(|&decimals| size * 10f64.powi(decimals) >= 999.95).unwrap_or(8);
    let text = format!("{number:.*}", usize::try_from(decimals).unwrap_or(0));
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        let cases = [
            (0.934_213, "0.9342"),
            (81.2, "81.2"),
            (12_349.6, "12350"),
            (-3.0, "-3"),
            (0.0, "0"),
            (100.0, "100"),
            (0.001_234_56, "0.001235"),
            (1e-7, "1.000e-7"),
            (2e20, "2.000e20"),
        ];
        for (number, text) in cases {
            assert_eq!(readable(number), text);
        }
    }

    #[test]
    fn told_numbers_survive_json() {
        for number in [0.934_210_002_422_332_8, 1.0 / 3.0, -81.234_567_890_123_45, 5e-9, 123_456.7]
        {
            let told = score(number);
            let back: f64 = serde_json::from_str(&serde_json::to_string(&told).unwrap()).unwrap();
            assert_eq!(told.to_bits(), back.to_bits());
            assert_eq!(score(told).to_bits(), told.to_bits());
        }
    }

    #[test]
    fn nothing_told_is_nan() {
        let odd = Contribution { tag: "t".into(), value: Some(f64::NAN), share: f64::INFINITY };
        let told = &contributions(&[odd])[0];
        assert_eq!((told.value, told.share), (None, 0.0));
    }
}

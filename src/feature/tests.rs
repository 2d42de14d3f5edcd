use super::*;

/// 32 values at 4 Hz. The expected figures below are numpy's and scipy's (periodogram with
/// window="hann", detrend="constant"; kurtosis with fisher=False).
const X: [f64; 32] = [
    2.3, 2.699, 2.823, 3.024, 2.412, 1.293, 1.185, 1.937, 2.4, 2.863, 3.615, 3.507, 2.388, 1.776,
    1.977, 2.101, 2.5, 3.616, 4.177, 3.49, 2.788, 2.592, 2.215, 2.149, 3.2, 4.251, 4.185, 3.808,
    3.612, 2.91, 2.223, 2.784,
];

fn value_of(values: &[f64], rate: Option<f64>, statistic: Statistic) -> Option<f64> {
    let seconds: Vec<f64> = (0..values.len()).map(|k| k as f64 * 0.25).collect();
    let mut spectra = Spectra::default();
    Signal { values, seconds: &seconds, rate }.analyse(&mut spectra).value(statistic)
}

fn assert_close(got: Option<f64>, expected: f64) {
    let got = got.expect("there is a value");
    assert!((got - expected).abs() < 1e-9, "expected {expected}, got {got}");
}

#[test]
fn statistics_agree_with_numpy_and_scipy() {
    for (statistic, expected) in [
        (Statistic::Mean, 2.775),
        (Statistic::Std, 0.788_979_245_607_893),
        (Statistic::Min, 1.185),
        (Statistic::Max, 4.251),
        (Statistic::Rms, 2.884_980_632_517_313_7),
        (Statistic::PeakToPeak, 3.066),
        (Statistic::CrestFactor, 1.473_493_427_333_948_8),
        (Statistic::Kurtosis, 2.383_400_452_254_144_8),
        (Statistic::Slope, 0.136_316_715_542_522_2),
        (Statistic::Last, 2.784),
    ] {
        assert_close(value_of(&X, None, statistic), expected);
    }
}

#[test]
fn band_power_agrees_with_scipy_for_even_and_odd_lengths() {
    let band = |low_hz, high_hz| Statistic::BandPower { low_hz, high_hz };
    assert_close(value_of(&X, Some(4.0), band(0.25, 0.75)), 0.499_865_233_785_984_35);
    assert_close(value_of(&X, Some(4.0), band(1.0, 1.25)), 0.037_487_454_056_369_25);
    assert_close(value_of(&X, Some(4.0), band(0.0, 2.1)), 0.594_107_796_293_336_7);
    assert_close(value_of(&X[..31], Some(4.0), band(0.25, 0.75)), 0.500_170_626_227_848_7);
    assert_close(value_of(&X[..31], Some(4.0), band(0.0, 2.1)), 0.589_773_030_185_391_4);
}

#[test]
fn without_a_rate_the_times_give_it() {
    let band = Statistic::BandPower { low_hz: 0.25, high_hz: 0.75 };
    assert_eq!(value_of(&X, None, band), value_of(&X, Some(4.0), band));
}

#[test]
fn bands_that_adjoin_add_up() {
    let band =
        |low_hz, high_hz| value_of(&X, None, Statistic::BandPower { low_hz, high_hz }).unwrap();
    assert_close(Some(band(0.0, 0.5) + band(0.5, 1.0)), band(0.0, 1.0));
}

#[test]
fn what_cannot_be_computed_is_missing_and_never_zero() {
    let band = Statistic::BandPower { low_hz: 0.0, high_hz: 1.0 };
    assert_eq!(value_of(&[], None, Statistic::Mean), None);
    assert_eq!(value_of(&[], None, Statistic::Last), None);
    assert_eq!(value_of(&[1.0], None, Statistic::Slope), None);
    assert_eq!(value_of(&X[..7], Some(4.0), band), None);
    assert_eq!(Operation::Ratio.of(1.0, 0.0), None);
}

#[test]
fn a_constant_signal_has_no_kurtosis_and_no_slope() {
    assert_eq!(value_of(&[0.1; 9], None, Statistic::Kurtosis), Some(0.0));
    assert_eq!(value_of(&[0.0; 9], None, Statistic::CrestFactor), Some(0.0));
    assert_close(value_of(&[0.1; 9], None, Statistic::Slope), 0.0);
}

#[test]
fn plans_are_bounded_when_the_length_varies() {
    let mut spectra = Spectra::default();
    for n in 8..100 {
        let values = vec![1.0; n];
        let seconds: Vec<f64> = (0..n).map(|k| k as f64).collect();
        let signal = Signal { values: &values, seconds: &seconds, rate: None };
        let band = Statistic::BandPower { low_hz: 0.1, high_hz: 0.2 };
        assert!(signal.analyse(&mut spectra).value(band).is_some());
        assert!(spectra.plans.len() <= MOST_PLANS);
    }
}

#[test]
fn an_unknown_statistic_is_told_the_known_ones() {
    let message = Statistic::from_word("median", None, None).unwrap_err();
    assert!(message.contains("`median` is unknown; write one of mean, std"), "{message}");
    let message = Statistic::from_word("band_power", Some(5.0), None).unwrap_err();
    assert!(message.contains("needs `low_hz` and a higher `high_hz`"), "{message}");
}

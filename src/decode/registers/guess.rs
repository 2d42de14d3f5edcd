//! What registers of an unknown device may mean: every type in every order, and which of them
//! gives a value that somebody can see at the machine.

use super::value::{decode, width};
use crate::settings::{RegisterType, WordOrder};

/// Devices send tenths and hundreds as whole numbers.
const SCALES: [f64; 7] = [1.0, 0.1, 0.01, 0.001, 10.0, 100.0, 1000.0];
/// Likelier ones first, where several fit.
const KINDS: [RegisterType; 16] = [
    RegisterType::F32,
    RegisterType::I16,
    RegisterType::U16,
    RegisterType::I32,
    RegisterType::U32,
    RegisterType::F64,
    RegisterType::I64,
    RegisterType::U64,
    RegisterType::F16,
    RegisterType::Bcd16,
    RegisterType::Bcd32,
    RegisterType::Bcd64,
    RegisterType::U8h,
    RegisterType::U8l,
    RegisterType::I8h,
    RegisterType::I8l,
];

/// One way to read registers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Guess {
    pub kind: RegisterType,
    pub order: WordOrder,
    /// Before the scale; NaN where the registers hold no such number.
    pub value: f64,
    /// With this scale it is the expected value.
    pub scale: Option<f64>,
}

impl Guess {
    /// Whether this gives `expected` to the last digit that a float of 32 bits has.
    pub fn is_exactly(&self, expected: f64) -> bool {
        let near = |scale: f64| (self.value * scale - expected).abs() <= 1e-6 * expected.abs();
        self.scale.is_some_and(near)
    }
}

/// Every type in every order in which it differs, as far as `words` reach. `expected` is found
/// to within the share `within` of itself.
pub fn guesses(words: &[u16], expected: Option<f64>, within: f64) -> Vec<Guess> {
    let mut all = Vec::new();
    for kind in KINDS {
        for order in orders(kind) {
            if words.len() < usize::from(width(kind)) {
                continue;
            }
            let value = decode(kind, *order, words);
            let fits = |wanted: f64| {
                let near = |scale: &f64| (value * scale - wanted).abs() <= within * wanted.abs();
                // Nothing tells the scale of zero.
                SCALES.iter().copied().filter(|scale| wanted != 0.0 || *scale == 1.0).find(near)
            };
            all.push(Guess { kind, order: *order, value, scale: expected.and_then(fits) });
        }
    }
    all
}

/// The likeliest of those that give the expected value: unscaled before scaled, then by type.
pub fn likeliest(guesses: &[Guess]) -> Option<Guess> {
    let rank = |guess: &Guess| SCALES.iter().position(|scale| Some(*scale) == guess.scale);
    let fitting = guesses.iter().filter(|guess| guess.scale.is_some());
    fitting.min_by_key(|guess| rank(guess)).copied()
}

fn orders(kind: RegisterType) -> &'static [WordOrder] {
    match kind {
        RegisterType::U8h | RegisterType::U8l | RegisterType::I8h | RegisterType::I8l => {
            &[WordOrder::Abcd]
        }
        _ if width(kind) == 1 => &[WordOrder::Abcd, WordOrder::Badc],
        _ => &WordOrder::ALL,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::value::encode;
    use super::*;

    #[test]
    fn fault_28_every_order_stands_side_by_side_and_the_one_that_fits_is_found() {
        for order in WordOrder::ALL {
            for kind in [RegisterType::F32, RegisterType::F64, RegisterType::I32] {
                let value = if kind == RegisterType::I32 { 1_234_567.0 } else { 23.5 };
                let mut words = encode(kind, order, value);
                words.resize(4, 0x5A5A);
                let all = guesses(&words, Some(value), 0.001);
                assert_eq!(all.iter().filter(|guess| guess.kind == kind).count(), 4);
                let found = likeliest(&all).unwrap();
                assert_eq!((found.kind, found.order, found.scale), (kind, order, Some(1.0)));
            }
        }
    }

    #[test]
    fn tenths_in_a_whole_number_are_found_with_their_scale() {
        let found = likeliest(&guesses(&[235], Some(23.5), 0.001)).unwrap();
        assert_eq!((found.kind, found.scale), (RegisterType::I16, Some(0.1)));
        assert_eq!(likeliest(&guesses(&[235], Some(17.0), 0.001)), None);
    }

    #[test]
    fn nothing_is_expected_of_what_is_not_there() {
        assert!(guesses(&[], Some(1.0), 0.1).is_empty());
        assert!(guesses(&[1], None, 0.1).iter().all(|guess| guess.scale.is_none()));
        assert!(likeliest(&guesses(&[0; 4], Some(0.0), 0.1)).is_some());
    }

    proptest! {
        #[test]
        fn a_value_that_is_there_is_always_among_those_that_fit(
            kind in 0..KINDS.len(), order in 0_usize..4, value in 1.0_f64..99.0,
        ) {
            let (kind, order) = (KINDS[kind], WordOrder::ALL[order]);
            let words = encode(kind, order, value);
            let shown = decode(kind, order, &words);
            let fits = |guess: &Guess| {
                guess.kind == kind && guess.value == shown && guess.scale == Some(1.0)
            };
            if orders(kind).contains(&order) {
                prop_assert!(guesses(&words, Some(shown), 1e-9).iter().any(fits));
            }
        }
    }
}

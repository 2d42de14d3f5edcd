//! A small deterministic random generator (xoshiro256++, seeded through splitmix64).
//!
//! Written out so that a seed means the same plant on every machine and in every release.

#[derive(Clone, Debug)]
pub(super) struct Rng([u64; 4]);

impl Rng {
    /// `stream` tells the machines of one plant apart.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut state = seed ^ stream.wrapping_mul(0xD1B5_4A32_D192_ED03);
        Self(std::array::from_fn(|_| {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^ (z >> 31)
        }))
    }

    fn next(&mut self) -> u64 {
        let s = &mut self.0;
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// Even in 0 to 1, 1 excluded.
    pub(super) fn unit(&mut self) -> f64 {
        const SCALE: f64 = 1.0 / (1u64 << 53) as f64;
        (self.next() >> 11) as f64 * SCALE
    }

    pub(super) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Bell-shaped with mean 0 and deviation 1, never beyond 3.5: the sum of four even draws.
    /// Sums instead of logarithms keep the values equal on every platform.
    pub(super) fn bell(&mut self) -> f64 {
        const TO_UNIT_DEVIATION: f64 = 1.732_050_807_568_877_2;
        let sum: f64 = (0..4).map(|_| self.unit()).sum();
        (sum - 2.0) * TO_UNIT_DEVIATION
    }
}

#[cfg(test)]
mod tests {
    use super::Rng;

    #[test]
    fn bell_has_mean_0_and_deviation_1() {
        let mut rng = Rng::new(1, 0);
        let draws: Vec<f64> = (0..20_000).map(|_| rng.bell()).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / draws.len() as f64;
        assert!(mean.abs() < 0.03, "{mean}");
        assert!((variance - 1.0).abs() < 0.04, "{variance}");
        assert!(draws.iter().all(|x| x.abs() < 3.5));
    }
}

//! Which assets are this box's, where several boxes split a site.
//!
//! An asset's share follows from its name and from what all boxes have in common, so no box has to
//! ask another: the share that a pin names, or else the first eight bytes of the SHA-256 of the
//! name, as a big-endian number, modulo the number of shares, plus one.

use sha2::{Digest, Sha256};

use crate::asset::NamePattern;
use crate::settings::ShareSettings;

/// The part of one box. By default it is the whole site.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shares(Option<Split>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Split {
    of: u16,
    take: Vec<u16>,
    pins: Vec<(NamePattern, u16)>,
}

impl Shares {
    pub fn new(settings: Option<&ShareSettings>) -> Self {
        Self(settings.map(|settings| {
            let pins = settings.pin.iter().flat_map(|pin| {
                pin.assets.iter().map(|assets| (NamePattern::new(assets.as_str()), pin.share))
            });
            Split { of: settings.of, take: settings.take.clone(), pins: pins.collect() }
        }))
    }

    /// Whether there are other boxes.
    pub const fn is_split(&self) -> bool {
        self.0.is_some()
    }

    /// Whether this box looks after `asset`.
    pub fn owns(&self, asset: &str) -> bool {
        self.0.as_ref().is_none_or(|split| split.take.contains(&split.share_of(asset)))
    }

    /// The share that `asset` is in; 1 where nothing is split.
    pub fn share_of(&self, asset: &str) -> u16 {
        self.0.as_ref().map_or(1, |split| split.share_of(asset))
    }
}

impl Split {
    fn share_of(&self, asset: &str) -> u16 {
        if let Some((_, share)) = self.pins.iter().find(|(pattern, _)| pattern.matches(asset)) {
            return *share;
        }
        let digest = Sha256::digest(asset.as_bytes());
        let head = digest.first_chunk::<8>().expect("a SHA-256 has 32 bytes");
        let place = u64::from_be_bytes(*head) % u64::from(self.of.max(1));
        u16::try_from(place).expect("it is below a number of 16 bits") + 1
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shares(of: u16, take: &[u16], pins: &str) -> Shares {
        let text = format!("box = 'a'\nof = {of}\ntake = {take:?}\n{pins}");
        Shares::new(Some(&toml::from_str(&text).unwrap()))
    }

    #[test]
    fn a_share_is_what_other_tools_reckon_too() {
        // printf press-3 | sha256sum | cut -c1-16
        let shares = shares(8, &[1], "");
        let head = u64::from_be_bytes(*Sha256::digest(b"press-3").first_chunk().unwrap());
        assert_eq!(u64::from(shares.share_of("press-3")), head % 8 + 1);
        assert_eq!(shares.share_of("press-3"), 8);
    }

    #[test]
    fn a_pin_goes_before_the_name_and_the_first_pin_before_the_next() {
        let pins = "pin = [{ assets = ['press-1', 'oven-*'], share = 2 }, \
                    { assets = ['*'], share = 1 }]";
        let (first, second) = (shares(2, &[1], pins), shares(2, &[2], pins));
        for (asset, share) in [("press-1", 2), ("oven-7", 2), ("press-2", 1)] {
            assert_eq!(first.share_of(asset), share, "{asset}");
            assert_eq!((first.owns(asset), second.owns(asset)), (share == 1, share == 2));
        }
    }

    #[test]
    fn who_is_alone_owns_everything() {
        assert!(Shares::default().owns("press-1") && !Shares::default().is_split());
    }

    proptest! {
        #[test]
        fn every_asset_has_one_box_and_a_takeover_moves_no_other(
            asset in "[a-z]{1,8}-[0-9]{1,3}", of in 1u16..40, dead in 1u16..40,
        ) {
            let dead = (dead - 1) % of + 1;
            let owners: Vec<u16> =
                (1..=of).filter(|share| shares(of, &[*share], "").owns(&asset)).collect();
            prop_assert_eq!(owners.len(), 1);
            let heir = shares(of, &[dead % of + 1, dead], "");
            prop_assert_eq!(heir.owns(&asset), owners[0] == dead || owners[0] == dead % of + 1);
        }
    }
}

//! What the boxes of a site say of their shares: taken twice, or by nobody.

use serde::Deserialize;

use super::Overview;
use crate::alert::wire::{ShareStatus, encode_level};
use crate::settings::ShareSettings;

/// As much of another box's status as matters here.
#[derive(Deserialize)]
struct Told {
    data: TellTale,
}

#[derive(Deserialize)]
struct TellTale {
    state: String,
    share: Option<Part>,
}

#[derive(Deserialize)]
struct Part {
    take: Vec<u16>,
}

impl Overview {
    /// This box's part of the site, and how it fits with what the other boxes said last.
    pub(super) fn share(&self) -> Option<ShareStatus> {
        let ShareSettings { name, of, take, .. } = self.config.share()?;
        let level = encode_level(&name);
        let boxes = self.standing.as_ref().map_or_else(Vec::new, |standing| standing.boxes());
        let others = boxes.iter().filter(|(other, _)| **other != *level);
        let taken: Vec<u16> = others.flat_map(|(_, body)| taken(body)).collect();
        let contested: Vec<u16> =
            take.iter().copied().filter(|share| taken.contains(share)).collect();
        let orphaned = (1..=of).filter(|share| !take.contains(share) && !taken.contains(share));
        let orphaned = orphaned.collect();
        Some(ShareStatus { name, of, take, foreign: self.ledger.foreign(), contested, orphaned })
    }
}

/// The shares of a box that is online.
fn taken(body: &[u8]) -> Vec<u16> {
    let told = serde_json::from_slice::<Told>(body).ok().map(|told| told.data);
    let share = told.filter(|told| told.state == "online").and_then(|told| told.share);
    share.map_or_else(Vec::new, |share| share.take)
}

//! Several boxes at one site: what is left to the others, and what is taken over from them.
//!
//! A box lets an asset go without a word: the alerts that stand for it stay at the broker. The box
//! that takes the asset over goes on from there, with the same ids, so that nobody is told twice.

use super::Watch;
use crate::alert::AlertState;
use crate::alert::wire::{adopted, decode_level};
use crate::message::Outgoing;
use crate::settings::FloodSettings;
use crate::share::Shares;
use crate::store::{AlertChange, AlertKey, StoreError};
use crate::time::Timestamp;

/// Of the outbox at a time.
const ROWS: usize = 256;

impl Watch {
    /// Whether alerts of `prediction` on `asset` are this box's.
    pub(super) fn looks_after(&self, asset: &str, prediction: &str) -> bool {
        match prediction {
            FloodSettings::ALERT => asset == self.flood.asset(),
            _ => self.shares.owns(asset),
        }
    }

    pub(super) fn reshare(&mut self, shares: Shares, now: Timestamp) {
        if shares == self.shares {
            return;
        }
        self.shares = shares;
        self.let_go(now);
        self.adopted_to = 0;
        self.adopt(now);
    }

    /// Takes over what stands at the broker for assets of this box and is not known here.
    pub(super) fn adopt(&mut self, now: Timestamp) {
        let Some(standing) = self.standing.clone() else { return };
        let moves = standing.moves();
        let since = std::mem::replace(&mut self.adopted_to, moves);
        if since == moves {
            return;
        }
        let ours = |asset: &str, prediction: &str| {
            self.looks_after(&decode_level(asset), &decode_level(prediction))
        };
        let all = standing.alerts(since, ours);
        for (asset, prediction, body) in all {
            let record = match adopted(&asset, &prediction, &body) {
                Ok(record) => record,
                Err(error) => {
                    tracing::warn!(asset, prediction, %error, "A retained alert is not taken over.");
                    continue;
                }
            };
            let (asset, name) = (self.registry.intern_asset(&record.asset), record.asset.clone());
            if !self.book.adopt(asset, &name, &record) {
                continue;
            }
            tracing::info!(
                asset = name,
                prediction = record.prediction,
                state = ?record.state,
                alert_id = record.alert_id,
                "An alert that stands at the broker is taken over."
            );
            self.note_raise(&record);
            self.live.restored(std::iter::once(&record));
            let state =
                serde_json::to_string(&record).expect("a record holds no map with odd keys");
            self.keep_alert(&name, &record.prediction, Some(state), now);
        }
        self.meters.set_alerts(self.book.counts());
    }

    /// Takes states out of the outbox that the last life did not see confirmed, of assets that are
    /// another box's by now: that one has told newer ones.
    pub(super) async fn forget_untold(&self) -> Result<(), StoreError> {
        let Some(wire) = self.wire.as_ref().filter(|_| self.shares.is_split()) else {
            return Ok(());
        };
        let foreign = |row: &&Outgoing| {
            let state = wire.state_of(&row.message.topic).filter(|_| row.message.retain);
            state.is_some_and(|(asset, prediction)| {
                !self.looks_after(&decode_level(asset), &decode_level(prediction))
            })
        };
        let mut after = 0;
        loop {
            let rows = self.store.next_outgoing(after, ROWS).await?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = last.seq;
            let gone = rows.iter().filter(foreign).map(|row| row.seq).collect();
            self.store.delivered(gone).await;
        }
    }

    /// Forgets the alerts of assets that are another box's, without telling anyone.
    pub(super) fn let_go(&mut self, now: Timestamp) {
        let (shares, flood) = (self.shares.clone(), self.flood.asset().to_owned());
        let foreign = |asset: &str| asset != flood && !shares.owns(asset);
        for mut record in self.book.let_go(foreign) {
            self.tell_held(&record.asset, &record.prediction);
            self.keep_alert(&record.asset, &record.prediction, None, now);
            // The board shows what this box looks after.
            record.state = AlertState::Normal;
            self.live.restored(std::iter::once(&record));
        }
        self.meters.set_alerts(self.book.counts());
    }

    pub(super) fn keep_alert(
        &self,
        asset: &str,
        prediction: &str,
        state: Option<String>,
        at: Timestamp,
    ) {
        let key = AlertKey { asset: asset.to_owned(), prediction: prediction.to_owned() };
        let change = AlertChange { key, state, messages: Vec::new(), at, cause: None };
        let _on_disk = self.store.queue_change(change);
    }
}

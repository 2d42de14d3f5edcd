//! What people and systems ask of alerts, carried out or refused.

use tokio::sync::oneshot;

use super::Watch;
use crate::alert::wire::decode_level;
use crate::alert::{Command, CommandError, ParseError, Transition};
use crate::message::CommandMessage;
use crate::time::Timestamp;
use crate::verdict::PredictionId;

/// A command whose sender waits for the answer.
#[derive(Debug)]
pub struct Order {
    pub message: CommandMessage,
    pub reply: oneshot::Sender<Result<(), Refusal>>,
}

/// Why a command was not carried out.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("{0}")]
    Malformed(#[from] ParseError),
    #[error("there is no {0}")]
    Unknown(String),
    #[error("{0}")]
    Conflict(#[from] CommandError),
}

impl Watch {
    pub(super) fn obey(&mut self, message: &CommandMessage, now: Timestamp) -> Result<(), Refusal> {
        match self.command(message, now) {
            Ok(transition) => {
                transition.iter().for_each(|transition| self.commit(transition));
                Ok(())
            }
            Err(error) => {
                tracing::warn!(
                    asset = message.asset,
                    prediction = message.prediction,
                    %error,
                    "A command on an alert was refused."
                );
                Err(error)
            }
        }
    }

    fn command(
        &mut self,
        message: &CommandMessage,
        now: Timestamp,
    ) -> Result<Option<Transition>, Refusal> {
        let command = Command::parse(&message.body)?;
        let prediction = self.prediction_id(&decode_level(&message.prediction))?;
        let name = decode_level(&message.asset);
        let asset = self.registry.lookup_asset(&name);
        let asset = asset.ok_or_else(|| Refusal::Unknown(format!("asset `{name}`")))?;
        Ok(self.book.command(asset, prediction, command, now)?)
    }

    pub(super) fn prediction_id(&self, name: &str) -> Result<PredictionId, Refusal> {
        let at = self.names.iter().position(|known| **known == *name);
        at.and_then(|at| u16::try_from(at).ok())
            .map(PredictionId)
            .ok_or_else(|| Refusal::Unknown(format!("prediction or rule `{name}`")))
    }
}

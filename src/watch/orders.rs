//! What people and systems ask of alerts, carried out or refused.

use tokio::sync::oneshot;

use super::Watch;
use crate::alert::wire::decode_level;
use crate::alert::{Command, CommandError, ParseError, Transition};
use crate::audit::Entry;
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
    #[error("another box of the site looks after `{0}`: ask that one")]
    Elsewhere(String),
    #[error("{0}")]
    Conflict(#[from] CommandError),
}

impl Watch {
    pub(super) fn obey(&mut self, message: &CommandMessage, now: Timestamp) -> Result<(), Refusal> {
        let (asset, prediction) = (decode_level(&message.asset), decode_level(&message.prediction));
        if !self.looks_after(&asset, &prediction) {
            return Err(Refusal::Elsewhere(asset.into_owned()));
        }
        let object = format!("{asset}/{prediction}");
        let mut entry = Entry { action: "command", object: &object, by: None, from: &message.from };
        let command = match Command::parse(&message.body) {
            Ok(command) => command,
            Err(error) => {
                entry.refused(&error);
                return Err(error.into());
            }
        };
        let by = command.by.clone();
        (entry.action, entry.by) = (command.action.as_str(), Some(by.as_str()));
        match self.command(&asset, &prediction, command, now) {
            Ok(transition) => {
                transition.iter().for_each(|transition| self.commit(transition));
                entry.done();
                Ok(())
            }
            Err(error) => {
                entry.refused(&error);
                Err(error)
            }
        }
    }

    fn command(
        &mut self,
        name: &str,
        prediction: &str,
        command: Command,
        now: Timestamp,
    ) -> Result<Option<Transition>, Refusal> {
        let prediction = self.prediction_id(prediction)?;
        let asset = self.registry.lookup_asset(name);
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

//! Versions into the repository and out of it while the daemon runs. What is in use stays.

use std::path::PathBuf;
use std::sync::Arc;

use super::Tuning;
use super::swap::{Pace, SwapError, apart};
use crate::audit::Entry;
use crate::message::Origin;
use crate::model::stock::{self, StockError};
use crate::model::{Active, Service};
use crate::serving::Place;

/// What a person asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stock {
    pub what: Keep,
    pub name: String,
    pub version: String,
    pub by: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Verifies it, as a start would.
    Check,
    /// Verifies `<from>/<name>/<version>`, a folder in the repository's, and copies it to its place.
    Add {
        from: String,
    },
    Remove,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stocked {
    pub folder: PathBuf,
    /// Of what was verified.
    pub sha256: Option<String>,
    pub device: Option<String>,
}

impl Stock {
    pub(super) fn note(&self, from: &Origin, outcome: &Result<Stocked, SwapError>) {
        let action = match self.what {
            Keep::Check => "check",
            Keep::Add { .. } => "add",
            Keep::Remove => "remove",
        };
        let object = format!("{}/{}", self.name, self.version);
        let entry = Entry { action, object: &object, by: Some(&self.by), from };
        match outcome {
            Ok(Stocked { folder, sha256: Some(sha256), .. }) => {
                entry.done_with(&format!("SHA-256 {sha256} in {}", folder.display()));
            }
            Ok(Stocked { folder, .. }) => entry.done_with(&format!("from {}", folder.display())),
            Err(error) => entry.refused(error),
        }
    }
}

impl Tuning {
    pub async fn stock(&self, asked: &Stock) -> Result<Stocked, SwapError> {
        let Stock { what, name, version, .. } = asked;
        let runtime = self.settings.runtime.clone();
        let reference = format!("{name}/{version}");
        let found = |service: &Service, folder| Stocked {
            folder,
            sha256: Some(service.identity.sha256.clone()),
            device: Some(service.identity.device.clone()),
        };
        match what {
            Keep::Check => {
                let check = move || {
                    let folder = crate::model::find(&runtime.models, &reference)?;
                    let service = stock::verify(&folder, &runtime)?;
                    Ok::<_, StockError>((service, folder))
                };
                let (service, folder) = apart(Pace::StandingBack, check).await??;
                Ok(found(&service, folder))
            }
            Keep::Add { from } => {
                let from = from.clone();
                let add = move || {
                    let folder = stock::folder(&runtime.models, &from, &reference)?;
                    stock::add(&folder, &runtime)
                };
                let (service, folder) = apart(Pace::StandingBack, add).await??;
                Ok(found(&service, folder))
            }
            Keep::Remove => {
                self.may_go(name, version).await?;
                let remove = move || {
                    let folder = crate::model::find(&runtime.models, &reference)?;
                    stock::discard(&folder)?;
                    Ok::<_, StockError>(folder)
                };
                let folder = apart(Pace::StandingBack, remove).await??;
                Ok(Stocked { folder, sha256: None, device: None })
            }
        }
    }

    /// Nothing uses it: not now, and not at the next start.
    async fn may_go(&self, name: &str, version: &str) -> Result<(), SwapError> {
        let stays = |why: &str| Err(SwapError::Conflict(format!("{name} {version} stays: {why}")));
        let reference = format!("{name}/{version}");
        if let Some(prediction) = self.settings.prediction.iter().find(|p| p.model == reference) {
            let named = format!("prediction `{}` names it in the configuration", prediction.name);
            return stays(&named);
        }
        let shelf = Arc::clone(&self.swaps.shelf);
        let rows = apart(Pace::StandingBack, move || shelf.rows()).await?;
        let row = rows.iter().find(|row| row.name == name && row.version == version);
        match row.map(|row| row.place) {
            Some(Place::Predicting) => stays("it predicts; activate another version first"),
            Some(Place::Previous) => {
                stays("it takes over again if the version on trial fails; wait for the trial's end")
            }
            Some(Place::Shadow) => stays("it is a shadow; end that first"),
            _ => {
                let store = &self.settings.store.path;
                let chosen = [Active::beside(store)?, Active::shadows_beside(store)?];
                if chosen.iter().any(|all| all.of(name).is_some_and(|c| c.version == version)) {
                    return stays("the next start takes it; choose another one first");
                }
                Ok(())
            }
        }
    }
}

impl From<StockError> for SwapError {
    fn from(error: StockError) -> Self {
        let told = error.to_string();
        match error {
            StockError::Missing(_) => Self::Missing(told),
            StockError::NoVersion(_) | StockError::NotGood(_) => {
                Self::Refused(told.replace('\n', "; "))
            }
            StockError::Taken(_) => Self::Conflict(told),
            StockError::Unwritten { .. } | StockError::Stays { .. } => Self::Repository(format!(
                "{told}; where the daemon may not write, `andon model` does it from a shell"
            )),
            StockError::Remains { .. } => Self::Repository(told),
        }
    }
}

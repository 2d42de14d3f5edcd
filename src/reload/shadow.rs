//! Shadows: candidates that see what the models that predict see, and say nothing aloud.

use std::sync::Arc;

use anyhow::Context;
use tokio::sync::oneshot;

use super::Tuning;
use super::swap::{Pace, Swap, SwapError, choice};
use crate::message::Origin;
use crate::model::{Active, Choice, LoadedModel, LoadedPrediction, ModelWorker};
use crate::watch::Reshadow;

impl Tuning {
    /// Loads a version beside the one that predicts; it takes the place of an earlier shadow.
    pub(super) async fn shadow(
        &mut self,
        name: &str,
        version: &str,
        by: &str,
    ) -> Result<Choice, SwapError> {
        let user = self.users(name).next();
        let running = user.map(|user| user.model.version.clone());
        let running = running.ok_or_else(|| SwapError::Unknown(name.into()))?;
        if running == version {
            let message = format!("{name} {version} predicts: it cannot be its own shadow");
            return Err(SwapError::Conflict(message));
        }
        let mut loaded = self.verified(name, version, Pace::StandingBack).await?;
        if let Some((new, old)) = self.other_windows(&loaded.predictions) {
            let (model, than, prediction) = (&new.model, &old.model.version, &new.name);
            return Err(SwapError::Conflict(format!(
                "{} {} looks at other tags or windows than {than}, so it cannot see the frames \
                 of prediction `{prediction}`; give it a prediction of its own",
                model.name, model.version
            )));
        }
        let choice = choice(version, &running, by);
        let mut shadows = self.shadows()?;
        shadows.choose(name, choice.clone()).map_err(SwapError::Unwritten)?;
        for prediction in &mut loaded.predictions {
            // Nobody asks a shadow why.
            Arc::make_mut(&mut prediction.spec).explain_from = None;
        }
        let (out, first) = (&self.swaps.shadowed, &self.swaps.models);
        let spawn = |model: LoadedModel| model.spawn_shadow(out.clone(), first.clone());
        let spawned = loaded.models.into_iter().map(spawn);
        let workers: Vec<ModelWorker> = spawned
            .collect::<Result<_, _>>()
            .map_err(|error| SwapError::Refused(format!("its thread does not start: {error}")))?;
        let service = workers.first().map(|worker| worker.handle().service().clone());
        self.reshadow(name, loaded.predictions, workers, by).await?;
        self.swaps.shelf.shadow(name, service);
        Ok(choice)
    }

    pub(super) async fn end_shadow(&mut self, name: &str, by: &str) -> Result<Choice, SwapError> {
        let mut shadows = self.shadows()?;
        let Some(choice) = shadows.of(name).cloned() else {
            return Err(SwapError::Conflict(format!("{name} has no shadow")));
        };
        shadows.forget(name).map_err(SwapError::Unwritten)?;
        self.reshadow(name, Vec::new(), Vec::new(), by).await?;
        self.swaps.shelf.shadow(name, None);
        Ok(choice)
    }

    /// Ends the shadow of a model, if it has one, because something else was asked for.
    pub(super) async fn drop_shadow(&mut self, name: &str, by: &str) {
        let swap = Swap::EndShadow { name: name.to_owned(), by: by.to_owned() };
        match self.end_shadow(name, by).await {
            Ok(ended) => swap.note(&Origin::Itself, &Ok(ended)),
            Err(SwapError::Conflict(_)) => {}
            Err(error) => tracing::warn!(model = name, %error, "A shadow could not be ended."),
        }
    }

    /// Those of the last life. One that cannot be had is told and left where it is written.
    pub async fn resume_shadows(&mut self) {
        let names: Vec<(String, Choice)> = match self.shadows() {
            Ok(shadows) => shadows.all().map(|(name, c)| (name.to_owned(), c.clone())).collect(),
            Err(error) => return tracing::error!(%error, "No model has a shadow."),
        };
        for (name, Choice { version, by, .. }) in names {
            if let Err(error) = self.shadow(&name, &version, &by).await {
                tracing::warn!(model = name, version, %error, "A model has no shadow.");
            }
        }
    }

    fn shadows(&self) -> Result<Active, SwapError> {
        Ok(Active::shadows_beside(&self.settings.store.path)?)
    }

    async fn reshadow(
        &self,
        name: &str,
        predictions: Vec<LoadedPrediction>,
        workers: Vec<ModelWorker>,
        by: &str,
    ) -> Result<(), SwapError> {
        let (done, answer) = oneshot::channel();
        let (model, by) = (name.to_owned(), by.to_owned());
        let told = async {
            let reshadow = Reshadow { model, predictions, workers, by, done };
            self.swaps.reshadows.send(reshadow).await.context("the main loop has ended")?;
            answer.await.context("the main loop has ended")
        };
        told.await.map_err(|_| SwapError::Stopping)
    }
}

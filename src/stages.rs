//! The tasks of a running daemon, and the order in which they end.
//!
//! Each phase is asked to stop and waited for before the next: what the sources took in is
//! watched, what was watched is committed, what was committed is delivered.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// A stage that has not ended by then is named in the log. Those that wait for a peer wait less.
const SLOW: Duration = Duration::from_secs(2);

/// In the order of shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Source,
    /// Ends by itself when the sources have gone.
    Watch,
    Delivery,
    Link,
    Store,
    Service,
}

impl Phase {
    const ALL: [Self; 6] =
        [Self::Source, Self::Watch, Self::Delivery, Self::Link, Self::Store, Self::Service];
}

pub struct Stages {
    tasks: Vec<Stage>,
    tokens: [CancellationToken; Phase::ALL.len()],
    ended: (mpsc::UnboundedSender<&'static str>, mpsc::UnboundedReceiver<&'static str>),
}

struct Stage {
    phase: Phase,
    name: &'static str,
    task: JoinHandle<anyhow::Result<()>>,
}

impl fmt::Debug for Stages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.tasks.iter().map(|stage| stage.name)).finish()
    }
}

impl Default for Stages {
    fn default() -> Self {
        // One message a stage at most, so the channel's bound is the number of stages.
        let ended = mpsc::unbounded_channel();
        Self { tasks: Vec::new(), tokens: Default::default(), ended }
    }
}

impl Stages {
    /// Starts a stage; its future gets the token that asks it to end.
    pub fn spawn<F, O>(
        &mut self,
        phase: Phase,
        name: &'static str,
        run: impl FnOnce(CancellationToken) -> F,
    ) where
        F: Future<Output = O> + Send + 'static,
        O: Outcome,
    {
        let stage = run(self.tokens[phase as usize].clone());
        let ended = self.ended.0.clone();
        let task = tokio::spawn(async move {
            let outcome = stage.await.into_result();
            // Nobody listens any more while the daemon stops.
            let _ = ended.send(name);
            outcome
        });
        self.tasks.push(Stage { phase, name, task });
    }

    pub fn token(&self, phase: Phase) -> CancellationToken {
        self.tokens[phase as usize].clone()
    }

    /// The name of the first stage that ends by itself.
    pub async fn failed(&mut self) -> &'static str {
        self.ended.1.recv().await.expect("this struct holds a sender")
    }

    /// Ends all phases in order. The first error is returned when everything has ended.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let mut outcome = Ok(());
        for phase in Phase::ALL {
            self.tokens[phase as usize].cancel();
            let (ending, rest) = self.tasks.into_iter().partition(|stage| stage.phase == phase);
            self.tasks = rest;
            let ending: Vec<Stage> = ending;
            for mut stage in ending {
                let ended = tokio::select! {
                    ended = &mut stage.task => ended,
                    () = sleep(SLOW) => {
                        tracing::warn!(stage = stage.name, "A stage takes long to end.");
                        stage.task.await
                    }
                };
                let ended = ended.context("panicked").and_then(|outcome| outcome);
                tracing::debug!(stage = stage.name, "A stage has ended.");
                outcome = outcome.and(ended.with_context(|| format!("stage `{}`", stage.name)));
            }
        }
        outcome
    }
}

/// What a stage returns: nothing, or a result.
pub trait Outcome: Send + 'static {
    fn into_result(self) -> anyhow::Result<()>;
}

impl Outcome for () {
    fn into_result(self) -> anyhow::Result<()> {
        Ok(())
    }
}

impl<E: Into<anyhow::Error> + Send + 'static> Outcome for Result<(), E> {
    fn into_result(self) -> anyhow::Result<()> {
        self.map_err(Into::into)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[tokio::test]
    async fn phases_end_in_order_and_the_first_error_is_kept() {
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut stages = Stages::default();
        for (phase, name) in
            [(Phase::Store, "store"), (Phase::Source, "source"), (Phase::Link, "link")]
        {
            let order = Arc::clone(&order);
            stages.spawn(phase, name, |token| async move {
                token.cancelled().await;
                order.lock().unwrap().push(name);
                if name == "link" { Err(std::io::Error::other("cut")) } else { Ok(()) }
            });
        }
        let error = stages.stop().await.unwrap_err();
        assert_eq!(format!("{error:#}"), "stage `link`: cut");
        assert_eq!(*order.lock().unwrap(), ["source", "link", "store"]);
    }

    #[tokio::test]
    async fn a_stage_that_ends_by_itself_is_named() {
        let mut stages = Stages::default();
        stages.spawn(Phase::Source, "steady", |token| async move { token.cancelled().await });
        stages.spawn(Phase::Watch, "brittle", |_| async {});
        assert_eq!(stages.failed().await, "brittle");
        stages.stop().await.unwrap();
    }
}

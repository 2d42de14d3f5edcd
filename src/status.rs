//! The status message, and the pages that the HTTP room serves.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::alert::wire::Wire;
use crate::http::Pages;
use crate::mqtt::Publisher;
use crate::telemetry::Overview;
use crate::time::Timestamp;

/// Publishes the retained status: at every connect, and every so often.
pub struct Reporter {
    pub overview: Overview,
    pub publisher: Publisher,
    pub wire: Wire,
    pub every: Duration,
}

impl Reporter {
    pub async fn run(self, token: CancellationToken) {
        let mut link = self.publisher.link();
        let mut reloads = self.overview.config.moves();
        let mut ticks = tokio::time::interval(self.every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                () = token.cancelled() => return,
                _ = ticks.tick() => {}
                Ok(()) = reloads.changed() => {}
                moved = link.changed() => if moved.is_err() {
                    return;
                },
            }
            if *link.borrow_and_update() {
                let message = self.wire.status(&self.overview.status(), Timestamp::now());
                let told = token.run_until_cancelled(self.publisher.publish(message)).await;
                if let Some(Err(error)) = told {
                    tracing::debug!(%error, "The status message was not delivered.");
                }
            }
        }
    }
}

/// What `/metrics`, `/status`, `/healthz` and `/readyz` answer.
pub fn pages(overview: &Overview) -> Pages {
    let (metrics, status) = (overview.clone(), overview.clone());
    let (healthy, ready) = (overview.clone(), overview.clone());
    Pages {
        metrics: Arc::new(move || metrics.metrics()),
        status: Arc::new(move || {
            serde_json::to_string_pretty(&status.status())
                .expect("a status holds no map with odd keys")
        }),
        healthy: Arc::new(move || healthy.healthy()),
        ready: Arc::new(move || ready.ready()),
    }
}

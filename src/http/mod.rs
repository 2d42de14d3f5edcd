//! The HTTP port: metrics and health, and the pages that layer 3 brings; on loopback unless the
//! configuration says otherwise.
//!
//! The room knows nothing of the daemon: it serves what the given functions return.

mod accept;
mod begun;
mod guard;
mod listen;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio_util::sync::CancellationToken;

use self::accept::{Inside, Limits};
pub use self::guard::{Caller, Guard, TokenError};
pub use self::listen::{ListenError, Listener, Socket, bind};

type Text = Arc<dyn Fn() -> String + Send + Sync>;
type Check = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// What the pages say, asked for at each request.
#[derive(Clone)]
pub struct Pages {
    /// OpenMetrics text.
    pub metrics: Text,
    /// The status message's body, JSON.
    pub status: Text,
    /// `Err` says why the daemon should be restarted.
    pub healthy: Check,
    /// `Err` says what is still missing before it does its work.
    pub ready: Check,
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pages")
    }
}

/// Serves `pages` and `more` until `token` is cancelled.
pub async fn serve(
    listener: Listener,
    guard: Guard,
    pages: Pages,
    more: Router,
    token: CancellationToken,
) {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/status", get(status))
        .route(
            "/healthz",
            get(|State(pages): State<Pages>| async move { answer((pages.healthy)()) }),
        )
        .route("/readyz", get(|State(pages): State<Pages>| async move { answer((pages.ready)()) }))
        .with_state(pages)
        .merge(more);
    let inside = Inside { router, guard: Arc::new(guard), limits: Limits::default() };
    accept::run(listener, inside, token).await;
}

async fn metrics(State(pages): State<Pages>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], (pages.metrics)()).into_response()
}

async fn status(State(pages): State<Pages>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], (pages.status)()).into_response()
}

fn answer(check: Result<(), String>) -> Response {
    match check {
        Ok(()) => (StatusCode::OK, "ok\n").into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

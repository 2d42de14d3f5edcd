//! The HTTP API under `/api/v1`: what the daemon knows, as JSON, and what people may ask of it.
//!
//! The OpenAPI document is generated from the handlers. Shapes stand in `shape.rs`; they are read
//! from [`Live`], the store and the overview, and nothing here keeps state of its own.

mod alerts;
mod assets;
mod events;
pub(crate) mod health;
mod labels;
mod models;
mod problem;
pub(crate) mod remote;
mod samples;
pub(crate) mod shadow;
pub mod shape;
mod snapshots;
mod stock;
mod store;

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) use self::alerts::history;
pub use self::alerts::{alert, command};
pub use self::assets::{asset, assets};
pub use self::problem::Problem;
pub(crate) use self::snapshots::{alert_snapshots, snapshots};
use crate::live::Live;
use crate::reload::SwapDesk;
use crate::serving::Shelf;
use crate::store::Store;
use crate::tag::Registry;
use crate::telemetry::Overview;
use crate::watch::{LabelOrder, Order};

/// A name as one segment of a path: an asset may be called anything.
pub fn segment(name: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    name.bytes().map(encode).collect()
}

/// What the handlers read from, and where they send commands.
#[derive(Clone)]
pub struct Desk {
    pub site: Arc<str>,
    pub live: Arc<Live>,
    pub registry: Arc<Registry>,
    pub store: Store,
    pub overview: Overview,
    pub shelf: Arc<Shelf>,
    pub orders: mpsc::Sender<Order>,
    pub labels: mpsc::Sender<LabelOrder>,
    pub swaps: SwapDesk,
    /// Ends the streams when the daemon stops.
    pub stopping: CancellationToken,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("site", &self.site).finish_non_exhaustive()
    }
}

#[derive(OpenApi)]
#[openapi(info(
    title = "Andon",
    description = "What the daemon on this box sees, says and is told. Times are RFC 3339 in UTC \
                   unless a name ends in `_ms`."
))]
struct Document;

/// The routes of `/api/v1`.
pub fn router(desk: Desk) -> Router {
    let (router, document) = OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(assets::list_assets))
        .routes(routes!(assets::get_asset))
        .routes(routes!(assets::list_tags))
        .routes(routes!(snapshots::list_snapshots))
        .routes(routes!(snapshots::get_snapshot))
        .routes(routes!(alerts::list_alerts))
        .routes(routes!(alerts::post_command))
        .routes(routes!(alerts::list_history))
        .routes(routes!(samples::get_samples))
        .routes(routes!(models::list_models))
        .routes(routes!(models::activate_model))
        .routes(routes!(models::roll_back_model))
        .routes(routes!(models::shadow_model))
        .routes(routes!(stock::check_model))
        .routes(routes!(stock::add_model))
        .routes(routes!(stock::remove_model))
        .routes(routes!(labels::post_label))
        .routes(routes!(health::list_health))
        .routes(routes!(store::get_status))
        .routes(routes!(store::list_quarantine))
        .routes(routes!(store::list_dead_letters))
        .routes(routes!(events::stream_events))
        .with_state(desk)
        .split_for_parts();
    let document = document.to_pretty_json().expect("the document has string keys");
    let json = [(axum::http::header::CONTENT_TYPE, "application/json")];
    router.route("/api/v1/openapi.json", get(move || async move { (json, document) }))
}

#[cfg(test)]
mod tests {
    #[test]
    fn odd_names_make_one_segment() {
        assert_eq!(super::segment("press 3/a?#ö"), "press%203%2Fa%3F%23%C3%B6");
    }
}

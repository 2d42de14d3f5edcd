//! Opens a model of the repository for requests alone: no prediction looks at it.
//!
//! A card without `[input]` is a service card: it names the graph and how to run it, and the graph
//! may take and give whatever tensors it likes. Any other card is held to its graph and its golden
//! pair, as for a prediction.

use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use super::card::{CardError, SessionSettings};
use super::device::OnDevice;
use super::load::{LoadError, start};
use super::repository::{self, Package, RepositoryError};
use super::runtime::Runtime;
use super::service::Service;
use super::session::SessionError;
use crate::settings::RuntimeSettings;
use crate::verdict::ModelIdentity;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceCard {
    name: String,
    version: String,
    sha256: String,
    #[serde(rename = "task")]
    _task: String,
    #[serde(rename = "licence")]
    _licence: String,
    #[serde(rename = "description")]
    _description: String,
    #[serde(default)]
    runtime: SessionSettings,
}

/// Loads `reference` (`<name>` or `<name>/<version>`) on a thread of its own. Blocks.
pub fn open(settings: &RuntimeSettings, reference: &str) -> Result<Service, Vec<LoadError>> {
    let of = |error| LoadError::Repository { reference: reference.to_owned(), error };
    let folder = repository::find(&settings.models, reference).map_err(|error| vec![of(error)])?;
    let (graph, identity, max_batch) = match service_card(&folder).map_err(|e| vec![of(e)])? {
        Some(card) => {
            let onnx = repository::read_service(&folder, &card.name, &card.version, &card.sha256)
                .map_err(|errors| errors.into_iter().map(of).collect::<Vec<_>>())?;
            let runtime = runtime(settings)?;
            let graph = OnDevice::open(&runtime, &card.runtime, &card.runtime.devices, &onnx)
                .map_err(|error: SessionError| {
                    vec![LoadError::Session { model: folder.clone(), error }]
                })?;
            let identity = ModelIdentity {
                name: card.name,
                version: card.version,
                sha256: card.sha256.to_ascii_lowercase(),
                device: graph.device.clone(),
            };
            (graph, Arc::new(identity), card.runtime.max_batch)
        }
        None => {
            let package = Package::read(&folder)
                .map_err(|errors| errors.into_iter().map(of).collect::<Vec<_>>())?;
            let model = start(&runtime(settings)?, &package, None)?;
            let max_batch = model.card.runtime.max_batch;
            let identity = Arc::clone(&model.identity);
            (model.into_graph(), identity, max_batch)
        }
    };
    Service::spawn(graph, identity, max_batch)
        .map_err(|error| vec![of(RepositoryError::Unreadable { path: folder, error })])
}

fn runtime(settings: &RuntimeSettings) -> Result<Runtime, Vec<LoadError>> {
    Runtime::load(settings.library.as_deref()).map_err(|error| vec![error.into()])
}

/// Nothing where the card describes an input.
fn service_card(folder: &Path) -> Result<Option<ServiceCard>, RepositoryError> {
    let file = folder.join(repository::CARD);
    let text = std::fs::read_to_string(&file)
        .map_err(|error| RepositoryError::Unreadable { path: file.clone(), error })?;
    let wrong = |error: &toml::de::Error| {
        let place = error.span().map(|span| super::locate::line_and_column(&text, span.start));
        let message = error.message().to_owned();
        RepositoryError::Card(CardError { file: file.clone(), key: String::new(), place, message })
    };
    let table: toml::Table = toml::from_str(&text).map_err(|error| wrong(&error))?;
    if ["input", "window", "output"].iter().any(|key| table.contains_key(*key)) {
        return Ok(None);
    }
    let card: ServiceCard = toml::from_str(&text).map_err(|error| wrong(&error))?;
    let mut problem = None;
    card.runtime.check(&mut |key: &str, message: String| {
        let place = super::locate::key(&text, key);
        problem.get_or_insert(CardError { file: file.clone(), key: key.into(), place, message });
    });
    problem.map_or(Ok(Some(card)), |error| Err(RepositoryError::Card(error)))
}

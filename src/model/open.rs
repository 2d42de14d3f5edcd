//! Opens a model of the repository for requests alone: no prediction looks at it.
//!
//! A card without `[input]` is a service card: it names the graph and how to run it, and the graph
//! may take and give whatever tensors it likes. Any other card is held to its graph and its golden
//! pair, as for a prediction.

use std::sync::Arc;

use serde::Deserialize;

use super::card::{CardError, SessionSettings};
use super::device::OnDevice;
use super::load::{LoadError, start};
use super::predictor::Serve;
use super::repository::{self, Package, RepositoryError};
use super::runtime::Runtime;
use super::service::Service;
use super::session::SessionError;
use super::trust::Files;
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
    let all_of = |errors: Vec<_>| errors.into_iter().map(of).collect::<Vec<_>>();
    let mut files = repository::open(&folder, settings).map_err(all_of)?;
    let (graph, identity, max_batch, remote) = match service_card(&files).map_err(all_of)? {
        Some(card) => {
            let file = files.path(repository::CARD);
            if card.runtime.remote.is_some() {
                let message = "goes with a card that says what the model takes: add [input], \
                               [window] and [output]";
                let (key, message) = ("runtime.remote".into(), message.into());
                let error = CardError { file, key, place: None, message };
                return Err(all_of(vec![RepositoryError::Card(error)]));
            }
            let onnx =
                repository::read_service(&mut files, &card.name, &card.version, &card.sha256)
                    .map_err(all_of)?;
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
            let server: Box<dyn Serve> = Box::new(graph);
            (server, Arc::new(identity), card.runtime.max_batch, None)
        }
        None => {
            let package = Package::from_files(files).map_err(all_of)?;
            let runtime = match package.card.has_graph() {
                true => Some(runtime(settings)?),
                false => None,
            };
            let model = start(runtime.as_ref(), &package, None)?;
            let max_batch = model.card.runtime.max_batch;
            let identity = Arc::clone(&model.identity);
            let remote = model.remote();
            (model.into_server(), identity, max_batch, remote)
        }
    };
    Service::spawn(graph, identity, max_batch, remote)
        .map_err(|error| vec![of(RepositoryError::Unreadable { path: folder, error })])
}

fn runtime(settings: &RuntimeSettings) -> Result<Runtime, Vec<LoadError>> {
    Runtime::load(settings.library.as_deref()).map_err(|error| vec![error.into()])
}

/// Nothing where the card describes an input.
fn service_card(files: &Files) -> Result<Option<ServiceCard>, Vec<RepositoryError>> {
    let file = files.path(repository::CARD);
    let text = repository::card_text(files)?;
    let wrong = |error: &toml::de::Error| {
        let place = error.span().map(|span| super::locate::line_and_column(&text, span.start));
        let message = error.message().to_owned();
        let (file, key) = (file.clone(), String::new());
        vec![RepositoryError::Card(CardError { file, key, place, message })]
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
    problem.map_or(Ok(Some(card)), |error| Err(vec![RepositoryError::Card(error)]))
}

//! The models that can be asked: those of the predictions, and those loaded for requests alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::refusal::Refusal;
use crate::model::{self, Service, compare_versions};
use crate::settings::{RuntimeSettings, ServiceSettings};

#[derive(Debug)]
pub struct Shelf {
    runtime: RuntimeSettings,
    pub(super) settings: ServiceSettings,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// By name; of one name from the lowest version to the highest.
    models: BTreeMap<String, Vec<Held>>,
    loading: BTreeSet<String>,
    /// See what predictions see; requests do not reach them.
    shadows: BTreeMap<String, Service>,
    /// Versions that a trial would go back to, by the model's name.
    kept: BTreeMap<String, String>,
}

/// One version of one model.
#[derive(Clone, Debug)]
pub struct Row {
    pub name: String,
    pub version: String,
    pub place: Place,
    /// Present where it is loaded.
    pub service: Option<Service>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Predictions use it.
    Predicting,
    /// Compared with the one that predicts.
    Shadow,
    /// Predicted until the one that is on trial took its place, and is ready to take over again.
    Previous,
    /// Loaded for requests alone.
    Loaded,
    /// Above the version that predicts.
    Offered,
    Stored,
}

#[derive(Clone, Debug)]
struct Held {
    service: Service,
    /// A prediction uses it: it stays.
    bound: bool,
}

impl Shelf {
    /// `bound` are the models of the predictions. Of one that runs twice the first is asked.
    pub fn new(
        runtime: RuntimeSettings,
        settings: ServiceSettings,
        bound: impl IntoIterator<Item = Service>,
    ) -> Self {
        let shelf = Self { runtime, settings, inner: Mutex::default() };
        let mut inner = shelf.lock();
        for service in bound {
            inner.put(Held { service, bound: true });
        }
        drop(inner);
        shelf
    }

    /// `retired` no longer predict, `new` do.
    pub fn exchange(&self, retired: &[Service], new: impl IntoIterator<Item = Service>) {
        let mut inner = self.lock();
        for gone in retired {
            if let Some(versions) = inner.models.get_mut(&gone.identity.name) {
                versions.retain(|held| {
                    !(held.bound && held.service.identity.version == gone.identity.version)
                });
            }
        }
        for service in new {
            let identity = Arc::clone(&service.identity);
            if let Some(versions) = inner.models.get_mut(&identity.name) {
                let same = |held: &Held| held.service.identity.version == identity.version;
                versions.iter().filter(|held| same(held)).for_each(|held| held.service.close());
                versions.retain(|held| !same(held));
            }
            inner.put(Held { service, bound: true });
        }
    }

    /// Which version shadows the one that predicts.
    pub fn shadow(&self, name: &str, service: Option<Service>) {
        let mut inner = self.lock();
        match service {
            Some(service) => drop(inner.shadows.insert(name.to_owned(), service)),
            None => drop(inner.shadows.remove(name)),
        }
    }

    /// Which versions are kept for those on trial, by the model's name.
    pub fn keep(&self, kept: BTreeMap<String, String>) {
        self.lock().kept = kept;
    }

    /// Without a version: the one that predicts, else the highest.
    pub(super) fn find(&self, name: &str, version: Option<&str>) -> Result<Service, Refusal> {
        let inner = self.lock();
        let unknown =
            || Refusal::unknown(format!("request for unknown model: `{name}` is not loaded"));
        let versions = inner.models.get(name).ok_or_else(unknown)?;
        let Some(version) = version else {
            let bound = versions.iter().rfind(|held| held.bound);
            let held = bound.or(versions.last()).ok_or_else(unknown)?;
            return Ok(held.service.clone());
        };
        let held = versions.iter().find(|held| held.service.identity.version == version);
        held.map(|held| held.service.clone()).ok_or_else(|| {
            Refusal::unknown(format!(
                "request for unknown model: `{name}` version `{version}` is not loaded"
            ))
        })
    }

    pub(super) fn versions(&self, name: &str) -> Vec<String> {
        let inner = self.lock();
        let versions = inner.models.get(name).into_iter().flatten();
        versions.map(|held| held.service.identity.version.clone()).collect()
    }

    pub(super) fn all(&self) -> Vec<Service> {
        self.lock().models.values().flatten().map(|held| held.service.clone()).collect()
    }

    /// Every version that is loaded or lies in the repository. Reads the disk.
    pub fn rows(&self) -> Vec<Row> {
        let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, version) in model::index(&self.runtime.models) {
            versions.entry(name).or_default().push(version);
        }
        let inner = self.lock();
        for (name, held) in &inner.models {
            let versions = versions.entry(name.clone()).or_default();
            for Held { service, .. } in held {
                if !versions.contains(&service.identity.version) {
                    versions.push(service.identity.version.clone());
                }
            }
            versions.sort_by(|a, b| compare_versions(a, b));
        }
        let row = |(name, versions): (String, Vec<String>)| {
            let versions = versions.into_iter();
            versions.map(|version| inner.row(name.clone(), version)).collect::<Vec<_>>()
        };
        versions.into_iter().flat_map(row).collect()
    }

    /// What lies in the repository: name, version, whether it is loaded.
    pub(super) fn index(&self) -> Vec<(String, String, bool)> {
        let on_disk = model::index(&self.runtime.models);
        let inner = self.lock();
        let ready = |(name, version): (String, String)| {
            let loaded = inner.has(&name, &version);
            (name, version, loaded)
        };
        on_disk.into_iter().map(ready).collect()
    }

    /// Loads the highest version of `name`, beside what is loaded of it. Blocks.
    pub(super) fn load(&self, name: &str) -> Result<(), Refusal> {
        let Some(version) =
            model::index(&self.runtime.models).into_iter().rfind(|(known, _)| known == name)
        else {
            return Err(Refusal::invalid(format!(
                "failed to load `{name}`: the repository has no such model"
            )));
        };
        let _loading = {
            let mut inner = self.lock();
            if inner.has(name, &version.1) {
                return Ok(());
            }
            if !inner.loading.insert(name.to_owned()) {
                return Err(Refusal::unavailable(format!("`{name}` is being loaded already")));
            }
            Loading { shelf: self, name }
        };
        let (most, held) = (self.settings.models, self.lock().unbound());
        if held >= most {
            return Err(Refusal::unavailable(format!(
                "failed to load `{name}`: {held} models are loaded for requests, and \
                 `service.models` allows {most}; unload one"
            )));
        }
        let reference = format!("{name}/{}", version.1);
        let service = model::open(&self.runtime, &reference).map_err(|errors| {
            let all: Vec<_> = errors.iter().map(ToString::to_string).collect();
            Refusal::invalid(format!("failed to load `{name}`: {}", all.join("; ")))
        })?;
        tracing::info!(model = name, version = version.1, "A model was loaded for requests.");
        self.lock().put(Held { service, bound: false });
        Ok(())
    }

    /// Ends every version of `name` that was loaded for requests.
    pub(super) fn unload(&self, name: &str) -> Result<(), Refusal> {
        let mut inner = self.lock();
        let Some(versions) = inner.models.get_mut(name) else {
            return Err(Refusal::invalid(format!("failed to unload `{name}`: it is not loaded")));
        };
        if versions.iter().all(|held| held.bound) {
            return Err(Refusal::invalid(format!(
                "failed to unload `{name}`: a prediction uses it"
            )));
        }
        versions.iter().filter(|held| !held.bound).for_each(|held| held.service.close());
        versions.retain(|held| held.bound);
        if versions.is_empty() {
            inner.models.remove(name);
        }
        tracing::info!(model = name, "A model was unloaded.");
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        for held in self.lock().models.values().flatten().filter(|held| !held.bound) {
            held.service.close();
        }
    }
}

impl Inner {
    fn put(&mut self, held: Held) {
        let identity = &held.service.identity;
        let versions = self.models.entry(identity.name.clone()).or_default();
        if versions.iter().any(|known| known.service.identity.version == identity.version) {
            return;
        }
        versions.push(held);
        versions.sort_by(|a, b| {
            compare_versions(&a.service.identity.version, &b.service.identity.version)
        });
    }

    fn has(&self, name: &str, version: &str) -> bool {
        let versions = self.models.get(name).into_iter().flatten();
        versions.into_iter().any(|held| held.service.identity.version == version)
    }

    fn row(&self, name: String, version: String) -> Row {
        let held = self.models.get(&name).map_or(&[][..], Vec::as_slice);
        let own = held.iter().find(|held| held.service.identity.version == version);
        let predicts = held.iter().rfind(|held| held.bound);
        let shadow = self.shadows.get(&name).filter(|own| own.identity.version == version);
        let place = match own {
            Some(own) if own.bound => Place::Predicting,
            _ if shadow.is_some() => Place::Shadow,
            _ if self.kept.get(&name) == Some(&version) => Place::Previous,
            Some(_) => Place::Loaded,
            None if predicts.is_some_and(|predicts| {
                compare_versions(&version, &predicts.service.identity.version).is_gt()
            }) =>
            {
                Place::Offered
            }
            None => Place::Stored,
        };
        let service = own.map(|own| &own.service).or(shadow).cloned();
        Row { name, version, place, service }
    }

    fn unbound(&self) -> usize {
        self.models.values().flatten().filter(|held| !held.bound).count()
    }
}

/// A load under way; however it ends, another may begin.
struct Loading<'a> {
    shelf: &'a Shelf,
    name: &'a str,
}

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        self.shelf.lock().loading.remove(self.name);
    }
}

#[cfg(test)]
mod tests;
